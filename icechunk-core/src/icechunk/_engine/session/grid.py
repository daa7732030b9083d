"""What a session needs to know of a `zarr.json`: group or array, shape, chunk grid, dimension names.

Nothing else in the document is looked at; the rest is between Zarr and its user.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import NoReturn

from icechunk._engine.format.snapshot_records import DimensionShape
from icechunk.errors import ErrorKind, InvalidInputError

_MAX_LENGTH = 2**64 - 1
_MAX_NUM_CHUNKS = 2**32 - 1


def _refuse_constant(name: str) -> NoReturn:
    raise ValueError(f"{name} is no JSON value; write it as a string, as Zarr does with a fill value")


# Python's own choice would be to read what no other reader of JSON does.
_decode = json.JSONDecoder(parse_constant=_refuse_constant).decode


@dataclass(frozen=True, slots=True)
class ArrayLayout:
    """The part of an array's metadata that goes into the snapshot in columns of its own."""

    shape: tuple[DimensionShape, ...]
    dimension_names: tuple[str | None, ...] | None


def parse_node_document(document: bytes, spec_version: int) -> ArrayLayout | None:
    """Read a `zarr.json`. Returns the layout of an array, or `None` for a group.

    Raises
    ------
    InvalidInputError
        The document is no JSON, lacks what a node must have, or has a chunk grid that this spec version
        cannot hold (kind ``bad-metadata``).
    """
    try:
        fields = _decode(document.decode())
    except (ValueError, RecursionError) as error:
        raise _bad_metadata(str(error)) from error
    if not isinstance(fields, dict):
        raise _bad_metadata(f"expected an object, found {type(fields).__name__}")
    node_type = _required(fields, "node_type")
    if node_type == "group":
        return None
    if node_type != "array":
        raise _bad_metadata(f"invalid node_type {node_type!r}, expected 'array' or 'group'")
    lengths = _lengths(_required(fields, "shape"), "shape")
    counts = _num_chunks(_required(fields, "chunk_grid"), lengths, spec_version)
    return ArrayLayout(
        tuple(map(DimensionShape, lengths, counts)),
        _dimension_names(fields.get("dimension_names"), len(lengths)),
    )


def _num_chunks(grid: object, lengths: list[int], spec_version: int) -> list[int]:
    if not isinstance(grid, dict):
        raise _bad_metadata(f"invalid chunk_grid {grid!r}, expected an object")
    name = _required(grid, "name")
    if name not in {"regular", "rectilinear"}:
        raise _bad_grid(
            f"Unsupported chunk grid {name}. Only 'regular' and 'rectilinear' chunk grids are supported"
        )
    configuration = _required(grid, "configuration")
    if not isinstance(configuration, dict):
        raise _bad_metadata(f"invalid chunk grid configuration {configuration!r}")
    if name == "regular":
        sizes = _lengths(_required(configuration, "chunk_shape"), "chunk_shape")
        _check_rank(sizes, lengths)
        counts = [-(-length // size) if size else 0 for length, size in zip(lengths, sizes)]
    else:
        if spec_version < 2:
            raise _bad_grid(
                "Non-regular chunk grids are not supported in icechunk format version 1. "
                "Please use spec_version=2 or higher."
            )
        axes = _required(configuration, "chunk_shapes")
        if not isinstance(axes, list):
            raise _bad_grid(f"chunk_shapes {axes!r} is no list")
        _check_rank(axes, lengths)
        counts = [_rectilinear_count(axis, length) for axis, length in zip(axes, lengths)]
    for count in counts:
        if count > _MAX_NUM_CHUNKS:
            raise _bad_grid(f"{count} chunks along one dimension, at most {_MAX_NUM_CHUNKS} fit")
    return counts


def _rectilinear_count(axis: object, length: int) -> int:
    """Count the chunks of one axis: a size for all, or a list of sizes and [size, count] pairs."""
    if isinstance(axis, int) and _is_length(axis):
        return -(-length // axis) if axis else 0
    if not isinstance(axis, list):
        raise _bad_grid(f"invalid chunk sizes {axis!r}")
    count = 0
    for item in axis:
        if _is_length(item):
            count += 1
        elif isinstance(item, list) and len(item) == 2 and all(map(_is_length, item)):
            count += item[1]
        else:
            raise _bad_grid(f"invalid chunk size {item!r}")
    return count


def _check_rank(sizes: list[object] | list[int], lengths: list[int]) -> None:
    if len(sizes) != len(lengths):
        raise _bad_grid(f"the chunk grid has {len(sizes)} dimensions, the shape of the array {len(lengths)}")


def _dimension_names(names: object, ndim: int) -> tuple[str | None, ...] | None:
    if names is None:
        return None
    if not isinstance(names, list) or not all(n is None or isinstance(n, str) for n in names):
        raise _bad_metadata(f"invalid dimension_names {names!r}")
    if len(names) != ndim:
        raise _bad_metadata(f"{len(names)} dimension_names for {ndim} dimensions")
    return tuple(names)


def _lengths(value: object, name: str) -> list[int]:
    if not isinstance(value, list) or not all(map(_is_length, value)):
        raise _bad_metadata(f"invalid {name} {value!r}, expected a list of integers from 0 on")
    return value


def _is_length(value: object) -> bool:
    return type(value) is int and 0 <= value <= _MAX_LENGTH


def _required(fields: dict[str, object], name: str) -> object:
    try:
        return fields[name]
    except KeyError:
        raise _bad_metadata(f"missing field `{name}`") from None


def _bad_metadata(problem: str) -> InvalidInputError:
    return InvalidInputError(f"bad metadata: {problem}", kind=ErrorKind.BAD_METADATA)


def _bad_grid(problem: str) -> InvalidInputError:
    return InvalidInputError(
        f"error decoding Zarr chunk grid metadata: `{problem}`", kind=ErrorKind.BAD_METADATA
    )

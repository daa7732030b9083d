"""Puts what two sides have appended to the same arrays one after the other."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, NamedTuple, TypeAlias

import numpy as np

from icechunk._values.conflicts import ConflictType
from icechunk.abc.conflicts import ConflictSolver, ConflictView, Fail, Ours, Renumber, Resolution, Theirs

if TYPE_CHECKING:
    from icechunk.abc.conflicts import NodeView

__all__ = ["CombineAppends"]

Document: TypeAlias = Mapping[str, Any]


class CombineAppends(ConflictSolver):
    """Lets two sides append to the same arrays along the same dimension: theirs first, ours behind it.

    What we have appended gets other chunk indices; no chunk of an array that has grown is read or written. That works
    if the length before, and theirs, are multiples of the length of a chunk along the dimension (with
    sharding, of a shard), and all else in both ``zarr.json`` is equal. If dimensions have names, all arrays of the group that
    have grown along one must have grown alike on each side, or none is combined.

    Whichever side has grown an array, what the other has written within the old length is kept, too. Documents, and chunks of
    arrays that have not grown, are no conflict if they are the same on both sides: Xarray writes the coordinates
    again when it appends. Everything else fails.
    """

    __module__ = "icechunk.conflicts"

    def resolve(self, conflict: ConflictView) -> Resolution:
        """Combine two appends, or say what is in the way."""
        try:
            match conflict.conflict_type:
                case ConflictType.ZarrMetadataDoubleUpdate:
                    return _combined(conflict)
                case ConflictType.ChunksUpdatedInUpdatedArray:
                    _check_only_grown(conflict.base.metadata, conflict.theirs.metadata)
                    return Ours()
                case ConflictType.LayoutUpdateOfUpdatedChunks:
                    _check_only_grown(conflict.base.metadata, conflict.ours.metadata)
                    return Ours()
                case ConflictType.ChunkDoubleUpdate:
                    return _same_chunk(conflict)
        except _InTheWay as reason:
            return Fail(str(reason))
        return Fail("this is no append")

    def __repr__(self) -> str:
        return "icechunk.conflicts.CombineAppends()"


class _InTheWay(Exception):
    """What is not so that two appends could be combined."""


class _Append(NamedTuple):
    """An axis along which both sides have grown an array, and how long it was and is."""

    axis: int
    base: int
    ours: int
    theirs: int


def _combined(conflict: ConflictView) -> Resolution:
    base, ours, theirs = conflict.base.metadata, conflict.ours.metadata, conflict.theirs.metadata
    if base is None or ours is None or theirs is None:
        raise _InTheWay("the node is not there on both sides")
    append = _append(base, ours, theirs)
    if append is None:
        if ours == theirs:
            return Ours()
        raise _InTheWay("nothing was appended, and the two zarr.json differ")
    different = _different_fields(ours, theirs)
    if different:
        raise _InTheWay(f"the two zarr.json differ in {', '.join(different)}")
    size = _chunk_length(base, append.axis)
    for whose, length in (("the old", append.base), ("their", append.theirs)):
        if length % size:
            raise _InTheWay(
                f"{whose} length {length} along {_name(base, append.axis)} is no multiple of the chunk length {size}"
            )
    _check_group(conflict, base, append)
    shape = list(theirs["shape"])
    shape[append.axis] = append.theirs + append.ours - append.base
    return Renumber(
        axis=append.axis,
        start=append.base // size,
        offset=(append.theirs - append.base) // size,
        metadata={**ours, "shape": shape},
    )


def _append(base: Document, ours: Document, theirs: Document) -> _Append | None:
    """Return what both sides have appended; `None` if neither side has changed the shape."""
    shapes = [document.get("shape", ()) for document in (base, ours, theirs)]
    if len({len(shape) for shape in shapes}) > 1:
        raise _InTheWay("the number of dimensions has changed")
    changed = [
        _Append(axis, *lengths)
        for axis, lengths in enumerate(zip(*shapes, strict=True))
        if len(set(lengths)) > 1
    ]
    if not changed:
        return None
    if len(changed) > 1:
        raise _InTheWay("the array has changed along more than one dimension")
    [append] = changed
    if append.ours <= append.base or append.theirs <= append.base:
        raise _InTheWay(
            f"only appends can be combined; along {_name(base, append.axis)} the length was {append.base}, "
            f"ours is {append.ours}, theirs {append.theirs}"
        )
    return append


def _different_fields(ours: Document, theirs: Document) -> list[str]:
    fields = sorted((ours.keys() | theirs.keys()) - {"shape"})
    return [field for field in fields if ours.get(field) != theirs.get(field)]


def _chunk_length(document: Document, axis: int) -> int:
    """Return how long a chunk is along an axis. With sharding, the grid's chunks are the shards."""
    grid = document["chunk_grid"]
    if grid["name"] != "regular":
        raise _InTheWay(f"chunks of a {grid['name']} grid are not all of one length")
    return int(grid["configuration"]["chunk_shape"][axis])


def _check_group(conflict: ConflictView, base: Document, append: _Append) -> None:
    """Raise unless all arrays that have grown along the same dimension have grown alike."""
    name = _dimension(base, append.axis)
    if name is None:
        return
    for array in conflict.arrays_of_group():
        lengths = _lengths(array, name)
        grown = {length for length in lengths if length is not None}
        if array.path != conflict.path and len(grown) > 1 and lengths != append[1:]:
            raise _InTheWay(
                f"{array.path} has not grown along {name} as this array has: its lengths were {lengths[0]}, and "
                f"are {lengths[1]} here and {lengths[2]} there"
            )
        if None in lengths and grown:
            raise _InTheWay(f"{array.path}, which also has the dimension {name}, is not there on both sides")


def _lengths(array: NodeView, name: str) -> tuple[int | None, ...]:
    """Return the lengths of a dimension before, with us and with them."""
    lengths: list[int | None] = []
    for version in (array.base, array.ours, array.theirs):
        document = version.metadata or {}
        names = document.get("dimension_names") or ()
        lengths.append(document["shape"][list(names).index(name)] if name in names else None)
    return tuple(lengths)


def _check_only_grown(base: Document | None, grown: Document | None) -> None:
    """Raise unless nothing but the shape has changed, and no dimension has shrunk."""
    if base is None or grown is None:
        raise _InTheWay("the array is not there on both sides")
    layout = [field for field in _different_fields(base, grown) if field != "attributes"]
    if layout:
        raise _InTheWay(f"zarr.json has changed in {', '.join(layout)}")
    shapes = base["shape"], grown["shape"]
    if len(shapes[0]) != len(shapes[1]) or any(new < old for old, new in zip(*shapes, strict=True)):
        raise _InTheWay("the array has shrunk")


def _same_chunk(conflict: ConflictView) -> Resolution:
    ours, theirs = conflict.ours.chunk(), conflict.theirs.chunk()
    if ours is None and theirs is None:
        return Theirs()
    if ours is None or theirs is None or ours.dtype != theirs.dtype or ours.shape != theirs.shape:
        raise _InTheWay("both sides have written this chunk, differently")
    if np.array_equal(ours, theirs, equal_nan=ours.dtype.kind in "fcmM"):
        return Theirs()
    raise _InTheWay("both sides have written this chunk, differently")


def _dimension(document: Document, axis: int) -> str | None:
    names = document.get("dimension_names")
    return None if names is None else names[axis]


def _name(document: Document, axis: int) -> str:
    return _dimension(document, axis) or f"dimension {axis}"

"""Zarr keys: which node, document or chunk of the hierarchy a key stands for.

Semantics, section 4.1. Only the canonical spelling of coordinates is a key (`c/0`, not `c/00` or
`c/+0`); redundant slashes and `.` in the path of the node are tolerated.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Final, NamedTuple

from icechunk.errors import ErrorKind, InvalidInputError

if TYPE_CHECKING:
    from collections.abc import Iterable

V2_METADATA_NAMES: Final = frozenset({".zgroup", ".zarray", ".zattrs", ".zmetadata"})

_CANONICAL_INTEGER = re.compile("0|[1-9][0-9]{0,9}", re.ASCII)
_MAX_COORDINATE = 2**32 - 1

# Coordinates up to this one are remembered. Larger ones are rare, and parsed each time.
_MAX_REMEMBERED = 2**16


class MetadataKey(NamedTuple):
    """`<path>/zarr.json`."""

    path: str


class ChunkKey(NamedTuple):
    """`<path>/c/<i>/<j>`, or `<path>/c` for the one chunk of an array without dimensions."""

    path: str
    coords: tuple[int, ...]


class V2Key(NamedTuple):
    """A metadata document of Zarr v2, which no Icechunk repository has."""

    key: str


class _Integers(dict[str, int]):
    """Canonical decimal text to integer. Half the price of `int()`, and stricter."""

    def __missing__(self, text: str) -> int:
        if _CANONICAL_INTEGER.fullmatch(text) is None:
            raise ValueError(text)
        value = int(text)
        if value > _MAX_COORDINATE:
            raise ValueError(text)
        if value < _MAX_REMEMBERED:
            self[text] = value
        return value


_integer = _Integers().__getitem__


def parse_coords(text: str) -> tuple[int, ...]:
    """Read `0/1/2`. Raises ValueError for anything but canonical decimal numbers below 2**32."""
    return tuple(map(_integer, text.split("/")))


def parse_key(key: str) -> MetadataKey | ChunkKey | V2Key:
    """Find out what a key stands for.

    Raises
    ------
    InvalidInputError
        No repository can have such a key.
    """
    head, _, last = key.rpartition("/")
    if last == "zarr.json":
        return MetadataKey(_key_path(head, key))
    if last in V2_METADATA_NAMES:
        return V2Key(key)
    if last == "c":
        return ChunkKey(_key_path(head, key), ())
    head, found, coordinates = f"/{key}".rpartition("/c/")
    if found:
        try:
            coords = parse_coords(coordinates)
        except ValueError:
            raise invalid_key(key) from None
        return ChunkKey(_key_path(head, key), coords)
    raise invalid_key(key)


def invalid_key(key: str) -> InvalidInputError:
    """Make the error for a key that no repository can have."""
    return InvalidInputError(f"invalid zarr key format `{key}`", kind=ErrorKind.INVALID_KEY)


def normal_path(text: str) -> str | None:
    """Turn a path, with or without slashes around, into an absolute node path.

    Returns `None` if it has `..` in it.
    """
    segments = [segment for segment in text.split("/") if segment not in {"", "."}]
    if ".." in segments:
        return None
    return "/" + "/".join(segments)


def absolute_path(path: str) -> str:
    """Check a path that a user gave.

    Raises
    ------
    InvalidInputError
        It does not begin with a slash, or has `..` in it.
    """
    if not path.startswith("/"):
        raise InvalidInputError(
            f"could not create path from prefix: path must start with a `/` character, found `{path}`",
            kind=ErrorKind.INVALID_PATH,
        )
    normal = normal_path(path)
    if normal is None:
        raise InvalidInputError(
            f"could not create path from prefix: path must not have `..` in it: `{path}`",
            kind=ErrorKind.INVALID_PATH,
        )
    return normal


def _key_path(head: str, key: str) -> str:
    path = normal_path(head)
    if path is None:
        raise invalid_key(key)
    return path


def metadata_key(path: str) -> str:
    """Return the key of the metadata document of the node at `path`."""
    return f"{path[1:]}/zarr.json" if path != "/" else "zarr.json"


def chunk_key_prefix(path: str) -> str:
    """Return what all keys of chunks of the array at `path` begin with, `c` included."""
    return f"{path[1:]}/c" if path != "/" else "c"


def chunk_keys(path: str, coords: Iterable[Iterable[int]]) -> Iterable[str]:
    """Return the keys of chunks of the array at `path`."""
    prefix = chunk_key_prefix(path)
    return ("/".join((prefix, *map(str, row))) for row in coords)

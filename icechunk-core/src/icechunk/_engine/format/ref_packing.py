"""Chunk refs as a few plain buffers, on their way to another process.

Not a file format: both ends are this very library. What goes in is what the rows need and nothing
else, however large the tables are that they share with other rows.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final, TypeAlias

import numpy as np

from icechunk._engine.format.byte_strings import EMPTY, ByteStrings, copy_strings
from icechunk._engine.format.chunk_refs import CHUNK_ID_TYPE, NO_BYTES, RefColumns, RefKind, constant

if TYPE_CHECKING:
    from icechunk._engine.format.arrays import AnyColumn, ByteColumn, CodeColumn, Positions, U32Column

PackedRefs: TypeAlias = dict[str, Any]
"""Bytes and numbers by the name of the column; what is the same for all rows is one value."""

# Everything but coordinates, which the caller packs, and what refers to tables.
_PLAIN: Final[dict[str, np.dtype[Any]]] = {
    "kinds": np.dtype("u1"),
    "offsets": np.dtype("<u8"),
    "lengths": np.dtype("<u8"),
    "chunk_ids": CHUNK_ID_TYPE,
    "last_modified": np.dtype("<u4"),
}


def pack_refs(columns: RefColumns) -> PackedRefs:
    """Pack all columns but the coordinates."""
    packed: PackedRefs = {name: _packed(getattr(columns, name), kind) for name, kind in _PLAIN.items()}
    if (columns.kinds == RefKind.INLINE).any():
        packed["inline"] = _packed_inline(columns)
    for codes, strings in (("location_codes", "locations"), ("etag_codes", "etags")):
        if (getattr(columns, codes) >= 0).any():
            packed[strings] = _packed_coded(getattr(columns, codes), getattr(columns, strings))
    return packed


def unpack_refs(packed: PackedRefs, coords: U32Column) -> RefColumns:
    """Return the columns that were packed, with these coordinates."""
    n = len(coords)
    plain: dict[str, Any] = {name: _unpacked(packed[name], n, kind) for name, kind in _PLAIN.items()}
    codes, locations = _unpacked_coded(packed.get("locations"), n)
    etag_codes, etags = _unpacked_coded(packed.get("etags"), n)
    starts, data = constant(n, 0, "<i8"), NO_BYTES
    if "inline" in packed:
        starts, _sizes = _inline_places(plain["kinds"], plain["lengths"])
        data = np.frombuffer(packed["inline"], np.uint8)
    return RefColumns(
        coords=coords,
        location_codes=codes,
        locations=locations,
        etag_codes=etag_codes,
        etags=etags,
        inline_starts=starts,
        inline_data=data,
        **plain,
    )


def _packed(column: AnyColumn, kind: np.dtype[Any]) -> bytes | tuple[bytes]:
    if len(column) > 1 and column.strides == (0,):
        return (column[:1].tobytes(),)
    return np.ascontiguousarray(column, kind).tobytes()


def _unpacked(packed: bytes | tuple[bytes], n: int, kind: np.dtype[Any]) -> AnyColumn:
    if isinstance(packed, tuple):
        return np.ndarray((n,), kind, packed[0], 0, (0,))
    return np.frombuffer(packed, kind)


def _inline_places(kinds: ByteColumn, lengths: AnyColumn) -> tuple[Positions, Positions]:
    """Where inline chunks begin that lie one behind the other, and how long they are; 0 for other rows."""
    sizes = np.where(kinds == RefKind.INLINE, lengths, 0).astype(np.int64)
    return np.cumsum(sizes) - sizes, sizes


def _packed_inline(columns: RefColumns) -> bytes:
    starts, sizes = _inline_places(columns.kinds, columns.lengths)
    there = np.where(sizes > 0, columns.inline_starts, starts)
    size = int(sizes.sum())
    if size == len(columns.inline_data) and (there == starts).all():
        return columns.inline_data.tobytes()
    data = np.empty(size, np.uint8)
    copy_strings(columns.inline_data, there, data, starts, sizes)
    return data.tobytes()


def _packed_coded(codes: CodeColumn, strings: ByteStrings) -> tuple[bytes, bytes, bytes]:
    """Codes into the strings that are used, the lengths of those, and their bytes."""
    used, places = np.unique(codes[codes >= 0], return_inverse=True)
    dense = np.full(len(codes), -1, np.int32)
    dense[codes >= 0] = places
    compact = strings.take(used).plain().compact()
    return dense.tobytes(), compact.lengths.tobytes(), compact.data.tobytes()


def _unpacked_coded(packed: tuple[bytes, bytes, bytes] | None, n: int) -> tuple[CodeColumn, ByteStrings]:
    if packed is None:
        return constant(n, -1, "<i4"), EMPTY
    codes, raw_lengths, data = packed
    lengths = np.frombuffer(raw_lengths, np.int64)
    return np.frombuffer(codes, np.int32), ByteStrings(
        np.frombuffer(data, np.uint8), np.cumsum(lengths) - lengths, lengths
    )

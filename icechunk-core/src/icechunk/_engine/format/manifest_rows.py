"""How one chunk ref lies in the manifests that we write: a row of fixed size, with its coordinates inline.

Spec v2, "Manifest", table ChunkRef. Refs that have the same fields share a vtable and lie behind each other,
so that they are one structured array. Which layouts other writers like was measured and is in the design's
encoding notes; u64 fields must be 8-aligned from the start of the buffer, and rows are.
"""

from __future__ import annotations

import struct
from functools import cache
from typing import Final, NamedTuple

import numpy as np

# Slots of the table ChunkRef.
INDEX: Final = 0
INLINE: Final = 1
OFFSET: Final = 2
LENGTH: Final = 3
CHUNK_ID: Final = 4
LOCATION: Final = 5
ETAG: Final = 6
LAST_MODIFIED: Final = 7
COMPRESSED_LOCATION: Final = 8

_NUMPY_TYPE: Final = {"i": "<i4", "I": "<u4", "Q": "<u8", "12s": "V12"}

# Where each field lies, from the start of the table. The first four bytes lead to the vtable, and `INDEX`
# is always next.
_NATIVE: Final = ((LENGTH, 8, "Q"), (CHUNK_ID, 16, "12s"))
_NATIVE_OFFSET: Final = ((LENGTH, 8, "Q"), (OFFSET, 16, "Q"), (CHUNK_ID, 24, "12s"))
_INLINE: Final = ((INLINE, 8, "I"),)
_RANGE: Final = ((OFFSET, 8, "Q"), (LENGTH, 16, "Q"))


class Variant(NamedTuple):
    """Which fields a ref has. The order of the variants is the order of their rows in a file."""

    is_native: bool = False
    is_inline: bool = False
    has_offset: bool = False
    is_compressed: bool = False
    has_etag: bool = False
    has_last_modified: bool = False


class RowLayout:
    """The bytes of the refs of one variant, in an array of `ndim` dimensions.

    Attributes
    ----------
    vtable
        Padded to a multiple of 8.
    size
        Of a row: the table, the vector of coordinates, padding to a multiple of 8.
    index
        Where the vector of coordinates begins in the row: right behind the table.
    slots
        The slots in the order of `pack`'s arguments, after the offset to the vtable and that to the index.
    offsets
        Where each slot lies in the row.
    """

    __slots__ = ("dtype", "index", "offsets", "pack", "size", "slots", "vtable")

    def __init__(self, variant: Variant, ndim: int) -> None:
        fields, self.index = _fields(variant)
        self.slots = tuple(slot for slot, _, _ in fields)
        self.offsets = {slot: offset for slot, offset, _ in fields}
        self.size = (self.index + 4 + 4 * ndim + 7) // 8 * 8
        self.vtable = _vtable(self.offsets, self.index)
        everything = [
            ("vtable", 0, "i"),
            ("index", 4, "I"),
            *((f"slot{slot}", offset, code) for slot, offset, code in fields),
            ("ndim", self.index, "I"),
        ]
        names = [name for name, _, _ in everything]
        offsets = [offset for _, offset, _ in everything]
        formats: list[object] = [_NUMPY_TYPE[code] for _, _, code in everything]
        self.dtype = np.dtype(
            {
                "names": [*names, "coords"],
                "offsets": [*offsets, self.index + 4],
                "formats": [*formats, ("<u4", (ndim,))],
                "itemsize": self.size,
            }
        )
        text, end = "<", 0
        for _, offset, code in everything:
            text += f"{offset - end}x{code}"
            end = offset + struct.calcsize(f"<{code}")
        self.pack = struct.Struct(f"{text}{ndim}I{self.size - end - 4 * ndim}x").pack


@cache
def row_layout(variant: Variant, ndim: int) -> RowLayout:
    """Return the layout of a variant's rows, made once."""
    return RowLayout(variant, ndim)


def _fields(variant: Variant) -> tuple[tuple[tuple[int, int, str], ...], int]:
    """Return slot, offset and type of the fields, and where they end."""
    if variant.is_native:
        return (_NATIVE_OFFSET, 36) if variant.has_offset else (_NATIVE, 28)
    if variant.is_inline:
        return _INLINE, 12
    fields = [*_RANGE, (COMPRESSED_LOCATION if variant.is_compressed else LOCATION, 24, "I")]
    end = 28
    for slot, is_there in ((ETAG, variant.has_etag), (LAST_MODIFIED, variant.has_last_modified)):
        if is_there:
            fields.append((slot, end, "I"))
            end += 4
    return tuple(fields), end


def _vtable(offsets: dict[int, int], table_size: int) -> bytes:
    slots = [offsets.get(slot, 0) for slot in range(max(offsets) + 1)]
    slots[INDEX] = 4
    packed = struct.pack(f"<{2 + len(slots)}H", 4 + 2 * len(slots), table_size, *slots)
    return packed + bytes(-len(packed) % 8)

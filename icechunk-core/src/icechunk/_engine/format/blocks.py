"""Writing FlatBuffers as blocks that stand on their own.

All offsets of a block point into the block itself, so it can be copied from one file to the next as
it is, and what is unchanged is never encoded again. A FlatBuffers offset points forwards, from a
field to what lies behind it; only the offset from a table to its vtable may point either way.
"""

from __future__ import annotations

import struct
from typing import TYPE_CHECKING, TypeAlias

from icechunk._engine.format.values import JsonValue, decode_value, encode_value

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from icechunk._engine.format.tables import FlatBuffer, TableVector

RawMetadata: TypeAlias = tuple[tuple[bytes, bytes], ...]
"""Names and encoded values of metadata items, sorted by name."""

NO_ITEMS = bytes(4)
"""A vector without elements."""

_UINT32 = struct.Struct("<I")
_PADDING = tuple(bytes(n) for n in range(8))

_ITEM_VTABLE = struct.pack("<4H", 8, 12, 4, 8)
_ITEM = struct.Struct("<iII")

_REF_VTABLE = struct.pack("<4H", 8, 12, 4, 8)
_REF = struct.Struct("<iII")


def padding(size: int, alignment: int) -> bytes:
    """The zeros that bring `size` bytes to a multiple of `alignment`, which is 8 at most."""
    return _PADDING[-size % alignment]


def text_block(text: bytes) -> bytes:
    """A string, padded to 4 bytes."""
    return b"%b%b%b" % (_UINT32.pack(len(text)), text, _PADDING[4 - len(text) % 4])


def bytes_block(data: bytes | memoryview) -> bytes:
    """A vector of bytes, padded to 4 bytes."""
    return b"".join((_UINT32.pack(len(data)), data, _PADDING[-len(data) % 4]))


class BlockWriter:
    """A buffer that grows at its end, with offsets that are filled in when their target comes."""

    __slots__ = ("out",)

    def __init__(self, start: bytes = b"") -> None:
        self.out = bytearray(start)

    def __len__(self) -> int:
        return len(self.out)

    def align(self, alignment: int, *, ahead: int = 0) -> None:
        """Pad, so that what comes `ahead` bytes later lies at a multiple of `alignment`."""
        self.out += _PADDING[-(len(self.out) + ahead) % alignment]

    def point(self, field: int) -> None:
        """Make the offset at `field` point to what is added next."""
        _UINT32.pack_into(self.out, field, len(self.out) - field)

    def add(self, block: bytes, *, pointed_from: int) -> None:
        """Add a block that is aligned to 4 bytes, and make the offset at `pointed_from` point to it."""
        self.align(4)
        self.point(pointed_from)
        self.out += block


def texts_vector(texts: Sequence[bytes]) -> bytes:
    """A vector of strings."""
    writer = BlockWriter(_UINT32.pack(len(texts)) + bytes(4 * len(texts)))
    for index, text in enumerate(texts):
        writer.add(text_block(text), pointed_from=4 + 4 * index)
    return bytes(writer.out)


def refs_vector(refs: Sequence[tuple[bytes, int]]) -> bytes:
    """A vector of refs: names, and the row of the snapshot that each one names. Sorted by name."""
    if not refs:
        return NO_ITEMS
    count = len(refs)
    vtable_at = 4 + 4 * count
    first = vtable_at + len(_REF_VTABLE)
    offsets = [first + 12 * i - (4 + 4 * i) for i in range(count)]
    parts = [struct.pack(f"<I{count}I", count, *offsets), _REF_VTABLE]
    texts = []
    end = first + 12 * count
    for i, (name, row) in enumerate(refs):
        table = first + 12 * i
        parts.append(_REF.pack(table - vtable_at, end - (table + 4), row))
        block = text_block(name)
        texts.append(block)
        end += len(block)
    return b"".join(parts + texts)


def metadata_vector(items: RawMetadata) -> bytes:
    """A vector of metadata items."""
    if not items:
        return NO_ITEMS
    count = len(items)
    vtable_at = 4 + 4 * count
    first = vtable_at + len(_ITEM_VTABLE)
    offsets = [first + 12 * i - (4 + 4 * i) for i in range(count)]
    parts = [struct.pack(f"<I{count}I", count, *offsets), _ITEM_VTABLE]
    contents: list[bytes] = []
    end = first + 12 * count
    for i, (name, value) in enumerate(items):
        table = first + 12 * i
        name_block, value_block = text_block(name), bytes_block(value)
        value_at = end + len(name_block)
        parts.append(_ITEM.pack(table - vtable_at, end - (table + 4), value_at - (table + 8)))
        contents += (name_block, value_block)
        end = value_at + len(value_block)
    return b"".join(parts + contents)


def encode_metadata(metadata: Mapping[str, JsonValue], spec_version: int) -> RawMetadata:
    """Encode each value, and sort by name."""
    if not metadata:
        return ()
    return tuple(
        sorted((name.encode(), encode_value(value, spec_version)) for name, value in metadata.items())
    )


def read_raw_metadata(items: TableVector, what: str) -> RawMetadata:
    """Read a vector of metadata items, values still encoded.

    `what` names the items in messages: ``Snapshot.metadata``.
    """
    file = items.file
    # Items may overlap in a hostile file: together they must not be larger than the file.
    budget = file.size
    raw = []
    for item in items:
        name, value = item.bytes(0), item.bytes(1)
        if name is None or value is None:
            raise file.error(f"{what} has an item without a name or a value")
        budget -= len(name) + len(value) + 4
        if budget < 0:
            raise file.error(f"{what} has items that overlap")
        raw.append((bytes(name), bytes(value)))
    return tuple(raw)


def decode_metadata(raw: RawMetadata, spec_version: int, file: FlatBuffer, what: str) -> dict[str, JsonValue]:
    """Decode names and values."""
    metadata = {}
    for name, value in raw:
        try:
            text = name.decode()
        except UnicodeDecodeError as error:
            raise file.error(f"a name in {what} is not UTF-8 ({error.reason})") from error
        metadata[text] = decode_value(value, spec_version, name=f"{file.name}, {what} `{text}`")
    return metadata

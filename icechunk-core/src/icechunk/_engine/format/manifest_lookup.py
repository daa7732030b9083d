"""One chunk ref of a manifest, found in its bytes without decoding the table."""

from __future__ import annotations

import struct
from operator import itemgetter
from typing import TYPE_CHECKING, Final, TypeAlias

from icechunk._engine.format.chunk_refs import ChunkRef, InlineRef, NativeRef, VirtualRef
from icechunk._engine.format.ids import ChunkId
from icechunk._engine.format.manifest_rows import (
    CHUNK_ID,
    COMPRESSED_LOCATION,
    ETAG,
    INDEX,
    INLINE,
    LAST_MODIFIED,
    LENGTH,
    LOCATION,
    OFFSET,
)

if TYPE_CHECKING:
    from collections.abc import Callable

    from icechunk._engine.format.manifest_locations import LocationDictionary
    from icechunk._engine.format.tables import FlatBuffer

    RefReader: TypeAlias = Callable[[int], ChunkRef]
    FieldReader: TypeAlias = Callable[[memoryview, int], tuple[int | bytes, ...]]


# Real manifests have one to five; a hostile one has one for each ref, and shall not fill the memory.
_REMEMBERED: Final = 256


class RefLayouts:
    """How to read the refs of each vtable of a manifest: worked out once for each, then a few calls a ref."""

    def __init__(self, file: FlatBuffer, dictionary: LocationDictionary) -> None:
        self._file = file
        self._dictionary = dictionary
        self.of_vtable: dict[int, tuple[int, RefReader]] = {}
        """Where the offset to the coordinates lies in a table, and what reads the rest of it."""

    def add(self, table: int) -> tuple[int, RefReader]:
        """Work out the layout of the table at this position, and remember it."""
        vtable = table - self._file.i32(table)
        slots = self._file._slots(vtable)
        if not slots[INDEX]:
            raise self._file.error("ChunkRef.index is missing")
        # The order is that of the specification: a ref that has several is the first of these.
        if slots[CHUNK_ID]:
            reader = self._native(slots)
        elif slots[COMPRESSED_LOCATION]:
            reader = self._virtual(slots, slots[COMPRESSED_LOCATION], is_compressed=True)
        elif slots[LOCATION]:
            reader = self._virtual(slots, slots[LOCATION], is_compressed=False)
        elif slots[INLINE]:
            reader = self._inline(slots[INLINE])
        else:
            raise self._file.error(f"the chunk ref at {table} is neither inline, native nor virtual")
        layout = (slots[INDEX], reader)
        if len(self.of_vtable) >= _REMEMBERED:
            self.of_vtable.clear()
        self.of_vtable[vtable] = layout
        return layout

    def _native(self, slots: tuple[int, ...]) -> RefReader:
        data = self._file.data
        if slots[OFFSET]:
            read = _field_reader((slots[OFFSET], "Q"), (slots[LENGTH], "Q"), (slots[CHUNK_ID], "12s"))

            def native(table: int) -> ChunkRef:
                offset, length, chunk_id = read(data, table)
                return NativeRef(ChunkId(chunk_id), offset, length)  # type: ignore[arg-type]

            return native

        # All native refs so far: worth a function of its own, that also goes around the named tuple's `__new__`.
        read = _field_reader((slots[LENGTH], "Q"), (slots[CHUNK_ID], "12s"))
        new = tuple.__new__

        def whole_native(table: int) -> ChunkRef:
            length, chunk_id = read(data, table)
            return new(NativeRef, (ChunkId(chunk_id), 0, length))

        return whole_native

    def _inline(self, field: int) -> RefReader:
        file = self._file

        def inline(table: int) -> ChunkRef:
            position = table + field
            return InlineRef(file.bytes_at(position + file.u32(position)).tobytes())

        return inline

    def _virtual(self, slots: tuple[int, ...], location: int, *, is_compressed: bool) -> RefReader:
        file = self._file
        data = file.data
        decompress = self._dictionary.decompress
        etag = slots[ETAG]
        read = _field_reader(
            (slots[OFFSET], "Q"), (slots[LENGTH], "Q"), (slots[LAST_MODIFIED], "I"), (location, "I")
        )

        def virtual(table: int) -> ChunkRef:
            offset, length, last_modified, distance = read(data, table)
            position = table + location + distance  # type: ignore[operator]
            if is_compressed:
                try:
                    text = decompress(file.bytes_at(position)).decode()
                except UnicodeDecodeError as error:
                    raise file.error(f"a location is not UTF-8 ({error})") from error
            else:
                text = file.text_at(position)
            etag_text = None
            if etag:
                position = table + etag
                etag_text = file.text_at(position + file.u32(position))
            return VirtualRef(text, offset, length, etag_text, last_modified)  # type: ignore[arg-type]

        return virtual


def _field_reader(*fields: tuple[int, str]) -> FieldReader:
    """Return what reads fields of a table in one go: each at an offset, or 0 if it is absent.

    It raises struct.error outside of the buffer.
    """
    order = sorted((offset, code, number) for number, (offset, code) in enumerate(fields) if offset)
    text, end = "<", 0
    is_overlapping = False
    for offset, code, _ in order:
        is_overlapping |= offset < end
        text += f"{max(0, offset - end)}x{code}"
        end = offset + struct.calcsize(f"<{code}")
    if is_overlapping:
        return _one_by_one(fields)
    unpack = struct.Struct(text).unpack_from
    read_order = [number for _, _, number in order]
    if read_order == list(range(len(fields))):
        return unpack
    # Absent fields come from a zero that is put behind.
    pick = itemgetter(
        *(read_order.index(number) if number in read_order else len(order) for number in range(len(fields)))
    )

    def read(data: memoryview, table: int) -> tuple[int | bytes, ...]:
        picked: tuple[int | bytes, ...] = pick((*unpack(data, table), 0))
        return picked

    return read


def _one_by_one(fields: tuple[tuple[int, str], ...]) -> FieldReader:
    # No writer does this, but the format does not forbid fields that overlap.
    layouts = [(offset, struct.Struct(f"<{code}")) for offset, code in fields]

    def read(data: memoryview, table: int) -> tuple[int | bytes, ...]:
        return tuple(
            layout.unpack_from(data, table + offset)[0] if offset else 0 for offset, layout in layouts
        )

    return read

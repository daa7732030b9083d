"""Reading FlatBuffers one table at a time, with every access checked.

The notation is that of the format's specification: a table has a vtable, which says at which offset from
the table's start each slot lies, or that it is absent. All offsets come from the file and are not trusted:
whatever leads out of the buffer is a FormatError. Overlapping and shared tables, any order of fields, any
alignment and unknown trailing slots are fine. Callers descend by schema, so a cycle ends where the schema ends.

What many tables have in common is read a column at a time: see `tables_columns`.
"""

from __future__ import annotations

import struct
from functools import cached_property
from struct import Struct
from typing import TYPE_CHECKING, Final, NamedTuple

import numpy as np

from icechunk._engine.format.header import invalid_file

if TYPE_CHECKING:
    from collections.abc import Iterator

    from icechunk._engine.format.arrays import ByteColumn, Positions
    from icechunk.errors import FormatError

_U8: Final = Struct("<B")
_U16: Final = Struct("<H")
_U32: Final = Struct("<I")
_I32: Final = Struct("<i")
_U64: Final = Struct("<Q")

# No table of the format has more. What lies beyond is from a newer version, and ignored.
MAX_SLOTS: Final = 16

# Real files use a handful again and again, or one for each table; the latter must not pile up.
_REMEMBERED_VTABLES: Final = 1024


class Vector(NamedTuple):
    """Where the elements of a vector lie: position of the first, and how many."""

    start: int
    count: int  # type: ignore[assignment]  # hides tuple.count, which nobody wants here


class FlatBuffer:
    """A payload, and how to find one's way in it without leaving it.

    Safe for use from several threads.
    """

    def __init__(self, payload: memoryview | bytes | bytearray, *, name: str) -> None:
        self.data = memoryview(payload)
        self.size = len(self.data)
        self.name = name
        self._slots_of_vtable: dict[int, tuple[int, ...]] = {}

    @cached_property
    def array(self) -> ByteColumn:
        """The whole payload as an array of bytes."""
        return np.frombuffer(self.data, dtype=np.uint8)

    def error(self, problem: str) -> FormatError:
        """Return the error that says what is wrong with this object."""
        return invalid_file(self.name, problem)

    def root(self) -> Table:
        """Return the table that everything hangs from."""
        return self.table_at(self.u32(0))

    def table_at(self, position: int) -> Table:
        """Return the table at `position`, after checking that it has a vtable."""
        if position < 0:
            raise self.error(f"a table at {position} is outside of the {self.size} bytes")
        return Table(self, position, self._slots(position - self.i32(position)))

    def u32(self, position: int) -> int:
        """Read a number at `position`, which must not be negative."""
        try:
            value: int = _U32.unpack_from(self.data, position)[0]
        except struct.error:
            raise self._outside(position, 4) from None
        return value

    def i32(self, position: int) -> int:
        """Read a signed number at `position`, which must not be negative."""
        try:
            value: int = _I32.unpack_from(self.data, position)[0]
        except struct.error:
            raise self._outside(position, 4) from None
        return value

    def vector_at(self, position: int, item_size: int) -> Vector:
        """Return where the elements of the vector at `position` lie: all of them inside the buffer."""
        count = self.u32(position)
        start = position + 4
        if start + count * item_size > self.size:
            raise self.error(
                f"a vector at {position} claims {count} elements of {item_size} bytes, "
                f"more than there are in {self.size} bytes"
            )
        return Vector(start, count)

    def bytes_at(self, position: int) -> memoryview:
        """Return the bytes of the byte vector or string at `position`, not copied."""
        start, count = self.vector_at(position, 1)
        return self.data[start : start + count]

    def text_at(self, position: int) -> str:
        """Return the string at `position`."""
        start = position + 4
        end = start + self.u32(position)
        if end > self.size:
            raise self._outside(start, end - start)
        try:
            return str(self.data[start:end], "utf-8")
        except UnicodeDecodeError as error:
            raise self.error(f"the string at {position} is not UTF-8 ({error})") from error

    def _slots(self, vtable: int) -> tuple[int, ...]:
        # Tables share vtables, and a decoded tuple is much faster than reading the buffer again.
        slots = self._slots_of_vtable.get(vtable)
        if slots is None:
            if not 0 <= vtable <= self.size - 4:
                raise self._outside(vtable, 4)
            length: int = _U16.unpack_from(self.data, vtable)[0]
            if length < 4 or length % 2 or vtable + length > self.size:
                raise self.error(f"the vtable at {vtable} has an impossible length of {length} bytes")
            count = min((length - 4) // 2, MAX_SLOTS)
            slots = struct.unpack_from(f"<{count}H", self.data, vtable + 4)
            slots += (0,) * (MAX_SLOTS - count)
            if len(self._slots_of_vtable) >= _REMEMBERED_VTABLES:
                self._slots_of_vtable.clear()
            self._slots_of_vtable[vtable] = slots
        return slots

    def _outside(self, position: int, count: int) -> FormatError:
        return self.error(
            f"{count} bytes at {position} are needed, which is outside of the {self.size} bytes"
        )


class Table:
    """One table. An accessor returns the default, or None, where the slot is absent."""

    __slots__ = ("_slots", "file", "position")

    def __init__(self, file: FlatBuffer, position: int, slots: tuple[int, ...]) -> None:
        self.file = file
        self.position = position
        self._slots = slots

    def has(self, slot: int) -> bool:
        """Whether the slot is present."""
        return self._slots[slot] != 0

    def require(self, slot: int, what: str) -> None:
        """Raise FormatError if the slot is absent. `what` names it: `Snapshot.nodes`."""
        if not self._slots[slot]:
            raise self.file.error(f"{what} is missing")

    def u8(self, slot: int, default: int = 0) -> int:
        """Read a number of one byte."""
        return self._scalar(_U8, slot, default)

    def u32(self, slot: int, default: int = 0) -> int:
        """Read a number of four bytes."""
        return self._scalar(_U32, slot, default)

    def i32(self, slot: int, default: int = 0) -> int:
        """Read a signed number of four bytes."""
        return self._scalar(_I32, slot, default)

    def u64(self, slot: int, default: int = 0) -> int:
        """Read a number of eight bytes."""
        return self._scalar(_U64, slot, default)

    def struct(self, slot: int, size: int) -> bytes | None:
        """Read the bytes of a struct that lies inside the table, like an id."""
        offset = self._slots[slot]
        if not offset:
            return None
        start = self.position + offset
        if start + size > self.file.size:
            raise self.file._outside(start, size)
        return self.file.data[start : start + size].tobytes()

    def target(self, slot: int) -> int | None:
        """Return the position that an offset field points to. It may still be outside of the buffer."""
        offset = self._slots[slot]
        if not offset:
            return None
        field = self.position + offset
        return field + self.file.u32(field)

    def table(self, slot: int) -> Table | None:
        """Return the table that the slot refers to."""
        position = self.target(slot)
        return None if position is None else self.file.table_at(position)

    def vector(self, slot: int, item_size: int) -> Vector | None:
        """Return where the elements of the vector that the slot refers to lie, checked."""
        offset = self._slots[slot]
        if not offset:
            return None
        # Written out, as small files are little else than vectors; what is wrong, `vector_at` finds out.
        file = self.file
        field = self.position + offset
        try:
            position: int = field + _U32.unpack_from(file.data, field)[0]
            count: int = _U32.unpack_from(file.data, position)[0]
        except struct.error:
            return file.vector_at(field + file.u32(field), item_size)
        if position + 4 + count * item_size > file.size:
            return file.vector_at(position, item_size)
        return Vector(position + 4, count)

    def bytes(self, slot: int) -> memoryview | None:
        """Return a vector of bytes, or a string before decoding, not copied."""
        position = self.target(slot)
        return None if position is None else self.file.bytes_at(position)

    def text(self, slot: int) -> str | None:
        """Return a string."""
        position = self.target(slot)
        return None if position is None else self.file.text_at(position)

    def tables(self, slot: int) -> TableVector | None:
        """Return a vector of tables."""
        vector = self.vector(slot, 4)
        return None if vector is None else TableVector(self.file, vector)

    def _scalar(self, layout: Struct, slot: int, default: int) -> int:
        offset = self._slots[slot]
        if not offset:
            return default
        try:
            value: int = layout.unpack_from(self.file.data, self.position + offset)[0]
        except struct.error:
            raise self.file._outside(self.position + offset, layout.size) from None
        return value


class TableVector:
    """A vector of tables: one at a time, or the positions of all."""

    __slots__ = ("_count", "_start", "file")

    def __init__(self, file: FlatBuffer, vector: Vector) -> None:
        self.file = file
        self._start, self._count = vector

    def __len__(self) -> int:
        return self._count

    def __getitem__(self, index: int) -> Table:
        return self.file.table_at(self.position(index))

    def __iter__(self) -> Iterator[Table]:
        file = self.file
        for element in range(self._start, self._start + 4 * self._count, 4):
            yield file.table_at(element + file.u32(element))

    def position(self, index: int) -> int:
        """Return where the table lies that is number `index` of the vector."""
        if not 0 <= index < self._count:
            raise IndexError(index)
        element = self._start + 4 * index
        return element + self.file.u32(element)

    def positions(self) -> Positions:
        """Return where all the tables lie, as they are written: not checked."""
        elements = np.frombuffer(self.file.data, "<u4", self._count, self._start)
        positions = np.arange(self._start, self._start + 4 * self._count, 4, dtype=np.int64)
        positions += elements
        return positions

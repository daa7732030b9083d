"""Reading FlatBuffers with the stock runtime, and a check before every access.

The stock Python runtime trusts its input: a slice past the end is silently short, a negative position
counts from the end. Here each read is checked first, and what does not lie in the buffer is `Rejected`.
Nothing is fast, nothing is cached, and nothing is shared with ``icechunk._engine.format``.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, TypeVar

from flatbuffers import encode, number_types as n
from flatbuffers.table import Table

if TYPE_CHECKING:
    from collections.abc import Callable

T = TypeVar("T")


class Rejected(Exception):
    """These bytes have no meaning: our decoder must raise `FormatError`."""


class Undecided(Exception):
    """Reading all this would take the judge too long; it has no opinion."""


class Budget:
    """How many items the judge reads of one file: a cycle or a fan-out of shared vectors must end."""

    def __init__(self, items: int = 200_000) -> None:
        self.items = items

    def spend(self, items: int = 1) -> None:
        self.items -= items
        if self.items < 0:
            raise Undecided("the file has more items than the judge is ready to read")


def read(data: bytes, flags: Any, position: int) -> Any:
    """The number of type `flags` at `position`."""
    if position < 0 or position + flags.bytewidth > len(data):
        raise Rejected(f"a number at {position} lies outside of the buffer")
    return encode.Get(flags.packer_type, data, position)


class Record:
    """A FlatBuffers table; a `slot` is the number of a field in its schema."""

    def __init__(self, data: bytes, position: int, budget: Budget) -> None:
        budget.spend()
        self.data = data
        self.position = position
        self.budget = budget

    def field(self, slot: int) -> int:
        """Where the field lies, or 0 when it is absent."""
        vtable = self.position - read(self.data, n.SOffsetTFlags, self.position)
        size = read(self.data, n.VOffsetTFlags, vtable)
        if 4 + 2 * slot < size:
            read(self.data, n.VOffsetTFlags, vtable + 4 + 2 * slot)
        offset = Table(self.data, self.position).Offset(4 + 2 * slot)
        return self.position + offset if offset else 0

    def required(self, slot: int) -> int:
        position = self.field(slot)
        if not position:
            raise Rejected(f"the required slot {slot} is absent")
        return position

    def number(self, slot: int, flags: Any, default: int = 0) -> int:
        position = self.field(slot)
        return int(read(self.data, flags, position)) if position else default

    def u8(self, slot: int, default: int = 0) -> int:
        return self.number(slot, n.Uint8Flags, default)

    def u16(self, slot: int) -> int:
        return self.number(slot, n.Uint16Flags)

    def u32(self, slot: int) -> int:
        return self.number(slot, n.Uint32Flags)

    def i32(self, slot: int) -> int:
        return self.number(slot, n.Int32Flags)

    def u64(self, slot: int) -> int:
        return self.number(slot, n.Uint64Flags)

    def struct(self, slot: int, size: int) -> bytes | None:
        """An inline struct, as its bytes."""
        position = self.field(slot)
        return slice_of(self.data, position, size) if position else None

    def required_struct(self, slot: int, size: int) -> bytes:
        return slice_of(self.data, self.required(slot), size)

    def target(self, slot: int) -> int:
        """What the offset in the required field `slot` points to."""
        return follow(self.data, self.required(slot))

    def record(self, slot: int) -> Record:
        return Record(self.data, self.target(slot), self.budget)

    def has(self, slot: int) -> bool:
        return self.field(slot) != 0

    def blob(self, slot: int) -> bytes:
        """A vector of bytes, or a string, as bytes."""
        first, length = self.vector(slot, 1)
        self.budget.spend(length // 256)
        return slice_of(self.data, first, length)

    def text(self, slot: int) -> str:
        try:
            return self.blob(slot).decode()
        except UnicodeDecodeError as error:
            raise Rejected(f"slot {slot} is no UTF-8") from error

    def optional_text(self, slot: int) -> str | None:
        return self.text(slot) if self.has(slot) else None

    def vector(self, slot: int, item_size: int) -> tuple[int, int]:
        """Where the first item of the vector lies, and how many there are."""
        position = self.target(slot)
        length = int(read(self.data, n.UOffsetTFlags, position))
        slice_of(self.data, position + 4, length * item_size)
        return position + 4, length

    def structs(self, slot: int, size: int) -> list[bytes]:
        first, length = self.vector(slot, size)
        self.budget.spend(length)
        return [slice_of(self.data, first + i * size, size) for i in range(length)]

    def numbers(self, slot: int, flags: Any) -> list[int]:
        first, length = self.vector(slot, flags.bytewidth)
        self.budget.spend(length)
        return [int(read(self.data, flags, first + i * flags.bytewidth)) for i in range(length)]

    def records(self, slot: int, make: Callable[[Record], T]) -> list[T]:
        return [make(self.child(slot, i)) for i in range(self.vector(slot, 4)[1])]

    def child(self, slot: int, index: int) -> Record:
        """Item `index` of a vector of tables."""
        first, _ = self.vector(slot, 4)
        return Record(self.data, follow(self.data, first + 4 * index), self.budget)

    def texts(self, slot: int) -> list[str]:
        """A vector of strings."""
        first, length = self.vector(slot, 4)
        out = []
        for i in range(length):
            self.budget.spend()
            position = follow(self.data, first + 4 * i)
            size = int(read(self.data, n.UOffsetTFlags, position))
            try:
                out.append(slice_of(self.data, position + 4, size).decode())
            except UnicodeDecodeError as error:
                raise Rejected(f"item {i} of slot {slot} is no UTF-8") from error
        return out


def root(data: bytes) -> Record:
    return Record(data, follow(data, 0), Budget())


def follow(data: bytes, position: int) -> int:
    return position + int(read(data, n.UOffsetTFlags, position))


def slice_of(data: bytes, start: int, size: int) -> bytes:
    if start < 0 or start + size > len(data):
        raise Rejected(f"{size} bytes at {start} do not lie in the buffer")
    return data[start : start + size]

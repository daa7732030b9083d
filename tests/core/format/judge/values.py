"""The judge's readers of metadata values: MessagePack (spec 1) and FlexBuffers (spec 2).

MessagePack is read by the stock package. The stock FlexBuffers reader checks no bounds, so this is another one,
with checks; `test_the_judge` compares the two on documents of the stock writer.
"""

from __future__ import annotations

import struct
from typing import Any

import msgpack

from tests.core.format.judge.flat import Budget, Rejected, slice_of

_INTEGERS = {1: "b", 2: "h", 4: "i", 8: "q"}
_FLOATS = {2: "e", 4: "f", 8: "d"}


def read_msgpack(data: bytes) -> Any:
    try:
        return msgpack.unpackb(data, raw=False, strict_map_key=False)
    except (ValueError, TypeError, msgpack.exceptions.UnpackException, RecursionError) as error:
        # TypeError: a map whose key is a map.
        raise Rejected(f"no MessagePack: {error}") from error


def read_flexbuffers(data: bytes, budget: Budget) -> Any:
    if len(data) < 3:
        raise Rejected("a FlexBuffer has at least three bytes")
    width = data[-1]
    if width not in _INTEGERS:
        raise Rejected(f"a root of width {width}")
    return _Flex(data, budget).value(len(data) - 2 - width, width, data[-2], ())


class _Flex:
    def __init__(self, data: bytes, budget: Budget) -> None:
        self.data = data
        self.budget = budget

    def unsigned(self, position: int, width: int) -> int:
        return int.from_bytes(slice_of(self.data, position, width), "little")

    def signed(self, position: int, width: int) -> int:
        return int.from_bytes(slice_of(self.data, position, width), "little", signed=True)

    def floating(self, position: int, width: int) -> float:
        if width not in _FLOATS:
            raise Rejected(f"a float of {width} bytes")
        return float(struct.unpack("<" + _FLOATS[width], slice_of(self.data, position, width))[0])

    def target(self, position: int, width: int) -> int:
        """Offsets point backwards."""
        found = position - self.unsigned(position, width)
        if found < 0:
            raise Rejected("an offset points in front of the buffer")
        return found

    def key(self, position: int) -> str:
        end = self.data.find(b"\0", position)
        if position < 0 or end < 0:
            raise Rejected("a key without end")
        return self.text(position, end - position)

    def text(self, position: int, size: int) -> str:
        try:
            return slice_of(self.data, position, size).decode()
        except UnicodeDecodeError as error:
            raise Rejected("a text is no UTF-8") from error

    def value(self, position: int, parent_width: int, packed: int, above: tuple[Any, ...]) -> Any:
        """The value in the slot at `position`, which is `parent_width` bytes wide."""
        self.budget.spend()
        width, kind = 1 << (packed & 3), packed >> 2
        if kind == 0:
            slice_of(self.data, position, parent_width)
            return None
        if kind in (1, 2, 3, 26):
            return self.scalar(kind, position, parent_width)
        target = self.target(position, parent_width)
        if (target, packed) in above:
            raise Rejected("a vector contains itself")
        above = (*above, (target, packed))
        if kind == 4:
            return self.key(target)
        if kind in (6, 7, 8):
            return self.scalar(kind - 5, target, width)
        if 16 <= kind <= 24:
            length, element = (kind - 16) // 3 + 2, (kind - 16) % 3 + 1
            return [self.scalar(element, target + i * width, width) for i in range(length)]
        length = self.unsigned(target - width, width)
        if kind == 5:
            return self.text(target, length)
        if kind == 25:
            return slice_of(self.data, target, length)
        self.budget.spend(length)
        if kind == 9:
            return self.map(target, width, length, above)
        if kind == 10:
            return [
                self.value(target + i * width, width, self.packed_type(target, width, length, i), above)
                for i in range(length)
            ]
        if kind in (11, 12, 13, 36):
            element = 26 if kind == 36 else kind - 10
            return [self.scalar(element, target + i * width, width) for i in range(length)]
        if kind in (14, 15):
            return [self.key(self.target(target + i * width, width)) for i in range(length)]
        raise Rejected(f"there is no type {kind}")

    def packed_type(self, first: int, width: int, length: int, index: int) -> int:
        return self.unsigned(first + length * width + index, 1)

    def scalar(self, kind: int, position: int, width: int) -> Any:
        if kind == 1:
            return self.signed(position, width)
        if kind == 2:
            return self.unsigned(position, width)
        if kind == 3:
            return self.floating(position, width)
        return self.unsigned(position, width) != 0

    def map(self, first: int, width: int, length: int, above: tuple[Any, ...]) -> dict[str, Any]:
        keys = self.target(first - 3 * width, width)
        key_width = self.unsigned(first - 2 * width, width)
        if key_width not in _INTEGERS:
            raise Rejected(f"keys of width {key_width}")
        out = {}
        for i in range(length):
            name = self.key(self.target(keys + i * key_width, key_width))
            packed = self.packed_type(first, width, length, i)
            out[name] = self.value(first + i * width, width, packed, above)
        return out

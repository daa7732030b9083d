"""FlexBuffers values of spec version 2, reading: bytes to JSON values.

Format section 9.2. Every form of FlexBuffers is accepted (typed, fixed-size and untyped vectors,
indirect scalars, keys, blobs). The reader is our own because the input may be hostile: offsets are
checked, and as offsets only point backwards but may meet, the number of values that a document may
unfold to is bounded by its size. `encode` is in `flexbuffers_writing`.
"""

from __future__ import annotations

import math
import struct
from typing import TYPE_CHECKING

from icechunk._engine.format.flexbuffers_writing import encode
from icechunk.errors import ErrorKind, FormatError

if TYPE_CHECKING:
    from icechunk._engine.format.values import Buffer, JsonValue

__all__ = ["decode", "encode"]

_NULL, _INT, _UINT, _FLOAT, _KEY, _STRING = range(6)
_INDIRECT_INT, _INDIRECT_UINT, _INDIRECT_FLOAT, _MAP, _VECTOR = range(6, 11)
_VECTOR_INT, _VECTOR_UINT, _VECTOR_FLOAT, _VECTOR_KEY, _VECTOR_STRING_DEPRECATED = range(11, 16)
_VECTOR_INT2, _VECTOR_FLOAT4 = 16, 24
_BLOB, _BOOL = 25, 26
_VECTOR_BOOL = 36

# One letter for each width of 1, 2, 4 and 8 bytes.
_SIGNED = {1: "b", 2: "h", 4: "i", 8: "q"}
_UNSIGNED = {1: "B", 2: "H", 4: "I", 8: "Q"}
_FLOATS = {2: "e", 4: "f", 8: "d"}
_READ_SIGNED = {w: struct.Struct("<" + c).unpack_from for w, c in _SIGNED.items()}
_READ_UNSIGNED = {w: struct.Struct("<" + c).unpack_from for w, c in _UNSIGNED.items()}
_READ_FLOAT = {w: struct.Struct("<" + c).unpack_from for w, c in _FLOATS.items()}


def decode(data: Buffer, *, name: str, max_depth: int) -> JsonValue:
    """Decode the document that fills `data`.

    Raises
    ------
    FormatError
        An offset or length leaves the document, values are nested too deep or unfold to more than
        the document can hold, or a type has no place in JSON.
    """
    reader = _Reader(bytes(data), name)
    try:
        return reader.root(max_depth)
    except RecursionError:
        # Not too deep by our limit, but for the caller's own stack.
        raise reader.error("it is nested too deep") from None


class _Reader:
    """One pass over one document."""

    __slots__ = ("budget", "data", "keys", "name", "strings")

    def __init__(self, data: bytes, name: str) -> None:
        self.data = data
        self.name = name
        # Each value occupies a byte of its own in its parent, each text its own bytes: only a
        # document whose offsets meet can unfold to more, and one that is not hostile hardly does.
        self.budget = 2 * len(data) + 1024
        self.keys: dict[int, str] = {}
        self.strings: dict[tuple[int, int], str] = {}

    def error(self, what: str) -> FormatError:
        return FormatError(
            f"{self.name}: invalid FlexBuffers document: {what}", kind=ErrorKind.DESERIALIZATION
        )

    def spend(self, amount: int) -> None:
        self.budget -= amount
        if self.budget < 0:
            raise self.error("it unfolds to more values than it can hold")

    def root(self, max_depth: int) -> JsonValue:
        data = self.data
        if len(data) < 3:
            raise self.error("it is too short")
        width, packed = data[-1], data[-2]
        if width not in _UNSIGNED or len(data) < 2 + width:
            raise self.error(f"its root has a width of {width} bytes")
        return self.value(len(data) - 2 - width, width, packed, max_depth)

    # --- one value: `at` is the place of its slot in the parent, `width` that slot's size.

    def value(self, at: int, width: int, packed: int, depth: int) -> JsonValue:
        self.spend(1)
        kind = packed >> 2
        if kind == _NULL:
            return None
        if kind in (_INT, _UINT, _FLOAT, _BOOL):
            return self.scalar(at, width, kind)
        target = self.indirect(at, width)
        child_width = 1 << (packed & 3)
        if kind == _STRING:
            return self.string(target, child_width)
        if kind == _KEY:
            return self.key(target)
        if _INDIRECT_INT <= kind <= _INDIRECT_FLOAT:
            return self.scalar(target, child_width, kind - _INDIRECT_INT + _INT)
        if depth == 0:
            raise self.error("it is nested too deep")
        if kind == _MAP:
            return self.map(target, child_width, depth)
        if kind == _VECTOR:
            return self.vector(target, child_width, depth)
        if _VECTOR_INT <= kind <= _VECTOR_STRING_DEPRECATED or kind == _VECTOR_BOOL:
            return self.typed_vector(target, child_width, kind)
        if _VECTOR_INT2 <= kind <= _VECTOR_FLOAT4:
            length, element = divmod(kind - _VECTOR_INT2, 3)
            return self.numbers(target, child_width, element + _INT, length + 2)
        if kind == _BLOB:
            length = self.length(target, child_width)
            self.check(target, length)
            self.spend(length)
            return list(self.data[target : target + length])
        raise self.error(f"type {kind} is unknown")

    def scalar(self, at: int, width: int, kind: int) -> JsonValue:
        self.check(at, width)
        if kind == _INT:
            return int(_READ_SIGNED[width](self.data, at)[0])
        if kind == _UINT:
            return int(_READ_UNSIGNED[width](self.data, at)[0])
        if kind == _BOOL:
            return bool(_READ_UNSIGNED[width](self.data, at)[0])
        if width == 1:
            raise self.error("a float has a width of 1 byte")
        number = float(_READ_FLOAT[width](self.data, at)[0])
        return number if math.isfinite(number) else None

    def string(self, target: int, width: int) -> str:
        known = self.strings.get((target, width))
        if known is not None:
            return known
        length = self.length(target, width)
        self.check(target, length)
        text = self.strings[target, width] = self.text(target, target + length)
        return text

    def key(self, target: int) -> str:
        known = self.keys.get(target)
        if known is not None:
            return known
        end = self.data.find(b"\0", target)
        if end < 0:
            raise self.error("a key has no end")
        text = self.keys[target] = self.text(target, end)
        return text

    def text(self, start: int, stop: int) -> str:
        self.spend(stop - start)
        try:
            return self.data[start:stop].decode()
        except UnicodeDecodeError as error:
            raise self.error(f"a string is not UTF-8 ({error.reason})") from error

    def vector(self, target: int, width: int, depth: int) -> JsonValue:
        length = self.length(target, width)
        types = target + length * width
        self.check(target, length * (width + 1))
        values: list[JsonValue] = []
        # A loop, not a comprehension: that would be one more frame for each level of nesting.
        for i in range(length):
            values.append(  # noqa: PERF401
                self.value(target + i * width, width, self.data[types + i], depth - 1)
            )
        return values

    def map(self, target: int, width: int, depth: int) -> JsonValue:
        length = self.length(target, width)
        types = target + length * width
        self.check(target - 3 * width, length * (width + 1) + 3 * width)
        keys = self.indirect(target - 3 * width, width)
        keys_width = _READ_UNSIGNED[width](self.data, target - 2 * width)[0]
        if keys_width not in _UNSIGNED:
            raise self.error(f"the keys of a map have a width of {keys_width} bytes")
        if self.length(keys, keys_width) != length:
            raise self.error("a map has more keys than values, or fewer")
        self.check(keys, length * keys_width)
        members: dict[str, JsonValue] = {}
        for i in range(length):
            name = self.key(self.indirect(keys + i * keys_width, keys_width))
            members[name] = self.value(target + i * width, width, self.data[types + i], depth - 1)
        return members

    def typed_vector(self, target: int, width: int, kind: int) -> JsonValue:
        length = self.length(target, width)
        self.check(target, length * width)
        if kind == _VECTOR_BOOL:
            return self.numbers(target, width, _BOOL, length)
        if kind <= _VECTOR_FLOAT:
            return self.numbers(target, width, kind - _VECTOR_INT + _INT, length)
        self.spend(length)
        elements = [self.indirect(target + i * width, width) for i in range(length)]
        # The deprecated vector of strings has no room for the width of each string's length; every
        # reader goes by the NUL behind them, as for keys.
        return [self.key(element) for element in elements]

    def numbers(self, target: int, width: int, kind: int, length: int) -> JsonValue:
        self.check(target, length * width)
        self.spend(length)
        return [self.scalar(target + i * width, width, kind) for i in range(length)]

    # --- places

    def check(self, start: int, size: int) -> None:
        if start < 0 or start + size > len(self.data):
            raise self.error("an offset or a length leaves it")

    def length(self, target: int, width: int) -> int:
        self.check(target - width, width)
        return int(_READ_UNSIGNED[width](self.data, target - width)[0])

    def indirect(self, at: int, width: int) -> int:
        self.check(at, width)
        # Offsets count backwards. 0 is what a map without members has for its keys: an empty vector
        # ends where the map begins. A value that contains itself ends at the limit on depth.
        offset = int(_READ_UNSIGNED[width](self.data, at)[0])
        if offset > at:
            raise self.error("an offset leaves it")
        return at - offset

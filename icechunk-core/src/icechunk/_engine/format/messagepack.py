"""MessagePack values of spec version 1: bytes and JSON values.

Format section 9.1. The reader is our own because it must be strict about what it is fed: a library
that allocates a list from a length it has not checked yet can be made to allocate gigabytes by a
small file. It knows all of MessagePack but extension types, which have no place in JSON.
"""

from __future__ import annotations

import math
import struct
from typing import TYPE_CHECKING

from icechunk.errors import ErrorKind, FormatError

if TYPE_CHECKING:
    from icechunk._engine.format.values import Buffer, JsonValue

_NUMBERS = {
    0xCA: struct.Struct(">f"),
    0xCB: struct.Struct(">d"),
    0xCC: struct.Struct(">B"),
    0xCD: struct.Struct(">H"),
    0xCE: struct.Struct(">I"),
    0xCF: struct.Struct(">Q"),
    0xD0: struct.Struct(">b"),
    0xD1: struct.Struct(">h"),
    0xD2: struct.Struct(">i"),
    0xD3: struct.Struct(">q"),
}
_LENGTHS = {1: struct.Struct(">B"), 2: struct.Struct(">H"), 4: struct.Struct(">I")}
_STRINGS = {0xD9: 1, 0xDA: 2, 0xDB: 4}
_BINARIES = {0xC4: 1, 0xC5: 2, 0xC6: 4}
_ARRAYS = {0xDC: 2, 0xDD: 4}
_MAPS = {0xDE: 2, 0xDF: 4}


def decode(data: Buffer, *, name: str, max_depth: int) -> JsonValue:
    """Decode exactly one value from the whole of `data`.

    Raises
    ------
    FormatError
        `data` is truncated, has bytes left over, or holds what JSON cannot.
    """
    reader = _Reader(bytes(data), name)
    try:
        value = reader.read(max_depth)
    except RecursionError:
        # Not too deep by our limit, but for the caller's own stack.
        raise reader.error("it is nested too deep") from None
    if reader.position != len(reader.data):
        raise reader.error("bytes are left over after the value")
    return value


def encode(value: JsonValue) -> bytes:
    """Encode in the shortest form: maps with sorted keys, floats always in 64 bits."""
    out = bytearray()
    _write(value, out)
    return bytes(out)


class _Reader:
    __slots__ = ("data", "name", "position")

    def __init__(self, data: bytes, name: str) -> None:
        self.data = data
        self.name = name
        self.position = 0

    def error(self, what: str) -> FormatError:
        return FormatError(f"{self.name}: invalid MessagePack value: {what}", kind=ErrorKind.DESERIALIZATION)

    def read(self, depth: int) -> JsonValue:
        code = self.take(1)[0]
        if code <= 0x7F:
            return code
        if code >= 0xE0:
            return code - 0x100
        if code in _NUMBERS:
            layout = _NUMBERS[code]
            (number,) = layout.unpack(self.take(layout.size))
            return None if isinstance(number, float) and not math.isfinite(number) else number
        if code == 0xC0:
            return None
        if code in (0xC2, 0xC3):
            return code == 0xC3
        if 0xA0 <= code <= 0xBF:
            return self.text(code & 0x1F)
        if code in _STRINGS:
            return self.text(self.length(_STRINGS[code]))
        if code in _BINARIES:
            return list(self.take(self.length(_BINARIES[code])))
        if 0x90 <= code <= 0x9F:
            return self.array(code & 0x0F, depth)
        if code in _ARRAYS:
            return self.array(self.length(_ARRAYS[code]), depth)
        if 0x80 <= code <= 0x8F:
            return self.map(code & 0x0F, depth)
        if code in _MAPS:
            return self.map(self.length(_MAPS[code]), depth)
        raise self.error(f"type byte 0x{code:02x}")

    def take(self, size: int) -> bytes:
        start = self.position
        self.position = stop = start + size
        if stop > len(self.data):
            raise self.error("it is truncated")
        return self.data[start:stop]

    def length(self, width: int) -> int:
        return int(_LENGTHS[width].unpack(self.take(width))[0])

    def text(self, size: int) -> str:
        try:
            return self.take(size).decode()
        except UnicodeDecodeError as error:
            raise self.error(f"a string is not UTF-8 ({error.reason})") from error

    def array(self, length: int, depth: int) -> JsonValue:
        if depth == 0:
            raise self.error("it is nested too deep")
        # No allocation by length: every element takes a byte at least, or the input ends first.
        values: list[JsonValue] = []
        # A loop, not a comprehension: that would be one more frame for each level of nesting.
        for _ in range(length):
            values.append(self.read(depth - 1))  # noqa: PERF401
        return values

    def map(self, length: int, depth: int) -> JsonValue:
        if depth == 0:
            raise self.error("it is nested too deep")
        members: dict[str, JsonValue] = {}
        for _ in range(length):
            key = self.read(depth - 1)
            if not isinstance(key, str):
                raise self.error(f"a map has the key {key!r}, which is no string")
            members[key] = self.read(depth - 1)
        return members


def _write(value: JsonValue, out: bytearray) -> None:
    if value is None:
        out.append(0xC0)
    elif value is True:
        out.append(0xC3)
    elif value is False:
        out.append(0xC2)
    elif isinstance(value, str):
        text = value.encode()
        _write_length(len(text), out, (0xA0, 32), (0xD9, 0xDA, 0xDB))
        out += text
    elif isinstance(value, float):
        out.append(0xCB)
        out += struct.pack(">d", value)
    elif isinstance(value, int):
        _write_integer(value, out)
    elif isinstance(value, list):
        _write_length(len(value), out, (0x90, 16), (None, 0xDC, 0xDD))
        for item in value:
            _write(item, out)
    else:
        _write_length(len(value), out, (0x80, 16), (None, 0xDE, 0xDF))
        for key in sorted(value):
            _write(key, out)
            _write(value[key], out)


def _write_length(
    length: int,
    out: bytearray,
    fixed: tuple[int, int],
    codes: tuple[int | None, int, int],
) -> None:
    first, limit = fixed
    one_byte, two_bytes, four_bytes = codes
    if length < limit:
        out.append(first + length)
    elif one_byte is not None and length < 1 << 8:
        out += bytes((one_byte, length))
    elif length < 1 << 16:
        out += struct.pack(">BH", two_bytes, length)
    else:
        out += struct.pack(">BI", four_bytes, length)


def _write_integer(value: int, out: bytearray) -> None:
    if -32 <= value < 128:
        out.append(value & 0xFF)
        return
    codes = range(0xCC, 0xD0) if value >= 0 else range(0xD0, 0xD4)
    for code in codes:
        layout = _NUMBERS[code]
        try:
            packed = layout.pack(value)
        except struct.error:
            continue
        out.append(code)
        out += packed
        return
    raise OverflowError(f"{value} fits neither i64 nor u64")

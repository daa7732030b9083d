"""FlexBuffers values of spec version 2, writing: JSON values to bytes.

Format section 9.2. The forms chosen are those that the reference implementation chooses: smallest
widths, typed vectors where all elements are numbers of one kind, keys and vectors of keys shared.
"""

from __future__ import annotations

import struct
from typing import TYPE_CHECKING, NamedTuple

from icechunk.errors import ErrorKind, FormatError

if TYPE_CHECKING:
    from icechunk._engine.format.values import JsonValue

_NULL, _INT, _UINT, _FLOAT, _KEY, _STRING = range(6)
_MAP, _VECTOR, _VECTOR_INT, _VECTOR_KEY, _VECTOR_INT2 = 9, 10, 11, 14, 16
_BOOL, _VECTOR_BOOL = 26, 36
_INLINE = frozenset((_NULL, _INT, _UINT, _FLOAT, _BOOL))

_SIGNED = "bhiq"
_UNSIGNED = "BHIQ"
_FLOATS = " efd"


def encode(value: JsonValue) -> bytes:
    """Encode a value of JSON's types as one document.

    Raises
    ------
    FormatError
        A key holds a NUL character, which ends a key in this format.
    """
    writer = _Writer()
    root = writer.add(value)
    return writer.finish(root)


class _Slot(NamedTuple):
    """A value that is written, or waits to be written inline by its parent."""

    kind: int
    # Binary logarithm of the width: of the scalar itself, or of what the offset leads to.
    width: int
    # The scalar, or the place of what it leads to.
    content: int | float


def _unsigned_width(number: int) -> int:
    if number < 1 << 8:
        return 0
    if number < 1 << 16:
        return 1
    return 2 if number < 1 << 32 else 3


def _signed_width(number: int) -> int:
    return _unsigned_width(2 * (number if number >= 0 else ~number))


def _float_width(number: float) -> int:
    try:
        return 2 if struct.unpack("<f", struct.pack("<f", number))[0] == number else 3
    except OverflowError:
        return 3


class _Writer:
    __slots__ = ("keys", "key_vectors", "out")

    def __init__(self) -> None:
        self.out = bytearray()
        self.keys: dict[str, int] = {}
        self.key_vectors: dict[tuple[str, ...], _Slot] = {}

    def add(self, value: JsonValue) -> _Slot:
        if value is None:
            return _Slot(_NULL, 0, 0)
        if isinstance(value, bool):
            return _Slot(_BOOL, 0, int(value))
        if isinstance(value, int):
            if value < 0:
                return _Slot(_INT, _signed_width(value), value)
            return _Slot(_UINT, _unsigned_width(value), value)
        if isinstance(value, float):
            return _Slot(_FLOAT, _float_width(value), value)
        if isinstance(value, str):
            return self.add_string(value)
        if isinstance(value, list):
            return self.add_list(value)
        return self.add_map(value)

    def add_string(self, value: str) -> _Slot:
        text = value.encode()
        width = _unsigned_width(len(text))
        self.align(width)
        self.write_unsigned(len(text), width)
        start = len(self.out)
        self.out += text
        self.out.append(0)
        return _Slot(_STRING, width, start)

    def add_list(self, value: list[JsonValue]) -> _Slot:
        slots = [self.add(item) for item in value]
        kinds = {slot.kind for slot in slots}
        if len(kinds) == 1:
            (kind,) = kinds
            if kind == _BOOL:
                return self.add_vector(slots, _VECTOR_BOOL)
            if kind in (_INT, _UINT, _FLOAT):
                if 2 <= len(slots) <= 4:
                    fixed = _VECTOR_INT2 + 3 * (len(slots) - 2) + (kind - _INT)
                    return self.add_vector(slots, fixed, with_length=False)
                return self.add_vector(slots, _VECTOR_INT + (kind - _INT))
        return self.add_vector(slots, _VECTOR)

    def add_map(self, value: dict[str, JsonValue]) -> _Slot:
        # Code points and UTF-8 bytes sort alike.
        names = sorted(value)
        keys = self.add_keys(tuple(names))
        return self.add_vector([self.add(value[name]) for name in names], _MAP, keys=keys)

    def add_keys(self, names: tuple[str, ...]) -> _Slot:
        known = self.key_vectors.get(names)
        if known is not None:
            return known
        places = []
        for name in names:
            place = self.keys.get(name)
            if place is None:
                if "\0" in name:
                    raise FormatError(
                        f"the key {name!r} holds a NUL character, which no FlexBuffers key can",
                        kind=ErrorKind.SERIALIZATION,
                    )
                place = self.keys[name] = len(self.out)
                self.out += name.encode()
                self.out.append(0)
            places.append(_Slot(_KEY, 0, place))
        keys = self.add_vector(places, _VECTOR_KEY)
        self.key_vectors[names] = keys
        return keys

    def add_vector(
        self, slots: list[_Slot], kind: int, *, keys: _Slot | None = None, with_length: bool = True
    ) -> _Slot:
        before = (3 if keys else 1) if with_length else 0
        width = _unsigned_width(len(slots)) if with_length else 0
        if keys:
            width = max(width, self.offset_width(keys.content, 0))
        for i, slot in enumerate(slots):
            width = max(width, self.element_width(slot, before + i))
        self.align(width)
        if keys:
            self.write_offset(keys.content, width)
            self.write_unsigned(1 << keys.width, width)
        if with_length:
            self.write_unsigned(len(slots), width)
        start = len(self.out)
        for slot in slots:
            self.write_slot(slot, width)
        if kind in (_VECTOR, _MAP):
            for slot in slots:
                inner = width if slot.kind in _INLINE else slot.width
                self.out.append(slot.kind << 2 | inner)
        return _Slot(kind, width, start)

    def finish(self, root: _Slot) -> bytes:
        width = self.element_width(root, 0)
        self.align(width)
        self.write_slot(root, width)
        inner = width if root.kind in _INLINE else root.width
        self.out += bytes((root.kind << 2 | inner, 1 << width))
        return bytes(self.out)

    def element_width(self, slot: _Slot, index: int) -> int:
        return slot.width if slot.kind in _INLINE else self.offset_width(slot.content, index)

    def offset_width(self, target: int | float, index: int) -> int:
        """The width that element `index` of a vector that starts here needs to reach `target`."""
        end = len(self.out)
        for width in range(3):
            size = 1 << width
            at = end + (-end % size) + index * size
            if _unsigned_width(at - int(target)) <= width:
                return width
        return 3

    def align(self, width: int) -> None:
        self.out += bytes(-len(self.out) % (1 << width))

    def write_slot(self, slot: _Slot, width: int) -> None:
        if slot.kind in _INLINE:
            letters = {_INT: _SIGNED, _FLOAT: _FLOATS}.get(slot.kind, _UNSIGNED)
            self.out += struct.pack("<" + letters[width], slot.content)
        else:
            self.write_offset(slot.content, width)

    def write_offset(self, target: int | float, width: int) -> None:
        self.write_unsigned(len(self.out) - int(target), width)

    def write_unsigned(self, number: int, width: int) -> None:
        self.out += number.to_bytes(1 << width, "little")

"""Metadata values: JSON's model in Python, and its two encodings by spec version.

Format sections 4.1 and 9: a value is MessagePack where the file's spec version is 1 and a
FlexBuffers document where it is 2. `to_json_value` brings what a caller hands in into the model
first, so that the encoders meet exact built-in types only.
"""

from __future__ import annotations

import math
import operator
from collections.abc import Mapping, Sequence
from typing import Any, TypeAlias

from icechunk._engine.format import flexbuffers, messagepack
from icechunk.errors import ErrorKind, FormatError

Buffer: TypeAlias = bytes | bytearray | memoryview

JsonValue: TypeAlias = "bool | int | float | str | list[JsonValue] | dict[str, JsonValue] | None"

# Readers of either encoding refuse what is nested deeper, so a writer must not produce it.
MAX_DEPTH = 256

_MAX_UINT64 = 2**64 - 1
_MIN_INT64 = -(2**63)


def to_json_value(value: object) -> JsonValue:
    """Return `value` with only JSON's types in it.

    NaN and the infinities become None; tuples, ranges, bytes and arrays become lists; integers that
    fit neither i64 nor u64 become floats; numbers of other types become int or float.

    Raises
    ------
    TypeError
        A type that JSON does not have, or a key that is no string.
    FormatError
        The value is nested more than `MAX_DEPTH` levels deep (or contains itself).
    """
    return _to_json_value(value, MAX_DEPTH)


def to_json_object(value: Mapping[str, object]) -> dict[str, JsonValue]:
    """Return `value` as a dict of JSON values; see `to_json_value`."""
    converted = to_json_value(value)
    if not isinstance(converted, dict):
        raise TypeError(f"expected a dict with string keys, got {type(value).__name__}")
    return converted


def decode_value(data: Buffer, spec_version: int, *, name: str) -> JsonValue:
    """Decode one metadata value of a file of `spec_version`.

    Raises
    ------
    FormatError
        `data` is not exactly one valid value; the message starts with `name`.
    """
    if spec_version == 1:
        return messagepack.decode(data, name=name, max_depth=MAX_DEPTH)
    return flexbuffers.decode(data, name=name, max_depth=MAX_DEPTH)


def encode_value(value: JsonValue, spec_version: int) -> bytes:
    """Encode a value that `to_json_value` returned, for a file of `spec_version`."""
    if spec_version == 1:
        return messagepack.encode(value)
    return flexbuffers.encode(value)


def _to_json_value(value: Any, depth: int) -> JsonValue:
    kind = type(value)
    if value is None or kind is bool or kind is str:
        return value  # type: ignore[no-any-return]
    if kind is int:
        return value if _MIN_INT64 <= value <= _MAX_UINT64 else _large_to_float(value)
    if kind is float:
        return value if math.isfinite(value) else None
    if depth == 0:
        raise FormatError(
            f"a metadata value is nested more than {MAX_DEPTH} levels deep",
            kind=ErrorKind.SERIALIZATION,
        )
    if isinstance(value, Mapping):
        converted = {}
        for key, item in value.items():
            if not isinstance(key, str):
                raise TypeError(f"keys must be strings, got {key!r} of type {type(key).__name__}")
            converted[str(key)] = _to_json_value(item, depth - 1)
        return converted
    if isinstance(value, str):
        return str(value)
    if isinstance(value, (Sequence, memoryview, bytearray)):
        return [_to_json_value(item, depth - 1) for item in value]
    return _foreign_to_json_value(value, depth)


def _foreign_to_json_value(value: Any, depth: int) -> JsonValue:
    """Convert numbers of other types and arrays by what they can do, as NumPy need not be loaded."""
    if callable(to_list := getattr(value, "tolist", None)):
        return _to_json_value(to_list(), depth - 1)
    if hasattr(value, "__index__"):
        return _to_json_value(operator.index(value), depth - 1)
    if hasattr(value, "__float__"):
        return _to_json_value(float(value), depth - 1)
    raise TypeError(
        f"{value!r} of type {type(value).__name__} has no place in JSON; use str, int, float, bool, "
        "None, lists and dicts of them"
    )


def _large_to_float(value: int) -> float:
    try:
        return float(value)
    except OverflowError:
        raise TypeError("an integer is too large even for a float") from None

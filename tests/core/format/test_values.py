"""Metadata values: MessagePack and FlexBuffers, against libraries that know them and hostile bytes."""

from __future__ import annotations

import math
import struct
from decimal import Decimal
from typing import Any

import msgpack
import numpy as np
import pytest
from flatbuffers import flexbuffers as stock
from hypothesis import given, strategies as st

from icechunk._engine.format import flexbuffers, messagepack
from icechunk._engine.format.values import (
    MAX_DEPTH,
    decode_value,
    encode_value,
    to_json_object,
    to_json_value,
)
from icechunk.errors import FormatError
from tests.core.format.record_strategies import check_names

texts = st.text(st.characters(exclude_categories=["Cs"]), max_size=300)
keys = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), max_size=12)
numbers = st.one_of(
    st.integers(-(2**63), 2**64 - 1),
    st.integers(-300, 300),
    st.floats(allow_nan=False, allow_infinity=False),
    st.floats(width=32, allow_nan=False, allow_infinity=False),
)


def json_like(keys: st.SearchStrategy[str]) -> st.SearchStrategy[Any]:
    return st.recursive(
        st.none() | st.booleans() | numbers | texts,
        lambda children: st.one_of(
            st.lists(children, max_size=8),
            st.lists(st.integers(0, 300), max_size=6),
            st.lists(st.integers(-70000, -1), max_size=6),
            st.lists(st.floats(allow_nan=False, allow_infinity=False), max_size=6),
            st.lists(st.booleans(), max_size=6),
            st.dictionaries(keys, children, max_size=8),
        ),
        max_leaves=40,
    )


json_values = json_like(keys)
# The stock reader and encoder know keys in ASCII only.
ascii_keys = st.text(st.characters(codec="ascii", exclude_characters="\0"), max_size=12)


def same(a: Any, b: Any) -> bool:
    """Equal, with the same types: True is not 1, and 1 is not 1.0."""
    if isinstance(a, list) and isinstance(b, list):
        return len(a) == len(b) and all(map(same, a, b))
    if isinstance(a, dict) and isinstance(b, dict):
        return a.keys() == b.keys() and all(same(a[key], b[key]) for key in a)
    return type(a) is type(b) and a == b


@pytest.mark.parametrize("spec_version", [1, 2])
@given(value=json_values)
def test_a_value_survives_a_round_trip(spec_version: int, value: Any) -> None:
    encoded = encode_value(to_json_value(value), spec_version)
    assert same(decode_value(encoded, spec_version, name="value"), value)


@given(json_values)
def test_messagepack_is_what_the_library_writes_and_reads(value: Any) -> None:
    encoded = messagepack.encode(value)
    assert same(msgpack.unpackb(encoded), value)
    assert len(encoded) == len(msgpack.packb(value))
    assert same(messagepack.decode(msgpack.packb(value), name="value", max_depth=MAX_DEPTH), value)


@given(json_like(ascii_keys))
def test_the_stock_reader_reads_our_flexbuffers(value: Any) -> None:
    assert stock.Loads(flexbuffers.encode(value)) == value


stock_values = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**62), 2**62) | st.floats(width=32, allow_nan=False) | texts,
    lambda children: st.one_of(
        st.lists(children, max_size=6),
        st.dictionaries(ascii_keys, children, max_size=6),
    ),
    max_leaves=20,
)


@given(stock_values)
def test_what_the_stock_encoder_writes_is_read(value: Any) -> None:
    # Keys are not shared: with sharing, the stock encoder fails on some maps.
    builder = stock.Builder(share_strings=True, share_keys=False)
    try:
        builder.Add(value)
    except (OverflowError, RuntimeError):
        return
    expected = to_json_value(value)
    assert same(flexbuffers.decode(builder.Finish(), name="value", max_depth=MAX_DEPTH), expected)


@pytest.mark.parametrize(
    ("value", "encoded"),
    [
        (None, "00 00 01"),
        (1, "01 08 01"),
        (2**40, "00 00 00 00 00 01 00 00 0b 08"),
        (-5, "fb 04 01"),
        (1.5, "00 00 c0 3f 0e 04"),
        ("me", "02 6d 65 00 03 14 01"),
        ({"is_root": True}, "69 73 5f 72 6f 6f 74 00 01 09 01 01 01 01 68 02 24 01"),
        ([], "00 00 28 01"),
        ({}, "00 00 01 00 00 24 01"),
        ([1, 2, 3], "01 02 03 03 50 01"),
        ([7], "01 07 01 30 01"),
        ([True, False], "02 01 00 02 90 01"),
    ],
)
def test_flexbuffers_have_the_forms_that_the_reference_writes(value: Any, encoded: str) -> None:
    assert flexbuffers.encode(value).hex(" ") == encoded
    assert same(flexbuffers.decode(bytes.fromhex(encoded), name="value", max_depth=9), value)


def test_messagepack_has_the_form_that_the_reference_writes() -> None:
    encoded = "82 a1 6b a1 76 a1 7a 92 cb 3f f8 00 00 00 00 00 00 cb 40 04 00 00 00 00 00 00"
    assert messagepack.encode({"z": [1.5, 2.5], "k": "v"}).hex(" ") == encoded


@pytest.mark.parametrize(
    ("build", "value"),
    [
        (lambda b: b.IndirectInt(-7), -7),
        (lambda b: b.IndirectUInt(7), 7),
        (lambda b: b.IndirectFloat(1.5), 1.5),
        (lambda b: b.Key("name"), "name"),
        (lambda b: b.Blob(b"ab"), [97, 98]),
        (lambda b: b.TypedVectorFromElements([1, 2, 300000]), [1, 2, 300000]),
        (lambda b: b.TypedVectorFromElements([1.5, 2.5]), [1.5, 2.5]),
        (lambda b: b.FixedTypedVectorFromElements([1, -2, 3]), [1, -2, 3]),
        (lambda b: b.TypedVectorFromElements(["a", "bc"]), ["a", "bc"]),
        (lambda b: b.Float(math.nan), None),
        (lambda b: b.Float(-math.inf), None),
    ],
)
def test_every_form_of_flexbuffers_is_read(build: Any, value: Any) -> None:
    builder = stock.Builder()
    build(builder)
    assert same(flexbuffers.decode(builder.Finish(), name="value", max_depth=9), value)


@pytest.mark.parametrize("size_of_lengths", [1, 2, 4])
@pytest.mark.parametrize("size_of_offsets", [1, 2, 4])
def test_a_deprecated_vector_of_strings_goes_by_the_nul_behind_each(
    size_of_offsets: int, size_of_lengths: int
) -> None:
    # As the stock reader and the reference do: the vector does not say how wide the lengths are.
    data, starts = bytearray(), []
    for text in (b"ab", b"cde"):
        data += bytes(-len(data) % size_of_lengths) + len(text).to_bytes(size_of_lengths, "little")
        starts.append(len(data))
        data += text + b"\0"
    data += bytes(-len(data) % size_of_offsets) + (2).to_bytes(size_of_offsets, "little")
    vector = len(data)
    for start in starts:
        data += (len(data) - start).to_bytes(size_of_offsets, "little")
    packed = 15 << 2 | {1: 0, 2: 1, 4: 2}[size_of_offsets]
    document = bytes(data) + bytes([len(data) - vector, packed, 1])
    assert stock.Loads(document) == ["ab", "cde"]
    assert flexbuffers.decode(document, name="x", max_depth=10) == ["ab", "cde"]


def test_a_float_of_two_bytes_is_read() -> None:
    assert flexbuffers.decode(struct.pack("<e", 1.5) + b"\x0d\x02", name="value", max_depth=9) == 1.5


@given(st.data(), json_values, st.sampled_from([1, 2]))
def test_mutated_values_are_values_or_format_errors(
    data: st.DataObject, value: Any, spec_version: int
) -> None:
    encoded = bytearray(encode_value(value, spec_version))
    for _ in range(data.draw(st.integers(1, 4))):
        position = data.draw(st.integers(0, len(encoded) - 1))
        encoded[position] = data.draw(st.integers(0, 255))
    cut = data.draw(st.integers(0, len(encoded)))
    for mutant in (bytes(encoded), bytes(encoded[:cut])):
        try:
            decoded = decode_value(mutant, spec_version, name="the/value")
        except FormatError as error:
            check_names(error, "the/value")
        else:
            assert same(to_json_value(decoded), decoded)


def test_a_flexbuffer_that_contains_itself_is_refused() -> None:
    # a vector of one element, which is an offset of 1 back to the vector
    with pytest.raises(FormatError, match="nested too deep"):
        flexbuffers.decode(bytes.fromhex("01 00 28 02 28 01"), name="value", max_depth=MAX_DEPTH)


def test_a_flexbuffer_that_unfolds_without_end_is_refused() -> None:
    # thirty vectors of four, each element the vector before: 4^30 values in 300 bytes
    document = bytearray(b"\0")
    previous = 1
    for _ in range(30):
        document.append(4)
        start = len(document)
        document += bytes(start + i - previous for i in range(4)) + b"\x28" * 4
        previous = start
    document += bytes((len(document) - previous, 0x28, 1))
    with pytest.raises(FormatError, match="unfolds"):
        flexbuffers.decode(bytes(document), name="value", max_depth=MAX_DEPTH)


def test_messagepack_lengths_that_lie_take_no_memory() -> None:
    with pytest.raises(FormatError):
        messagepack.decode(b"\xdd\xff\xff\xff\xff" * 1000, name="value", max_depth=MAX_DEPTH)


@pytest.mark.parametrize("data", [b"", b"\xc1", b"\xd4\x01\x02", b"\x81\x01\x02", b"\xa1\xff", b"\x01\x02"])
def test_what_messagepack_cannot_be_is_refused(data: bytes) -> None:
    with pytest.raises(FormatError, match="invalid MessagePack value"):
        messagepack.decode(data, name="value", max_depth=MAX_DEPTH)


@pytest.mark.parametrize("spec_version", [1, 2])
def test_values_may_be_nested_as_deep_as_the_limit(spec_version: int) -> None:
    value: Any = 1
    for _ in range(MAX_DEPTH):
        value = [value]
    encoded = encode_value(to_json_value(value), spec_version)
    assert decode_value(encoded, spec_version, name="value") == value
    with pytest.raises(FormatError, match="nested"):
        decode_value(encode_value([value], spec_version), spec_version, name="value")
    with pytest.raises(FormatError, match="nested"):
        to_json_value([value])


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (math.nan, None),
        (math.inf, None),
        ((1, 2), [1, 2]),
        (range(3), [0, 1, 2]),
        (b"ab", [97, 98]),
        (memoryview(b"ab"), [97, 98]),
        (2**64, float(2**64)),
        (-(2**63) - 1, float(-(2**63))),
        (np.float64(1.5), 1.5),
        (np.int64(3), 3),
        (np.bool_(True), True),
        (np.arange(3), [0, 1, 2]),
        (Decimal("1.5"), 1.5),
        ({"a": {"b": (math.nan,)}}, {"a": {"b": [None]}}),
    ],
)
def test_python_values_become_json_as_with_the_reference(value: Any, expected: Any) -> None:
    assert same(to_json_value(value), expected)


@pytest.mark.parametrize("value", [{1: 2}, {None: 1}, {1, 2}, object(), 1 + 2j, 10**400])
def test_what_json_does_not_have_is_a_type_error(value: Any) -> None:
    with pytest.raises(TypeError):
        to_json_value({"key": value} if not isinstance(value, dict) else value)


def test_a_value_that_contains_itself_is_refused() -> None:
    value: list[Any] = []
    value.append(value)
    with pytest.raises(FormatError, match="nested"):
        to_json_value(value)


def test_an_object_is_expected_where_only_objects_make_sense() -> None:
    with pytest.raises(TypeError, match="expected a dict"):
        to_json_object([1])  # type: ignore[arg-type]


def test_a_key_with_a_nul_is_refused_as_flexbuffers_would_cut_it_short() -> None:
    with pytest.raises(FormatError, match="NUL"):
        flexbuffers.encode({"a\0b": 1})

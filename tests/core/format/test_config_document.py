"""Configuration documents: the reference's YAML byte for byte, round trips, hostile text."""

from __future__ import annotations

import subprocess
import sys
import time
from typing import Any

import pytest
from flatbuffers import flexbuffers as stock
from hypothesis import given, strategies as st

from icechunk._engine.format import config_document
from icechunk.errors import ErrorKind, FormatError

# As icechunk 2.3.0 wrote it.
YAML = rb"""inline_chunk_threshold_bytes: 100
compression:
  algorithm: zstd
  level: 5
caching: null
storage:
  retries:
    max_tries: 1
  unsafe_use_conditional_update: false
virtual_chunk_containers:
  s3://bucket/pre/:
    name: vs3
    url_prefix: s3://bucket/pre/
    store: !s3
      region: us-east-1
      endpoint_url: null
      anonymous: true
  file:///data/:
    name: null
    url_prefix: file:///data/
    store: !local_file_system /data
manifest:
  preload:
    max_total_refs: 10
    preload_if: !or
    - !and
      - !path_matches
        regex: a.*
      - !name_matches
        regex: t
    - !num_refs
      from: Unbounded
      to: !Excluded 10
    - 'true'
    max_arrays_to_scan: 7
  splitting:
    split_sizes:
    - - !or
        - !path_matches
          regex: x
        - any_array
      - - condition: !Axis 1
          num_chunks: 3
        - condition: !DimensionName lat
          num_chunks: 4
        - condition: Any
          num_chunks: 5
num_updates_per_repo_info_file: 3
"""

DOCUMENT: dict[str, Any] = {
    "inline_chunk_threshold_bytes": 100,
    "compression": {"algorithm": "zstd", "level": 5},
    "caching": None,
    "storage": {"retries": {"max_tries": 1}, "unsafe_use_conditional_update": False},
    "virtual_chunk_containers": {
        "s3://bucket/pre/": {
            "name": "vs3",
            "url_prefix": "s3://bucket/pre/",
            "store": {"s3": {"region": "us-east-1", "endpoint_url": None, "anonymous": True}},
        },
        "file:///data/": {
            "name": None,
            "url_prefix": "file:///data/",
            "store": {"local_file_system": "/data"},
        },
    },
    "manifest": {
        "preload": {
            "max_total_refs": 10,
            "preload_if": {
                "or": [
                    {"and": [{"path_matches": {"regex": "a.*"}}, {"name_matches": {"regex": "t"}}]},
                    {"num_refs": {"from": "Unbounded", "to": {"Excluded": 10}}},
                    "true",
                ]
            },
            "max_arrays_to_scan": 7,
        },
        "splitting": {
            "split_sizes": [
                [
                    {"or": [{"path_matches": {"regex": "x"}}, "any_array"]},
                    [
                        {"condition": {"Axis": 1}, "num_chunks": 3},
                        {"condition": {"DimensionName": "lat"}, "num_chunks": 4},
                        {"condition": "Any", "num_chunks": 5},
                    ],
                ]
            ]
        },
    },
    "num_updates_per_repo_info_file": 3,
}


def decode_yaml(text: bytes) -> Any:
    return config_document.decode_yaml(text, name="config.yaml")


def test_the_yaml_of_the_reference_is_read_and_written_byte_for_byte() -> None:
    assert decode_yaml(YAML) == DOCUMENT
    assert config_document.encode_yaml(DOCUMENT) == YAML


def test_flexbuffers_hold_the_same_document() -> None:
    encoded = config_document.encode_flexbuffers(DOCUMENT)
    assert config_document.decode_flexbuffers(encoded, name="repo") == DOCUMENT


def test_a_partial_document_of_the_stock_encoder_is_read() -> None:
    data = stock.Dumps({"inline_chunk_threshold_bytes": 1, "caching": {"num_bytes_chunks": 2}})
    assert config_document.decode_flexbuffers(data, name="repo") == {
        "inline_chunk_threshold_bytes": 1,
        "caching": {"num_bytes_chunks": 2},
    }


texts = st.text(st.characters(exclude_categories=["Cs"]), max_size=12) | st.sampled_from(
    [
        "true",
        "False",
        "null",
        "~",
        "no",
        "ON",
        "yes",
        "y",
        "1",
        "-1",
        "0x1F",
        "0o7",
        "1.5",
        "1e3",
        ".inf",
        ".NaN",
        "12:30",
        "1:30:00",
        "2001-01-01",
        "-",
        "?",
        ":",
        "!x",
        "&a",
        "*a",
        "'q'",
        '"d"',
        "#c",
        "a:",
        "b#",
        "@",
        "`",
        "%",
        "|",
        ">",
        "[]",
        "{}",
        "[a]",
        "{a}",
        "<<",
        "=",
        ",",
        ".5",
        "5.",
        "1_000",
        "+1",
        "🧊",
        "a",
        "b",
        "a",
        "b",
    ]
)
plain_values = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**63), 2**64 - 1)
    | st.floats(allow_nan=False, allow_infinity=False)
    | texts,
    lambda children: st.lists(children, max_size=4) | st.dictionaries(texts, children, max_size=4),
    max_leaves=12,
)


@given(st.dictionaries(texts, plain_values, max_size=6))
def test_any_document_survives_yaml(document: dict[str, Any]) -> None:
    # These names lead to places where a dict with one member is a variant, which is tested above.
    document.pop("manifest", None)
    document.pop("virtual_chunk_containers", None)
    assert decode_yaml(config_document.encode_yaml(document)) == document


@given(texts, texts, plain_values)
def test_any_store_option_survives_yaml(prefix: str, key: str, value: Any) -> None:
    document = {"virtual_chunk_containers": {prefix: {"name": None, "store": {"gcs": {key: value}}}}}
    assert decode_yaml(config_document.encode_yaml(document)) == document


@pytest.mark.parametrize(
    ("text", "document"),
    [
        (b"", {}),
        (b"---\n", {}),
        (b"# nothing but a comment\n", {}),
        (
            b"---\na: no\nb: 012\nc: 1_0\nd: 0x10\ne: '5'\nf: ! 5\n",
            {"a": "no", "b": 12, "c": "1_0", "d": 16, "e": "5", "f": "5"},
        ),
        (b"a: &x [1, 2]\nb: *x\n", {"a": [1, 2], "b": [1, 2]}),
        (b"# a comment\na: {b: !s3 {c: ~}}\n", {"a": {"b": {"s3": {"c": None}}}}),
    ],
)
def test_yaml_written_by_hand_is_read(text: bytes, document: Any) -> None:
    assert decode_yaml(text) == document


BOMB = b"a0: &a0 [x, x, x, x, x, x, x, x, x, x]\n" + b"".join(
    b"a%d: &a%d [%s]\n" % (i, i, b", ".join([b"*a%d" % (i - 1)] * 10)) for i in range(1, 12)
)


@pytest.mark.parametrize(
    "text",
    [
        b"\xff\xfe",
        b"[1, 2]",
        b"just text",
        b"null",
        b"~",
        b"a: [1",
        b"a: *b",
        b"a: !!str 5",
        b"!x a: 5",
        b"a: &b [*b]",
        b"a: 1\na: 2",
        b"? [1]\n: 2",
        b"a: 1\n---\nb: 2",
        b"[" * 100_000,
        b"a: " + b"{a: " * 1000,
        b"- " * 50_000,
        b"x" * (2**20 + 1),
        BOMB,
        b"%YAML 9.9\n---\na: 1",
        b"a: \x00",
    ],
)
def test_hostile_yaml_is_a_format_error_soon(text: bytes) -> None:
    start = time.process_time()
    with pytest.raises(FormatError, match=r"config.yaml: invalid configuration") as caught:
        decode_yaml(text)
    assert caught.value.kind == ErrorKind.CONFIG_DESERIALIZATION
    assert time.process_time() - start < 1


@given(st.binary(max_size=200) | st.text(max_size=200).map(lambda text: text.encode(errors="replace")))
def test_any_bytes_are_a_document_or_a_format_error(data: bytes) -> None:
    refusals = []
    for decode in (config_document.decode_yaml, config_document.decode_flexbuffers):
        try:
            document = decode(data, name="the/file")
        except FormatError as error:
            refusals.append((error.kind, "the/file" in str(error)))
        else:
            assert isinstance(document, dict)
    assert set(refusals) <= {(ErrorKind.CONFIG_DESERIALIZATION, True)}


def test_yaml_is_loaded_only_when_there_is_some_to_read() -> None:
    code = (
        "import sys; from icechunk._engine.format import config_document as c; "
        "c.encode_flexbuffers({}); assert not {'yaml', 'flatbuffers', 'msgpack'} & sys.modules.keys()"
    )
    subprocess.run([sys.executable, "-c", code], check=True)

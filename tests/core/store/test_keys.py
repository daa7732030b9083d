"""Zarr keys: which of them a repository can have, and what they stand for."""

from __future__ import annotations

import pytest
from hypothesis import given, strategies as st

from icechunk._engine.session.keys import (
    ChunkKey,
    MetadataKey,
    V2Key,
    chunk_keys,
    metadata_key,
    parse_key,
)
from icechunk.errors import ErrorKind, InvalidInputError

names = st.text(st.characters(exclude_characters="/", codec="utf-8"), min_size=1, max_size=8).filter(
    lambda name: name not in {".", ".."}
)
paths = st.lists(names, max_size=4).map(lambda parts: "/" + "/".join(parts))
coordinates = st.lists(st.integers(0, 2**32 - 1), max_size=5).map(tuple)


@given(paths)
def test_the_key_of_a_document_names_its_node(path: str) -> None:
    assert parse_key(metadata_key(path)) == MetadataKey(path)


@given(paths, coordinates)
def test_the_key_of_a_chunk_names_its_array_and_its_place(path: str, coords: tuple[int, ...]) -> None:
    [key] = chunk_keys(path, [coords])
    assert parse_key(key) == ChunkKey(path, coords)


@pytest.mark.parametrize(
    ("key", "path", "coords"),
    [
        ("c/0", "/", (0,)),
        ("c", "/", ()),
        ("a/c", "/a", ()),
        ("c/c/0", "/c", (0,)),
        ("g/c/c/c/1/2", "/g/c/c", (1, 2)),
        ("/g/a/c/0", "/g/a", (0,)),
        ("g//./a//c/0", "/g/a", (0,)),
        ("a/c/4294967295", "/a", (2**32 - 1,)),
    ],
)
def test_a_chunk_key_is_read_from_its_end(key: str, path: str, coords: tuple[int, ...]) -> None:
    assert parse_key(key) == ChunkKey(path, coords)


@pytest.mark.parametrize("key", ["zarr.json", "/zarr.json", "./zarr.json"])
def test_redundant_segments_are_tolerated(key: str) -> None:
    assert parse_key(key) == MetadataKey("/")


def test_a_node_may_be_called_like_a_document() -> None:
    assert parse_key("zarr.json/zarr.json") == MetadataKey("/zarr.json")


@pytest.mark.parametrize("key", [".zgroup", "a/.zarray", "a/b/.zattrs", ".zmetadata"])
def test_zarr_v2_metadata_is_told_apart(key: str) -> None:
    assert parse_key(key) == V2Key(key)


@pytest.mark.parametrize(
    "key",
    [
        "",
        "foo",
        "a/b",
        "a/c/",
        "a/c/-1",
        "a/c/x",
        "a/c/0/",
        "a/c//0",
        "a/c/00",
        "a/c/+0",
        "a/c/ 0",
        "a/c/1_0",
        "a/c/٣",
        "a/c/4294967296",
        "zarr.json/",
        "../zarr.json",
        "g/../a/c/0",
        "xc/0",
    ],
)
def test_a_key_that_can_never_exist_is_an_error(key: str) -> None:
    with pytest.raises(InvalidInputError, match="invalid zarr key format") as caught:
        parse_key(key)
    assert caught.value.kind == ErrorKind.INVALID_KEY

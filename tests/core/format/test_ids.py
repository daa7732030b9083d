from __future__ import annotations

import pickle

import numpy as np
import pytest
from hypothesis import given, strategies as st

from icechunk._engine.format.ids import (
    INITIAL_SNAPSHOT_ID,
    ChunkId,
    ManifestId,
    NodeId,
    SnapshotId,
    texts_of,
)
from icechunk.errors import ErrorKind, FormatError, InvalidInputError


def test_ids_are_written_as_the_specification_shows() -> None:
    assert str(ChunkId(range(12))) == "000G40R40M30E209185G"
    assert str(NodeId(range(8))) == "000G40R40M30E"
    assert bytes.fromhex("0b1cc8d6787580f0e33a6534") == INITIAL_SNAPSHOT_ID


@pytest.mark.parametrize("kind", [SnapshotId, ManifestId, ChunkId, NodeId])
@given(data=st.binary(min_size=12, max_size=12))
def test_an_id_survives_being_written_and_parsed(
    kind: type[SnapshotId | ManifestId | ChunkId | NodeId], data: bytes
) -> None:
    found = kind(data[: kind.size_bytes])
    assert kind.parse(str(found)) == found
    assert kind.parse(str(found).lower()) == found
    assert pickle.loads(pickle.dumps(found)) == found
    assert type(kind.parse(str(found))) is kind


@given(st.binary(min_size=12, max_size=12), st.binary(min_size=12, max_size=12))
def test_text_sorts_as_bytes_do(one: bytes, other: bytes) -> None:
    assert (str(ChunkId(one)) < str(ChunkId(other))) == (one < other)


def test_letters_that_look_like_digits_are_read_as_digits() -> None:
    assert SnapshotId.parse("ICECHNKREPOFLRSTCMT0") == INITIAL_SNAPSHOT_ID


def test_bits_that_only_pad_the_last_character_are_ignored() -> None:
    assert SnapshotId.parse("1CECHNKREP0F1RSTCMT1") == INITIAL_SNAPSHOT_ID


@pytest.mark.parametrize(
    "text",
    [
        "",
        "NOPE",
        "1CECHNKREP0F1RSTCMT",
        "1CECHNKREP0F1RSTCMT00",
        "1CECHUKREP0F1RSTCMT0",
        " 1CECHNKREP0F1RSTCMT",
        "1CECH_KREP0F1RSTCMT0",
        "1CECHNKREP0F1RSTCMTé",
        "1CECHNKREP0F1RSTCMT٣",
    ],
)
def test_other_text_is_no_id(text: str) -> None:
    with pytest.raises(InvalidInputError, match=f"invalid snapshot id: `{text}`") as caught:
        SnapshotId.parse(text)
    assert caught.value.kind == ErrorKind.INVALID_SNAPSHOT_ID
    with pytest.raises(FormatError, match="invalid manifest id"):
        ManifestId.parse(text)


def test_random_ids_differ() -> None:
    assert len({NodeId.random() for _ in range(100)}) == 100
    assert len(ChunkId.random()) == 12


def test_the_repr_says_what_it_is() -> None:
    assert repr(INITIAL_SNAPSHOT_ID) == "SnapshotId('1CECHNKREP0F1RSTCMT0')"


@given(st.lists(st.binary(min_size=12, max_size=12), max_size=20))
def test_many_texts_are_those_of_each(raw: list[bytes]) -> None:
    ids = np.frombuffer(b"".join(raw), np.uint8).reshape(-1, 12)
    assert texts_of(ids) == [str(SnapshotId(id)) for id in raw]

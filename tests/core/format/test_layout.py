"""Paths of objects, and the ref files of spec version 1."""

from __future__ import annotations

import pytest
from hypothesis import given, strategies as st

from icechunk._engine.format import layout, refs_v1
from icechunk._engine.format.ids import INITIAL_SNAPSHOT_ID, ChunkId, ManifestId, SnapshotId
from icechunk.errors import FormatError


def test_objects_lie_where_the_format_says() -> None:
    id = bytes(range(12))
    assert layout.snapshot_path(INITIAL_SNAPSHOT_ID) == "snapshots/1CECHNKREP0F1RSTCMT0"
    assert layout.transaction_log_path(SnapshotId(id)) == "transactions/000G40R40M30E209185G"
    assert layout.manifest_path(ManifestId(id)) == "manifests/000G40R40M30E209185G"
    assert layout.chunk_path(ChunkId(id)) == "chunks/000G40R40M30E209185G"
    assert layout.branch_ref_path("main") == "refs/branch.main/ref.json"
    assert layout.tag_ref_path("v1") == "refs/tag.v1/ref.json"
    assert layout.tag_tombstone_path("v1") == "refs/tag.v1/ref.json.deleted"


def test_newer_backups_list_first() -> None:
    older = layout.backup_name("repo", 1_795_341_860_000, "A" * 20)
    newer = layout.backup_name("repo", 1_795_341_861_000, "0" * 20)
    assert older == "repo.30708338140000." + "A" * 20
    assert newer < older
    assert layout.backup_path(older) == f"overwritten/{older}"
    assert layout.backup_name("config.yaml", 0, "A").startswith("config.yaml.32503680000000.")


names = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="/"), min_size=1)


@given(names)
def test_a_ref_is_told_by_its_path(name: str) -> None:
    assert layout.parse_ref_path(layout.branch_ref_path(name)) == (False, name, False)
    assert layout.parse_ref_path(layout.tag_ref_path(name)) == (True, name, False)
    assert layout.parse_ref_path(layout.tag_tombstone_path(name)) == (True, name, True)


@pytest.mark.parametrize(
    "path", ["refs/other.x/ref.json", "refs/branch.main/ref.txt", "branch.main/ref.json", "refs/ref.json", ""]
)
def test_what_is_no_ref_is_refused(path: str) -> None:
    with pytest.raises(FormatError, match="invalid ref type"):
        layout.parse_ref_path(path)


@given(st.binary(min_size=12, max_size=12).map(SnapshotId))
def test_a_ref_file_survives_a_round_trip(id: SnapshotId) -> None:
    assert refs_v1.decode_ref(refs_v1.encode_ref(id), name="ref") == id


def test_a_ref_file_is_what_the_reference_writes() -> None:
    assert refs_v1.encode_ref(INITIAL_SNAPSHOT_ID) == b'{"snapshot":"1CECHNKREP0F1RSTCMT0"}'


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"{}",
        b"[]",
        b'{"snapshot": 1}',
        b'{"snapshot":"NOPE"}',
        b"\xff",
        b'{"snapshot":"1CECHNKREP0F1RSTCMT0"',
        b"[" * 4000,
        b" " * 10**6,
        b'{"snapshot":' + b"9" * 4000 + b"}",
    ],
)
def test_a_damaged_ref_file_is_a_format_error(data: bytes) -> None:
    with pytest.raises(FormatError, match="refs/x: invalid ref file"):
        refs_v1.decode_ref(data, name="refs/x")

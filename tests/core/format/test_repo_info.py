"""The repo info: round trips, updates as patches, the paging of the ops log, damaged files."""

from __future__ import annotations

import struct
from typing import Any

import numpy as np
import pytest
from hypothesis import given, strategies as st

from icechunk._engine.format.header import FileType
from icechunk._engine.format.ids import SnapshotId
from icechunk._engine.format.repo_info import RepoInfo
from icechunk._engine.format.repo_info_records import (
    ONLINE,
    READ_ONLY,
    ConfigChanged,
    NewCommit,
    NewSnapshot,
    RepoInitialized,
    StatusRecord,
    TagCreated,
    UpdateRecord,
)
from icechunk._engine.format.repo_info_snapshots import SnapshotTable
from icechunk.errors import ErrorKind, FormatError
from tests.core.format.record_strategies import (
    check_names,
    golden_files,
    metadata,
    snapshot_lists,
    statuses,
    texts,
    update_kinds,
)

FIELDS = (
    "spec_version",
    "branches",
    "tags",
    "deleted_tags",
    "status",
    "metadata",
    "config",
    "enabled_feature_flags",
    "disabled_feature_flags",
    "num_snapshots",
    "repo_before_updates",
)


def decode(info: RepoInfo) -> RepoInfo:
    return RepoInfo.decode(b"".join(info.encode()), name="repo")


def described(info: RepoInfo) -> list[tuple[Any, ...]]:
    return [
        (
            record.id,
            record.parent_id,
            record.flushed_at,
            record.message,
            record.metadata,
            record.pruned_ancestor_tx_logs,
        )
        for record in info.snapshots()
    ]


def given_snapshots(snapshots: list[NewSnapshot]) -> list[tuple[Any, ...]]:
    return sorted(
        (
            (
                new.id,
                new.parent_id,
                new.flushed_at,
                new.message,
                dict(new.metadata),
                new.pruned_ancestor_tx_logs,
            )
            for new in snapshots
        ),
        key=lambda row: row[0],
    )


def check_equal(one: RepoInfo, other: RepoInfo) -> None:
    for field in FIELDS:
        assert getattr(one, field) == getattr(other, field)
    assert list(one.latest_updates) == list(other.latest_updates)
    assert described(one) == described(other)


updates = st.lists(
    st.builds(UpdateRecord, update_kinds, st.integers(0, 2**62), st.none() | texts), min_size=1, max_size=5
)
configs = st.none() | st.dictionaries(
    texts.filter(lambda key: "\0" not in key), st.integers(0, 9), max_size=3
)


@st.composite
def repo_infos(draw: st.DrawFn) -> tuple[RepoInfo, list[NewSnapshot]]:
    snapshots = draw(snapshot_lists())
    refs = st.dictionaries(texts, st.sampled_from([new.id for new in snapshots]), max_size=3)
    info = RepoInfo.build(
        snapshots=draw(st.permutations(snapshots)),
        branches=draw(refs),
        tags=draw(refs),
        deleted_tags=draw(st.sets(texts, max_size=3)),
        status=draw(statuses),
        updates=draw(updates),
        repo_before_updates=draw(st.none() | texts),
        config=draw(configs),
        metadata=draw(metadata),
    )
    return info, snapshots


@given(repo_infos())
def test_a_repo_info_survives_a_round_trip(made: tuple[RepoInfo, list[NewSnapshot]]) -> None:
    info, snapshots = made
    assert described(info) == given_snapshots(snapshots)
    decoded = decode(info)
    check_equal(decoded, info)
    check_equal(decode(decoded), info)


@given(repo_infos(), st.data())
def test_an_update_changes_what_it_is_told_and_nothing_else(
    made: tuple[RepoInfo, list[NewSnapshot]], data: st.DataObject
) -> None:
    info, snapshots = made
    now = max(2**62, info.latest_updates[0].updated_at) + 1
    known = {new.id for new in snapshots}
    # Several updates, from what was decoded and from what was not.
    for number in range(3):
        added = [new for new in data.draw(snapshot_lists()) if new.id not in known]
        ids = {new.id for new in added} | known
        added = [
            NewSnapshot(
                new.id,
                new.parent_id if new.parent_id in ids else data.draw(st.sampled_from(sorted(known))),
                new.flushed_at,
                new.message,
                new.metadata,
                new.pruned_ancestor_tx_logs,
            )
            for new in added
        ]
        branches = data.draw(st.none() | st.dictionaries(texts, st.sampled_from(sorted(ids)), max_size=3))
        kind = data.draw(update_kinds)
        before = info
        info = before.updated(
            update=kind,
            updated_at=now + number,
            backup_name=f"backup{number}",
            updates_per_file=1000,
            add_snapshots=added,
            branches=branches,
        )
        snapshots = [*snapshots, *added]
        known = ids
        assert described(info) == given_snapshots(snapshots)
        assert info.branches == (before.branches if branches is None else branches)
        old_head, *rest = before.latest_updates
        assert list(info.latest_updates) == [
            UpdateRecord(kind, now + number),
            UpdateRecord(old_head.kind, old_head.updated_at, f"backup{number}"),
            *rest,
        ]
        for field in set(FIELDS) - {"branches", "num_snapshots"}:
            assert getattr(info, field) == getattr(before, field)
        decoded = decode(info)
        check_equal(decoded, info)
        if data.draw(st.booleans()):
            info = decoded


GOLDEN = list(golden_files(FileType.REPO_INFO, "repo"))


@pytest.mark.parametrize(("name", "spec_version", "payload"), GOLDEN, ids=[name for name, *_ in GOLDEN])
def test_a_repo_info_of_the_reference_is_kept_and_updated(
    name: str, spec_version: int, payload: memoryview
) -> None:
    info = RepoInfo.decode(payload, name=name)
    check_equal(decode(info), info)
    tip = info.branches["main"]
    new = NewSnapshot(SnapshotId(bytes(12)), tip, 1, "new", {"a": 1})
    updated = info.updated(
        update=NewCommit("main", new.id),
        updated_at=2**62,
        backup_name="backup",
        updates_per_file=1000,
        add_snapshots=[new],
        branches={**info.branches, "main": new.id},
    )
    for found in (updated, decode(updated)):
        ancestors = [record.id for record in found.ancestry(new.id)]
        assert ancestors == [new.id, *(record.id for record in info.ancestry(tip))]
        assert [row for row in described(found) if row[0] != new.id] == described(info)
        assert list(found.latest_updates)[2:] == list(info.latest_updates)[1:]


def small_repo_info(**changes: Any) -> RepoInfo:
    ids = [SnapshotId(bytes([200 - number] * 12)) for number in range(4)]
    snapshots = [
        NewSnapshot(id, ids[number - 1] if number else None, number, f"message {number}", {"n": number})
        for number, id in enumerate(ids)
    ]
    options: dict[str, Any] = {
        "snapshots": snapshots,
        "branches": {"main": ids[3], "dev": ids[1]},
        "tags": {"v1": ids[2]},
        "deleted_tags": ["v0"],
        "status": StatusRecord(READ_ONLY, 7, "maintenance"),
        "updates": [
            UpdateRecord(TagCreated("v1"), 11),
            UpdateRecord(NewCommit("main", ids[3]), 10, "repo.2"),
            UpdateRecord(RepoInitialized(), 9, "repo.1"),
        ],
        "config": {"inline_chunk_threshold_bytes": 100},
        "metadata": {"title": "winds"},
    }
    return RepoInfo.build(**options | changes)


def after(info: RepoInfo, number: int, updates_per_file: int) -> RepoInfo:
    return info.updated(
        update=TagCreated(f"tag {number}"),
        updated_at=100 + number,
        backup_name=f"backup {number}",
        updates_per_file=updates_per_file,
    )


@pytest.mark.parametrize("updates_per_file", [1, 2, 3, 10])
@pytest.mark.parametrize("through_bytes", [False, True])
def test_the_chain_of_pages_tells_every_update_once(updates_per_file: int, through_bytes: bool) -> None:
    info = small_repo_info(updates=[UpdateRecord(RepoInitialized(), 1)])
    backups = {}
    for number in range(25):
        backups[f"backup {number}"] = info
        info = after(info, number, updates_per_file)
        if through_bytes:
            info = decode(info)
        assert 1 <= len(info.latest_updates) <= max(updates_per_file, 1)
    told: list[UpdateRecord] = []
    page: RepoInfo | None = info
    while page is not None:
        told += page.latest_updates
        before = page.repo_before_updates
        page = None if before is None else backups[before]
    names = [update.kind.name for update in told if isinstance(update.kind, TagCreated)]
    assert names == [f"tag {number}" for number in reversed(range(25))]
    assert isinstance(told[-1].kind, RepoInitialized)


def test_updates_without_a_backup_are_kept_beyond_the_page() -> None:
    synthetic = [UpdateRecord(TagCreated(f"old {number}"), 50 - number) for number in range(5)]
    info = after(small_repo_info(updates=synthetic), 0, 2)
    assert len(info.latest_updates) == 6
    assert info.latest_updates[1].backup_path == "backup 0"
    assert info.repo_before_updates is None
    # Now the first that can be found again ends the list, and takes those behind it along.
    info = after(info, 1, 2)
    assert [update.backup_path for update in info.latest_updates] == [None, "backup 1"]
    assert info.repo_before_updates == "backup 0"


@pytest.mark.parametrize("updated_at", [11, 10])
def test_an_update_must_be_newer_than_the_newest(updated_at: int) -> None:
    with pytest.raises(FormatError, match="update timestamp is invalid") as caught:
        small_repo_info().updated(
            update=ConfigChanged(), updated_at=updated_at, backup_name="b", updates_per_file=9
        )
    assert caught.value.kind == ErrorKind.SNAPSHOT_TIMESTAMP


def test_everything_can_be_replaced() -> None:
    root = NewSnapshot(SnapshotId(bytes(12)), None, 5, "root", {})
    info = small_repo_info().updated(
        update=ConfigChanged(),
        updated_at=99,
        backup_name="b",
        updates_per_file=9,
        replace_snapshots=[root],
        branches={"main": root.id},
        tags={},
        deleted_tags=["v1", "v0"],
        config=None,
        metadata={"b": [1]},
        status=StatusRecord(ONLINE, 98),
        enabled_feature_flags=[4, 3],
        disabled_feature_flags=[5],
    )
    for found in (info, decode(info)):
        assert [record.id for record in found.snapshots()] == [root.id]
        assert found.branches == {"main": root.id}
        assert found.tags == {}
        assert found.deleted_tags == {"v0", "v1"}
        assert found.config is None
        assert found.metadata == {"b": [1]}
        assert found.status == StatusRecord(ONLINE, 98)
        assert found.enabled_feature_flags == (3, 4)
        assert found.disabled_feature_flags == (5,)


def test_a_new_repository_has_a_main_branch() -> None:
    root = NewSnapshot(SnapshotId(bytes(12)), None, 5, "Repository initialized", {})
    info = decode(RepoInfo.initial(root=root, now=6, config={"a": 1}))
    assert info.spec_version == 2
    assert info.branches == {"main": root.id}
    assert info.status == StatusRecord(ONLINE, 5)
    assert list(info.latest_updates) == [UpdateRecord(RepoInitialized(), 6)]
    assert info.config == {"a": 1}


def test_a_snapshot_is_listed_once() -> None:
    info = small_repo_info()
    again = NewSnapshot(info.branches["main"], None, 5, "again", {})
    with pytest.raises(FormatError, match="duplicated snapshot id") as caught:
        info.updated(
            update=ConfigChanged(), updated_at=99, backup_name="b", updates_per_file=9, add_snapshots=[again]
        )
    assert caught.value.kind == ErrorKind.DUPLICATE_SNAPSHOT_ID


def test_parents_and_refs_must_be_listed() -> None:
    info = small_repo_info()
    unknown = SnapshotId(b"unknown-unkn")
    orphan = NewSnapshot(SnapshotId(bytes(12)), unknown, 5, "orphan", {})
    options: dict[str, Any] = {
        "update": ConfigChanged(),
        "updated_at": 99,
        "backup_name": "b",
        "updates_per_file": 9,
    }
    with pytest.raises(FormatError, match="is not listed"):
        info.updated(**options, add_snapshots=[orphan])
    with pytest.raises(FormatError, match="snapshot id not found"):
        info.updated(**options, branches={"main": unknown})


def test_parents_that_run_in_a_circle_are_noticed() -> None:
    info = small_repo_info()
    payload = bytearray(b"".join(info.encode()))
    # The root's parent: of the four rows, sorted by id, it is the last, and the tip is the first.
    at = payload.rindex(bytes([200] * 12)) + 12
    assert struct.unpack_from("<i", payload, at) == (-1,)
    struct.pack_into("<i", payload, at, 0)
    damaged = RepoInfo.decode(bytes(payload), name="repo")
    with pytest.raises(FormatError, match="circle"):
        list(damaged.ancestry(damaged.branches["main"]))


def test_an_absent_slot_is_absent_whatever_lies_in_its_place() -> None:
    info = small_repo_info()
    payload = bytearray(b"".join(info.encode()))
    # Behind the id of the root: parent, message, flushed_at, metadata, and the place of pruned logs.
    at = payload.rindex(bytes([200] * 12)) + 12
    struct.pack_into("<I", payload, at + 20, 4)
    root = RepoInfo.decode(bytes(payload), name="repo").find_snapshot(SnapshotId([200] * 12))
    assert root is not None
    assert root.pruned_ancestor_tx_logs == ()


def test_fifty_thousand_snapshots_are_no_trouble() -> None:
    ids = [SnapshotId(struct.pack(">QI", number * 2654435761 % 2**64, number)) for number in range(50_000)]
    snapshots = [
        NewSnapshot(id, ids[number - 1] if number else None, number, "m", {}) for number, id in enumerate(ids)
    ]
    info = decode(small_repo_info(snapshots=snapshots, branches={"main": ids[-1]}, tags={}))
    assert [record.id for record in info.ancestry(ids[-1])] == ids[::-1]
    found = info.find_snapshot(ids[123])
    assert found is not None
    assert found.parent_id == ids[122]
    assert info.find_snapshot(SnapshotId(b"\xff" * 12)) is None
    assert list(info.ancestry(SnapshotId(b"\xff" * 12))) == []


def read_everything(payload: bytes) -> Any:
    info = RepoInfo.decode(payload, name="repo")
    everything = [getattr(info, field) for field in FIELDS], list(info.latest_updates), described(info)
    for id in info.branches.values():
        list(info.ancestry(id))
    return everything


@pytest.mark.parametrize("golden", [False, True])
@given(data=st.data())
def test_mutated_repo_infos_are_values_or_format_errors(golden: bool, data: st.DataObject) -> None:
    payload = bytearray(GOLDEN[-1][2] if golden else b"".join(small_repo_info().encode()))
    for _ in range(data.draw(st.integers(1, 3))):
        word = data.draw(st.integers(0, len(payload) // 4 - 1))
        value = data.draw(st.sampled_from([0, 1, 2**31, 2**32 - 1]) | st.integers(0, len(payload)))
        struct.pack_into("<I", payload, 4 * word, value)
    cut = data.draw(st.just(len(payload)) | st.integers(0, len(payload)))
    mutant = bytes(payload[:cut])
    try:
        read_everything(mutant)
        RepoInfo.decode(mutant, name="repo").encode()
    except FormatError as error:
        check_names(error, "repo")


@pytest.mark.parametrize("is_ours", [True, False])
def test_a_long_ancestry_tells_the_same_as_one_by_one(is_ours: bool) -> None:
    ids = [SnapshotId(bytes([7 * i % 101]) * 12) for i in range(100)]
    snapshots = [
        NewSnapshot(
            id=id,
            parent_id=ids[i - 1] if i else None,
            flushed_at=1_700_000_000_000_000 + i,
            message=f"number {i} é",
            metadata={"n": i} if i % 3 else {},
            pruned_ancestor_tx_logs=(ids[0],) if i % 5 == 0 else (),
        )
        for i, id in enumerate(ids)
    ]
    table = SnapshotTable.from_snapshots(snapshots, name="repo")
    table = SnapshotTable(
        table.file, np.asarray(table.positions), table._ids, np.asarray(table.parents), is_ours=is_ours
    )
    row = table.find(ids[-1])
    assert row is not None
    found = list(table.ancestry(row))
    assert len(found) == 100
    # The first ones were made before everything was read at once, but look now.
    assert table.columns is not None
    for record, snapshot in zip(found, reversed(snapshots), strict=True):
        for name in ("id", "id_text", "parent_id", "parent_text", "flushed_at", "message", "metadata"):
            assert getattr(record, name) == getattr(snapshot, name)
        assert record.pruned_ancestor_tx_logs == snapshot.pruned_ancestor_tx_logs

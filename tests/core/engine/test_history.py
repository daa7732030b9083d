"""The ops log, diffs, and what a repository says about itself: what does not need the reference to judge."""

from __future__ import annotations

import json
import logging
import pickle
import shutil
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
import zarr

import icechunk
from icechunk import (
    FormatError,
    InvalidInputError,
    RepoAvailability,
    Repository,
    RepositoryConfig,
    RepoStatus,
    Storage,
    StorageError,
    UpdateType,
)
from icechunk._engine.format.ids import SnapshotId
from icechunk._engine.format.repo_info_records import ExpirationRan, NewSnapshot
from icechunk._engine.repository import comparing
from icechunk.abc import Locality
from icechunk.testing import FaultInjectingStorage

Raises = Callable[..., Any]

needs_version_2 = (
    FormatError,
    "unsupported-spec-version",
    "repository version error, this operation requires",
)


def commit(repo: Repository, name: str, branch: str = "main") -> str:
    session = repo.writable_session(branch)
    zarr.create_group(session.store, path=name)
    return session.commit(f"add {name}")


def paged(storage: Storage, updates_per_file: int) -> Repository:
    return Repository.create(storage, RepositoryConfig(num_updates_per_repo_info_file=updates_per_file))


class TestOpsLog:
    def test_pages_are_read_when_they_are_reached(self, tmp_path: Path) -> None:
        storage = FaultInjectingStorage(icechunk.local_filesystem_storage(str(tmp_path)))
        repo = paged(storage, 4)
        for number in range(11):
            repo.create_branch(f"b{number}", repo.lookup_branch("main"))
        storage.faults.forget()
        log = repo.ops_log()
        assert storage.faults.count("get") == 1
        first = [next(log) for _ in range(4)]
        assert storage.faults.count("get") == 1
        rest = list(log)
        assert storage.faults.count("get") == 3
        assert len(first) + len(rest) == 12
        assert rest[-1].kind == UpdateType.RepoInitialized()
        # Each names the state that it made, and the newest one's is the current one.
        assert first[0].backup_path is None
        names = [update.backup_path for update in [*first, *rest][1:]]
        assert len(set(names)) == 11
        assert all((tmp_path / "overwritten" / str(name)).is_file() for name in names)

    def test_a_page_that_is_gone_ends_the_log(self, tmp_path: Path) -> None:
        repo = paged(icechunk.local_filesystem_storage(str(tmp_path)), 3)
        for number in range(10):
            repo.create_branch(f"b{number}", repo.lookup_branch("main"))
        shutil.rmtree(tmp_path / "overwritten")
        assert len(list(repo.ops_log())) == 3

    def test_a_log_that_goes_round_in_a_circle_is_damaged(self, tmp_path: Path, raises: Raises) -> None:
        repo = paged(icechunk.local_filesystem_storage(str(tmp_path)), 2)
        for number in range(5):
            repo.create_branch(f"b{number}", repo.lookup_branch("main"))
        # By their times: names order only what is a millisecond apart.
        pages = sorted((tmp_path / "overwritten").iterdir(), key=lambda page: -page.stat().st_mtime_ns)
        for page in pages[1:]:
            shutil.copy(pages[0], page)
        with raises(FormatError, "invalid-file-format", "the ops log goes round in a circle"):
            list(repo.ops_log())

    def test_updates_outlive_the_repository_and_pickle(self, storage: Storage) -> None:
        repo = paged(storage, 2)
        for number in range(5):
            repo.create_branch(f"b{number}", repo.lookup_branch("main"))
        updates = list(repo.ops_log())
        assert pickle.loads(pickle.dumps(updates)) == updates
        assert [update.kind for update in updates[:-1]] == [
            UpdateType.BranchCreated(f"b{number}") for number in reversed(range(5))
        ]

    def test_spec_1_keeps_no_log(self, storage: Storage, raises: Raises) -> None:
        repo = Repository.create(storage, spec_version=1)
        with raises(*needs_version_2):
            repo.ops_log()


class TestState:
    def test_metadata_that_others_set_meanwhile_is_kept(self, storage: Storage) -> None:
        repo = Repository.create(storage)
        handles = [repo.reopen() for _ in range(8)]
        with ThreadPoolExecutor(8) as pool:
            results = list(pool.map(lambda i: handles[i].update_metadata({f"key {i}": i}), range(8)))
        assert all(results[i][f"key {i}"] == i for i in range(8))
        assert repo.metadata == {f"key {i}": i for i in range(8)}

    def test_what_is_returned_can_be_changed_without_effect(self, storage: Storage) -> None:
        repo = Repository.create(storage)
        repo.update_metadata({"a": {"b": [1]}})["a"]["b"].append(2)
        repo.metadata["a"]["b"].append(3)
        assert repo.get_metadata() == {"a": {"b": [1]}}

    def test_a_status_keeps_its_time_and_its_reason(self, storage: Storage) -> None:
        repo = Repository.create(storage)
        noon = datetime(2026, 11, 22, 12, 0, 0, 7, tzinfo=UTC)
        closed = RepoStatus(RepoAvailability.read_only, noon, "moving")
        repo.set_status(closed)
        assert repo.status == Repository.open(storage).get_status() == closed
        with pytest.raises(ValueError, match="before 1970"):
            repo.set_status(RepoStatus(RepoAvailability.online, datetime(1969, 1, 1, tzinfo=UTC)))
        assert repo.status == closed

    def test_the_error_for_an_unknown_flag_names_those_that_there_are(
        self, storage: Storage, raises: Raises
    ) -> None:
        repo = Repository.create(storage)
        expected = "invalid feature flag name: nope; there are move_node, create_tag, delete_tag"
        with raises(InvalidInputError, "invalid-feature-flag", expected):
            repo.set_feature_flag("nope", False)

    def test_spec_1_has_no_place_for_any_of_it(self, storage: Storage, raises: Raises) -> None:
        repo = Repository.create(storage, spec_version=1)
        for attempt in (
            lambda: repo.metadata,
            lambda: repo.set_metadata({}),
            lambda: repo.update_metadata({}),
            lambda: repo.status,
            lambda: repo.set_status(RepoStatus(RepoAvailability.online)),
            repo.feature_flags,
            repo.disabled_feature_flags,
            lambda: repo.set_feature_flag("create_tag", False),
        ):
            with raises(*needs_version_2):
                attempt()


class TestLogs:
    def test_what_is_done_is_logged(self, repo: Repository, caplog: pytest.LogCaptureFixture) -> None:
        with caplog.at_level(logging.INFO, "icechunk"):
            id = commit(repo, "g")
        [record] = [record for record in caplog.records if record.levelno == logging.INFO]
        assert record.name == "icechunk.repository"
        assert id in record.getMessage()
        caplog.clear()
        commit(repo, "h")
        assert caplog.records == []

    def test_races_and_lost_answers_are_logged(
        self, tmp_path: Path, spec_version: int, caplog: pytest.LogCaptureFixture
    ) -> None:
        storage = FaultInjectingStorage(icechunk.local_filesystem_storage(str(tmp_path)))
        repo = Repository.create(storage, spec_version=spec_version)
        path = "repo" if spec_version == 2 else "refs/branch.main/ref.json"
        storage.faults.lose_answer(path, landed=True)
        with caplog.at_level(logging.DEBUG, "icechunk"):
            commit(repo, "g")
        [record] = [record for record in caplog.records if record.levelno == logging.WARNING]
        assert f"storage did not answer whether `{path}` was written" in record.getMessage()


class TestDiff:
    def test_chunks_of_many_commits_are_listed_once_and_in_order(self, repo: Repository) -> None:
        session = repo.writable_session("main")
        array = zarr.create_array(session.store, name="a", shape=(40, 3), chunks=(1, 1), dtype="i4")
        first = session.commit("an array")
        for row in (30, 2, 17, 2):
            session = repo.writable_session("main")
            array = zarr.open_array(session.store, path="a", mode="r+")
            array[row] = 1
            last = session.commit(f"row {row}")
        diff = repo.diff(from_snapshot_id=first, to_snapshot_id=last)
        rows = [2, 17, 30]
        assert diff.updated_chunks == {"/a": [[row, column] for row in rows for column in range(3)]}

    def test_of_two_arrays_at_one_path_the_chunks_are_those_of_the_one_that_is_there(
        self, repo: Repository
    ) -> None:
        session = repo.writable_session("main")
        zarr.create_array(session.store, name="a", shape=(4,), chunks=(1,), dtype="i4")
        first = session.commit("one dimension")
        session = repo.writable_session("main")
        zarr.open_array(session.store, path="a", mode="r+")[3] = 1
        session.commit("a chunk")
        session = repo.writable_session("main")
        array = zarr.create_array(
            session.store, name="a", shape=(2, 2), chunks=(1, 1), dtype="i4", overwrite=True
        )
        array[1, 0] = 1
        session.commit("two dimensions")
        diff = repo.diff(from_snapshot_id=first, to_branch="main")
        assert diff.updated_chunks == {"/a": [[1, 0]]}
        assert diff.deleted_arrays == diff.new_arrays == {"/a"}

    def test_a_log_that_is_gone_is_an_error(
        self, local_storage: Storage, raises: Raises, tmp_path: Path
    ) -> None:
        repo = Repository.create(local_storage)
        root = repo.lookup_branch("main")
        gone = commit(repo, "a")
        commit(repo, "b")
        (tmp_path / "repo" / "transactions" / gone).unlink()
        with raises(StorageError, "object-not-found", "object not found"):
            repo.diff(from_snapshot_id=root, to_branch="main")

    def test_logs_that_expiration_left_behind_are_read_and_may_be_gone(
        self, local_storage: Storage, tmp_path: Path, caplog: pytest.LogCaptureFixture
    ) -> None:
        repo = Repository.create(local_storage)
        root = repo.lookup_branch("main")
        ids = [commit(repo, name) for name in "abcd"]
        expire_between(repo, root, ids)
        assert repo.diff(from_snapshot_id=root, to_branch="main").new_groups == {"/", "/a", "/b", "/c", "/d"}
        (tmp_path / "repo" / "transactions" / ids[1]).unlink()
        with caplog.at_level(logging.WARNING, "icechunk"):
            diff = repo.reopen().diff(from_snapshot_id=root, to_branch="main")
        assert diff.new_groups == {"/", "/a", "/c", "/d"}
        assert ids[1] in caplog.text

    def test_remote_logs_are_fetched_side_by_side(self, tmp_path: Path) -> None:
        storage = FaultInjectingStorage(
            icechunk.local_filesystem_storage(str(tmp_path)), locality=Locality.REMOTE
        )
        repo = Repository.create(storage)
        root = repo.lookup_branch("main")
        for number in range(comparing._FETCHED_TOGETHER + 6):
            commit(repo, f"g{number}")
        storage.faults.forget()
        diff = repo.diff(from_snapshot_id=root, to_branch="main")
        assert len(diff.new_groups) == comparing._FETCHED_TOGETHER + 7
        assert storage.faults.count("get", "transactions/*") == comparing._FETCHED_TOGETHER + 6


class TestInspection:
    def test_what_is_no_id_is_said_to_be_none(self, repo: Repository, raises: Raises) -> None:
        for inspect in (repo.inspect_snapshot, repo.inspect_transaction_log, repo.list_manifest_files):
            with raises(InvalidInputError, "invalid-snapshot-id", "invalid snapshot id: `zz`"):
                inspect("zz")
        with raises(InvalidInputError, "unknown", "invalid manifest id: `zz`"):
            repo.inspect_manifest("zz")

    def test_a_report_is_json_and_one_s_own(self, repo: Repository) -> None:
        id = commit(repo, "g")
        report = repo.inspect_snapshot(id)
        assert json.loads(json.dumps(report)) == report
        report["nodes"].clear()
        assert [node["path"] for node in repo.inspect_snapshot(id)["nodes"]] == ["/", "/g"]

    def test_manifests_are_listed_with_their_sizes(self, repo: Repository) -> None:
        session = repo.writable_session("main")
        for name in ("a", "b"):
            zarr.create_array(session.store, name=name, shape=(3,), chunks=(1,), dtype="i4")[:] = 1
        id = session.commit("two arrays")
        files = repo.list_manifest_files(id)
        assert [file.num_chunk_refs for file in files] == [3, 3]
        backend = repo._engine.assets.backend
        for file in files:
            assert backend.stat(f"manifests/{file.id}").size_bytes == file.size_bytes
            report = repo.inspect_manifest(file.id)
            assert (report["total_chunk_refs"], report["total_inline"]) == (3, 3)

    def test_the_log_of_a_snapshot_whose_ancestors_expired_has_their_changes(
        self, local_storage: Storage
    ) -> None:
        repo = Repository.create(local_storage)
        root = repo.lookup_branch("main")
        ids = [commit(repo, name) for name in "abc"]
        expire_between(repo, root, ids)
        report = repo.inspect_transaction_log(ids[-1])
        assert len(report["new_groups"]) == 4
        assert report["synthetic_composite"]["merged_pruned_ancestor_tx_logs"] == ids[:-1]
        assert report["synthetic_composite"]["missing_tx_logs"] == []

    def test_spec_1_has_no_repo_info(self, storage: Storage, raises: Raises) -> None:
        repo = Repository.create(storage, spec_version=1)
        with raises(*needs_version_2):
            repo.inspect_repo_info()


def expire_between(repo: Repository, root: str, ids: list[str]) -> None:
    """Take all but the last of `ids` out of the history, as expiration does (protocol 4)."""
    file: Any = repo._engine.history
    expired = {SnapshotId.parse(id) for id in ids[:-1]}

    def change(now: Any) -> Any:
        kept = []
        for record in now.info.snapshots():
            if record.id in expired:
                continue
            is_tip = str(record.id) == ids[-1]
            kept.append(
                NewSnapshot(
                    record.id,
                    SnapshotId.parse(root) if is_tip else record.parent_id,
                    record.flushed_at,
                    record.message,
                    record.metadata,
                    tuple(SnapshotId.parse(id) for id in ids[:-1]) if is_tip else (),
                )
            )
        kind = ExpirationRan()
        return file._changed(now, kind, replace_snapshots=kept)

    file._repo.update(change)

from __future__ import annotations

import itertools
import threading
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import zarr

from icechunk import (
    ConflictError,
    FormatError,
    ManifestConfig,
    ManifestSplitCondition,
    ManifestSplitDimCondition,
    ManifestSplittingConfig,
    RefNotFoundError,
    Repository,
    RepositoryConfig,
    Session,
    SessionMode,
    SessionStateError,
    Storage,
)
from icechunk._engine.assets import clock
from icechunk._engine.format.ids import SnapshotId
from icechunk._engine.format.snapshot_records import ArrayNode

INITIAL = "1CECHNKREP0F1RSTCMT0"

Raises = Callable[..., Any]


def grid_array(session: Session, shape: tuple[int, ...] = (10, 6), name: str = "a") -> zarr.Array:
    """Make an array whose chunks are single cells."""
    return zarr.create_array(
        session.store,
        name=name,
        shape=shape,
        chunks=(1,) * len(shape),
        dtype="i4",
        compressors=None,
        fill_value=-1,
    )


def node(repo: Repository, snapshot_id: str, path: str = "/a") -> ArrayNode:
    found = repo._engine.assets.load_snapshot(SnapshotId.parse(snapshot_id)).find_node(path)
    assert isinstance(found, ArrayNode)
    return found


def boxes(repo: Repository, snapshot_id: str, path: str = "/a") -> list[tuple[tuple[int, int], ...]]:
    return [ref.extents for ref in node(repo, snapshot_id, path).manifests]


def manifests(repo: Repository, snapshot_id: str, path: str = "/a") -> dict[Any, str]:
    return {ref.extents: str(ref.manifest_id) for ref in node(repo, snapshot_id, path).manifests}


def check_manifest_files(repo: Repository, snapshot_id: str) -> None:
    """The snapshot lists the manifests that its nodes use, no others, and rightly."""
    assets = repo._engine.assets
    snapshot = assets.load_snapshot(SnapshotId.parse(snapshot_id))
    used: dict[Any, int] = {}
    for each in snapshot.nodes():
        if isinstance(each, ArrayNode):
            for ref in each.manifests:
                manifest = assets.load_manifest(
                    ref.manifest_id, snapshot.manifest_file(ref.manifest_id).size_bytes
                )
                refs = manifest.find_array(each.id)
                assert refs is not None
                coords = refs.columns().coords
                low, high = coords.min(axis=0), coords.max(axis=0)
                assert ref.extents == tuple(zip(low.tolist(), (high + 1).tolist(), strict=True))
                rows = [tuple(row) for row in coords.tolist()]
                assert rows == sorted(set(rows))
                used[ref.manifest_id] = manifest.num_refs
    assert {file.id: file.num_chunk_refs for file in snapshot.manifest_files()} == used


def splitting(storage: Storage, spec_version: int, *sizes: tuple[Any, int]) -> Repository:
    config = split_config(*sizes)
    return Repository.create(storage, config, spec_version=spec_version)


def split_config(*sizes: tuple[Any, int]) -> RepositoryConfig:
    rule = {ManifestSplitCondition.AnyArray(): dict(sizes)}
    return RepositoryConfig(manifest=ManifestConfig(splitting=ManifestSplittingConfig.from_dict(rule)))


class TestLifecycle:
    def test_a_commit_moves_the_branch_and_ends_the_session(self, repo: Repository) -> None:
        session = repo.writable_session("main")
        assert (session.read_only, session.mode, session.branch) == (False, SessionMode.writable, "main")
        assert not session.has_uncommitted_changes
        zarr.create_group(session.store)
        assert session.has_uncommitted_changes
        tip = session.commit("root", {"a": 1, "t": (1, 2), "n": float("nan"), "b": b"\1"})
        assert (session.read_only, session.mode, session.branch) == (True, SessionMode.readonly, None)
        assert session.snapshot_id == tip == repo.lookup_branch("main")
        assert not session.has_uncommitted_changes
        info = repo.lookup_snapshot(tip)
        assert info.message == "root"
        assert info.metadata == {"a": 1, "t": [1, 2], "n": None, "b": [1]}
        assert info.parent_id == INITIAL

    def test_a_session_that_has_ended_cannot_commit(self, repo: Repository, raises: Raises) -> None:
        session = repo.writable_session("main")
        session.commit("nothing", allow_empty=True)
        for ended in (session, repo.readonly_session("main")):
            with raises(SessionStateError, "commit-not-allowed", "session error: commits are not"):
                ended.commit("again")

    def test_nothing_is_committed_only_if_that_is_meant(self, repo: Repository, raises: Raises) -> None:
        session = repo.writable_session("main")
        with raises(
            SessionStateError,
            "no-changes-to-commit",
            "session error: cannot commit, no changes made to the session (use `allow_empty=true`",
        ):
            session.commit("nothing")
        tip = session.commit("nothing", allow_empty=True)
        assert [info.id for info in repo.ancestry(branch="main")] == [tip, INITIAL]

    def test_discarded_changes_are_gone(self, repo: Repository) -> None:
        session = repo.writable_session("main")
        zarr.create_group(session.store, path="g")
        session.discard_changes()
        assert not session.has_uncommitted_changes
        zarr.create_group(session.store, path="h")
        session.commit("h")
        assert set(zarr.open_group(repo.readonly_session("main").store, mode="r").group_keys()) == {"h"}

    @pytest.mark.parametrize("metadata", [{1: 2}, {"a": {1: 2}}, {"a": object()}, [1]])
    def test_metadata_is_json(self, repo: Repository, metadata: Any) -> None:
        session = repo.writable_session("main")
        with pytest.raises(TypeError):
            session.commit("m", metadata, allow_empty=True)
        session.commit("m", allow_empty=True)

    def test_a_message_is_text(self, repo: Repository) -> None:
        with pytest.raises(TypeError):
            repo.writable_session("main").commit(3, allow_empty=True)  # type: ignore[arg-type]

    def test_a_transaction_commits_at_its_end_or_not_at_all(self, repo: Repository) -> None:
        with repo.transaction("main", message="in", metadata={"x": 1}) as store:
            zarr.create_group(store, path="g")
        [info, _root] = repo.ancestry(branch="main")
        assert (info.message, info.metadata) == ("in", {"x": 1})

        def fail() -> None:
            with repo.transaction("main", message="no") as store:
                zarr.create_group(store, path="h")
                raise KeyError

        with pytest.raises(KeyError):
            fail()
        with pytest.raises(SessionStateError), repo.transaction("main", message="empty"):
            pass
        assert len(list(repo.ancestry(branch="main"))) == 2


class TestRaces:
    def test_the_second_of_two_is_told_so_and_keeps_its_changes(
        self, repo: Repository, raises: Raises
    ) -> None:
        first, second = repo.writable_session("main"), repo.writable_session("main")
        zarr.create_group(first.store, path="first")
        zarr.create_group(second.store, path="second")
        tip = first.commit("first")
        for _ in range(2):
            with raises(
                ConflictError,
                "commit-conflict",
                f'Failed to commit, expected parent: Some("{INITIAL}"), actual parent: Some("{tip}")',
            ) as raised:
                second.commit("second")
            assert (raised.value.expected_parent, raised.value.actual_parent) == (INITIAL, tip)
        assert not second.read_only
        assert second.has_uncommitted_changes
        assert set(zarr.open_group(second.store, mode="r").group_keys()) == {"second"}
        repo.reset_branch("main", INITIAL)
        second.commit("second")
        assert set(zarr.open_group(repo.readonly_session("main").store, mode="r").group_keys()) == {"second"}

    def test_the_branch_may_be_gone(self, repo: Repository, spec_version: int, raises: Raises) -> None:
        repo.create_branch("d", INITIAL)
        session = repo.writable_session("d")
        zarr.create_group(session.store)
        repo.delete_branch("d")
        if spec_version == 1:
            with raises(
                ConflictError,
                "commit-conflict",
                f'Failed to commit, expected parent: Some("{INITIAL}"), actual parent: None',
            ):
                session.commit("x")
        else:
            with raises(RefNotFoundError, "branch-not-found", "session error: branch not found `d`"):
                session.commit("x")
        assert not session.read_only

    def test_threads_that_retry_lose_nothing(self, repo: Repository) -> None:
        committed: list[str] = []

        def work(name: str) -> None:
            for i in range(5):
                while True:
                    session = repo.writable_session("main")
                    zarr.create_group(session.store, path=f"{name}{i}")
                    try:
                        committed.append(session.commit(f"{name}{i}"))
                        break
                    except ConflictError:
                        pass

        threads = [threading.Thread(target=work, args=(name,)) for name in "abcd"]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        history = [info.id for info in repo.ancestry(branch="main")]
        assert len(committed) == 20
        assert set(history) == {*committed, INITIAL}
        names = set(zarr.open_group(repo.readonly_session("main").store, mode="r").group_keys())
        assert names == {f"{name}{i}" for name in "abcd" for i in range(5)}


class TestTime:
    def test_a_clock_that_is_a_little_behind_goes_on(
        self, repo: Repository, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        before = repo.lookup_snapshot(INITIAL).written_at
        stopped = clock.as_microseconds(before) - 500_000
        monkeypatch.setattr(clock, "now_us", lambda: stopped)
        tips = [repo.writable_session("main").commit(f"{i}", allow_empty=True) for i in range(3)]
        times = [info.written_at for info in repo.ancestry(branch="main")]
        assert times == sorted(times, reverse=True)
        assert len(set(times)) == len(tips) + 1

    def test_a_clock_that_is_wrong_is_an_error(
        self, repo: Repository, monkeypatch: pytest.MonkeyPatch, raises: Raises
    ) -> None:
        before = repo.lookup_snapshot(INITIAL).written_at
        stopped = clock.as_microseconds(before) - 5_000_000
        session = repo.writable_session("main")
        with monkeypatch.context() as patch:
            patch.setattr(clock, "now_us", lambda: stopped)
            with raises(
                FormatError,
                "snapshot-timestamp",
                "session error: invalid snapshot timestamp ordering. parent: `",
            ):
                session.commit("late", allow_empty=True)
            if repo.spec_version == 2:
                with raises(FormatError, "snapshot-timestamp", "update timestamp is invalid, please verify"):
                    repo.create_branch("late", INITIAL)
        session.commit("in time", allow_empty=True)


class TestManifests:
    def test_an_untouched_array_keeps_its_manifest(self, repo: Repository) -> None:
        session = repo.writable_session("main")
        for name in "ab":
            grid_array(session, name=name)[:] = 1
        first = session.commit("first")
        session = repo.writable_session("main")
        zarr.open_array(session.store, path="a")[0, 0] = 7
        second = session.commit("second")
        assert manifests(repo, first, "/b") == manifests(repo, second, "/b")
        assert manifests(repo, first) != manifests(repo, second)
        check_manifest_files(repo, first)
        check_manifest_files(repo, second)

    def test_new_metadata_alone_keeps_manifests(self, repo: Repository) -> None:
        session = repo.writable_session("main")
        grid_array(session)[:] = 1
        first = session.commit("first")
        session = repo.writable_session("main")
        zarr.open_array(session.store, path="a").update_attributes({"x": 1})
        second = session.commit("second")
        assert manifests(repo, first) == manifests(repo, second)
        session = repo.writable_session("main")
        zarr.open_array(session.store, path="a").resize((20, 9))
        third = session.commit("third")
        assert manifests(repo, first) == manifests(repo, third)
        check_manifest_files(repo, third)

    def test_a_smaller_array_drops_what_lies_outside(self, repo: Repository) -> None:
        session = repo.writable_session("main")
        array = grid_array(session)
        array[:] = np.arange(60).reshape(10, 6)
        session.commit("first")
        session = repo.writable_session("main")
        array = zarr.open_array(session.store, path="a")
        array[9, 5] = 7
        array.resize((4, 2))
        second = session.commit("smaller")
        assert boxes(repo, second) == [((0, 4), (0, 2))]
        check_manifest_files(repo, second)
        session = repo.writable_session("main")
        zarr.open_array(session.store, path="a").resize((10, 6))
        session.commit("larger")
        data = zarr.open_array(repo.readonly_session("main").store, path="a", mode="r")[:]
        expected = np.full((10, 6), -1)
        expected[:4, :2] = np.arange(60).reshape(10, 6)[:4, :2]
        np.testing.assert_array_equal(data, expected)

    def test_deleted_chunks_and_arrays_leave_no_manifest(self, repo: Repository) -> None:
        session = repo.writable_session("main")
        for name in "ab":
            grid_array(session, (3,), name)[:] = 1
        session.commit("first")
        session = repo.writable_session("main")
        for i in range(3):
            session.store._sync(session.store.delete(f"a/c/{i}"))
        session.store._sync(session.store.delete_dir("b"))
        second = session.commit("second")
        assert boxes(repo, second) == []
        check_manifest_files(repo, second)
        assert repo._engine.assets.load_snapshot(SnapshotId.parse(second)).manifest_files() == []

    def test_an_array_can_be_replaced_by_another(self, repo: Repository) -> None:
        session = repo.writable_session("main")
        grid_array(session)[:] = 1
        first = session.commit("first")
        session = repo.writable_session("main")
        session.store._sync(session.store.delete_dir("a"))
        grid_array(session, (3,))[1] = 5
        second = session.commit("second")
        assert node(repo, first).id != node(repo, second).id
        assert boxes(repo, second) == [((1, 2),)]
        check_manifest_files(repo, second)
        array = zarr.open_array(repo.readonly_session("main").store, path="a", mode="r")
        np.testing.assert_array_equal(array[:], [-1, 5, -1])
        old = zarr.open_array(repo.readonly_session(snapshot_id=first).store, path="a", mode="r")
        assert (old[:] == 1).all()

    def test_an_array_without_dimensions_has_one_chunk(self, repo: Repository) -> None:
        session = repo.writable_session("main")
        array = zarr.create_array(session.store, name="a", shape=(), dtype="i4")
        array[()] = 5
        first = session.commit("first")
        assert boxes(repo, first) == [()]
        session = repo.writable_session("main")
        zarr.open_array(session.store, path="a")[()] = 6
        second = session.commit("second")
        check_manifest_files(repo, second)
        for tip, value in ((first, 5), (second, 6)):
            store = repo.readonly_session(snapshot_id=tip).store
            assert zarr.open_array(store, path="a", mode="r")[()] == value

    def test_an_empty_dimension_has_no_chunks(self, repo: Repository) -> None:
        session = repo.writable_session("main")
        grid_array(session, (0, 3))
        tip = session.commit("empty")
        assert boxes(repo, tip) == []
        session = repo.writable_session("main")
        array = zarr.open_array(session.store, path="a")
        array.resize((2, 3))
        array[:] = 4
        assert boxes(repo, session.commit("two rows")) == [((0, 2), (0, 3))]


class TestSplitting:
    def test_boxes_are_the_product_of_the_edges(self, storage: Storage, spec_version: int) -> None:
        repo = splitting(storage, spec_version, (ManifestSplitDimCondition.Any(), 4))
        session = repo.writable_session("main")
        grid_array(session)[:] = 1
        tip = session.commit("full")
        edges = [[(0, 4), (4, 8), (8, 10)], [(0, 4), (4, 6)]]
        assert boxes(repo, tip) == list(itertools.product(*edges))
        check_manifest_files(repo, tip)

    def test_extents_are_tight_and_only_the_box_of_a_changed_chunk_is_new(
        self, storage: Storage, spec_version: int
    ) -> None:
        repo = splitting(storage, spec_version, (ManifestSplitDimCondition.Axis(0), 3))
        session = repo.writable_session("main")
        array = grid_array(session)
        array[1, 2] = 1
        array[8, 3] = 1
        first = session.commit("two chunks")
        assert boxes(repo, first) == [((1, 2), (2, 3)), ((8, 9), (3, 4))]
        session = repo.writable_session("main")
        zarr.open_array(session.store, path="a")[6, 0] = 1
        second = session.commit("one more")
        assert boxes(repo, second) == [((1, 2), (2, 3)), ((6, 9), (0, 4))]
        before, after = manifests(repo, first), manifests(repo, second)
        assert before[((1, 2), (2, 3))] == after[((1, 2), (2, 3))]
        check_manifest_files(repo, second)
        session = repo.writable_session("main")
        session.store._sync(session.store.delete("a/c/1/2"))
        third = session.commit("one less")
        assert boxes(repo, third) == [((6, 9), (0, 4))]
        check_manifest_files(repo, third)

    def test_a_new_rule_takes_effect_when_an_array_is_changed(
        self, storage: Storage, spec_version: int
    ) -> None:
        repo = Repository.create(storage, spec_version=spec_version)
        session = repo.writable_session("main")
        for name in "ab":
            grid_array(session, name=name)[:] = np.arange(60).reshape(10, 6)
        session.commit("first")
        repo = repo.reopen(split_config((ManifestSplitDimCondition.Axis(0), 4)))
        session = repo.writable_session("main")
        zarr.open_array(session.store, path="a")[9, 5] = 7
        second = session.commit("second")
        assert boxes(repo, second) == [((0, 4), (0, 6)), ((4, 8), (0, 6)), ((8, 10), (0, 6))]
        assert boxes(repo, second, "/b") == [((0, 10), (0, 6))]
        check_manifest_files(repo, second)
        # And back: boxes grow together where something changes, the rest of the array too.
        repo = repo.reopen(split_config((ManifestSplitDimCondition.Any(), 1000)))
        session = repo.writable_session("main")
        zarr.open_array(session.store, path="a")[5, 5] = 8
        third = session.commit("third")
        assert boxes(repo, third) == [((0, 10), (0, 6))]
        check_manifest_files(repo, third)
        expected = np.arange(60).reshape(10, 6)
        expected[9, 5], expected[5, 5] = 7, 8
        array = zarr.open_array(repo.readonly_session("main").store, path="a", mode="r")
        np.testing.assert_array_equal(array[:], expected)

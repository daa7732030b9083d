"""Rebasing: what moves, what is read, what is left when it fails, and committing with it."""

from __future__ import annotations

import pickle
from collections.abc import Callable

import numpy as np
import pytest
import zarr

import icechunk
from icechunk import BasicConflictSolver, ConflictDetector, ConflictType, VersionSelection
from icechunk.abc import ConflictView, Resolution, Theirs
from icechunk.testing import FaultInjectingStorage

Change = Callable[[zarr.Group], None]


def commit(repo: icechunk.Repository, change: Change, branch: str = "main") -> str:
    session = repo.writable_session(branch)
    change(root_of(session))
    return session.commit("theirs")


def root_of(session: icechunk.Session) -> zarr.Group:
    return zarr.open_group(session.store, mode="r+")


def put(path: str, index: int, value: int) -> Change:
    """Fill a chunk."""

    def change(root: zarr.Group) -> None:
        root[path][2 * index : 2 * index + 2] = value

    return change


def tip(repo: icechunk.Repository) -> zarr.Group:
    return zarr.open_group(repo.readonly_session("main").store, mode="r")


def test_changes_go_on_top_of_all_newer_commits(repo: icechunk.Repository) -> None:
    session = repo.writable_session("main")
    root = root_of(session)
    put("a", 1, 100)(root)
    root.create_array("mine", shape=2, dtype="i4")[:] = 3
    for index in (0, 2, 3):
        commit(repo, put("a", index, index))
    last = commit(repo, lambda root: root["g"].attrs.put({"theirs": True}))
    session.rebase(ConflictDetector())
    assert session.snapshot_id == last
    assert session.branch == "main"
    assert session.has_uncommitted_changes
    assert root_of(session)["a"][:].tolist() == [0, 0, 100, 100, 2, 2, 3, 3]
    session.commit("mine")
    assert tip(repo)["a"][:].tolist() == [0, 0, 100, 100, 2, 2, 3, 3]
    assert tip(repo)["mine"][:].tolist() == [3, 3]
    assert tip(repo)["g"].attrs["theirs"]


def test_nothing_happens_without_newer_commits_or_without_the_branch(repo: icechunk.Repository) -> None:
    repo.create_branch("side", repo.lookup_branch("main"))
    session = repo.writable_session("side")
    put("a", 0, 5)(root_of(session))
    before = session.snapshot_id
    session.rebase(ConflictDetector())
    repo.delete_branch("side")
    session.rebase(ConflictDetector())
    assert session.snapshot_id == before
    assert session.status().updated_chunks == {"/a": [[0]]}


def test_a_failed_rebase_ends_at_the_last_commit_that_went_well(repo: icechunk.Repository) -> None:
    session = repo.writable_session("main")
    for index in (0, 1, 2):
        put("a", index, 50)(root_of(session))
    good = commit(repo, put("a", 0, 7))
    bad = commit(repo, lambda root: root["a"].attrs.put({"units": "K"}))
    commit(repo, put("b", 0, 7))
    with pytest.raises(icechunk.RebaseFailedError) as failure:
        session.rebase(BasicConflictSolver(on_chunk_conflict=VersionSelection.UseTheirs))
    error = failure.value
    assert error.snapshot == bad
    [conflict] = error.conflicts
    assert conflict == icechunk.Conflict(ConflictType.ChunksUpdatedInUpdatedArray, "/a")
    assert error.kind == "rebase-failed"
    assert str(error) == f"Rebase failed on snapshot {bad}: 1 conflicts found"
    copy = pickle.loads(pickle.dumps(error))
    assert (copy.snapshot, copy.conflicts, copy.reasons) == (bad, error.conflicts, [None])
    assert session.snapshot_id == good
    assert session.status().updated_chunks == {"/a": [[1], [2]]}
    assert root_of(session)["a"][:].tolist() == [7, 7, 50, 50, 50, 50, 6, 7]
    # The session goes on.
    put("b", 3, 1)(root_of(session))
    with pytest.raises(icechunk.ConflictError):
        session.commit("too late")


def test_a_commit_rebases_as_often_as_it_must(repo: icechunk.Repository) -> None:
    session = repo.writable_session("main")
    put("a", 0, 5)(root_of(session))
    commit(repo, put("a", 1, 5))
    id = session.commit("mine", {"k": 1, "__icechunk": {"z": 2}}, rebase_with=ConflictDetector())
    assert repo.lookup_snapshot(id).metadata == {"k": 1, "__icechunk": {"z": 2, "rebase_attempts": 1}}
    session = repo.writable_session("main")
    put("a", 0, 6)(root_of(session))
    id = session.commit("mine", rebase_with="detector")
    assert repo.lookup_snapshot(id).metadata == {"__icechunk": {"rebase_attempts": 0}}
    assert session.read_only


def test_a_commit_gives_up_after_so_many_tries(repo: icechunk.Repository) -> None:
    session = repo.writable_session("main")
    put("a", 0, 5)(root_of(session))
    commit(repo, put("a", 1, 5))
    with pytest.raises(icechunk.ConflictError) as failure:
        session.commit("mine", rebase_with=ConflictDetector(), rebase_tries=0)
    assert not isinstance(failure.value, icechunk.RebaseFailedError)
    with pytest.raises(OverflowError):
        session.commit("mine", rebase_with=ConflictDetector(), rebase_tries=-1)
    session.commit("mine", rebase_with=ConflictDetector(), rebase_tries=1)


def test_a_commit_to_a_branch_that_is_gone_does_not_try_a_thousand_times(repo: icechunk.Repository) -> None:
    repo.create_branch("side", repo.lookup_branch("main"))
    session = repo.writable_session("side")
    put("a", 0, 5)(root_of(session))
    repo.delete_branch("side")
    expected = icechunk.ConflictError if repo.spec_version == 1 else icechunk.RefNotFoundError
    with pytest.raises(expected):
        session.commit("mine", rebase_with=ConflictDetector())


def test_a_transaction_rebases(repo: icechunk.Repository) -> None:
    with repo.transaction("main", message="mine", rebase_with=ConflictDetector()) as store:
        put("a", 0, 5)(zarr.open_group(store, mode="r+"))
        commit(repo, put("a", 1, 6))
    assert tip(repo)["a"][:4].tolist() == [5, 5, 6, 6]


async def _rebase(session: icechunk.Session) -> None:
    await session.rebase_async(ConflictDetector())


def test_rebase_async_is_the_same(repo: icechunk.Repository) -> None:
    import asyncio

    session = repo.writable_session("main")
    put("a", 0, 5)(root_of(session))
    last = commit(repo, put("a", 1, 6))
    asyncio.run(_rebase(session))
    assert session.snapshot_id == last


def test_only_sessions_with_a_branch_rebase_and_only_solvers_solve(repo: icechunk.Repository) -> None:
    with pytest.raises(icechunk.SessionStateError) as failure:
        repo.readonly_session("main").rebase(ConflictDetector())
    assert failure.value.kind == "commit-not-allowed"
    session = repo.writable_session("main")
    for nonsense in (None, 3, ConflictDetector):
        with pytest.raises(TypeError):
            session.rebase(nonsense)
    with pytest.raises(icechunk.errors.PluginError, match="nobody"):
        session.rebase("nobody")


@pytest.mark.parametrize("onward", [True, False], ids=["another way", "back"])
def test_a_branch_that_was_reset_is_a_conflict(repo: icechunk.Repository, *, onward: bool) -> None:
    base = repo.lookup_branch("main")
    commit(repo, put("a", 3, 1))
    session = repo.writable_session("main")
    before = session.snapshot_id
    put("a", 0, 5)(root_of(session))
    repo.reset_branch("main", base)
    if onward:
        commit(repo, put("a", 2, 2))
    for attempt in (
        lambda: session.rebase(BasicConflictSolver()),
        lambda: session.commit("mine", rebase_with=BasicConflictSolver()),
    ):
        with pytest.raises(icechunk.RebaseFailedError) as failure:
            attempt()
        assert failure.value.snapshot == repo.lookup_branch("main")
        assert failure.value.conflicts == [icechunk.Conflict(ConflictType.BaseIsNoAncestor, "")]
    assert session.snapshot_id == before
    assert session.status().updated_chunks == {"/a": [[0]]}


def test_what_both_deleted_is_no_longer_in_the_status(repo: icechunk.Repository) -> None:
    session = repo.writable_session("main")
    del root_of(session)["a"]
    commit(repo, lambda root: root.__delitem__("a"))
    session.rebase(ConflictDetector())
    assert session.has_uncommitted_changes
    assert session.status().is_empty()
    session.commit("mine")
    assert "a" not in tip(repo)


def test_a_node_that_took_the_place_of_the_deleted_one_stays(repo: icechunk.Repository) -> None:
    session = repo.writable_session("main")
    del root_of(session)["b"]

    def replace(root: zarr.Group) -> None:
        root.create_array("b", shape=2, dtype="i8", overwrite=True)

    commit(repo, replace)
    session.rebase(ConflictDetector())
    assert root_of(session)["b"].dtype == np.dtype("i8")
    assert "b" in set(root_of(session).array_keys())
    put("a", 0, 9)(root_of(session))
    session.commit("mine")
    assert tip(repo)["b"].dtype == np.dtype("i8")
    # And it can be deleted.
    commit(repo, lambda root: root.__delitem__("b"))
    assert "b" not in tip(repo)


def test_nobody_changes_the_session_meanwhile(repo: icechunk.Repository) -> None:
    session = repo.writable_session("main")
    put("a", 0, 5)(root_of(session))
    commit(repo, put("a", 0, 6))

    class Meddling(icechunk.ConflictSolver):
        def resolve(self, conflict: ConflictView) -> Resolution:
            for attempt in (
                lambda: put("b", 0, 1)(root_of(session)),
                session.discard_changes,
                lambda: session.rebase("basic"),
                lambda: session.commit("now"),
            ):
                with pytest.raises(icechunk.SessionStateError, match="being committed"):
                    attempt()
            return Theirs()

    session.rebase(Meddling())
    assert session.status().updated_chunks == {"/a": []}
    put("b", 0, 1)(root_of(session))


def test_a_rebase_reads_the_history_and_logs_only() -> None:
    storage = FaultInjectingStorage(icechunk.in_memory_storage())
    repo = icechunk.Repository.create(storage)
    with repo.transaction("main", message="base") as store:
        zarr.create_group(store).create_array("a", shape=100, chunks=1, dtype="i4")
    session = repo.writable_session("main")
    root_of(session)["a"][0] = 1
    other = icechunk.Repository.open(storage)
    for index in range(1, 21):
        with other.transaction("main", message="theirs") as store:
            zarr.open_group(store, mode="r+")["a"][index] = index
    storage.faults.requests.clear()
    session.rebase(ConflictDetector())
    paths = [request.path for request in storage.faults.requests]
    assert paths.count("repo") == 1
    assert {path.partition("/")[0] for path in paths} == {"repo", "transactions"}
    assert len(paths) == 21

"""`Session.amend`: a snapshot in the place of the branch's tip."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import pytest
import zarr
from zarr.core.buffer import cpu, default_buffer_prototype

from icechunk import (
    ConflictError,
    FormatError,
    RefNotFoundError,
    Repository,
    SessionMode,
    SessionStateError,
    in_memory_storage,
)
from tests.core.session.helpers import array, branch_history, log, paths

Refused = Callable[..., Any]

NO_SPEC_1 = "session error: repository version error, this operation requires a repository that is at least"


def test_an_amend_takes_the_place_of_the_tip(repo2: Repository) -> None:
    before = list(repo2.ancestry(branch="main"))
    session = repo2.writable_session("main")
    array(session, "a")[0:2] = 7
    new = session.amend("amended", metadata={"y": (1, 2)})
    [tip, root] = repo2.ancestry(branch="main")
    assert (tip.id, tip.parent_id, tip.message, tip.metadata) == (new, root.id, "amended", {"y": [1, 2]})
    assert tip.written_at > before[0].written_at
    # It has what the old tip had, and the changes.
    reader = repo2.readonly_session("main")
    assert array(reader, "a")[:].tolist() == [7, 7, 1, 1, 1, 1, 1, 1, 1, 1]
    assert paths(reader) == ["/", "/a", "/g", "/g/b", "/g/h", "/k"]
    # The old tip is on no branch, but not gone.
    assert repo2.lookup_snapshot(before[0].id).parent_id == root.id
    assert array(repo2.readonly_session(snapshot_id=before[0].id), "a")[0] == 1


def test_an_amended_session_reads_on_at_the_new_snapshot(repo2: Repository) -> None:
    session = repo2.writable_session("main")
    array(session, "a")[0] = 7
    new = session.amend("amended")
    assert (session.snapshot_id, session.branch, session.mode) == (new, None, SessionMode.readonly)
    assert session.read_only
    assert not session.has_uncommitted_changes
    assert array(session, "a")[0] == 7


def test_an_amend_without_changes_must_be_asked_for(repo2: Repository, refused: Refused) -> None:
    session = repo2.writable_session("main")
    with refused(SessionStateError, "no-changes-to-commit", "session error: cannot commit, no changes made"):
        session.amend("empty")
    session.amend("empty", allow_empty=True)
    assert branch_history(repo2) == ["empty"]


def test_the_first_snapshot_cannot_be_amended(refused: Refused) -> None:
    repo = Repository.create(in_memory_storage())
    session = repo.writable_session("main")
    with refused(SessionStateError, "no-changes-to-commit", "session error: cannot commit"):
        session.amend("nothing")
    zarr.create_group(session.store)
    with refused(
        SessionStateError,
        "no-amend-for-initial-commit",
        "session error: the first commit in the repository cannot be an amend, create a new commit instead",
    ):
        session.amend("first")
    # It is as it was, and can be committed.
    assert session.has_uncommitted_changes
    session.commit("first")


def test_spec_1_has_no_amend_whatever_the_session(storage: Any, refused: Refused) -> None:
    repo = Repository.create(storage, spec_version=1)
    for session in (repo.writable_session("main"), repo.readonly_session("main")):
        with refused(FormatError, "unsupported-spec-version", NO_SPEC_1):
            session.amend("no", allow_empty=True)


def test_a_session_without_a_branch_cannot_amend(repo2: Repository, refused: Refused) -> None:
    session = repo2.readonly_session("main")
    with refused(
        SessionStateError, "commit-not-allowed", "session error: commits are not allowed on read-only"
    ):
        session.amend("no", allow_empty=True)


def test_an_amend_of_what_is_no_longer_the_tip_is_a_conflict(repo2: Repository) -> None:
    first, second = repo2.writable_session("main"), repo2.writable_session("main")
    base = second.snapshot_id
    array(second, "a")[0] = 2
    tip = first.amend("first", allow_empty=True)
    with pytest.raises(ConflictError) as caught:
        second.amend("second")
    assert (caught.value.expected_parent, caught.value.actual_parent) == (base, tip)
    assert second.branch == "main"
    assert second.has_uncommitted_changes
    assert branch_history(repo2) == ["first"]


def test_an_amend_on_a_branch_that_is_gone(repo2: Repository, refused: Refused) -> None:
    repo2.create_branch("dev", repo2.lookup_branch("main"))
    session = repo2.writable_session("dev")
    repo2.delete_branch("dev")
    with refused(RefNotFoundError, "branch-not-found", "session error: branch not found `dev`"):
        session.amend("gone", allow_empty=True)


class TestTransactionLog:
    def test_it_says_what_both_changed(self, repo2: Repository) -> None:
        session = repo2.writable_session("main")
        root = zarr.open_group(session.store)
        root.create_array("n", shape=4, chunks=2, dtype="i4")[0:2] = 1
        root["a"].attrs["q"] = 1
        array(session, "a")[0] = 3
        session.commit("first")
        id, a = session.get_node_id("/n"), session.get_node_id("/a")
        session = repo2.writable_session("main")
        root = zarr.open_group(session.store)
        root["n"].attrs["q"] = 1
        array(session, "n")[:] = 3
        array(session, "a")[8] = 3
        root.attrs["q"] = 1
        new = session.amend("second")
        assert log(repo2, new) == {
            "new_arrays": [id],
            "updated_arrays": sorted([id, a]),
            "updated_groups": [session.get_node_id("/")],
            "updated_chunks": {id: [[0], [1]], a: [[0], [4]]},
        }

    def test_what_one_created_and_the_other_deleted_is_both(self, repo2: Repository) -> None:
        session = repo2.writable_session("main")
        zarr.create_group(session.store, path="n")
        session.commit("first")
        id = session.get_node_id("/n")
        session = repo2.writable_session("main")
        del zarr.open_group(session.store)["n"]
        new = session.amend("second")
        assert log(repo2, new) == {"new_groups": [id], "deleted_groups": [id]}
        assert paths(session) == ["/", "/a", "/g", "/g/b", "/g/h", "/k"]

    def test_moves_compose_and_cancel_out(self, repo2: Repository) -> None:
        def moved(from_path: str, to_path: str, *, amend: bool = True) -> str:
            session = repo2.rearrange_session("main")
            session.move(from_path, to_path)
            return session.amend("moved") if amend else session.commit("moved")

        assert log(repo2, moved("/a", "/z", amend=False)) == {"moved_nodes": [("/a", "/z")]}
        assert log(repo2, moved("/z", "/k/z")) == {"moved_nodes": [("/a", "/k/z")]}
        assert log(repo2, moved("/k/z", "/a")) == {}
        assert branch_history(repo2) == ["filled", "moved"]

    def test_chunks_of_an_array_without_dimensions(self, repo2: Repository) -> None:
        session = repo2.writable_session("main")
        zarr.create_array(session.store, name="scalar", shape=(), dtype="i4")[...] = 1
        session.commit("first")
        session = repo2.writable_session("main")
        array(session, "scalar")[...] = 2
        new = session.amend("second")
        id = session.get_node_id("/scalar")
        assert log(repo2, new) == {"new_arrays": [id], "updated_chunks": {id: [[]]}}
        assert array(session, "scalar")[...] == 2

    async def test_an_array_that_got_another_number_of_dimensions(self, repo2: Repository) -> None:
        session = repo2.writable_session("main")
        array(session, "a")[0] = 5
        session.commit("one dimension")
        session = repo2.writable_session("main")
        buffer = await session.store.get("a/zarr.json", default_buffer_prototype())
        assert buffer is not None
        document = json.loads(buffer.to_bytes())
        document["shape"] = [4, 4]
        document["chunk_grid"]["configuration"]["chunk_shape"] = [2, 2]
        await session.store.set("a/zarr.json", cpu.Buffer.from_bytes(json.dumps(document).encode()))
        array(session, "a")[0:2] = 3
        new = session.amend("two dimensions")
        assert log(repo2, new)["updated_chunks"] == {session.get_node_id("/a"): [[0, 0], [0, 1]]}


class TestMoves:
    def test_only_a_rearrange_session_amends_moves(self, repo2: Repository, refused: Refused) -> None:
        session = repo2.rearrange_session("main")
        session.move("/a", "/z")
        session.commit("moved")
        session = repo2.writable_session("main")
        with refused(
            SessionStateError,
            "rearrange-session-only",
            "session error: This session was created to rearrange the hierarchy, other write operations",
        ):
            session.amend("edit", allow_empty=True)
        session = repo2.rearrange_session("main")
        session.move("/z", "/y")
        session.amend("moved on")

    def test_a_rearrange_session_amends_edits(self, repo2: Repository) -> None:
        session = repo2.writable_session("main")
        zarr.create_array(session.store, name="n", shape=4, chunks=2, dtype="i4")[0:2] = 1
        session.commit("edit")
        id = session.get_node_id("/n")
        session = repo2.rearrange_session("main")
        session.move("/n", "/k/n")
        new = session.amend("moved")
        assert log(repo2, new) == {
            "new_arrays": [id],
            "updated_chunks": {id: [[0]]},
            "moved_nodes": [("/n", "/k/n")],
        }
        assert session.get_node_id("/k/n") == id
        assert array(repo2.readonly_session("main"), "k/n")[:].tolist() == [1, 1, 0, 0]


@pytest.mark.parametrize("arguments", [(3,), (None,), ("m", {}), ()])
def test_what_an_amend_takes(repo2: Repository, arguments: tuple[Any, ...]) -> None:
    with pytest.raises(TypeError):
        repo2.writable_session("main").amend(*arguments)
    with pytest.raises(TypeError):
        repo2.writable_session("main").amend("m", metadata=[])  # type: ignore[arg-type]
    with pytest.raises(TypeError):
        repo2.writable_session("main").amend("m", metadata={"a": object()}, allow_empty=True)


async def test_the_awaitable_forms(repo2: Repository) -> None:
    session = await repo2.rearrange_session_async("main")
    await session.move_async("/a", "/z")
    await session.amend_async("amended")
    detached = await repo2.readonly_session("main").flush_async("detached")
    assert branch_history(repo2) == ["amended"]
    assert repo2.lookup_snapshot(detached).message == "detached"

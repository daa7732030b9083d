"""`Session.flush`: a snapshot that is on no branch."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import zarr

from icechunk import Repository, SessionMode, SessionStateError
from tests.core.session.helpers import array, branch_history, log, paths

Refused = Callable[..., Any]


def test_a_flush_makes_a_snapshot_and_moves_no_branch(repo: Repository) -> None:
    tip = repo.lookup_branch("main")
    session = repo.writable_session("main")
    array(session, "a")[0:2] = 7
    id = session.flush("detached", metadata={"x": (1, float("nan"))})
    assert repo.lookup_branch("main") == tip
    assert branch_history(repo) == ["filled"]
    info = repo.lookup_snapshot(id)
    assert (info.parent_id, info.message, info.metadata) == (tip, "detached", {"x": [1, None]})
    assert [each.message for each in repo.ancestry(snapshot_id=id)][:2] == ["detached", "filled"]
    assert array(repo.readonly_session(snapshot_id=id), "a")[:3].tolist() == [7, 7, 1]
    assert log(repo, id) == {"updated_chunks": {session.get_node_id("/a"): [[0]]}}


def test_a_flushed_session_reads_on_at_the_new_snapshot(repo: Repository, refused: Refused) -> None:
    session = repo.writable_session("main")
    array(session, "a")[0] = 7
    id = session.flush("detached")
    assert (session.snapshot_id, session.branch, session.mode) == (id, None, SessionMode.readonly)
    assert session.read_only
    assert not session.has_uncommitted_changes
    assert array(session, "a")[0] == 7
    with refused(SessionStateError, "commit-not-allowed", "session error: commits are not allowed"):
        session.commit("no")


def test_nothing_need_have_changed_and_a_reader_may_flush(repo: Repository) -> None:
    session = repo.readonly_session("main")
    first = session.flush("first")
    second = session.flush("second")
    assert repo.lookup_snapshot(second).parent_id == first
    assert log(repo, second) == {}
    assert paths(session) == ["/", "/a", "/g", "/g/b", "/g/h", "/k"]


def test_what_was_flushed_gets_branches_and_tags(repo: Repository) -> None:
    session = repo.writable_session("main")
    array(session, "a")[0] = 7
    id = session.flush("detached")
    repo.create_branch("dev", id)
    repo.create_tag("t", id)
    session = repo.writable_session("dev")
    array(session, "a")[0] = 8
    session.commit("on top")
    assert branch_history(repo, "dev") == ["filled", "detached", "on top"]
    assert array(repo.readonly_session(tag="t"), "a")[0] == 7


def test_it_does_not_matter_what_became_of_the_branch(repo: Repository) -> None:
    repo.create_branch("dev", repo.lookup_branch("main"))
    late, orphan = repo.writable_session("main"), repo.writable_session("dev")
    array(late, "a")[0] = 7
    array(orphan, "a")[0] = 8
    repo.writable_session("main").commit("faster", allow_empty=True)
    repo.delete_branch("dev")
    assert array(repo.readonly_session(snapshot_id=late.flush("late")), "a")[0] == 7
    assert array(repo.readonly_session(snapshot_id=orphan.flush("orphan")), "a")[0] == 8


def test_a_flush_of_moves(repo2: Repository) -> None:
    session = repo2.rearrange_session("main")
    session.move("/g", "/k/g")
    id = session.flush("moved")
    assert session.mode == SessionMode.readonly
    reader = repo2.readonly_session(snapshot_id=id)
    assert paths(reader) == ["/", "/a", "/k", "/k/g", "/k/g/b", "/k/g/h"]
    assert log(repo2, id) == {"moved_nodes": [("/g", "/k/g"), ("/g/b", "/k/g/b"), ("/g/h", "/k/g/h")]}
    assert array(reader, "k/g/b")[:].tolist() == [2, 2, 2, 2]


def test_what_a_flush_takes(repo: Repository) -> None:
    session = repo.writable_session("main")
    with pytest.raises(TypeError):
        session.flush(None)  # type: ignore[arg-type]
    with pytest.raises(TypeError):
        session.flush("m", {})  # type: ignore[misc]
    with pytest.raises(TypeError):
        session.flush("m", metadata=[1])  # type: ignore[arg-type]
    assert session.branch == "main"


class TestDefaultMetadata:
    def test_it_goes_under_what_a_commit_says(self, repo: Repository) -> None:
        assert repo.default_commit_metadata() == {}
        repo.set_default_commit_metadata({"d": 1, "y": (0, float("nan"))})
        assert repo.default_commit_metadata() == {"d": 1, "y": [0, None]}
        session = repo.writable_session("main")
        id = session.commit("m", {"y": 5}, allow_empty=True)
        assert repo.lookup_snapshot(id).metadata == {"d": 1, "y": 5}
        id = repo.writable_session("main").flush("m", metadata={"z": 5})
        assert repo.lookup_snapshot(id).metadata == {"d": 1, "y": [0, None], "z": 5}
        with repo.transaction("main", message="t") as store:
            zarr.create_group(store, path="n")
        assert repo.lookup_snapshot(repo.lookup_branch("main")).metadata == {"d": 1, "y": [0, None]}

    def test_an_amend_has_it_and_a_reader_has_not(self, repo2: Repository) -> None:
        repo2.set_default_commit_metadata({"d": 1})
        id = repo2.writable_session("main").amend("m", allow_empty=True)
        assert repo2.lookup_snapshot(id).metadata == {"d": 1}
        id = repo2.readonly_session("main").flush("m")
        assert repo2.lookup_snapshot(id).metadata == {}

    def test_sessions_keep_what_it_was_when_they_were_made(self, repo: Repository) -> None:
        repo.set_default_commit_metadata({"d": 1})
        session = repo.writable_session("main")
        repo.set_default_commit_metadata({"e": 2})
        id = session.commit("m", allow_empty=True)
        assert repo.lookup_snapshot(id).metadata == {"d": 1}

    def test_what_it_returns_is_a_copy(self, repo: Repository) -> None:
        repo.set_default_commit_metadata({"d": {"e": 1}})
        repo.default_commit_metadata()["d"]["e"] = 2
        assert repo.default_commit_metadata() == {"d": {"e": 1}}

    def test_it_belongs_to_the_handle(self, repo: Repository, storage: Any) -> None:
        repo.set_default_commit_metadata({"d": 1})
        assert repo.reopen().default_commit_metadata() == {}
        assert Repository.open(storage).default_commit_metadata() == {}

    @pytest.mark.parametrize("wrong", [None, [1], {1: 2}, {"a": object()}])
    def test_it_is_json(self, repo: Repository, wrong: Any) -> None:
        with pytest.raises(TypeError):
            repo.set_default_commit_metadata(wrong)
        assert repo.default_commit_metadata() == {}

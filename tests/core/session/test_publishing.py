"""Amends and flushes when storage fails, answers are lost, or others are faster."""

from __future__ import annotations

from collections.abc import Callable

import pytest

import icechunk
from icechunk import ConflictError, Repository, Session, StorageError
from icechunk.abc import Locality
from icechunk.testing import FaultInjectingStorage
from tests.core.session.helpers import array, branch_history


@pytest.fixture(params=["memory", "remote"])
def storage(request: pytest.FixtureRequest) -> FaultInjectingStorage:
    locality = Locality.REMOTE if request.param == "remote" else None
    return FaultInjectingStorage(icechunk.in_memory_storage(), locality=locality)


def amend(session: Session) -> str:
    return session.amend("amended")


def flush(session: Session) -> str:
    return session.flush("flushed")


Publish = Callable[[Session], str]
publish_either = pytest.mark.parametrize("publish", [amend, flush])


def changed(repo: Repository, value: int = 7) -> Session:
    session = repo.writable_session("main")
    array(session, "a")[0] = value
    return session


def value_in(repo: Repository, snapshot_id: str) -> int:
    return int(array(repo.readonly_session(snapshot_id=snapshot_id), "a")[0])


def detached(repo: Repository) -> set[str]:
    """The messages of all snapshots that are known and on no branch."""
    info = repo._engine.history._repo.load()  # type: ignore[attr-defined]
    reachable = {str(record.id) for record in info.ancestry(info.branches["main"])}
    return {record.message for record in info.snapshots() if str(record.id) not in reachable}


@publish_either
@pytest.mark.parametrize("landed", [True, False])
def test_what_has_lost_its_answer_happens_once(
    repo2: Repository, storage: FaultInjectingStorage, publish: Publish, landed: bool
) -> None:
    session = changed(repo2)
    before = repo2.lookup_branch("main")
    storage.faults.lose_answer("repo", landed=landed)
    id = publish(session)
    assert session.snapshot_id == id
    assert value_in(repo2, id) == 7
    if publish is amend:
        assert branch_history(repo2) == ["amended"]
        assert repo2.lookup_branch("main") == id
    else:
        assert repo2.lookup_branch("main") == before
        assert detached(repo2) == {"flushed"}


@publish_either
def test_others_may_go_on_before_the_answer_is_found_again(
    repo2: Repository, storage: FaultInjectingStorage, publish: Publish
) -> None:
    session = changed(repo2)
    other = Repository.open(storage)
    storage.faults.lose_answer("repo", landed=True)
    storage.faults.run(
        lambda: other.writable_session("main").commit("on top", allow_empty=True), "get", "repo", skip=1
    )
    id = publish(session)
    assert value_in(repo2, id) == 7
    assert branch_history(repo2) == ([] if publish is flush else ["amended"]) + (
        ["filled", "on top"] if publish is flush else ["on top"]
    )


def test_an_amend_that_comes_second_is_a_conflict(repo2: Repository, storage: FaultInjectingStorage) -> None:
    other = Repository.open(storage)
    session = changed(repo2)
    storage.faults.run(lambda: changed(other, 9).amend("nine"), "put", "repo")
    with pytest.raises(ConflictError):
        session.amend("seven")
    assert branch_history(repo2) == ["nine"]
    assert session.has_uncommitted_changes


def test_a_flush_does_not_mind_who_was_faster(repo: Repository, storage: FaultInjectingStorage) -> None:
    other = Repository.open(storage)
    session = changed(repo)
    storage.faults.run(lambda: changed(other, 9).commit("nine"), "put", "repo")
    id = session.flush("seven")
    assert value_in(repo, id) == 7
    assert [info.message for info in repo.ancestry(snapshot_id=id)][:2] == ["seven", "filled"]


@publish_either
def test_whatever_fails_the_session_goes_on(
    repo2: Repository, storage: FaultInjectingStorage, publish: Publish
) -> None:
    storage.faults.forget()
    publish(changed(repo2))
    num_requests = len(storage.faults.requests)
    value = 1000
    for fault in (StorageError("broken"), KeyboardInterrupt()):
        for number in range(num_requests + 2):
            for after_effect in (False, True):
                value += 1
                session = changed(repo2, value)
                before = branch_history(repo2)
                storage.faults.fail(skip=number, error=fault, after_effect=after_effect, times=1)
                try:
                    publish(session)
                except type(fault):
                    if not session.read_only:
                        storage.faults.stop()
                        assert branch_history(repo2) == before
                        publish(session)
                storage.faults.stop()
                assert session.read_only
                assert value_in(repo2, session.snapshot_id) == value
                if publish is amend:
                    assert repo2.lookup_branch("main") == session.snapshot_id
                    assert branch_history(repo2) == ["amended"]


def test_a_flush_of_spec_1_touches_no_ref(storage: FaultInjectingStorage) -> None:
    repo = Repository.create(storage, spec_version=1)
    session = repo.writable_session("main")
    session.commit("one", allow_empty=True)
    storage.faults.forget()
    session.flush("detached")
    assert {request.path.partition("/")[0] for request in storage.faults.requests} <= {
        "snapshots",
        "transactions",
    }


def test_an_amend_asks_for_one_thing_more_than_a_commit(storage: FaultInjectingStorage) -> None:
    repo = Repository.create(storage)
    repo.writable_session("main").commit("one", allow_empty=True)

    def requests(work: Callable[[], object]) -> dict[str, int]:
        storage.faults.forget()
        work()
        return dict(storage.faults.counts())

    session = repo.writable_session("main")
    committed = requests(lambda: session.commit("two", allow_empty=True))
    session = repo.writable_session("main")
    amended = requests(lambda: session.amend("three", allow_empty=True))
    assert amended == {**committed, "get": committed["get"] + 1}


@pytest.mark.parametrize("publish", [lambda session: session.commit("committed"), amend])
def test_ctrl_c_right_after_the_publication_is_made_up_for_by_the_next_try(
    repo2: Repository, publish: Publish, monkeypatch: pytest.MonkeyPatch
) -> None:
    session = changed(repo2)

    def interrupt(*_: object) -> None:
        monkeypatch.undo()
        raise KeyboardInterrupt

    monkeypatch.setattr(session._engine, "become_read_only", interrupt)
    with pytest.raises(KeyboardInterrupt):
        publish(session)
    tip = repo2.lookup_branch("main")
    history = branch_history(repo2)
    assert publish(session) == tip
    assert session.read_only
    assert branch_history(repo2) == history
    assert value_in(repo2, tip) == 7

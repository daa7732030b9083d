"""Every storage request of every operation fails, once or for good; every answer of a conditional put is lost.

Whatever happens: the repository opens and shows the old or the new state, and the operation, tried again, has happened once.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from typing import Any

import pytest
import zarr

import icechunk
from icechunk import IcechunkError, RefNotFoundError, Repository, StorageError
from icechunk.abc import Locality
from icechunk.conflicts import BasicConflictSolver
from icechunk.testing import FaultInjectingStorage

INITIAL = "1CECHNKREP0F1RSTCMT0"

Attempt = Callable[[], object]
State = dict[str, Any]


@dataclass(frozen=True)
class Operation:
    """Something that changes a repository: how to get ready for it, and what is then tried."""

    name: str
    prepare: Callable[[Repository], Attempt]
    spec_versions: tuple[int, ...] = (1, 2)
    makes_another: bool = False
    """Whether it does the same again when it has been done, and means it."""


def edited(repo: Repository, index: int, value: int) -> icechunk.Session:
    session = repo.writable_session("main")
    zarr.open_array(session.store, path="a")[index] = value
    return session


def commit(repo: Repository) -> Attempt:
    session = edited(repo, 0, 7)
    return lambda: session.commit("seven")


def amend(repo: Repository) -> Attempt:
    session = edited(repo, 0, 7)
    return lambda: session.amend("seven")


def flush(repo: Repository) -> Attempt:
    session = edited(repo, 0, 7)
    return lambda: session.flush("seven")


def move(repo: Repository) -> Attempt:
    session = repo.rearrange_session("main")
    session.move("/a", "/b")
    return lambda: session.commit("moved")


def rebase(repo: Repository) -> Attempt:
    session = edited(repo, 0, 7)
    edited(repo, 1, 8).commit("eight")
    edited(repo, 0, 9).commit("nine")

    def attempt() -> None:
        session.rebase(BasicConflictSolver())
        session.commit("seven")

    return attempt


def commit_with_rebase(repo: Repository) -> Attempt:
    session = edited(repo, 0, 7)
    edited(repo, 0, 9).commit("nine")
    return lambda: session.commit("seven", rebase_with=BasicConflictSolver())


def create_branch(repo: Repository) -> Attempt:
    return lambda: repo.create_branch("new", INITIAL)


def reset_branch(repo: Repository) -> Attempt:
    return lambda: repo.reset_branch("side", INITIAL)


def reset_branch_with_guard(repo: Repository) -> Attempt:
    tip = repo.lookup_branch("side")
    return lambda: repo.reset_branch("side", INITIAL, from_snapshot_id=tip)


def delete_branch(repo: Repository) -> Attempt:
    return lambda: repo.delete_branch("side")


def create_tag(repo: Repository) -> Attempt:
    return lambda: repo.create_tag("new", INITIAL)


def delete_tag(repo: Repository) -> Attempt:
    return lambda: repo.delete_tag("old")


def update_metadata(repo: Repository) -> Attempt:
    return lambda: repo.update_metadata({"a": 1})


OPERATIONS = [
    Operation("commit", commit),
    Operation("amend", amend, (2,)),
    Operation("flush", flush, makes_another=True),
    Operation("move", move, (2,)),
    Operation("rebase", rebase),
    Operation("commit with rebase", commit_with_rebase),
    Operation("create branch", create_branch),
    Operation("reset branch", reset_branch, makes_another=True),
    Operation("reset branch with guard", reset_branch_with_guard),
    Operation("delete branch", delete_branch),
    Operation("create tag", create_tag),
    Operation("delete tag", delete_tag),
    Operation("update metadata", update_metadata, (2,), makes_another=True),
]


class Scene:
    """A repository of its own, in which one operation is about to be tried."""

    def __init__(self, operation: Operation, spec_version: int, locality: Locality | None) -> None:
        self.operation = operation
        self.storage = FaultInjectingStorage(icechunk.in_memory_storage(), locality=locality)
        self.faults = self.storage.faults
        repo = Repository.create(self.storage, spec_version=spec_version)
        session = repo.writable_session("main")
        zarr.create_array(session.store, name="a", shape=(4,), chunks=(1,), dtype="i4")[:] = 1
        tip = session.commit("array")
        repo.create_branch("side", tip)
        repo.create_tag("old", tip)
        # A handle with nothing in its caches asks for everything.
        self.attempt = operation.prepare(Repository.open(self.storage))
        self.faults.forget()

    def state(self) -> State:
        """What somebody sees who opens the repository now."""
        repo = Repository.open(self.storage)
        state: State = {"tags": {}, "branches": {}}
        for name in repo.list_tags():
            state["tags"][name] = [info.message for info in repo.ancestry(tag=name)]
        for name in repo.list_branches():
            messages = [info.message for info in repo.ancestry(branch=name)]
            store = repo.readonly_session(name).store
            values = {
                path: zarr.open_array(store, path=path, mode="r")[:].tolist()
                for path in ("a", "b")
                if store.get_sync(f"{path}/zarr.json") is not None
            }
            state["branches"][name] = messages, values
        if repo.spec_version == 2:
            state["metadata"] = repo.metadata
            # What was done is there once, or not at all.
            state["ops_log"] = [type(update.kind).__name__ for update in repo.ops_log()]
        return state

    def try_it(self, *expected: type[BaseException]) -> BaseException | None:
        """Try the operation, and return the error if it has failed with one of the `expected`."""
        try:
            self.attempt()
        except expected as error:
            return error
        return None


def each(*localities: Locality | None) -> Any:
    return pytest.mark.parametrize(
        ("operation", "spec_version", "locality"),
        [
            pytest.param(operation, version, locality, id=f"{operation.name}, spec {version}, {locality}")
            for operation in OPERATIONS
            for version in operation.spec_versions
            for locality in localities
        ],
    )


def clean_run(*scene: Any) -> tuple[State, State, list[Any]]:
    """Return the state before and after the operation, and its requests."""
    clean = Scene(*scene)
    old = clean.state()
    clean.faults.forget()
    clean.attempt()
    requests = list(clean.faults.requests)
    return old, clean.state(), requests


def check_and_try_again(scene: Scene, old: State, new: State, where: str) -> None:
    """The operation has failed: is it done, or not? And when it is tried again?"""
    state = scene.state()
    assert state in (old, new), where
    if state == old:
        scene.attempt()
    elif not scene.operation.makes_another:
        # It was done, and refuses to be done twice, with whatever error a second one gets.
        scene.try_it(IcechunkError)
    assert scene.state() == new, where


@each(None, Locality.REMOTE)
@pytest.mark.parametrize(
    "error",
    [StorageError("injected failure"), pytest.param(KeyboardInterrupt(), marks=pytest.mark.slow)],
    ids=["StorageError", "KeyboardInterrupt"],
)
def test_after_one_request_has_failed_the_operation_can_be_tried_again(
    operation: Operation, spec_version: int, locality: Locality | None, error: BaseException
) -> None:
    old, new, requests = clean_run(operation, spec_version, locality)
    for number in range(len(requests) + 1):
        for after_effect in (False, True):
            scene = Scene(operation, spec_version, locality)
            scene.faults.fail(skip=number, after_effect=after_effect, error=error)
            has_failed = scene.try_it(type(error))
            scene.faults.stop()
            where = f"{'after' if after_effect else 'before'} {requests[number : number + 1]}"
            if has_failed:
                check_and_try_again(scene, old, new, where)
            else:
                assert scene.state() == new, where


@each(None)
def test_after_storage_has_gone_for_good_everybody_else_goes_on(
    operation: Operation, spec_version: int, locality: Locality | None
) -> None:
    old, new, requests = clean_run(operation, spec_version, locality)
    for number in range(len(requests)):
        for after_effect in (False, True):
            scene = Scene(operation, spec_version, locality)
            scene.faults.fail(skip=number, after_effect=after_effect, times=None)
            where = f"{'after' if after_effect else 'before'} {requests[number]}"
            assert scene.try_it(StorageError), where
            # Storage is there again, and so is who has tried.
            scene.faults.stop()
            check_and_try_again(scene, old, new, where)


# -- lost answers ---------------------------------------------------------------------------------


def others_tag(other: Repository) -> None:
    other.create_tag("another", INITIAL)


def others_branch(other: Repository) -> None:
    other.create_branch("another", INITIAL)


def others_commit_elsewhere(other: Repository) -> None:
    with suppress(RefNotFoundError):
        other.writable_session("side").commit("elsewhere", allow_empty=True)


def others_commit(other: Repository) -> None:
    session = other.writable_session("main")
    for path in ("a", "b"):
        if session.store.get_sync(f"{path}/zarr.json") is not None:
            zarr.open_array(session.store, path=path)[3] = 5
    session.commit("another")


def others_reset(other: Repository) -> None:
    other.reset_branch("main", INITIAL)


OTHERS: list[Callable[[Repository], None] | None] = [
    None,
    others_tag,
    others_branch,
    others_commit_elsewhere,
    others_commit,
    others_reset,
]


@each(None)
@pytest.mark.parametrize("other", OTHERS, ids=lambda other: "nobody" if other is None else other.__name__)
@pytest.mark.parametrize("landed", [True, False], ids=["landed", "not-landed"])
def test_when_an_answer_is_lost_the_operation_happens_once(
    operation: Operation,
    spec_version: int,
    locality: Locality | None,
    other: Callable[[Repository], None],
    landed: bool,
) -> None:
    """Each answer of a conditional put is lost; before anybody can look, somebody else's update lands."""

    def do_others(scene: Scene) -> None:
        if other is not None:
            other(Repository.open(scene.storage))

    _old, _new, requests = clean_run(operation, spec_version, locality)
    puts = [request.path for request in requests if request.operation == "put" and is_mutable(request.path)]
    for number, path in enumerate(puts):
        # What becomes of it if the two come one after the other.
        in_turn = Scene(operation, spec_version, locality)
        refused = None
        if landed:
            in_turn.attempt()
            do_others(in_turn)
        else:
            do_others(in_turn)
            refused = in_turn.try_it(IcechunkError)
        expected = in_turn.state()

        scene = Scene(operation, spec_version, locality)
        skip = puts[:number].count(path)
        scene.faults.run(partial(do_others, scene), "put", path, after_effect=landed, skip=skip)
        scene.faults.lose_answer(path, landed=landed, skip=skip)
        error = scene.try_it(IcechunkError)
        scene.faults.stop()
        if error is not None:
            # Somebody else was faster; or, in spec 1, a ref that was to be made is not there, and is not tried again.
            error = scene.try_it(IcechunkError)
        assert scene.state() == expected, (path, error)
        if spec_version == 1 and landed and other is others_reset:
            # The branch has forgotten the commit, and with it that it was there.
            continue
        assert type(error) is type(refused), path


def is_mutable(path: str) -> bool:
    return path == "repo" or path.startswith("refs/")

"""`Session.move`, and where everything is afterwards."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given, strategies as st
from zarr.core.buffer import cpu
from zarr.core.sync import sync

from icechunk import (
    AlreadyExistsError,
    FormatError,
    InvalidInputError,
    NodeNotFoundError,
    ReadOnlyError,
    RefNotFoundError,
    Repository,
    Session,
    SessionMode,
    SessionStateError,
)
from icechunk._engine.changes import Moves
from tests.core.session.helpers import array, log, paths

Refused = Callable[..., Any]

GROUP = b'{"zarr_format":3,"node_type":"group"}'


def set_key(session: Session, key: str, data: bytes = GROUP) -> None:
    sync(session.store.set(key, cpu.Buffer.from_bytes(data)))


def names(session: Session, path: str) -> set[str]:
    async def collect() -> set[str]:
        return {name async for name in session.store.list_dir(path)}

    return sync(collect())


@pytest.fixture
def session(repo2: Repository) -> Session:
    return repo2.rearrange_session("main")


def test_a_rearrange_session(session: Session, repo2: Repository) -> None:
    assert (session.mode, session.branch, session.read_only) == (SessionMode.rearrange, "main", False)
    assert not session.has_uncommitted_changes
    assert not session.store.read_only
    session.move("/a", "/z")
    assert session.has_uncommitted_changes
    id = session.commit("moved")
    assert (session.mode, session.branch, session.snapshot_id) == (SessionMode.readonly, None, id)
    assert paths(repo2.readonly_session("main")) == ["/", "/g", "/g/b", "/g/h", "/k", "/z"]


def test_moves_are_seen_at_once_and_compose(session: Session, repo2: Repository) -> None:
    id = session.get_node_id("/g/b")
    session.move("/g", "/k/g2")
    session.move("/k/g2/b", "/b")
    session.move("/k", "/g")  # where something else was before
    expected = ["/", "/a", "/b", "/g", "/g/g2", "/g/g2/h"]
    moved = [("/g/b", "/b"), ("/k", "/g"), ("/g", "/g/g2"), ("/g/h", "/g/g2/h")]
    assert paths(session) == expected
    assert session.status().moved_nodes == moved
    assert names(session, "") == {"zarr.json", "a", "b", "g"}
    assert names(session, "g") == {"zarr.json", "g2"}
    assert names(session, "k") == set()
    assert session.get_node_id("/b") == id
    assert array(session, "b")[:].tolist() == [2, 2, 2, 2]
    snapshot = session.commit("rearranged")
    assert log(repo2, snapshot) == {"moved_nodes": moved}
    for reader in (session, repo2.readonly_session("main")):
        assert paths(reader) == expected
        assert reader.get_node_id("/b") == id
        assert array(reader, "b")[:].tolist() == [2, 2, 2, 2]
        assert reader.status().is_empty()


def test_there_and_back_is_a_change_of_nothing(session: Session, repo2: Repository) -> None:
    session.move("/a", "/z")
    session.move("/z", "/a")
    assert session.has_uncommitted_changes
    assert session.status().is_empty()
    assert log(repo2, session.commit("round trip")) == {}


def test_two_nodes_change_places(session: Session, repo2: Repository) -> None:
    session.move("/g/h", "/free")
    session.move("/k", "/g/h")
    session.move("/free", "/k")
    assert session.status().moved_nodes == [("/k", "/g/h"), ("/g/h", "/k")]
    session.commit("swapped")
    assert paths(repo2.readonly_session("main")) == ["/", "/a", "/g", "/g/b", "/g/h", "/k"]


def test_moved_arrays_can_be_written_to_afterwards(session: Session, repo2: Repository) -> None:
    session.move("/g", "/k/g")
    session.commit("moved")
    session = repo2.writable_session("main")
    array(session, "k/g/b")[0] = 9
    session.commit("written")
    assert array(repo2.readonly_session("main"), "k/g/b")[:].tolist() == [9, 2, 2, 2]


def test_discarding_brings_everything_back(session: Session, refused: Refused) -> None:
    session.move("/g", "/k/g")
    session.discard_changes()
    assert not session.has_uncommitted_changes
    assert paths(session) == ["/", "/a", "/g", "/g/b", "/g/h", "/k"]
    with refused(SessionStateError, "no-changes-to-commit", "session error: cannot commit, no changes"):
        session.commit("nothing")


@pytest.mark.parametrize(
    ("source", "target", "error", "kind", "message"),
    [
        ("a", "/z", InvalidInputError, "invalid-path", "could not create path from prefix: path must start"),
        ("/a", "z", InvalidInputError, "invalid-path", "could not create path from prefix: path must start"),
        ("", "", InvalidInputError, "invalid-path", "could not create path from prefix: path must start"),
        ("/../a", "/z", InvalidInputError, "invalid-path", ""),
        (
            "/no",
            "/z",
            NodeNotFoundError,
            "node-not-found",
            "session error: node not found at `/no`: existing",
        ),
        ("/no", "/no/x", NodeNotFoundError, "node-not-found", "session error: node not found at `/no`"),
        ("/no", "/a", NodeNotFoundError, "node-not-found", "session error: node not found at `/no`"),
        (
            "/",
            "/z",
            SessionStateError,
            "move-into-self-or-descendant",
            "session error: cannot move `/` into itself or its own descendant `/z`",
        ),
        (
            "/a",
            "/a",
            SessionStateError,
            "move-into-self-or-descendant",
            "session error: cannot move `/a` into itself",
        ),
        (
            "/g",
            "/g/x/y",
            SessionStateError,
            "move-into-self-or-descendant",
            "session error: cannot move `/g` into itself",
        ),
        (
            "/a",
            "/k",
            AlreadyExistsError,
            "move-wont-overwrite",
            "session error: move cannot overwrite existing node at `/k`",
        ),
        (
            "/a",
            "/no/x",
            SessionStateError,
            "move-destination-parent-missing",
            "session error: cannot move to `/no/x`: the destination's parent group `/no` does not exist",
        ),
        (
            "/a",
            "/g/b/x",
            SessionStateError,
            "move-destination-parent-not-group",
            "session error: cannot move to `/g/b/x`: the destination's parent `/g/b` is an array, not a group",
        ),
    ],
)
def test_what_cannot_be_moved(
    session: Session,
    refused: Refused,
    source: str,
    target: str,
    error: type[Exception],
    kind: str,
    message: str,
) -> None:
    with refused(error, kind, message):
        session.move(source, target)
    assert not session.has_uncommitted_changes


def test_nothing_is_moved_over_nodes_whose_group_was_never_written(
    repo2: Repository, refused: Refused
) -> None:
    session = repo2.writable_session("main")
    set_key(session, "x/y/zarr.json")
    set_key(session, "x/y/y/zarr.json")
    session.commit("no group at /x")
    for source in ("/a", "/x/y"):
        session = repo2.rearrange_session("main")
        with refused(AlreadyExistsError, "move-wont-overwrite", "session error: move cannot overwrite"):
            session.move(source, "/x")
    session.move("/x/y", "/y")
    assert paths(session) == ["/", "/a", "/g", "/g/b", "/g/h", "/k", "/y", "/y/y"]
    assert names(session, "") == {"zarr.json", "a", "g", "k", "y"}
    # Nothing is left there, so that it is free.
    session.move("/a", "/x")


def test_moving_is_all_that_a_rearrange_session_does(session: Session, refused: Refused) -> None:
    session.move("/a", "/z")
    edits: list[Callable[[], Any]] = [
        lambda: set_key(session, "n/zarr.json"),
        lambda: set_key(session, "z/c/0", b"12345678"),
        lambda: sync(session.store.delete("z/c/0")),
        lambda: sync(session.store.delete("z/zarr.json")),
        lambda: sync(session.store.delete_dir("g")),
        lambda: sync(session.store.clear()),
    ]
    for edit in edits:
        with refused(
            SessionStateError,
            "rearrange-session-only",
            "This session was created to rearrange the hierarchy, other write operations cannot be executed. "
            "Commit or abandon",
        ):
            edit()
    # What changes nothing is allowed.
    sync(session.store.delete("z/c/9"))
    sync(session.store.delete("nowhere/zarr.json"))
    sync(session.store.delete_dir("nowhere"))


def test_other_sessions_do_not_move(repo: Repository, spec_version: int, refused: Refused) -> None:
    writable, reader = repo.writable_session("main"), repo.readonly_session("main")
    if spec_version == 1:
        message = "session error: repository version error, this operation requires a repository that is at"
        for session in (writable, reader):
            with refused(FormatError, "unsupported-spec-version", message):
                session.move("/a", "/z")
        with refused(FormatError, "unsupported-spec-version", message.removeprefix("session error: ")):
            repo.rearrange_session("main")
        return
    with refused(
        SessionStateError,
        "non-rearrange-session",
        "session error: To move nodes in the hierarchy you need to create a rearrange session",
    ):
        writable.move("/a", "/z")
    with refused(ReadOnlyError, "read-only-session", "session error: Read only sessions cannot modify"):
        reader.move("/a", "/z")
    with refused(RefNotFoundError, "ref-not-found", "ref not found `zz`"):
        repo.rearrange_session("zz")


def test_a_node_follows_its_group_when_it_is_moved_after_it(repo2: Repository) -> None:
    session = repo2.rearrange_session("main")
    session.move("/g/b", "/b")
    session.move("/g", "/k/g")
    assert names(session, "k/g") == {"zarr.json", "h"}
    session.move("/b", "/k/g/b")
    assert names(session, "k/g") == {"zarr.json", "h", "b"}
    assert session.status().moved_nodes == [("/g", "/k/g"), ("/g/b", "/k/g/b"), ("/g/h", "/k/g/h")]


# --- the map of moves against a plain model

# There is nothing at "/o" itself.
TREE = ["/a", "/a/b", "/a/b/c", "/a/d", "/e", "/e/f", "/e/f/g", "/e-", "/o/b", "/o/b/c"]


@given(st.data())
def test_the_map_of_moves_agrees_with_moving_every_node(data: st.DataObject) -> None:
    moves = Moves()
    now = {path: path for path in TREE}  # where each node is: its path now, and in the base
    for number in range(data.draw(st.integers(0, 8))):
        source = data.draw(st.sampled_from(sorted(now)))
        parents = [p for p in ["", *now] if not f"{p}/".startswith(f"{source}/")]
        name = data.draw(st.sampled_from(["a", "b", "e", "f", "o", f"n{number}"]))
        target = f"{data.draw(st.sampled_from(parents))}/{name}"
        if any(f"{path}/".startswith(f"{target}/") for path in now) or target.startswith(f"{source}/"):
            continue
        moves.move(source, target)
        now = {
            target + path[len(source) :] if f"{path}/".startswith(f"{source}/") else path: base
            for path, base in now.items()
        }
    for path in {*TREE, *now}:
        origin = moves.origin(path)
        assert (origin if origin in TREE else None) == now.get(path)
    found = [
        (root + base[len(origin) :], base)
        for root, origin in moves.subtrees()
        for base in TREE
        if f"{base}/".startswith(f"{origin}/") and moves.origin(root + base[len(origin) :]) == base
    ]
    assert len(found) == len(dict(found))
    assert {path: base for path, base in found if path != base} == {
        path: base for path, base in now.items() if path != base
    }

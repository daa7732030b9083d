"""What forks and merges do, allow and refuse, and where chunks go when they are renumbered.

As `session_programs`, whose helpers they use.
"""

from __future__ import annotations

import asyncio
import pickle
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import zarr

import icechunk

# In the reference's interpreter the modules of this folder are not in a package.
sys.path.insert(0, str(Path(__file__).parent))
from session_programs import GROUP, Steps, diff, keys, nodes, put, state, values

Change = Callable[[icechunk.Session], Any]


def based(spec_version: int = 2, path: str | None = None) -> icechunk.Repository:
    storage = icechunk.in_memory_storage() if path is None else icechunk.local_filesystem_storage(path)
    repo = icechunk.Repository.create(storage, spec_version=spec_version)
    session = repo.writable_session("main")
    root = zarr.create_group(session.store)
    for name in ("a", "b"):
        root.create_array(name, shape=10, chunks=2, dtype="i4", compressors=None)[:] = 1
    root.create_group("g").create_array("x", shape=4, chunks=2, dtype="i4", compressors=None)[:] = 1
    root.create_group("g/h")
    session.commit("base")
    return repo


def with_paths(text: str, session: icechunk.Session) -> str:
    """Node ids replaced by the paths of nodes."""
    for path in nodes(session):
        text = text.replace(session.get_node_id(path), path)
    return text


# --- changes


def attributes(path: str, value: int) -> Change:
    return lambda s: zarr.open(s.store, path=path, mode="r+").attrs.update({"q": value})


def chunk(path: str, index: int, byte: bytes) -> Change:
    return lambda s: put(s, f"{path}/c/{index}", byte * 8)


def without_chunk(path: str, index: int) -> Change:
    return lambda s: asyncio.run(s.store.delete(f"{path}/c/{index}"))


def deleted(path: str) -> Change:
    return lambda s: asyncio.run(s.store.delete(f"{path}/zarr.json"))


def group(path: str) -> Change:
    return lambda s: put(s, f"{path}/zarr.json", GROUP)


def array(path: str, length: int = 10) -> Change:
    return lambda s: zarr.create_array(
        s.store, name=path, shape=length, chunks=2, dtype="i4", compressors=None, overwrite=True
    )


def resized(path: str, length: int) -> Change:
    return lambda s: zarr.open_array(s.store, path=path, mode="r+").resize((length,))


def nothing(session: icechunk.Session) -> None:
    pass


def all_of(*changes: Change) -> Change:
    def apply(session: icechunk.Session) -> None:
        for change in changes:
            change(session)

    return apply


# --- two forks, or a session and a fork of it

PAIRS: dict[str, tuple[Change, Change]] = {
    "two groups": (group("n"), group("n")),
    "a group and an array": (group("n"), array("n")),
    "an array and a group": (array("n"), group("n")),
    "two arrays": (array("n"), array("n")),
    "equal attributes": (attributes("a", 1), attributes("a", 1)),
    "other attributes": (attributes("a", 1), attributes("a", 2)),
    "equal attributes of a group": (attributes("g", 1), attributes("g", 1)),
    "other attributes of a group": (attributes("g", 1), attributes("g", 2)),
    "deleted and a chunk": (deleted("a"), chunk("a", 0, b"A")),
    "a chunk and deleted": (chunk("a", 0, b"A"), deleted("a")),
    "deleted and a chunk gone": (deleted("a"), without_chunk("a", 0)),
    "deleted and attributes": (deleted("a"), attributes("a", 1)),
    "attributes and deleted": (attributes("a", 1), deleted("a")),
    "both deleted": (deleted("a"), deleted("a")),
    "a group deleted and attributes": (deleted("g"), attributes("g", 1)),
    "a group deleted and attributes below": (deleted("g"), attributes("g/h", 1)),
    "attributes below and a group deleted": (attributes("g/h", 1), deleted("g")),
    "a group deleted and a child": (deleted("g"), group("g/n")),
    "a child and a group deleted": (group("g/n"), deleted("g")),
    "a group deleted and a chunk below": (deleted("g"), chunk("g/x", 0, b"A")),
    "both deleted a group": (deleted("g"), deleted("g")),
    "made anew and a chunk": (array("a"), chunk("a", 0, b"A")),
    "a chunk and made anew": (chunk("a", 0, b"A"), array("a")),
    "both made anew": (array("a"), array("a")),
    "deleted and made anew": (deleted("a"), array("a")),
    "made anew and deleted": (array("a"), deleted("a")),
    "made anew and attributes": (array("a"), attributes("a", 1)),
    "deleted and a group there": (deleted("a"), all_of(deleted("a"), group("a"))),
    "attributes and a chunk": (attributes("a", 1), chunk("a", 0, b"A")),
    "a chunk and attributes": (chunk("a", 0, b"A"), attributes("a", 1)),
    "a chunk twice": (chunk("a", 0, b"A"), chunk("a", 0, b"B")),
    "a chunk and gone": (chunk("a", 0, b"A"), without_chunk("a", 0)),
    "gone and a chunk": (without_chunk("a", 0), chunk("a", 0, b"A")),
    "smaller and a chunk": (resized("a", 4), chunk("a", 4, b"A")),
    "a group and its child": (group("n"), group("n/m")),
    "created before updated": (
        all_of(array("m"), attributes("b", 1)),
        all_of(array("m"), attributes("b", 2)),
    ),
    "groups before arrays": (
        all_of(array("m"), attributes("g", 1)),
        all_of(array("m"), attributes("g", 2)),
    ),
    "arrays before groups if deleted": (
        all_of(deleted("g"), deleted("a")),
        all_of(attributes("g", 2), chunk("a", 0, b"A")),
    ),
}


def merge_pair(name: str, spec_version: int) -> dict[str, Any]:
    steps = Steps()
    first, second = PAIRS[name]
    repo = based(spec_version)
    session = repo.writable_session("main")
    forks = [session.fork(), session.fork()]
    first(forks[0])
    second(forks[1])
    _merge(steps, "two forks", repo, session, forks)
    session = repo.writable_session("main")
    fork = session.fork()
    first(session)
    second(fork)
    _merge(steps, "a session and a fork", repo, session, [fork])
    return steps.outcomes


def _merge(
    steps: Steps, name: str, repo: icechunk.Repository, session: icechunk.Session, forks: list[Any]
) -> None:
    reader = repo.readonly_session("main")
    steps.do(f"{name}: merge", lambda: session.merge(*forks))
    outcome = steps.outcomes[f"{name}: merge"]
    if outcome[0] != "ok":
        try:
            session.merge(*forks)
        except icechunk.IcechunkError as error:
            # All of the first line: it names what does not fit.
            outcome[2] = with_paths(str(error).splitlines()[0], reader)
    steps.see(f"{name}: status", diff(session.status()))
    steps.see(f"{name}: nodes", nodes(session))
    steps.see(f"{name}: chunks", values(session))
    steps.do(f"{name}: flush", lambda: session.flush("merged"))
    steps.see(f"{name}: flushed", [nodes(session), values(session)])


# --- what was created before the fork, forks that are merged twice, forks of something else

AFTER: dict[str, tuple[Change, list[Change]]] = {
    "attributes of a new array": (array("n"), [attributes("n", 1)]),
    "attributes of a new array, twice": (array("n"), [attributes("n", 1), attributes("n", 2)]),
    "chunks of a new array": (array("n"), [chunk("n", 0, b"A"), chunk("n", 1, b"B")]),
    "a chunk over a chunk": (
        all_of(array("n"), chunk("n", 0, b"Y"), chunk("n", 1, b"Z")),
        [all_of(chunk("n", 0, b"A"), without_chunk("n", 1))],
    ),
    "a new array deleted": (array("n"), [deleted("n")]),
    "a new group deleted": (group("n"), [deleted("n")]),
    "a new group updated": (group("n"), [attributes("n", 1)]),
    "a new array made anew": (array("n"), [array("n", 4)]),
    "updated again": (attributes("a", 1), [attributes("a", 2)]),
    "updated and deleted": (attributes("a", 1), [deleted("a")]),
    "written to and deleted": (chunk("a", 1, b"A"), [deleted("a")]),
    "deleted and created": (deleted("a"), [array("a", 4)]),
    "deleted and a group created": (deleted("a"), [group("a")]),
    "made anew and updated": (array("a", 4), [attributes("a", 2)]),
    "made anew and written to": (array("a", 4), [chunk("a", 0, b"A")]),
    "created": (nothing, [array("n")]),
    "made anew": (nothing, [array("a")]),
    "deleted": (nothing, [deleted("a")]),
}


def merge_after(name: str, spec_version: int) -> dict[str, Any]:
    steps = Steps()
    before, changes = AFTER[name]
    repo = based(spec_version)
    session = repo.writable_session("main")
    before(session)
    forks = [session.fork() for _ in changes]
    for fork, change in zip(forks, changes):
        change(fork)
    steps.do("merge", lambda: session.merge(*forks))
    steps.see("status", diff(session.status()))
    steps.do("again", lambda: session.merge(*forks))
    steps.see("status again", diff(session.status()))
    steps.see("nodes", nodes(session))
    steps.do("commit", lambda: session.commit("merged"))
    reader = repo.readonly_session("main")
    steps.see("committed", [nodes(reader), values(reader)])
    steps.see(
        "attributes",
        {
            path: dict(zarr.open(reader.store, path=path, mode="r").attrs)
            for path in nodes(reader)
            if path != "/"
        },
    )
    return steps.outcomes


def merge_into_another_snapshot(spec_version: int) -> dict[str, Any]:
    """Forks of a session whose branch has gone on, merged into a session on the new tip."""
    steps = Steps()
    cases: dict[str, tuple[Change, Change]] = {
        "other chunks": (chunk("a", 0, b"A"), chunk("a", 1, b"B")),
        "chunks of a deleted array": (chunk("a", 0, b"A"), deleted("a")),
        "attributes of a deleted array": (attributes("a", 1), deleted("a")),
        "deleted as well": (deleted("a"), deleted("a")),
        "created as well": (group("n"), group("n")),
    }
    for name, (ours, theirs) in cases.items():
        repo = based(spec_version)
        fork = repo.writable_session("main").fork()
        ours(fork)
        other = repo.writable_session("main")
        theirs(other)
        other.commit("faster")
        session = repo.writable_session("main")
        steps.do(f"{name}: merge", lambda: session.merge(fork))  # noqa: B023
        steps.see(f"{name}: status", diff(session.status()))
        steps.see(f"{name}: nodes", nodes(session))
    return steps.outcomes


def forks(path: str, spec_version: int) -> dict[str, Any]:
    steps = Steps()
    repo = based(spec_version, path)
    reader = repo.readonly_session("main")
    steps.do("fork of a reader", reader.fork)
    session = repo.writable_session("main")
    for name, what in {"session": session, "store": session.store}.items():
        try:
            pickle.dumps(what)
        except Exception as error:
            steps.see(f"pickle of a writable {name}", [type(error).__name__, str(error)[:60]])
    fork = session.fork()
    steps.see("fork", [state(fork), type(fork).__name__, fork.snapshot_id == session.snapshot_id])
    steps.see("its text", str(fork).replace(fork.snapshot_id, "..."))
    steps.see(
        "store of it", [fork.store.read_only, type(fork.store.session).__name__, fork.store.session == fork]
    )
    copy = pickle.loads(pickle.dumps(fork))
    steps.see("pickled", [state(copy), type(copy).__name__, copy == fork])
    chunk("a", 0, b"A")(fork)
    chunk("a", 1, b"B")(copy)
    copy_of_store = pickle.loads(pickle.dumps(fork.store))
    steps.see("pickled with changes", diff(copy_of_store.session.status()))
    steps.do("commit", lambda: fork.commit("no"))
    steps.do("amend", lambda: fork.amend("no"))
    steps.do("flush", lambda: fork.flush("no"))
    steps.do("rebase", lambda: fork.rebase(icechunk.ConflictDetector()))
    steps.do("move", lambda: fork.move("/a", "/z"))
    steps.do("merge", lambda: session.merge(fork, copy))
    steps.see("merged", [diff(session.status()), values(session), state(fork)])
    chunk("a", 3, b"C")(fork)
    steps.do("merge again", lambda: session.merge(fork))
    steps.see("merged again", diff(session.status()))
    steps.do("merge of nothing", session.merge)
    steps.do("merge of itself", lambda: session.merge(session))
    steps.do("merge of another session", lambda: session.merge(repo.writable_session("main")))
    steps.do("merge of a reader", lambda: session.merge(reader))
    steps.do("a reader merges", lambda: reader.merge(fork))
    steps.do("a reader merges nothing", reader.merge)
    second = session.fork()
    steps.see(
        "fork of changes", [second.snapshot_id == session.snapshot_id, diff(second.status()), values(second)]
    )
    steps.do("its snapshot", lambda: repo.lookup_snapshot(second.snapshot_id), lambda info: info.message)
    third = second.fork()
    chunk("a", 4, b"D")(third)
    steps.do("a fork merges a fork", lambda: second.merge(third))
    steps.do("a fork merges a session", lambda: second.merge(session))
    steps.do("a fork merges a reader", lambda: second.merge(reader))
    steps.see("status of the fork", diff(second.status()))
    steps.do("merge of all", lambda: session.merge(second))
    one, other = session.fork(), session.fork()
    chunk("a", 0, b"E")(one)
    chunk("a", 0, b"F")(other)
    session.merge(other, one)
    steps.see("last wins", values(session))
    steps.do("discard", second.discard_changes)
    steps.see("discarded", state(second))
    session.commit("merged")
    steps.see("committed", values(repo.readonly_session("main")))
    steps.do("merge after the commit", lambda: session.merge(one))
    steps.do("fork after the commit", session.fork)
    if spec_version > 1:
        rearranging = repo.rearrange_session("main")
        steps.do("a rearrange session merges a fork", lambda: rearranging.merge(one))
        steps.do("a rearrange session merges nothing", rearranging.merge)
        steps.do("merge of a rearrange session", lambda: repo.writable_session("main").merge(rearranging))
        steps.do("a fork merges a rearrange session", lambda: one.merge(rearranging))
        rearranging.move("/a", "/z")
        moved = rearranging.fork()
        steps.see("fork of moves", [state(moved), nodes(moved)])
        steps.do("edit in it", lambda: put(moved, "z/c/0", b"12345678"))
        repo.set_feature_flag("move_node", False)
        steps.do("fork of moves, forbidden", rearranging.fork)
        steps.do("commit of moves, forbidden", lambda: rearranging.commit("no"))
        steps.do("amend of moves, forbidden", lambda: rearranging.amend("no"))
        steps.do("flush of moves, forbidden", lambda: rearranging.flush("no"))
        steps.do("rearrange session, forbidden", lambda: repo.rearrange_session("main"))
        repo.set_feature_flag("move_node", None)
        writable = repo.writable_session("main")
        group("n")(writable)
        repo.set_status(icechunk.RepoStatus(icechunk.RepoAvailability.read_only))
        steps.do("fork, read-only", writable.fork)
        steps.do("amend, read-only", lambda: writable.amend("no"))
        steps.do("flush, read-only", lambda: writable.flush("no"))
        steps.do("rearrange session, read-only", lambda: repo.rearrange_session("main"))
    return steps.outcomes


# --- chunks that get other places

SHIFTS: list[Any] = [[1], [-1], [2], [5], [-10], [0], (1,), np.array([1]), [2**40], 1, ["a"], [1.5], None]

REINDEXINGS: dict[str, tuple[Any, ...]] = {
    "forward": (lambda place: [place[0] + 1],),
    "both": (lambda place: [place[0] + 1], lambda place: [place[0] - 1] if place[0] else None),
    "changed places": (lambda place: [1 - place[0]] if place[0] < 2 else None,),
    "none": (lambda place: None,),
    "the same": (lambda place: place,),
    "a tuple": (lambda place: (place[0] + 1,),),
    "an array": (lambda place: np.array([place[0] + 1]),),
    "a generator": (lambda place: (c for c in place),),
    "a number": (lambda place: 3,),
    "text": (lambda place: "a",),
    "negative": (lambda place: [place[0] - 1],),
    "outside": (lambda place: [place[0] + 3],),
    "large": (lambda place: [2**33],),
    "no integer": (lambda place: [1.0],),
    "an exception": (lambda place: 1 / 0,),
    "backward none": (lambda place: [place[0] + 1], lambda place: None),
    "backward to a chunk": (lambda place: [place[0] + 1], lambda place: [0]),
    "backward outside": (lambda place: [place[0] + 1], lambda place: [77]),
    "backward negative": (lambda place: [place[0] + 1], lambda place: [-1]),
    "backward exception": (lambda place: [place[0] + 1], lambda place: 1 / 0),
    "backward empty": (lambda place: None, lambda place: [4]),
    "backward the same": (lambda place: None, lambda place: place),
    "two dimensions": (lambda place: [*place, 0],),
}


def sparse(spec_version: int) -> icechunk.Repository:
    repo = icechunk.Repository.create(icechunk.in_memory_storage(), spec_version=spec_version)
    session = repo.writable_session("main")
    zarr.create_group(session.store).create_array("a", shape=10, chunks=2, dtype="i4", compressors=None)
    zarr.create_group(session.store, path="g")
    for index in range(3):
        chunk("a", index, bytes([index + 1]))(session)
    session.commit("three chunks")
    return repo


def renumbering(spec_version: int) -> dict[str, Any]:
    steps = Steps()
    repo = sparse(spec_version)
    for offset in SHIFTS:
        session = repo.writable_session("main")
        steps.do(f"shift {offset!r}", lambda: session.shift_array("/a", offset))  # noqa: B023
        steps.see(f"shift {offset!r}: chunks", [values(session), diff(session.status()), state(session)])
    for name, functions in REINDEXINGS.items():
        session = repo.writable_session("main")
        steps.do(f"reindex {name}", lambda: session.reindex_array("/a", *functions))  # noqa: B023
        steps.see(f"reindex {name}: chunks", [values(session), diff(session.status()), state(session)])
    session = repo.writable_session("main")
    chunk("a", 4, b"\x09")(session)
    without_chunk("a", 1)(session)
    steps.do("shift of changes", lambda: session.shift_array("/a", [1]))
    session.commit("shifted")
    steps.see("shift of changes: chunks", values(repo.readonly_session("main")))
    session = repo.writable_session("main")
    for path in ("/zz", "a", "/g"):
        steps.do(f"shift of {path}", lambda: session.shift_array(path, [1]))  # noqa: B023
        steps.do(f"reindex of {path}", lambda: session.reindex_array(path, lambda place: place))  # noqa: B023
    reader = repo.readonly_session("main")
    for path in ("/a", "/zz"):
        steps.do(f"shift by a reader of {path}", lambda: reader.shift_array(path, [1]))  # noqa: B023
    fork = session.fork()
    steps.do("shift in a fork", lambda: fork.shift_array("/a", [-1]))
    steps.see("shift in a fork: chunks", values(fork))
    if spec_version > 1:
        rearranging = repo.rearrange_session("main")
        for path in ("/a", "/zz"):
            steps.do(f"shift of moves of {path}", lambda: rearranging.shift_array(path, [1]))  # noqa: B023
    return steps.outcomes


def questions(spec_version: int) -> dict[str, Any]:
    """Ids, kinds of chunks, and the two iterators."""
    steps = Steps()
    repo = sparse(spec_version)
    session, reader = repo.writable_session("main"), repo.readonly_session("main")
    for path in ("/", "/a", "a", "/zz", "", "/a/", "//a", "/../a"):
        steps.do(f"id of {path!r}", lambda: session.get_node_id(path), len)  # noqa: B023
    for path, place in [
        ("/a", [0]),
        ("/a", (4,)),
        ("/a", [9]),
        ("/a", np.array([1])),
        ("/zz", [0]),
        ("a", [0]),
        ("/g", [0]),
        ("/a", ["x"]),
    ]:
        steps.do(f"kind of {path} {place!r}", lambda: session.chunk_type(path, place), str)  # noqa: B023

    def places(session: icechunk.Session, path: str) -> list[tuple[int, ...]]:
        async def collect() -> list[tuple[int, ...]]:
            return [place async for place in session.chunk_coordinates(path, 2)]

        return sorted(asyncio.run(collect()))

    for path in ("/a", "/zz", "/g"):
        steps.do(f"coordinates of {path}", lambda: places(reader, path), list)  # noqa: B023
    chunk("a", 4, b"\x09")(session)
    without_chunk("a", 0)(session)

    def batches(session: icechunk.Session, path: str, size: int) -> list[Any]:
        found = []
        for coords, kinds, paths, offsets, lengths, inline in session.store.array_chunk_iterator(path, size):
            types = [str(column.dtype) for column in (coords, kinds, offsets, lengths)]
            found += [
                [coords[row].tolist(), int(kinds[row]), len(path), int(offsets[row]), int(lengths[row])]
                for row, path in enumerate(paths)
            ]
            found += [types, sorted(inline.items())]
        return sorted(found, key=repr)

    for path in ("/a", "a", "zz", "/g", ""):
        steps.do(f"refs of {path!r}", lambda: batches(session, path, 1), list)  # noqa: B023
        steps.do(f"refs of {path!r}, two", lambda: batches(reader, path, 2), list)  # noqa: B023
    steps.see("keys", keys(session))
    return steps.outcomes

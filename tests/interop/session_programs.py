"""What sessions do, allow and refuse: programs that run unchanged with both implementations.

Each program is a list of steps with a name; what came out of each is a plain value, or the class, the kind and
the beginning of the message of what it raised. Ids are left out, or replaced by the paths of nodes.
"""

from __future__ import annotations

import asyncio
import re
from collections.abc import Callable
from typing import Any

import zarr
from zarr.core.buffer import cpu, default_buffer_prototype

import icechunk

GROUP = b'{"zarr_format":3,"node_type":"group"}'

# How much of a message both say. What follows is each one's own.
PHRASE = 40


class Steps:
    """Does one thing after the other, and writes down what came out."""

    def __init__(self) -> None:
        self.outcomes: dict[str, Any] = {}

    def do(self, name: str, call: Callable[[], Any], show: Callable[[Any], Any] | None = None) -> Any:
        """Call, and keep what `show` makes of the result; without it only that there was one."""
        try:
            result = call()
        except Exception as error:
            kind = getattr(error, "kind", None)
            text = str(error) if isinstance(error, icechunk.IcechunkError) else ""
            # Without the ids of snapshots.
            text = re.sub(r"\b[0-9A-HJKMNP-TV-Z]{20}\b", "...", text)
            self.outcomes[name] = [_public_class(error), kind and str(kind), text[:PHRASE]]
            return None
        self.outcomes[name] = ["ok", None if show is None else show(result)]
        return result

    def see(self, name: str, value: Any) -> None:
        self.outcomes[name] = value


def _public_class(error: Exception) -> str:
    """The nearest class that programs can catch by name."""
    known = [each for each in type(error).__mro__ if getattr(icechunk, each.__name__, None) is each]
    return (known[0] if known else type(error)).__name__


def filled(spec_version: int) -> icechunk.Repository:
    repo = icechunk.Repository.create(icechunk.in_memory_storage(), spec_version=spec_version)
    session = repo.writable_session("main")
    root = zarr.create_group(session.store)
    root.create_array("a", shape=10, chunks=2, dtype="i4")[:] = 1
    root.create_group("g").create_array("b", shape=4, chunks=2, dtype="i4")[:] = 2
    root.create_group("g/h")
    root.create_group("k")
    session.commit("filled", {"number": 1})
    return repo


def keys(session: icechunk.Session) -> list[str]:
    async def collect() -> list[str]:
        return sorted([key async for key in session.store.list_prefix("")])

    return asyncio.run(collect())


def nodes(session: icechunk.Session) -> list[str]:
    return [
        "/" + key.removesuffix("zarr.json").rstrip("/") for key in keys(session) if key.endswith("zarr.json")
    ]


def values(session: icechunk.Session) -> dict[str, Any]:
    """All chunks as they are stored."""

    async def collect() -> dict[str, Any]:
        found = {}
        async for key in session.store.list_prefix(""):
            if not key.endswith("zarr.json"):
                buffer = await session.store.get(key, default_buffer_prototype())
                # The reference lists what a smaller shape has left behind, and then has nothing there.
                if buffer is not None:
                    found[key] = buffer.to_bytes().hex()
        return found

    return dict(sorted(asyncio.run(collect()).items()))


def put(session: icechunk.Session, key: str, data: bytes) -> None:
    asyncio.run(session.store.set(key, cpu.Buffer.from_bytes(data)))


def state(session: icechunk.Session) -> list[Any]:
    return [str(session.mode), session.branch, session.read_only, session.has_uncommitted_changes]


def diff(found: icechunk.Diff) -> dict[str, Any]:
    return {
        name: sorted(getattr(found, name))
        for name in (
            "new_groups",
            "new_arrays",
            "deleted_groups",
            "deleted_arrays",
            "updated_groups",
            "updated_arrays",
        )
    } | {"updated_chunks": found.updated_chunks, "moved_nodes": [list(pair) for pair in found.moved_nodes]}


def history(repo: icechunk.Repository, branch: str = "main") -> list[Any]:
    return [[info.message, info.metadata] for info in repo.ancestry(branch=branch)]


def touch(session: icechunk.Session, index: int, value: int, path: str = "a") -> None:
    zarr.open_array(session.store, path=path, mode="r+")[index] = value


def amend(spec_version: int) -> dict[str, Any]:
    steps = Steps()
    repo = filled(spec_version)
    session = repo.writable_session("main")
    steps.do("empty", lambda: session.amend("empty"))
    steps.do("allowed empty", lambda: session.amend("empty", allow_empty=True))
    steps.see("state after empty", [state(session), history(repo)])
    steps.do("again", lambda: session.amend("again", allow_empty=True))
    reader = repo.readonly_session("main")
    steps.do("reader", lambda: reader.amend("reader", allow_empty=True))
    session = repo.writable_session("main")
    touch(session, 0, 5)
    zarr.create_group(session.store, path="n")
    steps.do("changes", lambda: session.amend("changes", metadata={"x": (1, None)}))
    steps.see("state after changes", [state(session), history(repo), nodes(session), values(session)])
    session = repo.writable_session("main")
    first, second = repo.writable_session("main"), repo.writable_session("main")
    touch(second, 1, 6)
    steps.do("first of two", lambda: first.amend("first", allow_empty=True))
    steps.do("second of two", lambda: second.amend("second"))
    steps.do("second of two, committed", lambda: second.commit("second"))
    steps.see("state after a conflict", [state(second), history(repo)])
    repo.create_branch("dev", repo.lookup_branch("main"))
    session = repo.writable_session("dev")
    repo.delete_branch("dev")
    steps.do("branch is gone", lambda: session.amend("gone", allow_empty=True))
    empty = icechunk.Repository.create(icechunk.in_memory_storage(), spec_version=spec_version)
    session = empty.writable_session("main")
    steps.do("first snapshot, no changes", lambda: session.amend("first"))
    steps.do("first snapshot, allowed", lambda: session.amend("first", allow_empty=True))
    zarr.create_group(session.store)
    steps.do("first snapshot", lambda: session.amend("first"))
    steps.see("state after the first snapshot", state(session))
    steps.do("message of another type", lambda: session.amend(3))
    steps.do("metadata of another type", lambda: session.amend("m", metadata=[1]))
    steps.do("metadata that is no JSON", lambda: session.amend("m", metadata={"a": object()}))
    return steps.outcomes


def flush(spec_version: int) -> dict[str, Any]:
    steps = Steps()
    repo = filled(spec_version)
    session = repo.writable_session("main")
    steps.do("empty", lambda: session.flush("empty"))
    steps.see("state after empty", state(session))
    steps.do("again", lambda: session.flush("again", metadata={"x": (1, float("nan"))}))
    info = repo.lookup_snapshot(session.snapshot_id)
    steps.see("what is known of it", [info.message, info.metadata])
    steps.see("its ancestry", [info.message for info in repo.ancestry(snapshot_id=session.snapshot_id)])
    steps.do("commit afterwards", lambda: session.commit("no"))
    steps.do("edit afterwards", lambda: put(session, "n/zarr.json", GROUP))
    session = repo.writable_session("main")
    touch(session, 0, 5)
    id = session.flush("changes")
    steps.see("contents", [nodes(session), values(session), history(repo)])
    steps.do("another reader", lambda: repo.readonly_session(snapshot_id=id), values)
    steps.do("tag", lambda: repo.create_tag("t", id))
    steps.do("branch", lambda: repo.create_branch("dev", id))
    session = repo.writable_session("dev")
    touch(session, 2, 6)
    steps.do("commit on top", lambda: session.commit("on top"))
    steps.see("branch history", history(repo, "dev"))
    reader = repo.readonly_session("main")
    steps.do("reader", lambda: reader.flush("reader"))
    steps.see("state of the reader", [state(reader), values(reader)])
    first, second = repo.writable_session("main"), repo.writable_session("main")
    touch(second, 1, 6)
    first.commit("first", allow_empty=True)
    steps.do("of an old tip", lambda: second.flush("second"))
    repo.delete_branch("dev")
    steps.do("message of another type", lambda: repo.writable_session("main").flush(None))
    return steps.outcomes


def default_metadata(spec_version: int) -> dict[str, Any]:
    steps = Steps()
    repo = filled(spec_version)
    steps.see("at first", repo.default_commit_metadata())
    early = repo.writable_session("main")
    steps.do("set", lambda: repo.set_default_commit_metadata({"d": (1, float("inf")), "y": 0}))
    steps.see("set", repo.default_commit_metadata())
    early.flush("early")
    steps.see("early", repo.lookup_snapshot(early.snapshot_id).metadata)
    session = repo.writable_session("main")
    steps.see("flush", repo.lookup_snapshot(session.flush("m", metadata={"y": 5})).metadata)
    session = repo.writable_session("main")
    session.commit("m", {"y": 5}, allow_empty=True)
    steps.see("commit", history(repo)[0])
    with repo.transaction("main", message="t", metadata={"t": 1}) as store:
        zarr.create_group(store, path="n")
    steps.see("transaction", history(repo)[0])
    steps.see("reader", repo.lookup_snapshot(repo.readonly_session("main").flush("m")).metadata)
    steps.see("reopened", repo.reopen().default_commit_metadata())
    for name, wrong in {"none": None, "list": [1], "key": {1: 2}, "value": {"a": object()}}.items():
        steps.do(name, lambda wrong=wrong: repo.set_default_commit_metadata(wrong))
    steps.see("after wrong ones", repo.default_commit_metadata())
    return steps.outcomes


def moves(spec_version: int) -> dict[str, Any]:
    steps = Steps()
    repo = filled(spec_version)
    if spec_version == 1:
        steps.do("rearrange session", lambda: repo.rearrange_session("main"))
        steps.do("move", lambda: repo.writable_session("main").move("/a", "/z"))
        steps.do("move of a reader", lambda: repo.readonly_session("main").move("/a", "/z"))
        steps.do("a wrong path", lambda: repo.readonly_session("main").move("a", "/z"))
        return steps.outcomes
    steps.do("no such branch", lambda: repo.rearrange_session("zz"))
    session = repo.rearrange_session("main")
    steps.see("state", [state(session), session.store.read_only])
    for source, target in [
        ("a", "/z"),
        ("/a", "z"),
        ("", ""),
        ("/../a", "/z"),
        ("/nope", "/z"),
        ("/nope", "/nope/x"),
        ("/nope", "/a"),
        ("/", "/z"),
        ("/a", "/a"),
        ("/g", "/g/x"),
        ("/g", "/g/x/y"),
        ("/a", "/k"),
        ("/a", "/nope/x"),
        ("/a", "/g/b/x"),
        ("/a", "/z"),
        ("/g", "/k/g2"),
        ("/k/g2/b", "/b"),
        ("/k", "/g"),
        ("/g/g2/h", "/g/h"),
    ]:
        steps.do(f"{source} to {target}", lambda: session.move(source, target))  # noqa: B023
        steps.see(f"{source} to {target}: nodes", [nodes(session), diff(session.status())])
    steps.see("text", str(session.status()))
    steps.see("chunks", values(session))
    steps.see("kind of a chunk", str(session.chunk_type("/b", [0])))
    steps.do("left", lambda: session.get_node_id("/g/b"))
    edits: dict[str, Callable[[], Any]] = {
        "new node": lambda: put(session, "q/zarr.json", GROUP),
        "chunk": lambda: put(session, "b/c/0", b"12345678"),
        "chunk of nothing": lambda: put(session, "nope/c/0", b"12345678"),
        "delete chunk": lambda: asyncio.run(session.store.delete("b/c/0")),
        "delete chunk out of the grid": lambda: asyncio.run(session.store.delete("b/c/9")),
        "delete node": lambda: asyncio.run(session.store.delete("b/zarr.json")),
        "delete nothing": lambda: asyncio.run(session.store.delete("nope/zarr.json")),
        "delete folder": lambda: asyncio.run(session.store.delete_dir("b")),
        "delete no folder": lambda: asyncio.run(session.store.delete_dir("nope")),
        "clear": lambda: asyncio.run(session.store.clear()),
    }
    for name, edit in edits.items():
        steps.do(name, edit)
    steps.do("commit", lambda: session.commit("moved"))
    steps.see("after the commit", [state(session), nodes(session), values(session), history(repo)])
    steps.see("another reader", values(repo.readonly_session("main")))
    steps.do("move afterwards", lambda: session.move("/a", "/b"))
    session = repo.rearrange_session("main")
    steps.do("nothing", lambda: session.commit("nothing"))
    session.move("/b", "/bb")
    session.move("/bb", "/b")
    steps.see("there and back", [state(session), diff(session.status())])
    steps.do("commit there and back", lambda: session.commit("there and back"))
    session = repo.rearrange_session("main")
    session.move("/b", "/bb")
    session.discard_changes()
    steps.see("discarded", [state(session), nodes(session)])
    session.move("/b", "/bb")
    steps.do("flush", lambda: session.flush("flushed"))
    steps.see("after the flush", [state(session), nodes(session)])
    session = repo.rearrange_session("main")
    session.move("/b", "/bb")
    steps.do("amend", lambda: session.amend("amended"))
    steps.see("after the amend", [state(session), nodes(session), history(repo)])
    writable = repo.writable_session("main")
    steps.do("edit amends moves", lambda: writable.amend("no", allow_empty=True))
    session = repo.rearrange_session("main")
    session.move("/bb", "/b")
    steps.do("moves back, amended", lambda: session.amend("amended"))
    steps.do("edit amends what is left of them", lambda: writable.amend("stale", allow_empty=True))
    writable = repo.writable_session("main")
    steps.do("edit amends no moves", lambda: writable.amend("yes", allow_empty=True))
    writable = repo.writable_session("main")
    for name, other in {"writable": writable, "reader": repo.readonly_session("main")}.items():
        for target in ("/z", "/b", "/g", "/nope/x", "/b/x"):
            steps.do(f"move in {name} to {target}", lambda: other.move("/b", target))  # noqa: B023
    steps.do("wrong path in a reader", lambda: repo.readonly_session("main").move("b", "/z"))
    steps.do("discard in a reader", lambda: repo.readonly_session("main").discard_changes())
    return steps.outcomes


def moves_over_missing_groups() -> dict[str, Any]:
    """Moves to where no node is, but nodes are below: their groups were never written."""
    steps = Steps()
    repo = filled(2)
    session = repo.writable_session("main")
    for key in ("x/y/zarr.json", "x/y/y/zarr.json", "x/q/zarr.json"):
        put(session, key, GROUP)
    session.commit("no group at /x")
    for source, target in [("/a", "/x"), ("/x/y", "/x"), ("/x", "/z"), ("/x/y", "/z"), ("/a", "/x/y/w")]:
        session = repo.rearrange_session("main")
        steps.do(f"{source} to {target}", lambda: session.move(source, target))  # noqa: B023
        steps.see(f"{source} to {target}: nodes", nodes(session))
    return steps.outcomes


# --- repositories that the other side goes on with


def write_amended_and_moved(path: str) -> None:
    """A spec 2 repository with amends, moves and detached snapshots in its history."""
    repo = icechunk.Repository.create(icechunk.local_filesystem_storage(path))
    session = repo.writable_session("main")
    root = zarr.create_group(session.store)
    root.create_array("a", shape=10, chunks=2, dtype="i4")[:] = 1
    root.create_group("g").create_array("b", shape=(4, 4), chunks=(2, 2), dtype="i4")[:2] = 2
    session.commit("filled")
    session = repo.writable_session("main")
    touch(session, 3, 7)
    zarr.open_group(session.store)["g"].attrs["q"] = 1
    session.commit("to be amended")
    session = repo.writable_session("main")
    touch(session, 9, 8)
    zarr.create_group(session.store, path="n")
    session.amend("amended", metadata={"of": "two"})
    session = repo.rearrange_session("main")
    session.move("/g", "/n/g")
    session.move("/n/g/b", "/b")
    session.commit("moved")
    session = repo.rearrange_session("main")
    session.move("/b", "/n/b")
    session.amend("moved on")
    session = repo.writable_session("main")
    touch(session, 0, 9)
    repo.create_tag("flushed", session.flush("flushed"))


def go_on(path: str, who: str) -> None:
    """Amend, move and flush on top of what somebody else has written."""
    repo = icechunk.Repository.open(icechunk.local_filesystem_storage(path))
    session = repo.rearrange_session("main")
    session.move("/n/b", f"/n/{who}")
    session.move("/n", f"/n-{who}")
    session.amend(f"moved by {who}")
    session = repo.rearrange_session("main")
    session.move(f"/n-{who}", "/n")
    session.move(f"/n/{who}", "/n/b")
    session.commit(f"moved back by {who}")
    session = repo.writable_session("main")
    zarr.open_array(session.store, path="n/b", mode="r+")[3] = 5
    session.commit(f"written by {who}")
    session = repo.writable_session("main")
    zarr.open_array(session.store, path="n/b", mode="r+")[2] = 6
    session.amend(f"amended by {who}")
    session = repo.writable_session("main")
    touch(session, 5, 3)
    repo.create_tag(f"flushed by {who}", session.flush(f"flushed by {who}"))


def logs(path: str, branch: str = "main") -> list[Any]:
    """What the transaction logs of a branch say, ids replaced by the paths that nodes have now.

    Only with the reference, so far.
    """
    repo: Any = icechunk.Repository.open(icechunk.local_filesystem_storage(path))
    session = repo.readonly_session(branch)
    names = {session.get_node_id(node): node for node in nodes(session)}
    found = []
    for info in list(repo.ancestry(branch=branch))[:-1]:
        log = repo.inspect_transaction_log(info.id)
        del log["header"]
        for name, entries in log.items():
            log[name] = [
                {**entry, "node_id": names[entry["node_id"]]}
                if name == "updated_chunks"
                else entry
                if name == "moved_nodes"
                else names[entry]
                for entry in entries
            ]
            if name != "moved_nodes":
                log[name].sort(key=repr)
        found.append([info.message, log])
    return found

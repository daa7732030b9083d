"""Two sessions that race, as data: what was there, what they committed, what we did, who solves it.

Runs with either implementation (see `reference.py`), on documents and chunks as they lie in the store, so that
nothing but Icechunk decides what happens. An edit is a tuple whose first item names one of the functions of `_Edits`.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any

import numpy as np
from zarr.core.buffer import default_buffer_prototype

import icechunk

CHUNK = 2
Edit = tuple[Any, ...]
Commit = Sequence[Edit]


def group_document(**attributes: Any) -> dict[str, Any]:
    return {"zarr_format": 3, "node_type": "group", "attributes": attributes}


def array_document(length: int = 8, **fields: Any) -> dict[str, Any]:
    """An array of one dimension, with chunks of two numbers each, whose bytes are as in memory."""
    return {
        "zarr_format": 3,
        "node_type": "array",
        "shape": [length],
        "data_type": "int32",
        "chunk_grid": {"name": "regular", "configuration": {"chunk_shape": [CHUNK]}},
        "chunk_key_encoding": {"name": "default", "configuration": {"separator": "/"}},
        "fill_value": 0,
        "codecs": [{"name": "bytes", "configuration": {"endian": "little"}}],
        "attributes": {},
        **fields,
    }


class _Edits:
    """What a session can do, on the keys of its store."""

    def __init__(self, session: icechunk.Session) -> None:
        self.session = session
        self.store = session.store

    def group(self, path: str, **attributes: Any) -> None:
        """Create a group, or give one other attributes."""
        self.put(_document_key(path), json.dumps(group_document(**attributes)).encode())

    def array(self, path: str, length: int = 8, **fields: Any) -> None:
        """Create an array, or give one another document."""
        self.put(_document_key(path), json.dumps(array_document(length, **fields)).encode())

    def change(self, path: str, **fields: Any) -> None:
        """Change some fields of a node's document."""
        document = json.loads(self.read(_document_key(path)))
        self.put(_document_key(path), json.dumps(document | fields).encode())

    def write(self, path: str, index: int, value: int) -> None:
        """Fill a chunk with a value."""
        self.put(f"{path[1:]}/c/{index}", np.full(CHUNK, value, "<i4").tobytes())

    def erase(self, path: str, index: int) -> None:
        """Delete a chunk."""
        asyncio.run(self.store.delete(f"{path[1:]}/c/{index}"))

    def delete(self, path: str) -> None:
        """Delete a node with everything below it."""
        asyncio.run(self.store.delete_dir(path[1:]))

    def move(self, origin: str, target: str) -> None:
        """Move a node. The session must be one that rearranges."""
        self.session.move(origin, target)

    def nothing(self) -> None:
        """For a commit that changes nothing."""

    def put(self, key: str, data: bytes) -> None:
        asyncio.run(self.store.set(key, default_buffer_prototype().buffer.from_bytes(data)))

    def read(self, key: str) -> bytes:
        found = asyncio.run(self.store.get(key, default_buffer_prototype()))
        if found is None:
            raise KeyError(key)
        return found.to_bytes()


def apply(session: icechunk.Session, edits: Commit) -> None:
    """Make some edits, without committing them."""
    doer = _Edits(session)
    for name, *arguments in edits:
        fields = arguments.pop() if arguments and isinstance(arguments[-1], dict) else {}
        getattr(doer, name)(*arguments, **fields)


def _session(repo: icechunk.Repository, edits: Commit) -> icechunk.Session:
    rearranges = any(edit[0] == "move" for edit in edits)
    return repo.rearrange_session("main") if rearranges else repo.writable_session("main")


def solver(name: str, options: dict[str, Any]) -> icechunk.ConflictSolver:
    """A solver by its class and options; a selection is given by its name."""
    if name == "detector":
        return icechunk.ConflictDetector()
    settled = dict(options)
    if "on_chunk_conflict" in settled:
        settled["on_chunk_conflict"] = getattr(icechunk.VersionSelection, settled["on_chunk_conflict"])
    return icechunk.BasicConflictSolver(**settled)


def race(
    path: str,
    spec_version: int,
    base: Commit,
    theirs: Sequence[Commit],
    ours: Commit,
    solve_with: tuple[str, dict[str, Any]] = ("detector", {}),
) -> dict[str, Any]:
    """Rebase `ours` over `theirs`, and commit if that works. Tells all that can be seen of it."""
    storage = icechunk.local_filesystem_storage(path)
    repo = icechunk.Repository.create(storage, spec_version=spec_version)
    session = repo.writable_session("main")
    apply(session, base)
    commits = [session.commit("base", allow_empty=True)]
    mine = _session(repo, ours)
    apply(mine, ours)
    before = _diff(mine)
    for number, edits in enumerate(theirs):
        other = _session(repo, edits)
        apply(other, edits)
        commits.append(other.commit(f"theirs {number + 1}", allow_empty=True))
    told: dict[str, Any] = {}
    try:
        mine.rebase(solver(*solve_with))
    except icechunk.IcechunkError as error:
        told["error"] = (type(error).__name__, str(error.kind))
        if isinstance(error, icechunk.RebaseFailedError):
            told["failed_on"] = commits.index(error.snapshot)
            told["conflicts"] = _told(error.conflicts)
    told["based_on"] = commits.index(mine.snapshot_id)
    told["status_changed"] = _diff(mine) != before
    told["status"] = _diff(mine)
    told["session"] = contents(mine)
    if "error" not in told:
        try:
            mine.commit("ours")
            tip = repo.readonly_session("main")
            told["committed"] = contents(tip)
            told["reopened"] = contents(icechunk.Repository.open(storage).readonly_session("main"))
        except icechunk.IcechunkError as error:
            told["commit_error"] = (type(error).__name__, str(error.kind))
    return told


def race_with_a_reset(path: str, spec_version: int) -> tuple[str, str, list[Any]] | None:
    """Rebase a session whose base is on no branch any more. Tells the error, if there is one."""
    repo = icechunk.Repository.create(icechunk.local_filesystem_storage(path), spec_version=spec_version)

    def commit(*edits: Edit) -> str:
        session = repo.writable_session("main")
        apply(session, edits)
        return session.commit("theirs")

    base = commit(("group", "/"), ("array", "/a"))
    commit(("write", "/a", 3, 1))
    session = repo.writable_session("main")
    apply(session, [("write", "/a", 0, 1)])
    repo.reset_branch("main", base)
    commit(("write", "/a", 2, 2))
    try:
        session.rebase(icechunk.BasicConflictSolver())
    except icechunk.IcechunkError as error:
        return type(error).__name__, str(error.kind), _told(getattr(error, "conflicts", []))
    return None


def commit_and_expire(path: str, commits: Sequence[Commit]) -> tuple[list[str], set[str]]:
    """Commit, then let all expire that is no tip. Returns the new snapshots, and which have expired."""
    repo = icechunk.Repository.open(icechunk.local_filesystem_storage(path))
    ids = []
    for edits in commits:
        session = repo.writable_session("main")
        apply(session, edits)
        ids.append(session.commit("theirs"))
    return ids, repo.expire_snapshots(datetime.now(UTC))


def race_with_expiration(path: str, commits: Sequence[Commit], ours: Commit) -> dict[str, Any]:
    """Rebase a session whose base has expired meanwhile."""
    repo = icechunk.Repository.create(icechunk.local_filesystem_storage(path))
    session = repo.writable_session("main")
    apply(session, [("group", "/"), ("array", "/a"), ("array", "/b")])
    session.commit("base")
    session = repo.writable_session("main")
    apply(session, ours)
    commit_and_expire(path, commits)
    try:
        session.rebase(icechunk.ConflictDetector())
        session.commit("ours")
    except icechunk.IcechunkError as error:
        return {"error": (type(error).__name__, str(error.kind))}
    return contents_of(path)


def _told(conflicts: Sequence[icechunk.Conflict]) -> list[tuple[str, str, list[list[int]] | None]]:
    return [
        (repr(conflict.conflict_type), conflict.path, conflict.conflicted_chunks) for conflict in conflicts
    ]


def contents(session: icechunk.Session) -> dict[str, Any]:
    """What is under each key: a document, or the numbers of a chunk."""
    keys = asyncio.run(_collect(session.store.list_prefix("")))
    found = {}
    for key in sorted(keys):
        value = asyncio.run(session.store.get(key, default_buffer_prototype()))
        if value is None:
            found[key] = None
        elif key.endswith("zarr.json"):
            found[key] = json.loads(value.to_bytes())
        else:
            found[key] = np.frombuffer(value.to_bytes(), "<i4").tolist()
    return found


def contents_of(path: str) -> dict[str, Any]:
    """The contents of `main` in the repository at a path."""
    storage = icechunk.local_filesystem_storage(path)
    return contents(icechunk.Repository.open(storage).readonly_session("main"))


def _diff(session: icechunk.Session) -> dict[str, Any]:
    diff = session.status()
    names = (
        "new_groups",
        "new_arrays",
        "deleted_groups",
        "deleted_arrays",
        "updated_groups",
        "updated_arrays",
    )
    told: dict[str, Any] = {name: sorted(getattr(diff, name)) for name in names}
    told["updated_chunks"] = {path: sorted(map(list, chunks)) for path, chunks in diff.updated_chunks.items()}
    told["moved_nodes"] = [tuple(move) for move in diff.moved_nodes]
    return told


def _document_key(path: str) -> str:
    return "zarr.json" if path == "/" else f"{path[1:]}/zarr.json"


async def _collect(keys: Any) -> list[str]:
    return [key async for key in keys]

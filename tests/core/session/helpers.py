"""What the tests of session operations have in common."""

from __future__ import annotations

from typing import Any

import zarr
from zarr.core.sync import sync

from icechunk import Repository, Session
from icechunk._engine.format.ids import SnapshotId
from icechunk._engine.format.transaction_log import TransactionLog


def fill(repo: Repository) -> Repository:
    """Commit `/a`, `/g`, `/g/b`, `/g/h` and `/k`."""
    session = repo.writable_session("main")
    root = zarr.create_group(session.store)
    root.create_array("a", shape=10, chunks=2, dtype="i4")[:] = 1
    root.create_group("g").create_array("b", shape=4, chunks=2, dtype="i4")[:] = 2
    root.create_group("g/h")
    root.create_group("k")
    session.commit("filled", {"number": 1})
    return repo


def paths(session: Session) -> list[str]:
    """The paths of all nodes, as the store lists them."""
    keys = sync(_collect(session))
    return sorted(
        "/" + key.removesuffix("zarr.json").rstrip("/") for key in keys if key.endswith("zarr.json")
    )


async def _collect(session: Session) -> list[str]:
    return [key async for key in session.store.list_prefix("")]


def array(session: Session, path: str) -> zarr.Array[Any]:
    return zarr.open_array(session.store, path=path, mode="r" if session.store.read_only else "r+")


def log(repo: Repository, snapshot_id: str) -> dict[str, Any]:
    """What the transaction log of a snapshot has, of what is not empty."""
    found = repo._engine.assets.load_transaction_log(SnapshotId.parse(snapshot_id))
    return {
        name: value for name in TransactionLog.__slots__ if name != "id" and (value := _plain(found, name))
    }


def _plain(found: TransactionLog, name: str) -> Any:
    if name == "updated_chunks":
        return {str(id): coords.tolist() for id, coords in found.updated_chunks.items()}
    if name == "moved_nodes":
        return [(move.from_path, move.to_path) for move in found.moved_nodes]
    return [str(id) for id in getattr(found, name)]


def branch_history(repo: Repository, branch: str = "main") -> list[str]:
    """The messages of a branch, oldest first, without the first snapshot's."""
    return [info.message for info in repo.ancestry(branch=branch)][:-1][::-1]

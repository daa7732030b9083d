"""What a program can see of a session and of a repository, as JSON without ids and times."""

from __future__ import annotations

import asyncio
import hashlib
import json
from collections.abc import AsyncIterator, Iterable
from typing import Any, TypeVar

from zarr.core.buffer import default_buffer_prototype

T = TypeVar("T")
PROTOTYPE = default_buffer_prototype()
DIFF = (
    "new_groups",
    "new_arrays",
    "deleted_groups",
    "deleted_arrays",
    "updated_groups",
    "updated_arrays",
)


class Observer:
    """Describes what belongs to a driver; it knows the labels."""

    def __init__(self, driver: Any) -> None:
        self._driver = driver

    # -- sessions ---------------------------------------------------------------------------------

    def session(self, session: Any) -> dict[str, Any]:
        """Everything in a session: state, nodes, chunks, and the changes so far."""
        keys = sorted(self._driver.wait(_collect(session.store.list_prefix(""))))
        nodes, chunks = self._driver.wait(self._contents(session, keys))
        for path in sorted(nodes):
            id = session.get_node_id(path)
            nodes[path]["id"] = self._driver.nodes.setdefault(id, len(self._driver.nodes))
            if session.read_only and nodes[path].get("node_type") == "array":
                # Of changes, the reference repeats some and keeps others that are gone: decision 0001, 16.
                nodes[path]["coordinates"] = self._coordinates(session, path)
        return {
            "read_only": session.read_only,
            "mode": _enum(session.mode),
            "branch": session.branch,
            "snapshot": self._driver.label(session.snapshot_id),
            "has_uncommitted_changes": session.has_uncommitted_changes,
            "status": self.diff(session.status()),
            "nodes": nodes,
            "chunks": chunks,
            # Two nodes at one path: decision 0003.
            "twice": sorted({key for key in keys if keys.count(key) > 1}),
        }

    def _coordinates(self, session: Any, path: str) -> list[list[int]]:
        return sorted(map(list, self._driver.wait(_collect(session.chunk_coordinates(path)))))

    async def _contents(self, session: Any, keys: list[str]) -> tuple[dict[str, Any], dict[str, Any]]:
        store = session.store
        values = await asyncio.gather(*(store.get(key, PROTOTYPE) for key in keys))
        nodes: dict[str, Any] = {}
        chunks: dict[str, Any] = {}
        for key, value in zip(keys, values, strict=True):
            data = None if value is None else value.to_bytes()
            if key == "zarr.json" or key.endswith("/zarr.json"):
                path = "/" + key.removesuffix("zarr.json").removesuffix("/")
                document = json.loads(data or b"{}")
                nodes[path] = {
                    "document": data and hashlib.sha256(data).hexdigest()[:8],
                    **_summary(document),
                }
            else:
                chunks[key] = None if data is None else f"{data[0]} x {len(data)}"
        for path, node in nodes.items():
            if node.get("node_type") == "group":
                names = [name async for name in store.list_dir(path.strip("/"))]
                # A directory with no node of its own is listed by ours alone, decision 0001, 3.
                node["children"] = sorted(
                    name for name in names if name == "zarr.json" or f"{path.rstrip('/')}/{name}" in nodes
                )
        return nodes, {
            key: [chunk, _enum(session.chunk_type(*_parts(key)))]
            for key, chunk in chunks.items()
            if _lies_in_grid(nodes, *_parts(key))
        }

    # -- history ----------------------------------------------------------------------------------

    def history(self) -> dict[str, Any]:
        """The refs, the ancestry of each, and what was done."""
        repo, label = self._driver.repo, self._driver.label
        branches = {name: repo.lookup_branch(name) for name in sorted(repo.list_branches())}
        tags = {name: repo.lookup_tag(name) for name in sorted(repo.list_tags())}
        tips = {
            **{id: {"branch": b} for b, id in branches.items()},
            **{id: {"tag": t} for t, id in tags.items()},
        }
        described = {
            "branches": {name: label(id) for name, id in branches.items()},
            "tags": {name: label(id) for name, id in tags.items()},
            "ancestry": {
                label(id): [self.snapshot_info(info) for info in repo.ancestry(**tip)]
                for id, tip in tips.items()
            },
        }
        described["default_commit_metadata"] = repo.default_commit_metadata()
        if repo.spec_version >= 2:
            described["ops_log"] = [self._update(update) for update in repo.ops_log()]
            described["metadata"] = repo.metadata
            status = repo.status
            described["status"] = [_enum(status.availability), status.limited_availability_reason]
            described["flags"] = sorted([f.name, f.setting, f.enabled] for f in repo.feature_flags())
        return described

    def snapshot_info(self, info: Any) -> list[Any]:
        label = self._driver.label
        return [label(info.id), label(info.parent_id), info.message, info.metadata]

    def _update(self, update: Any) -> list[Any]:
        kind = update.kind
        attributes = {}
        for name in ("branch", "name", "id", "new_value", "previous_snap_id", "new_snap_id"):
            if hasattr(kind, name):
                value = getattr(kind, name)
                attributes[name] = self._driver.label(value) if name.endswith("snap_id") else value
        if hasattr(kind, "status"):
            attributes["status"] = _enum(kind.status.availability)
        return [type(kind).__name__.rpartition("_")[2], attributes, update.backup_path is not None]

    def diff(self, diff: Any) -> dict[str, Any]:
        described: dict[str, Any] = {name: sorted(getattr(diff, name)) for name in DIFF}
        described["updated_chunks"] = {
            path: _lists(diff.updated_chunks[path]) for path in sorted(diff.updated_chunks)
        }
        described["moved_nodes"] = _lists(diff.moved_nodes)
        described["is_empty"] = diff.is_empty()
        described["text"] = str(diff)
        return {name: value for name, value in described.items() if value}


def _summary(document: dict[str, Any]) -> dict[str, Any]:
    """What a reader of a divergence wants to see of a document."""
    names = ("node_type", "shape", "chunk_grid", "attributes", "dimension_names")
    return {name: document[name] for name in names if name in document}


async def _collect(items: AsyncIterator[T]) -> list[T]:
    return [item async for item in items]


def _parts(key: str) -> tuple[str, list[int]]:
    """The array and the coordinates of a chunk's key."""
    path, _, coordinates = f"/{key}/".rpartition("/c/")
    return path or "/", [int(part) for part in coordinates.split("/") if part]


def _lies_in_grid(nodes: dict[str, Any], path: str, index: list[int]) -> bool:
    """The reference lists what a resize has left behind until the commit, decision 0001, 3."""
    shape, chunks = nodes[path]["shape"], nodes[path]["chunk_grid"]["configuration"]["chunk_shape"]
    return len(index) == len(shape) and all(map(lambda i, size, n: i * size < n, index, chunks, shape))


def _lists(rows: Iterable[Iterable[Any]]) -> list[list[Any]]:
    return [list(row) for row in rows]


def _enum(member: object) -> str:
    return str(member).rpartition(".")[2]

"""What a conflict solver is shown: one conflict, with the node as it was, as we have it and as they left it.

Implements the protocols of `icechunk.abc.conflicts`. Nothing is read before a solver asks.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from functools import cached_property
from itertools import accumulate
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from icechunk._engine.format.snapshot_records import ArrayNode
from icechunk._engine.session.keys import chunk_keys
from icechunk._engine.session.reading import ArrayEntry
from icechunk._engine.session.session import node_not_found

if TYPE_CHECKING:
    from collections.abc import Mapping

    import numpy.typing as npt
    import zarr
    from zarr.abc.store import Store

    from icechunk._engine.session.conflict_detection import Found
    from icechunk._engine.session.session import EngineSession
    from icechunk._engine.session.splitting import Coords
    from icechunk._values.conflicts import ConflictType

OpenStore = Callable[["EngineSession"], "Store"]
"""Makes the store through which Zarr reads a session. The engine does not know the store, its door does."""


class Sides:
    """The three sessions that a commit's conflicts are between."""

    def __init__(
        self, base: EngineSession, ours: EngineSession, theirs: EngineSession, open_store: OpenStore
    ) -> None:
        self.base = base
        self.ours = ours
        self.theirs = theirs
        self.open_store = open_store


class _NodeVersion:
    """A node as one session has it."""

    def __init__(
        self, session: EngineSession, path: str, open_store: OpenStore, index: tuple[int, ...] | None
    ) -> None:
        self._session = session
        self._path = path
        self._open_store = open_store
        self._index = index

    @cached_property
    def _document(self) -> bytes | None:
        entry = self._session.find_node(self._path)
        return None if entry is None else entry.user_data

    @property
    def exists(self) -> bool:
        return self._document is not None

    @property
    def metadata(self) -> Mapping[str, Any] | None:
        # Decoded each time: what one solver does to it, another must not see.
        return None if self._document is None else json.loads(self._document)

    @cached_property
    def array(self) -> zarr.Array[Any]:
        if not isinstance(self._session.find_node(self._path), ArrayEntry):
            raise node_not_found(self._path)
        return open_array(self._session, self._path, self._open_store, mode="r")

    def chunk(self, index: tuple[int, ...] | None = None) -> npt.NDArray[np.generic] | None:
        place = self._index if index is None else index
        if place is None:
            raise ValueError(f"the conflict is about the node {self._path}: which chunk of it?")
        entry = self._session.find_node(self._path)
        if not isinstance(entry, ArrayEntry) or not entry.holds(place):
            return None
        [key] = chunk_keys(entry.path, [place])
        if self._session.load(key) is None:
            return None
        return np.asarray(self.array[chunk_region(json.loads(entry.user_data), place)])


class _NodeView:
    """A node in its three versions."""

    def __init__(self, sides: Sides, path: str, index: tuple[int, ...] | None = None) -> None:
        self._sides = sides
        self.path = path
        self.chunk = index

    @cached_property
    def base(self) -> _NodeVersion:
        return self._version(self._sides.base)

    @cached_property
    def ours(self) -> _NodeVersion:
        return self._version(self._sides.ours)

    @cached_property
    def theirs(self) -> _NodeVersion:
        return self._version(self._sides.theirs)

    def _version(self, session: EngineSession) -> _NodeVersion:
        return _NodeVersion(session, self.path, self._sides.open_store, self.chunk)


class View(_NodeView):
    """A conflict; with `index`, one chunk of it."""

    def __init__(self, sides: Sides, found: Found, index: tuple[int, ...] | None = None) -> None:
        super().__init__(sides, found.path, index)
        self._found = found

    @property
    def conflict_type(self) -> ConflictType:
        return self._found.type

    @property
    def chunks(self) -> Coords | None:
        chunks = self._found.chunks
        return None if chunks is None else chunks.copy()

    def arrays_of_group(self) -> Iterator[_NodeView]:
        group = self.path.rpartition("/")[0] or "/"
        sides = self._sides
        paths: set[str] = set()
        for session in (sides.base, sides.theirs):
            children = session.base().children(group)
            paths.update(node.path for node in children if isinstance(node, ArrayNode))
        paths.update(
            path for path in sides.ours.changes.new_arrays if (path.rpartition("/")[0] or "/") == group
        )
        for path in sorted(paths):
            yield _NodeView(sides, path)


def open_array(
    session: EngineSession, path: str, open_store: OpenStore, *, mode: Literal["r", "r+"]
) -> zarr.Array[Any]:
    """Open an array of a session with Zarr."""
    # Not at the top: only solvers that look at chunks need it.
    import zarr

    with zarr.config.set(_zarr_settings()):
        return zarr.open_array(open_store(session), path=path[1:], mode=mode, zarr_format=3)


def _zarr_settings() -> dict[str, bool]:
    """Switch on what the stored arrays may need, where this version of Zarr has it."""
    import zarr

    setting = "array.rectilinear_chunks"
    return {} if zarr.config.get(setting, None) is None else {setting: True}


def chunk_region(document: Mapping[str, Any], index: tuple[int, ...]) -> tuple[slice, ...]:
    """Return where a chunk lies in its array; at the end of an axis, the part within."""
    grid, shape = document["chunk_grid"], document["shape"]
    settings = grid["configuration"]
    if grid["name"] == "regular":
        sizes = settings["chunk_shape"]
        return tuple(
            slice(i * size, min((i + 1) * size, length))
            for i, size, length in zip(index, sizes, shape, strict=True)
        )
    region = []
    for i, axis, length in zip(index, settings["chunk_shapes"], shape, strict=True):
        edges = [0, *accumulate(_sizes(axis, length))]
        region.append(slice(edges[i], min(edges[i + 1], length)))
    return tuple(region)


def _sizes(axis: int | list[int | list[int]], length: int) -> Iterator[int]:
    """Yield the chunk lengths of one axis of a rectilinear grid."""
    if isinstance(axis, int):
        yield from [axis] * -(-length // axis)
        return
    for item in axis:
        if isinstance(item, int):
            yield item
        else:
            size, count = item
            yield from [size] * count

"""Nodes as a session sees them, and the way from chunk coordinates to a ref in the base snapshot."""

from __future__ import annotations

import weakref
from dataclasses import replace
from enum import Enum
from typing import TYPE_CHECKING, Final, Literal, TypeAlias

import numpy as np
import numpy.typing as npt

from icechunk._engine.format.snapshot_records import ArrayNode
from icechunk.abc.storage import Locality

if TYPE_CHECKING:
    from icechunk._engine.assets.assets import Assets
    from icechunk._engine.changes import ChangeSet, ChunkTable
    from icechunk._engine.format.chunk_refs import ChunkRef
    from icechunk._engine.format.ids import NodeId
    from icechunk._engine.format.manifest import ArrayRefs
    from icechunk._engine.format.snapshot import Snapshot
    from icechunk._engine.format.snapshot_records import DimensionShape, Node


class _NotLoaded(Enum):
    NOT_LOADED = "not loaded"


NOT_LOADED: Final = _NotLoaded.NOT_LOADED
"""The answer needs a read of storage that the caller may want to do in a thread."""

NotLoaded: TypeAlias = Literal[_NotLoaded.NOT_LOADED]

# From this many manifests of one array on, the one that holds a chunk is searched with NumPy.
_MANY_MANIFESTS = 8


class GroupEntry:
    """A group, as it is in the session now."""

    __slots__ = ("id", "in_base", "path", "user_data")

    def __init__(self, id: NodeId, path: str, user_data: bytes, *, in_base: bool) -> None:
        self.id = id
        self.path = path
        self.user_data = user_data
        self.in_base = in_base


class ArrayEntry:
    """An array, as it is in the session now, with all that a look-up of its chunks needs.

    Entries are never changed, but for the chunk table that they share with the change set: when a
    node changes, the session drops its entry and makes a new one.
    """

    __slots__ = (
        "base",
        "dimension_names",
        "id",
        "in_base",
        "num_chunks",
        "path",
        "shape",
        "table",
        "user_data",
    )

    def __init__(
        self,
        id: NodeId,
        path: str,
        user_data: bytes,
        shape: tuple[DimensionShape, ...],
        dimension_names: tuple[str | None, ...] | None,
        *,
        base: BaseChunks | None,
        table: ChunkTable | None,
    ) -> None:
        self.id = id
        self.path = path
        self.user_data = user_data
        self.shape = shape
        self.num_chunks = tuple(dimension.num_chunks for dimension in shape)
        self.dimension_names = dimension_names
        self.in_base = base is not None
        self.base = base
        self.table = table

    def holds(self, coords: tuple[int, ...]) -> bool:
        """Whether the array's grid has a chunk at `coords`."""
        if len(coords) != len(self.num_chunks):
            return False
        # Not `all(...)`: a generator takes longer than the loop.
        for coord, count in zip(coords, self.num_chunks):  # noqa: SIM110
            if coord >= count:
                return False
        return True


Entry: TypeAlias = ArrayEntry | GroupEntry


class BaseChunks:
    """The chunks that the base snapshot has of one array.

    Look-ups in manifests are held weakly: how long a manifest stays in memory is for the cache
    of the repository to decide, and a session with thousands of arrays must not overrule it.
    """

    __slots__ = ("_assets", "_bounds", "_held", "_snapshot", "manifests", "node", "node_id")

    def __init__(self, node: ArrayNode, snapshot: Snapshot, assets: Assets) -> None:
        self.node = node
        self.node_id = node.id
        self.manifests = node.manifests
        self._snapshot = snapshot
        self._assets = assets
        self._held: list[weakref.ref[ArrayRefs] | None] = [None] * len(node.manifests)
        self._bounds: tuple[npt.NDArray[np.int64], npt.NDArray[np.int64]] | None = None

    def find(self, coords: tuple[int, ...], *, may_load: bool = False) -> ChunkRef | NotLoaded | None:
        """Return the ref at `coords`, or `None` if there is no such chunk.

        Without `may_load`, `NOT_LOADED` if a manifest must be fetched that is large or far away.
        """
        held = self._held
        if len(held) == 1:
            index = 0
            reference = held[0]
            if reference is not None:
                refs = reference()
                if refs is not None:
                    return refs.lookup(coords)
            if not _within(self.manifests[0].extents, coords):
                return None
        else:
            found = self._manifest_holding(coords)
            if found is None:
                return None
            index = found
            reference = held[index]
            if reference is not None:
                refs = reference()
                if refs is not None:
                    return refs.lookup(coords)
        loaded = self._array_refs(index, may_load=may_load)
        if loaded is NOT_LOADED or loaded is None:
            return loaded
        return loaded.lookup(coords)

    def load_all(self) -> list[ArrayRefs]:
        """Return the refs of this array in every manifest of it. Fetches what is not cached."""
        loaded = [self._array_refs(i, may_load=True) for i in range(len(self.manifests))]
        return [refs for refs in loaded if refs is not None and refs is not NOT_LOADED]

    def _array_refs(self, index: int, *, may_load: bool) -> ArrayRefs | NotLoaded | None:
        id = self.manifests[index].manifest_id
        manifest = self._assets.cached_manifest(id)
        if manifest is None:
            size_bytes = self._snapshot.manifest_file(id).size_bytes
            if not (may_load or is_quick(self._assets, size_bytes)):
                return NOT_LOADED
            manifest = self._assets.load_manifest(id, size_bytes)
        refs = manifest.find_array(self.node_id)
        if refs is not None:
            self._held[index] = weakref.ref(refs)
        return refs

    def _manifest_holding(self, coords: tuple[int, ...]) -> int | None:
        """Return the position of the manifest whose extents hold `coords`."""
        manifests = self.manifests
        if len(manifests) < _MANY_MANIFESTS:
            for index, manifest in enumerate(manifests):
                if _within(manifest.extents, coords):
                    return index
            return None
        bounds = self._bounds
        if bounds is None:
            extents = np.array([manifest.extents for manifest in manifests], np.int64)
            # The longer axis last, so that each comparison runs over contiguous memory.
            bounds = extents[:, :, 0].T.copy(), extents[:, :, 1].T.copy()
            self._bounds = bounds
        first, stop = bounds
        where = np.array(coords, np.int64)[:, None]
        hits = ((first <= where) & (where < stop)).all(axis=0).nonzero()[0]
        return int(hits[0]) if len(hits) else None


def is_quick(assets: Assets, size_bytes: int) -> bool:
    """Whether an object is so near and so small that a hop to a thread costs more than to read it."""
    return assets.locality is not Locality.REMOTE and size_bytes <= _QUICK_BYTES


# Reading and decompressing this takes about as long as a hop to a thread and back, 100 µs.
_QUICK_BYTES = 64 * 2**10


def _within(extents: tuple[tuple[int, int], ...], coords: tuple[int, ...]) -> bool:
    for (start, stop), coord in zip(extents, coords):  # noqa: SIM110
        if not start <= coord < stop:
            return False
    return True


class Base:
    """The base snapshot of a session, and what was found out about its arrays."""

    __slots__ = ("_assets", "_chunks", "snapshot")

    def __init__(self, snapshot: Snapshot, assets: Assets) -> None:
        self.snapshot = snapshot
        self._assets = assets
        self._chunks: dict[NodeId, BaseChunks] = {}

    def find_node_by_id(self, id: NodeId) -> Node | None:
        """Return the node with an id; of arrays that somebody has looked at, without a search."""
        chunks = self._chunks.get(id)
        return self.snapshot.find_node_by_id(id) if chunks is None else chunks.node

    def find_entry(self, path: str, changes: ChangeSet) -> Entry | None:
        """Return the node at `path`: what the session made it, or else what the snapshot has."""
        new_array = changes.new_arrays.get(path)
        if new_array is not None:
            return ArrayEntry(
                new_array.id,
                path,
                new_array.user_data,
                new_array.shape,
                new_array.dimension_names,
                base=None,
                table=changes.chunks.get(new_array.id),
            )
        new_group = changes.new_groups.get(path)
        if new_group is not None:
            return GroupEntry(new_group.id, path, new_group.user_data, in_base=False)
        origin = changes.moves.origin(path) if changes.moves else path
        node = None if origin is None else self.snapshot.find_node(origin)
        if node is None or (changes.is_deleted(path) and changes.deletes(path, node.id)):
            return None
        if not isinstance(node, ArrayNode):
            user_data = changes.updated_groups.get(node.id, node.user_data)
            return GroupEntry(node.id, path, user_data, in_base=True)
        chunks = self._chunks.get(node.id)
        if chunks is None:
            chunks = self._chunks.setdefault(node.id, BaseChunks(node, self.snapshot, self._assets))
        update = changes.updated_arrays.get(node.id)
        if update is not None and len(update.shape) != len(node.shape):
            # No key leads to a chunk of the old grid any more; the commit drops them.
            chunks = BaseChunks(replace(node, manifests=()), self.snapshot, self._assets)
        return ArrayEntry(
            node.id,
            path,
            node.user_data if update is None else update.user_data,
            node.shape if update is None else update.shape,
            node.dimension_names if update is None else update.dimension_names,
            base=chunks,
            table=changes.chunks.get(node.id),
        )

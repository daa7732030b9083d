"""Finds what does not fit together between a change set and the transaction log of somebody else's commit.

Semantics, section 6, with the conflicts of docs/adr/0003. The two snapshots around the commit are asked for only when
an answer depends on them: what was changed apart is known from the log alone.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Collection, Iterator, Mapping
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from icechunk._engine.format.snapshot_records import ArrayNode, GroupNode
from icechunk._engine.format.transaction_log import UpdatedChunks
from icechunk._engine.session.splitting import row_keys
from icechunk._values.conflicts import Conflict, ConflictType

if TYPE_CHECKING:
    from icechunk._engine.changes import ChangeSet, ChunkTable
    from icechunk._engine.format.ids import NodeId
    from icechunk._engine.format.snapshot import Snapshot
    from icechunk._engine.format.transaction_log import TransactionLog
    from icechunk._engine.session.splitting import Coords

# Up to here, chunks are compared one by one: NumPy takes longer.
_FEW_ROWS = 64

# Fields of an array's `zarr.json` that say what the bytes of its chunks mean.
_LAYOUT = ("shape", "chunk_grid", "data_type", "codecs", "fill_value", "storage_transformers")


class Found(NamedTuple):
    """A conflict, with what is needed to do something about it.

    `id` is that of the node on our side, or for a node that only they have, on theirs. `chunks` are those that both
    sides have written: shape (chunks, dimensions), rows in lexicographic order.
    """

    type: ConflictType
    path: str
    id: NodeId | None = None
    chunks: Coords | None = None

    def public(self) -> Conflict:
        """Return what users are told of it."""
        return Conflict(self.type, self.path, None if self.chunks is None else self.chunks.tolist())


def find_conflicts(
    changes: ChangeSet,
    log: TransactionLog,
    before: Callable[[], Snapshot],
    after: Callable[[], Snapshot],
) -> list[Found]:
    """Return all conflicts between a change set and a commit, in the order of semantics 6.

    `before` gives the snapshot that the change set is based on, `after` the one that the commit made.
    """
    if log.moved_nodes:
        return [Found(ConflictType.MoveOperationCannotBeRebased, "")]
    if _are_chunks_of_others(changes, log):
        return []
    return list(_Detector(changes, log, before, after).all())


def _are_chunks_of_others(changes: ChangeSet, log: TransactionLog) -> bool:
    """Whether a commit did nothing but write chunks of arrays that we have not touched, as most do."""
    if (
        log.new_groups
        or log.new_arrays
        or log.deleted_groups
        or log.deleted_arrays
        or log.updated_groups
        or log.updated_arrays
    ):
        return False
    deleted = changes.deleted_arrays.values()
    return not any(
        id in changes.chunks or id in changes.updated_arrays or id in deleted for id in log.updated_chunks
    )


class _Detector:
    def __init__(
        self,
        changes: ChangeSet,
        log: TransactionLog,
        before: Callable[[], Snapshot],
        after: Callable[[], Snapshot],
    ) -> None:
        self._changes = changes
        self._log = log
        self._before = before
        self._after = after

    def all(self) -> Iterator[Found]:
        changes, log = self._changes, self._log
        has_news = bool(log.new_arrays or log.new_groups)
        new_paths: list[str] = []
        if has_news or log.deleted_groups:
            new_paths = sorted([*changes.new_groups, *changes.new_arrays])
        under_arrays: set[str] = set()
        if new_paths and has_news:
            yield from self._places_taken(new_paths)
            yield from self._under_their_arrays(new_paths, under_arrays)
        yield from self._documents()
        yield from self._chunks()
        yield from self._deletions()
        # From here on, what the reference has no eyes for.
        if has_news and (changes.deleted_groups or changes.new_arrays):
            yield from self._their_orphans()
        if new_paths and log.deleted_groups:
            yield from self._our_orphans([path for path in new_paths if path not in under_arrays])
        yield from self._layouts()
        if changes.moves:
            yield from self._moves()

    # -- nodes that we create ---------------------------------------------------------------------

    def _places_taken(self, new_paths: list[str]) -> Iterator[Found]:
        after = self._after()
        for path in new_paths:
            if not self._changes.is_deleted(path) and after.find_node(path) is not None:
                yield Found(ConflictType.NewNodeConflictsWithExistingNode, path)

    def _under_their_arrays(self, new_paths: list[str], under: set[str]) -> Iterator[Found]:
        """Report arrays below which we create nodes, once for each of these, and put them into `under`."""
        if not self._log.new_arrays:
            return
        after = self._after()
        for path in new_paths:
            for ancestor in ancestors(path):
                if self._changes.is_deleted(ancestor):
                    continue
                if isinstance(after.find_node(ancestor), ArrayNode):
                    under.add(path)
                    yield Found(ConflictType.NewNodeInInvalidGroup, ancestor)

    # -- nodes that were there --------------------------------------------------------------------

    def _documents(self) -> Iterator[Found]:
        changes, log = self._changes, self._log
        for updated, theirs in (
            (changes.updated_arrays, log.updated_arrays),
            (changes.updated_groups, log.updated_groups),
        ):
            yield from self._each(ConflictType.ZarrMetadataDoubleUpdate, _common(updated, theirs))
        gone = _common(changes.updated_arrays, log.deleted_arrays)
        yield from self._each(ConflictType.ZarrMetadataUpdateOfDeletedArray, gone)
        gone = _common(changes.updated_groups, log.deleted_groups)
        yield from self._each(ConflictType.ZarrMetadataUpdateOfDeletedGroup, gone)

    def _chunks(self) -> Iterator[Found]:
        chunks, log = self._changes.chunks, self._log
        if not chunks:
            return
        gone = _common(chunks, log.deleted_arrays)
        yield from self._each(ConflictType.ChunksUpdatedInDeletedArray, gone)
        updated = _common(chunks, log.updated_arrays)
        yield from self._each(ConflictType.ChunksUpdatedInUpdatedArray, updated)
        both: dict[NodeId, Coords] = {}
        for id in _common(chunks, log.updated_chunks):
            common = _common_chunks(chunks[id], log.updated_chunks, id)
            if common is not None:
                both[id] = common
        # Paths are in the snapshot, which nobody needs as long as all wrote chunks of their own.
        for path, id in self._with_paths(both) if both else ():
            yield Found(ConflictType.ChunkDoubleUpdate, path, id, both[id])

    def _deletions(self) -> Iterator[Found]:
        changes, log = self._changes, self._log
        if changes.deleted_arrays:
            touched = {*log.updated_arrays, *log.updated_chunks}
            replaced = set(log.deleted_arrays)
            for path, id in sorted(changes.deleted_arrays.items()):
                there = id
                if touched and id in replaced:
                    # They have put another array in its place, which our deletion does not mean.
                    node = self._after().find_node(path)
                    there = id if node is None else node.id
                if there in touched:
                    yield Found(ConflictType.DeleteOfUpdatedArray, path, there)
        if changes.deleted_groups and log.updated_groups:
            updated = set(log.updated_groups)
            for path, id in sorted(changes.deleted_groups.items()):
                if id in updated:
                    yield Found(ConflictType.DeleteOfUpdatedGroup, path, id)

    # -- what the reference misses ----------------------------------------------------------------

    def _their_orphans(self) -> Iterator[Found]:
        """Report what they have added where we leave no group: the uppermost nodes."""
        created = [*self._log.new_groups, *self._log.new_arrays]
        after = self._after()
        nodes = [node for node in map(after.find_node_by_id, created) if node is not None]
        reported: set[str] = set()
        for path, id in sorted((node.path, node.id) for node in nodes):
            above = list(ancestors(path))
            if not reported.isdisjoint(above):
                continue
            if any(ancestor in self._changes.deleted_groups for ancestor in above):
                reported.add(path)
                yield Found(ConflictType.DeleteOfGroupWithNewNode, path, id)
            for ancestor in above:
                if ancestor in self._changes.new_arrays and after.find_node(ancestor) is None:
                    reported.add(path)
                    yield Found(ConflictType.NewNodeInInvalidGroup, ancestor)
                    break

    def _our_orphans(self, new_paths: list[str]) -> Iterator[Found]:
        """Report what we have added to groups that they have deleted: the uppermost nodes."""
        before, changes = self._before(), self._changes
        deleted = {
            node.path
            for node in map(before.find_node_by_id, self._log.deleted_groups)
            if isinstance(node, GroupNode)
        }
        for path in new_paths:
            for ancestor in ancestors(path):
                if ancestor in changes.new_groups or ancestor in changes.new_arrays:
                    # It lives where we say so; whether that does is asked for the ancestor.
                    break
                if ancestor in deleted:
                    yield Found(ConflictType.NewNodeInDeletedGroup, path)
                    break

    def _layouts(self) -> Iterator[Found]:
        """Report arrays whose chunks they have written, and whose bytes we take for something else."""
        theirs_too = set(self._log.updated_arrays)
        for path, id in self._with_paths(_common(self._changes.updated_arrays, self._log.updated_chunks)):
            # If both have changed the document, then that is the conflict.
            if id in theirs_too or not len(self._log.updated_chunks[id]):
                continue
            node = self._before().find_node_by_id(id)
            if node is not None and layout_differs(
                node.user_data, self._changes.updated_arrays[id].user_data
            ):
                yield Found(ConflictType.LayoutUpdateOfUpdatedChunks, path, id)

    def _moves(self) -> Iterator[Found]:
        """Report moves whose origin or target is not as it was. We have moved nodes, and changed nothing else."""
        moves, log = self._changes.moves, self._log
        after = self._after()
        subtrees = list(moves.subtrees())
        for id in sorted([*log.new_groups, *log.new_arrays]):
            node = after.find_node_by_id(id)
            if node is not None and moves.origin(node.path) != node.path:
                # Not there any more: moved along with what is around it, or covered.
                places = (
                    target + node.path[len(origin) :]
                    for target, origin in subtrees
                    if origin in (node.path, *ancestors(node.path))
                )
                if all(moves.origin(place) != node.path for place in places):
                    yield Found(ConflictType.MoveOverNewNode, node.path, id)
        if log.deleted_groups or log.deleted_arrays:
            for target, origin in subtrees:
                if after.find_node(origin) is None:
                    yield Found(ConflictType.MoveOfDeletedNode, origin)
                group = moves.origin(next(ancestors(target)))
                if group is None or not isinstance(after.find_node(group), GroupNode):
                    yield Found(ConflictType.MoveIntoDeletedGroup, target)

    # -- helpers ----------------------------------------------------------------------------------

    def _each(self, type_: ConflictType, ids: Collection[NodeId]) -> Iterator[Found]:
        for path, id in self._with_paths(ids):
            yield Found(type_, path, id)

    def _with_paths(self, ids: Collection[NodeId]) -> list[tuple[str, NodeId]]:
        """Return nodes of the base snapshot with their paths, in order of these. Others are left out."""
        if not ids:
            return []
        nodes = [self._before().find_node_by_id(id) for id in ids]
        return sorted((node.path, node.id) for node in nodes if node is not None)


def ancestors(path: str) -> Iterator[str]:
    """Yield the paths above a path, the nearest first."""
    while path != "/":
        path = path.rpartition("/")[0] or "/"
        yield path


def layout_differs(before: bytes, after: bytes) -> bool:
    """Tell whether two documents of an array read the same chunks differently."""
    old, new = json.loads(before), json.loads(after)
    return any(old.get(field) != new.get(field) for field in _LAYOUT)


def common_rows(ours: Coords, theirs: Coords) -> Coords:
    """Return the rows that both tables of coordinates have, in the order of the first."""
    if not len(ours) or not len(theirs):
        return ours[:0]
    keys, their_keys = row_keys(ours, theirs)
    return ours[np.isin(keys, their_keys)]


def _common_chunks(table: ChunkTable, log: Mapping[NodeId, Coords], id: NodeId) -> Coords | None:
    """Return the chunks of an array that both sides have changed, in order; `None` if there are none."""
    few = log.few(id, _FEW_ROWS) if isinstance(log, UpdatedChunks) else None
    if few is not None:
        # Most commits change a handful of chunks. However many are ours, a look-up of each is fast.
        rows = [row for row in few if table.find(row) is not None]
        return np.array(rows, np.uint32).reshape(len(rows), len(rows[0])) if rows else None
    theirs = log[id]
    common = common_rows(table.touched_coords(theirs.shape[1]), theirs) if len(theirs) else theirs
    return common if len(common) else None


def _common(ours: Collection[NodeId], theirs: Collection[NodeId]) -> Collection[NodeId]:
    return set(ours).intersection(theirs) if ours and theirs else ()

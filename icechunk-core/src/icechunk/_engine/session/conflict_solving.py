"""Asks a solver about the conflicts of one commit, and turns its answers into changes of the change set.

The table of `icechunk.abc.conflicts`. Nothing is changed here: an edit is a function that the caller calls when every
conflict of the commit has its answer.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import partial
from typing import TYPE_CHECKING, Any, TypeAlias

import numpy as np

from icechunk._engine.changes import DELETED, ChangeSet
from icechunk._engine.format.ids import NodeId
from icechunk._engine.format.snapshot_records import ArrayNode, GroupNode
from icechunk._engine.session.conflict_detection import Found, ancestors
from icechunk._engine.session.conflict_views import Sides, View, chunk_region, open_array
from icechunk._engine.session.grid import parse_node_document
from icechunk._values.conflicts import ConflictType
from icechunk.abc.conflicts import Fail, Ours, Renumber, Theirs, Value

if TYPE_CHECKING:
    from icechunk._engine.changes.chunk_table import ChunkChange
    from icechunk._engine.session.splitting import Coords
    from icechunk.abc.conflicts import ConflictSolver, Resolution

Edit: TypeAlias = Callable[[ChangeSet], None]
"""Changes what it is called with. The chunk tables in it are shared, and replaced instead of changed."""

Index: TypeAlias = tuple[int, ...]

_KINDS = (Ours, Theirs, Value, Renumber, Fail)

_NO_ANSWER_COUNTS = frozenset(
    {
        ConflictType.MoveOperationCannotBeRebased,
        ConflictType.BaseIsNoAncestor,
        ConflictType.MoveOverNewNode,
        ConflictType.MoveOfDeletedNode,
        ConflictType.MoveIntoDeletedGroup,
    }
)


class _Unsolved(Exception):
    """A conflict stays, for a reason."""


def solve(
    sides: Sides, solver: ConflictSolver, conflicts: Sequence[Found]
) -> tuple[list[Edit], dict[int, str]]:
    """Ask about every conflict of a commit.

    Returns
    -------
    tuple
        What to do with the change set if all are solved; and for each conflict that is not, by its position, why.
    """
    asked = _Asked(sides, solver)
    edits: list[Edit] = []
    reasons: dict[int, str] = {}
    # Chunks last: what becomes of their array may settle them.
    order = sorted(range(len(conflicts)), key=lambda number: conflicts[number].chunks is not None)
    for number in order:
        found = conflicts[number]
        try:
            edits += asked.about_node(found) if found.chunks is None else asked.about_chunks(found)
        except _Unsolved as reason:
            reasons[number] = str(reason)
    return edits, reasons


class _Asked:
    """A solver, and what it has said so far about the conflicts of one commit."""

    def __init__(self, sides: Sides, solver: ConflictSolver) -> None:
        self._sides = sides
        self._solver = solver
        self._renumbered: dict[NodeId, Renumber] = {}
        self._documents: dict[NodeId, bytes] = {}
        self._without_chunks: set[NodeId] = set()

    # -- asking -----------------------------------------------------------------------------------

    def about_node(self, found: Found) -> list[Edit]:
        if found.type is ConflictType.ChunksUpdatedInUpdatedArray and found.id in self._renumbered:
            return []
        answer = self._checked(self._solver.resolve(View(self._sides, found)))
        if found.type in _NO_ANSWER_COUNTS:
            raise _meaningless(answer, found)
        return list(_NODE_EDITS[found.type](self, found, answer))

    def about_chunks(self, found: Found) -> list[Edit]:
        id, chunks = found.id, found.chunks
        if id is None or chunks is None or id in self._without_chunks:
            return []
        renumbered = self._renumbered.get(id)
        if renumbered is not None:
            # What moves out of the way is in nobody's way.
            chunks = chunks[chunks[:, renumbered.axis] < renumbered.start]
            if not len(chunks):
                return []
        return self._answers_for_chunks(found._replace(chunks=chunks), id, chunks)

    def _answers_for_chunks(self, found: Found, id: NodeId, chunks: Coords) -> list[Edit]:
        answer = self._solver.resolve_chunks(View(self._sides, found))
        if answer is not None:
            answer = self._checked(answer)
            if isinstance(answer, Ours):
                return []
            if isinstance(answer, Theirs):
                return [partial(_drop_chunks, id, chunks)]
            raise _meaningless(answer, found)
        settled: dict[Index, ChunkChange | None] = {}
        for row in chunks.tolist():
            index = tuple(row)
            try:
                answer = self._checked(self._solver.resolve(View(self._sides, found, index)))
                if isinstance(answer, Theirs):
                    settled[index] = None
                elif isinstance(answer, Value) and not isinstance(answer.value, Mapping):
                    settled[index] = self._encoded(found.path, id, index, answer.value)
                elif not isinstance(answer, Ours):
                    raise _meaningless(answer, found)
            except _Unsolved as reason:
                raise _Unsolved(f"chunk {list(index)}: {reason}" if str(reason) else "") from None
        return [partial(_settle_chunks, id, settled)] if settled else []

    def _checked(self, answer: object) -> Resolution:
        if not isinstance(answer, _KINDS):
            raise TypeError(
                f"{type(self._solver).__name__} answered {answer!r}; a conflict is resolved by an instance of "
                f"{', '.join(kind.__name__ for kind in _KINDS)}"
            )
        if isinstance(answer, Fail):
            raise _Unsolved(answer.reason)
        return answer

    # -- what the answers mean --------------------------------------------------------------------

    def _new_node(self, found: Found, answer: Resolution) -> Iterator[Edit]:
        """NewNodeConflictsWithExistingNode."""
        path, changes = found.path, self._sides.ours.changes
        theirs = self._sides.theirs.base().find_node(path)
        ours = changes.new_groups.get(path)
        both_groups = ours is not None and isinstance(theirs, GroupNode)
        if isinstance(answer, Theirs):
            yield partial(_forget_group, path) if both_groups else partial(_forget_new, path)
        elif isinstance(answer, Ours) and theirs is not None:
            if both_groups and ours is not None:
                yield partial(_forget_group, path)
                yield partial(_update_document, theirs, ours.user_data, None)
            else:
                for node in self._sides.theirs.base().nodes_under(path):
                    yield partial(_delete, node)
                yield partial(_delete, theirs)
        else:
            raise _meaningless(answer, found)

    def _invalid_group(self, found: Found, answer: Resolution) -> Iterator[Edit]:
        """NewNodeInInvalidGroup. The array is theirs, or ours with nodes of theirs below it."""
        changes, theirs = self._sides.ours.changes, self._sides.theirs.base()
        array = theirs.find_node(found.path)
        if isinstance(answer, Ours):
            below = [] if array is not None else list(theirs.nodes_under(found.path))
            for node in [array, *below]:
                if node is not None:
                    yield partial(_delete, node)
        elif isinstance(answer, Theirs):
            if array is None:
                yield partial(_forget_new, found.path)
                return
            for path in [*changes.new_groups, *changes.new_arrays]:
                if found.path in ancestors(path):
                    yield partial(_forget_new, path)
        else:
            raise _meaningless(answer, found)

    def _document(self, found: Found, answer: Resolution) -> Iterator[Edit]:
        """ZarrMetadataDoubleUpdate, LayoutUpdateOfUpdatedChunks."""
        id = _id_of(found)
        node = self._sides.theirs.base().find_node_by_id(id)
        if isinstance(answer, Theirs):
            yield partial(_drop_document, id)
        elif isinstance(answer, Value) and isinstance(answer.value, Mapping) and node is not None:
            yield self._new_document(node, answer.value)
        elif (
            isinstance(answer, Renumber)
            and isinstance(node, ArrayNode)
            and found.type is ConflictType.ZarrMetadataDoubleUpdate
        ):
            if not 0 <= answer.axis < len(node.shape):
                raise _Unsolved(f"{answer.axis} is no axis of {found.path}")
            self._renumbered[id] = answer
            yield self._new_document(node, answer.metadata)
            yield partial(_renumber, id, len(node.shape), answer)
        elif not isinstance(answer, Ours):
            raise _meaningless(answer, found)

    def _new_document(self, node: ArrayNode | GroupNode, document: Mapping[str, Any]) -> Edit:
        data = json.dumps(document, indent=2).encode()
        layout = parse_node_document(data, self._sides.ours.spec_version)
        if (layout is not None) is not isinstance(node, ArrayNode):
            raise _Unsolved(f"the new document of {node.path} makes a node of the other kind")
        self._documents[node.id] = data
        return partial(_update_document, node, data, layout)

    def _gone(self, found: Found, answer: Resolution) -> Iterator[Edit]:
        """ZarrMetadataUpdateOfDeletedArray and ...Group, ChunksUpdatedInDeletedArray."""
        if not isinstance(answer, Theirs):
            raise _meaningless(answer, found)
        self._without_chunks.add(_id_of(found))
        yield partial(_drop_document, _id_of(found))
        yield partial(_drop_table, _id_of(found))

    def _updated_array(self, found: Found, answer: Resolution) -> Iterator[Edit]:
        """ChunksUpdatedInUpdatedArray."""
        if isinstance(answer, Theirs):
            self._without_chunks.add(_id_of(found))
            yield partial(_drop_table, _id_of(found))
        elif not isinstance(answer, Ours):
            raise _meaningless(answer, found)

    def _deleted(self, found: Found, answer: Resolution) -> Iterator[Edit]:
        """DeleteOfUpdatedArray and ...Group."""
        if isinstance(answer, Theirs):
            yield partial(_undelete, found.path)
        elif not isinstance(answer, Ours):
            raise _meaningless(answer, found)

    def _their_orphan(self, found: Found, answer: Resolution) -> Iterator[Edit]:
        """DeleteOfGroupWithNewNode."""
        theirs = self._sides.theirs.base()
        node = theirs.find_node(found.path)
        if isinstance(answer, Theirs):
            for ancestor in ancestors(found.path):
                yield partial(_undelete_group, ancestor)
        elif isinstance(answer, Ours) and node is not None:
            for below in [node, *theirs.nodes_under(found.path)]:
                yield partial(_delete, below)
        else:
            raise _meaningless(answer, found)

    def _our_orphan(self, found: Found, answer: Resolution) -> Iterator[Edit]:
        """NewNodeInDeletedGroup."""
        if isinstance(answer, Theirs):
            yield partial(_forget_new, found.path)
        elif isinstance(answer, Ours):
            base, after = self._sides.base.base(), self._sides.theirs.base()
            for ancestor in ancestors(found.path):
                group = base.find_node(ancestor)
                if isinstance(group, GroupNode) and after.find_node(ancestor) is None:
                    yield partial(_create_group, group)
        else:
            raise _meaningless(answer, found)

    def _encoded(self, path: str, id: NodeId, index: Index, value: object) -> ChunkChange:
        """Encode a chunk as the array's document says, and return what stands for it in a chunk table."""
        sides = self._sides
        scratch = sides.theirs.scratch()
        node = sides.theirs.base().find_node_by_id(id)
        if not isinstance(node, ArrayNode):
            raise _Unsolved(f"there is no array at {path} any more")
        update = sides.ours.changes.updated_arrays.get(id)
        data = self._documents.get(id, None if update is None else update.user_data)
        if data is not None:
            _update_document(node, data, parse_node_document(data, sides.ours.spec_version), scratch.changes)
        region = chunk_region(json.loads(node.user_data if data is None else data), index)
        given = np.asarray(value)
        shape = tuple(span.stop - span.start for span in region)
        if given.shape != shape:
            raise _Unsolved(f"the value has the shape {given.shape}, the chunk {shape}")
        open_array(scratch, path, sides.open_store, mode="r+")[region] = given
        table = scratch.changes.chunks.get(id)
        change = None if table is None else table.find(index)
        # Zarr does not write what is all fill value, nor deletes what it takes for missing.
        return DELETED if change is None else change


_NODE_EDITS: Mapping[ConflictType, Callable[[_Asked, Found, Any], Iterator[Edit]]] = {
    ConflictType.NewNodeConflictsWithExistingNode: _Asked._new_node,
    ConflictType.NewNodeInInvalidGroup: _Asked._invalid_group,
    ConflictType.ZarrMetadataDoubleUpdate: _Asked._document,
    ConflictType.ZarrMetadataUpdateOfDeletedArray: _Asked._gone,
    ConflictType.ZarrMetadataUpdateOfDeletedGroup: _Asked._gone,
    ConflictType.ChunksUpdatedInDeletedArray: _Asked._gone,
    ConflictType.ChunksUpdatedInUpdatedArray: _Asked._updated_array,
    ConflictType.DeleteOfUpdatedArray: _Asked._deleted,
    ConflictType.DeleteOfUpdatedGroup: _Asked._deleted,
    ConflictType.DeleteOfGroupWithNewNode: _Asked._their_orphan,
    ConflictType.NewNodeInDeletedGroup: _Asked._our_orphan,
    ConflictType.LayoutUpdateOfUpdatedChunks: _Asked._document,
}


def _meaningless(answer: Resolution, found: Found) -> _Unsolved:
    return _Unsolved(f"{type(answer).__name__} is no answer to {found.type.name}")


def _id_of(found: Found) -> NodeId:
    if found.id is None:
        raise _Unsolved(f"the node at {found.path} is not known")
    return found.id


# -- edits: the change set is their last argument ----------------------------------------------------------


def _forget_group(path: str, changes: ChangeSet) -> None:
    changes.new_groups.pop(path, None)


def _forget_new(path: str, changes: ChangeSet) -> None:
    """Forget a node that the session created, and all that it created below it."""
    for created in (changes.new_groups, changes.new_arrays):
        for new in [new for new in created if new == path or path in ancestors(new)]:
            changes.chunks.pop(created.pop(new).id, None)


def _update_document(node: ArrayNode | GroupNode, data: bytes, layout: Any, changes: ChangeSet) -> None:
    if isinstance(node, ArrayNode):
        changes.set_array(node.path, node.id, data, layout.shape, layout.dimension_names, in_base=True)
    elif data != node.user_data:
        changes.set_group(node.path, node.id, data, in_base=True)


def _drop_document(id: NodeId, changes: ChangeSet) -> None:
    changes.updated_arrays.pop(id, None)
    changes.updated_groups.pop(id, None)


def _drop_table(id: NodeId, changes: ChangeSet) -> None:
    changes.chunks.pop(id, None)


def _drop_chunks(id: NodeId, coords: Coords, changes: ChangeSet) -> None:
    table = changes.chunks.get(id)
    if table is not None:
        changes.chunks[id] = table.without(coords)


def _settle_chunks(id: NodeId, settled: Mapping[Index, ChunkChange | None], changes: ChangeSet) -> None:
    """Give chunks another change, or none."""
    coords = np.array(list(settled), np.uint32).reshape(len(settled), len(next(iter(settled))))
    table = changes.chunks[id] = changes.chunk_table(id).without(coords)
    for index, change in settled.items():
        if change is DELETED:
            table.delete(index)
        elif change is not None:
            table.set(index, change)


def _renumber(id: NodeId, ndim: int, how: Renumber, changes: ChangeSet) -> None:
    table = changes.chunks.get(id)
    if table is not None:
        changes.chunks[id] = table.renumbered(ndim, how.axis, how.start, how.offset)


def _delete(node: ArrayNode | GroupNode, changes: ChangeSet) -> None:
    """Delete a node of the snapshot; what the session has created at its path stays."""
    deleted = changes.deleted_arrays if isinstance(node, ArrayNode) else changes.deleted_groups
    deleted[node.path] = node.id
    _drop_document(node.id, changes)
    _drop_table(node.id, changes)


def _undelete(path: str, changes: ChangeSet) -> None:
    """Leave a node that the session deleted where it is, and the groups above it."""
    if changes.deleted_arrays.pop(path, None) or changes.deleted_groups.pop(path, None):
        _forget_new(path, changes)
    for ancestor in ancestors(path):
        _undelete_group(ancestor, changes)


def _undelete_group(path: str, changes: ChangeSet) -> None:
    if path not in changes.new_groups and path not in changes.new_arrays:
        changes.deleted_groups.pop(path, None)


def _create_group(group: GroupNode, changes: ChangeSet) -> None:
    if group.path not in changes.new_groups:
        changes.set_group(group.path, NodeId.random(), group.user_data, in_base=False)

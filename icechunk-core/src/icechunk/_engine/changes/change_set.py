"""What a session has changed and not committed: nodes, chunks and moves.

Semantics, section 3. Pure: no I/O, no locks. The session that owns a change set guards it.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, NamedTuple

from icechunk._engine.changes.chunk_table import ChunkTable
from icechunk._engine.changes.moves import Moves
from icechunk._engine.changes.packing import PackedTables, pack_tables, unpack_tables

if TYPE_CHECKING:
    from icechunk._engine.format.ids import NodeId
    from icechunk._engine.format.snapshot_records import DimensionShape


class NewGroup(NamedTuple):
    """A group that the session created. `user_data` is its `zarr.json`."""

    id: NodeId
    user_data: bytes


class NewArray(NamedTuple):
    """An array that the session created. `user_data` is its `zarr.json`."""

    id: NodeId
    user_data: bytes
    shape: tuple[DimensionShape, ...]
    dimension_names: tuple[str | None, ...] | None


class ArrayUpdate(NamedTuple):
    """New metadata for an array that the base snapshot has."""

    user_data: bytes
    shape: tuple[DimensionShape, ...]
    dimension_names: tuple[str | None, ...] | None


@dataclass(slots=True)
class ChangeSet:
    """Everything that a session has changed since its base snapshot.

    A path can be both deleted and new: the node that was there is gone, another one took its
    place. Chunks of deleted nodes are not kept. There are moves, or there is everything else: one
    session never does both.
    """

    new_groups: dict[str, NewGroup] = field(default_factory=dict)
    new_arrays: dict[str, NewArray] = field(default_factory=dict)
    updated_groups: dict[NodeId, bytes] = field(default_factory=dict)
    updated_arrays: dict[NodeId, ArrayUpdate] = field(default_factory=dict)
    deleted_groups: dict[str, NodeId] = field(default_factory=dict)
    deleted_arrays: dict[str, NodeId] = field(default_factory=dict)
    chunks: dict[NodeId, ChunkTable] = field(default_factory=dict)
    moves: Moves = field(default_factory=Moves)
    has_dropped_chunks: bool = False
    """Whether chunks were changed of an array that was deleted since: to the reference that is a change.

    It goes with a copy and a pickle, but not into what the changes are merged into, as there.
    """

    @property
    def is_empty(self) -> bool:
        """Whether nothing was changed. Changes that cancel each other out count."""
        return not (
            self.chunks
            or self.new_arrays
            or self.new_groups
            or self.updated_arrays
            or self.updated_groups
            or self.deleted_arrays
            or self.deleted_groups
            or self.moves
            or self.has_dropped_chunks
        )

    def __reduce__(self) -> tuple[object, ...]:
        # Chunks as a few buffers: a fork brings home very many of them.
        return _unpickled, (
            self.new_groups,
            self.new_arrays,
            self.updated_groups,
            self.updated_arrays,
            self.deleted_groups,
            self.deleted_arrays,
            pack_tables(self.chunks),
            self.moves,
            self.has_dropped_chunks,
        )

    def copy(self) -> ChangeSet:
        """Return a change set that does not change with this one; but its chunk tables do."""
        return ChangeSet(
            new_groups=self.new_groups.copy(),
            new_arrays=self.new_arrays.copy(),
            updated_groups=self.updated_groups.copy(),
            updated_arrays=self.updated_arrays.copy(),
            deleted_groups=self.deleted_groups.copy(),
            deleted_arrays=self.deleted_arrays.copy(),
            chunks=self.chunks.copy(),
            moves=self.moves,
            has_dropped_chunks=self.has_dropped_chunks,
        )

    @property
    def num_chunk_changes(self) -> int:
        """How many chunks were set or deleted; those that were changed again in bulk count twice."""
        return sum(map(len, self.chunks.values()))

    def is_deleted(self, path: str) -> bool:
        """Whether the session has deleted a node that was at `path`."""
        return path in self.deleted_arrays or path in self.deleted_groups

    def deletes(self, path: str, id: NodeId) -> bool:
        """Whether the node with this id at `path` is deleted.

        After a rebase there may be another at the path, which somebody else has put there.
        """
        return self.deleted_arrays.get(path) == id or self.deleted_groups.get(path) == id

    def set_group(self, path: str, id: NodeId, user_data: bytes, *, in_base: bool) -> None:
        """Create a group, or give one that is there new metadata."""
        if in_base:
            self.updated_groups[id] = user_data
        else:
            self.new_groups[path] = NewGroup(id, user_data)

    def set_array(
        self,
        path: str,
        id: NodeId,
        user_data: bytes,
        shape: tuple[DimensionShape, ...],
        dimension_names: tuple[str | None, ...] | None,
        *,
        in_base: bool,
    ) -> None:
        """Create an array, or give one that is there new metadata."""
        if in_base:
            self.updated_arrays[id] = ArrayUpdate(user_data, shape, dimension_names)
        else:
            self.new_arrays[path] = NewArray(id, user_data, shape, dimension_names)

    def delete_node(self, path: str, id: NodeId, *, is_array: bool, in_base: bool) -> None:
        """Forget a node that the session created, or record that one of the base is gone."""
        dropped = self.chunks.pop(id, None)
        if dropped is not None and len(dropped):
            self.has_dropped_chunks = True
        if is_array:
            self.new_arrays.pop(path, None)
            self.updated_arrays.pop(id, None)
            if in_base:
                self.deleted_arrays[path] = id
        else:
            self.new_groups.pop(path, None)
            self.updated_groups.pop(id, None)
            if in_base:
                self.deleted_groups[path] = id

    def chunk_table(self, id: NodeId) -> ChunkTable:
        """Return the table of an array's chunks, made if there is none."""
        table = self.chunks.get(id)
        if table is None:
            table = self.chunks[id] = ChunkTable()
        return table


def _unpickled(
    new_groups: dict[str, NewGroup],
    new_arrays: dict[str, NewArray],
    updated_groups: dict[NodeId, bytes],
    updated_arrays: dict[NodeId, ArrayUpdate],
    deleted_groups: dict[str, NodeId],
    deleted_arrays: dict[str, NodeId],
    chunks: PackedTables | None,
    moves: Moves,
    has_dropped_chunks: bool,
) -> ChangeSet:
    return ChangeSet(
        new_groups,
        new_arrays,
        updated_groups,
        updated_arrays,
        deleted_groups,
        deleted_arrays,
        unpack_tables(chunks),
        moves,
        has_dropped_chunks,
    )

"""What a transaction log says of a commit, and of one that takes the place of another."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from icechunk._engine.format.coordinates import order_last_wins
from icechunk._engine.format.transaction_log import Move, TransactionLog

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from icechunk._engine.changes import ChangeSet
    from icechunk._engine.format.arrays import U32Column
    from icechunk._engine.format.ids import NodeId, SnapshotId


def log_of(
    id: SnapshotId,
    changes: ChangeSet,
    *,
    updated_chunks: Mapping[NodeId, U32Column],
    moved_nodes: Iterable[Move],
) -> TransactionLog:
    """Return the log of a change set; `id` is that of the snapshot that it becomes."""
    return TransactionLog(
        id=id,
        new_groups=[group.id for group in changes.new_groups.values()],
        new_arrays=[array.id for array in changes.new_arrays.values()],
        deleted_groups=list(changes.deleted_groups.values()),
        deleted_arrays=list(changes.deleted_arrays.values()),
        updated_groups=list(changes.updated_groups),
        updated_arrays=list(changes.updated_arrays),
        updated_chunks=updated_chunks,
        moved_nodes=list(moved_nodes),
    )


def merged_logs(first: TransactionLog, second: TransactionLog) -> TransactionLog:
    """Return the log of a commit that does what two did, under the id of the second.

    Nothing cancels out but moves: a node that one created and the other deleted is in both lists,
    as with the reference.
    """
    return TransactionLog(
        id=second.id,
        new_groups=[*{*first.new_groups, *second.new_groups}],
        new_arrays=[*{*first.new_arrays, *second.new_arrays}],
        deleted_groups=[*{*first.deleted_groups, *second.deleted_groups}],
        deleted_arrays=[*{*first.deleted_arrays, *second.deleted_arrays}],
        updated_groups=[*{*first.updated_groups, *second.updated_groups}],
        updated_arrays=[*{*first.updated_arrays, *second.updated_arrays}],
        updated_chunks=_merged_chunks(first.updated_chunks, second.updated_chunks),
        moved_nodes=_merged_moves(first.moved_nodes, second.moved_nodes),
    )


def _merged_chunks(
    first: Mapping[NodeId, U32Column], second: Mapping[NodeId, U32Column]
) -> dict[NodeId, U32Column]:
    merged = {id: first[id] for id in first}
    for id, coords in second.items():
        before = merged.get(id)
        # An array that got another number of dimensions in between: the chunks that it had then are
        # none that anybody could ask for now.
        if before is not None and before.shape[1] == coords.shape[1]:
            both = np.concatenate([before, coords])
            order = order_last_wins(both)
            coords = both if order is None else both[order]
        merged[id] = coords
    return merged


def _merged_moves(first: Iterable[Move], second: Iterable[Move]) -> list[Move]:
    moves = {move.node_id: move for move in first}
    for move in second:
        before = moves.pop(move.node_id, None)
        from_path = move.from_path if before is None else before.from_path
        if from_path != move.to_path:
            moves[move.node_id] = Move(from_path, move.to_path, move.node_id, move.is_array)
    return list(moves.values())

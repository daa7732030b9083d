"""Transaction logs of several commits: found if they are there, and their chunks put together."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from icechunk._engine.format.coordinates import order_last_wins
from icechunk.errors import ErrorKind, FormatError, ObjectNotFoundError

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from icechunk._engine.assets.assets import Assets
    from icechunk._engine.format.arrays import U32Column
    from icechunk._engine.format.ids import NodeId, SnapshotId
    from icechunk._engine.format.transaction_log import TransactionLog


def load_log_if_there(assets: Assets, id: SnapshotId) -> TransactionLog | None:
    """Return a log that may be gone: clients of before 2.1 collect those of expired snapshots."""
    try:
        return assets.load_transaction_log(id)
    except ObjectNotFoundError:
        return None


def merged_chunks(logs: Sequence[TransactionLog]) -> dict[NodeId, U32Column]:
    """Return for each array the chunks that any of the logs has, in order, each once.

    One log alone is returned as it stands.

    Raises
    ------
    FormatError
        The logs do not agree on the number of an array's dimensions.
    """
    if len(logs) == 1:
        return dict(logs[0].updated_chunks)
    chunks: dict[NodeId, list[U32Column]] = {}
    for log in logs:
        for id, coords in log.updated_chunks.items():
            chunks.setdefault(id, []).append(coords)
    return {id: union_of_coords(columns, id) for id, columns in chunks.items()}


def merged_moves(logs: Iterable[TransactionLog]) -> list[tuple[str, str]]:
    """Return from where to where the logs, oldest first, have moved each node, in order of destination.

    A node that came back is not mentioned.
    """
    moved: dict[NodeId, tuple[str, str]] = {}
    for log in logs:
        for move in log.moved_nodes:
            origin, _ = moved.get(move.node_id, (move.from_path, ""))
            moved[move.node_id] = (origin, move.to_path)
    moves = [(origin, target) for origin, target in moved.values() if origin != target]
    return sorted(moves, key=lambda move: move[1].split("/"))


def column_of(rows: list[tuple[int, ...]], id: NodeId) -> U32Column:
    """Return the coordinates of chunks of one array as a column.

    Raises
    ------
    FormatError
        They do not have the same number of dimensions.
    """
    ndim = len(rows[0]) if rows else 0
    if any(len(row) != ndim for row in rows):
        raise _other_dimensions(id)
    return np.array(rows, np.uint32).reshape(len(rows), ndim)


def union_of_coords(columns: list[U32Column], id: NodeId) -> U32Column:
    """Return the coordinates of one array's chunks, in order, each once. At least one column.

    Raises
    ------
    FormatError
        The columns do not have the same number of dimensions.
    """
    filled = [coords for coords in columns if len(coords)]
    if not filled:
        return columns[0]
    if any(coords.shape[1] != filled[0].shape[1] for coords in filled):
        raise _other_dimensions(id)
    # Old writers did not sort what they wrote, so one column alone is looked at as well.
    coords = filled[0] if len(filled) == 1 else np.concatenate(filled)
    order = order_last_wins(coords)
    return coords if order is None else coords[order]


def _other_dimensions(id: NodeId) -> FormatError:
    return FormatError(
        f"transaction logs have chunks of node {id} with different numbers of dimensions",
        kind=ErrorKind.INVALID_FILE_FORMAT,
    )

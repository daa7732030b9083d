"""Questions about a session that are not reads of it: its status, ids of nodes, where a chunk is."""

from __future__ import annotations

from operator import index
from typing import TYPE_CHECKING

from icechunk._engine.format.chunk_refs import InlineRef, NativeRef
from icechunk._engine.format.transaction_log import TransactionLog
from icechunk._engine.session.commit import is_at
from icechunk._engine.session.keys import absolute_path, chunk_keys
from icechunk._engine.session.reading import ArrayEntry
from icechunk._engine.session.rearranged import moved_nodes
from icechunk._engine.session.session import node_not_found, not_an_array
from icechunk._values.diff import Diff
from icechunk._values.enums import ChunkType

if TYPE_CHECKING:
    from collections.abc import Sequence

    from icechunk._engine.changes import Moves
    from icechunk._engine.format.ids import NodeId
    from icechunk._engine.format.snapshot import Snapshot
    from icechunk._engine.session.session import EngineSession


def status(session: EngineSession) -> Diff:
    """Return what the session has changed since its base snapshot."""
    changes = session.changes
    base = session.base()
    paths: dict[NodeId, str] = {array.id: path for path, array in changes.new_arrays.copy().items()}
    paths |= {group.id: path for path, group in changes.new_groups.copy().items()}

    def path_of(id: NodeId) -> str | None:
        path = paths.get(id)
        if path is None:
            node = base.find_node_by_id(id)
            path = None if node is None else node.path
        return path

    def still_there(deleted: dict[str, NodeId]) -> list[str]:
        return [path for path, id in deleted.copy().items() if is_at(base, path, id)]

    def ndim_of(path: str) -> int:
        node = session.find_node(path)
        return len(node.num_chunks) if isinstance(node, ArrayEntry) else 0

    chunk_paths = [(path_of(id), table) for id, table in changes.chunks.copy().items()]
    return Diff(
        new_groups=list(changes.new_groups),
        new_arrays=list(changes.new_arrays),
        # After a rebase, what the session deleted may be gone already.
        deleted_groups=still_there(changes.deleted_groups),
        deleted_arrays=still_there(changes.deleted_arrays),
        updated_groups=_known(map(path_of, list(changes.updated_groups))),
        updated_arrays=_known(map(path_of, list(changes.updated_arrays))),
        updated_chunks={
            path: table.touched_coords(ndim_of(path)) for path, table in chunk_paths if path is not None
        },
        moved_nodes=_moves(base, changes.moves),
    )


def _moves(base: Snapshot, moves: Moves) -> list[tuple[str, str]]:
    """Return from where to where each node was moved, in the order of a transaction log."""
    log = TransactionLog(id=base.id, moved_nodes=[node.record for node in moved_nodes(base, moves)])
    return [(move.from_path, move.to_path) for move in log.moved_nodes]


def node_id(session: EngineSession, path: str) -> NodeId:
    """Return the id of a node, which it keeps for as long as it exists.

    Raises
    ------
    NodeNotFoundError
        There is no such node.
    InvalidInputError
        `path` is not absolute.
    """
    node = session.find_node(absolute_path(path))
    if node is None:
        raise node_not_found(path, prefix="session error: ")
    return node.id


def chunk_type(session: EngineSession, path: str, coords: Sequence[int]) -> ChunkType:
    """Return where the bytes of a chunk are; of one that the array's grid does not have, nowhere.

    Raises
    ------
    NodeNotFoundError
        There is no such array.
    InvalidInputError
        `path` is not absolute, or is that of a group.
    """
    node = session.find_node(absolute_path(path))
    if node is None:
        raise node_not_found(path, prefix="session error: ")
    if not isinstance(node, ArrayEntry):
        raise not_an_array(path, prefix="session error: ")
    place = tuple(map(index, coords))
    if any(coord < 0 for coord in place) or not node.holds(place):
        return ChunkType.uninitialized
    [key] = chunk_keys(node.path, [place])
    ref = session.load(key)
    if ref is None:
        return ChunkType.uninitialized
    if isinstance(ref, InlineRef):
        return ChunkType.inline
    return ChunkType.native if isinstance(ref, NativeRef) else ChunkType.virtual


def _known(paths: map[str | None]) -> list[str]:
    return [path for path in paths if path is not None]

"""The nodes of a base snapshot, at the paths that moves have given them."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from icechunk._engine.format.snapshot_records import ArrayNode
from icechunk._engine.format.transaction_log import Move

if TYPE_CHECKING:
    from collections.abc import Iterator

    from icechunk._engine.changes import Moves
    from icechunk._engine.format.snapshot import Snapshot
    from icechunk._engine.format.snapshot_records import Node


class MovedNode(NamedTuple):
    """A node that is at another path than in the base snapshot, where it is still as it was."""

    path: str
    before: Node

    @property
    def record(self) -> Move:
        """What the transaction log says of it."""
        return Move(self.before.path, self.path, self.before.id, isinstance(self.before, ArrayNode))


def moved_nodes(base: Snapshot, moves: Moves) -> Iterator[MovedNode]:
    """Yield every node that is at another path now, in no special order."""
    for root, origin in moves.subtrees():
        top = base.find_node(origin)
        for node in [*([] if top is None else [top]), *base.nodes_under(origin)]:
            path = root + node.path[len(origin) :]
            # Not what was moved on from inside, nor what is back where it was.
            if path != node.path and moves.origin(path) == node.path:
                yield MovedNode(path, node)


def paths_under(base: Snapshot, moves: Moves, path: str) -> Iterator[str]:
    """Yield the paths of all nodes that are below `path` now."""
    if not moves:
        yield from base.paths_under(path)
        return
    origin = moves.origin(path)
    if origin is not None:
        yield from _paths_under(base, moves, path, origin)
    for root, origin in moves.subtrees(path):
        if base.find_node(origin) is not None:
            yield root
        yield from _paths_under(base, moves, root, origin)


def _paths_under(base: Snapshot, moves: Moves, root: str, origin: str) -> Iterator[str]:
    """Yield what is below `root` now, of that which was below `origin`."""
    for before in base.paths_under(origin):
        now = root + before[len(origin) :]
        if moves.origin(now) == before:
            yield now

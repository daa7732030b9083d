"""What differs between two snapshots, one of which descends from the other.

Protocol 3.7, semantics 10. The transaction logs of the commits in between say it, and both snapshots
tell under which paths the nodes are.
"""

from __future__ import annotations

import logging
from functools import partial
from typing import TYPE_CHECKING

from icechunk._engine.assets.fanout import run_all
from icechunk._engine.repository.transaction_logs import column_of, load_log_if_there, union_of_coords
from icechunk._values.diff import Diff
from icechunk.errors import ErrorKind, InvalidInputError

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from icechunk._engine.assets.assets import Assets
    from icechunk._engine.format.arrays import U32Column
    from icechunk._engine.format.ids import NodeId, SnapshotId
    from icechunk._engine.format.snapshot import Snapshot
    from icechunk._engine.format.transaction_log import TransactionLog
    from icechunk._engine.repository.records import RefsAndHistory, SnapshotRecord

_log = logging.getLogger("icechunk.repository")

# Logs that are fetched side by side, and in memory together.
_FETCHED_TOGETHER = 64

_FEW_CHUNKS = 16


def diff(assets: Assets, history: RefsAndHistory, origin: SnapshotId, target: SnapshotId) -> Diff:
    """Return what the commits behind `origin`, up to `target`, have changed.

    Changes are gathered, not netted: what was created and then updated is in both sets. Nodes that
    neither snapshot has, because they came and went in between, are left out.

    Raises
    ------
    InvalidInputError
        `origin` is no proper ancestor of `target`.
    ObjectNotFoundError
        A transaction log is gone.
    """
    commits = _commits_between(history, origin, target)
    # Both snapshots must be there; the logs may be many.
    before, after = run_all([partial(assets.load_snapshot, id) for id in (origin, target)])
    return _gathered(_fetch_logs(assets, commits), before, after)


def _commits_between(history: RefsAndHistory, origin: SnapshotId, target: SnapshotId) -> list[SnapshotRecord]:
    """Return the descendants of `origin` up to `target`, newest first; at least one."""
    history.check_snapshot(origin)
    commits = []
    for record in history.ancestry(target):
        if record.id == origin:
            break
        commits.append(record)
    else:
        commits = []
    if not commits:
        raise InvalidInputError(
            f"session error: `to` snapshot ancestry doesn't include `from`: {origin} is no ancestor of {target}",
            kind=ErrorKind.BAD_SNAPSHOT_CHAIN_FOR_DIFF,
        )
    return commits


def _fetch_logs(assets: Assets, commits: list[SnapshotRecord]) -> Iterator[TransactionLog]:
    """Yield the logs of commits, newest first, each behind those that expiration left to it."""
    wanted: list[tuple[SnapshotId, SnapshotId]] = []
    for record in commits:
        wanted += [(id, record.id) for id in (*record.pruned_ancestor_tx_logs, record.id)]
    loads = (partial(_load_log, assets, id, heir) for id, heir in wanted)
    for log in assets.stream_requests(loads, together=_FETCHED_TOGETHER):
        if log is not None:
            yield log


def _load_log(assets: Assets, id: SnapshotId, heir: SnapshotId) -> TransactionLog | None:
    """Return a log; None if it is gone and was only left to snapshot `heir` by expiration."""
    if id == heir:
        return assets.load_transaction_log(id)
    log = load_log_if_there(assets, id)
    if log is None:
        _log.warning(
            "the transaction log of %s, an expired ancestor of %s, is missing; the diff lacks its changes",
            id,
            heir,
        )
    return log


def _gathered(logs: Iterable[TransactionLog], before: Snapshot, after: Snapshot) -> Diff:
    new_groups: set[NodeId] = set()
    new_arrays: set[NodeId] = set()
    deleted_groups: set[NodeId] = set()
    deleted_arrays: set[NodeId] = set()
    updated_groups: set[NodeId] = set()
    updated_arrays: set[NodeId] = set()
    chunks: dict[NodeId, list[U32Column]] = {}
    # Of logs with few chunks, as most are, tuples: a column for each would take twice as long.
    few_chunks: dict[NodeId, list[tuple[int, ...]]] = {}
    moves: list[tuple[str, str]] = []
    for log in logs:
        new_groups.update(log.new_groups)
        new_arrays.update(log.new_arrays)
        deleted_groups.update(log.deleted_groups)
        deleted_arrays.update(log.deleted_arrays)
        updated_groups.update(log.updated_groups)
        updated_arrays.update(log.updated_arrays)
        for id in log.updated_chunks:
            few = log.few_updated_chunks(id, _FEW_CHUNKS)
            if few is None:
                chunks.setdefault(id, []).append(log.updated_chunks[id])
            else:
                few_chunks.setdefault(id, []).extend(few)
        moves += [(move.from_path, move.to_path) for move in log.moved_nodes]

    for id, rows in few_chunks.items():
        chunks.setdefault(id, []).append(column_of(rows, id))
    paths = _Paths(before, after)
    return Diff(
        new_groups=paths.of_all(new_groups),
        new_arrays=paths.of_all(new_arrays),
        deleted_groups=paths.of_all(deleted_groups),
        deleted_arrays=paths.of_all(deleted_arrays),
        updated_groups=paths.of_all(updated_groups),
        updated_arrays=paths.of_all(updated_arrays),
        updated_chunks={path: union_of_coords(chunks[id], id) for path, id in paths.owners(chunks).items()},
        moved_nodes=moves,
    )


class _Paths:
    """Where nodes are afterwards; those that are gone, where they were before."""

    def __init__(self, before: Snapshot, after: Snapshot) -> None:
        self._before = before
        self._after = after

    def of_all(self, ids: Iterable[NodeId]) -> set[str]:
        """Return the paths of those nodes that have one."""
        nodes = (self._after.find_node_by_id(id) or self._before.find_node_by_id(id) for id in ids)
        return {node.path for node in nodes if node is not None}

    def owners(self, ids: Iterable[NodeId]) -> dict[str, NodeId]:
        """Return the nodes by path. If there were two at one path, it is the one that is there now."""
        by_path: dict[str, NodeId] = {}
        gone: dict[str, NodeId] = {}
        for id in ids:
            if (node := self._after.find_node_by_id(id)) is not None:
                by_path[node.path] = id
            elif (node := self._before.find_node_by_id(id)) is not None:
                gone[node.path] = id
        return {**gone, **by_path}

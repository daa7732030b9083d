"""Puts the changes of a session on top of what others have committed to its branch meanwhile.

Protocol 3.6. Reads the history and one transaction log for each commit; snapshots and chunks only where a conflict
is looked at. Writes nothing but chunks that a solver has made.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator, Mapping, Sequence
from functools import partial
from itertools import islice
from typing import TYPE_CHECKING

from icechunk._engine.session.conflict_detection import Found, find_conflicts
from icechunk._engine.session.conflict_solving import solve
from icechunk._engine.session.conflict_views import OpenStore, Sides
from icechunk._engine.session.kinds import commit_refused
from icechunk._values.conflicts import Conflict, ConflictType
from icechunk.errors import (
    ConflictError,
    ErrorKind,
    ObjectNotFoundError,
    RebaseFailedError,
    SessionStateError,
)

if TYPE_CHECKING:
    from icechunk._engine.changes import ChangeSet
    from icechunk._engine.format.ids import SnapshotId
    from icechunk._engine.format.transaction_log import TransactionLog
    from icechunk._engine.format.values import JsonValue
    from icechunk._engine.session.history import NewerCommit
    from icechunk._engine.session.session import EngineSession
    from icechunk.abc.conflicts import ConflictSolver

_log = logging.getLogger("icechunk.session")

# Logs that are fetched ahead, side by side, from remote storage.
_FETCHED_TOGETHER = 16

_ATTEMPTS = "rebase_attempts"
_OURS = "__icechunk"


def rebase(session: EngineSession, solver: ConflictSolver, open_store: OpenStore) -> bool:
    """Base the session on the tip of its branch. Returns whether that has moved it.

    Edits by other threads are refused while this goes on. The session is rebased over one commit after the other;
    if that fails, it keeps its changes and is based on the last commit that went well.

    Raises
    ------
    SessionStateError
        The session has no branch; or, of kind ``rebase-tx-log-pruned``, nobody knows any more what
        a commit has changed.
    RebaseFailedError
        There are conflicts that the solver does not solve.
    """
    with session.publishing():
        if session.branch is None:
            raise commit_refused()
        if session.has_landed():
            # What others seem to have committed is this session's own; its next commit notices.
            return False
        return _rebase(session, solver, open_store)


def commit_rebasing(
    session: EngineSession,
    message: str,
    metadata: Mapping[str, JsonValue],
    *,
    solver: ConflictSolver,
    tries: int,
    open_store: OpenStore,
    allow_empty: bool,
) -> SnapshotId:
    """Commit; as long as somebody else was faster, rebase and commit again, up to `tries` times.

    Raises
    ------
    ConflictError
        Somebody else was faster each time.
    RebaseFailedError
        There are conflicts that the solver does not solve.
    """
    for attempt in range(tries):
        try:
            return session.commit(message, _with_attempts(metadata, attempt), allow_empty=allow_empty)
        except ConflictError as error:
            if not rebase(session, solver, open_store) and error.actual_parent is None:
                # The branch is gone (spec 1): no number of tries brings it back.
                raise
    return session.commit(message, _with_attempts(metadata, tries), allow_empty=allow_empty)


def _with_attempts(metadata: Mapping[str, JsonValue], attempt: int) -> dict[str, JsonValue]:
    there = metadata.get(_OURS)
    fields = dict(there) if isinstance(there, Mapping) else {}
    return {**metadata, _OURS: {**fields, _ATTEMPTS: attempt}}


def _rebase(session: EngineSession, solver: ConflictSolver, open_store: OpenStore) -> bool:
    branch, base = session.branch, session.snapshot_id
    newer = None if branch is None else session.history.newer_commits(branch, base)
    if newer is None:
        _log.warning("nothing to rebase on: the branch %s was deleted", branch)
        return False
    if not newer.descends:
        raise _failed(newer.tip, [Found(ConflictType.BaseIsNoAncestor, "")], {})
    for commit, logs in _with_logs(session, newer.commits):
        changes = session.changes
        for log in logs:
            changes = _rebased(session, changes, commit.id, log, solver, open_store)
        session.move_base(commit.id, changes)
    return session.snapshot_id != base


def _rebased(
    session: EngineSession,
    changes: ChangeSet,
    id: SnapshotId,
    log: TransactionLog,
    solver: ConflictSolver,
    open_store: OpenStore,
) -> ChangeSet:
    """Return the changes as they are on top of a commit. The session is left alone."""
    found = find_conflicts(changes, log, session.base, partial(session.assets.load_snapshot, id))
    if not found:
        return changes
    base = session.snapshot_id
    sides = Sides(
        base=session.reading(base),
        ours=session.reading(base, changes),
        theirs=session.reading(id),
        open_store=open_store,
    )
    edits, reasons = solve(sides, solver, found)
    if reasons:
        raise _failed(id, found, reasons)
    if edits:
        changes = changes.copy()
        for edit in edits:
            edit(changes)
    return changes


def _failed(id: SnapshotId, found: Sequence[Found], reasons: Mapping[int, str]) -> RebaseFailedError:
    conflicts: list[Conflict] = [each.public() for each in found]
    return RebaseFailedError(
        str(id), conflicts, [reasons.get(number) or None for number in range(len(found))]
    )


def _with_logs(
    session: EngineSession, commits: Sequence[NewerCommit]
) -> Iterator[tuple[NewerCommit, list[TransactionLog]]]:
    """Yield commits with what they and their forgotten ancestors have changed, oldest first."""
    loads = (
        partial(_load_log, session, id, commit) for commit in commits for id in (*commit.pruned, commit.id)
    )
    logs = session.assets.stream_requests(loads, together=_FETCHED_TOGETHER)
    for commit in commits:
        yield commit, list(islice(logs, len(commit.pruned) + 1))


def _load_log(session: EngineSession, id: SnapshotId, commit: NewerCommit) -> TransactionLog:
    try:
        return session.assets.load_transaction_log(id)
    except ObjectNotFoundError:
        if id == commit.id:
            raise
        raise SessionStateError(
            f"cannot rebase: transaction log `{id}` of an expiration-pruned ancestor of {commit.id} is missing; "
            "what it changed is not known any more. Make the changes again in a new session",
            kind=ErrorKind.REBASE_TX_LOG_PRUNED,
        ) from None

"""Forks: sessions that go to other processes, write there, and come back to be merged.

Protocol 3.4 and semantics 11. A fork is based on a snapshot of its session's state, which no history knows:
it is a base for the work of a few hours, not for more.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from icechunk._engine.changes.merging import BaseNodes
from icechunk._engine.session.commit import write_changes
from icechunk._engine.session.kinds import (
    SessionKind,
    edit_refused,
    fork_refused,
    merge_refused,
)
from icechunk._engine.session.session import EngineSession

if TYPE_CHECKING:
    from collections.abc import Sequence

    from icechunk._engine.changes import ChangeSet
    from icechunk._engine.format.ids import NodeId
    from icechunk.errors import IcechunkError

_MESSAGE = "fork"


def fork_session(session: EngineSession) -> EngineSession:
    """Make a session that sees what this one sees now, has no changes of its own, and pickles.

    If there are changes, they are written as a snapshot, which is not made known to anybody.

    Raises
    ------
    SessionStateError
        The session is read-only; or it has moved nodes, and a feature flag forbids that.
    """
    if session.is_read_only:
        raise fork_refused()
    with session.publishing():
        id = session.snapshot_id
        if not session.changes.is_empty:
            if session.kind is SessionKind.REARRANGE:
                session.history.check_rearrangement("session error: flush rearrange session")
            snapshot, _seen = write_changes(session, _MESSAGE, {}, look=False)
            id = snapshot.id
    return EngineSession(session.assets, session.history, id, config=session.config, kind=SessionKind.FORK)


def merge_sessions(session: EngineSession, others: Sequence[EngineSession]) -> None:
    """Put the changes of other sessions, usually forks, over those of this one, in their order.

    The others stay as they are. If one does not fit, those before it stay merged.

    Raises
    ------
    ReadOnlyError
        The session is read-only.
    SessionStateError
        One of them is for moves, or has a branch, and this is a fork; or, of kind
        ``merge-failed``, several have created, updated or deleted the same nodes.
    """
    many: list[ChangeSet] = []
    refusal: IcechunkError | None = None
    for other in others:
        refusal = _refusal(session, other)
        if refusal is not None:
            break
        many.append(other.changes.copy())
    if any(not changes.is_empty for changes in many):
        base = session.base()  # loads it, if it has to be, before the lock is taken

        def find_id(path: str) -> NodeId | None:
            node = base.find_node(path)
            return None if node is None else node.id

        session.merge(many, BaseNodes(find_id, lambda id: session.base_node(id) is not None))
    if refusal is not None:
        raise refusal


def _refusal(session: EngineSession, other: EngineSession) -> IcechunkError | None:
    if session.kind is SessionKind.FORK and other.branch is not None:
        return merge_refused()
    for each in (session, other):
        if each.kind is SessionKind.REARRANGE:
            return edit_refused(each.kind, prefix="session error: ")
    if session.is_read_only:
        return edit_refused(session.kind, prefix="session error: ")
    return None

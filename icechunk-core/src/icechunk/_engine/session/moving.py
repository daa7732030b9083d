"""Moving a node in a rearrange session, and the rules of what may go where.

Semantics, section 7.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from icechunk._engine.session.keys import absolute_path
from icechunk._engine.session.kinds import needs_spec_2
from icechunk._engine.session.listing import nodes_within
from icechunk._engine.session.reading import ArrayEntry
from icechunk._engine.session.session import node_not_found
from icechunk.errors import AlreadyExistsError, ErrorKind, SessionStateError

if TYPE_CHECKING:
    from icechunk._engine.session.session import EngineSession


def move_node(session: EngineSession, from_path: str, to_path: str) -> None:
    """Move a node, and everything below it, to another path.

    Raises
    ------
    InvalidInputError
        A path is not absolute.
    FormatError
        The repository is of spec version 1.
    ReadOnlyError
        The session is read-only.
    SessionStateError
        It is not for moves; or the target is below the source, or not in a group.
    NodeNotFoundError
        There is nothing to move.
    AlreadyExistsError
        Something is at the target, or below it.
    """
    source, target = absolute_path(from_path), absolute_path(to_path)
    if session.spec_version < 2:
        raise needs_spec_2(prefix="session error: ")
    # What is wrong with the paths is said first, whatever the session. It also loads the base snapshot,
    # if it has to be, before the lock is taken.
    _check(session, source, target)
    with session.moving() as moves:
        _check(session, source, target)
        moves.move(source, target)


def _check(session: EngineSession, source: str, target: str) -> None:
    if session.find_node(source) is None:
        raise node_not_found(source, prefix="session error: ")
    if source == "/" or f"{target}/".startswith(f"{source}/"):
        raise SessionStateError(
            f"session error: cannot move `{source}` into itself or its own descendant `{target}`",
            kind=ErrorKind.MOVE_INTO_SELF_OR_DESCENDANT,
        )
    there = nodes_within(session, target)
    if there:
        # Also where there are only nodes below, whose groups were never written: they would be
        # hidden by what comes to lie over them.
        raise AlreadyExistsError(
            f"session error: move cannot overwrite existing node at `{there[0].path}`",
            kind=ErrorKind.MOVE_WONT_OVERWRITE,
        )
    parent = target[: target.rfind("/")] or "/"
    group = session.find_node(parent)
    if group is None:
        raise SessionStateError(
            f"session error: cannot move to `{target}`: the destination's parent group `{parent}` does not "
            "exist, and a move makes none; create it in a writable session, and commit that first",
            kind=ErrorKind.MOVE_DESTINATION_PARENT_MISSING,
        )
    if isinstance(group, ArrayEntry):
        raise SessionStateError(
            f"session error: cannot move to `{target}`: the destination's parent `{parent}` is an array, "
            "not a group, and nothing can be in an array",
            kind=ErrorKind.MOVE_DESTINATION_PARENT_NOT_GROUP,
        )

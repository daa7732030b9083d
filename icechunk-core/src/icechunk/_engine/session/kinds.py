"""What each kind of session may do, and what is raised when it does something else.

The table of semantics, section 2.
"""

from __future__ import annotations

from enum import Enum
from typing import Literal, TypeAlias

from icechunk.errors import (
    ErrorKind,
    FormatError,
    IcechunkError,
    ReadOnlyError,
    SessionStateError,
)

NOT_WRITABLE = "Read only sessions cannot modify the repository"


class SessionKind(Enum):
    """What a session is for."""

    READ_ONLY = "read-only"
    EDIT = "edit"
    REARRANGE = "rearrange"
    FORK = "fork"


PublishKind: TypeAlias = Literal["commit", "amend", "flush"]
"""What is done with the snapshot of a session's changes."""


def edit_refused(kind: SessionKind, *, prefix: str = "") -> IcechunkError:
    """Make the error for a change of nodes or chunks in a session of another kind.

    `prefix`: "session error: " where the reference's message has it.
    """
    if kind is SessionKind.REARRANGE:
        return SessionStateError(
            f"{prefix}This session was created to rearrange the hierarchy, other write operations cannot "
            "be executed. Commit or abandon it, and use a writable session",
            kind=ErrorKind.REARRANGE_SESSION_ONLY,
        )
    return ReadOnlyError(f"{prefix}{NOT_WRITABLE}", kind=ErrorKind.READ_ONLY_SESSION)


def move_refused(kind: SessionKind) -> IcechunkError:
    """Make the error for a move in a session that is not for that."""
    if kind is SessionKind.READ_ONLY:
        return ReadOnlyError(f"session error: {NOT_WRITABLE}", kind=ErrorKind.READ_ONLY_SESSION)
    return SessionStateError(
        "session error: To move nodes in the hierarchy you need to create a rearrange session. "
        "Commit or abandon this one, and use `Repository.rearrange_session`",
        kind=ErrorKind.NON_REARRANGE_SESSION,
    )


def commit_refused() -> SessionStateError:
    """Make the error for a commit of a session that has no branch."""
    return SessionStateError(
        "session error: commits are not allowed on read-only or forked sessions, merge forked sessions "
        "back into the base session before committing",
        kind=ErrorKind.COMMIT_NOT_ALLOWED,
    )


def amend_of_first_commit() -> SessionStateError:
    """Make the error for an amend of the snapshot that every repository begins with."""
    return SessionStateError(
        "session error: the first commit in the repository cannot be an amend, create a new commit instead",
        kind=ErrorKind.NO_AMEND_FOR_INITIAL_COMMIT,
    )


def fork_refused() -> SessionStateError:
    """Make the error for a fork of a session that cannot change anything."""
    return SessionStateError(
        "session error: cannot fork a read-only session, read-only sessions can be serialized and "
        "transmitted directly",
        kind=ErrorKind.CANNOT_FORK_READ_ONLY_SESSION,
    )


def merge_refused() -> SessionStateError:
    """Make the error for merging a session that has a branch into a fork."""
    return SessionStateError(
        "session error: cannot merge a branch session into a fork session, only fork sessions can be "
        "merged into a fork",
        kind=ErrorKind.MERGE_NOT_ALLOWED,
    )


def flush_refused() -> IcechunkError:
    """Make the error for flushing a fork."""
    return IcechunkError(
        "session error: cannot flush a forked session, merge the fork back into the base session and "
        "flush that instead",
        kind=ErrorKind.UNKNOWN,
    )


def needs_spec_2(*, prefix: str = "") -> FormatError:
    """Make the error for an operation that spec version 1 does not have. `prefix`: see `edit_refused`."""
    return FormatError(
        f"{prefix}repository version error, this operation requires a repository that is at least "
        "version 2.0, please upgrade your on-disk format before executing this operation",
        kind=ErrorKind.UNSUPPORTED_SPEC_VERSION,
    )


def being_committed() -> SessionStateError:
    """Make the error for a change, or another commit, while one is going on in another thread."""
    return SessionStateError(
        "the session is being committed; wait for that before changing anything",
        kind=ErrorKind.NOT_ALLOWED,
    )

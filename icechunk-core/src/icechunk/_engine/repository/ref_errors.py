"""The errors of refs and history, in one place because both spec versions raise them."""

from __future__ import annotations

from typing import TYPE_CHECKING

from icechunk.errors import (
    ConflictError,
    ErrorKind,
    RefNotFoundError,
    RepositoryNotFoundError,
    SessionStateError,
    SnapshotNotFoundError,
)

if TYPE_CHECKING:
    from icechunk._engine.format.ids import SnapshotId


def repository_not_found() -> RepositoryNotFoundError:
    """Make the error for a place where no repository is, or is any more."""
    return RepositoryNotFoundError("the repository doesn't exist", kind=ErrorKind.REPOSITORY_NOT_FOUND)


def ref_not_found(name: str) -> RefNotFoundError:
    """Make the error for a branch or tag that is not there."""
    return RefNotFoundError(f"ref not found `{name}`", kind=ErrorKind.REF_NOT_FOUND)


def branch_not_found(name: str) -> RefNotFoundError:
    """Make the error for a branch that is to be moved and is not there (spec 2)."""
    return RefNotFoundError(f"branch not found `{name}`", kind=ErrorKind.BRANCH_NOT_FOUND)


def snapshot_not_found(id: SnapshotId) -> SnapshotNotFoundError:
    """Make the error for a snapshot that the repository does not list."""
    return SnapshotNotFoundError(f"snapshot id not found `{id}`", kind=ErrorKind.SNAPSHOT_NOT_FOUND)


def main_cannot_be_deleted() -> SessionStateError:
    """Make the error for an attempt to delete `main`."""
    return SessionStateError("main branch cannot be deleted", kind=ErrorKind.CANNOT_DELETE_MAIN)


def branch_update_conflict(expected: SnapshotId | None, actual: SnapshotId | None) -> ConflictError:
    """Make the error for a branch that does not point to where the caller said."""
    return ConflictError(
        expected_parent=_text(expected),
        actual_parent=_text(actual),
        message=f"branch update conflict: `({_option(expected)}) != ({_option(actual)})`",
        kind=ErrorKind.BRANCH_UPDATE_CONFLICT,
    )


def commit_conflict(expected: SnapshotId, actual: SnapshotId | None) -> ConflictError:
    """Make the error for a commit on a branch that somebody else has moved."""
    # The constructor words the message.
    return ConflictError(expected_parent=_text(expected), actual_parent=_text(actual))


def _text(id: SnapshotId | None) -> str | None:
    return None if id is None else str(id)


def _option(id: SnapshotId | None) -> str:
    return "None" if id is None else f"Some({id})"

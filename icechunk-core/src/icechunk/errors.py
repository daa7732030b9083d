"""Every exception of the library, and the stable code of each cause.

::

    IcechunkError
    ├── ConflictError               a race was lost: reread, rebase, try again
    │   └── RebaseFailedError       and the changes on both sides do not fit together
    ├── NotFoundError (KeyError)
    │   ├── NodeNotFoundError
    │   │   └── KeyNotFoundError    (FileNotFoundError) what Zarr expects of a store
    │   ├── SnapshotNotFoundError
    │   ├── RefNotFoundError
    │   └── RepositoryNotFoundError
    ├── AlreadyExistsError
    ├── ReadOnlyError
    ├── InvalidInputError (ValueError)
    ├── SessionStateError           the call does not fit the state that the session is in
    ├── StorageError
    │   └── ObjectNotFoundError     an object that the repository refers to is not there
    ├── FormatError                 bytes that are no valid Icechunk file, or of a newer format
    ├── PluginError                 a plugin is broken, misspelt or clashes with another
    │   └── MissingPluginError (ImportError)
    └── InternalError

Callers act on the class and log the `kind`.

The classes that the reference has too report `icechunk` as their module, because programs and
logs know them as `icechunk.ConflictError`. The others are ours and report this module.
"""

from __future__ import annotations

from enum import StrEnum
from types import NoneType
from typing import TYPE_CHECKING, Any, ClassVar

if TYPE_CHECKING:
    from collections.abc import Sequence

    from icechunk._values.conflicts import Conflict

__all__ = [
    "AlreadyExistsError",
    "ConflictError",
    "ErrorKind",
    "FormatError",
    "IcechunkError",
    "InternalError",
    "InvalidInputError",
    "KeyNotFoundError",
    "MissingPluginError",
    "NodeNotFoundError",
    "NotFoundError",
    "ObjectNotFoundError",
    "PluginError",
    "ReadOnlyError",
    "RebaseFailedError",
    "RefNotFoundError",
    "RepositoryNotFoundError",
    "SessionStateError",
    "SnapshotNotFoundError",
    "StorageError",
]


class ErrorKind(StrEnum):
    """A stable code for the cause of an error."""

    ANCESTOR_NODE_NOT_FOUND = "ancestor-node-not-found"
    BAD_KEY_PREFIX = "bad-key-prefix"
    BAD_METADATA = "bad-metadata"
    BAD_PREFIX = "bad-prefix"
    BAD_REDIRECT = "bad-redirect"
    BAD_SNAPSHOT_CHAIN_FOR_DIFF = "bad-snapshot-chain-for-diff"
    BRANCH_ALREADY_EXISTS = "branch-already-exists"
    BRANCH_NOT_FOUND = "branch-not-found"
    BRANCH_UPDATE_CONFLICT = "branch-update-conflict"
    CANNOT_DELETE_MAIN = "cannot-delete-main"
    CANNOT_FORK_READ_ONLY_SESSION = "cannot-fork-read-only-session"
    CANNOT_PARSE_URL = "cannot-parse-url"
    CHUNK_NOT_FOUND = "chunk-not-found"
    COMMIT_CONFLICT = "commit-conflict"
    COMMIT_NOT_ALLOWED = "commit-not-allowed"
    CONCURRENCY = "concurrency"
    CONFIG_DESERIALIZATION = "config-deserialization"
    CONFIG_UPDATED = "config-updated"
    CONFLICTING_PATH_NOT_FOUND = "conflicting-path-not-found"
    DESERIALIZATION = "deserialization"
    DUPLICATE_SNAPSHOT_ID = "duplicate-snapshot-id"
    EMPTY_PREFIX_CREATION = "empty-prefix-creation"
    FEATURE_FLAG_DISABLED = "feature-flag-disabled"
    FLUSH = "flush"
    GC_DELETES_FAILING = "gc-deletes-failing"
    INCONSISTENT_MANIFESTS = "inconsistent-manifests"
    INVALID_ARRAY_METADATA = "invalid-array-metadata"
    INVALID_BYTE_RANGE = "invalid-byte-range"
    INVALID_CHUNK_INDEX = "invalid-chunk-index"
    INVALID_COMMIT_CONFIGURATION = "invalid-commit-configuration"
    INVALID_CREDENTIALS = "invalid-credentials"
    INVALID_FEATURE_FLAG = "invalid-feature-flag"
    INVALID_FILE_FORMAT = "invalid-file-format"
    INVALID_KEY = "invalid-key"
    INVALID_MANIFEST_SPLIT_INDEX = "invalid-manifest-split-index"
    INVALID_OBJECT_SIZE = "invalid-object-size"
    INVALID_PATH = "invalid-path"
    INVALID_REF_NAME = "invalid-ref-name"
    INVALID_REF_TYPE = "invalid-ref-type"
    INVALID_REPOSITORY_MIGRATION = "invalid-repository-migration"
    INVALID_SNAPSHOT_ID = "invalid-snapshot-id"
    INVALID_VIRTUAL_REF = "invalid-virtual-ref"
    IO = "io"
    KEY_NOT_FOUND = "key-not-found"
    MANIFEST_INFO_NOT_FOUND = "manifest-info-not-found"
    MERGE_FAILED = "merge-failed"
    MERGE_NOT_ALLOWED = "merge-not-allowed"
    MOVE_DESTINATION_PARENT_MISSING = "move-destination-parent-missing"
    MOVE_DESTINATION_PARENT_NOT_GROUP = "move-destination-parent-not-group"
    MOVE_INTO_SELF_OR_DESCENDANT = "move-into-self-or-descendant"
    MOVE_WONT_OVERWRITE = "move-wont-overwrite"
    NODE_ALREADY_EXISTS = "node-already-exists"
    NODE_NOT_FOUND = "node-not-found"
    NON_REARRANGE_SESSION = "non-rearrange-session"
    NOT_ALLOWED = "not-allowed"
    NOT_AN_ARRAY = "not-an-array"
    NOT_A_GROUP = "not-a-group"
    NOT_ON_BRANCH = "not-on-branch"
    NO_AMEND_FOR_INITIAL_COMMIT = "no-amend-for-initial-commit"
    NO_CHANGES_TO_COMMIT = "no-changes-to-commit"
    NO_CONTAINER_FOR_VIRTUAL_CHUNK = "no-container-for-virtual-chunk"
    NO_SNAPSHOT = "no-snapshot"
    NO_SNAPSHOT_AT_TIME = "no-snapshot-at-time"
    OBJECT_NOT_FOUND = "object-not-found"
    OBJECT_STORE = "object-store"
    PARENT_DIRECTORY_NOT_CLEAN = "parent-directory-not-clean"
    PARTIAL_VALUES_PANIC = "partial-values-panic"
    PICKLE = "pickle"
    POISON_LOCK = "poison-lock"
    READ_ONLY_REPOSITORY = "read-only-repository"
    READ_ONLY_SESSION = "read-only-session"
    READ_ONLY_STORAGE = "read-only-storage"
    READ_ONLY_STORE = "read-only-store"
    REARRANGE_SESSION_ONLY = "rearrange-session-only"
    REBASE_FAILED = "rebase-failed"
    REBASE_TX_LOG_PRUNED = "rebase-tx-log-pruned"
    REF_NOT_FOUND = "ref-not-found"
    REPOSITORY_NOT_FOUND = "repository-not-found"
    REPO_INFO_UPDATED = "repo-info-updated"
    SEMAPHORE_ACQUIRE = "semaphore-acquire"
    SERIALIZATION = "serialization"
    SNAPSHOT_NOT_FOUND = "snapshot-not-found"
    SNAPSHOT_TIMESTAMP = "snapshot-timestamp"
    STORAGE_CONFIG = "storage-config"
    STORAGE_OTHER = "storage-other"
    TAG_ALREADY_EXISTS = "tag-already-exists"
    TAG_ERROR = "tag-error"
    TAG_NOT_FOUND = "tag-not-found"
    TAG_PREVIOUSLY_DELETED = "tag-previously-deleted"
    THROTTLED = "throttled"
    UNAUTHORIZED_VIRTUAL_CHUNK_CONTAINER = "unauthorized-virtual-chunk-container"
    UNCOMMITTED_CHANGES = "uncommitted-changes"
    UNIMPLEMENTED = "unimplemented"
    UNKNOWN = "unknown"
    UNSUPPORTED_OPERATION_FOR_VERSION = "unsupported-operation-for-version"
    UNSUPPORTED_SPEC_VERSION = "unsupported-spec-version"
    UPDATE_ATTEMPTS_EXHAUSTED = "update-attempts-exhausted"
    VIRTUAL_CHUNK_FETCH = "virtual-chunk-fetch"
    VIRTUAL_CHUNK_MODIFIED = "virtual-chunk-modified"
    ZERO_LENGTH_CHUNK = "zero-length-chunk"


# Reasons of a failed rebase that are in its message; all of them are in `RebaseFailedError.reasons`.
_FEW_REASONS = 3


class IcechunkError(Exception):
    """Any failure that the library reports.

    Parameters
    ----------
    message
        What is wrong, what was expected, and the way out if there is one.
    kind
        The stable code of the cause, usually an `ErrorKind`.
    """

    __module__ = "icechunk"

    _default_kind: ClassVar[str] = ErrorKind.UNKNOWN

    def __init__(self, message: str, kind: str | None = None) -> None:
        # What unpickling calls the class with: `args` of an exception are its constructor's.
        super().__init__(*((message,) if kind is None else (message, kind)))
        self._message = message
        self._kind: str = self._default_kind if kind is None else kind

    def __reduce__(self) -> str | tuple[Any, ...]:
        # What it would be anyway. But where exceptions travel with their tracebacks (tblib, which Dask's clusters use),
        # those that leave it to Python are made without `__init__`, and that fails for two built-in bases.
        return super().__reduce__()

    @property
    def message(self) -> str:
        """What is wrong."""
        return self._message

    @property
    def kind(self) -> str:
        """The stable code of the cause: one of `ErrorKind`, or what a plugin calls it."""
        return self._kind

    def __str__(self) -> str:
        # Not inherited: a KeyError would print its message in quotes.
        return self._message

    def __repr__(self) -> str:
        cls = type(self)
        return f'{cls.__module__}.{cls.__qualname__}(message="{self.message}", kind="{self.kind}")'


class ConflictError(IcechunkError):
    """Somebody else changed what this operation was based on.

    Parameters
    ----------
    expected_parent, actual_parent
        For a commit, the snapshot that the session is based on, and the one that the branch is at.
    message
        What happened, where it was no commit that lost the race.
    kind
        The stable code of the cause.
    """

    __module__ = "icechunk"

    _default_kind = ErrorKind.COMMIT_CONFLICT

    def __init__(
        self,
        expected_parent: str | None = None,
        actual_parent: str | None = None,
        message: str | None = None,
        kind: str | None = None,
    ) -> None:
        if message is None:
            message = (
                f"Failed to commit, expected parent: {_optional_text(expected_parent)}, "
                f"actual parent: {_optional_text(actual_parent)}"
            )
            given: tuple[str | None, ...] = (expected_parent, actual_parent)
        else:
            given = (expected_parent, actual_parent, message)
        for name, parent in (("expected_parent", expected_parent), ("actual_parent", actual_parent)):
            if not isinstance(parent, (str, NoneType)):
                raise TypeError(f"{name} must be a str or None, got {type(parent).__name__}")
        super().__init__(message, kind)
        self.args = given if kind is None else (expected_parent, actual_parent, message, kind)
        self._parents = (expected_parent, actual_parent)

    @property
    def expected_parent(self) -> str | None:
        """The snapshot that the session is based on."""
        return self._parents[0]

    @property
    def actual_parent(self) -> str | None:
        """The snapshot that the branch is at."""
        return self._parents[1]

    def __repr__(self) -> str:
        return (
            f"{type(self).__module__}.{type(self).__qualname__}"
            f"(expected_parent={self.expected_parent}, actual_parent={self.actual_parent})"
        )


class RebaseFailedError(ConflictError):
    """The session's changes do not fit together with a commit that is already on the branch.

    Parameters
    ----------
    snapshot
        The commit that the session could not be rebased over. The session is based on its parent.
    conflicts
        What does not fit, in the order in which it was found.
    reasons
        For each conflict what the solver says of it, if it says anything.
    """

    __module__ = "icechunk"

    _default_kind = ErrorKind.REBASE_FAILED

    def __init__(
        self, snapshot: str, conflicts: Sequence[Conflict], reasons: Sequence[str | None] = ()
    ) -> None:
        given: tuple[object, object] = (snapshot, conflicts)
        if not isinstance(given[0], str):
            raise TypeError(f"snapshot must be a str, got {type(snapshot).__name__}")
        if isinstance(given[1], str):  # a sequence as well, but not of conflicts
            raise TypeError("conflicts must be a sequence of conflicts, got str")
        told = list(dict.fromkeys(filter(None, reasons)))
        more = "" if len(told) <= _FEW_REASONS else f"; {len(told) - _FEW_REASONS} more"
        why = f": {'; '.join(told[:_FEW_REASONS])}{more}" if told else ""
        super().__init__(
            message=f"Rebase failed on snapshot {snapshot}: {len(conflicts)} conflicts found{why}"
        )
        self.args = (snapshot, list(conflicts), list(reasons)) if told else (snapshot, list(conflicts))
        self._snapshot = snapshot
        self._conflicts = list(conflicts)
        self._reasons = [*reasons, *[None] * (len(conflicts) - len(reasons))]

    @property
    def snapshot(self) -> str:
        """The commit that the session could not be rebased over."""
        return self._snapshot

    @property
    def conflicts(self) -> list[Conflict]:
        """What does not fit, in the order in which it was found."""
        return list(self._conflicts)

    @property
    def reasons(self) -> list[str | None]:
        """For each of the conflicts what the solver says of it; ``None`` if it says nothing."""
        return list(self._reasons)

    def __repr__(self) -> str:
        return (
            f"{type(self).__module__}.{type(self).__qualname__}"
            f'(snapshot="{self.snapshot}", conflicts={self.conflicts!r})'
        )


class NotFoundError(IcechunkError, KeyError):
    """Something was asked for by its name, and is not there."""

    __module__ = "icechunk"


class NodeNotFoundError(NotFoundError):
    """There is no group or array at this path."""

    __module__ = "icechunk"


class KeyNotFoundError(NodeNotFoundError, FileNotFoundError):
    """A store has nothing under this Zarr key.

    Zarr expects a `FileNotFoundError` of its stores, programs that know Icechunk a
    `NodeNotFoundError`: this is both.
    """

    _default_kind = ErrorKind.KEY_NOT_FOUND


class SnapshotNotFoundError(NotFoundError):
    """The repository has no such snapshot."""

    __module__ = "icechunk"


class RefNotFoundError(NotFoundError):
    """There is no branch or tag of this name."""

    __module__ = "icechunk"


class RepositoryNotFoundError(NotFoundError):
    """There is no repository in this storage."""

    __module__ = "icechunk"


class AlreadyExistsError(IcechunkError):
    """A node, branch or tag of this name exists already, or existed and may not come back."""

    __module__ = "icechunk"


class ReadOnlyError(IcechunkError):
    """The session, store, storage or repository cannot be written to."""

    __module__ = "icechunk"


class InvalidInputError(IcechunkError, ValueError):
    """An argument has no meaning here."""

    __module__ = "icechunk"


class SessionStateError(IcechunkError):
    """The call does not fit the state that the session or repository is in."""

    __module__ = "icechunk"


class StorageError(IcechunkError):
    """Storage failed, or did not answer as expected."""

    __module__ = "icechunk"


class ObjectNotFoundError(StorageError):
    """Storage has no object at this path. By convention the message is ``object not found `path` ``."""

    _default_kind = ErrorKind.OBJECT_NOT_FOUND


class FormatError(IcechunkError):
    """Bytes that are no valid Icechunk file, or a file of a format that this version cannot read."""

    __module__ = "icechunk"


class PluginError(IcechunkError):
    """A plugin cannot be used: it is broken, misspelt, or clashes with another.

    The reference has no plugins, hence no code for this. UNIMPLEMENTED comes nearest: what was
    asked for has no usable implementation in this environment.
    """

    _default_kind = ErrorKind.UNIMPLEMENTED


class MissingPluginError(PluginError, ImportError):
    """No installed plugin provides what was asked for. The message ends in the way to install it."""


class InternalError(IcechunkError):
    """The library contradicts itself: a bug, worth reporting."""

    __module__ = "icechunk"


def _optional_text(value: str | None) -> str:
    return "None" if value is None else f'Some("{value}")'

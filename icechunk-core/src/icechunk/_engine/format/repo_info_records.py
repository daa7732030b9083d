"""What a repo info is made of, besides the snapshots: status, updates, snapshot descriptions.

Format section 8. Times are whole microseconds since the epoch, UTC.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, ClassVar, TypeAlias

if TYPE_CHECKING:
    from collections.abc import Mapping

    from icechunk._engine.format.ids import SnapshotId
    from icechunk._engine.format.values import JsonValue

ONLINE = 0
READ_ONLY = 1


@dataclass(frozen=True, slots=True)
class StatusRecord:
    """Whether a repository may be written to. `availability` is `ONLINE` or `READ_ONLY`."""

    availability: int
    set_at: int
    limited_availability_reason: str | None = None


@dataclass(frozen=True, slots=True)
class NewSnapshot:
    """A snapshot to list in the repo info. `parent_id` must be listed too, or come with it."""

    id: SnapshotId
    parent_id: SnapshotId | None
    flushed_at: int
    message: str
    metadata: Mapping[str, JsonValue] = field(default_factory=dict)
    pruned_ancestor_tx_logs: tuple[SnapshotId, ...] = ()

    @property
    def id_text(self) -> str:
        """The snapshot's id as text."""
        return str(self.id)

    @property
    def parent_text(self) -> str | None:
        """The parent's id as text, or None for a root."""
        return None if self.parent_id is None else str(self.parent_id)


# --- the kinds of update; `tag` is the number of each in the file's union.


@dataclass(frozen=True, slots=True)
class RepoInitialized:
    """The repository was created."""

    tag: ClassVar[int] = 1


@dataclass(frozen=True, slots=True)
class RepoMigrated:
    """The repository was brought from one spec version to another."""

    tag: ClassVar[int] = 2
    from_version: int
    to_version: int


@dataclass(frozen=True, slots=True)
class ConfigChanged:
    """The persisted configuration was replaced."""

    tag: ClassVar[int] = 3


@dataclass(frozen=True, slots=True)
class MetadataChanged:
    """The repository's metadata was replaced."""

    tag: ClassVar[int] = 4


@dataclass(frozen=True, slots=True)
class TagCreated:
    """A tag was created."""

    tag: ClassVar[int] = 5
    name: str


@dataclass(frozen=True, slots=True)
class TagDeleted:
    """A tag was deleted."""

    tag: ClassVar[int] = 6
    name: str
    previous_snap_id: SnapshotId


@dataclass(frozen=True, slots=True)
class BranchCreated:
    """A branch was created."""

    tag: ClassVar[int] = 7
    name: str


@dataclass(frozen=True, slots=True)
class BranchDeleted:
    """A branch was deleted."""

    tag: ClassVar[int] = 8
    name: str
    previous_snap_id: SnapshotId


@dataclass(frozen=True, slots=True)
class BranchReset:
    """A branch was moved to another snapshot without a commit."""

    tag: ClassVar[int] = 9
    name: str
    previous_snap_id: SnapshotId


@dataclass(frozen=True, slots=True)
class NewCommit:
    """A snapshot was committed to a branch."""

    tag: ClassVar[int] = 10
    branch: str
    new_snap_id: SnapshotId


@dataclass(frozen=True, slots=True)
class CommitAmended:
    """The newest snapshot of a branch was replaced by another."""

    tag: ClassVar[int] = 11
    branch: str
    previous_snap_id: SnapshotId
    new_snap_id: SnapshotId


@dataclass(frozen=True, slots=True)
class NewDetachedSnapshot:
    """A snapshot was written that no branch or tag names."""

    tag: ClassVar[int] = 12
    new_snap_id: SnapshotId


@dataclass(frozen=True, slots=True)
class GCRan:
    """Garbage was collected."""

    tag: ClassVar[int] = 13


@dataclass(frozen=True, slots=True)
class ExpirationRan:
    """Old snapshots were expired."""

    tag: ClassVar[int] = 14


@dataclass(frozen=True, slots=True)
class FeatureFlagChanged:
    """A feature flag was set, or with None reset to its default."""

    tag: ClassVar[int] = 15
    id: int
    new_value: bool | None


@dataclass(frozen=True, slots=True)
class RepoStatusChanged:
    """The repository's status was set."""

    tag: ClassVar[int] = 16
    status: StatusRecord


UpdateKind: TypeAlias = (
    RepoInitialized
    | RepoMigrated
    | ConfigChanged
    | MetadataChanged
    | TagCreated
    | TagDeleted
    | BranchCreated
    | BranchDeleted
    | BranchReset
    | NewCommit
    | CommitAmended
    | NewDetachedSnapshot
    | GCRan
    | ExpirationRan
    | FeatureFlagChanged
    | RepoStatusChanged
)


@dataclass(frozen=True, slots=True)
class UpdateRecord:
    """One entry of the ops log.

    `backup_path` is the bare name, inside `overwritten/`, of the copy of the repo info in which
    this entry was the newest; None for the newest entry of all, and for those that an upgrade made.
    """

    kind: UpdateKind
    updated_at: int
    backup_path: str | None = None

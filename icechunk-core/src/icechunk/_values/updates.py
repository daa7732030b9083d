"""The ops log: what was done to a repository, when, and where its previous state is kept."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any, ClassVar, NamedTuple, Protocol

from icechunk._display.literals import quoted, rfc3339_text
from icechunk._values.checks import boolean, instance, required, text, unsigned
from icechunk._values.enums import SpecVersion
from icechunk._values.history import EXACT_AS_FLOAT, moment
from icechunk._values.records import Forms, Info, public_name, variant
from icechunk._values.repository_state import RepoStatus, availability_name

_text_of = required(text)
_status = required(instance(RepoStatus))
_flag_id = required(unsigned(16))

__all__ = ["Update", "UpdateFacts", "UpdateType"]


class UpdateType(Forms):
    """What was done to a repository. Each sort of operation is a class of its own."""

    __slots__ = ()
    __module__ = "icechunk.ops"

    RepoInitialized: ClassVar[type[RepoInitialized]]
    RepoMigrated: ClassVar[type[RepoMigrated]]
    RepoStatusChanged: ClassVar[type[RepoStatusChanged]]
    ConfigChanged: ClassVar[type[ConfigChanged]]
    MetadataChanged: ClassVar[type[MetadataChanged]]
    TagCreated: ClassVar[type[TagCreated]]
    TagDeleted: ClassVar[type[TagDeleted]]
    BranchCreated: ClassVar[type[BranchCreated]]
    BranchDeleted: ClassVar[type[BranchDeleted]]
    BranchReset: ClassVar[type[BranchReset]]
    NewCommit: ClassVar[type[NewCommit]]
    CommitAmended: ClassVar[type[CommitAmended]]
    NewDetachedSnapshot: ClassVar[type[NewDetachedSnapshot]]
    GCRan: ClassVar[type[GCRan]]
    ExpirationRan: ClassVar[type[ExpirationRan]]
    FeatureFlagChanged: ClassVar[type[FeatureFlagChanged]]

    def __repr__(self) -> str:
        arguments = ", ".join(f"{name}={_text(getattr(self, name))}" for name in self._field_names())
        return f"{public_name(type(self))}({arguments})"


@variant(UpdateType, "RepoInitialized")
class RepoInitialized(UpdateType):
    """The repository was created."""

    __slots__ = ()


@variant(UpdateType, "RepoMigrated")
class RepoMigrated(UpdateType):
    """The repository was brought to a newer version of the format."""

    __slots__ = ("from_version", "to_version")
    __match_args__ = ("from_version", "to_version")

    from_version: SpecVersion
    to_version: SpecVersion

    def __init__(self, from_version: SpecVersion, to_version: SpecVersion) -> None:
        self._fill(from_version, to_version)


@variant(UpdateType, "RepoStatusChanged")
class RepoStatusChanged(UpdateType):
    """The repository was opened to writes, or closed."""

    __slots__ = ("status",)
    __match_args__ = ("status",)

    status: RepoStatus

    def __init__(self, status: RepoStatus) -> None:
        self._fill(_status("status", status))


@variant(UpdateType, "ConfigChanged")
class ConfigChanged(UpdateType):
    """The saved configuration was replaced."""

    __slots__ = ()


@variant(UpdateType, "MetadataChanged")
class MetadataChanged(UpdateType):
    """The repository's own metadata was replaced."""

    __slots__ = ()


@variant(UpdateType, "TagCreated")
class TagCreated(UpdateType):
    """A tag was created."""

    __slots__ = ("name",)
    __match_args__ = ("name",)

    name: str

    def __init__(self, name: str) -> None:
        self._fill(_text_of("name", name))


@variant(UpdateType, "TagDeleted")
class TagDeleted(UpdateType):
    """A tag was deleted."""

    __slots__ = ("name", "previous_snap_id")
    __match_args__ = ("name", "previous_snap_id")

    name: str
    previous_snap_id: str

    def __init__(self, name: str, previous_snap_id: str) -> None:
        self._fill(_text_of("name", name), _text_of("previous_snap_id", previous_snap_id))


@variant(UpdateType, "BranchCreated")
class BranchCreated(UpdateType):
    """A branch was created."""

    __slots__ = ("name",)
    __match_args__ = ("name",)

    name: str

    def __init__(self, name: str) -> None:
        self._fill(_text_of("name", name))


@variant(UpdateType, "BranchDeleted")
class BranchDeleted(UpdateType):
    """A branch was deleted."""

    __slots__ = ("name", "previous_snap_id")
    __match_args__ = ("name", "previous_snap_id")

    name: str
    previous_snap_id: str

    def __init__(self, name: str, previous_snap_id: str) -> None:
        self._fill(_text_of("name", name), _text_of("previous_snap_id", previous_snap_id))


@variant(UpdateType, "BranchReset")
class BranchReset(UpdateType):
    """A branch was moved to another snapshot."""

    __slots__ = ("name", "previous_snap_id")
    __match_args__ = ("name", "previous_snap_id")

    name: str
    previous_snap_id: str

    def __init__(self, name: str, previous_snap_id: str) -> None:
        self._fill(_text_of("name", name), _text_of("previous_snap_id", previous_snap_id))


@variant(UpdateType, "NewCommit")
class NewCommit(UpdateType):
    """A branch got a new snapshot."""

    __slots__ = ("branch", "new_snap_id")
    __match_args__ = ("branch", "new_snap_id")

    branch: str
    new_snap_id: str

    def __init__(self, branch: str, new_snap_id: str) -> None:
        self._fill(_text_of("branch", branch), _text_of("new_snap_id", new_snap_id))


@variant(UpdateType, "CommitAmended")
class CommitAmended(UpdateType):
    """The last snapshot of a branch was replaced."""

    __slots__ = ("branch", "previous_snap_id", "new_snap_id")
    __match_args__ = ("branch", "previous_snap_id", "new_snap_id")

    branch: str
    previous_snap_id: str
    new_snap_id: str

    def __init__(self, branch: str, previous_snap_id: str, new_snap_id: str) -> None:
        self._fill(
            _text_of("branch", branch),
            _text_of("previous_snap_id", previous_snap_id),
            _text_of("new_snap_id", new_snap_id),
        )


@variant(UpdateType, "NewDetachedSnapshot")
class NewDetachedSnapshot(UpdateType):
    """A snapshot was written that is on no branch."""

    __slots__ = ("new_snap_id",)
    __match_args__ = ("new_snap_id",)

    new_snap_id: str

    def __init__(self, new_snap_id: str) -> None:
        self._fill(_text_of("new_snap_id", new_snap_id))


@variant(UpdateType, "GCRan")
class GCRan(UpdateType):
    """Objects that nothing refers to were deleted."""

    __slots__ = ()


@variant(UpdateType, "ExpirationRan")
class ExpirationRan(UpdateType):
    """Old snapshots were taken out of the history."""

    __slots__ = ()


@variant(UpdateType, "FeatureFlagChanged")
class FeatureFlagChanged(UpdateType):
    """An operation was switched on or off, or set back to its default (None)."""

    __slots__ = ("id", "new_value")
    __match_args__ = ("id", "new_value")

    id: int
    new_value: bool | None

    def __init__(self, id: int, new_value: bool | None) -> None:
        self._fill(_flag_id("id", id), boolean("new_value", new_value))


class UpdateFacts(Protocol):
    """What the history knows about an update. Times are microseconds since 1970."""

    @property
    def kind(self) -> UpdateType: ...
    @property
    def updated_at(self) -> int: ...
    @property
    def backup_path(self) -> str | None: ...


class Update(Info):
    """An entry of the ops log.

    A log can have very many of these, so an update holds the record that it was made from, and does
    the rest when it is asked.
    """

    __slots__ = ("_facts",)
    __module__ = "icechunk.ops"

    _facts: UpdateFacts

    @classmethod
    def _of(cls, facts: UpdateFacts) -> Update:
        update = object.__new__(cls)
        _set_facts(update, facts)
        return update

    @property
    def kind(self) -> UpdateType:
        """What was done."""
        return self._facts.kind

    @property
    def updated_at(self) -> datetime:
        """When, in UTC."""
        microseconds = self._facts.updated_at
        if 0 <= microseconds < EXACT_AS_FLOAT:
            # What `moment` does; a log is long, and a call less counts.
            return datetime.fromtimestamp(microseconds / 1_000_000, UTC)
        return moment(microseconds)

    @property
    def backup_path(self) -> str | None:
        """Where the repository keeps the state that this update made: a name inside `overwritten`.

        None for the newest update, whose state is the current one.
        """
        return self._facts.backup_path

    def _field_names(self) -> tuple[str, ...]:
        return ("kind", "updated_at", "backup_path")

    def _contents(self) -> tuple[object, ...]:
        return self.kind, self.updated_at, self.backup_path

    def __hash__(self) -> int:
        # Not all kinds can be hashed: a status cannot.
        return hash((type(self), self._facts.updated_at, self.backup_path))

    def __reduce__(self) -> tuple[Any, ...]:
        return _update, (self.kind, self._facts.updated_at, self.backup_path)


# Half the price of `object.__setattr__`, and a log is long.
_set_facts = vars(Update)["_facts"].__set__


class _Facts(NamedTuple):
    """The facts of an update that no file is at hand for."""

    kind: UpdateType
    updated_at: int
    backup_path: str | None


def _update(kind: UpdateType, updated_at: int, backup_path: str | None) -> Update:
    return Update._of(_Facts(kind, updated_at, backup_path))


def _text(value: object) -> str:
    if isinstance(value, str):
        return quoted(value)
    if isinstance(value, RepoStatus):
        reason = value.limited_availability_reason
        return (
            f"RepoStatus(availability={availability_name(value.availability)}, "
            f"set_at={rfc3339_text(value.set_at)}, "
            f"limited_availability_reason={'None' if reason is None else f'Some({quoted(reason)})'})"
        )
    return str(int(value)) if isinstance(value, SpecVersion) else str(value)

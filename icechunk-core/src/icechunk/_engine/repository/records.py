"""What both spec versions can tell of a snapshot."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import TYPE_CHECKING, NamedTuple, Protocol

from icechunk._engine.session.history import History

if TYPE_CHECKING:
    from icechunk._engine.assets.assets import Assets
    from icechunk._engine.format.ids import SnapshotId
    from icechunk._engine.format.values import JsonValue
    from icechunk._engine.repository.ops_log import LoggedUpdate
    from icechunk._engine.repository.state import RepositoryState


class SnapshotRecord(Protocol):
    """A snapshot as the history knows it. Times are microseconds since the epoch, UTC."""

    @property
    def id(self) -> SnapshotId: ...
    @property
    def id_text(self) -> str: ...
    @property
    def parent_id(self) -> SnapshotId | None: ...
    @property
    def parent_text(self) -> str | None: ...
    @property
    def flushed_at(self) -> int: ...
    @property
    def message(self) -> str: ...
    @property
    def metadata(self) -> Mapping[str, JsonValue]: ...
    @property
    def pruned_ancestor_tx_logs(self) -> tuple[SnapshotId, ...]:
        """Transaction logs of ancestors that are no longer in the history, oldest first."""
        ...


class Refs(NamedTuple):
    """All branches and tags at one moment, and what they lead to."""

    branches: Mapping[str, SnapshotId]
    tags: Mapping[str, SnapshotId]
    lookup: Callable[[SnapshotId], SnapshotRecord]


class RefsAndHistory(History, Protocol):
    """The mutable half of a repository: refs, history, persisted configuration.

    One implementation for each spec version. Every read asks storage; nothing is trusted from
    before.
    """

    def over(self, assets: Assets) -> RefsAndHistory:
        """Return the same history over other assets of the same repository."""
        ...

    def refs(self) -> Refs:
        """Return all branches and tags (spec 1: read one after another)."""
        ...

    def branch_names(self) -> set[str]: ...
    def tag_names(self) -> set[str]: ...

    def lookup_branch(self, name: str) -> SnapshotId:
        """Return the tip of a branch; RefNotFoundError if there is none of this name."""
        ...

    def lookup_tag(self, name: str) -> SnapshotId:
        """Return the snapshot of a tag; RefNotFoundError if there is none of this name."""
        ...

    def writable_tip(self, branch: str) -> SnapshotId:
        """Return the tip of a branch to write to; ReadOnlyError if the status forbids that."""
        ...

    def rearrangeable_tip(self, branch: str) -> SnapshotId:
        """Return the tip of a branch to move nodes on, if that is allowed in this repository."""
        ...

    def check_snapshot(self, id: SnapshotId) -> None:
        """Raise unless the snapshot is one of this repository's."""
        ...

    def lookup_snapshot(self, id: SnapshotId) -> SnapshotRecord: ...

    def ancestry(self, id: SnapshotId) -> Iterator[SnapshotRecord]:
        """Yield the snapshot and its ancestors, newest first."""
        ...

    def ancestry_of_branch(self, name: str) -> Iterator[SnapshotRecord]: ...
    def ancestry_of_tag(self, name: str) -> Iterator[SnapshotRecord]: ...

    def create_branch(self, name: str, id: SnapshotId) -> None: ...
    def delete_branch(self, name: str) -> None: ...
    def reset_branch(self, name: str, to: SnapshotId, *, expected_tip: SnapshotId | None) -> None: ...
    def create_tag(self, name: str, id: SnapshotId) -> None: ...
    def delete_tag(self, name: str) -> None: ...

    def save_config_document(self, document: Mapping[str, JsonValue]) -> None: ...

    @property
    def state(self) -> RepositoryState:
        """What the repository says about itself; FormatError in spec 1, which has no place for it."""
        ...

    def ops_log(self) -> Iterator[LoggedUpdate]:
        """Yield what was done, newest first; FormatError in spec 1, which keeps no log."""
        ...

"""What a session needs to know of the repository's history: one protocol, implemented above.

A session writes immutable objects; the one mutable step of a commit, moving the branch, is the
repository's. The layers allow a session to know the repository only through this protocol.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, NamedTuple, Protocol

if TYPE_CHECKING:
    from icechunk._engine.format.ids import SnapshotId
    from icechunk._engine.format.repo_info_records import NewSnapshot


class NewerCommit(NamedTuple):
    """A commit that a session has to be rebased over."""

    id: SnapshotId
    pruned: Sequence[SnapshotId] = ()
    """Ancestors that expiration has taken out of the history, oldest first: their logs count, too."""


class NewerCommits(NamedTuple):
    """What has happened on a branch since a snapshot."""

    tip: SnapshotId
    commits: Sequence[NewerCommit]
    """The commits between the two, the tip included, oldest first."""
    descends: bool = True
    """Whether the tip descends from the snapshot at all. If not, `commits` is empty."""


class Publication(NamedTuple):
    """How a session's snapshot becomes part of the history."""

    snapshot: NewSnapshot
    """What was written, under the parent that it was written for."""
    rearranges: bool
    """It is that of a session that moves nodes, which can be forbidden."""
    seen: object
    """What `History.look` has read while files were being written, if it was asked."""
    check: Callable[[], None] | None
    """One more thing to find out before anything is changed; it may run beside another request."""


class History(Protocol):
    """The mutable half of a repository, as a session sees it.

    Implementations are safe to call from several threads, and they pickle: what they need to
    reach storage travels with the `Assets` that they share with the session.
    """

    @property
    def spec_version(self) -> int:
        """The version of the format that new files are written in: 1 or 2."""
        ...

    def look(self) -> object:
        """Read what a publication begins with, to be handed over as `seen`.

        So it can be read while files are being written. When it is out of date by then, the
        publication finds out, and reads again.
        """
        ...

    def publish_commit(self, branch: str, publication: Publication, *, expected_tip: SnapshotId) -> None:
        """Make a written snapshot the tip of a branch, atomically.

        Returns only when the commit is in the history, for good. When an answer of the storage
        is lost, the history is read again to find out what became of it.

        Raises
        ------
        ConflictError
            The tip of `branch` is not `expected_tip`: somebody else has committed. In spec 1
            also when the branch is gone.
        RefNotFoundError
            The branch is gone (spec 2).
        ReadOnlyError
            The status of the repository is read-only.
        SessionStateError
            It `rearranges`, and a feature flag forbids that.
        """
        ...

    def publish_amend(self, branch: str, publication: Publication, *, expected_tip: SnapshotId) -> None:
        """Put a written snapshot in the place of a branch's tip: its parent becomes that of the tip.

        For everything else see `publish_commit`. Not in spec 1.
        """
        ...

    def publish_detached(self, publication: Publication) -> None:
        """Make a written snapshot known, without any ref that leads to it.

        For everything else see `publish_commit`. In spec 1 all snapshots that are there are known.
        """
        ...

    def check_rearrangement(self, action: str) -> None:
        """Ask whether nodes may be moved, for something that is not published.

        Raises
        ------
        SessionStateError
            A feature flag forbids it. `action` says what.
        """
        ...

    def has_commit(self, branch: str | None, id: SnapshotId) -> bool:
        """Tell whether a snapshot has become part of the history, asking storage.

        `branch`: where it was to be published, if on a branch.
        """
        ...

    def newer_commits(self, branch: str, base: SnapshotId) -> NewerCommits | None:
        """Return what has happened on a branch since `base`, as of now; `None` if the branch is gone.

        One read of the history, in spec 1 one of each snapshot in between.
        """
        ...

"""The sessions of a `Repository`: for reading, for writing, for moving nodes."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from datetime import datetime
from typing import TYPE_CHECKING, Any

from icechunk._arguments import optional_texts, text
from icechunk._async_forms import async_form
from icechunk._repository.handle import RepositoryHandle, exactly_one
from icechunk._values.records import aware
from icechunk.session import Session

if TYPE_CHECKING:
    from icechunk.conflicts import ConflictSolver
    from icechunk.store import IcechunkStore


class SessionMethods(RepositoryHandle):
    """The methods of `Repository` that open sessions."""

    def readonly_session(
        self,
        branch: str | None = None,
        *,
        tag: str | None = None,
        snapshot_id: str | None = None,
        as_of: datetime | None = None,
    ) -> Session:
        """Open a snapshot for reading.

        Exactly one of `branch`, `tag` and `snapshot_id` says which.

        Parameters
        ----------
        branch
            The tip that this branch has now.
        tag
            What this tag names.
        snapshot_id
            This snapshot.
        as_of
            With `branch`: the newest snapshot of its history that was written then or before. A
            datetime that knows its time zone.

        Raises
        ------
        RefNotFoundError
            There is no such branch or tag.
        SnapshotNotFoundError
            There is no such snapshot (spec version 1: an `ObjectNotFoundError`), or none so old.
        """
        optional_texts(branch=branch, tag=tag, snapshot_id=snapshot_id)
        if as_of is not None:
            aware(as_of)
            if branch is None:
                raise ValueError("as_of argument must be provided together with a branch name")
        exactly_one(branch=branch, tag=tag, snapshot_id=snapshot_id)
        return Session(self._engine.readonly_session(self._resolve(branch, tag, snapshot_id, as_of)))

    readonly_session_async = async_form(readonly_session)

    def writable_session(self, branch: str) -> Session:
        """Open the tip of a branch for reading, writing and committing.

        Raises
        ------
        RefNotFoundError
            There is no such branch.
        ReadOnlyError
            The storage is read-only, or the repository's status is.
        """
        return Session(self._engine.writable_session(text("branch", branch)))

    writable_session_async = async_form(writable_session)

    def rearrange_session(self, branch: str) -> Session:
        """Open the tip of a branch for moving nodes, and committing that; see `Session.move`.

        Such a session can change nothing else.

        Raises
        ------
        RefNotFoundError
            There is no such branch.
        ReadOnlyError
            The storage is read-only, or the repository's status is.
        FormatError
            The repository is of spec version 1.
        SessionStateError
            The feature flag `move_node` is off.
        """
        return Session(self._engine.rearrange_session(text("branch", branch)))

    rearrange_session_async = async_form(rearrange_session)

    @contextmanager
    def transaction(
        self,
        branch: str,
        *,
        message: str,
        metadata: Mapping[str, Any] | None = None,
        rebase_with: ConflictSolver | str | None = None,
        rebase_tries: int = 1000,
    ) -> Iterator[IcechunkStore]:
        """Give a store to write to, and commit at the end of the block.

        If the block raises, nothing is committed. If it changes nothing, the commit raises.

        Parameters
        ----------
        branch
            Where to commit to.
        message, metadata, rebase_with, rebase_tries
            Of the commit; see `Session.commit`.
        """
        session = self.writable_session(branch)
        yield session.store
        session.commit(message, metadata, rebase_with=rebase_with, rebase_tries=rebase_tries)

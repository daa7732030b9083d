"""Branches and tags of a `Repository`."""

from __future__ import annotations

from icechunk._arguments import optional_texts, text
from icechunk._async_forms import async_form
from icechunk._engine.format.ids import SnapshotId
from icechunk._repository.handle import RepositoryHandle


class RefMethods(RepositoryHandle):
    """The methods of `Repository` that make, list, look up, move and delete refs."""

    # -- branches ---------------------------------------------------------------------------------

    def create_branch(self, branch: str, snapshot_id: str) -> None:
        """Make a branch whose tip is a snapshot.

        Raises
        ------
        AlreadyExistsError
            There is such a branch (spec version 1: a `ConflictError`).
        SnapshotNotFoundError
            There is no such snapshot (spec version 1: an `ObjectNotFoundError`).
        """
        self._engine.create_branch(text("branch", branch), SnapshotId.parse(text("snapshot_id", snapshot_id)))

    create_branch_async = async_form(create_branch)

    def list_branches(self) -> set[str]:
        """Return the names of all branches."""
        return self._engine.history.branch_names()

    list_branches_async = async_form(list_branches)

    def lookup_branch(self, branch: str) -> str:
        """Return the id of a branch's tip.

        Raises
        ------
        RefNotFoundError
            There is no such branch.
        """
        return str(self._engine.history.lookup_branch(text("branch", branch)))

    lookup_branch_async = async_form(lookup_branch)

    def reset_branch(self, branch: str, snapshot_id: str, *, from_snapshot_id: str | None = None) -> None:
        """Make any snapshot the tip of a branch, whatever the tip was.

        The old tip and its ancestors are lost to everybody, unless other branches or tags lead there.

        Parameters
        ----------
        branch
            Which branch.
        snapshot_id
            The new tip.
        from_snapshot_id
            Do it only if this is the tip now.

        Raises
        ------
        ConflictError
            The tip is not `from_snapshot_id`.
        RefNotFoundError
            There is no such branch (spec version 1, with `from_snapshot_id`: a `ConflictError`).
        """
        name, new_tip = text("branch", branch), text("snapshot_id", snapshot_id)
        optional_texts(from_snapshot_id=from_snapshot_id)
        expected = None if from_snapshot_id is None else SnapshotId.parse(from_snapshot_id)
        self._engine.reset_branch(name, SnapshotId.parse(new_tip), expected_tip=expected)

    reset_branch_async = async_form(reset_branch)

    def delete_branch(self, branch: str) -> None:
        """Delete a branch, and no snapshots.

        Raises
        ------
        SessionStateError
            It is `main`.
        RefNotFoundError
            There is no such branch.
        """
        self._engine.delete_branch(text("branch", branch))

    delete_branch_async = async_form(delete_branch)

    # -- tags -------------------------------------------------------------------------------------

    def create_tag(self, tag: str, snapshot_id: str) -> None:
        """Give a snapshot a name for ever. A name that was once deleted cannot be used again.

        Raises
        ------
        AlreadyExistsError
            There is such a tag, or there was.
        SnapshotNotFoundError
            There is no such snapshot (spec version 1: an `ObjectNotFoundError`).
        """
        self._engine.create_tag(text("tag", tag), SnapshotId.parse(text("snapshot_id", snapshot_id)))

    create_tag_async = async_form(create_tag)

    def list_tags(self) -> set[str]:
        """Return the names of all tags."""
        return self._engine.history.tag_names()

    list_tags_async = async_form(list_tags)

    def lookup_tag(self, tag: str) -> str:
        """Return the id of the snapshot that a tag names.

        Raises
        ------
        RefNotFoundError
            There is no such tag.
        """
        return str(self._engine.history.lookup_tag(text("tag", tag)))

    lookup_tag_async = async_form(lookup_tag)

    def delete_tag(self, tag: str) -> None:
        """Delete a tag, and no snapshots.

        Raises
        ------
        RefNotFoundError
            There is no such tag.
        """
        self._engine.delete_tag(text("tag", tag))

    delete_tag_async = async_form(delete_tag)

"""The past of a `Repository`: snapshots, their ancestry, what they changed, and the ops log."""

from __future__ import annotations

from collections.abc import Iterator

from icechunk._arguments import flag, optional_texts, text
from icechunk._async_forms import async_form, async_iterator_form
from icechunk._engine.format.ids import SnapshotId
from icechunk._engine.session.kinds import needs_spec_2
from icechunk._repository.handle import RepositoryHandle, exactly_one
from icechunk.errors import InvalidInputError, ObjectNotFoundError, RefNotFoundError, SnapshotNotFoundError
from icechunk.ops import Update
from icechunk.snapshots import AncestryGraph, Diff, SnapshotInfo


class HistoryMethods(RepositoryHandle):
    """The methods of `Repository` that tell what happened."""

    def lookup_snapshot(self, snapshot_id: str) -> SnapshotInfo:
        """Return what is known of a snapshot.

        Raises
        ------
        SnapshotNotFoundError
            There is no such snapshot (spec version 1: an `ObjectNotFoundError`).
        """
        return SnapshotInfo._of(
            self._engine.history.lookup_snapshot(SnapshotId.parse(text("snapshot_id", snapshot_id)))
        )

    lookup_snapshot_async = async_form(lookup_snapshot)

    def _check_ancestry(
        self, *, branch: str | None = None, tag: str | None = None, snapshot_id: str | None = None
    ) -> SnapshotId | None:
        exactly_one(branch=branch, tag=tag, snapshot_id=snapshot_id)
        return None if snapshot_id is None else SnapshotId.parse(snapshot_id)

    def ancestry(
        self,
        *,
        branch: str | None = None,
        tag: str | None = None,
        snapshot_id: str | None = None,
    ) -> Iterator[SnapshotInfo]:
        """Iterate over a snapshot and all its ancestors, newest first.

        Exactly one of the parameters says which snapshot. What others commit meanwhile is not seen.
        """
        id = self._check_ancestry(branch=branch, tag=tag, snapshot_id=snapshot_id)
        return map(SnapshotInfo._of, self._engine.ancestry(branch=branch, tag=tag, snapshot_id=id))

    async_ancestry = async_iterator_form(ancestry, name="async_ancestry", check=_check_ancestry)

    def ancestry_graph(
        self,
        *,
        branch: str | None = None,
        tag: str | None = None,
        snapshot_id: str | None = None,
        plain: bool = False,
    ) -> AncestryGraph:
        """Draw the history: all branches, or the ancestors of one branch, tag or snapshot.

        Print the result, or look at it in a notebook. At most 100 snapshots are shown, the newest.

        Parameters
        ----------
        branch, tag, snapshot_id
            Whose history; at most one of these.
        plain
            Print without colours.

        Raises
        ------
        RefNotFoundError
            There is no such branch or tag.
        SnapshotNotFoundError
            There is no such snapshot (spec version 1: an `ObjectNotFoundError`).
        """
        is_plain = flag("plain", plain)
        if (branch, tag, snapshot_id) != (None, None, None):
            exactly_one(branch=branch, tag=tag, snapshot_id=snapshot_id)
        id = None if snapshot_id is None else SnapshotId.parse(snapshot_id)
        return AncestryGraph._of(self._engine.graph(branch=branch, tag=tag, snapshot_id=id), plain=is_plain)

    ancestry_graph_async = async_form(ancestry_graph)

    def diff(
        self,
        *,
        from_branch: str | None = None,
        from_tag: str | None = None,
        from_snapshot_id: str | None = None,
        to_branch: str | None = None,
        to_tag: str | None = None,
        to_snapshot_id: str | None = None,
    ) -> Diff:
        """Tell what was changed by the commits behind one snapshot, up to another.

        Changes are gathered, not netted: what was created and updated later is said to be both, and
        a node that came and went in between is not mentioned. Costs one GET for each commit.

        Parameters
        ----------
        from_branch, from_tag, from_snapshot_id
            The older snapshot: one of these.
        to_branch, to_tag, to_snapshot_id
            The newer snapshot, a descendant of the older one: one of these.

        Raises
        ------
        InvalidInputError
            The older snapshot is no ancestor of the newer one, or is the same.
        RefNotFoundError
            There is no such branch or tag.
        SnapshotNotFoundError
            There is no such snapshot (spec version 1: an `ObjectNotFoundError`).
        """
        # What both are, before how many there are.
        optional_texts(to_branch=to_branch, to_tag=to_tag, to_snapshot_id=to_snapshot_id)
        exactly_one(from_branch=from_branch, from_tag=from_tag, from_snapshot_id=from_snapshot_id)
        exactly_one(to_branch=to_branch, to_tag=to_tag, to_snapshot_id=to_snapshot_id)
        from_id = None if from_snapshot_id is None else SnapshotId.parse(from_snapshot_id)
        to_id = None if to_snapshot_id is None else SnapshotId.parse(to_snapshot_id)
        try:
            origin = self._engine.resolve(branch=from_branch, tag=from_tag, snapshot_id=from_id)
            target = self._engine.resolve(branch=to_branch, tag=to_tag, snapshot_id=to_id)
        except (RefNotFoundError, SnapshotNotFoundError, ObjectNotFoundError, InvalidInputError) as error:
            # The phrase that programs know it by: the reference asks a session for its diffs.
            raise type(error)(f"session error: {error}", kind=error.kind) from error.__cause__
        return self._engine.diff(origin, target)

    diff_async = async_form(diff)

    def _check_ops_log(self) -> None:
        if self._engine.spec_version < 2:
            raise needs_spec_2()

    def ops_log(self) -> Iterator[Update]:
        """Iterate over everything that was done to the repository, newest first.

        What others do meanwhile is not seen. The log is in pages, which are read one by one as
        they are reached: with the default configuration one GET for each 1,000 updates.

        Raises
        ------
        FormatError
            The repository is of spec version 1, which keeps no log.
        """
        return map(Update._of, self._engine.ops_log())

    ops_log_async = async_iterator_form(ops_log, check=_check_ops_log)

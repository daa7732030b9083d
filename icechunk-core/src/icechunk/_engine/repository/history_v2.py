"""Refs and history of a spec 2 repository: all of it in the one `repo` object."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING, Any

from icechunk._engine.format.repo_info_records import (
    BranchCreated,
    BranchDeleted,
    BranchReset,
    CommitAmended,
    ConfigChanged,
    NewCommit,
    NewDetachedSnapshot,
    TagCreated,
    TagDeleted,
    UpdateKind,
)
from icechunk._engine.repository.flags import CREATE_TAG, DELETE_TAG, MOVE_NODE, check_flag
from icechunk._engine.repository.ops_log import LoggedUpdate, read_ops_log
from icechunk._engine.repository.records import Refs
from icechunk._engine.repository.ref_errors import (
    branch_not_found,
    branch_update_conflict,
    commit_conflict,
    main_cannot_be_deleted,
    ref_not_found,
    snapshot_not_found,
)
from icechunk._engine.repository.repo_file import SPEC_VERSION, Change, RepoFile, check_online
from icechunk._engine.repository.state import RepositoryState
from icechunk._engine.session.history import NewerCommit, NewerCommits, Publication
from icechunk._engine.session.kinds import amend_of_first_commit
from icechunk.errors import AlreadyExistsError, ErrorKind

if TYPE_CHECKING:
    from icechunk._engine.assets.assets import Assets
    from icechunk._engine.format.ids import SnapshotId
    from icechunk._engine.format.repo_info import RepoInfo, SnapshotInfoRecord
    from icechunk._engine.format.values import JsonValue
    from icechunk._engine.repository.records import SnapshotRecord


class HistoryV2:
    """Reads cost one conditional GET each; changes are updates of `repo` as protocol 2 says."""

    spec_version = SPEC_VERSION

    def __init__(self, assets: Assets, repo_file: RepoFile | None = None) -> None:
        self._assets = assets
        self._repo = repo_file or RepoFile(assets)

    def __reduce__(self) -> tuple[type[HistoryV2], tuple[Assets]]:
        return HistoryV2, (self._assets,)

    def over(self, assets: Assets) -> HistoryV2:
        """Return the same history over other assets of the same repository."""
        return HistoryV2(assets, self._repo.over(assets))

    # -- reading ----------------------------------------------------------------------------------

    def refs(self) -> Refs:
        info = self._repo.load()
        return Refs(info.branches, info.tags, partial(_record, info))

    def branches(self) -> Mapping[str, SnapshotId]:
        return self._repo.load().branches

    def tags(self) -> Mapping[str, SnapshotId]:
        return self._repo.load().tags

    def branch_names(self) -> set[str]:
        return set(self.branches())

    def tag_names(self) -> set[str]:
        return set(self.tags())

    def lookup_branch(self, name: str) -> SnapshotId:
        return _found(self.branches(), name)

    def lookup_tag(self, name: str) -> SnapshotId:
        return _found(self.tags(), name)

    def writable_tip(self, branch: str) -> SnapshotId:
        """Return the tip of a branch that somebody wants to write to."""
        info = self._repo.load()
        check_online(info.status, "Cannot create writable session")
        return _found(info.branches, branch)

    def rearrangeable_tip(self, branch: str) -> SnapshotId:
        """Return the tip of a branch that somebody wants to move nodes on."""
        info = self._repo.load()
        check_online(info.status, "Cannot create rearrange session")
        check_flag(MOVE_NODE, info, "create rearrange session")
        return _found(info.branches, branch)

    def lookup_snapshot(self, id: SnapshotId) -> SnapshotRecord:
        return _record(self._repo.load(), id)

    def check_snapshot(self, id: SnapshotId) -> None:
        _record(self._repo.load(), id)

    def ancestry(self, id: SnapshotId) -> Iterator[SnapshotRecord]:
        """Yield the snapshot and its ancestors, newest first, as of now."""
        info = self._repo.load()
        _record(info, id)
        return iter(info.ancestry(id))

    def ancestry_of_branch(self, name: str) -> Iterator[SnapshotRecord]:
        info = self._repo.load()
        return iter(info.ancestry(_found(info.branches, name)))

    def ancestry_of_tag(self, name: str) -> Iterator[SnapshotRecord]:
        info = self._repo.load()
        return iter(info.ancestry(_found(info.tags, name)))

    def has_commit(self, branch: str | None, id: SnapshotId) -> bool:
        return self._repo.load().find_snapshot(id) is not None

    @property
    def state(self) -> RepositoryState:
        """What the repository says about itself."""
        return RepositoryState(self._repo, self._changed)

    def ops_log(self) -> Iterator[LoggedUpdate]:
        """Yield what was done, newest first, as of now."""
        return read_ops_log(self._repo.load().latest_updates, self._assets.backend)

    # -- branches ---------------------------------------------------------------------------------

    def create_branch(self, name: str, id: SnapshotId) -> None:
        def change(now: Change) -> RepoInfo:
            _record(now.info, id)
            tip = now.info.branches.get(name)
            if tip is not None:
                raise AlreadyExistsError(
                    f"branch already exists `{name} -> {tip}`", kind=ErrorKind.BRANCH_ALREADY_EXISTS
                )
            return self._changed(now, BranchCreated(name), branches={**now.info.branches, name: id})

        self._repo.update(change)

    def delete_branch(self, name: str) -> None:
        if name == "main":
            raise main_cannot_be_deleted()

        def change(now: Change) -> RepoInfo:
            tip = _found(now.info.branches, name)
            rest = {other: id for other, id in now.info.branches.items() if other != name}
            return self._changed(now, BranchDeleted(name, tip), branches=rest)

        self._repo.update(change)

    def reset_branch(self, name: str, to: SnapshotId, *, expected_tip: SnapshotId | None) -> None:
        def change(now: Change) -> RepoInfo:
            tip = now.info.branches.get(name)
            if tip is None:
                raise branch_not_found(name) if expected_tip is not None else ref_not_found(name)
            if expected_tip is not None and tip != expected_tip:
                raise branch_update_conflict(expected_tip, tip)
            _record(now.info, to)
            return self._changed(now, BranchReset(name, tip), branches={**now.info.branches, name: to})

        self._repo.update(change)

    # -- tags -------------------------------------------------------------------------------------

    def create_tag(self, name: str, id: SnapshotId) -> None:
        def change(now: Change) -> RepoInfo:
            check_flag(CREATE_TAG, now.info, "tag creation")
            _record(now.info, id)
            if name in now.info.tags:
                raise AlreadyExistsError(
                    f"tag already exists, tags are immutable: `{name}`",
                    kind=ErrorKind.TAG_ALREADY_EXISTS,
                )
            if name in now.info.deleted_tags:
                raise AlreadyExistsError(
                    f"icechunk does not allow tag reuse and tag was already deleted `{name}`",
                    kind=ErrorKind.TAG_PREVIOUSLY_DELETED,
                )
            return self._changed(now, TagCreated(name), tags={**now.info.tags, name: id})

        self._repo.update(change)

    def delete_tag(self, name: str) -> None:
        def change(now: Change) -> RepoInfo:
            check_flag(DELETE_TAG, now.info, "tag delete")
            target = _found(now.info.tags, name)
            return self._changed(
                now,
                TagDeleted(name, target),
                tags={other: id for other, id in now.info.tags.items() if other != name},
                deleted_tags=sorted({*now.info.deleted_tags, name}),
            )

        self._repo.update(change)

    # -- commits and configuration ----------------------------------------------------------------

    def look(self) -> object:
        """See `icechunk._engine.session.history.History`."""
        return self._repo.look()

    def publish_commit(self, branch: str, publication: Publication, *, expected_tip: SnapshotId) -> None:
        """See `icechunk._engine.session.history.History`."""

        def change(now: Change) -> RepoInfo:
            _check_commit(now.info, branch, expected_tip, rearranges=publication.rearranges)
            return self._changed(
                now,
                NewCommit(branch, publication.snapshot.id),
                add_snapshots=[publication.snapshot],
                branches={**now.info.branches, branch: publication.snapshot.id},
            )

        self._repo.update(change, seen=publication.seen, check=publication.check)

    def publish_amend(self, branch: str, publication: Publication, *, expected_tip: SnapshotId) -> None:
        """See `icechunk._engine.session.history.History`."""

        def change(now: Change) -> RepoInfo:
            _check_commit(now.info, branch, expected_tip, rearranges=publication.rearranges)
            replaced = _record(now.info, expected_tip)
            if replaced.parent_id is None:
                raise amend_of_first_commit()
            amended = replace(
                publication.snapshot,
                parent_id=replaced.parent_id,
                pruned_ancestor_tx_logs=replaced.pruned_ancestor_tx_logs,
            )
            return self._changed(
                now,
                CommitAmended(branch, expected_tip, publication.snapshot.id),
                add_snapshots=[amended],
                branches={**now.info.branches, branch: publication.snapshot.id},
            )

        self._repo.update(change, seen=publication.seen, check=publication.check)

    def publish_detached(self, publication: Publication) -> None:
        """See `icechunk._engine.session.history.History`."""

        def change(now: Change) -> RepoInfo:
            if publication.rearranges:
                check_flag(MOVE_NODE, now.info, "flush rearrange session")
            return self._changed(
                now, NewDetachedSnapshot(publication.snapshot.id), add_snapshots=[publication.snapshot]
            )

        self._repo.update(change, seen=publication.seen, check=publication.check)

    def check_rearrangement(self, action: str) -> None:
        """See `icechunk._engine.session.history.History`."""
        check_flag(MOVE_NODE, self._repo.load(), action)

    def newer_commits(self, branch: str, base: SnapshotId) -> NewerCommits | None:
        """See `icechunk._engine.session.history.History`."""
        info = self._repo.load()
        tip = info.branches.get(branch)
        if tip is None:
            return None
        newer: list[NewerCommit] = []
        for record in info.ancestry(tip):
            if record.id == base:
                break
            pruned = record.pruned_ancestor_tx_logs
            if base in pruned:
                # The base has expired; what came after it has not been forgotten.
                newer.append(NewerCommit(record.id, pruned[pruned.index(base) + 1 :]))
                break
            newer.append(NewerCommit(record.id, pruned))
        else:
            return NewerCommits(tip, (), descends=False)
        return NewerCommits(tip, newer[::-1])

    def save_config_document(self, document: Mapping[str, JsonValue]) -> None:
        """Persist the configuration, whatever was there."""
        self._repo.update(lambda now: self._changed(now, ConfigChanged(), config=document))

    def _changed(self, now: Change, update: UpdateKind, **parts: Any) -> RepoInfo:
        return now.info.updated(
            update=update,
            updated_at=now.updated_at,
            backup_name=now.backup_name,
            updates_per_file=self._assets.settings.num_updates_per_repo_info_file,
            **parts,
        )


def _found(refs: Mapping[str, SnapshotId], name: str) -> SnapshotId:
    id = refs.get(name)
    if id is None:
        raise ref_not_found(name)
    return id


def _record(info: RepoInfo, id: SnapshotId) -> SnapshotInfoRecord:
    record = info.find_snapshot(id)
    if record is None:
        raise snapshot_not_found(id)
    return record


def _check_commit(info: RepoInfo, branch: str, expected_tip: SnapshotId, *, rearranges: bool) -> None:
    """Raise unless a commit may be put on top of `expected_tip`, or in its place."""
    if rearranges:
        check_flag(MOVE_NODE, info, "commit rearrange session")
    tip = info.branches.get(branch)
    if tip is None:
        raise branch_not_found(branch)
    if tip != expected_tip:
        raise commit_conflict(expected_tip, tip)

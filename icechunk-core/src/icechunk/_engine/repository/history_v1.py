"""Refs and history of a spec 1 repository: a small object for each ref, a chain of snapshot files.

Protocol 3.1 and 3.2, second columns.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator
from enum import Enum
from functools import partial
from typing import TYPE_CHECKING, Any, Final, NamedTuple, NoReturn

from icechunk._engine.assets.clock import now_us
from icechunk._engine.assets.fanout import run_all
from icechunk._engine.format.config_document import encode_yaml
from icechunk._engine.format.ids import ObjectId12
from icechunk._engine.format.layout import (
    CONFIG_PATH,
    REFS_PREFIX,
    RefEntry,
    backup_name,
    backup_path,
    branch_ref_path,
    parse_ref_path,
    snapshot_path,
    tag_ref_path,
    tag_tombstone_path,
)
from icechunk._engine.format.refs_v1 import decode_ref, encode_ref
from icechunk._engine.format.repo_info_records import NewSnapshot
from icechunk._engine.repository.records import Refs
from icechunk._engine.repository.ref_errors import (
    branch_update_conflict,
    commit_conflict,
    main_cannot_be_deleted,
    ref_not_found,
)
from icechunk._engine.repository.repo_file import wait_after
from icechunk._engine.session.history import NewerCommit, NewerCommits, Publication
from icechunk._engine.session.kinds import needs_spec_2
from icechunk.abc.storage import (
    NOT_YET_CREATED,
    Landed,
    LostRace,
    ObjectKind,
    PutOutcome,
    Version,
)
from icechunk.errors import (
    AlreadyExistsError,
    ConflictError,
    ErrorKind,
    FormatError,
    InvalidInputError,
    ObjectNotFoundError,
    StorageError,
)

if TYPE_CHECKING:
    from collections.abc import Mapping

    from icechunk._engine.assets.assets import Assets
    from icechunk._engine.format.ids import SnapshotId
    from icechunk._engine.format.values import JsonValue

_log = logging.getLogger("icechunk.repository")

_JSON = "application/json"
_YAML = "application/yaml"


class _Ref(NamedTuple):
    target: SnapshotId
    version: Version


class _Unread(Enum):
    UNREAD = "unread"


_UNREAD: Final = _Unread.UNREAD


class HistoryV1:
    """Each ref is one object, changed by compare-and-set; the history is in the snapshots."""

    spec_version = 1

    def __init__(self, assets: Assets, *, config_version: Version | None = None) -> None:
        self._assets = assets
        # The version of config.yaml that this handle has seen; None if there was none.
        self._config_version = config_version

    def __reduce__(self) -> tuple[Callable[..., HistoryV1], tuple[Assets, Version | None]]:
        return _restored, (self._assets, self._config_version)

    def over(self, assets: Assets) -> HistoryV1:
        """Return the same history over other assets of the same repository."""
        return HistoryV1(assets, config_version=self._config_version)

    # -- reading ----------------------------------------------------------------------------------

    def refs(self) -> Refs:
        branches, tags = sorted(self.branch_names()), sorted(self.tag_names())
        paths = [*map(branch_ref_path, branches), *map(tag_ref_path, tags)]
        found = self._assets.run_requests([partial(self._find, path) for path in paths])
        # A branch that is gone by now is as good as one that was deleted before.
        targets = [None if ref is None else ref.target for ref in found]
        return Refs(
            {name: id for name, id in zip(branches, targets, strict=False) if id is not None},
            {name: id for name, id in zip(tags, targets[len(branches) :], strict=True) if id is not None},
            self.lookup_snapshot,
        )

    def branch_names(self) -> set[str]:
        return {entry.name for entry in self._entries() if not entry.is_tag}

    def tag_names(self) -> set[str]:
        names: set[str] = set()
        deleted: set[str] = set()
        for entry in self._entries():
            if entry.is_tag:
                (deleted if entry.is_tombstone else names).add(entry.name)
        return names - deleted

    def lookup_branch(self, name: str) -> SnapshotId:
        _check_name(name)
        ref = self._find(branch_ref_path(name))
        if ref is None:
            raise ref_not_found(name)
        return ref.target

    def lookup_tag(self, name: str) -> SnapshotId:
        _check_name(name)
        ref = self._find(tag_ref_path(name))
        if ref is None or self._exists(tag_tombstone_path(name)):
            raise ref_not_found(name)
        return ref.target

    def writable_tip(self, branch: str) -> SnapshotId:
        """Return the tip of a branch that somebody wants to write to."""
        return self.lookup_branch(branch)

    def rearrangeable_tip(self, branch: str) -> SnapshotId:
        """Refuse: spec 1 has no moves."""
        raise needs_spec_2()

    def check_snapshot(self, id: SnapshotId) -> None:
        self._assets.load_snapshot(id)

    def lookup_snapshot(self, id: SnapshotId) -> NewSnapshot:
        snapshot = self._assets.load_snapshot(id)
        return NewSnapshot(
            id=snapshot.id,
            parent_id=snapshot.parent_id,
            flushed_at=snapshot.flushed_at,
            message=snapshot.message,
            metadata=snapshot.metadata,
        )

    def ancestry(self, id: SnapshotId) -> Iterator[NewSnapshot]:
        """Yield the snapshot and its ancestors, newest first: one GET each, unless cached."""
        # The first is read at once, so that an unknown id is an error here and not later.
        return self._chain(self.lookup_snapshot(id))

    def _chain(self, record: NewSnapshot) -> Iterator[NewSnapshot]:
        seen = {record.id}
        yield record
        while (parent := record.parent_id) is not None:
            if parent in seen:
                raise FormatError(
                    f"the history of snapshot {record.id} goes round in a circle",
                    kind=ErrorKind.INVALID_FILE_FORMAT,
                )
            seen.add(parent)
            record = self.lookup_snapshot(parent)
            yield record

    def ancestry_of_branch(self, name: str) -> Iterator[NewSnapshot]:
        return self.ancestry(self.lookup_branch(name))

    def ancestry_of_tag(self, name: str) -> Iterator[NewSnapshot]:
        return self.ancestry(self.lookup_tag(name))

    def has_commit(self, branch: str | None, id: SnapshotId) -> bool:
        if branch is None:
            return self._exists(snapshot_path(id))
        ref = self._find(branch_ref_path(branch))
        return ref is not None and self._descends(ref.target, id)

    def _descends(self, tip: SnapshotId, ancestor: SnapshotId) -> bool:
        return any(record.id == ancestor for record in self.ancestry(tip))

    # -- branches ---------------------------------------------------------------------------------

    def create_branch(self, name: str, id: SnapshotId) -> None:
        _check_name(name)
        self.check_snapshot(id)
        self._create_branch(name, id)

    def create_main(self, id: SnapshotId) -> None:
        """Write the first ref of a new repository."""
        self._create_branch("main", id)

    def _create_branch(self, name: str, id: SnapshotId) -> None:
        path = branch_ref_path(name)
        if not self._create_ref(path, id):
            there = self._find(path)
            raise branch_update_conflict(None, None if there is None else there.target)

    def delete_branch(self, name: str) -> None:
        if name == "main":
            raise main_cannot_be_deleted()
        _check_name(name)
        path = branch_ref_path(name)
        # Spec 1 has no conditional delete. Where there is a lock, no commit slips in between.
        with self._assets.backend.exclusive(path):
            if self._find(path) is None:
                raise ref_not_found(name)
            failures = self._assets.backend.delete([path])
        for failure in failures:
            raise StorageError(
                f"cannot delete `{failure.path}`: {failure.reason}", kind=ErrorKind.OBJECT_STORE
            )

    def reset_branch(self, name: str, to: SnapshotId, *, expected_tip: SnapshotId | None) -> None:
        _check_name(name)
        self.check_snapshot(to)
        replaced: set[SnapshotId] = set()

        def check(ref: _Ref | None) -> None:
            tip = None if ref is None else ref.target
            if expected_tip is not None and tip != expected_tip:
                raise branch_update_conflict(expected_tip, tip)
            if tip is None:
                raise ref_not_found(name)
            replaced.add(tip)

        def landed(ref: _Ref) -> bool:
            # Others may have committed on top of us before we look again; then the way down from
            # their commit meets the target before the tip that we meant to replace.
            for record in self.ancestry(ref.target):
                if record.id == to or record.id in replaced:
                    return record.id == to
            return False

        self._move(branch_ref_path(name), to, check, landed=landed)

    def look(self) -> object:
        """See `icechunk._engine.session.history.History`: the branch's ref is read beside the check."""
        return None

    def publish_commit(self, branch: str, publication: Publication, *, expected_tip: SnapshotId) -> None:
        """See `icechunk._engine.session.history.History`."""
        if publication.rearranges:
            raise needs_spec_2()
        path = branch_ref_path(branch)
        ref: _Ref | _Unread | None = _UNREAD
        if publication.check is not None:
            found: list[Any] = run_all([partial(self._find, path), publication.check])
            ref = found[0]

        def check_tip(ref: _Ref | None) -> None:
            if ref is None or ref.target != expected_tip:
                raise commit_conflict(expected_tip, None if ref is None else ref.target)

        self._move(
            path,
            publication.snapshot.id,
            check_tip,
            # Others may have committed on top of us before we look again.
            landed=lambda ref: self._descends(ref.target, publication.snapshot.id),
            known=ref,
        )

    def check_rearrangement(self, action: str) -> None:
        """Refuse: spec 1 has no moves."""
        raise needs_spec_2()

    def newer_commits(self, branch: str, base: SnapshotId) -> NewerCommits | None:
        """See `icechunk._engine.session.history.History`."""
        ref = self._find(branch_ref_path(branch))
        if ref is None:
            return None
        newer: list[NewerCommit] = []
        # Not from the tip's own file if there is nothing to do: that would be a read for nothing.
        if ref.target != base:
            for record in self.ancestry(ref.target):
                if record.id == base:
                    break
                newer.append(NewerCommit(record.id))
            else:
                return NewerCommits(ref.target, (), descends=False)
        return NewerCommits(ref.target, newer[::-1])

    def publish_amend(self, branch: str, publication: Publication, *, expected_tip: SnapshotId) -> None:
        """Refuse: the parent of a snapshot is in its file, and commits are never rewritten."""
        raise needs_spec_2()

    def publish_detached(self, publication: Publication) -> None:
        """See `icechunk._engine.session.history.History`: there is nothing to write."""
        if publication.rearranges:
            raise needs_spec_2()
        if publication.check is not None:
            publication.check()

    def _move(
        self,
        path: str,
        to: SnapshotId,
        check: Callable[[_Ref | None], None],
        *,
        landed: Callable[[_Ref], bool],
        known: _Ref | _Unread | None = _UNREAD,
    ) -> None:
        """Point a branch to another snapshot, if `check` accepts what it points to now.

        `landed` tells from the branch's state whether an attempt whose answer was lost has
        succeeded after all. `known` is what has just been read of it, if anything.
        """
        settings = self._assets.settings
        losses = 0
        is_unresolved = False
        while True:
            with self._assets.backend.exclusive(path):
                ref = self._find(path) if known is _UNREAD else known
                known = _UNREAD
                if is_unresolved and ref is not None and landed(ref):
                    return
                check(ref)
                outcome = self._assets.backend.put(
                    path,
                    encode_ref(to),
                    expected=NOT_YET_CREATED if ref is None else ref.version,
                    kind=ObjectKind.REF,
                    content_type=_JSON,
                )
            if isinstance(outcome, Landed):
                _log.info("`%s` leads to %s in %s", path, to, self._assets.location)
                return
            if isinstance(outcome, LostRace):
                _log.debug("somebody else has updated `%s` meanwhile; trying again", path)
            else:
                _log.warning("storage did not answer whether `%s` was written; looking whether it was", path)
                is_unresolved = True
            losses += 1
            if losses > settings.repo_update_max_tries:
                raise ConflictError(
                    message=f"ref `{path}` cannot be updated after {settings.repo_update_max_tries} attempts, "
                    "too many concurrent changes",
                    kind=ErrorKind.UPDATE_ATTEMPTS_EXHAUSTED,
                )
            wait_after(losses, settings)

    # -- tags -------------------------------------------------------------------------------------

    def create_tag(self, name: str, id: SnapshotId) -> None:
        _check_name(name)
        self.check_snapshot(id)
        if self._exists(tag_tombstone_path(name)) or not self._create_ref(tag_ref_path(name), id):
            raise AlreadyExistsError(
                f"tag already exists, tags are immutable: `{name}`",
                kind=ErrorKind.TAG_ALREADY_EXISTS,
            )

    def delete_tag(self, name: str) -> None:
        self.lookup_tag(name)
        # Lost or unknown: whoever it was, the tag is deleted or its deletion can be repeated.
        outcome = self._assets.backend.put(
            tag_tombstone_path(name), b"", expected=NOT_YET_CREATED, kind=ObjectKind.REF
        )
        if isinstance(outcome, LostRace):
            raise ref_not_found(name)
        if not isinstance(outcome, Landed) and not self._exists(tag_tombstone_path(name)):
            raise _no_answer(tag_tombstone_path(name), outcome)

    # -- configuration ----------------------------------------------------------------------------

    def save_config_document(self, document: Mapping[str, JsonValue]) -> None:
        """Persist the configuration, if nobody else has since this handle read or wrote it."""
        data = encode_yaml(document)
        backend = self._assets.backend
        outcome: PutOutcome
        if self._config_version is None:
            outcome = backend.put(
                CONFIG_PATH,
                data,
                expected=NOT_YET_CREATED,
                kind=ObjectKind.REF,
                content_type=_YAML,
            )
        else:
            name = backup_name(CONFIG_PATH, now_us() // 1000, str(ObjectId12.random()))
            outcome = backend.replace(
                CONFIG_PATH,
                data,
                expected=self._config_version,
                backup=backup_path(name),
                kind=ObjectKind.REF,
                content_type=_YAML,
            )
        if isinstance(outcome, Landed):
            self._config_version = outcome.version
            return
        if not isinstance(outcome, LostRace):
            version = self._version_of(CONFIG_PATH, data)
            if version is not None:
                self._config_version = version
                return
        raise ConflictError(message="config was updated by other session", kind=ErrorKind.CONFIG_UPDATED)

    # -- what only spec 2 has ---------------------------------------------------------------------

    @property
    def state(self) -> NoReturn:
        raise needs_spec_2()

    def ops_log(self) -> NoReturn:
        raise needs_spec_2()

    # -- objects ----------------------------------------------------------------------------------

    def _entries(self) -> Iterator[RefEntry]:
        for path in self._assets.backend.list_paths(REFS_PREFIX):
            yield parse_ref_path(path)

    def _find(self, path: str) -> _Ref | None:
        try:
            data, version = self._assets.backend.fetch(path)
        except ObjectNotFoundError:
            return None
        return _Ref(decode_ref(data, name=path), version or Version(""))

    def _exists(self, path: str) -> bool:
        try:
            self._assets.backend.stat(path)
        except ObjectNotFoundError:
            return False
        return True

    def _version_of(self, path: str, data: bytes) -> Version | None:
        """Return the version of an object if it is there and holds just `data`."""
        try:
            found, version = self._assets.backend.fetch(path)
        except ObjectNotFoundError:
            return None
        return (version or Version("")) if found == data else None

    def _create_ref(self, path: str, id: SnapshotId) -> bool:
        """Write a ref if there is none; tell whether it is ours that is there now."""
        data = encode_ref(id)
        outcome = self._assets.backend.put(
            path, data, expected=NOT_YET_CREATED, kind=ObjectKind.REF, content_type=_JSON
        )
        if isinstance(outcome, (Landed, LostRace)):
            return isinstance(outcome, Landed)
        # Ours, or another's that says the same: no difference can be seen.
        if self._version_of(path, data) is not None:
            return True
        if self._exists(path):
            return False
        raise _no_answer(path, outcome)


def _restored(assets: Assets, config_version: Version | None) -> HistoryV1:
    return HistoryV1(assets, config_version=config_version)


def _check_name(name: str) -> None:
    if "/" in name:
        raise InvalidInputError(f"invalid ref name `{name}`", kind=ErrorKind.INVALID_REF_NAME)


def _no_answer(path: str, outcome: PutOutcome) -> StorageError:
    cause = getattr(outcome, "cause", None)
    error = StorageError(
        f"storage did not answer whether it wrote `{path}`, and it is not there: {cause}",
        kind=ErrorKind.OBJECT_STORE,
    )
    error.__cause__ = cause
    return error

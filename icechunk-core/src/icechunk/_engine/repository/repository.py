"""One repository as the public `Repository` sees it, whatever its format version."""

from __future__ import annotations

from typing import TYPE_CHECKING

from icechunk._engine.assets.assets import Assets
from icechunk._engine.assets.clock import as_microseconds, time_text
from icechunk._engine.format.config_document import decode_yaml
from icechunk._engine.format.layout import CONFIG_PATH
from icechunk._engine.format.values import to_json_object
from icechunk._engine.repository import comparing, graphing, inspection
from icechunk._engine.repository.history_v1 import HistoryV1
from icechunk._engine.repository.history_v2 import HistoryV2
from icechunk._engine.repository.opening import (
    Found,
    check_can_create,
    create_v1,
    create_v2,
    find_repository,
)
from icechunk._engine.repository.ref_errors import branch_not_found, repository_not_found
from icechunk._engine.repository.repo_file import RepoFile
from icechunk._engine.session.kinds import SessionKind
from icechunk._engine.session.session import EngineSession
from icechunk._values.attribution import Attribution
from icechunk._values.config_document import config_from_document, config_to_document
from icechunk._values.effective import EffectiveSettings
from icechunk._values.repository_config import RepositoryConfig
from icechunk._values.storage_settings import StorageSettings
from icechunk.errors import (
    ConflictError,
    ErrorKind,
    InvalidInputError,
    ReadOnlyError,
    RefNotFoundError,
    RepositoryNotFoundError,
    SnapshotNotFoundError,
)
from icechunk.plugins import registry

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from datetime import datetime

    from icechunk._display.graph_layout import Layout
    from icechunk._engine.format.ids import ManifestId, SnapshotId
    from icechunk._engine.format.snapshot_records import ManifestFileInfo
    from icechunk._engine.format.values import JsonValue
    from icechunk._engine.repository.ops_log import LoggedUpdate
    from icechunk._engine.repository.records import RefsAndHistory, SnapshotRecord
    from icechunk._values.diff import Diff
    from icechunk._values.repository_state import RepoStatus
    from icechunk.abc.locations import Location


class EngineRepository:
    """A handle on a repository: its configuration, its caches, and its history.

    Safe to use from many threads, and in forked children; it pickles, without its caches.
    """

    def __init__(self, assets: Assets, history: RefsAndHistory, config: RepositoryConfig) -> None:
        self.assets = assets
        self.history = history
        self.config = config
        self.default_commit_metadata: Mapping[str, JsonValue] = {}
        """What the metadata of commits begins with, in sessions that are made from now on."""
        self.attribution = Attribution()
        """Who this handle makes its requests for."""

    @property
    def location(self) -> Location:
        """Where the repository is."""
        return self.assets.location

    @property
    def spec_version(self) -> int:
        """The version of the repository's format: 1 or 2."""
        return self.history.spec_version

    # -- from nothing to a repository -------------------------------------------------------------

    @classmethod
    def create(
        cls,
        location: Location,
        config: RepositoryConfig | None,
        *,
        spec_version: int,
        check_clean_root: bool,
    ) -> EngineRepository:
        """Make a repository. `config` is persisted if it is given and says anything."""
        merged = _resolved(location, None, config)
        assets = _assets(location, merged)
        check_can_create(assets.backend, check_clean_root=check_clean_root)
        document = None
        if config is not None and config != RepositoryConfig():
            document = config_to_document(merged)
        history: RefsAndHistory = (
            create_v1(assets, document) if spec_version == 1 else create_v2(assets, document)
        )
        return cls(assets, history, merged)

    @classmethod
    def open(cls, location: Location, config: RepositoryConfig | None) -> EngineRepository:
        """Open the repository that is there; `config` goes over what is persisted.

        One GET on local storage; three side by side on remote storage.
        """
        found, assets = _find(location, config)
        if found is None:
            raise repository_not_found()
        repo_file = RepoFile(assets)
        document = _persisted(found, repo_file)
        merged = _resolved(location, document, config)
        assets = _reconfigured(assets, merged)
        if found.repo is None:
            config_version = None if found.config is None else found.config.version
            return cls(assets, HistoryV1(assets, config_version=config_version), merged)
        return cls(assets, HistoryV2(assets, repo_file.over(assets)), merged)

    @classmethod
    def open_or_create(
        cls,
        location: Location,
        config: RepositoryConfig | None,
        *,
        spec_version: int,
        check_clean_root: bool,
    ) -> EngineRepository:
        """Open the repository that is there, whatever its version, or make one.

        Of several that do this at once, one makes the repository, and all of them open it.
        """
        try:
            return cls.open(location, config)
        except RepositoryNotFoundError:
            pass
        try:
            return cls.create(location, config, spec_version=spec_version, check_clean_root=check_clean_root)
        except (ConflictError, InvalidInputError):
            # Somebody else was faster, or the place is taken by something that is no repository.
            try:
                return cls.open(location, config)
            except RepositoryNotFoundError:
                pass
            raise

    @classmethod
    def find_spec_version(cls, location: Location, settings: StorageSettings | None) -> int | None:
        """Return the format version of the repository at `location`, `None` if there is none."""
        config = None if settings is None else RepositoryConfig(storage=settings)
        found, _assets = _find(location, config)
        return None if found is None else found.spec_version

    @classmethod
    def fetch_config(cls, location: Location) -> RepositoryConfig | None:
        """Return the configuration that is persisted, without anybody's defaults.

        Raises
        ------
        RepositoryNotFoundError
            There is no repository.
        """
        found, assets = _find(location, None)
        if found is None:
            raise repository_not_found()
        document = _persisted(found, RepoFile(assets))
        return None if document is None else config_from_document(document)

    def save_config(self) -> None:
        """Persist this handle's configuration."""
        self._check_can_write()
        self.history.save_config_document(config_to_document(self.config))

    def reopen(self, config: RepositoryConfig | None) -> EngineRepository:
        """Return another handle, with `config` over this one's. No I/O; caches are shared."""
        merged = _with_storage_defaults(
            self.location, self.config if config is None else self.config.merge(config)
        )
        assets = _reconfigured(self.assets, merged)
        other = EngineRepository(assets, self.history.over(assets), merged)
        other.attribution = self.attribution
        return other

    # -- branches and tags ------------------------------------------------------------------------

    def create_branch(self, name: str, id: SnapshotId) -> None:
        self._check_can_write()
        self.history.create_branch(name, id)

    def delete_branch(self, name: str) -> None:
        self._check_can_write()
        self.history.delete_branch(name)

    def reset_branch(self, name: str, to: SnapshotId, *, expected_tip: SnapshotId | None) -> None:
        self._check_can_write()
        self.history.reset_branch(name, to, expected_tip=expected_tip)

    def create_tag(self, name: str, id: SnapshotId) -> None:
        self._check_can_write()
        self.history.create_tag(name, id)

    def delete_tag(self, name: str) -> None:
        self._check_can_write()
        self.history.delete_tag(name)

    def _check_can_write(self) -> None:
        if not self.assets.backend.can.write:
            raise ReadOnlyError(
                "the storage used by this Icechunk repository is read-only",
                kind=ErrorKind.READ_ONLY_STORAGE,
            )

    # -- history ----------------------------------------------------------------------------------

    def resolve(
        self,
        *,
        branch: str | None = None,
        tag: str | None = None,
        snapshot_id: SnapshotId | None = None,
        as_of: datetime | None = None,
    ) -> SnapshotId:
        """Return the snapshot that the one of these that is given names, and that exists.

        `as_of` goes with a branch: the newest snapshot in its ancestry that was written then or
        before.
        """
        if branch is not None:
            if as_of is None:
                return self.history.lookup_branch(branch)
            return self._as_of(branch, as_of)
        if tag is not None:
            return self.history.lookup_tag(tag)
        if snapshot_id is None:
            raise ValueError("Must provide one of branch, tag, or snapshot_id")
        self.history.check_snapshot(snapshot_id)
        return snapshot_id

    def _as_of(self, branch: str, as_of: datetime) -> SnapshotId:
        moment = as_microseconds(as_of)
        try:
            records = self.history.ancestry_of_branch(branch)
        except RefNotFoundError:
            if self.spec_version == 1:
                raise
            # Spec 2 has a kind of its own for this.
            raise branch_not_found(branch) from None
        for record in records:
            if record.flushed_at <= moment:
                return record.id
        raise SnapshotNotFoundError(
            f"branch {branch} does not have a snapshots before or at {time_text(moment)}",
            kind=ErrorKind.NO_SNAPSHOT_AT_TIME,
        )

    def ancestry(
        self,
        *,
        branch: str | None = None,
        tag: str | None = None,
        snapshot_id: SnapshotId | None = None,
    ) -> Iterator[SnapshotRecord]:
        """Yield a snapshot and its ancestors, newest first."""
        if branch is not None:
            return self.history.ancestry_of_branch(branch)
        if tag is not None:
            return self.history.ancestry_of_tag(tag)
        if snapshot_id is None:
            raise ValueError("Must provide one of branch, tag, or snapshot_id")
        return self.history.ancestry(snapshot_id)

    def graph(
        self,
        *,
        branch: str | None = None,
        tag: str | None = None,
        snapshot_id: SnapshotId | None = None,
    ) -> Layout:
        """Lay out the history of a branch, a tag or a snapshot as a picture; by default, of all branches."""
        if branch is not None:
            return graphing.graph_of_branch(self.history, branch)
        if tag is not None:
            snapshot_id = self.history.lookup_tag(tag)
        if snapshot_id is not None:
            return graphing.graph_of_snapshot(self.history, snapshot_id)
        return graphing.graph_of_all(self.history)

    def diff(self, origin: SnapshotId, target: SnapshotId) -> Diff:
        """Return what the commits behind `origin`, up to `target`, have changed."""
        return comparing.diff(self.assets, self.history, origin, target)

    def ops_log(self) -> Iterator[LoggedUpdate]:
        """Yield what was done to the repository, newest first."""
        return self.history.ops_log()

    # -- what lies in its files -------------------------------------------------------------------

    def manifest_files(self, id: SnapshotId) -> list[ManifestFileInfo]:
        """Return the manifests that a snapshot refers to."""
        return self.assets.load_snapshot(id).manifest_files()

    def inspect_snapshot(self, id: SnapshotId) -> dict[str, JsonValue]:
        return inspection.inspect_snapshot(self.assets, id)

    def inspect_manifest(self, id: ManifestId) -> dict[str, JsonValue]:
        return inspection.inspect_manifest(self.assets, id)

    def inspect_transaction_log(self, id: SnapshotId) -> dict[str, JsonValue]:
        return inspection.inspect_transaction_log(self.assets, self.history, id)

    def inspect_repo_info(self) -> dict[str, JsonValue]:
        return inspection.inspect_repo_info(self.assets, self.history)

    # -- what the repository says of itself -------------------------------------------------------

    def set_metadata(self, metadata: Mapping[str, object]) -> None:
        new = to_json_object(metadata)
        self._check_can_write()
        self.history.state.set_metadata(new)

    def update_metadata(self, metadata: Mapping[str, object]) -> Mapping[str, JsonValue]:
        """Lay `metadata` over what is there, by top-level key, and return the result."""
        new = to_json_object(metadata)
        self._check_can_write()
        return self.history.state.update_metadata(new)

    def set_status(self, status: RepoStatus) -> None:
        self._check_can_write()
        self.history.state.set_status(status)

    def set_feature_flag(self, name: str, setting: bool | None) -> None:
        self._check_can_write()
        self.history.state.set_feature_flag(name, setting)

    # -- sessions ---------------------------------------------------------------------------------

    def readonly_session(self, id: SnapshotId) -> EngineSession:
        """Make a session that reads a snapshot, which exists. No I/O."""
        return EngineSession(self.assets, self.history, id, config=self.config, kind=SessionKind.READ_ONLY)

    def writable_session(self, branch: str) -> EngineSession:
        """Make a session that can commit to a branch. One conditional GET.

        Raises
        ------
        RefNotFoundError
            There is no such branch.
        ReadOnlyError
            The storage or the repository's status is read-only.
        """
        self._check_can_write()
        return self._session_on(branch, self.history.writable_tip(branch), SessionKind.EDIT)

    def rearrange_session(self, branch: str) -> EngineSession:
        """Make a session that can move nodes, and commit that to a branch. One conditional GET.

        Raises
        ------
        FormatError
            The repository is of spec version 1.
        SessionStateError
            A feature flag forbids it.
        RefNotFoundError, ReadOnlyError
            As for `writable_session`.
        """
        self._check_can_write()
        return self._session_on(branch, self.history.rearrangeable_tip(branch), SessionKind.REARRANGE)

    def _session_on(self, branch: str, tip: SnapshotId, kind: SessionKind) -> EngineSession:
        return EngineSession(
            self.assets,
            self.history,
            tip,
            config=self.config,
            kind=kind,
            branch=branch,
            default_metadata=self.default_commit_metadata,
        )


def _find(location: Location, config: RepositoryConfig | None) -> tuple[Found | None, Assets]:
    """Look for a repository, with the settings that are known before its own are."""
    assets = _assets(location, _resolved(location, None, config))
    return find_repository(assets.backend), assets


def _persisted(found: Found, repo_file: RepoFile) -> Mapping[str, JsonValue] | None:
    if found.repo is not None:
        return repo_file.remember(found.repo.data, found.repo.version).config
    return None if found.config is None else decode_yaml(found.config.data, name=CONFIG_PATH)


def _resolved(
    location: Location, document: Mapping[str, JsonValue] | None, config: RepositoryConfig | None
) -> RepositoryConfig:
    """Lay the user's configuration over the persisted one, and both over the storage's defaults."""
    merged = RepositoryConfig() if document is None else config_from_document(document)
    if config is not None:
        merged = merged.merge(config)
    return _with_storage_defaults(location, merged)


def _with_storage_defaults(location: Location, config: RepositoryConfig) -> RepositoryConfig:
    return RepositoryConfig(storage=registry.default_settings(location)).merge(config)


def _assets(location: Location, config: RepositoryConfig) -> Assets:
    return Assets(location, _storage_settings(config), EffectiveSettings.of(config))


def _storage_settings(config: RepositoryConfig) -> StorageSettings:
    return config.storage or StorageSettings()


def _reconfigured(assets: Assets, config: RepositoryConfig) -> Assets:
    return assets.reconfigured(_storage_settings(config), EffectiveSettings.of(config))

"""`Repository`: where everything begins, versioned arrays at one place."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from copy import deepcopy
from datetime import datetime
from typing import TYPE_CHECKING, Any

from icechunk._async_forms import async_class_form, async_form, async_iterator_form
from icechunk._display.blocks import Block
from icechunk._display.html import html
from icechunk._engine.format.ids import ManifestId, SnapshotId
from icechunk._engine.format.values import to_json_object
from icechunk._engine.repository.repository import EngineRepository
from icechunk._values.enums import SpecVersion
from icechunk._values.records import aware
from icechunk._values.repository_state import RepoStatus
from icechunk.config import Attribution, FeatureFlag, RepositoryConfig
from icechunk.errors import ErrorKind, FormatError, InvalidInputError
from icechunk.ops import Update
from icechunk.session import Session
from icechunk.snapshots import AncestryGraph, Diff, ManifestFileInfo, SnapshotInfo
from icechunk.storage import Storage, StorageSettings

if TYPE_CHECKING:
    from icechunk.conflicts import ConflictSolver
    from icechunk.store import IcechunkStore

__all__ = ["Repository"]


class Repository:
    """A handle on one repository.

    Make one with `create`, `open` or `open_or_create`. A handle keeps a configuration and caches, and
    reads the state of branches and tags anew for each question, so several handles, threads and
    processes see the same. It may be used from several threads and in forked children, and it
    pickles: the copy connects to the same storage, with the same configuration.

    Every method that reads or writes storage blocks; its twin with ``_async`` behind the name awaits.
    """

    _engine: EngineRepository

    def __init__(self, repository: EngineRepository) -> None:
        if not isinstance(repository, EngineRepository):
            raise TypeError(
                "use Repository.create, Repository.open or Repository.open_or_create; "
                f"a repository is not made from an instance of {type(repository)}"
            )
        self._engine = repository

    # -- making and opening -----------------------------------------------------------------------

    @classmethod
    def create(
        cls,
        storage: Storage,
        config: RepositoryConfig | None = None,
        *,
        spec_version: SpecVersion | int | None = None,
        check_clean_root: bool = True,
        attribution: Attribution | None = None,
    ) -> Repository:
        """Make a repository, with one empty snapshot and the branch `main`.

        Parameters
        ----------
        storage
            Where. Nothing may be there.
        config
            How the repository is to behave. Persisted, unless it says nothing.
        spec_version
            The version of the format, 1 or 2. By default the newest.
        check_clean_root
            Look whether anything is there. Without it only a repository is in the way.
        attribution
            Who this handle makes its requests for; labels for storage that keeps a record of such.

        Raises
        ------
        InvalidInputError
            Something is there.
        ConflictError
            A repository is there, or somebody else was faster.
        ReadOnlyError
            The storage is read-only.
        """
        labels = _checked_attribution(attribution)
        engine = EngineRepository.create(
            storage.location,
            _checked_config(config),
            spec_version=_spec_version(spec_version),
            check_clean_root=check_clean_root,
        )
        engine.attribution = labels
        return cls(engine)

    create_async = async_class_form(create)

    @classmethod
    def open(
        cls,
        storage: Storage,
        config: RepositoryConfig | None = None,
        *,
        attribution: Attribution | None = None,
    ) -> Repository:
        """Open the repository at a place.

        Parameters
        ----------
        storage
            Where.
        config
            What this handle does differently from the persisted configuration. Not persisted, unless
            `save_config` is called.
        attribution
            Who this handle makes its requests for; labels for storage that keeps a record of such.

        Raises
        ------
        RepositoryNotFoundError
            There is none.
        FormatError
            It is damaged, or of a newer format than this library knows.
        """
        labels = _checked_attribution(attribution)
        engine = EngineRepository.open(storage.location, _checked_config(config))
        engine.attribution = labels
        return cls(engine)

    open_async = async_class_form(open)  # noqa: A003

    @classmethod
    def open_or_create(
        cls,
        storage: Storage,
        config: RepositoryConfig | None = None,
        *,
        create_version: SpecVersion | int | None = None,
        check_clean_root: bool = True,
        attribution: Attribution | None = None,
    ) -> Repository:
        """Open the repository at a place, or make one if there is none.

        `create_version` and `check_clean_root` matter only if it is made; a repository of another
        version is opened as it is. Several may do this at once: all get the same repository.
        """
        labels = _checked_attribution(attribution)
        engine = EngineRepository.open_or_create(
            storage.location,
            _checked_config(config),
            spec_version=_spec_version(create_version),
            check_clean_root=check_clean_root,
        )
        engine.attribution = labels
        return cls(engine)

    open_or_create_async = async_class_form(open_or_create)

    @classmethod
    def exists(cls, storage: Storage, storage_settings: StorageSettings | None = None) -> bool:
        """Tell whether there is a repository."""
        version = EngineRepository.find_spec_version(storage.location, storage_settings)
        return version is not None

    exists_async = async_class_form(exists)

    @classmethod
    def fetch_spec_version(
        cls, storage: Storage, storage_settings: StorageSettings | None = None
    ) -> SpecVersion | None:
        """Return the format version of the repository that is there, `None` if there is none."""
        version = EngineRepository.find_spec_version(storage.location, storage_settings)
        return None if version is None else SpecVersion(version)

    fetch_spec_version_async = async_class_form(fetch_spec_version)

    # -- configuration ----------------------------------------------------------------------------

    @classmethod
    def fetch_config(cls, storage: Storage) -> RepositoryConfig | None:
        """Return the persisted configuration, `None` if the repository has none.

        Raises
        ------
        RepositoryNotFoundError
            There is no repository.
        """
        return EngineRepository.fetch_config(storage.location)

    fetch_config_async = async_class_form(fetch_config)

    def save_config(self) -> None:
        """Persist this handle's configuration, for everybody who opens the repository from now on.

        Raises
        ------
        ConflictError
            In a repository of spec version 1, the persisted configuration is not the one that this
            handle was opened with.
        """
        self._engine.save_config()

    save_config_async = async_form(save_config)

    def reopen(self, config: RepositoryConfig | None = None) -> Repository:
        """Return another handle with `config` over this handle's configuration.

        Needs no storage, and shares the caches.
        """
        return type(self)(self._engine.reopen(_checked_config(config)))

    reopen_async = async_form(reopen)

    @property
    def config(self) -> RepositoryConfig:
        """A copy of this handle's configuration; `reopen` makes a handle with another one."""
        return deepcopy(self._engine.config)

    @property
    def storage(self) -> Storage:
        """Where the repository is."""
        return Storage._from_location(self._engine.location)

    @property
    def attribution(self) -> Attribution:
        """Who this handle makes its requests for."""
        return self._engine.attribution

    @property
    def spec_version(self) -> SpecVersion:
        """The version of the repository's format."""
        return SpecVersion(self._engine.spec_version)

    def set_default_commit_metadata(self, metadata: dict[str, Any]) -> None:
        """Set what the metadata of commits begins with.

        Holds for sessions that are made by this handle from now on: for what they commit, amend and
        flush. What is given there goes over it, name by name. It is not persisted.

        Parameters
        ----------
        metadata
            JSON values by name.
        """
        if not isinstance(metadata, Mapping):
            raise TypeError(f"metadata is a dict, not an instance of {type(metadata)}")
        self._engine.default_commit_metadata = to_json_object(metadata)

    def default_commit_metadata(self) -> dict[str, Any]:
        """Return a copy of what the metadata of commits begins with."""
        return deepcopy(dict(self._engine.default_commit_metadata))

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
        self._engine.create_branch(_name(branch), SnapshotId.parse(snapshot_id))

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
        return str(self._engine.history.lookup_branch(_name(branch)))

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
        expected = None if from_snapshot_id is None else SnapshotId.parse(from_snapshot_id)
        self._engine.reset_branch(_name(branch), SnapshotId.parse(snapshot_id), expected_tip=expected)

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
        self._engine.delete_branch(_name(branch))

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
        self._engine.create_tag(_name(tag), SnapshotId.parse(snapshot_id))

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
        return str(self._engine.history.lookup_tag(_name(tag)))

    lookup_tag_async = async_form(lookup_tag)

    def delete_tag(self, tag: str) -> None:
        """Delete a tag, and no snapshots.

        Raises
        ------
        RefNotFoundError
            There is no such tag.
        """
        self._engine.delete_tag(_name(tag))

    delete_tag_async = async_form(delete_tag)

    # -- history ----------------------------------------------------------------------------------

    def lookup_snapshot(self, snapshot_id: str) -> SnapshotInfo:
        """Return what is known of a snapshot.

        Raises
        ------
        SnapshotNotFoundError
            There is no such snapshot (spec version 1: an `ObjectNotFoundError`).
        """
        return SnapshotInfo._of(self._engine.history.lookup_snapshot(SnapshotId.parse(snapshot_id)))

    lookup_snapshot_async = async_form(lookup_snapshot)

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
        _exactly_one(branch, tag, snapshot_id)
        records = self._engine.ancestry(
            branch=branch,
            tag=tag,
            snapshot_id=None if snapshot_id is None else SnapshotId.parse(snapshot_id),
        )
        return map(SnapshotInfo._of, records)

    async_ancestry = async_iterator_form(ancestry, name="async_ancestry")

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
        if (branch, tag, snapshot_id) != (None, None, None):
            _exactly_one(branch, tag, snapshot_id)
        id = None if snapshot_id is None else SnapshotId.parse(snapshot_id)
        return AncestryGraph._of(self._engine.graph(branch=branch, tag=tag, snapshot_id=id), plain=plain)

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
        _exactly_one(from_branch, from_tag, from_snapshot_id)
        _exactly_one(to_branch, to_tag, to_snapshot_id)
        origin = self._resolve(from_branch, from_tag, from_snapshot_id)
        return self._engine.diff(origin, self._resolve(to_branch, to_tag, to_snapshot_id))

    diff_async = async_form(diff)

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

    ops_log_async = async_iterator_form(ops_log)

    # -- what lies in its files -------------------------------------------------------------------

    def list_manifest_files(self, snapshot_id: str) -> list[ManifestFileInfo]:
        """Return the manifests that a snapshot refers to, with their sizes. One GET, unless cached.

        Raises
        ------
        StorageError
            There is no such snapshot.
        """
        return [
            ManifestFileInfo._of(str(id), size_bytes=size_bytes, num_chunk_refs=num_refs)
            for id, size_bytes, num_refs in self._engine.manifest_files(SnapshotId.parse(snapshot_id))
        ]

    list_manifest_files_async = async_form(list_manifest_files)

    def inspect_snapshot(self, snapshot_id: str) -> dict[str, Any]:
        """Report what lies in the file of a snapshot, as JSON: nodes, shapes, manifests, metadata.

        Raises
        ------
        StorageError
            There is no such snapshot.
        """
        return self._engine.inspect_snapshot(SnapshotId.parse(snapshot_id))

    inspect_snapshot_async = async_form(inspect_snapshot)

    def inspect_repo_info(self) -> dict[str, Any]:
        """Report what lies in the file `repo`, as JSON: refs, snapshots, the newest of the ops log.

        Raises
        ------
        FormatError
            The repository is of spec version 1, which has no such file.
        """
        return self._engine.inspect_repo_info()

    inspect_repo_info_async = async_form(inspect_repo_info)

    def inspect_manifest(self, manifest_id: str) -> dict[str, Any]:
        """Report what lies in a manifest, as JSON: how many chunk refs of which kind.

        Raises
        ------
        StorageError
            There is no such manifest.
        """
        return self._engine.inspect_manifest(_manifest_id(manifest_id))

    inspect_manifest_async = async_form(inspect_manifest)

    def inspect_transaction_log(self, snapshot_id: str) -> dict[str, Any]:
        """Report what lies in the transaction log of a commit, as JSON: which nodes and chunks changed.

        If expiration has removed ancestors of the snapshot, what they changed is part of it.

        Raises
        ------
        StorageError
            There is no such log.
        """
        return self._engine.inspect_transaction_log(SnapshotId.parse(snapshot_id))

    inspect_transaction_log_async = async_form(inspect_transaction_log)

    # -- metadata, status and feature flags -------------------------------------------------------
    # All of these are for repositories of spec version 2; in version 1 they raise a `FormatError`.

    @property
    def metadata(self) -> dict[str, Any]:
        """The repository's own metadata, as it is now: JSON values by name. See `get_metadata`."""
        return self.get_metadata()

    def get_metadata(self) -> dict[str, Any]:
        """Return the repository's own metadata: JSON values by name. A new dict with every call.

        Raises
        ------
        FormatError
            The repository is of spec version 1, which has no place for it.
        """
        return deepcopy(dict(self._engine.history.state.metadata()))

    get_metadata_async = async_form(get_metadata)

    def set_metadata(self, metadata: Mapping[str, Any]) -> None:
        """Replace the repository's own metadata.

        Parameters
        ----------
        metadata
            JSON values by name. Tuples become lists, NaN and the infinities `None`.

        Raises
        ------
        ReadOnlyError
            The repository's status is read-only.
        FormatError
            The repository is of spec version 1, which has no place for it.
        """
        self._engine.set_metadata(metadata)

    set_metadata_async = async_form(set_metadata)

    def update_metadata(self, metadata: Mapping[str, Any]) -> dict[str, Any]:
        """Add to the repository's own metadata, and return what it is then.

        Atomic: what others set under other names meanwhile is kept.

        Parameters
        ----------
        metadata
            JSON values by name, which replace those of the same name. See `set_metadata`.

        Raises
        ------
        ReadOnlyError
            The repository's status is read-only.
        FormatError
            The repository is of spec version 1, which has no place for it.
        """
        return deepcopy(dict(self._engine.update_metadata(metadata)))

    update_metadata_async = async_form(update_metadata)

    @property
    def status(self) -> RepoStatus:
        """Whether the repository takes writes now. See `get_status`."""
        return self.get_status()

    def get_status(self) -> RepoStatus:
        """Return whether the repository takes writes, since when, and why not.

        Raises
        ------
        FormatError
            The repository is of spec version 1, which always does.
        """
        return self._engine.history.state.status()

    get_status_async = async_form(get_status)

    def set_status(self, status: RepoStatus) -> None:
        """Close the repository for writes, or open it again.

        While it is closed, everything that would change it is refused with a `ReadOnlyError`, in
        all programs; commits of sessions that are open already, too. Reading goes on.

        Raises
        ------
        FormatError
            The repository is of spec version 1, which cannot be closed.
        """
        if not isinstance(status, RepoStatus):
            raise TypeError(f"a status is a RepoStatus, not an instance of {type(status)}")
        self._engine.set_status(status)

    set_status_async = async_form(set_status)

    def feature_flags(self) -> list[FeatureFlag]:
        """Return all operations that can be switched off, and whether they are.

        Raises
        ------
        FormatError
            The repository is of spec version 1, which has no flags.
        """
        return self._engine.history.state.feature_flags()

    feature_flags_async = async_form(feature_flags)

    def enabled_feature_flags(self) -> list[FeatureFlag]:
        """Return those of `feature_flags` that are on."""
        return [flag for flag in self.feature_flags() if flag.enabled]

    enabled_feature_flags_async = async_form(enabled_feature_flags)

    def disabled_feature_flags(self) -> list[FeatureFlag]:
        """Return those of `feature_flags` that are off."""
        return [flag for flag in self.feature_flags() if not flag.enabled]

    disabled_feature_flags_async = async_form(disabled_feature_flags)

    def set_feature_flag(self, name: str, setting: bool | None) -> None:
        """Switch an operation on or off for everybody who uses the repository.

        Parameters
        ----------
        name
            The name of one of `feature_flags`.
        setting
            On or off; `None` sets it back to its default.

        Raises
        ------
        InvalidInputError
            There is no flag of this name.
        ReadOnlyError
            The repository's status is read-only.
        FormatError
            The repository is of spec version 1, which has no flags.
        """
        if setting is not None and not isinstance(setting, bool):
            raise TypeError(f"setting is True, False or None, not an instance of {type(setting)}")
        self._engine.set_feature_flag(name, setting)

    set_feature_flag_async = async_form(set_feature_flag)

    # -- sessions ---------------------------------------------------------------------------------

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
        if as_of is not None:
            aware(as_of)
            if branch is None:
                raise ValueError("as_of argument must be provided together with a branch name")
        _exactly_one(branch, tag, snapshot_id)
        return Session(self._engine.readonly_session(self._resolve(branch, tag, snapshot_id, as_of)))

    readonly_session_async = async_form(readonly_session)

    def _resolve(
        self, branch: str | None, tag: str | None, snapshot_id: str | None, as_of: datetime | None = None
    ) -> SnapshotId:
        id = None if snapshot_id is None else SnapshotId.parse(snapshot_id)
        return self._engine.resolve(branch=branch, tag=tag, snapshot_id=id, as_of=as_of)

    def writable_session(self, branch: str) -> Session:
        """Open the tip of a branch for reading, writing and committing.

        Raises
        ------
        RefNotFoundError
            There is no such branch.
        ReadOnlyError
            The storage is read-only, or the repository's status is.
        """
        return Session(self._engine.writable_session(_name(branch)))

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
        return Session(self._engine.rearrange_session(_name(branch)))

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

    # -- looks ------------------------------------------------------------------------------------

    def _block(self) -> Block:
        return Block(
            f"icechunk.Repository (v{self._engine.spec_version})",
            [("storage", self.storage._block()), ("config", "<RepositoryConfig ...>")],
        )

    def __repr__(self) -> str:
        return self._block().text()

    def _repr_html_(self) -> str:
        return html(self._block())


def _spec_version(version: object) -> int:
    if version is None:
        return SpecVersion.current()
    if not isinstance(version, int) or isinstance(version, bool):
        raise ValueError(f"Couldn't parse a valid version: expected 1 or 2, got {version!r}")
    if version not in (1, 2):
        raise ValueError(f"Unsupported version {version}")
    return int(version)


def _exactly_one(*selectors: str | None) -> None:
    if sum(selector is not None for selector in selectors) != 1:
        raise ValueError("Must provide one of branch, tag, or snapshot_id")


def _manifest_id(text: str) -> ManifestId:
    try:
        return ManifestId.parse(text)
    except FormatError:
        raise InvalidInputError(f"invalid manifest id: `{text}`", kind=ErrorKind.UNKNOWN) from None


def _checked_attribution(attribution: Attribution | None) -> Attribution:
    if attribution is None:
        return Attribution()
    if not isinstance(attribution, Attribution):
        raise TypeError(f"attribution is an Attribution, not an instance of {type(attribution)}")
    return attribution


def _checked_config(config: RepositoryConfig | None) -> RepositoryConfig | None:
    if config is not None and not isinstance(config, RepositoryConfig):
        raise TypeError(f"config is a RepositoryConfig, not an instance of {type(config)}")
    return config


def _name(ref: str) -> str:
    if not isinstance(ref, str):
        raise TypeError(f"the name of a branch or tag is a str, not an instance of {type(ref)}")
    return ref

"""`Repository`: where everything begins, versioned arrays at one place."""

from __future__ import annotations

from copy import deepcopy
from typing import TYPE_CHECKING, Any

from icechunk._arguments import flag, instance, mapping
from icechunk._async_forms import async_class_form, async_form
from icechunk._display.blocks import Block
from icechunk._display.html import html
from icechunk._engine.format.values import to_json_object
from icechunk._engine.repository.repository import EngineRepository
from icechunk._repository.history import HistoryMethods
from icechunk._repository.inspection import InspectionMethods
from icechunk._repository.refs import RefMethods
from icechunk._repository.sessions import SessionMethods
from icechunk._repository.state import StateMethods
from icechunk._values.enums import SpecVersion
from icechunk.config import Attribution, RepositoryConfig
from icechunk.storage import Storage, StorageSettings

if TYPE_CHECKING:
    from icechunk.abc.locations import Location

__all__ = ["Repository"]


class Repository(SessionMethods, RefMethods, HistoryMethods, InspectionMethods, StateMethods):
    """A handle on one repository.

    Make one with `create`, `open` or `open_or_create`. A handle keeps a configuration and caches, and
    reads the state of branches and tags anew for each question, so several handles, threads and
    processes see the same. It may be used from several threads and in forked children, and it
    pickles: the copy connects to the same storage, with the same configuration.

    Every method that reads or writes storage blocks; its twin with ``_async`` behind the name awaits.
    """

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
        location = _location(storage)
        labels = _checked_attribution(attribution)
        engine = EngineRepository.create(
            location,
            _checked_config(config),
            spec_version=_spec_version(spec_version),
            check_clean_root=flag("check_clean_root", check_clean_root),
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
        location = _location(storage)
        labels = _checked_attribution(attribution)
        engine = EngineRepository.open(location, _checked_config(config))
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
        location = _location(storage)
        labels = _checked_attribution(attribution)
        engine = EngineRepository.open_or_create(
            location,
            _checked_config(config),
            spec_version=_spec_version(create_version),
            check_clean_root=flag("check_clean_root", check_clean_root),
        )
        engine.attribution = labels
        return cls(engine)

    open_or_create_async = async_class_form(open_or_create)

    @classmethod
    def exists(cls, storage: Storage, storage_settings: StorageSettings | None = None) -> bool:
        """Tell whether there is a repository."""
        version = EngineRepository.find_spec_version(_location(storage), storage_settings)
        return version is not None

    exists_async = async_class_form(exists)

    @classmethod
    def fetch_spec_version(
        cls, storage: Storage, storage_settings: StorageSettings | None = None
    ) -> SpecVersion | None:
        """Return the format version of the repository that is there, `None` if there is none."""
        version = EngineRepository.find_spec_version(_location(storage), storage_settings)
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
        return EngineRepository.fetch_config(_location(storage))

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
        self._engine.default_commit_metadata = to_json_object(mapping("metadata", metadata))

    def default_commit_metadata(self) -> dict[str, Any]:
        """Return a copy of what the metadata of commits begins with."""
        return deepcopy(dict(self._engine.default_commit_metadata))

    # -- looks ------------------------------------------------------------------------------------

    def _block(self) -> Block:
        return Block(
            f"icechunk.Repository (v{self._engine.spec_version})",
            [("storage", self.storage._block()), ("config", self.config._block())],
        )

    def __repr__(self) -> str:
        return self._block().text()

    def _repr_html_(self) -> str:
        return html(self._block())


def _location(storage: object) -> Location:
    # Who comes from other libraries gives the path or the URL itself.
    hint = "make one with icechunk.local_filesystem_storage(path), icechunk.storage_from_url(url) or others"
    return instance("storage", storage, Storage, hint=hint).location


def _spec_version(version: object) -> int:
    if version is None:
        return SpecVersion.current()
    if not isinstance(version, int) or isinstance(version, bool):
        raise ValueError(f"Couldn't parse a valid version: expected 1 or 2, got {version!r}")
    if version not in (1, 2):
        raise ValueError(f"Unsupported version {version}")
    return int(version)


def _checked_attribution(attribution: Attribution | None) -> Attribution:
    return Attribution() if attribution is None else instance("attribution", attribution, Attribution)


def _checked_config(config: RepositoryConfig | None) -> RepositoryConfig | None:
    return None if config is None else instance("config", config, RepositoryConfig)

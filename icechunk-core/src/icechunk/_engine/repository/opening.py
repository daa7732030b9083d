"""Finding out what is at a location, making a repository there, and opening the one that is.

Protocol 3.1 and format section 1. `repo` means spec 2, also beside leftovers of spec 1; else the
ref of `main` means spec 1; else there is no repository.
"""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, NamedTuple

from icechunk._engine.assets.clock import now_us
from icechunk._engine.assets.fanout import run_all
from icechunk._engine.format.config_document import encode_yaml
from icechunk._engine.format.ids import INITIAL_SNAPSHOT_ID
from icechunk._engine.format.layout import CONFIG_PATH, REPO_PATH, branch_ref_path
from icechunk._engine.format.refs_v1 import decode_ref
from icechunk._engine.format.repo_info import RepoInfo
from icechunk._engine.format.repo_info_records import NewSnapshot
from icechunk._engine.format.snapshot import encode_snapshot
from icechunk._engine.format.transaction_log import TransactionLog
from icechunk._engine.repository.history_v1 import HistoryV1
from icechunk._engine.repository.history_v2 import HistoryV2
from icechunk._engine.repository.ref_errors import branch_update_conflict
from icechunk._engine.repository.repo_file import RepoFile
from icechunk.abc.storage import (
    NOT_YET_CREATED,
    Fetched,
    Landed,
    Locality,
    LostRace,
    ObjectKind,
    StorageBackend,
)
from icechunk.errors import (
    ConflictError,
    ErrorKind,
    InvalidInputError,
    ObjectNotFoundError,
    ReadOnlyError,
    RepositoryNotFoundError,
)

if TYPE_CHECKING:
    from collections.abc import Mapping

    from icechunk._engine.assets.assets import Assets
    from icechunk._engine.format.values import JsonValue

_MAIN_PATH = branch_ref_path("main")

_ROOT_MESSAGE = "Repository initialized"
_ROOT_METADATA: Mapping[str, JsonValue] = {"__icechunk": {"is_root": True}}


class Found(NamedTuple):
    """What lies at a location: at least one of `repo` and `main` is there."""

    repo: Fetched | None
    main: Fetched | None
    config: Fetched | None

    @property
    def spec_version(self) -> int:
        return 1 if self.repo is None else 2


def find_repository(backend: StorageBackend) -> Found | None:
    """Look for a repository. Three GETs, side by side on remote storage; fewer on local storage."""
    if backend.locality is Locality.REMOTE:
        repo, main, config = run_all(
            [partial(_find, backend, path) for path in (REPO_PATH, _MAIN_PATH, CONFIG_PATH)]
        )
    else:
        repo = _find(backend, REPO_PATH)
        main = None if repo is not None else _find(backend, _MAIN_PATH)
        config = None if main is None else _find(backend, CONFIG_PATH)
    if repo is not None:
        # Leftovers of an upgrade, if anything: nobody looks at them any more.
        return Found(repo, None, None)
    return None if main is None else Found(None, main, config)


def _find(backend: StorageBackend, path: str) -> Fetched | None:
    try:
        return backend.fetch(path)
    except ObjectNotFoundError:
        return None


def find_spec_version(backend: StorageBackend) -> int | None:
    """Return the format version of the repository, or `None` if there is none."""
    found = find_repository(backend)
    return None if found is None else found.spec_version


def create_v2(assets: Assets, document: Mapping[str, JsonValue] | None) -> HistoryV2:
    """Make a spec 2 repository: the initial snapshot and its log, then `repo`.

    Raises
    ------
    ConflictError
        There is one already, or somebody else was making one.
    """
    repo_file = RepoFile(assets)
    _refuse_existing(assets)
    root = _write_root(assets, 2)
    info = RepoInfo.initial(root=root, now=max(now_us(), root.flushed_at), config=document)
    outcome = repo_file.create(info)
    if not isinstance(outcome, (Landed, LostRace)) and _is_ours(repo_file, info):
        outcome = Landed(None)
    if not isinstance(outcome, Landed):
        raise _already_there()
    return HistoryV2(assets, repo_file)


def _is_ours(repo_file: RepoFile, info: RepoInfo) -> bool:
    """Tell whether the repository that is there is the one that we tried to make."""
    try:
        there = repo_file.load()
    except RepositoryNotFoundError:
        # Not there; and should it still arrive, it is the same.
        return not isinstance(repo_file.create(info), LostRace) or _is_ours(repo_file, info)
    # Others may have gone on from it: its root still is our root.
    root = there.find_snapshot(INITIAL_SNAPSHOT_ID)
    ours = info.find_snapshot(INITIAL_SNAPSHOT_ID)
    return root is not None and ours is not None and root.flushed_at == ours.flushed_at


def create_v1(assets: Assets, document: Mapping[str, JsonValue] | None) -> HistoryV1:
    """Make a spec 1 repository: the initial snapshot, the configuration if any, the ref of `main`.

    Raises
    ------
    ConflictError
        There is one already, or somebody else was making one.
    """
    _refuse_existing(assets)
    _write_root(assets, 1)
    config_version = None
    if document is not None:
        # Before the ref, which is what makes a repository of it.
        saved = assets.backend.put(
            CONFIG_PATH,
            encode_yaml(document),
            expected=NOT_YET_CREATED,
            kind=ObjectKind.REF,
            content_type="application/yaml",
        )
        if isinstance(saved, LostRace):
            raise ConflictError(message="config was updated by other session", kind=ErrorKind.CONFIG_UPDATED)
        config_version = (
            saved.version if isinstance(saved, Landed) else assets.backend.fetch(CONFIG_PATH).version
        )
    history = HistoryV1(assets, config_version=config_version)
    history.create_main(INITIAL_SNAPSHOT_ID)
    return history


def _refuse_existing(assets: Assets) -> None:
    """Raise before anything is written, where the answer is known; the conditional puts decide."""
    found = find_repository(assets.backend)
    if found is None:
        return
    if found.main is not None:
        raise branch_update_conflict(None, decode_ref(found.main.data, name=_MAIN_PATH))
    raise _already_there()


def _already_there() -> ConflictError:
    return ConflictError(
        message="repo info object was updated after this session started",
        kind=ErrorKind.REPO_INFO_UPDATED,
    )


def check_can_create(backend: StorageBackend, *, check_clean_root: bool) -> None:
    """Refuse storage that is read-only, or that has something in it.

    Raises
    ------
    ReadOnlyError, InvalidInputError
    """
    if not backend.can.write:
        raise ReadOnlyError(
            "the storage used by this Icechunk repository is read-only: Cannot create repository",
            kind=ErrorKind.READ_ONLY_STORAGE,
        )
    if check_clean_root and next(iter(backend.list_paths()), None) is not None:
        raise InvalidInputError(
            "repositories can only be created in clean prefixes",
            kind=ErrorKind.PARENT_DIRECTORY_NOT_CLEAN,
        )


def _write_root(assets: Assets, spec_version: int) -> NewSnapshot:
    """Write the snapshot that every repository begins with, and (spec 2) its empty log."""
    root = NewSnapshot(
        id=INITIAL_SNAPSHOT_ID,
        parent_id=None,
        flushed_at=now_us(),
        message=_ROOT_MESSAGE,
        metadata=_ROOT_METADATA,
    )
    snapshot = encode_snapshot(
        id=root.id,
        parent_id=None,
        flushed_at=root.flushed_at,
        message=root.message,
        metadata=root.metadata,
        nodes=(),
        manifest_files=(),
        spec_version=spec_version,
    )
    assets.write_named(assets.seal_snapshot(root.id, snapshot, spec_version))
    if spec_version > 1:
        log = TransactionLog(id=root.id)
        assets.write_named(assets.seal_transaction_log(root.id, log.encode(), spec_version))
    return root

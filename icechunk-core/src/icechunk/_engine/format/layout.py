"""Where each object of a repository lies: its path under the repository's root.

Format section 1. Names of refs are used as they are; spec version 1 refuses a `/` in them, which is
for the caller to check.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from icechunk.errors import ErrorKind, FormatError

if TYPE_CHECKING:
    from icechunk._engine.format.ids import ChunkId, ManifestId, SnapshotId

REPO_PATH = "repo"
CONFIG_PATH = "config.yaml"

SNAPSHOTS_PREFIX = "snapshots/"
MANIFESTS_PREFIX = "manifests/"
TRANSACTION_LOGS_PREFIX = "transactions/"
CHUNKS_PREFIX = "chunks/"
REFS_PREFIX = "refs/"
BACKUPS_PREFIX = "overwritten/"

_BRANCH_PREFIX = "branch."
_TAG_PREFIX = "tag."
_REF_FILE = "ref.json"
_TOMBSTONE_FILE = "ref.json.deleted"

# The countdown in a backup's name runs to the year 3000, so that newer backups list first.
_COUNTDOWN_END_MS = 32_503_680_000_000


def snapshot_path(id: SnapshotId) -> str:
    """Path of a snapshot."""
    return f"snapshots/{id}"


def manifest_path(id: ManifestId) -> str:
    """Path of a manifest."""
    return f"manifests/{id}"


def transaction_log_path(id: SnapshotId) -> str:
    """Path of the transaction log of the commit that made snapshot `id`."""
    return f"transactions/{id}"


def chunk_path(id: ChunkId) -> str:
    """Path of a native chunk."""
    return f"chunks/{id}"


def branch_ref_path(name: str) -> str:
    """Path of a branch's ref file (spec version 1)."""
    return f"{REFS_PREFIX}{_BRANCH_PREFIX}{name}/{_REF_FILE}"


def tag_ref_path(name: str) -> str:
    """Path of a tag's ref file (spec version 1)."""
    return f"{REFS_PREFIX}{_TAG_PREFIX}{name}/{_REF_FILE}"


def tag_tombstone_path(name: str) -> str:
    """Path of the empty object that marks a tag as deleted (spec version 1)."""
    return f"{REFS_PREFIX}{_TAG_PREFIX}{name}/{_TOMBSTONE_FILE}"


def backup_path(backup_name: str) -> str:
    """Path of a backup whose bare name is `backup_name`."""
    return BACKUPS_PREFIX + backup_name


def backup_name(object_path: str, now_ms: int, unique: str) -> str:
    """The name under which the object at `object_path` is kept when it is replaced.

    `unique` is the text of a random 12-byte id; `now_ms` the time in milliseconds since the epoch.
    """
    return f"{object_path}.{_COUNTDOWN_END_MS - now_ms:014d}.{unique}"


class RefEntry(NamedTuple):
    """One object below `refs/`."""

    is_tag: bool
    name: str
    is_tombstone: bool


def parse_ref_path(path: str) -> RefEntry:
    """Tell which ref an object below `refs/` belongs to.

    Raises
    ------
    FormatError
        The path is neither a branch's nor a tag's.
    """
    folder, separator, file = path.removeprefix(REFS_PREFIX).rpartition("/")
    if separator and path.startswith(REFS_PREFIX):
        if folder.startswith(_BRANCH_PREFIX) and file == _REF_FILE:
            return RefEntry(False, folder.removeprefix(_BRANCH_PREFIX), False)
        if folder.startswith(_TAG_PREFIX) and file in (_REF_FILE, _TOMBSTONE_FILE):
            return RefEntry(True, folder.removeprefix(_TAG_PREFIX), file == _TOMBSTONE_FILE)
    raise FormatError(f"invalid ref type `{path}`", kind=ErrorKind.INVALID_FILE_FORMAT)

"""The repo info: refs, snapshots, status, metadata, configuration and the newest updates.

Format section 8. A `RepoInfo` is immutable; `updated` makes the next one, as a pure function of the
old one and of what is to change, and copies what does not. Spec version 2 only.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass, replace
from functools import cached_property
from types import MappingProxyType
from typing import TYPE_CHECKING, Final

from icechunk._engine.format import config_document
from icechunk._engine.format.blocks import (
    BlockWriter,
    RawMetadata,
    bytes_block,
    decode_metadata,
    encode_metadata,
    metadata_vector,
    read_raw_metadata,
    refs_vector,
    text_block,
    texts_vector,
)
from icechunk._engine.format.repo_info_records import (
    ONLINE,
    READ_ONLY,
    NewSnapshot,
    RepoInitialized,
    StatusRecord,
    UpdateKind,
    UpdateRecord,
)
from icechunk._engine.format.repo_info_snapshots import SnapshotInfoRecord, SnapshotTable
from icechunk._engine.format.repo_info_updates import (
    UpdateList,
    read_status,
    status_table,
    status_vtable,
)
from icechunk._engine.format.tables import FlatBuffer, Table
from icechunk.errors import ErrorKind, FormatError

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence

    from icechunk._engine.format.envelope import Buffer
    from icechunk._engine.format.ids import SnapshotId
    from icechunk._engine.format.values import JsonValue

__all__ = [
    "ONLINE",
    "READ_ONLY",
    "UNCHANGED",
    "NewSnapshot",
    "RepoInfo",
    "SnapshotInfoRecord",
    "StatusRecord",
    "Unchanged",
    "UpdateKind",
    "UpdateRecord",
    "decode_updates",
]

(
    _SPEC_VERSION,
    _TAGS,
    _BRANCHES,
    _DELETED_TAGS,
    _SNAPSHOTS,
    _STATUS,
    _METADATA,
    _LATEST_UPDATES,
    _REPO_BEFORE_UPDATES,
    _CONFIG,
    _ENABLED_FLAGS,
    _DISABLED_FLAGS,
) = range(12)

# The values of a repo info are always those of spec version 2.
_VALUES = 2

# Root table at 40: soffset 0, spec_version 4, then the offsets of slots 1 to 11, four bytes each.
_ROOT_AT = 40
_ROOT_SIZE = 52


class Unchanged:
    """The type of `UNCHANGED`."""

    def __repr__(self) -> str:
        return "UNCHANGED"


UNCHANGED: Final = Unchanged()
"""Leave what is there, where None means something."""


@dataclass(frozen=True, slots=True, kw_only=True)
class _Parts:
    """All that a repo info holds; tables as tables, values as they are encoded."""

    spec_version: int
    branches: Mapping[str, SnapshotId]
    tags: Mapping[str, SnapshotId]
    deleted_tags: tuple[str, ...]
    snapshots: SnapshotTable
    status: StatusRecord
    metadata: RawMetadata | None
    updates: UpdateList
    config: bytes | None
    enabled_flags: tuple[int, ...] | None
    disabled_flags: tuple[int, ...] | None


class RepoInfo:
    """What a repository is at one moment. Immutable; safe for use from several threads.

    Use `decode` or `initial`. Descriptions of snapshots, updates, metadata and configuration are
    decoded when they are asked for, and may raise FormatError then.
    """

    def __init__(self, parts: _Parts, *, name: str) -> None:
        self._parts = parts
        self._name = name

    @classmethod
    def decode(cls, payload: Buffer, *, name: str) -> RepoInfo:
        """Read a repo info's payload.

        Raises
        ------
        FormatError
            Something required is missing, or a ref or a parent refers to no snapshot.
        """
        file = FlatBuffer(payload, name=name)
        root = file.root()
        tables = root.tables(_SNAPSHOTS)
        status = root.table(_STATUS)
        metadata = root.tables(_METADATA)
        if tables is None or status is None:
            raise file.error("snapshots or status are missing")
        snapshots = SnapshotTable.decode(file, tables, _end_of_vector(root, _SNAPSHOTS))
        parts = _Parts(
            spec_version=root.u8(_SPEC_VERSION),
            branches=_read_refs(root, _BRANCHES, "branches", snapshots),
            tags=_read_refs(root, _TAGS, "tags", snapshots),
            deleted_tags=_read_texts(root, _DELETED_TAGS, "deleted_tags"),
            snapshots=snapshots,
            status=read_status(status),
            metadata=None if metadata is None else read_raw_metadata(metadata, "Repo.metadata"),
            updates=_read_updates(root),
            config=_read_bytes(root, _CONFIG),
            enabled_flags=_read_flags(root, _ENABLED_FLAGS),
            disabled_flags=_read_flags(root, _DISABLED_FLAGS),
        )
        return cls(parts, name=name)

    @classmethod
    def initial(
        cls,
        *,
        root: NewSnapshot,
        now: int,
        config: Mapping[str, JsonValue] | None = None,
        name: str = "repo",
    ) -> RepoInfo:
        """Return the repo info of a new repository, with `main` on its only snapshot.

        `now`: microseconds since the epoch, when the repository is said to be initialized.
        """
        update = UpdateRecord(RepoInitialized(), now)
        return cls.build(
            snapshots=[root],
            branches={"main": root.id},
            status=StatusRecord(ONLINE, root.flushed_at),
            updates=[update],
            config=config,
            name=name,
        )

    @classmethod
    def build(
        cls,
        *,
        snapshots: Sequence[NewSnapshot],
        branches: Mapping[str, SnapshotId],
        status: StatusRecord,
        updates: Sequence[UpdateRecord],
        tags: Mapping[str, SnapshotId] = MappingProxyType({}),
        deleted_tags: Collection[str] = (),
        repo_before_updates: str | None = None,
        config: Mapping[str, JsonValue] | None = None,
        metadata: Mapping[str, JsonValue] = MappingProxyType({}),
        name: str = "repo",
    ) -> RepoInfo:
        """Return a repo info made from scratch. `updates`: newest first, at least one."""
        table = SnapshotTable.from_snapshots(snapshots, name=name)
        parts = _Parts(
            spec_version=2,
            branches=_checked_refs(branches, table),
            tags=_checked_refs(tags, table),
            deleted_tags=_sorted_texts(deleted_tags),
            snapshots=table,
            status=status,
            metadata=encode_metadata(metadata, _VALUES),
            updates=UpdateList.first(updates, name=name, before=repo_before_updates),
            config=None if config is None else config_document.encode_flexbuffers(config),
            enabled_flags=None,
            disabled_flags=None,
        )
        return cls(parts, name=name)

    # --- what is there

    @property
    def spec_version(self) -> int:
        """The spec version of the repository: 2."""
        return self._parts.spec_version

    @property
    def branches(self) -> Mapping[str, SnapshotId]:
        """The newest snapshot of each branch, in order of name."""
        return self._parts.branches

    @property
    def tags(self) -> Mapping[str, SnapshotId]:
        """The snapshot of each tag, in order of name."""
        return self._parts.tags

    @cached_property
    def deleted_tags(self) -> frozenset[str]:
        """Names of tags that were deleted and cannot be used again."""
        return frozenset(self._parts.deleted_tags)

    @property
    def status(self) -> StatusRecord:
        """Whether the repository may be written to."""
        return self._parts.status

    @cached_property
    def metadata(self) -> Mapping[str, JsonValue]:
        """The repository's own metadata. Not to be changed."""
        file = FlatBuffer(b"", name=self._name)
        return decode_metadata(self._parts.metadata or (), _VALUES, file, "Repo.metadata")

    @cached_property
    def config(self) -> Mapping[str, JsonValue] | None:
        """The persisted configuration, None for all defaults. Not to be changed."""
        data = self._parts.config
        return None if data is None else config_document.decode_flexbuffers(data, name=self._name)

    @property
    def enabled_feature_flags(self) -> tuple[int, ...]:
        """Numbers of the flags that were switched on."""
        return self._parts.enabled_flags or ()

    @property
    def disabled_feature_flags(self) -> tuple[int, ...]:
        """Numbers of the flags that were switched off."""
        return self._parts.disabled_flags or ()

    @property
    def latest_updates(self) -> UpdateList:
        """The newest updates, newest first."""
        return self._parts.updates

    @property
    def repo_before_updates(self) -> str | None:
        """The name of the backup in which the ops log goes on."""
        return self._parts.updates.before

    # --- snapshots

    @property
    def num_snapshots(self) -> int:
        """How many snapshots are listed."""
        return len(self._parts.snapshots)

    def find_snapshot(self, id: SnapshotId) -> SnapshotInfoRecord | None:
        """Return what is said of a snapshot, or None."""
        table = self._parts.snapshots
        row = table.find(id)
        return None if row is None else SnapshotInfoRecord(table, row)

    def snapshots(self) -> Iterator[SnapshotInfoRecord]:
        """All snapshots, in order of id."""
        return self._parts.snapshots.records()

    def ancestry(self, id: SnapshotId) -> Iterator[SnapshotInfoRecord]:
        """A snapshot, its parent, and so on up to the root; nothing if it is not listed.

        Raises
        ------
        FormatError
            While iterating: parents run in a circle.
        """
        row = self._parts.snapshots.find(id)
        return iter(()) if row is None else self._parts.snapshots.ancestry(row)

    # --- the next one

    def updated(
        self,
        *,
        update: UpdateKind,
        updated_at: int,
        backup_name: str,
        updates_per_file: int,
        add_snapshots: Sequence[NewSnapshot] = (),
        replace_snapshots: Sequence[NewSnapshot] | None = None,
        branches: Mapping[str, SnapshotId] | None = None,
        tags: Mapping[str, SnapshotId] | None = None,
        deleted_tags: Collection[str] | None = None,
        config: Mapping[str, JsonValue] | Unchanged | None = UNCHANGED,
        metadata: Mapping[str, JsonValue] | None = None,
        status: StatusRecord | None = None,
        enabled_feature_flags: Collection[int] | None = None,
        disabled_feature_flags: Collection[int] | None = None,
    ) -> RepoInfo:
        """Return the repo info that follows this one, with `update` as the newest in its log.

        Parameters
        ----------
        updated_at
            Microseconds since the epoch.
        backup_name
            The bare name under which the file that holds *this* repo info will be kept.
        updates_per_file
            How many updates to keep; see format section 8.1.
        add_snapshots
            Snapshots to list, in any order.
        replace_snapshots
            The complete new list instead.
        branches, tags, deleted_tags, metadata, enabled_feature_flags, disabled_feature_flags
            The complete new value of each; None leaves what is there.
        config
            The complete new configuration; None removes it.

        Raises
        ------
        FormatError
            `updated_at` is not after the newest update (kind snapshot-timestamp), a snapshot is
            listed already (duplicate-snapshot-id), or a ref or a parent is not listed.
        """
        old = self._parts
        latest = old.updates.updated_at(0)
        if updated_at <= latest:
            raise FormatError(
                "update timestamp is invalid, please verify if the machine clock has drifted: "
                f"update time: `{_rfc3339(updated_at)}`, latest update time: `{_rfc3339(latest)}`",
                kind=ErrorKind.SNAPSHOT_TIMESTAMP,
            )
        snapshots = old.snapshots
        if replace_snapshots is not None:
            snapshots = SnapshotTable.from_snapshots(replace_snapshots, name=self._name)
        snapshots = snapshots.with_added(add_snapshots)
        record = UpdateRecord(update, updated_at)
        changes: dict[str, object] = {
            "snapshots": snapshots,
            "updates": old.updates.with_update(record, backup_name=backup_name, most=updates_per_file),
        }
        if branches is not None:
            changes["branches"] = _checked_refs(branches, snapshots)
        if tags is not None:
            changes["tags"] = _checked_refs(tags, snapshots)
        if deleted_tags is not None:
            changes["deleted_tags"] = _sorted_texts(deleted_tags)
        if not isinstance(config, Unchanged):
            changes["config"] = None if config is None else config_document.encode_flexbuffers(config)
        if metadata is not None:
            changes["metadata"] = encode_metadata(metadata, _VALUES)
        if status is not None:
            changes["status"] = status
        if enabled_feature_flags is not None:
            changes["enabled_flags"] = tuple(sorted(enabled_feature_flags))
        if disabled_feature_flags is not None:
            changes["disabled_flags"] = tuple(sorted(disabled_feature_flags))
        return RepoInfo(replace(old, **changes), name=self._name)  # type: ignore[arg-type]

    def encode(self) -> list[Buffer]:
        """Return the payload in pieces, ready for `seal_file`."""
        parts = self._parts
        snapshots = parts.snapshots.with_blocks()
        present = {_SPEC_VERSION: 4}
        writer = BlockWriter(bytes(_ROOT_AT + _ROOT_SIZE))

        def add(slot: int, block: bytes) -> None:
            writer.align(4)
            present[slot] = 4 + 4 * slot
            writer.point(_ROOT_AT + 4 + 4 * slot)
            writer.out += block

        add(_TAGS, _encode_refs(parts.tags, snapshots))
        add(_BRANCHES, _encode_refs(parts.branches, snapshots))
        add(_DELETED_TAGS, texts_vector([tag.encode() for tag in parts.deleted_tags]))
        if parts.metadata is not None:
            add(_METADATA, metadata_vector(parts.metadata))
        if parts.updates.before is not None:
            add(_REPO_BEFORE_UPDATES, text_block(parts.updates.before.encode()))
        if parts.config is not None:
            add(_CONFIG, bytes_block(parts.config))
        for slot, flags in ((_ENABLED_FLAGS, parts.enabled_flags), (_DISABLED_FLAGS, parts.disabled_flags)):
            if flags is not None:
                add(slot, struct.pack(f"<I{len(flags)}H", len(flags), *flags))
        # The number in a status is aligned to 8 bytes, and its vtable, 16 long, lies in front.
        writer.align(8)
        writer.out += status_vtable(parts.status)
        add(_STATUS, status_table(parts.status, 16))
        writer.align(4)
        add(_LATEST_UPDATES, parts.updates.encode(len(writer)))
        writer.align(8, ahead=4 + 4 * len(snapshots))
        vector, region = snapshots.encode(len(writer))
        add(_SNAPSHOTS, vector)
        slots = [present.get(slot, 0) for slot in range(12)]
        struct.pack_into(
            "<I4s14H4xiB",
            writer.out,
            0,
            _ROOT_AT,
            b"Ichk",
            28,
            _ROOT_SIZE,
            *slots,
            _ROOT_AT - 8,
            parts.spec_version,
        )
        return [bytes(writer.out), region]


# --- reading


def decode_updates(payload: Buffer, *, name: str) -> UpdateList:
    """Read of a repo info's payload nothing but the updates.

    Raises
    ------
    FormatError
        There are none.
    """
    return _read_updates(FlatBuffer(payload, name=name).root())


def _read_updates(root: Table) -> UpdateList:
    tables = root.tables(_LATEST_UPDATES)
    if tables is None or not len(tables):
        raise root.file.error("latest_updates is missing or empty")
    first_snapshot = root.target(_SNAPSHOTS) or 0
    return UpdateList.decode(
        root.file,
        tables,
        start=_end_of_vector(root, _LATEST_UPDATES),
        end=first_snapshot - first_snapshot % 8,
        before=root.text(_REPO_BEFORE_UPDATES),
    )


def _end_of_vector(root: Table, slot: int) -> int:
    vector = root.vector(slot, 4)
    return 0 if vector is None else vector.start + 4 * vector.count


def _read_refs(root: Table, slot: int, what: str, snapshots: SnapshotTable) -> Mapping[str, SnapshotId]:
    tables = root.tables(slot)
    if tables is None:
        raise root.file.error(f"Repo.{what} is missing")
    refs: dict[str, SnapshotId] = {}
    budget = root.file.size
    for table in tables:
        name = table.text(0)
        row = table.u32(1)
        if name is None:
            raise root.file.error(f"a name in Repo.{what} is missing")
        if row >= len(snapshots):
            raise root.file.error(f"`{name}` in Repo.{what} refers to no snapshot of the list")
        if name in refs:
            raise root.file.error(f"`{name}` is twice in Repo.{what}")
        budget -= len(name)
        if budget < 0:
            raise root.file.error(f"names in Repo.{what} overlap")
        refs[name] = snapshots.id(row)
    return MappingProxyType(refs)


def _read_texts(root: Table, slot: int, what: str) -> tuple[str, ...]:
    vector = root.vector(slot, 4)
    if vector is None:
        raise root.file.error(f"Repo.{what} is missing")
    file = root.file
    budget = file.size
    texts = []
    for element in range(vector.start, vector.start + 4 * vector.count, 4):
        text = file.text_at(element + file.u32(element))
        budget -= len(text)
        if budget < 0:
            raise file.error(f"names in Repo.{what} overlap")
        texts.append(text)
    return tuple(texts)


def _read_bytes(root: Table, slot: int) -> bytes | None:
    data = root.bytes(slot)
    return None if data is None else bytes(data)


def _read_flags(root: Table, slot: int) -> tuple[int, ...] | None:
    vector = root.vector(slot, 2)
    if vector is None:
        return None
    return struct.unpack_from(f"<{vector.count}H", root.file.data, vector.start)


# --- writing


def _checked_refs(refs: Mapping[str, SnapshotId], snapshots: SnapshotTable) -> Mapping[str, SnapshotId]:
    for name, id in refs.items():
        if snapshots.find(id) is None:
            raise FormatError(
                f"snapshot id not found `{id}`, which `{name}` is to refer to",
                kind=ErrorKind.SERIALIZATION,
            )
    return MappingProxyType(dict(refs))


def _encode_refs(refs: Mapping[str, SnapshotId], snapshots: SnapshotTable) -> bytes:
    rows = sorted((name.encode(), snapshots.find(id) or 0) for name, id in refs.items())
    return refs_vector(rows)


def _sorted_texts(texts: Iterable[str]) -> tuple[str, ...]:
    # Code points and UTF-8 bytes sort alike.
    return tuple(sorted(set(texts)))


def _rfc3339(microseconds: int) -> str:
    from datetime import UTC, datetime, timedelta

    return f"{datetime(1970, 1, 1, tzinfo=UTC) + timedelta(microseconds=microseconds)}"

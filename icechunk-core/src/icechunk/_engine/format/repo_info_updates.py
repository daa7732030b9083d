"""The newest part of the ops log, as a repo info holds it: blocks that are copied, not rewritten.

Format sections 8 and 8.1. An entry that gets company at the front is the only one that changes: it
learns the name of the backup in which it was the newest.

A block, offsets from its start, a multiple of 8: vtable 0, table 16, value vtable 40, value.
"""

from __future__ import annotations

import struct
from collections.abc import Sequence
from functools import cached_property
from typing import TYPE_CHECKING, overload

import numpy as np

from icechunk._engine.format.blocks import padding, text_block
from icechunk._engine.format.ids import SnapshotId
from icechunk._engine.format.repo_info_records import (
    READ_ONLY,
    BranchCreated,
    BranchDeleted,
    BranchReset,
    CommitAmended,
    ConfigChanged,
    ExpirationRan,
    FeatureFlagChanged,
    GCRan,
    MetadataChanged,
    NewCommit,
    NewDetachedSnapshot,
    RepoInitialized,
    RepoMigrated,
    RepoStatusChanged,
    StatusRecord,
    TagCreated,
    TagDeleted,
    UpdateKind,
    UpdateRecord,
)
from icechunk._engine.format.tables import FlatBuffer, Table, TableVector
from icechunk._engine.format.tables_columns import TableColumns

if TYPE_CHECKING:
    from icechunk._engine.format.arrays import Positions
    from icechunk.errors import FormatError

_TYPE, _VALUE, _UPDATED_AT, _BACKUP_PATH = range(4)

_TABLE_AT = 16
# soffset 0, type 7, value 8, backup_path 12, updated_at 16
_VTABLE = struct.pack("<6H4x", 12, 24, 7, 8, 16, 12)
_VTABLE_WITHOUT_BACKUP = struct.pack("<6H4x", 12, 24, 7, 8, 16, 0)
_TABLE = struct.Struct("<i3xBIIQ")
_VALUE_VTABLE_AT = 40

# Up to here, one by one is faster than by columns.
_FEW = 16


class UpdateColumns:
    """Updates as columns: for each row what it is, when it was made, and the name of its backup."""

    def __init__(self, file: FlatBuffer, positions: Positions) -> None:
        self._file = file
        tables = TableColumns(file, positions)
        tables.require(_VALUE, "Update.value")
        self._tables = tables
        self.updated_at: list[int] = tables.scalars(_UPDATED_AT, "<u8").tolist()

    @cached_property
    def _types(self) -> list[int]:
        types: list[int] = self._tables.scalars(_TYPE, "<u1").tolist()
        return types

    @cached_property
    def _values(self) -> list[int]:
        values: list[int] = self._tables.targets(_VALUE).tolist()
        return values

    @cached_property
    def _backups(self) -> list[int]:
        backups: list[int] = self._tables.targets(_BACKUP_PATH).tolist()
        return backups

    def kind(self, row: int) -> UpdateKind:
        """Decode what an update is."""
        if self._types[row] == NewCommit.tag:
            start, end, id = self._commits[row]
            try:
                return NewCommit(str(self._file.data[start:end], "utf-8"), SnapshotId(id))
            except UnicodeDecodeError as error:
                raise self._file.error(f"the name at {start} is not UTF-8 ({error})") from error
        return _read_value(self._types[row], self._file.table_at(self._values[row]))

    @cached_property
    def _commits(self) -> dict[int, tuple[int, int, bytes]]:
        """Of the commits, which are most of all updates: where the branch's name is, and the id."""
        rows = [row for row, tag in enumerate(self._types) if tag == NewCommit.tag]
        tables = TableColumns(self._file, np.array([self._values[row] for row in rows], dtype=np.int64))
        tables.require(0, "NewCommitUpdate.branch")
        tables.require(1, "NewCommitUpdate.new_snap_id")
        starts, counts = tables.vectors(0, 1)
        ids = tables.structs(1, 12).tobytes()
        ends = (starts + counts).tolist()
        return {
            row: (start, end, ids[12 * number : 12 * number + 12])
            for number, (row, start, end) in enumerate(zip(rows, starts.tolist(), ends, strict=True))
        }

    def backup_path(self, row: int) -> str | None:
        """Decode the name of an update's backup."""
        at = self._backups[row]
        return None if at < 0 else self._file.text_at(at)


class UpdateList(Sequence[UpdateRecord]):
    """The updates of one repo info, newest first, each decoded when it is asked for. Immutable."""

    def __init__(
        self, file: FlatBuffer, positions: Positions, *, start: int, end: int, before: str | None
    ) -> None:
        self._file = file
        self._positions = positions
        self._start = start
        self._end = end
        self.before = before
        """Name of the backup in which the log goes on (`repo_before_updates`)."""

    @classmethod
    def decode(
        cls, file: FlatBuffer, tables: TableVector, *, start: int, end: int, before: str | None
    ) -> UpdateList:
        """Read the vector `tables`, which ends at `start`; what is behind it ends at `end`."""
        return cls(file, tables.positions(), start=start + (-start % 8), end=end, before=before)

    @cached_property
    def _is_ours(self) -> bool:
        return _are_blocks(self._file, self._positions, self._start, self._end)

    @classmethod
    def first(cls, updates: Sequence[UpdateRecord], *, name: str, before: str | None = None) -> UpdateList:
        """A new list."""
        blocks = [encode_update(update) for update in updates]
        return cls._of_blocks(blocks, [len(block) for block in blocks], name, before)

    @classmethod
    def _of_blocks(
        cls, pieces: Sequence[bytes | memoryview], sizes: Sequence[int], name: str, before: str | None
    ) -> UpdateList:
        data = b"".join(pieces)
        starts = np.cumsum([0, *sizes[:-1]], dtype=np.int64)
        file = FlatBuffer(data, name=name)
        return cls(file, starts + _TABLE_AT, start=0, end=len(data), before=before)

    def __len__(self) -> int:
        return len(self._positions)

    @overload
    def __getitem__(self, index: int) -> UpdateRecord: ...
    @overload
    def __getitem__(self, index: slice) -> list[UpdateRecord]: ...
    def __getitem__(self, index: int | slice) -> UpdateRecord | list[UpdateRecord]:
        if isinstance(index, slice):
            return [self[row] for row in range(*index.indices(len(self)))]
        return read_update(self._file.table_at(int(self._positions[index])))

    @cached_property
    def columns(self) -> UpdateColumns:
        """All updates at once, for those who walk through them.

        Raises
        ------
        FormatError
            One of them is damaged.
        """
        return UpdateColumns(self._file, self._positions)

    def updated_at(self, row: int) -> int:
        """When an update was made; cheaper than the record."""
        return self._file.table_at(int(self._positions[row])).u64(_UPDATED_AT)

    def backup_path(self, row: int) -> str | None:
        """The backup of an update; cheaper than the record."""
        return self._file.table_at(int(self._positions[row])).text(_BACKUP_PATH)

    def compact(self) -> UpdateList:
        """The same list, which keeps nothing else of the file in memory."""
        if not self._is_ours:
            return UpdateList.first(self, name=self._file.name, before=self.before)
        first = int(self._positions[0]) - _TABLE_AT
        file = FlatBuffer(bytes(self._file.data[first : self._end]), name=self._file.name)
        return UpdateList(file, self._positions - first, start=0, end=file.size, before=self.before)

    def with_update(self, update: UpdateRecord, *, backup_name: str, most: int) -> UpdateList:
        """Put an update in front, and end the list where `most` have been kept (section 8.1).

        `backup_name`: the backup that is about to be made of the file that this list is in.
        """
        kept = len(self)
        before = self.before
        # Entries without a backup cannot be found again once they are dropped, so they stay.
        for row in range(max(most - 1, 0), len(self)):
            backup = self.backup_path(row) if row else backup_name
            if backup is not None:
                kept, before = row, backup
                break
        new = encode_update(update)
        old_heads = []
        if kept:
            head = self[0]
            old_heads.append(encode_update(UpdateRecord(head.kind, head.updated_at, backup_name)))
        if not self._is_ours:
            rest = [encode_update(record) for record in self[1:kept]]
            blocks = [new, *old_heads, *rest]
            return self._of_blocks(blocks, [len(block) for block in blocks], self._file.name, before)
        pieces: list[bytes | memoryview] = [new, *old_heads]
        sizes = [len(new), *map(len, old_heads)]
        if kept > 1:
            starts = self._positions - _TABLE_AT
            ends = np.append(starts[1:], self._end)
            pieces.append(self._file.data[int(starts[1]) : int(ends[kept - 1])])
            sizes += (ends - starts)[1:kept].tolist()
        return self._of_blocks(pieces, sizes, self._file.name, before)

    def encode(self, at: int) -> bytes:
        """Return the vector, to lie at `at`, and the blocks behind it. Both end at a multiple of 8."""
        blocks = self if self._is_ours else UpdateList.first(self, name=self._file.name)
        count = len(blocks)
        start = at + 4 + 4 * count
        gap = -start % 8
        elements = np.arange(at + 4, start, 4, dtype=np.int64)
        first = int(blocks._positions[0]) - _TABLE_AT if count else 0
        offsets = (blocks._positions - first + (start + gap) - elements).astype("<u4")
        return b"".join(
            (struct.pack("<I", count), offsets.tobytes(), bytes(gap), blocks._file.data[first : blocks._end])
        )


def _are_blocks(file: FlatBuffer, positions: Positions, start: int, end: int) -> bool:
    """Whether all updates are blocks of ours, one behind the other, from `start` to `end`."""
    if not len(positions) or int(positions[0]) != start + _TABLE_AT or end > file.size or end % 8:
        return False
    if (positions & 7).any() or not (np.diff(positions) > 0).all() or int(positions[-1]) + 24 > end:
        return False
    words = np.frombuffer(file.data, "<u8", file.size // 8)
    at = positions >> 3
    first, second = struct.unpack("<QQ", _VTABLE)
    _, without_backup = struct.unpack("<QQ", _VTABLE_WITHOUT_BACKUP)
    seconds = words[at - 1]
    return bool(
        ((words[at] & np.uint64(0xFFFFFFFF)) == _TABLE_AT).all()
        and (words[at - 2] == first).all()
        and ((seconds == second) | (seconds == without_backup)).all()
    )


# --- one update


def encode_update(update: UpdateRecord) -> bytes:
    """Return the block of one update. Its length is a multiple of 8."""
    vtable, value = _value(update.kind)
    value_at = _VALUE_VTABLE_AT + len(vtable)
    end = value_at + len(value)
    backup = b"" if update.backup_path is None else text_block(update.backup_path.encode())
    table = _TABLE.pack(
        _TABLE_AT,
        update.kind.tag,
        value_at - (_TABLE_AT + 8),
        end - (_TABLE_AT + 12) if backup else 0,
        update.updated_at,
    )
    block = b"".join((_VTABLE if backup else _VTABLE_WITHOUT_BACKUP, table, vtable, value, backup))
    return block + padding(len(block), 8)


def status_table(status: StatusRecord, vtable_distance: int) -> bytes:
    """The table of a status, whose vtable (`STATUS_VTABLE`) lies that far in front of it.

    Must begin at a multiple of 8.
    """
    reason = status.limited_availability_reason
    text = b"" if reason is None else text_block(reason.encode())
    vtable_or_none = 24 - 16 if text else 0
    return (
        struct.pack("<iBxxxQI4x", vtable_distance, status.availability, status.set_at, vtable_or_none) + text
    )


def status_vtable(status: StatusRecord) -> bytes:
    """soffset 0, availability 4, set_at 8, reason 16."""
    reason = 0 if status.limited_availability_reason is None else 16
    return struct.pack("<5H6x", 10, 20, 4, 8, reason)


_NO_FIELDS = struct.pack("<2H", 4, 4)
_ONE_NAME = struct.pack("<3H2x", 6, 8, 4)
_NAME_AND_ID = struct.pack("<4H", 8, 20, 4, 8)
_NAME_AND_TWO_IDS = struct.pack("<5H2x", 10, 32, 4, 8, 20)
_ONE_ID = struct.pack("<3H2x", 6, 16, 4)
_TWO_VERSIONS = struct.pack("<4H", 8, 8, 4, 5)
_FLAG = struct.pack("<5H2x", 10, 8, 4, 6, 7)
_STATUS_VALUE = struct.pack("<3H2x", 6, 8, 4)


def _value(kind: UpdateKind) -> tuple[bytes, bytes]:
    """The vtable of an update's value, and the value right behind it."""
    match kind:
        case TagCreated(name) | BranchCreated(name):
            return _ONE_NAME, struct.pack("<iI", 8, 4) + text_block(name.encode())
        case TagDeleted(name, id) | BranchDeleted(name, id) | BranchReset(name, id) | NewCommit(name, id):
            return _NAME_AND_ID, struct.pack("<iI12s", 8, 16, id) + text_block(name.encode())
        case CommitAmended(name, previous, new):
            table = struct.pack("<iI12s12s", 12, 28, previous, new)
            return _NAME_AND_TWO_IDS, table + text_block(name.encode())
        case NewDetachedSnapshot(id):
            return _ONE_ID, struct.pack("<i12s", 8, id)
        case RepoMigrated(from_version, to_version):
            return _TWO_VERSIONS, struct.pack("<iBB2x", 8, from_version, to_version)
        case FeatureFlagChanged(flag, value):
            return _FLAG, struct.pack("<iHBB", 12, flag, bool(value), value is not None)
        case RepoStatusChanged(status):
            # The value at 48 refers to the status at 72, behind the status's own vtable at 56.
            return _STATUS_VALUE, (
                struct.pack("<iI", 8, 72 - 52) + status_vtable(status) + status_table(status, 16)
            )
        case _:
            return _NO_FIELDS, struct.pack("<i", 4)


def read_update(table: Table) -> UpdateRecord:
    """Read one update.

    Raises
    ------
    FormatError
        It is of no known type, or its value lacks something.
    """
    value = table.table(_VALUE)
    if value is None:
        raise table.file.error("Update.value is missing")
    return UpdateRecord(_read_value(table.u8(_TYPE), value), table.u64(_UPDATED_AT), table.text(_BACKUP_PATH))


_WITHOUT_FIELDS = {
    kind.tag: kind() for kind in (RepoInitialized, ConfigChanged, MetadataChanged, GCRan, ExpirationRan)
}
_WITH_NAME = {kind.tag: kind for kind in (TagCreated, BranchCreated)}
_WITH_NAME_AND_ID = {kind.tag: kind for kind in (TagDeleted, BranchDeleted, BranchReset, NewCommit)}


def _read_value(tag: int, value: Table) -> UpdateKind:
    if tag in _WITHOUT_FIELDS:
        return _WITHOUT_FIELDS[tag]
    if tag in _WITH_NAME:
        return _WITH_NAME[tag](_text(value, 0))
    if tag in _WITH_NAME_AND_ID:
        return _WITH_NAME_AND_ID[tag](_text(value, 0), _id(value, 1))
    if tag == CommitAmended.tag:
        return CommitAmended(_text(value, 0), _id(value, 1), _id(value, 2))
    if tag == NewDetachedSnapshot.tag:
        return NewDetachedSnapshot(_id(value, 0))
    if tag == RepoMigrated.tag:
        return RepoMigrated(value.u8(0), value.u8(1))
    if tag == FeatureFlagChanged.tag:
        new_value, is_set = bool(value.u8(1)), value.u8(2) != 0
        return FeatureFlagChanged(_u16(value, 0), new_value if is_set else None)
    if tag == RepoStatusChanged.tag:
        status = value.table(0)
        if status is None:
            raise _incomplete(value)
        return RepoStatusChanged(read_status(status))
    raise value.file.error(f"an update has the unknown type {tag}")


def read_status(table: Table) -> StatusRecord:
    """Read a status. An availability that is neither known reads as online."""
    availability = READ_ONLY if table.u8(0) == READ_ONLY else 0
    return StatusRecord(availability, table.u64(1), table.text(2))


def _text(value: Table, slot: int) -> str:
    text = value.text(slot)
    if text is None:
        raise _incomplete(value)
    return text


def _id(value: Table, slot: int) -> SnapshotId:
    raw = value.struct(slot, 12)
    if raw is None:
        raise _incomplete(value)
    return SnapshotId(raw)


def _u16(value: Table, slot: int) -> int:
    raw = value.struct(slot, 2)
    return 0 if raw is None else int.from_bytes(raw, "little")


def _incomplete(value: Table) -> FormatError:
    return value.file.error("an update lacks a name, an id or a status")

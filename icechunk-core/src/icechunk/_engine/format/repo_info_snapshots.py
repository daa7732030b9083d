"""The table of snapshots in a repo info: columns over blocks, which are copied and patched.

Format section 8. A description of a snapshot is a block that stands on its own, so the blocks may
lie in any order and only the vector of offsets is sorted by id. A snapshot refers to its parent by
row number; inserting one shifts the rows behind it, so every block has room for that number, which
is written for all of them at once.

A block, offsets from its start, a multiple of 8: vtable 0, table 16, message 56, then metadata and
the pruned transaction logs.
"""

from __future__ import annotations

import struct
from bisect import bisect_left
from typing import TYPE_CHECKING, Final, NamedTuple, TypeVar

import numpy as np
import numpy.typing as npt

from icechunk._engine.format.blocks import (
    RawMetadata,
    decode_metadata,
    encode_metadata,
    metadata_vector,
    padding,
    read_raw_metadata,
    text_block,
)
from icechunk._engine.format.ids import SnapshotId, texts_of
from icechunk._engine.format.tables import FlatBuffer, TableVector
from icechunk._engine.format.tables_columns import TableColumns, gather
from icechunk.errors import ErrorKind, FormatError

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from icechunk._engine.format.arrays import Positions
    from icechunk._engine.format.repo_info_records import NewSnapshot
    from icechunk._engine.format.values import JsonValue

_ID, _PARENT, _FLUSHED_AT, _MESSAGE, _METADATA, _PRUNED = range(6)

NO_PARENT: Final = -1

# Most who ask for an ancestry look at the first few only.
_ROWS_ONE_BY_ONE: Final = 20

_WHAT_METADATA = "SnapshotInfo.metadata"

# The values of a repo info are always those of spec version 2.
_VALUES = 2

_TABLE_AT = 16
# soffset 0, id 4..16, parent 16, message 20, flushed_at 24, metadata 32, pruned 36
_VTABLE = struct.pack("<8H", 16, 40, 4, 16, 24, 20, 32, 0)
_VTABLE_WITH_PRUNED = struct.pack("<8H", 16, 40, 4, 16, 24, 20, 32, 36)
_TABLE = struct.Struct("<i12siIQII")
_ID_AT, _PARENT_AT = 4, 16


_Scalar = TypeVar("_Scalar", np.int32, np.int64)


class _Fields(NamedTuple):
    """Where the contents of one description lie; None is absent."""

    flushed_at: int
    message_at: int
    metadata_at: int | None
    pruned_at: int | None


class _Columns(NamedTuple):
    """`_Fields` of all rows, and their ids as text; -1 is absent."""

    flushed_at: memoryview
    message_at: memoryview
    metadata_at: memoryview
    pruned_at: memoryview
    texts: list[str]


class SnapshotInfoRecord:
    """What a repo info says of one snapshot. Each attribute is read when it is asked for."""

    __slots__ = ("_row", "_table")

    def __init__(self, table: SnapshotTable, row: int) -> None:
        self._table = table
        self._row = row

    @property
    def id(self) -> SnapshotId:
        """The snapshot's id."""
        return self._table.id(self._row)

    @property
    def id_text(self) -> str:
        """The snapshot's id as text."""
        return self._table.text(self._row)

    @property
    def parent_text(self) -> str | None:
        """The parent's id as text, or None for a root."""
        parent = self._table.parents[self._row]
        return None if parent == NO_PARENT else self._table.text(parent)

    @property
    def parent_id(self) -> SnapshotId | None:
        """The parent, or None for a root."""
        parent = self._table.parents[self._row]
        return None if parent == NO_PARENT else self._table.id(parent)

    @property
    def flushed_at(self) -> int:
        """When it was written, in microseconds since the epoch."""
        table = self._table
        columns = table.columns
        return table.fields(self._row).flushed_at if columns is None else columns.flushed_at[self._row]

    @property
    def message(self) -> str:
        """The commit message."""
        table = self._table
        columns = table.columns
        at = table.fields(self._row).message_at if columns is None else columns.message_at[self._row]
        return table.file.text_at(at)

    @property
    def metadata(self) -> dict[str, JsonValue]:
        """The commit's metadata."""
        raw = self._raw_metadata()
        return decode_metadata(raw, _VALUES, self._table.file, _WHAT_METADATA) if raw else {}

    @property
    def pruned_ancestor_tx_logs(self) -> tuple[SnapshotId, ...]:
        """Transaction logs of ancestors that are no longer listed, oldest first."""
        raw = self._raw_pruned()
        return tuple(SnapshotId(raw[at : at + 12]) for at in range(0, len(raw), 12))

    def _raw_metadata(self) -> RawMetadata:
        table = self._table
        columns = table.columns
        if columns is not None and columns.metadata_at[self._row] < 0:
            return ()
        file, at = table.file, table.fields(self._row).metadata_at
        if at is None:
            return ()
        vector = file.vector_at(at, 4)
        return read_raw_metadata(TableVector(file, vector), _WHAT_METADATA) if vector.count else ()

    def _raw_pruned(self) -> bytes:
        file, at = self._table.file, self._table.fields(self._row).pruned_at
        if at is None:
            return b""
        start, count = file.vector_at(at, 12)
        return bytes(file.data[start : start + 12 * count])

    def _reencoded(self) -> bytes:
        """A block with the same content; the values of the metadata are not decoded for it."""
        fields = self._table.fields(self._row)
        message = bytes(self._table.file.bytes_at(fields.message_at))
        return _block(self.id, fields.flushed_at, message, self._raw_metadata(), self._raw_pruned())

    def __repr__(self) -> str:
        return f"SnapshotInfoRecord({self.id})"


class SnapshotTable:
    """All snapshots of a repository, sorted by id. Immutable.

    Attributes
    ----------
    file
        The bytes that the tables lie in.
    positions
        Where each table lies.
    columns
        What was read of all rows at once, once somebody has asked for many.
    parents
        The row of each one's parent, `NO_PARENT` for roots. Checked to be rows of this table; that
        they do not run in a circle is not.
    """

    __slots__ = ("columns", "_ids", "_is_ours", "file", "parents", "positions")

    def __init__(
        self,
        file: FlatBuffer,
        positions: Positions,
        ids: bytes,
        parents: npt.NDArray[np.int32],
        *,
        is_ours: bool,
    ) -> None:
        self.file = file
        self.positions = memoryview(positions)
        self.parents = memoryview(parents)
        self._ids = ids
        self._is_ours = is_ours
        self.columns: _Columns | None = None

    @classmethod
    def decode(cls, file: FlatBuffer, tables: TableVector, end: int) -> SnapshotTable:
        """Read the vector `tables` of a file, which ends at `end`.

        Raises
        ------
        FormatError
            Ids are not sorted, or the parent of one is not in the table.
        """
        count = len(tables)
        if not count:
            return cls(file, np.empty(0, np.int64), b"", np.empty(0, np.int32), is_ours=False)
        positions = tables.positions()
        start = end + (-end % 8)
        is_ours = cls._are_blocks(file, positions, start)
        if is_ours:
            # Their vtables were looked at: id and parent are where they always are.
            ids = gather(file, positions + _ID_AT, np.dtype((np.void, 12)))
            words = np.frombuffer(file.data, "<i4", file.size // 4)
            parents = words[(positions + _PARENT_AT) >> 2]
        else:
            columns = TableColumns(file, positions)
            columns.require(_ID, "SnapshotInfo.id")
            columns.require(_MESSAGE, "SnapshotInfo.message")
            ids = columns.structs(_ID, 12)
            parents = columns.scalars(_PARENT, "<i4").astype(np.int32, copy=False)
        if int(parents.min()) < NO_PARENT or int(parents.max()) >= count:
            raise file.error("the parent of a snapshot is not in the list of snapshots")
        # As text of 12 bytes, NumPy compares ids like Python does.
        texts = ids.view("S12")
        if count > 1 and not bool((texts[1:] > texts[:-1]).all()):
            raise file.error("the snapshots are not sorted by id")
        if is_ours:
            # Nothing before the first block is needed any more: what is left can be copied whole.
            region = FlatBuffer(file.data[start:], name=file.name)
            return cls(region, positions - start, ids.tobytes(), parents, is_ours=True)
        return cls(file, positions, ids.tobytes(), parents, is_ours=False)

    @staticmethod
    def _are_blocks(file: FlatBuffer, positions: Positions, start: int) -> bool:
        """Whether all tables are blocks of ours, from `start` on: each has its own vtable in front.

        A writer that shares vtables among tables cannot have made that.
        """
        if int(positions.min()) < start + _TABLE_AT or int(positions.max()) + 40 > file.size:
            return False
        if (positions & 7).any():
            return False
        words = np.frombuffer(file.data, "<u8", file.size // 8)
        at = positions >> 3
        first, second, third = struct.unpack("<QQQ", _VTABLE + _VTABLE_WITH_PRUNED[8:])
        soffsets = words[at] & np.uint64(0xFFFFFFFF)
        seconds = words[at - 1]
        return bool(
            (soffsets == _TABLE_AT).all()
            and (words[at - 2] == first).all()
            and ((seconds == second) | (seconds == third)).all()
        )

    @classmethod
    def from_snapshots(cls, snapshots: Sequence[NewSnapshot], *, name: str) -> SnapshotTable:
        """Encode a table from scratch, from snapshots in any order."""
        return cls._empty(name).with_added(snapshots)

    @classmethod
    def _empty(cls, name: str) -> SnapshotTable:
        file = FlatBuffer(b"", name=name)
        return cls(file, np.empty(0, np.int64), b"", np.empty(0, np.int32), is_ours=True)

    def __len__(self) -> int:
        return len(self.parents)

    def id(self, row: int) -> SnapshotId:
        """The id of a row."""
        return SnapshotId(self._ids[12 * row : 12 * row + 12])

    def text(self, row: int) -> str:
        """The id of a row as text."""
        columns = self.columns
        return str(self.id(row)) if columns is None else columns.texts[row]

    def fields(self, row: int) -> _Fields:
        """Where the contents of a row lie. Those of a block of ours are where they always are."""
        columns = self.columns
        if columns is not None:
            metadata_at, pruned_at = columns.metadata_at[row], columns.pruned_at[row]
            return _Fields(
                columns.flushed_at[row],
                columns.message_at[row],
                None if metadata_at < 0 else metadata_at,
                None if pruned_at < 0 else pruned_at,
            )
        position = self.positions[row]
        if self._is_ours:
            _, _, _, message, flushed_at, metadata, pruned = _TABLE.unpack_from(self.file.data, position)
            return _Fields(
                flushed_at,
                position + 20 + message,
                position + 32 + metadata,
                # The last slot of the vtable, right in front of the table, says whether it is there.
                position + 36 + pruned if self.file.data[position - 2] else None,
            )
        table = self.file.table_at(position)
        message_at = table.target(_MESSAGE)
        if message_at is None:
            raise self.file.error("SnapshotInfo.message is missing")
        return _Fields(table.u64(_FLUSHED_AT), message_at, table.target(_METADATA), table.target(_PRUNED))

    def find(self, id: bytes) -> int | None:
        """The row of an id, or None. Bisects."""
        row = self._insertion_row(id)
        return row if self._ids[12 * row : 12 * row + 12] == id and row < len(self) else None

    def _insertion_row(self, id: bytes) -> int:
        ids = self._ids
        return bisect_left(range(len(ids) // 12), id, key=lambda row: ids[12 * row : 12 * row + 12])

    def records(self) -> Iterator[SnapshotInfoRecord]:
        """All rows."""
        return (SnapshotInfoRecord(self, row) for row in range(len(self)))

    def ancestry(self, row: int) -> Iterator[SnapshotInfoRecord]:
        """A row, its parent, and so on up to a root.

        Raises
        ------
        FormatError
            Parents run in a circle.
        """
        parents = self.parents
        # Of a long history, few are asked for more often than all: by a rebase.
        one_by_one = max(_ROWS_ONE_BY_ONE, len(parents) // 16)
        for number in range(len(parents)):
            if number == one_by_one:
                self._read_columns()
            yield SnapshotInfoRecord(self, row)
            row = parents[row]
            if row == NO_PARENT:
                return
        raise self.file.error("the parents of snapshots run in a circle")

    def _read_columns(self) -> None:
        """Find everything at once, for somebody who asks for many rows."""
        if self.columns is None:
            columns = TableColumns(self.file, np.asarray(self.positions))
            columns.require(_MESSAGE, "SnapshotInfo.message")
            self.columns = _Columns(
                memoryview(columns.scalars(_FLUSHED_AT, "<u8")),
                memoryview(columns.targets(_MESSAGE)),
                memoryview(columns.targets(_METADATA)),
                memoryview(columns.targets(_PRUNED)),
                texts_of(np.frombuffer(self._ids, np.uint8).reshape(-1, 12)),
            )

    def with_blocks(self) -> SnapshotTable:
        """The same table in blocks of ours: itself, if it is; else everything encoded anew."""
        if self._is_ours:
            return self
        blocks = [record._reencoded() for record in self.records()]
        positions = _positions_of(blocks, 0)
        parents = np.array(self.parents, dtype=np.int32)
        region = bytearray(b"".join(blocks))
        _patch_parents(region, positions, parents)
        file = FlatBuffer(region, name=self.file.name)
        return SnapshotTable(file, positions, self._ids, parents, is_ours=True)

    def with_added(self, snapshots: Sequence[NewSnapshot]) -> SnapshotTable:
        """Add snapshots, whose parents must be in the table or among them.

        Raises
        ------
        FormatError
            One is listed already (kind duplicate-snapshot-id), or a parent is not.
        """
        if not snapshots:
            return self
        if not self._is_ours:
            return self.with_blocks().with_added(snapshots)
        added = sorted(snapshots, key=lambda snapshot: snapshot.id)
        before = None
        rows = []
        for snapshot in added:
            row = self._insertion_row(snapshot.id)
            if snapshot.id in (before, self._ids[12 * row : 12 * row + 12]):
                raise FormatError(
                    f"{self.file.name}: duplicated snapshot id `{snapshot.id}`",
                    kind=ErrorKind.DUPLICATE_SNAPSHOT_ID,
                )
            before = snapshot.id
            rows.append(row)
        blocks = [
            _block(
                snapshot.id,
                snapshot.flushed_at,
                snapshot.message.encode(),
                encode_metadata(snapshot.metadata, _VALUES),
                b"".join(snapshot.pruned_ancestor_tx_logs),
            )
            for snapshot in added
        ]
        size = self.file.size
        positions = _inserted(np.asarray(self.positions), rows, _positions_of(blocks, size))
        ids = self._ids_with(added, rows)
        old = np.asarray(self.parents)
        # Each row moves by the number of those inserted in front of it.
        moved = old + np.searchsorted(np.array(rows), old, side="right").astype(np.int32)
        moved[old == NO_PARENT] = NO_PARENT
        parents = _inserted(moved, rows, np.zeros(len(rows), np.int32))
        region = bytearray(size + sum(map(len, blocks)))
        region[:size] = self.file.data
        region[size:] = b"".join(blocks)
        table = SnapshotTable(FlatBuffer(region, name=self.file.name), positions, ids, parents, is_ours=True)
        for number, snapshot in enumerate(added):
            parents[rows[number] + number] = table._row_of_parent(snapshot)
        _patch_parents(region, positions, parents)
        return table

    def _ids_with(self, added: Sequence[NewSnapshot], rows: Sequence[int]) -> bytes:
        parts: list[bytes] = []
        start = 0
        for snapshot, row in zip(added, rows, strict=True):
            parts += (self._ids[start : 12 * row], snapshot.id)
            start = 12 * row
        return b"".join((*parts, self._ids[start:]))

    def _row_of_parent(self, snapshot: NewSnapshot) -> int:
        if snapshot.parent_id is None:
            return NO_PARENT
        row = self.find(snapshot.parent_id)
        if row is None:
            raise self.file.error(f"snapshot {snapshot.parent_id}, parent of {snapshot.id}, is not listed")
        return row

    def encode(self, at: int) -> tuple[bytes, memoryview]:
        """Return the vector, which will lie at `at`, and the region to put right behind it.

        The vector must end at a multiple of 8.
        """
        count = len(self)
        elements = at + 4
        start = elements + 4 * count
        fields = np.arange(elements, start, 4, dtype=np.int64)
        offsets = (np.asarray(self.positions) + start - fields).astype("<u4")
        return struct.pack("<I", count) + offsets.tobytes(), self.file.data


def _block(id: bytes, flushed_at: int, message: bytes, metadata: RawMetadata, pruned: bytes) -> bytes:
    """One snapshot, its parent not yet filled in."""
    text = text_block(message)
    items = metadata_vector(metadata)
    metadata_at = _TABLE_AT + _TABLE.size + len(text)
    pruned_at = metadata_at + len(items)
    tail = struct.pack("<I", len(pruned) // 12) + pruned if pruned else b""
    block = b"".join(
        (
            _VTABLE_WITH_PRUNED if pruned else _VTABLE,
            _TABLE.pack(
                _TABLE_AT,
                id,
                0,
                _TABLE.size - 20,
                flushed_at,
                metadata_at - (_TABLE_AT + 32),
                pruned_at - (_TABLE_AT + 36) if pruned else 0,
            ),
            text,
            items,
            tail,
        )
    )
    return block + padding(len(block), 8)


def _inserted(
    column: npt.NDArray[_Scalar], rows: Sequence[int], values: npt.NDArray[_Scalar]
) -> npt.NDArray[_Scalar]:
    """The column with values inserted in front of rows: `np.insert`, fast in the usual case of one."""
    if len(rows) > 1:
        return np.insert(column, rows, values)
    return np.concatenate((column[: rows[0]], values, column[rows[0] :]))


def _positions_of(blocks: Sequence[bytes], start: int) -> Positions:
    positions = []
    for block in blocks:
        positions.append(start + _TABLE_AT)
        start += len(block)
    return np.array(positions, dtype=np.int64)


def _patch_parents(region: bytearray, positions: Positions, parents: npt.NDArray[np.int32]) -> None:
    words = np.frombuffer(region, "<i4")
    words[(positions + _PARENT_AT) >> 2] = parents

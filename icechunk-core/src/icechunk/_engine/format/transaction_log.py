"""Transaction logs: what one commit changed. Reading and writing.

Format section 7. The coordinates of changed chunks are columns both ways: one array of shape
(chunks, dimensions) for each node, never an object for a chunk.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from icechunk._engine.format.arrays import U32Column
from icechunk._engine.format.blocks import NO_ITEMS, BlockWriter, text_block
from icechunk._engine.format.coordinates import MAX_DIMENSIONS
from icechunk._engine.format.ids import NodeId, SnapshotId
from icechunk._engine.format.tables import FlatBuffer, Table, TableVector
from icechunk._engine.format.tables_columns import TableColumns, gather

if TYPE_CHECKING:
    from icechunk._engine.format.envelope import Buffer
    from icechunk.errors import FormatError

(
    _ID,
    _NEW_GROUPS,
    _NEW_ARRAYS,
    _DELETED_GROUPS,
    _DELETED_ARRAYS,
    _UPDATED_ARRAYS,
    _UPDATED_GROUPS,
    _UPDATED_CHUNKS,
    _MOVED_NODES,
) = range(9)

# Root table at 32: soffset 0, eight offsets from 4 to 36, id 36..48. Ends at 80.
_ROOT_AT = 32
_HEAD = struct.pack("<I4s", _ROOT_AT, b"Ichk") + struct.pack(
    "<11H2x", 22, 48, 36, 4, 8, 12, 16, 20, 24, 28, 32
)
_ROOT = struct.Struct("<i32x12s")

_NODE_VTABLE = struct.pack("<4H", 8, 16, 4, 12)  # soffset 0, node_id 4..12, chunks 12
_NODE = struct.Struct("<i8sI")
_CHUNK_VTABLE = struct.pack("<3H2x", 6, 8, 4)  # soffset 0, coords 4
_MOVE_VTABLE = struct.pack("<6H", 12, 24, 4, 8, 12, 20)  # from 4, to 8, node_id 12..20, type 20
_MOVE = struct.Struct("<iII8sB3x")

# Up to here, one by one is faster than by columns.
_FEW = 8


@dataclass(frozen=True, slots=True)
class Move:
    """A node that was moved; every descendant of a moved group has an entry of its own."""

    from_path: str
    to_path: str
    node_id: NodeId
    is_array: bool


class UpdatedChunks(Mapping[NodeId, U32Column]):
    """Coordinates of changed chunks by node, decoded when asked for. Order: node id."""

    def __init__(self, file: FlatBuffer, tables: Mapping[NodeId, Table]) -> None:
        self._file = file
        self._tables = tables
        self._columns: dict[NodeId, U32Column] = {}
        # Each chunk of a real file has bytes of its own. Those of a hostile one may share them.
        self._budget = file.size
        self._uncounted = dict(tables)

    def __getitem__(self, id: NodeId) -> U32Column:
        columns = self._columns.get(id)
        if columns is None:
            columns = self._columns[id] = self._decode(id)
        return columns

    def __iter__(self) -> Iterator[NodeId]:
        return iter(self._tables)

    def __len__(self) -> int:
        return len(self._tables)

    def few(self, id: NodeId, limit: int) -> list[tuple[int, ...]] | None:
        """Return the rows of a node as tuples if there are no more than `limit`, else `None`."""
        chunks = self._chunks(id)
        return None if len(chunks) > limit else self._rows(id, chunks)

    def _chunks(self, id: NodeId) -> TableVector:
        chunks = self._tables[id].tables(1)
        if chunks is None:
            raise self._file.error("ArrayUpdatedChunks.chunks is missing")
        return chunks

    def _decode(self, id: NodeId) -> U32Column:
        file = self._file
        chunks = self._chunks(id)
        if not len(chunks):
            return np.empty((0, 0), dtype=np.uint32)
        if len(chunks) <= _FEW:
            rows = self._rows(id, chunks)
            return np.array(rows, dtype=np.uint32).reshape(len(rows), len(rows[0]))
        columns = TableColumns(file, chunks.positions())
        columns.require(0, "ChunkIndices.coords")
        starts, counts = columns.vectors(0, 4)
        ndim = int(counts[0])
        if (counts != ndim).any():
            raise self._other_dimensions(id)
        self._count(id, len(chunks), ndim)
        if not ndim:
            return np.empty((len(chunks), 0), dtype=np.uint32)
        coords = gather(file, starts, np.dtype((np.void, 4 * ndim)))
        return coords.view(np.dtype("<u4")).reshape(len(chunks), ndim)

    def _rows(self, id: NodeId, chunks: TableVector) -> list[tuple[int, ...]]:
        file = self._file
        ndim = -1
        layout = ""
        rows: list[tuple[int, ...]] = []
        for chunk in chunks:
            vector = chunk.vector(0, 4)
            if vector is None:
                raise file.error("ChunkIndices.coords is missing")
            start, count = vector
            if count != ndim:
                if rows:
                    raise self._other_dimensions(id)
                ndim = count
                layout = f"<{ndim}I"
                self._count(id, len(chunks), ndim)
            rows.append(struct.unpack_from(layout, file.data, start))
        return rows

    def _count(self, id: NodeId, num_chunks: int, ndim: int) -> None:
        """Raise FormatError if the nodes up to this one claim more coordinates than the file can have.

        Asked before they are read. A node counts once, however often it is asked for.
        """
        if ndim > MAX_DIMENSIONS:
            raise self._file.error(
                f"chunks of node {id} claim {ndim} coordinates each; the most is {MAX_DIMENSIONS}"
            )
        # No lock, which a fork could find taken: of several threads one gets the node. If two subtract at
        # once, one of them may be forgotten, which leaves more than there should be and never less.
        if self._uncounted.pop(id, None) is not None:
            self._budget -= 4 * num_chunks * (ndim + 1)
        if self._budget < 0:
            raise self._file.error("chunk coordinates overlap")

    def _other_dimensions(self, id: NodeId) -> FormatError:
        return self._file.error(f"chunks of node {id} have different numbers of dimensions")


class TransactionLog:
    """What one commit changed. Lists of ids are sorted by bytes.

    Parameters
    ----------
    id
        That of the commit's snapshot.
    new_groups, new_arrays, deleted_groups, deleted_arrays, updated_groups, updated_arrays
        Node ids in any order. An updated node is one whose `zarr.json` changed.
    updated_chunks
        For each node the chunks that were set or deleted: integers of shape (chunks, dimensions),
        rows in lexicographic order.
    moved_nodes
        In any order.
    """

    __slots__ = (
        "deleted_arrays",
        "deleted_groups",
        "id",
        "moved_nodes",
        "new_arrays",
        "new_groups",
        "updated_arrays",
        "updated_chunks",
        "updated_groups",
    )

    def __init__(
        self,
        *,
        id: SnapshotId,
        new_groups: Sequence[NodeId] = (),
        new_arrays: Sequence[NodeId] = (),
        deleted_groups: Sequence[NodeId] = (),
        deleted_arrays: Sequence[NodeId] = (),
        updated_groups: Sequence[NodeId] = (),
        updated_arrays: Sequence[NodeId] = (),
        updated_chunks: Mapping[NodeId, U32Column] | None = None,
        moved_nodes: Sequence[Move] = (),
    ) -> None:
        self.id = id
        self.new_groups = sorted(new_groups)
        self.new_arrays = sorted(new_arrays)
        self.deleted_groups = sorted(deleted_groups)
        self.deleted_arrays = sorted(deleted_arrays)
        self.updated_groups = sorted(updated_groups)
        self.updated_arrays = sorted(updated_arrays)
        self.updated_chunks: Mapping[NodeId, U32Column] = {} if updated_chunks is None else updated_chunks
        self.moved_nodes = sorted(moved_nodes, key=_segments)

    @classmethod
    def decode(cls, payload: Buffer, *, name: str) -> TransactionLog:
        """Read a transaction log's payload.

        Raises
        ------
        FormatError
            Here, and later when `updated_chunks` is asked for a node: it is no valid log.
        """
        file = FlatBuffer(payload, name=name)
        root = file.root()
        id = root.struct(_ID, 12)
        if id is None:
            raise file.error("TransactionLog.id is missing")
        return cls(
            id=SnapshotId(id),
            new_groups=_read_ids(root, _NEW_GROUPS, "new_groups"),
            new_arrays=_read_ids(root, _NEW_ARRAYS, "new_arrays"),
            deleted_groups=_read_ids(root, _DELETED_GROUPS, "deleted_groups"),
            deleted_arrays=_read_ids(root, _DELETED_ARRAYS, "deleted_arrays"),
            updated_groups=_read_ids(root, _UPDATED_GROUPS, "updated_groups"),
            updated_arrays=_read_ids(root, _UPDATED_ARRAYS, "updated_arrays"),
            updated_chunks=UpdatedChunks(file, _read_nodes(root)),
            moved_nodes=_read_moves(root),
        )

    def few_updated_chunks(self, id: NodeId, limit: int) -> list[tuple[int, ...]] | None:
        """Return the updated chunks of a node as tuples if there are no more than `limit`, else None.

        For few, it takes half the time of a column.
        """
        chunks = self.updated_chunks
        if isinstance(chunks, UpdatedChunks):
            return chunks.few(id, limit)
        return None if len(chunks[id]) > limit else [tuple(row) for row in chunks[id].tolist()]

    def encode(self) -> list[Buffer]:
        """Return the payload in pieces, ready for `seal_file`."""
        writer = BlockWriter(_HEAD + _ROOT.pack(_ROOT_AT - 8, self.id))
        field = _ROOT_AT + 4
        for ids in (
            self.new_groups,
            self.new_arrays,
            self.deleted_groups,
            self.deleted_arrays,
            self.updated_arrays,
            self.updated_groups,
        ):
            writer.add(struct.pack("<I", len(ids)) + b"".join(ids), pointed_from=field)
            field += 4
        writer.add(_moves_vector(self.moved_nodes), pointed_from=_ROOT_AT + 4 * _MOVED_NODES)
        writer.align(4)
        writer.point(_ROOT_AT + 4 * _UPDATED_CHUNKS)
        return _add_chunks(writer, self.updated_chunks)


def _segments(move: Move) -> list[str]:
    return move.to_path.split("/")


# --- reading


def _read_ids(root: Table, slot: int, what: str) -> list[NodeId]:
    at = root.target(slot)
    if at is None:
        raise root.file.error(f"TransactionLog.{what} is missing")
    if not root.file.u32(at):
        # As most are in most logs, of which a rebase reads many.
        return []
    start, count = root.file.vector_at(at, 8)
    raw = bytes(root.file.data[start : start + 8 * count])
    return [NodeId(raw[at : at + 8]) for at in range(0, len(raw), 8)]


def _read_nodes(root: Table) -> dict[NodeId, Table]:
    tables = root.tables(_UPDATED_CHUNKS)
    if tables is None:
        raise root.file.error("TransactionLog.updated_chunks is missing")
    nodes: dict[NodeId, Table] = {}
    for table in tables:
        id = table.struct(0, 8)
        if id is None:
            raise root.file.error("ArrayUpdatedChunks.node_id is missing")
        table.require(1, "ArrayUpdatedChunks.chunks")
        if id in nodes:
            raise root.file.error(f"chunks of node {NodeId(id)} are listed twice")
        nodes[NodeId(id)] = table
    return nodes


def _read_moves(root: Table) -> list[Move]:
    vector = root.vector(_MOVED_NODES, 4)
    if vector is None or not vector.count:
        return []
    tables = TableVector(root.file, vector)
    budget = root.file.size
    moves = []
    for table in tables:
        origin, target, id = table.text(0), table.text(1), table.struct(2, 8)
        if origin is None or target is None or id is None:
            raise root.file.error("a move lacks its origin, its target or its node")
        budget -= len(origin) + len(target)
        if budget < 0:
            raise root.file.error("paths of moves overlap")
        moves.append(Move(origin, target, NodeId(id), table.u8(3) == 1))
    return moves


# --- writing


def _moves_vector(moves: Sequence[Move]) -> bytes:
    if not moves:
        return NO_ITEMS
    count = len(moves)
    first = 4 + 4 * count + len(_MOVE_VTABLE)
    parts = [struct.pack(f"<I{count}I", count, *range(first - 4, first - 4 + 20 * count, 20)), _MOVE_VTABLE]
    texts: list[bytes] = []
    end = first + 24 * count
    for row, move in enumerate(moves):
        table = first + 24 * row
        origin, target = text_block(move.from_path.encode()), text_block(move.to_path.encode())
        parts.append(
            _MOVE.pack(
                table - (4 + 4 * count),
                end - (table + 4),
                end + len(origin) - (table + 8),
                move.node_id,
                move.is_array,
            )
        )
        texts += (origin, target)
        end += len(origin) + len(target)
    return b"".join(parts + texts)


def _add_chunks(writer: BlockWriter, updated_chunks: Mapping[NodeId, U32Column]) -> list[Buffer]:
    """Add the vector of nodes; then, for each node, its rows as pieces of their own."""
    nodes = sorted(updated_chunks)
    start = len(writer)
    count = len(nodes)
    vtables_at = start + 4 + 4 * count
    first = vtables_at + len(_NODE_VTABLE)
    writer.out += struct.pack(
        f"<I{count}I", count, *range(first - start - 4, first - start - 4 + 12 * count, 12)
    )
    writer.out += _NODE_VTABLE
    end = first + 16 * count
    rows: list[Buffer] = []
    for number, id in enumerate(nodes):
        table = first + 16 * number
        writer.out += _NODE.pack(table - vtables_at, id, end - (table + 12))
        piece = _chunk_rows(updated_chunks[id])
        rows.append(piece)
        end += len(piece)
    return [bytes(writer.out), *rows]


def _chunk_rows(coords: U32Column) -> Buffer:
    """The vector of one node's chunks: offsets, their vtable, and one row of fixed size for each."""
    count, ndim = coords.shape
    if not count:
        return NO_ITEMS
    # soffset, offset to the coordinates, their number, the coordinates
    stride = 3 + ndim
    first = 1 + count + 2
    words = np.empty(first + count * stride, dtype="<u4")
    words[0] = count
    words[1 : 1 + count] = np.arange(count, dtype="<u4") * (4 * (stride - 1)) + 4 * (first - 1)
    words[1 + count : first] = np.frombuffer(_CHUNK_VTABLE, "<u4")
    rows = words[first:].reshape(count, stride)
    rows[:, 0] = np.arange(8, 8 + 4 * stride * count, 4 * stride, dtype="<u4")
    rows[:, 1] = 4
    rows[:, 2] = ndim
    rows[:, 3:] = coords
    return words.view("u1").data

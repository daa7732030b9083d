"""Reading a snapshot: one node at a time, found in the buffer; never all nodes to find one.

Format section 5. Nodes are sorted by the UTF-8 bytes of their whole path, so a path is found by
bisection, and what lies below a group is one range: all paths that begin with ``<path>/``.
"""

from __future__ import annotations

import struct
from bisect import bisect_left
from functools import cached_property
from typing import TYPE_CHECKING, Final, TypeAlias

import numpy as np
import numpy.typing as npt

from icechunk._engine.format.blocks import decode_metadata, read_raw_metadata
from icechunk._engine.format.ids import ManifestId, NodeId, SnapshotId
from icechunk._engine.format.snapshot_nodes import ArrayBlock, read_array_block
from icechunk._engine.format.snapshot_records import (
    ArrayNode,
    DimensionShape,
    GroupNode,
    ManifestFileInfo,
    ManifestRef,
    Node,
)
from icechunk._engine.format.tables import FlatBuffer, Table, TableVector
from icechunk._engine.format.tables_columns import TableColumns
from icechunk.errors import ErrorKind, FormatError

if TYPE_CHECKING:
    from collections.abc import Iterator

    from icechunk._engine.format.envelope import Buffer
    from icechunk._engine.format.values import JsonValue

# Slots of the tables, by the names of the format's specification.
_ID, _PARENT_ID, _NODES, _FLUSHED_AT, _MESSAGE, _METADATA, _FILES, _FILES_V2 = range(8)
_NODE_ID, _NODE_PATH, _NODE_USER_DATA, _NODE_TYPE, _NODE_DATA = range(5)
_SHAPE, _DIMENSION_NAMES, _MANIFESTS, _SHAPE_V2 = range(4)

_ARRAY_TYPE, _GROUP_TYPE = 1, 2

_SHAPE_STRUCT = struct.Struct("<QQ")

FILE_ROW: Final = np.dtype(
    {
        "names": ["id", "size_bytes", "num_chunk_refs"],
        "formats": ["V12", "<u8", "<u4"],
        "offsets": [0, 16, 24],
        "itemsize": 32,
    }
)
"""What is said of one manifest: the struct of spec version 1."""

FileColumns: TypeAlias = npt.NDArray[np.void]
"""Rows of `FILE_ROW`."""

# Up to here, one by one is faster than by columns.
_FEW = 16


class Snapshot:
    """A decoded snapshot: the nodes of the hierarchy, and the manifests they use.

    Holds the payload and reads from it what is asked for, so any accessor may raise FormatError.
    Nodes that were found are kept. Safe for use from several threads.
    """

    def __init__(self, file: FlatBuffer, spec_version: int) -> None:
        self.spec_version = spec_version
        self.file = file
        self._root = root = file.root()
        for slot, what in ((_ID, "id"), (_NODES, "nodes"), (_MESSAGE, "message")):
            root.require(slot, f"Snapshot.{what}")
        root.require(_METADATA, "Snapshot.metadata")
        if not root.has(_FILES_V2):
            root.require(_FILES, "Snapshot.manifest_files")
        nodes = root.tables(_NODES)
        if nodes is None:
            raise file.error("Snapshot.nodes is missing")
        self.node_vector: TableVector = nodes
        self._found: dict[str, Node] = {}
        self._names: dict[int, str] = {}
        # Nodes of a hostile file may share their contents, and a few kilobytes unfold to gigabytes.
        # Those of real files do not, but for the names of dimensions, which are kept once here too.
        self._budget = 16 * file.size + 65536

    @classmethod
    def decode(cls, payload: Buffer, spec_version: int, *, name: str) -> Snapshot:
        """Read a snapshot file's payload.

        Parameters
        ----------
        payload
            The decompressed payload.
        spec_version
            That of the file's header.
        name
            The object's path, for messages.

        Raises
        ------
        FormatError
            Here, and later in any accessor: the bytes are no valid snapshot.
        """
        return cls(FlatBuffer(payload, name=name), spec_version)

    @cached_property
    def id(self) -> SnapshotId:
        """The snapshot's id."""
        return SnapshotId(_present(self._root, _ID, "Snapshot.id", 12))

    @cached_property
    def parent_id(self) -> SnapshotId | None:
        """The parent's id: spec version 1 only, and not for the first snapshot of a repository."""
        raw = self._root.struct(_PARENT_ID, 12)
        return None if raw is None else SnapshotId(raw)

    @property
    def flushed_at(self) -> int:
        """When it was written, in microseconds since the epoch."""
        return self._root.u64(_FLUSHED_AT)

    @cached_property
    def message(self) -> str:
        """The commit message."""
        return self._root.text(_MESSAGE) or ""

    @cached_property
    def metadata(self) -> dict[str, JsonValue]:
        """The commit's metadata."""
        items = self._root.tables(_METADATA)
        if not items:
            return {}
        raw = read_raw_metadata(items, "Snapshot.metadata")
        return decode_metadata(raw, self.spec_version, self.file, "Snapshot.metadata")

    @property
    def num_nodes(self) -> int:
        """How many groups and arrays there are."""
        return len(self.node_vector)

    @property
    def end_of_node_vector(self) -> int:
        """Where the vector of nodes ends in the payload."""
        vector = self._root.vector(_NODES, 4)
        return 0 if vector is None else vector.start + 4 * vector.count

    # --- nodes

    def find_node(self, path: str) -> Node | None:
        """Return the node at an absolute path, or None."""
        node = self._found.get(path)
        if node is None:
            try:
                raw_path = path.encode()
            except UnicodeEncodeError:
                return None
            row = self.bisect(raw_path)
            if row == len(self.node_vector) or self.raw_path(row) != raw_path:
                return None
            node = self._found[path] = self._decode(self.node_vector[row], path)
        return node

    def find_node_by_id(self, id: NodeId) -> Node | None:
        """Return the node with an id, or None."""
        row = self._rows_by_id.get(int.from_bytes(id, "little"))
        if row is None:
            return None
        node = self.node(row)
        if node.id != id:
            # Nodes are remembered by path, so this is another one of the same.
            raise self.file.error(f"two nodes have the path `{node.path}`")
        return node

    def nodes(self) -> Iterator[Node]:
        """All nodes, in the order of their paths' bytes."""
        return self._rows(0, len(self.node_vector))

    def nodes_under(self, path: str) -> Iterator[Node]:
        """All descendants of a node, which itself is not among them, in order of path."""
        return self._rows(*self._range_under(path))

    def paths_under(self, path: str) -> Iterator[str]:
        """The paths of all descendants, in order."""
        for row in range(*self._range_under(path)):
            yield self._text(self.raw_path(row))

    def children(self, path: str) -> Iterator[Node]:
        """The nodes directly below a group, in order of path."""
        row, stop = self._range_under(path)
        prefix_length = len(_prefix(path))
        while row < stop:
            raw_path = self.raw_path(row)
            slash = raw_path.find(b"/", prefix_length)
            if slash < 0:
                # A node without a name, in a damaged file, is nobody's child.
                if len(raw_path) > prefix_length:
                    yield self.node(row)
                row += 1
            else:
                # Inside of a child's own subtree: jump to its end. "0" is the byte after "/".
                row = self.bisect(raw_path[:slash] + b"0", row, stop)

    def node(self, row: int) -> Node:
        """Return the node number `row`, in order of path."""
        table = self.node_vector[row]
        return self._node(table, self._raw_path(table))

    def bisect(self, raw_path: bytes, start: int = 0, stop: int | None = None) -> int:
        """Return the first row from `start` on whose path is not less than `raw_path`."""
        low, high = start, len(self.node_vector) if stop is None else stop
        while low < high:
            middle = (low + high) // 2
            if self.raw_path(middle) < raw_path:
                low = middle + 1
            else:
                high = middle
        return low

    def raw_path(self, row: int) -> bytes:
        """Return the path of node number `row` in UTF-8."""
        return self._raw_path(self.node_vector[row])

    # --- manifests

    def manifest_file(self, id: ManifestId) -> ManifestFileInfo:
        """Return what is said of a manifest.

        Raises
        ------
        FormatError
            The snapshot does not list it (kind manifest-info-not-found).
        """
        info = self._find_file(id)
        if info is None:
            raise FormatError(
                f"{self.file.name}: manifest information cannot be found in snapshot `{id}`",
                kind=ErrorKind.MANIFEST_INFO_NOT_FOUND,
            )
        return info

    @property
    def num_manifest_files(self) -> int:
        """The number of manifests that are listed."""
        tables = self._root.tables(_FILES_V2)
        if tables is not None:
            return len(tables)
        vector = self._root.vector(_FILES, FILE_ROW.itemsize)
        return 0 if vector is None else vector.count

    def manifest_files(self) -> list[ManifestFileInfo]:
        """Everything that is said of manifests, in the order of the file."""
        return list(self._files_by_id.values())

    def manifest_file_columns(self) -> FileColumns:
        """Everything that is said of manifests, as columns in the order of the file."""
        tables = self._root.tables(_FILES_V2)
        if tables is not None:
            if not len(tables):
                return np.empty(0, FILE_ROW)
            columns = TableColumns(self.file, tables.positions())
            columns.require(0, "ManifestFileInfoV2.id")
            rows = np.empty(len(tables), FILE_ROW)
            rows["id"] = columns.structs(0, 12)
            rows["size_bytes"] = columns.scalars(1, "<u8")
            rows["num_chunk_refs"] = columns.scalars(2, "<u4")
            return rows
        vector = self._root.vector(_FILES, FILE_ROW.itemsize)
        if vector is None:
            return np.empty(0, FILE_ROW)
        return np.frombuffer(self.file.data, FILE_ROW, vector.count, vector.start)

    def _find_file(self, id: ManifestId) -> ManifestFileInfo | None:
        ids = self._sorted_file_ids
        if not ids:
            return self._files_by_id.get(id)
        row = bisect_left(range(len(ids) // 12), bytes(id), key=lambda row: ids[12 * row : 12 * row + 12])
        if ids[12 * row : 12 * row + 12] != id:
            return None
        _, size_bytes, num_chunk_refs = self._file_columns[row].item()
        return ManifestFileInfo(id, size_bytes, num_chunk_refs)

    @cached_property
    def _file_columns(self) -> FileColumns:
        return self.manifest_file_columns()

    @cached_property
    def _sorted_file_ids(self) -> bytes:
        """All ids in one piece, to be bisected; empty if they are few or not in order."""
        tables = self._root.tables(_FILES_V2)
        if tables is None or len(tables) < _FEW:
            return b""
        ids = self._file_columns["id"].tobytes()
        # As text of 12 bytes, NumPy compares ids like Python does.
        texts = np.frombuffer(ids, "S12")
        return ids if (texts[1:] > texts[:-1]).all() else b""

    @cached_property
    def _files_by_id(self) -> dict[ManifestId, ManifestFileInfo]:
        return {info.id: info for info in self._read_files()}

    def _read_files(self) -> Iterator[ManifestFileInfo]:
        tables = self._root.tables(_FILES_V2)
        if tables is not None and len(tables) < _FEW:
            for table in tables:
                id = ManifestId(_present(table, 0, "ManifestFileInfoV2.id", 12))
                yield ManifestFileInfo(id, table.u64(1), table.u32(2))
            return
        for id, size_bytes, num_chunk_refs in self.manifest_file_columns().tolist():
            yield ManifestFileInfo(ManifestId(id), size_bytes, num_chunk_refs)

    # --- inside

    @cached_property
    def _rows_by_id(self) -> dict[int, int]:
        if not len(self.node_vector):
            return {}
        columns = TableColumns(self.file, self.node_vector.positions())
        columns.require(_NODE_ID, "NodeSnapshot.id")
        ids = columns.structs(_NODE_ID, 8).view(np.dtype("<u8")).tolist()
        return {id: row for row, id in enumerate(ids)}

    def _range_under(self, path: str) -> tuple[int, int]:
        prefix = _prefix(path)
        start = self.bisect(prefix)
        if prefix == b"/" and start < self.num_nodes and self.raw_path(start) == b"/":
            start += 1
        # "0" is the byte after "/".
        return start, self.bisect(prefix[:-1] + b"0", start)

    def _rows(self, start: int, stop: int) -> Iterator[Node]:
        before, there = b"", set[NodeId]()
        for row in range(start, stop):
            table = self.node_vector[row]
            raw_path = self._raw_path(table)
            if raw_path > before:
                before, there = raw_path, set()
                yield self._node(table, raw_path)
                continue
            # Out of order is out of reach for a bisection. Two nodes at one path are what the reference
            # writes where two sessions have replaced the same node; but no node is there twice, so that a
            # hostile file cannot make a small buffer unfold to many nodes that share their bytes.
            if not there and row:
                there.add(self._id(self.node_vector[row - 1]))
            if raw_path != before or not before or self._id(table) in there:
                raise self.file.error(f"node paths are not in order at {raw_path!r}")
            there.add(self._id(table))
            yield self._decode(table, self._text(raw_path))

    @staticmethod
    def _id(table: Table) -> NodeId:
        return NodeId(_present(table, _NODE_ID, "NodeSnapshot.id", 8))

    def _raw_path(self, table: Table) -> bytes:
        path = table.bytes(_NODE_PATH)
        if path is None:
            raise self.file.error("NodeSnapshot.path is missing")
        return bytes(path)

    def _text(self, raw_path: bytes) -> str:
        try:
            return raw_path.decode()
        except UnicodeDecodeError as error:
            raise self.file.error(f"the path of a node is not UTF-8 ({error.reason})") from error

    def _node(self, table: Table, raw_path: bytes) -> Node:
        path = self._text(raw_path)
        node = self._found.get(path)
        if node is None:
            node = self._found[path] = self._decode(table, path)
        return node

    def _decode(self, table: Table, path: str) -> Node:
        if self.spec_version == 2:
            block = read_array_block(self.file.data, table.position)
            if block is not None:
                return self._decode_block(block, path)
        id = self._id(table)
        user_data = table.bytes(_NODE_USER_DATA)
        if user_data is None:
            raise self.file.error(f"node `{path}`: user_data is missing")
        data = table.table(_NODE_DATA)
        if data is None:
            raise self.file.error(f"node `{path}`: node_data is missing")
        kind = table.u8(_NODE_TYPE)
        if kind == _GROUP_TYPE:
            self._spend(len(user_data), path)
            return GroupNode(id, path, bytes(user_data))
        if kind == _ARRAY_TYPE:
            self._spend(len(user_data), path)
            return ArrayNode(
                id,
                path,
                bytes(user_data),
                self._shape(data, path),
                self._dimension_names(data, path),
                tuple(self._manifest_refs(data, path)),
            )
        raise self.file.error(f"node `{path}` has the unknown type {kind}")

    def _decode_block(self, block: ArrayBlock, path: str) -> ArrayNode:
        user_data = bytes(self.file.bytes_at(block.user_data_at))
        self._spend(len(user_data) + 4 * len(block.shape) + 4 * len(block.manifests), path)
        names = block.names_at
        return ArrayNode(
            NodeId(block.id),
            path,
            user_data,
            block.shape,
            None if names is None else tuple(self._name_at(place, path) for place in names),
            tuple(ManifestRef(ManifestId(id), self._extents(at, path)) for id, at in block.manifests),
        )

    def _shape(self, data: Table, path: str) -> tuple[DimensionShape, ...]:
        tables = data.tables(_SHAPE_V2)
        if tables is not None:
            self._spend(4 * len(tables), path)
            return tuple(DimensionShape(table.u64(0), table.u32(1)) for table in tables)
        vector = data.vector(_SHAPE, _SHAPE_STRUCT.size)
        if vector is None:
            raise self.file.error(f"array `{path}` has no shape")
        self._spend(_SHAPE_STRUCT.size * vector.count, path)
        end = vector.start + vector.count * _SHAPE_STRUCT.size
        shape = []
        for length, chunk_length in _SHAPE_STRUCT.iter_unpack(self.file.data[vector.start : end]):
            if length and not chunk_length:
                raise self.file.error(f"array `{path}` has chunks of length 0")
            shape.append(DimensionShape(length, -(-length // chunk_length) if chunk_length else 0))
        return tuple(shape)

    def _dimension_names(self, data: Table, path: str) -> tuple[str | None, ...] | None:
        tables = data.tables(_DIMENSION_NAMES)
        if tables is None:
            return None
        self._spend(4 * len(tables), path)
        return tuple(self._name_at(table.target(0), path) for table in tables)

    def _name_at(self, target: int | None, path: str) -> str | None:
        if target is None:
            return None
        name = self._names.get(target)
        if name is None:
            name = self.file.text_at(target)
            self._spend(len(name), path)
            self._names[target] = name
        return name or None

    def _manifest_refs(self, data: Table, path: str) -> Iterator[ManifestRef]:
        tables = data.tables(_MANIFESTS)
        if tables is None:
            raise self.file.error(f"array `{path}` has no list of manifests")
        self._spend(4 * len(tables), path)
        for table in tables:
            id = ManifestId(_present(table, 0, "ManifestRef.object_id", 12))
            extents_at = table.target(1)
            if extents_at is None:
                raise self.file.error(f"array `{path}`: ManifestRef.extents is missing")
            yield ManifestRef(id, self._extents(extents_at, path))

    def _extents(self, at: int, path: str) -> tuple[tuple[int, int], ...]:
        start, count = self.file.vector_at(at, 8)
        self._spend(8 * count, path)
        bounds = struct.unpack_from(f"<{2 * count}I", self.file.data, start)
        return tuple(zip(bounds[::2], bounds[1::2], strict=True))

    def _spend(self, size: int, path: str) -> None:
        self._budget -= size
        if self._budget < 0:
            raise self.file.error(f"node `{path}` shares its content with too many others")


def _prefix(path: str) -> bytes:
    """What the paths of all descendants begin with."""
    return b"/" if path == "/" else path.encode(errors="surrogatepass") + b"/"


def _present(table: Table, slot: int, what: str, size: int) -> bytes:
    raw = table.struct(slot, size)
    if raw is None:
        raise table.file.error(f"{what} is missing")
    return raw

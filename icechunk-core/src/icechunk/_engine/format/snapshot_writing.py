"""Writing a snapshot: from scratch, or from an older one of which most is copied.

Format section 5. The file is a head (everything but the nodes), the vector of nodes, and one region
with a block for each node (`snapshot_nodes`). In a file of ours the blocks lie in the order of the
vector, without gaps, so the unchanged runs between two changes are copied as slices. A file of
another writer shares vtables among its nodes: it becomes a part of the region as a whole, with the
vector pointing into it, until too much of it is dead.
"""

from __future__ import annotations

import struct
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from icechunk._engine.format.blocks import (
    BlockWriter,
    encode_metadata,
    metadata_vector,
    text_block,
)
from icechunk._engine.format.snapshot_nodes import (
    ARRAY_NODE_AT,
    GROUP_NODE_AT,
    GROUP_PREFIX,
    array_prefixes,
    encode_node,
)
from icechunk._engine.format.snapshot_reading import FILE_ROW
from icechunk._engine.format.snapshot_records import ArrayNode, ManifestFileInfo, Node
from icechunk._engine.format.tables_columns import TableColumns

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Mapping

    from icechunk._engine.format.arrays import Positions
    from icechunk._engine.format.envelope import Buffer
    from icechunk._engine.format.ids import ManifestId, SnapshotId
    from icechunk._engine.format.snapshot_reading import FileColumns, Snapshot
    from icechunk._engine.format.values import JsonValue

# Root table at 32: soffset 0, nodes 4, flushed_at 8, message 16, metadata 20, manifest_files 24,
# manifest_files_v2 28, id 32..44, parent_id 44..56.
_ROOT_AT = 32
_ROOT = struct.Struct("<iIQIIII12s12s")
_HEAD_SIZE = _ROOT_AT + _ROOT.size
_PREFIX = struct.Struct("<I4s")
_ROOT_VTABLE = struct.Struct("<10H4x")
_NODES_FIELD, _MESSAGE_FIELD, _METADATA_FIELD = _ROOT_AT + 4, _ROOT_AT + 16, _ROOT_AT + 20
_FILES_FIELD, _FILES_V2_FIELD = _ROOT_AT + 24, _ROOT_AT + 28

_FILE_V1 = struct.Struct("<12s4xQI4x")
_FILE_V2_ROW = np.dtype(
    [
        ("soffset", "<i4"),
        ("num_chunk_refs", "<u4"),
        ("size_bytes", "<u8"),
        ("id", "V12"),
        ("end", "<u4"),
    ]
)
_FILE_V2_VTABLE = struct.pack("<5H2x", 10, 28, 16, 8, 4)

# Up to here, one by one is faster than by columns.
_FEW = 32

# A region that is not ours is kept until more than this part of it is dead.
_MOST_DEAD = 1 / 4
# What a node takes at least, besides its path and user data.
_NODE_OVERHEAD_BYTES = 100


class _Region(NamedTuple):
    """The nodes: pieces of bytes, and where each node's table lies in them, in order of path."""

    pieces: list[Buffer]
    positions: Positions


def encode_snapshot(
    *,
    id: SnapshotId,
    parent_id: SnapshotId | None,
    flushed_at: int,
    message: str,
    metadata: Mapping[str, JsonValue],
    nodes: Iterable[Node],
    manifest_files: Iterable[ManifestFileInfo],
    spec_version: int,
) -> list[Buffer]:
    """Encode a snapshot from scratch.

    Parameters
    ----------
    flushed_at
        Microseconds since the epoch.
    metadata
        JSON values, as `values.to_json_object` returns them.
    nodes, manifest_files
        In any order.

    Returns
    -------
    list[Buffer]
        The payload in pieces, ready for `seal_file`.
    """
    region = _encode_nodes(nodes, spec_version)
    head = _head(id, parent_id, flushed_at, message, metadata, manifest_files, spec_version)
    return _assemble(head, region)


def rewrite_snapshot(
    old: Snapshot,
    *,
    id: SnapshotId,
    parent_id: SnapshotId | None,
    flushed_at: int,
    message: str,
    metadata: Mapping[str, JsonValue],
    set_nodes: Mapping[str, Node],
    removed_paths: Collection[str],
    manifest_files: Iterable[ManifestFileInfo] | None = None,
    added_manifest_files: Iterable[ManifestFileInfo] = (),
    removed_manifest_ids: Iterable[ManifestId] = (),
    spec_version: int,
) -> list[Buffer]:
    """Encode a snapshot that differs from `old` in some nodes; what is unchanged is copied.

    Parameters
    ----------
    set_nodes
        Nodes that are new or changed, by their path.
    removed_paths
        Nodes that are gone. A path that is in `set_nodes` as well is set.
    manifest_files
        All manifests of the new snapshot, in any order. Or, if None, those of `old` with
    added_manifest_files, removed_manifest_ids
        these added and those removed, which is much faster where there are many.

    Other parameters and the result are those of `encode_snapshot`.
    """
    region = None
    if old.num_nodes and old.spec_version == spec_version:
        changes: dict[bytes, Node | None] = {path.encode(): None for path in removed_paths}
        changes.update((path.encode(), node) for path, node in set_nodes.items())
        layout = _layout_of(old)
        if layout.blocks is not None:
            region = _splice(old, layout, layout.blocks, changes)
        else:
            region = _embed(old, layout, changes)
    if region is None:
        gone = {*removed_paths, *set_nodes}
        kept = (node for node in old.nodes() if node.path not in gone)
        region = _encode_nodes([*kept, *set_nodes.values()], spec_version)
    files = manifest_files
    if files is None:
        files = _changed_files(old, [*added_manifest_files], [*removed_manifest_ids])
    head = _head(id, parent_id, flushed_at, message, metadata, files, spec_version)
    return _assemble(head, region)


# --- the nodes


def _encode_nodes(nodes: Iterable[Node], spec_version: int) -> _Region:
    return _encode_blocks(sorted(nodes, key=_path_order), spec_version)


def _path_order(node: Node) -> bytes:
    return node.path.encode()


def _encode_blocks(nodes: list[Node], spec_version: int) -> _Region:
    pieces: list[Buffer] = []
    positions = []
    end = 0
    for node in nodes:
        block = encode_node(node, spec_version)
        positions.append(end + (ARRAY_NODE_AT if isinstance(node, ArrayNode) else GROUP_NODE_AT))
        pieces.append(block)
        end += len(block)
    return _Region([b"".join(pieces)], np.array(positions, dtype=np.int64))


class _Layout(NamedTuple):
    """Where the nodes of an existing file lie, relative to the region they are in."""

    region: memoryview
    positions: Positions
    # Where each node's block begins, if the file is ours.
    blocks: Positions | None


def _layout_of(old: Snapshot) -> _Layout:
    """Find out whether the nodes are blocks of ours, which can be cut out.

    They are if, in the order of the vector and with nothing before the first, each begins with a
    vtable of ours at our distance from the table. A writer that shares vtables among tables cannot
    have made that.
    """
    file, data = old.file, old.file.data
    positions = old.node_vector.positions()
    start = old.end_of_node_vector
    start += -start % 8
    if start >= file.size or int(positions.min()) < start or int(positions.max()) + 28 > file.size:
        return _Layout(data, positions, None)
    region = data[start:]
    relative = positions - start
    is_region_of_ours = bytes(data[:_HEAD_SIZE])[8:28] in _ROOT_VTABLES
    if not is_region_of_ours:
        return _Layout(data, positions, None)
    prefixes = array_prefixes(old.spec_version)
    find = _find_few_blocks if len(relative) <= _FEW else _find_many_blocks
    return _Layout(region, relative, find(region, relative, prefixes))


def _find_few_blocks(
    region: memoryview, positions: Positions, array_prefixes: tuple[bytes, bytes]
) -> Positions | None:
    """Where the blocks begin, one by one; None if they are not all ours."""
    blocks: list[int] = []
    for position in positions.tolist():
        soffset = int.from_bytes(region[position : position + 4], "little")
        start = position - soffset
        if start % 8 or (start <= blocks[-1] if blocks else start != 0):
            return None
        prefix = bytes(region[start:position])
        if prefix != GROUP_PREFIX and prefix not in array_prefixes:
            return None
        blocks.append(start)
    return np.array(blocks, dtype=np.int64)


def _find_many_blocks(
    region: memoryview, positions: Positions, array_prefixes: tuple[bytes, bytes]
) -> Positions | None:
    """Where the blocks begin, all at once, by the first 24 bytes of each; None if not all ours."""
    if (positions & 3).any():
        return None
    soffsets = np.frombuffer(region, "<u4", len(region) // 4)[positions >> 2]
    is_array = soffsets == ARRAY_NODE_AT
    blocks: Positions = positions - soffsets
    if not (
        (is_array | (soffsets == GROUP_NODE_AT)).all()
        and int(blocks[0]) == 0
        and not (blocks & 7).any()
        and (np.diff(blocks) > 0).all()
    ):
        return None
    words = np.frombuffer(region, "<u8", len(region) // 8)
    for selected, prefixes in ((~is_array, (GROUP_PREFIX,)), (is_array, array_prefixes)):
        first = blocks[selected] >> 3
        for i in range(3):
            found = words[first + i]
            allowed = [found == int.from_bytes(prefix[8 * i : 8 * i + 8], "little") for prefix in prefixes]
            if not np.logical_or.reduce(allowed).all():
                return None
    return blocks


def _splice(
    old: Snapshot, layout: _Layout, blocks: Positions, changes: Mapping[bytes, Node | None]
) -> _Region:
    """Copy the runs of unchanged blocks, with the new ones at their places between them."""
    region = layout.region
    pieces: list[Buffer] = []
    positions: list[Positions] = []
    end = 0
    row = 0

    def copy_until(stop: int) -> None:
        nonlocal end, row
        if stop > row:
            first = int(blocks[row])
            last = int(blocks[stop]) if stop < len(blocks) else len(region)
            pieces.append(region[first:last])
            positions.append(layout.positions[row:stop] + (end - first))
            end += last - first
            row = stop

    for raw_path in sorted(changes):
        node = changes[raw_path]
        at = old.bisect(raw_path, row)
        copy_until(at)
        if at < old.num_nodes and old.raw_path(at) == raw_path:
            row = at + 1
        if node is not None:
            block = encode_node(node, old.spec_version)
            node_at = ARRAY_NODE_AT if isinstance(node, ArrayNode) else GROUP_NODE_AT
            pieces.append(block)
            positions.append(np.array([end + node_at], dtype=np.int64))
            end += len(block)
    copy_until(old.num_nodes)
    return _Region(pieces, np.concatenate(positions) if positions else np.empty(0, np.int64))


def _embed(old: Snapshot, layout: _Layout, changes: Mapping[bytes, Node | None]) -> _Region | None:
    """Keep the region of `old` as it is, and add new blocks behind it; None if too much is dead."""
    region = layout.region
    columns = TableColumns(old.file, old.node_vector.positions())
    text_bytes = columns.vectors(1, 1).counts + columns.vectors(2, 1).counts
    live = int(text_bytes.sum()) + _NODE_OVERHEAD_BYTES * old.num_nodes
    if live < (1 - _MOST_DEAD) * len(region):
        return None
    added = [node for raw_path in sorted(changes) if (node := changes[raw_path]) is not None]
    blocks = _encode_blocks(added, old.spec_version)
    gap = bytes(-len(region) % 8)
    new_positions = blocks.positions + (len(region) + len(gap))
    positions: list[Positions] = []
    row = taken = 0
    for raw_path in sorted(changes):
        at = old.bisect(raw_path, row)
        positions.append(layout.positions[row:at])
        row = at + 1 if at < old.num_nodes and old.raw_path(at) == raw_path else at
        if changes[raw_path] is not None:
            positions.append(new_positions[taken : taken + 1])
            taken += 1
    positions.append(layout.positions[row:])
    return _Region([region, gap, *blocks.pieces], np.concatenate(positions))


# --- the head


def _root_vtable(spec_version: int, has_parent: bool) -> bytes:
    parent = 44 if has_parent else 0
    files_v2 = 28 if spec_version == 2 else 0
    return _ROOT_VTABLE.pack(20, _ROOT.size, 32, parent, 4, 8, 16, 20, 24, files_v2)


_ROOT_VTABLES = frozenset(
    _root_vtable(spec_version, has_parent)[:20] for spec_version in (1, 2) for has_parent in (False, True)
)


def _head(
    id: SnapshotId,
    parent_id: SnapshotId | None,
    flushed_at: int,
    message: str,
    metadata: Mapping[str, JsonValue],
    manifest_files: Iterable[ManifestFileInfo] | FileColumns,
    spec_version: int,
) -> BlockWriter:
    head = BlockWriter(
        _PREFIX.pack(_ROOT_AT, b"Ichk")
        + _root_vtable(spec_version, parent_id is not None)
        + _ROOT.pack(_ROOT_AT - 8, 0, flushed_at, 0, 0, 0, 0, id, parent_id or b"")
    )
    head.add(text_block(message.encode()), pointed_from=_MESSAGE_FIELD)
    raw_metadata = encode_metadata(metadata, spec_version)
    head.add(metadata_vector(raw_metadata), pointed_from=_METADATA_FIELD)
    files = _file_columns(manifest_files)
    # The structs of version 1 are aligned to 8 bytes, behind the word with their number.
    head.align(8, ahead=4)
    head.point(_FILES_FIELD)
    if spec_version == 1:
        head.out += struct.pack("<I", len(files))
        head.out += files.tobytes()
    else:
        head.out += bytes(4)
        head.point(_FILES_V2_FIELD)
        _add_files(head, files)
    return head


# --- the manifests


def _file_columns(files: Iterable[ManifestFileInfo] | FileColumns) -> FileColumns:
    """Rows sorted by id, with zeros in the gaps of the struct."""
    if isinstance(files, np.ndarray):
        return files
    packed = b"".join([_FILE_V1.pack(*file) for file in sorted(files)])
    return np.frombuffer(packed, FILE_ROW)


def _changed_files(old: Snapshot, added: list[ManifestFileInfo], removed: list[ManifestId]) -> FileColumns:
    """The rows of `old`, without some and with others."""
    rows = old.manifest_file_columns()
    files = np.zeros(len(rows), FILE_ROW)
    for column in FILE_ROW.names or ():
        files[column] = rows[column]
    # As text of 12 bytes, NumPy compares ids like Python does.
    ids = files["id"].copy().view("S12")
    if len(ids) > 1 and not (ids[1:] > ids[:-1]).all():
        _, order = np.unique(ids, return_index=True)
        files, ids = files[order], ids[order]
    gone = np.array([*removed, *(file.id for file in added)], dtype="S12")
    if len(ids) and len(gone):
        at = np.searchsorted(ids, gone)
        at = at[(at < len(ids)) & (ids[np.minimum(at, len(ids) - 1)] == gone)]
        files, ids = np.delete(files, at), np.delete(ids, at)
    if added:
        new = _file_columns({file.id: file for file in added}.values())
        files = np.insert(files, np.searchsorted(ids, new["id"].copy().view("S12")), new)
    return files


def _add_files(head: BlockWriter, files: FileColumns) -> None:
    """Add the vector of manifests of version 2: offsets, then rows of 32 bytes, then their vtable."""
    count = len(files)
    start = len(head)
    first = start + 4 + 4 * count
    first += -first % 8
    distance = first - (start + 4)
    head.out += struct.pack("<I", count)
    if not count:
        return
    head.out += np.arange(distance, distance + 28 * count, 28, dtype="<u4").tobytes()
    head.align(8)
    rows = np.zeros(count, _FILE_V2_ROW)
    rows["soffset"] = np.arange(-32 * count, 0, 32)
    rows["num_chunk_refs"] = files["num_chunk_refs"]
    rows["size_bytes"] = files["size_bytes"]
    rows["id"] = files["id"]
    head.out += rows.tobytes()
    head.out += _FILE_V2_VTABLE


def _assemble(head: BlockWriter, region: _Region) -> list[Buffer]:
    """Put the vector of nodes behind the head, and the region behind that."""
    count = len(region.positions)
    head.align(8, ahead=4 + 4 * count)
    head.point(_NODES_FIELD)
    elements = len(head) + 4
    start = elements + 4 * count
    head.out += struct.pack("<I", count)
    if count:
        fields = np.arange(elements, start, 4, dtype=np.int64)
        head.out += (region.positions + start - fields).astype("<u4").tobytes()
    return [bytes(head.out), *region.pieces]

"""The chunk tables of a change set as a few buffers, however many chunks and arrays there are.

For pickling: a fork that comes back from another process brings its chunks as columns, and they
stay columns until they are committed. Tables with few rows share their columns with each other, and
become rows again: a dozen columns for each of a thousand arrays would be more than the chunks are.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from icechunk._engine.changes.chunk_table import DELETED, ChunkChange, ChunkTable
from icechunk._engine.format.chunk_refs import RefColumns
from icechunk._engine.format.ids import NodeId
from icechunk._engine.format.ref_packing import PackedRefs, pack_refs, unpack_refs

if TYPE_CHECKING:
    from icechunk._engine.format.arrays import U32Column
    from icechunk._engine.format.chunk_refs import ChunkRef

# Tables with no more changes than this travel together.
_FEW = 64

Place = tuple[int, ...]


class _Large(NamedTuple):
    """One table: coordinates as bytes, and everything else about its refs."""

    id: bytes
    ndim: int
    set_coords: bytes
    deleted_coords: bytes
    refs: PackedRefs


class _Small(NamedTuple):
    """Many tables one behind the other: for each its node, and where chunks were set and deleted."""

    tables: list[tuple[bytes, list[Place], list[Place]]]
    refs: PackedRefs


class PackedTables(NamedTuple):
    """What travels."""

    large: list[_Large]
    small: _Small


def pack_tables(tables: Mapping[NodeId, ChunkTable]) -> PackedTables | None:
    """Pack the tables of some arrays. `None` if there are none."""
    if not tables:
        return None
    large: list[_Large] = []
    small: list[tuple[bytes, list[Place], list[Place]]] = []
    refs: list[ChunkRef] = []
    for id, table in tables.items():
        few = table.few_changes(_FEW)
        if few is None:
            large.append(_packed(id, table))
            continue
        live = [(place, change) for place, change in few if change is not DELETED]
        refs += [change for _, change in live]
        gone = [place for place, change in few if change is DELETED]
        small.append((bytes(id), [place for place, _ in live], gone))
    # Without coordinates, arrays of different dimensions are alike.
    columns = RefColumns.from_refs([()] * len(refs), refs, 0)
    return PackedTables(large, _Small(small, pack_refs(columns)))


def unpack_tables(packed: PackedTables | None) -> dict[NodeId, ChunkTable]:
    """Return the tables that were packed."""
    if packed is None:
        return {}
    tables = {NodeId(large.id): _unpacked(large) for large in packed.large}
    small = packed.small
    count = sum(len(places) for _, places, _ in small.tables)
    refs = iter(unpack_refs(small.refs, np.empty((count, 0), np.uint32)).refs())
    for id, places, gone in small.tables:
        # In this order, `zip` takes no ref that it has no place for.
        rows: dict[Place, ChunkChange] = dict(zip(places, refs, strict=False))
        rows.update(dict.fromkeys(gone, DELETED))
        tables[NodeId(id)] = ChunkTable.of_rows(rows)
    return tables


def _packed(id: NodeId, table: ChunkTable) -> _Large:
    ndim = table.ndim or 0
    refs, deleted = table.columns(ndim)
    return _Large(bytes(id), ndim, _coord_bytes(refs.coords), _coord_bytes(deleted), pack_refs(refs))


def _unpacked(large: _Large) -> ChunkTable:
    refs = unpack_refs(large.refs, _coords(large.set_coords, large.ndim))
    return ChunkTable.of_columns(refs, _coords(large.deleted_coords, large.ndim))


def _coord_bytes(coords: U32Column) -> bytes:
    return np.ascontiguousarray(coords, "<u4").tobytes()


def _coords(data: bytes, ndim: int) -> U32Column:
    return np.frombuffer(data, "<u4").reshape(len(data) // (4 * ndim), ndim)

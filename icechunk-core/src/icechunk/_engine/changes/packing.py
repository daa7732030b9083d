"""The chunk tables of a change set as a few buffers, however many chunks and arrays there are.

For pickling: a fork that comes back from another process brings its chunks as columns, and they
stay columns until they are committed.
"""

from __future__ import annotations

from dataclasses import replace
from itertools import accumulate
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from icechunk._engine.changes.chunk_table import ChunkTable
from icechunk._engine.format.chunk_refs import RefColumns
from icechunk._engine.format.ids import NodeId
from icechunk._engine.format.ref_packing import PackedRefs, pack_refs, unpack_refs

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from icechunk._engine.format.arrays import U32Column


class PackedTables(NamedTuple):
    """Tables one behind the other. `ndims`, `set_counts` and `deleted_counts` have an entry for each."""

    node_ids: bytes
    ndims: tuple[int, ...]
    set_counts: tuple[int, ...]
    deleted_counts: tuple[int, ...]
    set_coords: bytes
    deleted_coords: bytes
    refs: PackedRefs


def pack_tables(tables: Mapping[NodeId, ChunkTable]) -> PackedTables | None:
    """Pack the tables of some arrays. `None` if there are none."""
    if not tables:
        return None
    ndims = tuple(table.ndim or 0 for table in tables.values())
    columns = [table.columns(ndim) for table, ndim in zip(tables.values(), ndims, strict=True)]
    return PackedTables(
        b"".join(tables),
        ndims,
        tuple(len(refs) for refs, _ in columns),
        tuple(len(deleted) for _, deleted in columns),
        b"".join([np.ascontiguousarray(refs.coords, "<u4").tobytes() for refs, _ in columns]),
        b"".join([np.ascontiguousarray(deleted, "<u4").tobytes() for _, deleted in columns]),
        # Without coordinates, arrays of different dimensions are alike.
        pack_refs(RefColumns.concat([_without_coords(refs) for refs, _ in columns])),
    )


def unpack_tables(packed: PackedTables | None) -> dict[NodeId, ChunkTable]:
    """Return the tables that were packed."""
    if packed is None:
        return {}
    ids = [NodeId(packed.node_ids[at : at + 8]) for at in range(0, len(packed.node_ids), 8)]
    set_coords = _split_coords(packed.set_coords, packed.set_counts, packed.ndims)
    deleted = _split_coords(packed.deleted_coords, packed.deleted_counts, packed.ndims)
    if len(ids) == 1:
        [coords] = set_coords
        return {ids[0]: ChunkTable.of_columns(unpack_refs(packed.refs, coords), *deleted)}
    refs = unpack_refs(packed.refs, np.empty((sum(packed.set_counts), 0), np.uint32))
    ends = accumulate(packed.set_counts)
    return {
        id: ChunkTable.of_columns(replace(refs.between(end - len(coords), end), coords=coords), gone)
        for id, end, coords, gone in zip(ids, ends, set_coords, deleted, strict=True)
    }


def _without_coords(refs: RefColumns) -> RefColumns:
    return replace(refs, coords=np.empty((len(refs), 0), np.uint32))


def _split_coords(data: bytes, counts: Sequence[int], ndims: Sequence[int]) -> Iterator[U32Column]:
    flat: np.ndarray[Any, np.dtype[np.uint32]] = np.frombuffer(data, "<u4")
    start = 0
    for count, ndim in zip(counts, ndims, strict=True):
        end = start + count * ndim
        yield flat[start:end].reshape(count, ndim)
        start = end

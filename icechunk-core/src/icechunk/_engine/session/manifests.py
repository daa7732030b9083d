"""Which manifests an array has after a commit: kept, dropped, or built anew box by box.

The table of protocol 3.5, on columns: no Python object for a chunk ref, however many there are.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from functools import cached_property
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from icechunk._engine.changes.chunk_table import DELETED
from icechunk._engine.format.chunk_refs import RefColumns
from icechunk._engine.session.splitting import BoxGrid, Coords, Extents, row_keys
from icechunk.errors import ErrorKind, FormatError

if TYPE_CHECKING:
    from icechunk._engine.changes.chunk_table import ChunkTable
    from icechunk._engine.format.chunk_refs import ChunkRef
    from icechunk._engine.format.ids import ManifestId, NodeId
    from icechunk._engine.format.manifest import Manifest
    from icechunk._engine.format.snapshot_records import ManifestRef


# Up to this many changed chunks of one array are looked at one by one: a handful of NumPy calls takes
# longer, and their manifest can be changed in its bytes.
FEW_CHANGES = 64

Changes = Sequence[tuple[tuple[int, ...], "ChunkRef | None"]]
"""Chunks and their new refs, `None` for deleted ones, in ascending order of coordinates."""


class ArrayPlan:
    """What to do with the manifests of one array that the session has touched.

    Attributes
    ----------
    node_id, grid
        Which array, and the boxes of its new shape.
    changed_boxes
        Boxes in which the session set or deleted refs.
    kept
        Manifests that stay as they are, with their box.
    to_read
        Manifests of whose refs new ones are made.
    """

    def __init__(
        self,
        node_id: NodeId,
        grid: BoxGrid,
        old: Sequence[ManifestRef],
        table: ChunkTable | None,
    ) -> None:
        """Decide about each of an array's `old` manifests, without reading any.

        What lies outside of the array's (new) grid is dropped; what lies within one box that the
        session left alone stays; the rest is read and distributed.
        """
        self.node_id = node_id
        self.grid = grid
        self._table = table
        self._few: dict[int, list[tuple[tuple[int, ...], ChunkRef | None]]] | None = None
        few = [] if table is None else table.few_changes(FEW_CHANGES)
        if few is not None:
            self._few = {}
            for coords, change in few:
                box = grid.box_of(coords)
                if box is not None:
                    ref = None if change is DELETED else change
                    self._few.setdefault(box, []).append((coords, ref))
            self.changed_boxes = frozenset(self._few)
        else:
            self.changed_boxes = frozenset(np.unique(grid.boxes_of(self.touched)).tolist())
        self.kept: list[tuple[int, ManifestRef]] = []
        self.to_read: list[ManifestRef] = []
        for manifest in old:
            box = grid.box_holding(manifest.extents)
            if box is not None and box not in self.changed_boxes:
                self.kept.append((box, manifest))
            elif grid.intersects(manifest.extents):
                self.to_read.append(manifest)

    @cached_property
    def all_touched(self) -> Coords:
        """Where the session set or deleted a ref, in order; also where the array no longer reaches."""
        ndim = len(self.grid.edges)
        return np.empty((0, ndim), np.uint32) if self._table is None else self._table.touched_coords(ndim)

    @cached_property
    def touched(self) -> Coords:
        """Where the session set or deleted a ref, within the array, in order."""
        inside = self.grid.contains(self.all_touched)
        return self.all_touched if inside.all() else self.all_touched[inside]

    @cached_property
    def live(self) -> RefColumns:
        """The session's refs within the array, in order."""
        ndim = len(self.grid.edges)
        if self._table is None:
            return RefColumns.empty(ndim)
        live = self._table.live_columns(ndim)
        inside = self.grid.contains(live.coords)
        return live if inside.all() else live.take(np.flatnonzero(inside))

    def simple_changes(self) -> Iterator[tuple[int, Changes, ManifestRef | None]] | None:
        """Return the changes box by box with the one manifest that is there now, if it is that simple.

        Not if there are many, nor if manifests reach across boxes.
        """
        if self._few is None:
            return None
        old: dict[int, ManifestRef] = {}
        for ref in self.to_read:
            box = self.grid.box_holding(ref.extents)
            if box is None or box in old:
                return None
            old[box] = ref
        return ((box, changes, old.get(box)) for box, changes in sorted(self._few.items()))


def build_manifests(
    plan: ArrayPlan, manifests: Mapping[ManifestId, Manifest]
) -> Iterator[tuple[int, RefColumns]]:
    """Yield the refs of each new manifest, sorted and never empty, with the box that they are in."""
    survivors: dict[int, list[RefColumns]] = {}
    for ref in plan.to_read:
        columns = _refs_within(plan, ref, manifests[ref.manifest_id])
        for box, rows in _by_box(plan.grid, columns):
            if box in plan.changed_boxes:
                survivors.setdefault(box, []).append(rows)
            else:
                # Only distributed: one manifest for each old one and each box that it reaches into.
                yield box, rows
    fresh = dict(_by_box(plan.grid, plan.live))
    touched = dict(_split_rows(plan.grid, plan.touched))
    empty = RefColumns.empty(len(plan.grid.edges))
    for box in sorted(plan.changed_boxes):
        merged = merge_refs(survivors.pop(box, []), fresh.get(box, empty), plan.touched[touched[box]])
        if len(merged):
            yield box, merged


def extents_of(changes: Changes) -> Extents:
    """Return the bounding box of a few chunks, at least one."""
    return tuple([(min(axis), max(axis) + 1) for axis in zip(*[c for c, _ in changes], strict=True)])


def extents_after(extents: Extents, changes: Changes) -> Extents | None:
    """Return the bounding box of the refs that had `extents` before `changes`.

    `None` if it may have become smaller, which only the refs themselves could tell.
    """
    low = [first for first, _ in extents]
    high = [end for _, end in extents]
    for coords, ref in changes:
        for axis, coordinate in enumerate(coords):
            if ref is not None:
                low[axis] = min(low[axis], coordinate)
                high[axis] = max(high[axis], coordinate + 1)
            elif coordinate == extents[axis][0] or coordinate == extents[axis][1] - 1:
                return None
    return tuple(zip(low, high, strict=True))


def merge_refs(old: Sequence[RefColumns], new: RefColumns, touched: Coords) -> RefColumns:
    """Lay sorted `new` refs over `old` ones, which are dropped wherever something was `touched`."""
    if not old:
        return new
    base = old[0] if len(old) == 1 else RefColumns.concat(old)
    base_keys, new_keys, touched_keys = row_keys(base.coords, new.coords, touched)
    if not _is_ascending(base_keys):
        # Several old manifests, or a file whose refs are not in the order that the format asks for.
        order = np.argsort(base_keys, kind="stable")
        base, base_keys = base.take(order), base_keys[order]
    # Both ends, in case a damaged file has a coordinate twice.
    starts = np.searchsorted(base_keys, touched_keys, side="left")
    ends = np.searchsorted(base_keys, touched_keys, side="right")
    size = len(base) + 1
    covered = np.bincount(starts, minlength=size) - np.bincount(ends, minlength=size)
    kept = np.flatnonzero(np.cumsum(covered[:-1]) == 0)
    positions = np.searchsorted(base_keys[kept], new_keys)
    order = np.insert(kept, positions, np.arange(len(base), len(base) + len(new)))
    return RefColumns.concat([base, new]).take(order)


def _refs_within(plan: ArrayPlan, ref: ManifestRef, manifest: Manifest) -> RefColumns:
    refs = manifest.find_array(plan.node_id)
    if refs is None:
        raise FormatError(
            f"manifest {ref.manifest_id} has no refs of the array with id {plan.node_id}, "
            "although the snapshot says so",
            kind=ErrorKind.INVALID_FILE_FORMAT,
        )
    columns = refs.columns()
    inside = plan.grid.contains(columns.coords)
    return columns if inside.all() else columns.take(np.flatnonzero(inside))


def _by_box(grid: BoxGrid, columns: RefColumns) -> Iterator[tuple[int, RefColumns]]:
    for box, rows in _split_rows(grid, columns.coords):
        yield box, columns if len(rows) == len(columns) else columns.take(rows)


def _split_rows(grid: BoxGrid, coords: Coords) -> Iterator[tuple[int, npt.NDArray[np.intp]]]:
    """Yield each box that has some of the rows, with their numbers, in order."""
    if not len(coords):
        return
    boxes = grid.boxes_of(coords)
    first = int(boxes[0])
    if (boxes == first).all():
        yield first, np.arange(len(coords))
        return
    order = np.argsort(boxes, kind="stable")
    ordered = boxes[order]
    starts = np.flatnonzero(np.concatenate(([True], ordered[1:] != ordered[:-1])))
    for start, end in zip(starts, [*starts[1:], len(ordered)], strict=True):
        yield int(ordered[start]), order[start:end]


def _is_ascending(keys: npt.NDArray[np.uint64]) -> bool:
    return bool((keys[1:] > keys[:-1]).all())

"""The boxes that an array's chunk grid is split into, one manifest each, as arithmetic on columns.

Rules: semantics 8 (which edges) and protocol 3.5 (what a commit does box by box).
"""

from __future__ import annotations

import math
from bisect import bisect_right
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

Coords = npt.NDArray[np.uint32]
"""Chunk coordinates: shape (number of chunks, number of dimensions)."""

Extents = tuple[tuple[int, int], ...]
"""For each dimension, the first coordinate and the one after the last."""


@dataclass(frozen=True, slots=True)
class BoxGrid:
    """The boxes of one array: the product of the intervals between `edges`, in row-major order.

    ``edges`` has a tuple ``0 < e1 < ... < num_chunks`` for each dimension. An array without
    dimensions has one box; one with an empty dimension has none.
    """

    edges: tuple[tuple[int, ...], ...]

    @property
    def shape(self) -> tuple[int, ...]:
        """The number of boxes along each dimension."""
        return tuple(len(axis) - 1 if axis[-1] > 0 else 0 for axis in self.edges)

    @property
    def num_chunks(self) -> tuple[int, ...]:
        """The array's chunk grid."""
        return tuple(axis[-1] for axis in self.edges)

    def contains(self, coords: Coords) -> npt.NDArray[np.bool_]:
        """Tell which coordinates lie within the array."""
        if not self.edges:
            return np.ones(len(coords), np.bool_)
        inside: npt.NDArray[np.bool_] = (coords < np.array(self.num_chunks, np.uint64)).all(axis=1)
        return inside

    def boxes_of(self, coords: Coords) -> npt.NDArray[np.int64]:
        """Return the number of the box that each of the coordinates, all within the array, is in."""
        boxes = np.zeros(len(coords), np.int64)
        for axis, (edges, count) in enumerate(zip(self.edges, self.shape, strict=True)):
            if count > 1:
                # The inner edges suffice: what is before the first is in 0, behind the last in n-1.
                position = np.searchsorted(np.array(edges[1:-1]), coords[:, axis], side="right")
                boxes = boxes * count + position
        return boxes

    def box_of(self, coords: tuple[int, ...]) -> int | None:
        """Return the box that one chunk is in, `None` if it is not within the array."""
        box = 0
        for coordinate, edges in zip(coords, self.edges, strict=True):
            if coordinate >= edges[-1]:
                return None
            box = box * (len(edges) - 1) + _interval(edges, coordinate)
        return box

    def box_holding(self, extents: Extents) -> int | None:
        """Return the box that holds all of `extents`, or `None` if no single one does."""
        box = 0
        for (first, end), edges, count in zip(extents, self.edges, self.shape, strict=True):
            position = _interval(edges, first)
            if count == 0 or end > edges[min(position, count - 1) + 1]:
                return None
            box = box * count + position
        return box

    def intersects(self, extents: Extents) -> bool:
        """Tell whether anything of `extents` lies within the array at all."""
        return all(
            first < axis[-1] and first < end for (first, end), axis in zip(extents, self.edges, strict=True)
        )


def _interval(edges: Sequence[int], coordinate: int) -> int:
    """Return which interval between `edges` holds `coordinate`; the last one for what lies behind."""
    return min(bisect_right(edges, coordinate) - 1, max(len(edges) - 2, 0))


def tight_extents(coords: Coords) -> Extents:
    """Return the bounding box of coordinates, of which there is at least one."""
    if coords.shape[1] == 0:
        return ()
    low = coords.min(axis=0).tolist()
    high = coords.max(axis=0).tolist()
    return tuple((first, last + 1) for first, last in zip(low, high, strict=True))


def row_keys(*tables: Coords) -> list[npt.NDArray[np.uint64]]:
    """Return one integer for each row of each table, equal and ordered as the rows are.

    The integers of tables of one call compare with each other, not with those of another call.
    """
    ndim = tables[0].shape[1]
    if ndim == 0:
        return [np.zeros(len(table), np.uint64) for table in tables]
    spans = np.ones(ndim, object)
    for table in tables:
        if len(table):
            spans = np.maximum(spans, table.max(axis=0).astype(object) + 1)
    if math.prod(spans.tolist()) < 2**63:
        keys = []
        for table in tables:
            key = table[:, 0].astype(np.uint64)
            for axis in range(1, ndim):
                key *= np.uint64(spans[axis])
                key += table[:, axis]
            keys.append(key)
        return keys
    # A grid with more cells than fit in a word: number the rows that there are.
    everything = np.concatenate(tables)
    _rows, ranks = np.unique(everything, axis=0, return_inverse=True)
    flat = ranks.reshape(-1).astype(np.uint64)
    return np.split(flat, np.cumsum([len(table) for table in tables])[:-1].tolist())

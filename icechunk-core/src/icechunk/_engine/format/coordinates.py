"""Chunk coordinates as columns: arrays of shape (n, ndim), rows in lexicographic order."""

from __future__ import annotations

import math
from itertools import accumulate
from operator import mul
from typing import TYPE_CHECKING, Final

import numpy as np

if TYPE_CHECKING:
    from icechunk._engine.format.arrays import BoolColumn, Positions, U32Column, U64Column

# Far more than NumPy or Zarr can do.
MAX_DIMENSIONS: Final = 1024


class Box:
    """The smallest box around some coordinates, which gives each point in it a number.

    The numbers are in the lexicographic order of the points.
    """

    __slots__ = ("lowest", "shape", "strides")

    def __init__(self, coords: U32Column) -> None:
        """Find the box around at least one row."""
        self.lowest: tuple[int, ...] = tuple(coords.min(axis=0).tolist())
        highest: list[int] = coords.max(axis=0).tolist()
        self.shape = tuple(high - low + 1 for low, high in zip(self.lowest, highest, strict=True))
        strides = list(accumulate(reversed(self.shape[1:]), mul, initial=1))
        self.strides = tuple(reversed(strides[: len(self.shape)]))

    @property
    def is_small(self) -> bool:
        """Whether the numbers fit 63 bits."""
        return math.prod(self.shape) < 2**63

    def numbers(self, coords: U32Column) -> U64Column:
        """Return the number of each point; all must be inside, and the box small."""
        total = np.zeros(len(coords), dtype=np.uint64)
        for axis, (low, stride) in enumerate(zip(self.lowest, self.strides, strict=True)):
            column = coords[:, axis].astype(np.uint64)
            column -= np.uint64(low)
            column *= np.uint64(stride)
            total += column
        return total

    def find_number(self, coords: tuple[int, ...]) -> int | None:
        """Return the number of one point, None if it is outside."""
        number = 0
        for value, low, length, stride in zip(coords, self.lowest, self.shape, self.strides, strict=True):
            if not 0 <= value - low < length:
                return None
            number += (value - low) * stride
        return number


def is_strictly_ascending(coords: U32Column) -> bool:
    """Whether the rows are in order, and none is there twice."""
    return len(coords) < 2 or bool(_compared(coords)[0].all())


def order_last_wins(coords: U32Column) -> Positions | None:
    """Return which rows to take for strictly ascending order; of equal rows the last one counts.

    Returns
    -------
    array or None
        None if the rows are in order as they are.
    """
    if is_strictly_ascending(coords):
        return None
    box = Box(coords)
    order: Positions
    if not coords.shape[1]:
        return np.array([len(coords) - 1], dtype=np.int64)
    if box.is_small:
        order = np.argsort(box.numbers(coords), kind="stable")
    else:
        order = np.lexsort(coords.T[::-1])
    is_last = np.ones(len(order), dtype=np.bool_)
    is_last[:-1] = ~_compared(coords[order])[1]
    return order[is_last]


def _compared(coords: U32Column) -> tuple[BoolColumn, BoolColumn]:
    """Return where a row is less than the next, and where it equals it."""
    less = np.zeros(max(0, len(coords) - 1), dtype=np.bool_)
    equal = np.ones(len(less), dtype=np.bool_)
    for axis in range(coords.shape[1]):
        here, there = coords[:-1, axis], coords[1:, axis]
        less |= equal & (here < there)
        equal &= here == there
    return less, equal

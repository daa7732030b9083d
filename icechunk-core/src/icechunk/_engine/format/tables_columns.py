"""Reading FlatBuffers a column at a time: one field of many tables at once.

Tables are grouped by vtable, and each field is gathered for the whole group. Bounds are checked for whole
columns, by least and greatest position, never row by row. Time and memory are linear in the number of
tables, whatever they share.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, NamedTuple

import numpy as np

if TYPE_CHECKING:
    import numpy.typing as npt

    from icechunk._engine.format.arrays import AnyColumn, BoolColumn, Positions, StructColumn
    from icechunk._engine.format.tables import FlatBuffer

# Real files have one to five vtables for a million tables. Peeling them off one by one is faster than
# sorting; beyond this many, sorting wins (a snapshot whose nodes have a vtable each).
_PEEL_AT_MOST: Final = 12


class VectorColumn(NamedTuple):
    """Where the elements of many vectors lie. Where there is no vector, start is 0 and count -1."""

    starts: Positions
    counts: Positions


class TableColumns:
    """Many tables of one type.

    Parameters
    ----------
    file
        What they are in.
    positions
        Where they begin, in the order of the rows. Not trusted.

    Raises
    ------
    FormatError
        Here and in each method: something is outside of the buffer.
    """

    def __init__(self, file: FlatBuffer, positions: Positions) -> None:
        self.file = file
        self.positions = positions
        step = regular_step(positions)
        vtables = positions - gather(file, positions, np.dtype("<i4"), step=step)
        self._vtables, self._codes = _distinct(vtables)
        # With several vtables the fields are not where the tables are: no regular distance there.
        self._step = step if self._codes is None else 0
        self._lengths = self._checked_lengths()

    def __len__(self) -> int:
        return len(self.positions)

    def has(self, slot: int) -> BoolColumn:
        """Return in which rows the slot is present."""
        present = self._offsets(slot) != 0
        if self._codes is None:
            return np.full(len(self), bool(present.any()))
        by_row: BoolColumn = present[self._codes]
        return by_row

    def require(self, slot: int, what: str) -> None:
        """Raise FormatError if the slot is absent in any row. `what` names it: `ChunkRef.index`."""
        if not self._offsets(slot).all():
            raise self.file.error(f"{what} is missing")

    def scalars(self, slot: int, dtype: npt.DTypeLike, default: int = 0) -> AnyColumn:
        """Return the numbers of one slot, `default` where it is absent. `dtype` is little-endian: ``"<u4"``."""
        return self._gathered(slot, np.dtype(dtype), default)

    def structs(self, slot: int, size: int) -> StructColumn:
        """Return the `size` bytes that lie in one slot, zeros where it is absent."""
        return self._gathered(slot, np.dtype((np.void, size)), None)

    def targets(self, slot: int) -> Positions:
        """Return what the offsets of one slot point to, -1 where it is absent. Not checked."""
        rows, fields = self._fields(slot)
        if rows is None:
            return fields + gather(self.file, fields, np.dtype("<u4"), step=self._step)
        targets = np.full(len(self), -1, dtype=np.int64)
        targets[rows] = fields + gather(self.file, fields, np.dtype("<u4"))
        return targets

    def vectors(self, slot: int, item_size: int) -> VectorColumn:
        """Return where the elements of the vectors that one slot refers to lie, checked."""
        return vectors_at(self.file, self.targets(slot), item_size)

    def _gathered(self, slot: int, dtype: np.dtype[np.generic], default: int | None) -> AnyColumn:
        rows, fields = self._fields(slot)
        if rows is None:
            return gather(self.file, fields, dtype, step=self._step)
        column = np.zeros(len(self), dtype) if not default else np.full(len(self), default, dtype)
        if len(rows):
            column[rows] = gather(self.file, fields, dtype)
        return column

    def _fields(self, slot: int) -> tuple[Positions | None, Positions]:
        """Return where the fields of one slot lie, and in which rows; None means in all."""
        offsets = self._offsets(slot)
        if not offsets.any():
            # In no row, or there are no rows.
            return np.empty(0, np.int64), np.empty(0, np.int64)
        if offsets.all():
            return None, self.positions + (offsets[0] if self._codes is None else offsets[self._codes])
        # Some are present and some are not, so there are several vtables.
        by_row = offsets[self._codes]
        rows = np.flatnonzero(by_row)
        return rows, self.positions[rows] + by_row[rows]

    def _offsets(self, slot: int) -> Positions:
        """Return where the slot lies in the tables of each vtable, 0 for absent."""
        offsets = np.zeros(len(self._vtables), dtype=np.int64)
        known = np.flatnonzero(self._lengths >= 2 * slot + 6)
        offsets[known] = gather(self.file, self._vtables[known] + (4 + 2 * slot), np.dtype("<u2"))
        return offsets

    def _checked_lengths(self) -> Positions:
        lengths = gather(self.file, self._vtables, np.dtype("<u2")).astype(np.int64)
        bad = (lengths < 4) | (lengths % 2 != 0) | (self._vtables + lengths > self.file.size)
        if bad.any():
            worst = int(np.flatnonzero(bad)[0])
            raise self.file.error(
                f"the vtable at {self._vtables[worst]} has an impossible length of {lengths[worst]} bytes"
            )
        return lengths


def vectors_at(file: FlatBuffer, positions: Positions, item_size: int) -> VectorColumn:
    """Return where the elements of the vectors at `positions` lie, all inside; -1 is no vector."""
    starts = positions + 4
    if positions.size and int(positions.min()) < 0:
        present = np.flatnonzero(positions >= 0)
        counts = np.full(len(positions), -1, dtype=np.int64)
        counts[present] = gather(file, positions[present], np.dtype("<u4"))
        starts[positions < 0] = 0
    else:
        counts = gather(file, positions, np.dtype("<u4")).astype(np.int64)
    if positions.size and int((starts + counts * item_size).max()) > file.size:
        worst = int((starts + counts * item_size).argmax())
        raise file.error(
            f"a vector at {positions[worst]} claims {counts[worst]} elements of {item_size} bytes, "
            f"more than there are in {file.size} bytes"
        )
    return VectorColumn(starts, counts)


def gather(
    file: FlatBuffer, positions: Positions, dtype: np.dtype[np.generic], *, step: int = 0
) -> AnyColumn:
    """Return the items at `positions`, at any alignment, as a new contiguous array.

    Parameters
    ----------
    step
        What `regular_step` says about the positions, if known.

    Raises
    ------
    FormatError
        An item is outside of the buffer.
    """
    if not len(positions):
        return np.empty(0, dtype)
    size = dtype.itemsize
    first, last = (int(positions[0]), int(positions[-1])) if step else (0, 0)
    if step < 0:
        first, last = last, first
    lowest, highest = (first, last) if step else (int(positions.min()), int(positions.max()))
    if lowest < 0 or highest + size > file.size:
        outside = lowest if lowest < 0 else highest
        raise file.error(f"{size} bytes at {outside} are needed, which is outside of the {file.size} bytes")
    if step:
        # Tables in rows: a strided copy is several times faster than looking up one by one.
        return np.ndarray((len(positions),), dtype, file.data, int(positions[0]), (step,)).copy()
    # Windows that overlap, one for each byte, reach any alignment. Not `take`: it would first copy them all.
    windows = np.ndarray((file.size - size + 1,), dtype, file.data, 0, (1,))
    return windows[positions]


def regular_step(positions: Positions) -> int:
    """Return the distance between neighbours if it is the same everywhere, else 0."""
    if len(positions) < 2:
        return 0
    step = int(positions[1]) - int(positions[0])
    # Two cheap questions first: most irregular tables are found out by them.
    if int(positions[-1]) - int(positions[0]) != step * (len(positions) - 1):
        return 0
    return step if bool((np.diff(positions) == step).all()) else 0


def _distinct(vtables: Positions) -> tuple[Positions, AnyColumn | None]:
    """Return the distinct values, and for each row which one; None if there is only one."""
    if not len(vtables):
        return vtables, None
    found = [vtables[0]]
    rest = np.flatnonzero(vtables != vtables[0])
    if not len(rest):
        return vtables[:1], None
    codes = np.zeros(len(vtables), dtype=np.uint8)
    while len(rest):
        if len(found) == _PEEL_AT_MOST:
            distinct, inverse = np.unique(vtables, return_inverse=True)
            return distinct, inverse
        of_rest = vtables[rest]
        same = of_rest == of_rest[0]
        codes[rest[same]] = len(found)
        found.append(of_rest[0])
        rest = rest[~same]
    return np.array(found, dtype=np.int64), codes

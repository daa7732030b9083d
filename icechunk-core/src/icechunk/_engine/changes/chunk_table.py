"""The chunks of one array that a session has set or deleted, one by one or in bulk.

Changes made one by one are in a dict, those made in bulk are columns, and the later of two wins. So
the table is a stack of layers, newest last, of which the top one is always a dict.
"""

from __future__ import annotations

from dataclasses import replace
from enum import Enum
from operator import itemgetter
from typing import TYPE_CHECKING, Final, Literal, TypeAlias

import numpy as np
import numpy.typing as npt

from icechunk._engine.format.chunk_refs import ChunkRef, RefColumns

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

Coords = tuple[int, ...]
CoordColumns: TypeAlias = npt.NDArray[np.uint32]


class _Deleted(Enum):
    DELETED = "deleted"


DELETED: Final = _Deleted.DELETED
"""Stands in a chunk table for a chunk that the session deleted."""

ChunkChange: TypeAlias = ChunkRef | Literal[_Deleted.DELETED]


class _Places:
    """Finds the row of coordinates that are in lexicographic order, each there once."""

    __slots__ = ("_coords", "_factors", "_is_ready", "_keys", "_limits", "_rows")

    def __init__(self, coords: CoordColumns) -> None:
        self._coords = coords
        # What is merged or sent away is never looked into: the rest is made at the first question.
        self._is_ready = False

    def find(self, coords: Coords) -> int | None:
        if not self._is_ready:
            self._prepare()
        if len(coords) != len(self._limits):
            return None
        if self._rows is not None:
            return self._rows.get(coords)
        key = 0
        for coord, limit, factor in zip(coords, self._limits, self._factors, strict=True):
            if coord >= limit:
                return None
            key += coord * factor
        row = int(self._keys.searchsorted(key))
        return row if row < len(self._keys) and self._keys[row] == key else None

    def _prepare(self) -> None:
        coords = self._coords
        limits = [int(limit) + 1 for limit in coords.max(axis=0)] if len(coords) else [0] * coords.shape[1]
        factors: list[int] = []
        size = 1
        for limit in reversed(limits):
            factors.insert(0, size)
            size *= limit
        self._limits = tuple(limits)
        self._factors = tuple(factors)
        self._rows: dict[Coords, int] | None = None
        self._keys = np.empty(0, np.int64)
        if size < 2**63:
            # One number for each row, in the order of the rows, so that a look-up is a binary search.
            self._keys = coords.astype(np.int64) @ np.array(factors, np.int64)
        else:
            # The box around the coordinates has more than 2**63 places.
            self._rows = {tuple(row): i for i, row in enumerate(coords.tolist())}
        # Last: another thread may be asking at the same time, and does the same work then.
        self._is_ready = True


class _Batch:
    """Changes made in bulk: refs, and places of which chunks were deleted.

    Both in order of coordinates and without duplicates; no place is in both.
    """

    __slots__ = ("_deleted_places", "_places", "columns", "deleted")

    def __init__(self, columns: RefColumns, deleted: CoordColumns) -> None:
        self.columns = columns
        self.deleted = deleted
        self._places = _Places(columns.coords)
        self._deleted_places = _Places(deleted)

    def __len__(self) -> int:
        return len(self.columns) + len(self.deleted)

    def get(self, coords: Coords) -> ChunkChange | None:
        row = self._places.find(coords)
        if row is not None:
            return self.columns.row(row)
        return None if self._deleted_places.find(coords) is None else DELETED


_Layer: TypeAlias = dict[Coords, ChunkChange] | _Batch

# Up to here Python sorts faster than NumPy.
_FEW_ROWS = 256

# Beyond this many layers a look-up gets slow, and they are merged.
_MAX_LAYERS = 8


class ChunkTable:
    """Coordinates and what the session made of them: a ref, or `DELETED`.

    `find` may be called while another thread changes the table; two threads must not change it
    at once.
    """

    __slots__ = ("_below", "_rows")

    def __init__(self) -> None:
        self._rows: dict[Coords, ChunkChange] = {}
        self._below: tuple[_Layer, ...] = ()

    def find(self, coords: Coords) -> ChunkChange | None:
        """Return the ref at `coords`, `DELETED`, or `None` if the session did not touch it."""
        found = self._rows.get(coords)
        if found is not None or not self._below:
            return found
        for layer in reversed(self._below):
            found = layer.get(coords)
            if found is not None:
                return found
        # A bulk change moves the top layer down; it may have done so since we looked there.
        return self._rows.get(coords)

    def set(self, coords: Coords, ref: ChunkRef) -> None:
        """Record a chunk. The last change of a chunk wins."""
        self._rows[coords] = ref

    def delete(self, coords: Coords) -> None:
        """Record that a chunk is gone, whether or not it exists."""
        self._rows[coords] = DELETED

    @classmethod
    def of_columns(cls, columns: RefColumns, deleted: CoordColumns) -> ChunkTable:
        """Make the table whose `columns` method returns these."""
        table = cls()
        if len(columns) or len(deleted):
            table._below = (_Batch(columns, deleted),)
        return table

    def __len__(self) -> int:
        """How many changes are kept, those included that later ones hide."""
        return sum(map(len, self._layers()))

    @classmethod
    def of_rows(cls, rows: dict[Coords, ChunkChange]) -> ChunkTable:
        """Make a table of a few changes, by their coordinates. Keeps `rows`."""
        table = cls()
        table._rows = rows
        return table

    @property
    def ndim(self) -> int | None:
        """The number of dimensions of the array; `None` if there are no changes."""
        for layer in self._layers():
            if isinstance(layer, _Batch):
                return layer.columns.ndim
            for coords in layer:
                return len(coords)
        return None

    def add_columns(self, columns: RefColumns) -> None:
        """Record many chunks at once. Of two rows with one place the later one wins."""
        if len(columns):
            self._add_batches([_Batch(columns.sorted_last_wins(), _coord_columns([], columns.ndim))])

    def add_changes(self, columns: RefColumns, deleted: CoordColumns) -> None:
        """Record many chunks that were set, and many that were deleted.

        Both in order of coordinates and without duplicates; no place is in both.
        """
        self._add_batches([_Batch(columns, deleted)])

    def add_tables(self, tables: Sequence[ChunkTable]) -> None:
        """Record the changes of other tables of the same array, one after the other."""
        if sum(map(len, tables)) <= _FEW_ROWS:
            for table in tables:
                for coords, change in table.few_changes(_FEW_ROWS) or ():
                    self._rows[coords] = change
            return
        ndim = next((table.ndim for table in tables if table.ndim is not None), 0)
        self._add_batches([_Batch(*table.columns(ndim)) for table in tables])

    def _add_batches(self, batches: Sequence[_Batch]) -> None:
        batches = [batch for batch in batches if len(batch)]
        if not batches:
            return
        below = self._below
        if self._rows:
            below = (*below, self._rows)
        below = (*below, *batches)
        # In this order: a reader between the two statements sees everything, some of it twice.
        self._below = below
        self._rows = {}
        if len(below) > _MAX_LAYERS:
            self._below = (_Batch(*self.columns(batches[0].columns.ndim)),)

    def without(self, coords: CoordColumns) -> ChunkTable:
        """Return a table with all changes of this one, but for those at `coords`."""
        dropped = set(map(tuple, coords.tolist()))
        table = ChunkTable()
        if not self._below:
            table._rows = {place: change for place, change in self._rows.items() if place not in dropped}
            return table
        live, deleted = self.columns(coords.shape[1])
        kept = [row for row, place in enumerate(live.coords.tolist()) if tuple(place) not in dropped]
        table.add_columns(live.take(np.array(kept, np.intp)))
        table._rows = {tuple(row): DELETED for row in deleted.tolist() if tuple(row) not in dropped}
        return table

    def renumbered(self, ndim: int, axis: int, start: int, offset: int) -> ChunkTable:
        """Return a table in which what is at `start` or later along an axis is `offset` further on."""
        table = ChunkTable()
        if not self._below:
            table._rows = {
                (*place[:axis], place[axis] + offset, *place[axis + 1 :])
                if place[axis] >= start
                else place: change
                for place, change in self._rows.items()
            }
            return table
        live, deleted = self.columns(ndim)
        table.add_columns(replace(live, coords=_moved(live.coords, axis, start, offset)))
        table._rows = {tuple(row): DELETED for row in _moved(deleted, axis, start, offset).tolist()}
        return table

    def few_changes(self, limit: int) -> list[tuple[Coords, ChunkChange]] | None:
        """Return all changes, sorted by coordinates, if there are no more than `limit`; else `None`."""
        if len(self) > limit:
            return None
        rows: dict[Coords, ChunkChange] = {}
        for layer in self._layers():
            if isinstance(layer, _Batch):
                for row, coords in enumerate(layer.columns.coords.tolist()):
                    rows[tuple(coords)] = layer.columns.row(row)
                rows.update((tuple(coords), DELETED) for coords in layer.deleted.tolist())
            else:
                rows.update(layer)
        return sorted(rows.items(), key=itemgetter(0))

    def live_columns(self, ndim: int) -> RefColumns:
        """Return the refs that were set and not deleted since, sorted by coordinates."""
        live, _deleted = self.columns(ndim)
        return live

    def touched_coords(self, ndim: int) -> CoordColumns:
        """Return where chunks were set or deleted: shape (number of chunks, `ndim`), sorted."""
        if not self._below:
            if len(self._rows) <= _FEW_ROWS:
                return _coord_columns(sorted(self._rows), ndim)
            return _sorted_unique(_coord_columns(list(self._rows), ndim))
        layers = [layer for layer in self._layers() if len(layer)]
        if len(layers) == 1 and isinstance(layers[0], _Batch) and not len(layers[0].deleted):
            return layers[0].columns.coords
        parts: list[CoordColumns] = []
        for layer in layers:
            if isinstance(layer, _Batch):
                parts += [layer.columns.coords, layer.deleted]
            else:
                parts.append(_coord_columns(list(layer), ndim))
        return _sorted_unique(np.concatenate(parts))

    def _layers(self) -> Iterator[_Layer]:
        yield from self._below
        yield self._rows

    def columns(self, ndim: int) -> tuple[RefColumns, CoordColumns]:
        """Return the refs that were set, and where chunks were deleted, by the last change of each place.

        Both sorted by coordinates.
        """
        layers = [layer for layer in self._layers() if len(layer)]
        if len(layers) == 1 and isinstance(layers[0], _Batch):
            return layers[0].columns, layers[0].deleted
        coords: list[CoordColumns] = []
        refs: list[RefColumns] = []
        is_live: list[npt.NDArray[np.bool_]] = []
        for layer in layers:
            if isinstance(layer, _Batch):
                columns, deleted = layer.columns, layer.deleted
            else:
                # Copied at once: another thread may be adding to it.
                items = list(layer.items())
                set_coords = [c for c, change in items if change is not DELETED]
                set_refs = [change for _, change in items if change is not DELETED]
                columns = RefColumns.from_refs(set_coords, set_refs, ndim)
                deleted = _coord_columns([c for c, change in items if change is DELETED], ndim)
            refs.append(columns)
            coords += [columns.coords, deleted]
            is_live += [np.ones(len(columns), np.bool_), np.zeros(len(deleted), np.bool_)]
        if not refs:
            return RefColumns.empty(ndim), _coord_columns([], ndim)
        all_coords = np.concatenate(coords)
        all_live = np.concatenate(is_live)
        all_refs = refs[0] if len(refs) == 1 else RefColumns.concat(refs)
        if len(refs) == 1 and len(all_refs) == len(all_live):
            # Only one dict, and nothing deleted in it: no row can hide another.
            return all_refs.sorted_last_wins(), _coord_columns([], ndim)
        order = _sort_order(all_coords)
        in_order = all_coords[order]
        is_last = np.ones(len(order), np.bool_)
        if ndim:
            is_last[:-1] = (in_order[1:] != in_order[:-1]).any(axis=1)
        elif len(order):
            # All rows are the one chunk of an array without dimensions.
            is_last[:-1] = False
        winners = order[is_last]
        row_of_ref = np.cumsum(all_live) - 1
        live = winners[all_live[winners]]
        return all_refs.take(row_of_ref[live]), all_coords[winners[~all_live[winners]]]


def _coord_columns(coords: list[Coords], ndim: int) -> CoordColumns:
    return np.array(coords, np.uint32).reshape(len(coords), ndim)


def _moved(coords: CoordColumns, axis: int, start: int, offset: int) -> CoordColumns:
    moved = coords.copy()
    moved[coords[:, axis] >= start, axis] += np.uint32(offset)
    return moved


def _sort_order(coords: CoordColumns) -> npt.NDArray[np.intp]:
    """Return the stable lexicographic order of rows."""
    if not coords.shape[1]:
        return np.arange(len(coords))
    return np.lexsort(coords.T[::-1])


def _sorted_unique(coords: CoordColumns) -> CoordColumns:
    if not coords.shape[1]:
        return coords[:1]
    ordered: CoordColumns = coords[_sort_order(coords)]
    is_first = np.ones(len(ordered), np.bool_)
    is_first[1:] = (ordered[1:] != ordered[:-1]).any(axis=1)
    return ordered[is_first]

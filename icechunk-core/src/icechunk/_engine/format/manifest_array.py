"""The chunk refs of one array of a manifest: single look-ups, and everything as columns."""

from __future__ import annotations

import struct
import sys
import threading
from bisect import bisect_left
from itertools import pairwise
from operator import mul
from typing import TYPE_CHECKING, Final, NamedTuple

from icechunk._engine.format.chunk_refs import RefColumns
from icechunk._engine.format.coordinates import Box
from icechunk._engine.format.manifest_columns import OUT_OF_ORDER, check_ndim, decode_columns, decode_coords
from icechunk._engine.format.manifest_lookup import RefLayouts
from icechunk._engine.format.tables import TableVector, Vector
from icechunk._engine.format.tables_columns import TableColumns

if sys.version_info >= (3, 12) and not TYPE_CHECKING:  # the stub says float
    from math import sumprod
else:

    def sumprod(p: tuple[int, ...], q: tuple[int, ...], /) -> int:
        """Multiply pairs and add up."""
        return sum(map(mul, p, q))


if TYPE_CHECKING:
    from collections.abc import Callable

    from icechunk._engine.format.arrays import U32Column
    from icechunk._engine.format.chunk_refs import ChunkRef
    from icechunk._engine.format.manifest_locations import LocationDictionary
    from icechunk._engine.format.manifest_lookup import RefReader
    from icechunk._engine.format.tables import FlatBuffer

_unpack_u32: Final = struct.Struct("<I").unpack_from
_unpack_i32: Final = struct.Struct("<i").unpack_from

# Up to this many, plain Python is faster than NumPy.
_FEW_REFS: Final = 16

# But it copies inline chunks, and in a large file some refs could all mean the same long one.
_SMALL_FILE_BYTES: Final = 2**16

# A binary search in the bytes takes 15 µs, in a column of numbers 1 µs; the column takes 50 ms for a million
# refs, so it pays off after some thousand searches. Smaller tables get it sooner.
_SEARCHES_BEFORE_NUMBERS: Final = 2000


class _Guess(NamedTuple):
    """The row of some coordinates if the chunks are those of a full grid: a sum over the dimensions."""

    first: int
    strides: tuple[int, ...]
    ndim: int
    unpack_coords: Callable[[memoryview, int], tuple[int, ...]]


class _Numbers(NamedTuple):
    """For each ref the number of its coordinates in a box, ascending. `box` None: too large to number."""

    box: Box | None
    column: memoryview | list[tuple[int, ...]]


class ArrayRefs:
    """The refs of one array. Nothing is decoded before it is asked for. Safe from several threads.

    A look-up tells the same as the columns; it checks only what it reads, so it can find a ref in a file
    whose columns are refused.
    """

    def __init__(self, file: FlatBuffer, refs: Vector, dictionary: LocationDictionary) -> None:
        self._file = file
        self._start, self._count = refs
        self._dictionary = dictionary
        self._layouts = RefLayouts(file, dictionary)
        # Kept at hand for `lookup`.
        self._data = file.data
        self._reader_of = self._layouts.of_vtable
        self._lock = threading.Lock()
        self._ndim: int | None = None
        self._guess: _Guess | None = None
        self._searches_left = min(_SEARCHES_BEFORE_NUMBERS, self._count)
        self._numbers: _Numbers | None = None
        self._coords: U32Column | None = None
        self._columns: RefColumns | None = None

    @property
    def num_refs(self) -> int:
        """The number of refs."""
        return self._count

    @property
    def ndim(self) -> int:
        """The number of coordinates of each chunk, as the first ref has it; 0 if there is none.

        Raises
        ------
        FormatError
            The first ref is damaged.
        """
        if self._ndim is None:
            self._ndim = len(self._row_coords(0)) if self._count else 0
        return self._ndim

    def lookup(self, coords: tuple[int, ...]) -> ChunkRef | None:
        """Return the ref of one chunk, None if it has none. No decoding: 1 to 2 µs on a full grid.

        Raises
        ------
        FormatError
            What has to be read for it is damaged; or the refs have another number of coordinates.
        """
        guess = self._guess
        if guess is None:
            if not self._count:
                return None
            guess = self._make_guess()
        # From here on everything is written out: this is on the path of every chunk read.
        first, strides, ndim, unpack_coords = guess
        if len(coords) != ndim:
            raise self._file.error(f"its refs have {ndim} coordinates, the array has {len(coords)}")
        row = sumprod(coords, strides) - first
        try:
            if 0 <= row < self._count:
                data = self._data
                position = self._start + 4 * row
                table = position + _unpack_u32(data, position)[0]
                found = self._reader_of.get(table - _unpack_i32(data, table)[0])
                index, read = self._layouts.add(table) if found is None else found
                position = table + index
                if unpack_coords(data, position + _unpack_u32(data, position)[0]) == (ndim, *coords):
                    return read(table)
            found_row = self._search(coords)
            return None if found_row is None else self._ref(found_row)
        except struct.error:
            raise self._file.error("a chunk ref is outside of the file") from None

    def row_of(self, coords: tuple[int, ...]) -> tuple[int, bool]:
        """Return the row of some coordinates, or the one before which they belong, and whether they are there.

        Raises
        ------
        FormatError
            What has to be read for it is damaged.
        """
        if not self._count:
            return 0, False
        first, strides, ndim, _ = self._guess or self._make_guess()
        if len(coords) == ndim:
            row = sumprod(coords, strides) - first
            if 0 <= row < self._count and self._row_coords(row) == coords:
                return row, True
        row = self._search_bytes(coords)
        return row, row < self._count and self._row_coords(row) == coords

    def ref_at(self, row: int) -> ChunkRef:
        """Return the ref of one row.

        Raises
        ------
        FormatError
            It is damaged.
        """
        try:
            return self._ref(row)
        except struct.error:
            raise self._file.error("a chunk ref is outside of the file") from None

    def coords(self) -> U32Column:
        """Return the coordinates of all refs, of shape (n, ndim), in lexicographic order.

        Raises
        ------
        FormatError
            They are damaged, or not in order.
        """
        with self._lock:
            return self._locked_coords()

    def columns(self) -> RefColumns:
        """Return all refs as columns.

        Raises
        ------
        FormatError
            Any of them is damaged, or they are not in order.
        """
        with self._lock:
            if self._columns is None:
                if self._count > _FEW_REFS or self._file.size > _SMALL_FILE_BYTES:
                    self._columns = decode_columns(self._tables(), self._locked_coords(), self._dictionary)
                else:
                    self._columns = self._few_columns()
            return self._columns

    def _locked_coords(self) -> U32Column:
        if self._coords is None:
            ndim = self.ndim
            self._coords = decode_coords(self._tables(), ndim) if self._count else RefColumns.empty(0).coords
        return self._coords

    def _few_columns(self) -> RefColumns:
        ndim = self.ndim
        coords = [self._row_coords(row) for row in range(self._count)]
        if any(here >= there for here, there in pairwise(coords)):
            raise self._file.error(OUT_OF_ORDER)
        try:
            refs = [self._ref(row) for row in range(self._count)]
        except struct.error:
            raise self._file.error("a chunk ref is outside of the file") from None
        return RefColumns.from_refs(coords, refs, ndim)

    def _tables(self) -> TableColumns:
        vector = TableVector(self._file, Vector(self._start, self._count))
        return TableColumns(self._file, vector.positions())

    def _locate(self, row: int) -> tuple[int, int, RefReader]:
        """Return where the table of a ref and its coordinates begin, and what reads the rest of it."""
        position = self._start + 4 * row
        table = position + self._file.u32(position)
        found = self._layouts.of_vtable.get(table - self._file.i32(table))
        index, read = self._layouts.add(table) if found is None else found
        position = table + index
        return table, position + self._file.u32(position), read

    def _row_coords(self, row: int) -> tuple[int, ...]:
        _, position, _ = self._locate(row)
        start, count = self._file.vector_at(position, 4)
        if self._ndim is None:
            check_ndim(self._file, self._count, count)
        elif count != self._ndim:
            raise self._file.error(f"chunk ref {row} has {count} coordinates, the first one {self._ndim}")
        return struct.unpack_from(f"<{count}I", self._file.data, start)

    def _ref(self, row: int) -> ChunkRef:
        table, _, read = self._locate(row)
        return read(table)

    def _make_guess(self) -> _Guess:
        """Find out how many rows each dimension's step is worth, by a search in each.

        Right for all rows of a full grid, whatever part of it is at the end: most arrays are that.
        """
        first = self._row_coords(0)
        strides = [1] * len(first)
        for axis in range(len(first) - 1):
            # Rows that share the first coordinates up to this axis.
            strides[axis] = self._search_bytes((*first[:axis], first[axis] + 1))
        base = sum(value * stride for value, stride in zip(first, strides, strict=True))
        unpack_coords = struct.Struct(f"<{len(first) + 1}I").unpack_from
        self._ndim = len(first)
        self._guess = _Guess(base, tuple(strides), len(first), unpack_coords)
        return self._guess

    def _search(self, coords: tuple[int, ...]) -> int | None:
        numbers = self._numbers
        if numbers is None:
            # Two threads may count the same one: it is only about when to change over.
            self._searches_left -= 1
            if self._searches_left >= 0:
                row = self._search_bytes(coords)
                return row if row < self._count and self._row_coords(row) == coords else None
            numbers = self._make_numbers()
        key: int | tuple[int, ...] | None = coords
        if numbers.box is not None:
            key = numbers.box.find_number(coords)
            if key is None:
                return None
        row = bisect_left(numbers.column, key)  # type: ignore[type-var]
        return row if row < self._count and numbers.column[row] == key else None

    def _search_bytes(self, coords: tuple[int, ...]) -> int:
        """Return the first row that is not less than `coords`, which may be a prefix."""
        low, high = 0, self._count
        while low < high:
            middle = (low + high) // 2
            if self._row_coords(middle) < coords:
                low = middle + 1
            else:
                high = middle
        return low

    def _make_numbers(self) -> _Numbers:
        coords = self.coords()
        box = Box(coords)
        # Boxes beyond 63 bits are for tests: a list of tuples will do.
        self._numbers = (
            _Numbers(box, memoryview(box.numbers(coords)))
            if box.is_small
            else _Numbers(None, list(map(tuple, coords.tolist())))
        )
        return self._numbers

"""Many byte strings in one buffer, as starts and lengths: locations, etags and inline chunks."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import accumulate
from typing import TYPE_CHECKING, Final, overload

import numpy as np

from icechunk._engine.format.header import invalid_file

if TYPE_CHECKING:
    from collections.abc import Iterable
    from typing import Self

    from icechunk._engine.format.arrays import AnyColumn, ByteColumn, Positions

# Fewer strings of one length than this are copied one by one, and so are strings longer than that.
_FEW: Final = 6
_LONG_BYTES: Final = 8192

# How much is on its way at once when strings move, so that a move never doubles the memory.
_BATCH_BYTES: Final = 2**24


class ByteStrings(Sequence[bytes]):
    """A sequence of byte strings that are cut out of one buffer when they are asked for.

    Parameters
    ----------
    data
        The buffer, an array of bytes.
    starts, lengths
        Where each string lies in it. The caller has checked them.
    name
        The object that the buffer comes from, for messages.
    """

    __slots__ = ("data", "lengths", "name", "starts")

    def __init__(self, data: ByteColumn, starts: Positions, lengths: Positions, *, name: str = "") -> None:
        self.data = data
        self.starts = starts
        self.lengths = lengths
        self.name = name

    @classmethod
    def of(cls, strings: Iterable[bytes]) -> ByteStrings:
        """Put strings into a buffer."""
        strings = list(strings)
        lengths = list(map(len, strings))
        ends = np.array(list(accumulate(lengths, initial=0)), dtype=np.int64)
        data = np.frombuffer(b"".join(strings), dtype=np.uint8)
        return ByteStrings(data, ends[:-1], ends[1:] - ends[:-1])

    def __len__(self) -> int:
        return len(self.starts)

    @overload
    def __getitem__(self, index: int) -> bytes: ...
    @overload
    def __getitem__(self, index: slice) -> Self: ...
    def __getitem__(self, index: int | slice) -> bytes | Self:
        if isinstance(index, slice):
            return self._selected(index)
        start = int(self.starts[index])
        return self.data[start : start + int(self.lengths[index])].tobytes()

    def text(self, index: int) -> str:
        """Return one string as text.

        Raises
        ------
        FormatError
            It is not UTF-8.
        """
        try:
            return self[index].decode()
        except UnicodeDecodeError as error:
            raise invalid_file(self.name, f"a string is not UTF-8 ({error})") from error

    def take(self, rows: AnyColumn) -> Self:
        """Return some of the strings; the buffer is shared."""
        return self._selected(rows)

    def plain(self) -> ByteStrings:
        """Return the same strings as they lie in a buffer: decompressed, if they are compressed."""
        return self

    def compact(self) -> ByteStrings:
        """Return the same strings in a buffer that holds nothing else, in order."""
        if not len(self):
            return EMPTY
        ends = np.cumsum(self.lengths)
        starts = ends - self.lengths
        data = np.empty(int(ends[-1]), dtype=np.uint8)
        copy_strings(self.data, self.starts, data, starts, self.lengths)
        return ByteStrings(data, starts, self.lengths, name=self.name)

    def joined(self, parts: Sequence[ByteStrings]) -> ByteStrings | None:
        """Return the strings of all parts in a better way than to decompress them, if there is one."""
        return None

    def _selected(self, rows: slice | AnyColumn) -> Self:
        return type(self)(self.data, self.starts[rows], self.lengths[rows], name=self.name)


EMPTY: Final = ByteStrings(np.empty(0, np.uint8), np.empty(0, np.int64), np.empty(0, np.int64))


def concat_strings(parts: Sequence[ByteStrings]) -> ByteStrings:
    """Return the strings of all parts, one after another, in a new buffer that holds only them."""
    if len(parts) == 1:
        return parts[0]
    for part in parts:
        joined = part.joined(parts)
        if joined is not None:
            return joined
    compact = [part.plain().compact() for part in parts]
    lengths = np.concatenate([part.lengths for part in compact])
    data = np.concatenate([part.data for part in compact])
    name = next((part.name for part in parts if part.name), "")
    return ByteStrings(data, np.cumsum(lengths) - lengths, lengths, name=name)


def copy_strings(
    source: ByteColumn, starts: Positions, target: ByteColumn, places: Positions, lengths: Positions
) -> None:
    """Copy the string that lies at `starts[i]` in `source` to `places[i]` in `target`, for all `i`.

    Real strings have few distinct lengths, and those of one length move together.
    """
    order = np.argsort(lengths, kind="stable")
    sorted_lengths = lengths[order]
    bounds = np.flatnonzero(np.diff(sorted_lengths, prepend=-1, append=-1)) if len(lengths) else order
    for first, end in zip(bounds[:-1].tolist(), bounds[1:].tolist(), strict=True):
        length = int(sorted_lengths[first])
        if not length:
            continue
        rows = order[first:end]
        if len(rows) < _FEW or length > _LONG_BYTES:
            for row in rows.tolist():
                start, place = int(starts[row]), int(places[row])
                target[place : place + length] = source[start : start + length]
            continue
        item = np.dtype((np.void, length))
        from_windows = np.ndarray((len(source) - length + 1,), item, source.data, 0, (1,))
        to_windows = np.ndarray((len(target) - length + 1,), item, target.data, 0, (1,))
        batch = max(1, _BATCH_BYTES // length)
        for begin in range(0, len(rows), batch):
            some = rows[begin : begin + batch]
            to_windows[places[some]] = from_windows[starts[some]]

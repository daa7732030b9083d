"""Giving the chunks of an array other places in its grid. Refs are copied, no data is read or written.

Semantics, section 9. All reads see the state before the operation, so chunks may change places.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace
from operator import index
from typing import TYPE_CHECKING

import numpy as np

from icechunk._engine.session.chunks import array_at, live_refs
from icechunk._engine.session.splitting import Coords, row_keys
from icechunk.errors import ErrorKind, IcechunkError, InvalidInputError

if TYPE_CHECKING:
    import numpy.typing as npt

    from icechunk._engine.session.reading import ArrayEntry
    from icechunk._engine.session.session import EngineSession

Renumbering = Callable[[list[int]], "Sequence[int] | None"]

_MAX_COORDINATE = 2**32 - 1


def reindex_array(
    session: EngineSession, path: str, forward: Renumbering, backward: Renumbering | None
) -> None:
    """Copy each chunk's ref to where `forward` says, and clear what `backward` says has no source.

    Raises
    ------
    InvalidInputError
        The path is that of no array, or a chunk would get outside of the grid.
    NodeNotFoundError
        There is nothing at the path.
    IcechunkError
        The chunk grid is not regular, or a function fails or returns no place in a grid.
    ReadOnlyError, SessionStateError
        The session cannot be written to.
    """
    array = _regular_array(session, path)
    refs = live_refs(array)
    sources = [tuple(row) for row in refs.coords.tolist()]
    targets: list[tuple[int, ...]] = []
    moved: list[int] = []
    for row, source in enumerate(sources):
        target = _call(forward, source, array)
        if target is not None:
            moved.append(row)
            targets.append(target)
    for target in targets:
        if not array.holds(target):
            raise _outside(target, array)
    gone: list[tuple[int, ...]] = []
    if backward is not None:
        there, filled = set(sources), set(targets)
        for source in sources:
            if source not in filled:
                origin = _call(backward, source, array)
                if origin is None or origin not in there:
                    gone.append(source)
    # Not before: the reference, too, asks the functions first.
    session.check_editable(prefix="session error: ")
    ndim = len(array.num_chunks)
    copies = replace(refs.take(np.array(moved, np.intp)), coords=_coords(targets, ndim))
    session.set_chunks(array, copies.sorted_last_wins(), _coords(sorted(gone), ndim))


def shift_array(session: EngineSession, path: str, chunk_offset: Iterable[int]) -> None:
    """Move all chunks by so many places; those that get outside of the grid are dropped.

    Raises
    ------
    InvalidInputError
        The path is that of no array; or there is not one offset for each dimension.
    NodeNotFoundError, IcechunkError, ReadOnlyError, SessionStateError
        As for `reindex_array`.
    """
    offsets = [index(offset) for offset in chunk_offset]
    array = _regular_array(session, path)
    session.check_editable(prefix="session error: ")
    if len(offsets) != len(array.num_chunks):
        raise InvalidInputError(
            f"session error: invalid chunk index: {len(offsets)} offsets for the {len(array.num_chunks)} "
            f"dimensions of the array at {array.path}",
            kind=ErrorKind.INVALID_CHUNK_INDEX,
        )
    refs = live_refs(array)
    # No farther than out of the grid: larger numbers need not fit.
    limits = [max(-_MAX_COORDINATE - 1, min(offset, _MAX_COORDINATE + 1)) for offset in offsets]
    targets = refs.coords.astype(np.int64) + np.array(limits, np.int64)
    inside = ((targets >= 0) & (targets < np.array(array.num_chunks, np.int64))).all(axis=1)
    copies = replace(refs.take(inside), coords=targets[inside].astype(np.uint32))
    left = _sorted(refs.coords)
    if len(copies) and len(left):
        left_keys, filled_keys = row_keys(left, copies.coords)
        left = left[~np.isin(left_keys, filled_keys)]
    session.set_chunks(array, copies.sorted_last_wins(), left)


def _regular_array(session: EngineSession, path: str) -> ArrayEntry:
    array = array_at(session, path)
    grid = json.loads(array.user_data)["chunk_grid"]["name"]
    if grid != "regular":
        raise IcechunkError(
            f"session error: cannot shift or reindex chunks of the array at `{array.path}`: `shift_array` and "
            f"`reindex_array` require an array with a `regular` chunk grid, found `{grid}`. A chunk of "
            "another size could not take its place",
            kind=ErrorKind.UNKNOWN,
        )
    return array


def _call(function: Renumbering, place: tuple[int, ...], array: ArrayEntry) -> tuple[int, ...] | None:
    """Ask where a chunk goes to, or comes from."""
    try:
        answer = function(list(place))
        found = None if answer is None else _place(answer)
    except Exception as error:  # whatever it is, it is the caller's own
        raise IcechunkError(
            f"session error: unknown error: {type(error).__name__}: {error}", kind=ErrorKind.UNKNOWN
        ) from error
    if found is not None and len(found) != len(array.num_chunks):
        raise _outside(found, array)
    return found


def _place(answer: object) -> tuple[int, ...]:
    if isinstance(answer, (str, bytes)) or not isinstance(answer, (Sequence, np.ndarray)):
        raise TypeError(f"a chunk index is a list or tuple of integers, not an instance of {type(answer)}")
    place = tuple(map(index, answer))
    for coordinate in place:
        if not 0 <= coordinate <= _MAX_COORDINATE:
            raise OverflowError(f"a chunk index has integers from 0 to {_MAX_COORDINATE}, not {coordinate}")
    return place


def _outside(place: tuple[int, ...], array: ArrayEntry) -> InvalidInputError:
    return InvalidInputError(
        f"session error: invalid chunk index: coordinates {list(place)} are not valid for array at {array.path}",
        kind=ErrorKind.INVALID_CHUNK_INDEX,
    )


def _coords(rows: list[tuple[int, ...]], ndim: int) -> Coords:
    return np.array(rows, np.uint32).reshape(len(rows), ndim)


def _sorted(coords: Coords) -> Coords:
    if not coords.shape[1]:
        return coords
    order: npt.NDArray[np.intp] = np.lexsort(coords.T[::-1])
    return coords[order]

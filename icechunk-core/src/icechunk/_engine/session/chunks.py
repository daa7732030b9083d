"""All chunks of an array as columns: where they are in the grid, and where their bytes are."""

from __future__ import annotations

from typing import TYPE_CHECKING, TypeAlias

import numpy as np

from icechunk._engine.format.chunk_refs import RefColumns, RefKind
from icechunk._engine.format.ids import ChunkId
from icechunk._engine.session.keys import absolute_path, normal_path
from icechunk._engine.session.listing import live_coords
from icechunk._engine.session.reading import ArrayEntry
from icechunk._engine.session.session import node_not_found, not_an_array
from icechunk._engine.session.splitting import Coords, row_keys
from icechunk.errors import ErrorKind, InvalidInputError

if TYPE_CHECKING:
    from collections.abc import Iterator

    import numpy.typing as npt

    from icechunk._engine.session.session import EngineSession

ChunkBatch: TypeAlias = tuple[
    Coords,
    "npt.NDArray[np.uint8]",
    list[str],
    "npt.NDArray[np.uint64]",
    "npt.NDArray[np.uint64]",
    dict[int, bytes],
]
"""Coordinates, kinds, paths, offsets, lengths, and the inline chunks by row."""


def array_at(session: EngineSession, path: str) -> ArrayEntry:
    """Return the array at an absolute path.

    Raises
    ------
    NodeNotFoundError
        There is nothing.
    InvalidInputError
        `path` is not absolute, or is that of a group.
    """
    node = session.find_node(absolute_path(path))
    if node is None:
        raise node_not_found(path, prefix="session error: ")
    if not isinstance(node, ArrayEntry):
        raise not_an_array(path, prefix="session error: ")
    return node


def chunk_coords(session: EngineSession, path: str) -> Coords:
    """Return where the array at an absolute path has chunks, each place once."""
    return live_coords(array_at(session, path))


def live_refs(array: ArrayEntry) -> RefColumns:
    """Return the refs of all chunks of an array, those that lie outside of its grid excepted."""
    ndim = len(array.num_chunks)
    parts: list[RefColumns] = []
    if array.base is not None:
        parts = [refs.columns() for refs in array.base.load_all()]
    if array.table is not None:
        touched = array.table.touched_coords(ndim)
        parts = [_without(part, touched) for part in parts]
        parts.append(array.table.live_columns(ndim))
    if not parts:
        return RefColumns.empty(ndim)
    refs = RefColumns.concat(parts)
    inside = (refs.coords < np.array(array.num_chunks, np.int64)).all(axis=1)
    return refs if inside.all() else refs.take(inside)


def _without(refs: RefColumns, touched: Coords) -> RefColumns:
    if not len(refs) or not len(touched):
        return refs
    keys, touched_keys = row_keys(refs.coords, touched)
    return refs.take(~np.isin(keys, touched_keys))


def chunk_batches(session: EngineSession, path: str, batch_size: int) -> Iterator[ChunkBatch]:
    """Yield all chunks of an array, so many at a time. Nothing, if there is no array at the path.

    Raises
    ------
    InvalidInputError
        The path has `..` in it.
    """
    normal = normal_path(path)
    if normal is None:
        raise InvalidInputError(f"Invalid array path: `..` in `{path}`", kind=ErrorKind.INVALID_PATH)
    node = session.find_node(normal)
    if not isinstance(node, ArrayEntry):
        return
    refs = live_refs(node)
    for start in range(0, len(refs), batch_size):
        yield _batch(refs.between(start, start + batch_size))


def _batch(refs: RefColumns) -> ChunkBatch:
    paths: list[str] = []
    inline: dict[int, bytes] = {}
    for row, kind in enumerate(refs.kinds.tolist()):
        if kind == RefKind.NATIVE:
            paths.append(str(ChunkId(refs.chunk_ids[row].tobytes())))
        elif kind == RefKind.VIRTUAL:
            paths.append(refs.locations.text(int(refs.location_codes[row])))
        else:
            paths.append("")
            start = int(refs.inline_starts[row])
            inline[row] = refs.inline_data[start : start + int(refs.lengths[row])].tobytes()
    # Copies: the caller may keep them, or change them.
    return (
        np.array(refs.coords, np.uint32),
        np.array(refs.kinds, np.uint8),
        paths,
        np.array(refs.offsets, np.uint64),
        np.array(refs.lengths, np.uint64),
        inline,
    )

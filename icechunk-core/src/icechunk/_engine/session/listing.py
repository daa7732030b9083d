"""What is in a session: nodes below a path, chunks of an array, and the keys that stand for them.

Listings see the base snapshot under the change set. A listing is of one moment: who deletes while
he iterates goes on with what was there when he began with each array.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from icechunk._engine.session.keys import (
    chunk_keys,
    metadata_key,
    normal_path,
    parse_coords,
)
from icechunk._engine.session.reading import ArrayEntry, Entry
from icechunk._engine.session.rearranged import paths_under
from icechunk._engine.session.splitting import Coords, row_keys

if TYPE_CHECKING:
    from collections.abc import Iterator

    from icechunk._engine.format.snapshot import Snapshot
    from icechunk._engine.session.session import EngineSession


def nodes_within(session: EngineSession, path: str) -> list[Entry]:
    """Return the node at `path`, if there is one, and every node below it, parents first."""
    paths = {path}
    below = _directory(path)
    changes = session.changes
    paths.update(paths_under(session.base(), changes.moves, path))
    for created in (changes.new_arrays, changes.new_groups):
        paths.update([new for new in created.copy() if new.startswith(below)])
    entries = (session.find_node(each) for each in sorted(paths))
    return [entry for entry in entries if entry is not None]


def child_names(session: EngineSession, path: str) -> set[str]:
    """Return the names below `path` that are nodes, or have nodes below them."""
    below = _directory(path)
    changes = session.changes
    names: set[str] = set()
    if changes.moves:
        for descendant in paths_under(session.base(), changes.moves, path):
            names.add(descendant[len(below) :].partition("/")[0])
    elif changes.deleted_arrays or changes.deleted_groups:
        for name in _base_child_names(session.base(), below):
            child = below + name
            if session.find_node(child) is not None or any(
                not changes.is_deleted(descendant) or session.find_node(descendant) is not None
                for descendant in session.base().paths_under(child)
            ):
                names.add(name)
    else:
        names.update(_base_child_names(session.base(), below))
    start = len(below)
    for created in (changes.new_arrays, changes.new_groups):
        for new in created.copy():
            if new.startswith(below) and len(new) > start:
                names.add(new[start:].partition("/")[0])
    return names


def _base_child_names(base: Snapshot, below: str) -> Iterator[str]:
    """Yield what the paths below a directory go on with, some names twice; jumps over subtrees."""
    prefix = below.encode()
    row = base.bisect(prefix)
    if below == "/" and row < base.num_nodes and base.raw_path(row) == b"/":
        row += 1
    while row < base.num_nodes:
        path = base.raw_path(row)
        if not path.startswith(prefix):
            return
        slash = path.find(b"/", len(prefix))
        name = path[len(prefix) :] if slash < 0 else path[len(prefix) : slash]
        try:
            yield name.decode()
        except UnicodeDecodeError as error:
            raise base.file.error("NodeSnapshot.path is not UTF-8") from error
        # "0" is the byte after "/": the first path behind everything below the child.
        row = row + 1 if slash < 0 else base.bisect(path[:slash] + b"0", row)


def live_coords(array: ArrayEntry) -> Coords:
    """Return where an array has chunks: shape (number of chunks, number of dimensions).

    What the base snapshot has comes first, then what the session has set; chunks that a smaller
    shape left outside of the grid do not count.
    """
    ndim = len(array.num_chunks)
    parts: list[Coords] = []
    if array.base is not None:
        parts = [refs.coords() for refs in array.base.load_all()]
    if array.table is not None:
        touched = array.table.touched_coords(ndim)
        parts = [_without(coords, touched) for coords in parts]
        parts.append(array.table.live_columns(ndim).coords)
    if not parts:
        return np.empty((0, ndim), np.uint32)
    coords = parts[0] if len(parts) == 1 else np.concatenate(parts)
    inside = (coords < np.array(array.num_chunks, np.int64)).all(axis=1)
    return coords if inside.all() else coords[inside]


def keys_within(session: EngineSession, prefix: str) -> Iterator[str]:
    """Yield every key below a directory: that of a node, of an array's chunks, or neither.

    `prefix` names the directory, with or without a slash behind; it is no bare string prefix.
    """
    path = normal_path(prefix)
    if path is None:
        return
    for node in nodes_within(session, path):
        yield metadata_key(node.path)
        if isinstance(node, ArrayEntry):
            yield from chunk_keys(node.path, live_coords(node).tolist())
    found = _chunk_directory(session, path)
    if found is not None:
        array, leading = found
        coords = _beginning_with(live_coords(array), leading)
        yield from chunk_keys(array.path, coords.tolist())


def names_in(session: EngineSession, prefix: str) -> list[str]:
    """Return what is directly in a directory: documents, chunks and further directories."""
    path = normal_path(prefix)
    if path is None:
        return []
    names = child_names(session, path)
    node = session.find_node(path)
    if node is not None:
        names.add("zarr.json")
        if isinstance(node, ArrayEntry) and _has_chunks(node):
            names.add("c")
    found = _chunk_directory(session, path)
    if found is not None:
        array, leading = found
        if len(leading) < len(array.num_chunks):
            column = _beginning_with(live_coords(array), leading)[:, len(leading)]
            names.update(map(str, np.unique(column).tolist()))
    return sorted(names)


def is_empty(session: EngineSession, prefix: str) -> bool:
    """Whether there is nothing in a directory."""
    path = normal_path(prefix)
    if path is None:
        return True
    if session.find_node(path) is not None or child_names(session, path):
        return False
    found = _chunk_directory(session, path)
    if found is None:
        return True
    array, leading = found
    # A chunk is no directory: nothing is in it.
    return len(leading) == len(array.num_chunks) or not len(_beginning_with(live_coords(array), leading))


def chunks_in(session: EngineSession, prefix: str) -> tuple[ArrayEntry, Coords] | None:
    """Return the chunks of an array that are in a directory, if `prefix` is one of an array's chunks."""
    path = normal_path(prefix)
    found = None if path is None else _chunk_directory(session, path)
    if found is None:
        return None
    array, leading = found
    return array, _beginning_with(live_coords(array), leading)


def _chunk_directory(session: EngineSession, path: str) -> tuple[ArrayEntry, tuple[int, ...]] | None:
    """Read `path` as an array's path, `c`, and the leading coordinates of chunks of it."""
    if path.endswith("/c"):
        array_path, coordinates = path[:-2], ""
    else:
        array_path, found, coordinates = path.rpartition("/c/")
        if not found:
            return None
    try:
        leading = parse_coords(coordinates) if coordinates else ()
    except ValueError:
        return None
    array = session.find_node(array_path or "/")
    if not isinstance(array, ArrayEntry) or len(leading) > len(array.num_chunks):
        return None
    return array, leading


def _has_chunks(array: ArrayEntry) -> bool:
    """Whether an array has any chunk. Reads manifests only if the change set leaves it open."""
    base = array.base
    if array.table is None and (base is None or not base.manifests):
        return False
    if array.table is None and base is not None:
        counts = array.num_chunks
        for manifest in base.manifests:
            # Extents are tight: a box within the grid has a chunk within the grid.
            if all(stop <= count for (_, stop), count in zip(manifest.extents, counts, strict=True)):
                return True
    return len(live_coords(array)) > 0


def _beginning_with(coords: Coords, leading: tuple[int, ...]) -> Coords:
    if not leading:
        return coords
    matches: Coords = coords[(coords[:, : len(leading)] == np.array(leading, np.int64)).all(axis=1)]
    return matches


def _without(coords: Coords, touched: Coords) -> Coords:
    if not len(coords) or not len(touched):
        return coords
    keys, touched_keys = row_keys(coords, touched)
    return coords[~np.isin(keys, touched_keys)]


def _directory(path: str) -> str:
    return path if path == "/" else f"{path}/"

"""Merging change sets of forks: what fits together, and what several writers must not both do.

Semantics, section 11. Chunks are not compared: the one that is merged last counts.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import TYPE_CHECKING, NamedTuple

from icechunk._engine.changes.change_set import ChangeSet, NewArray, NewGroup
from icechunk._engine.changes.chunk_table import ChunkTable
from icechunk.errors import ErrorKind, SessionStateError

if TYPE_CHECKING:
    from icechunk._engine.format.ids import NodeId


class BaseNodes(NamedTuple):
    """What there is to know of the snapshot under the change set that others are merged into."""

    find_id: Callable[[str], NodeId | None]
    """The id of the node at a path."""
    has: Callable[[NodeId], bool]
    """Whether there is a node with an id."""


def merge_changes(ours: ChangeSet, others: Sequence[ChangeSet], base: BaseNodes) -> None:
    """Fold change sets into ours, in their order.

    Those that come before one that does not fit stay merged.

    Raises
    ------
    SessionStateError
        Of kind ``merge-failed``: two have created, or differently updated, one node; or one has
        deleted what another has modified; or a node was modified that is not there.
    """
    tables: dict[NodeId, list[ChunkTable]] = {}
    try:
        for theirs in others:
            _check(ours, theirs, tables, base)
            _fold_nodes(ours, theirs)
            for id, table in theirs.chunks.items():
                tables.setdefault(id, []).append(table)
    finally:
        # All tables of an array at once: to sort a hundred of them is one sort, not a hundred.
        ndims = {array.id: len(array.shape) for array in ours.new_arrays.values()}
        ndims |= {id: len(update.shape) for id, update in ours.updated_arrays.items()}
        for id, many in tables.items():
            _fold_tables(ours, id, many, ndims.get(id))


def _check(
    ours: ChangeSet, theirs: ChangeSet, tables: dict[NodeId, list[ChunkTable]], base: BaseNodes
) -> None:
    _refuse("Multiple writers created the same groups", _created_twice(ours, theirs, theirs.new_groups, base))
    _refuse(
        "Multiple writers updated the same groups",
        [str(id) for id, new in theirs.updated_groups.items() if ours.updated_groups.get(id, new) != new],
    )
    _refuse("Multiple writers created the same arrays", _created_twice(ours, theirs, theirs.new_arrays, base))
    _refuse(
        "Multiple writers updated the same arrays",
        [str(id) for id, new in theirs.updated_arrays.items() if ours.updated_arrays.get(id, new) != new],
    )
    _refuse(
        "Arrays were both deleted and modified",
        [
            path
            for deletes, other, other_chunks in (
                (ours, theirs, theirs.chunks.keys()),
                (theirs, ours, ours.chunks.keys() | tables.keys()),
            )
            for path, id in deletes.deleted_arrays.items()
            if path in other.new_arrays or id in other.updated_arrays or id in other_chunks
        ],
    )
    _refuse(
        "Groups were both deleted and modified",
        [
            path
            for deletes, other in ((ours, theirs), (theirs, ours))
            for path, id in deletes.deleted_groups.items()
            if path in other.new_groups or id in other.updated_groups
        ],
    )
    created = {node.id for changes in (ours, theirs) for node in _created(changes)}
    modified = theirs.updated_groups.keys() | theirs.updated_arrays.keys() | theirs.chunks.keys()
    _refuse(
        "Nodes were modified that this session does not have",
        [str(id) for id in modified if id not in created and not base.has(id)],
    )


def _refuse(problem: str, what: Iterable[str]) -> None:
    names = sorted(set(what))
    if names:
        raise SessionStateError(
            f"session error: failed to merge sessions: {problem}: {', '.join(names)}",
            kind=ErrorKind.MERGE_FAILED,
        )


def _created(changes: ChangeSet) -> Iterable[NewGroup | NewArray]:
    return [*changes.new_groups.values(), *changes.new_arrays.values()]


def _created_twice(
    ours: ChangeSet, theirs: ChangeSet, created: dict[str, NewGroup] | dict[str, NewArray], base: BaseNodes
) -> list[str]:
    """Return the paths at which something else was created, or is there already."""
    twice = []
    for path, node in created.items():
        there = ours.new_groups.get(path) or ours.new_arrays.get(path)
        if there is not None:
            # The same node is no conflict: the fork may have been merged before.
            if there != node:
                twice.append(path)
            continue
        id = base.find_id(path)
        if id is not None and not (ours.deletes(path, id) or theirs.deletes(path, id)):
            twice.append(path)
    return twice


def _fold_nodes(ours: ChangeSet, theirs: ChangeSet) -> None:
    ours.new_groups.update(theirs.new_groups)
    ours.new_arrays.update(theirs.new_arrays)
    ours.deleted_groups.update(theirs.deleted_groups)
    ours.deleted_arrays.update(theirs.deleted_arrays)
    ours.updated_groups.update(theirs.updated_groups)
    ours.updated_arrays.update(theirs.updated_arrays)
    # A fork sees as old what this session has created before the fork: an update of that is another
    # way to create it.
    if theirs.updated_groups:
        for path, group in ours.new_groups.items():
            if group.id in theirs.updated_groups:
                ours.new_groups[path] = NewGroup(group.id, theirs.updated_groups[group.id])
    if theirs.updated_arrays:
        for path, array in ours.new_arrays.items():
            if array.id in theirs.updated_arrays:
                ours.new_arrays[path] = NewArray(array.id, *theirs.updated_arrays[array.id])


def _fold_tables(ours: ChangeSet, id: NodeId, tables: Sequence[ChunkTable], ndim: int | None) -> None:
    table = ours.chunk_table(id)
    if ndim is not None:
        # One of them may have given the array other dimensions; chunks of the old grid have no place
        # in the new one.
        if table.ndim not in {None, ndim}:
            table = ours.chunks[id] = ChunkTable()
        tables = [each for each in tables if each.ndim == ndim]
    table.add_tables(tables)

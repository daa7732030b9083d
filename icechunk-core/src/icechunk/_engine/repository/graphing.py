"""Which snapshots a picture of the history shows, in which column, under which names. Semantics 16."""

from __future__ import annotations

from typing import TYPE_CHECKING

from icechunk._display.graph_layout import Commit, Label, Layout, lay_out, shown
from icechunk._engine.repository.ref_errors import ref_not_found
from icechunk.errors import ErrorKind, FormatError

if TYPE_CHECKING:
    from collections.abc import Iterator

    from icechunk._engine.format.ids import SnapshotId
    from icechunk._engine.repository.records import Refs, RefsAndHistory


def graph_of_all(history: RefsAndHistory) -> Layout:
    """Lay out everything that branches lead to. Detached snapshots are not shown."""
    refs = history.refs()
    tips = {name: refs.branches[name] for name in _in_order(refs)}
    return _laid_out(refs, list(enumerate(tips.values())), tips)


def graph_of_branch(history: RefsAndHistory, name: str) -> Layout:
    """Lay out one branch, in the colour that it has among all."""
    refs = history.refs()
    tip = refs.branches.get(name)
    if tip is None:
        raise ref_not_found(name)
    return _laid_out(refs, [(_in_order(refs).index(name), tip)], {name: tip})


def graph_of_snapshot(history: RefsAndHistory, id: SnapshotId) -> Layout:
    """Lay out the ancestry of one snapshot."""
    history.check_snapshot(id)
    return _laid_out(history.refs(), [(0, id)], {})


def _in_order(refs: Refs) -> list[str]:
    """Return the names of all branches: main, and the others by name."""
    return sorted(refs.branches, key=lambda name: (name != "main", name))


def _laid_out(refs: Refs, tips: list[tuple[int, SnapshotId]], names: dict[str, SnapshotId]) -> Layout:
    """Give each tip, with its colour, a column, and each snapshot to the first column that leads to it."""
    labels: dict[str, list[Label]] = {}
    for name, id in names.items():
        labels.setdefault(str(id), []).append(Label(shown(name), is_tag=False))
    for name, id in sorted(refs.tags.items()):
        labels.setdefault(str(id), []).append(Label(shown(name), is_tag=True))
    claimed: set[SnapshotId] = set()
    columns = [(colour, list(_own_commits(refs, tip, claimed))) for colour, tip in tips]
    return lay_out(columns, labels)


def _own_commits(refs: Refs, tip: SnapshotId, claimed: set[SnapshotId]) -> Iterator[Commit]:
    id: SnapshotId | None = tip
    own: set[SnapshotId] = set()
    while id is not None and id not in claimed:
        claimed.add(id)
        own.add(id)
        record = refs.lookup(id)
        parent = record.parent_id
        if parent in own:
            raise FormatError(
                f"the history of snapshot {tip} goes round in a circle", kind=ErrorKind.INVALID_FILE_FORMAT
            )
        yield Commit(str(id), None if parent is None else str(parent), record.flushed_at, record.message)
        id = parent

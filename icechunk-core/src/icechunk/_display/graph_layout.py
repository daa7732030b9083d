"""Where the commits of a history go in a picture of it: a row for each, a column for each branch.

A branch's column has the commits that no column before it has. A line runs through it from the
branch's tip down to the commit from which the first of its own was made, which is in another column.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import NamedTuple

__all__ = ["Commit", "Label", "Layout", "Lane", "Row", "lay_out"]

# More rows than these are no picture any more.
_MOST_ROWS = 100

_MOST_CHARACTERS = 60
_DOTS = "..."

# Control characters except the tab, separators of lines, marks that turn the direction of writing, and
# halves of surrogate pairs.
_UNPRINTABLE = re.compile("[\x00-\x08\x0a-\x1f\x7f-\x9f\u2028\u2029\u202a-\u202e\u2066-\u2069\ud800-\udfff]")


class Commit(NamedTuple):
    """A commit to show. Ids only have to be comparable; `written_at` orders the rows."""

    id: str
    parent_id: str | None
    written_at: int
    message: str


class Label(NamedTuple):
    """The name of a branch or tag."""

    name: str
    is_tag: bool


class Lane(NamedTuple):
    """What runs through a column: rows are numbered from the top, and may lie below the last one."""

    colour: int
    """Counts the branches, so that each keeps its colour whichever are shown."""
    first: int
    """The row of the newest commit."""
    last: int
    """The row of the oldest one."""
    fork: int | None
    """The row of the commit that the oldest one was made from; None if it was made from none."""

    def runs_below(self, row: int) -> bool:
        """Whether the line is there between a row and the next."""
        return self.first <= row < (self.last if self.fork is None else self.fork)


class Row(NamedTuple):
    """One commit, ready to be shown."""

    column: int
    id: str
    labels: tuple[Label, ...]
    title: str


class Layout(NamedTuple):
    """A picture: columns from the left, None for those that have no commits; rows from the top."""

    lanes: tuple[Lane | None, ...]
    rows: tuple[Row, ...]
    num_commits: int
    """How many there are, though not all may be shown."""

    def forks_at(self, row: int) -> list[int]:
        """Return the columns whose line ends at a row, and goes over to that row's column."""
        return [column for column, lane in enumerate(self.lanes) if lane is not None and lane.fork == row]


def lay_out(columns: Sequence[tuple[int, Sequence[Commit]]], labels: Mapping[str, Sequence[Label]]) -> Layout:
    """Place commits.

    Parameters
    ----------
    columns
        For each the number of its colour and the commits that are its own, newest first.
    labels
        What to write beside a commit, by its id.
    """
    placed = [(commit, column) for column, (_, commits) in enumerate(columns) for commit in commits]
    placed.sort(key=lambda place: -place[0].written_at)
    row_of = {commit.id: row for row, (commit, _) in enumerate(placed)}
    lanes: list[Lane | None] = []
    for colour, commits in columns:
        if not commits:
            lanes.append(None)
            continue
        parent = commits[-1].parent_id
        fork = None if parent is None else row_of.get(parent)
        lanes.append(Lane(colour, row_of[commits[0].id], row_of[commits[-1].id], fork))
    rows = [
        Row(column, commit.id[:8], tuple(labels.get(commit.id, ())), _title(commit.message))
        for commit, column in placed[:_MOST_ROWS]
    ]
    return Layout(tuple(lanes), tuple(rows), len(placed))


def _title(message: str) -> str:
    line = shown(message.partition("\n")[0].removesuffix("\r"))
    if len(line) <= _MOST_CHARACTERS:
        return line
    return line[: _MOST_CHARACTERS - len(_DOTS)] + _DOTS


def shown(text: str) -> str:
    """Return text without what would give orders to a terminal, or break a document."""
    return _UNPRINTABLE.sub("\N{REPLACEMENT CHARACTER}", text)

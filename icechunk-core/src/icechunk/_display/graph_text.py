"""A laid-out history as text, plain or in the colours of a terminal."""

from __future__ import annotations

from typing import TYPE_CHECKING

from icechunk._display.graph_colours import TAG, colour

if TYPE_CHECKING:
    from icechunk._display.graph_layout import Layout, Row

__all__ = ["graph_text"]

_RESET = "\x1b[0m"
_BOLD, _DIM, _ITALIC = "\x1b[1m", "\x1b[2m", "\x1b[3m"


def graph_text(layout: Layout, *, plain: bool) -> str:
    """Draw one line for each commit and one between any two, each column two characters wide."""
    if not layout.rows:
        return "(empty history)\n"
    pen = _Pen(layout, plain=plain)
    lines = []
    for number, row in enumerate(layout.rows):
        if number:
            lines.append(pen.between(number - 1))
        lines.append(pen.commit(number, row))
    hidden = layout.num_commits - len(layout.rows)
    if hidden:
        note = f"  ... (showing {len(layout.rows)} of {layout.num_commits} snapshots)"
        lines.append(pen.styled(_DIM, note))
    return "".join(f"{line}\n" for line in lines)


class _Pen:
    """Draws lines of one layout."""

    def __init__(self, layout: Layout, *, plain: bool) -> None:
        self._layout = layout
        self._plain = plain

    def styled(self, style: str, text: str) -> str:
        return text if self._plain else f"{style}{text}{_RESET}"

    def _glyph(self, glyph: str, column: int) -> str:
        return self.styled(self._colour(column), glyph)

    def _colour(self, column: int) -> str:
        lane = self._layout.lanes[column]
        return _escape(colour(0 if lane is None else lane.colour))

    def between(self, row: int) -> str:
        """The line between a row and the next."""
        parts = []
        for column, lane in enumerate(self._layout.lanes):
            is_there = lane is not None and lane.runs_below(row)
            parts.append(self._glyph("│", column) + " " if is_there else "  ")
        return "".join(parts)

    def commit(self, number: int, row: Row) -> str:
        forks = self._layout.forks_at(number)
        rightmost = max(forks, default=row.column)
        parts: list[str] = []
        for column, lane in enumerate(self._layout.lanes):
            # Where a line runs along the row, it has the colour of the fork that it leads to.
            goes_on = row.column <= column < rightmost
            dash = ""
            if goes_on:
                dash = self._glyph("─", min(fork for fork in forks if fork > column))
            if column == row.column:
                parts += (self._glyph("●", column), dash or " ")
            elif column in forks:
                parts += (self._glyph("╯", column), dash or " ")
            elif lane is not None and lane.first < number and lane.runs_below(number):
                parts += (self._glyph("│", column), " ")
            else:
                parts += (dash, dash) if goes_on else (" ", " ")
        parts.append(self.styled(_DIM, row.id))
        if row.labels:
            of_branch = _BOLD + self._colour(row.column)
            of_tag = _BOLD + _ITALIC + _escape(TAG)
            names = [self.styled(of_tag if label.is_tag else of_branch, label.name) for label in row.labels]
            parts.append(f" ({', '.join(names)})")
        parts.append(f" {row.title}")
        return "".join(parts)


def _escape(rgb: str) -> str:
    red, green, blue = bytes.fromhex(rgb.removeprefix("#"))
    return f"\x1b[38;2;{red};{green};{blue}m"

"""A laid-out history as a picture, for notebooks: legible on light and on dark ground."""

from __future__ import annotations

from typing import TYPE_CHECKING

from icechunk._display.graph_colours import TAG, colour

if TYPE_CHECKING:
    from icechunk._display.graph_layout import Label, Layout, Row

__all__ = ["graph_svg"]

_COLUMN_WIDTH = 20
_ROW_HEIGHT = 28
_MARGIN = 15
_RADIUS = 5

_FONT_SIZE = 13
# Of a character in a monospaced font. Texts are told how wide to be, so that boxes fit around them.
_CHARACTER_WIDTH = 7.8
_PADDING = 5
_GAP = 8

# Notebooks do not tell a picture which theme they have. These can be read on white and on black; names
# stand in boxes that bring their own ground.
_GREY = "#808080"
_ON_COLOUR = "#111111"


def graph_svg(layout: Layout) -> str:
    """Draw the history: a dot for each commit, and beside it its id, its names and its message."""
    text_x: float = _MARGIN + _COLUMN_WIDTH * len(layout.lanes) + 14
    lines = [*_lines(layout), *_forks(layout)]
    right = text_x
    for number, row in enumerate(layout.rows):
        drawn, end = _commit(row, layout, number, text_x)
        lines += drawn
        right = max(right, end)
    height = 2 * _MARGIN + _ROW_HEIGHT * max(len(layout.rows) - 1, 0)
    if not layout.rows:
        text, right = _text("(empty history)", _MARGIN, _MARGIN)
        lines.append(text)
    elif layout.num_commits > len(layout.rows):
        note = f"... (showing {len(layout.rows)} of {layout.num_commits} snapshots)"
        text, end = _text(note, text_x, height - _MARGIN + _ROW_HEIGHT)
        lines.append(text)
        right = max(right, end)
        height += _ROW_HEIGHT
    head = (
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{right + _MARGIN:g}" height="{height}" '
        f'role="img" font-family="ui-monospace, monospace" font-size="{_FONT_SIZE}">'
    )
    return "\n".join((head, *(f"  {line}" for line in lines), "</svg>\n"))


def _x(column: int) -> int:
    return _MARGIN + _COLUMN_WIDTH * column


def _y(row: int) -> int:
    return _MARGIN + _ROW_HEIGHT * row


def _lines(layout: Layout) -> list[str]:
    """The straight lines, those on the right first: they lie below."""
    drawn = []
    below = len(layout.rows) - 1
    for column, lane in reversed(list(enumerate(layout.lanes))):
        if lane is None or lane.first > below:
            continue
        # One that goes on below the picture leads out of it.
        end = _y(lane.last) if lane.last <= below else _y(below) + _ROW_HEIGHT // 2
        if lane.fork is not None and lane.last <= below < lane.fork:
            end = _y(below) + _ROW_HEIGHT // 2
        if end > _y(lane.first):
            x = _x(column)
            drawn.append(
                f'<line x1="{x}" y1="{_y(lane.first)}" x2="{x}" y2="{end}" '
                f'stroke="{colour(lane.colour)}" stroke-width="2"/>'
            )
    return drawn


def _forks(layout: Layout) -> list[str]:
    """The curves from the oldest commit of a column to the one that it was made from."""
    drawn = []
    for column, lane in reversed(list(enumerate(layout.lanes))):
        if lane is None or lane.fork is None or lane.fork >= len(layout.rows):
            continue
        from_x, to_x = _x(column), _x(layout.rows[lane.fork].column)
        # Straight down as far as possible, past the commits of other columns; the curve is in the last gap.
        from_y, to_y = max(_y(lane.last), _y(lane.fork - 1)), _y(lane.fork)
        middle = (from_y + to_y) // 2
        drawn.append(
            f'<path d="M {from_x} {_y(lane.last)} L {from_x} {from_y} '
            f'C {from_x} {middle}, {to_x} {middle}, {to_x} {to_y}" '
            f'fill="none" stroke="{colour(lane.colour)}" stroke-width="2"/>'
        )
    return drawn


def _commit(row: Row, layout: Layout, number: int, x: float) -> tuple[list[str], float]:
    """Return the elements of a row, and where its text ends."""
    lane = layout.lanes[row.column]
    own = colour(0 if lane is None else lane.colour)
    y = _y(number)
    text, x = _text(row.id, x, y)
    drawn = [f'<circle cx="{_x(row.column)}" cy="{y}" r="{_RADIUS}" fill="{own}"/>', text]
    for label in row.labels:
        box, x = _box(label, own, x + _GAP, y)
        drawn += box
    if row.title:
        text, x = _text(row.title, x + _GAP, y)
        drawn.append(text)
    return drawn, x


def _box(label: Label, own: str, x: float, y: int) -> tuple[list[str], float]:
    """A name on its colour: round for a branch, square and slanted for a tag."""
    width = 2 * _PADDING + _width(label.name)
    fill, corner, style = (TAG, 2, ' font-style="italic"') if label.is_tag else (own, 8, "")
    text, _ = _text(label.name, x + _PADDING, y, f' fill="{_ON_COLOUR}" font-weight="bold"{style}')
    box = f'<rect x="{x:g}" y="{y - 9}" width="{width:g}" height="18" rx="{corner}" fill="{fill}"/>'
    return [box, text], x + width


def _text(text: str, x: float, y: int, style: str = f' fill="{_GREY}"') -> tuple[str, float]:
    width = _width(text)
    fitted = f' textLength="{width:g}" lengthAdjust="spacingAndGlyphs"' if text else ""
    element = f'<text x="{x:g}" y="{y + 4.5:g}"{style}{fitted} xml:space="preserve">{_escaped(text)}</text>'
    return element, x + width


def _width(text: str) -> float:
    # Characters of East Asian scripts, and pictures, are as wide as two.
    return _CHARACTER_WIDTH * sum(2 if ord(c) >= 0x1100 and _is_wide(c) else 1 for c in text)


def _is_wide(character: str) -> bool:
    from unicodedata import east_asian_width  # a table that most pictures do not need

    return east_asian_width(character) in {"W", "F"}


def _escaped(text: str) -> str:
    return text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;").replace("\t", " ")

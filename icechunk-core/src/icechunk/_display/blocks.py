"""The form in which an object shows itself: a title and named values, some of them blocks themselves.

As text::

    <icechunk.session.Session>
    read_only: False
    branch: main
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable

__all__ = ["Block"]

_INDENT = "    "


class Block:
    """A title and named values, ready to be shown.

    Parameters
    ----------
    title
        The qualified name of the object's class; None for a plain mapping inside another block.
    fields
        Names with what to show for them, in order.
    abridged
        What stands for the block in the text of another block that it is too long for. HTML can fold
        it, and has it in full.
    """

    __slots__ = ("abridged", "fields", "title")

    def __init__(
        self, title: str | None, fields: Iterable[tuple[str, str | Block]], *, abridged: str | None = None
    ) -> None:
        self.title = title
        self.fields = tuple(fields)
        self.abridged = abridged

    def text(self) -> str:
        """One line for the title and for each value; what needs more lines is indented under its name."""
        return "".join(f"{line}\n" for line in self._lines())

    def _lines(self) -> list[str]:
        lines = [] if self.title is None else [f"<{self.title}>"]
        for name, shown in self.fields:
            value = shown
            if isinstance(value, Block) and value.abridged is not None:
                value = value.abridged
            if isinstance(value, Block):
                below = value._lines()
            elif "\n" in value:
                below = value.splitlines()
            else:
                lines.append(f"{name}: {value}")
                continue
            lines.append(f"{name}:")
            lines.extend(_INDENT + line for line in below)
        return lines

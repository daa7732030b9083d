"""A history as a picture: text for terminals, SVG for notebooks."""

from __future__ import annotations

from typing import TYPE_CHECKING

from icechunk._display.graph_svg import graph_svg
from icechunk._display.graph_text import graph_text

if TYPE_CHECKING:
    from icechunk._display.graph_layout import Layout

__all__ = ["AncestryGraph"]


class AncestryGraph:
    """The snapshots of a repository, branch beside branch, newest first.

    `print` it, or leave it as the last value of a notebook's cell. `Repository.ancestry_graph` makes one.
    """

    __slots__ = ("_layout", "_plain")
    __module__ = "icechunk"

    _layout: Layout
    _plain: bool

    def __init__(self) -> None:
        raise TypeError("AncestryGraph objects are made by the library")

    @classmethod
    def _of(cls, layout: Layout, *, plain: bool) -> AncestryGraph:
        graph = object.__new__(cls)
        graph._layout = layout
        graph._plain = plain
        return graph

    def __repr__(self) -> str:
        return graph_text(self._layout, plain=self._plain)

    def _repr_svg_(self) -> str:
        return graph_svg(self._layout)

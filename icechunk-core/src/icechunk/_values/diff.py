"""What differs between two snapshots, or between a session and the snapshot that it is based on."""

from __future__ import annotations

from operator import itemgetter
from typing import TYPE_CHECKING

from icechunk._display.blocks import Block
from icechunk._display.html import html
from icechunk._values.records import Copied, Frozen

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence
    from typing import Any

    import numpy as np
    import numpy.typing as npt

    #: Coordinates of chunks: a row for each.
    Rows = Sequence[Sequence[int]] | npt.NDArray[np.unsignedinteger[Any]]

__all__ = ["Diff"]

# Of an array with more updated chunks than this, the text shows the first and the number of the others.
_MAX_CHUNKS_SHOWN = 10


class Diff(Frozen):
    """What was created, updated, deleted and moved.

    Parameters
    ----------
    new_groups, new_arrays, deleted_groups, deleted_arrays, updated_groups, updated_arrays
        Paths of nodes.
    updated_chunks
        For each array with chunks that were written or deleted, their coordinates, sorted. Arrays of
        shape (number of chunks, number of dimensions) are welcome: they become lists when somebody asks.
        The paths may come in any order.
    moved_nodes
        Where from and where to, in the order of the moves.
    """

    __slots__ = (
        "_new_groups",
        "_new_arrays",
        "_deleted_groups",
        "_deleted_arrays",
        "_updated_groups",
        "_updated_arrays",
        "_chunk_rows",
        "_moved_nodes",
    )
    __module__ = "icechunk"
    __hash__ = None  # type: ignore[assignment]  # holds sets

    new_groups = Copied[set[str]](set)
    new_arrays = Copied[set[str]](set)
    deleted_groups = Copied[set[str]](set)
    deleted_arrays = Copied[set[str]](set)
    updated_groups = Copied[set[str]](set)
    updated_arrays = Copied[set[str]](set)
    moved_nodes = Copied[list[tuple[str, str]]](list)
    _chunk_rows: dict[str, Rows]

    def __init__(
        self,
        *,
        new_groups: Iterable[str] = (),
        new_arrays: Iterable[str] = (),
        deleted_groups: Iterable[str] = (),
        deleted_arrays: Iterable[str] = (),
        updated_groups: Iterable[str] = (),
        updated_arrays: Iterable[str] = (),
        updated_chunks: Mapping[str, Rows] | None = None,
        moved_nodes: Iterable[tuple[str, str]] = (),
    ) -> None:
        self._fill(
            set(new_groups),
            set(new_arrays),
            set(deleted_groups),
            set(deleted_arrays),
            set(updated_groups),
            set(updated_arrays),
            dict(sorted((updated_chunks or {}).items(), key=itemgetter(0))),
            list(moved_nodes),
        )

    @property
    def updated_chunks(self) -> dict[str, list[list[int]]]:
        """The coordinates of the updated chunks, by the array's path, sorted. A new dict with every call."""
        return {path: _listed(rows) for path, rows in self._chunk_rows.items()}

    def is_empty(self) -> bool:
        """Whether nothing differs."""
        return not any(map(len, self._contents()))  # type: ignore[arg-type]  # all are containers

    def _contents(self) -> tuple[object, ...]:
        return (
            self.new_groups,
            self.new_arrays,
            self.deleted_groups,
            self.deleted_arrays,
            self.updated_groups,
            self.updated_arrays,
            self.updated_chunks,
            self.moved_nodes,
        )

    def __repr__(self) -> str:
        sections = [
            ("Groups created", self.new_groups),
            ("Arrays created", self.new_arrays),
            ("Group definitions updated", self.updated_groups),
            ("Array definitions updated", self.updated_arrays),
            ("Groups deleted", self.deleted_groups),
            ("Arrays deleted", self.deleted_arrays),
        ]
        lines = []
        for title, paths in sections:
            if paths:
                lines += [f"{title}:", *(f"    {path}" for path in sorted(paths)), ""]
        if self._chunk_rows:
            lines.append("Chunks updated:")
            for path, rows in self._chunk_rows.items():
                lines.append(f"    {path}:")
                # A solver may have left none; then there is an empty line.
                lines += [f"        {row}" for row in _listed(rows[:_MAX_CHUNKS_SHOWN])] or [""]
                if len(rows) > _MAX_CHUNKS_SHOWN:
                    lines.append(f"        ... {len(rows) - _MAX_CHUNKS_SHOWN} more")
        if self.moved_nodes:
            lines.append("Nodes moved/renamed:")
            lines += [*(f"    {old} -> {new}" for old, new in self.moved_nodes), ""]
        return "".join(f"{line}\n" for line in lines)

    def _repr_html_(self) -> str:
        fields: list[tuple[str, str | Block]] = [
            (name, "\n".join(sorted(getattr(self, name))) or "none")
            for name in self._field_names()
            if name not in {"chunk_rows", "moved_nodes"}
        ]
        chunks = [
            (path, f"{len(rows)} chunk{'' if len(rows) == 1 else 's'}")
            for path, rows in self._chunk_rows.items()
        ]
        fields.append(("updated_chunks", Block(None, chunks) if chunks else "none"))
        moves = "\n".join(f"{old} -> {new}" for old, new in self.moved_nodes)
        fields.append(("moved_nodes", moves or "none"))
        return html(Block("icechunk.snapshots.Diff", fields))


def _listed(rows: Rows) -> list[list[int]]:
    if hasattr(rows, "tolist"):
        listed: list[list[int]] = rows.tolist()
        return listed
    return [list(row) for row in rows]

"""What can be wrong when a session's changes meet somebody else's commit."""

from __future__ import annotations

from inspect import Parameter, Signature
from typing import TYPE_CHECKING

from icechunk._values.checks import instance, required, text, unsigned
from icechunk._values.records import Copied, Info, Named

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

_coord = required(unsigned(32))
_path = required(text)

__all__ = ["Conflict", "ConflictType", "VersionSelection"]


class ConflictType(Named):
    """How two changes do not fit together.

    Those from 100 on are ours: the reference sees no conflict there.
    """

    __module__ = "icechunk"

    NewNodeConflictsWithExistingNode = 1
    NewNodeInInvalidGroup = 2
    ZarrMetadataDoubleUpdate = 3
    ZarrMetadataUpdateOfDeletedArray = 4
    ZarrMetadataUpdateOfDeletedGroup = 5
    ChunkDoubleUpdate = 6
    ChunksUpdatedInDeletedArray = 7
    ChunksUpdatedInUpdatedArray = 8
    DeleteOfUpdatedArray = 9
    DeleteOfUpdatedGroup = 10
    MoveOperationCannotBeRebased = 11

    DeleteOfGroupWithNewNode = 100
    """We delete a group under which they have added a node: the path is that node's."""
    NewNodeInDeletedGroup = 101
    """We add a node under a group that they have deleted: the path is that node's."""
    LayoutUpdateOfUpdatedChunks = 102
    """We change shape, chunk grid, data type, codecs or fill value of an array whose chunks they wrote."""
    BaseIsNoAncestor = 103
    """The branch was reset: the snapshot that the session is based on is no longer in its history."""
    MoveOverNewNode = 104
    """They have added a node where we have moved another: the path is that node's."""
    MoveOfDeletedNode = 105
    """We have moved a node that they have deleted: the path is where it was."""
    MoveIntoDeletedGroup = 106
    """We have moved a node into a group that they have deleted: the path is where it is now."""

    # What `help` shows would otherwise hide that a type can be made from its number.
    __signature__ = Signature(  # type: ignore[assignment]  # a callable only since 3.12
        [Parameter("value", Parameter.POSITIONAL_OR_KEYWORD)]
    )

    def __repr__(self) -> str:
        return self.name

    def __str__(self) -> str:
        words = "".join(f" {letter.lower()}" if letter.isupper() else letter for letter in self.name)
        return words.strip().capitalize()


_type = required(instance(ConflictType))


class VersionSelection(Named):
    """Whose version of a chunk is kept when both sides have written it."""

    __module__ = "icechunk"

    Fail = 0
    UseOurs = 1
    UseTheirs = 2


class Conflict(Info):
    """One thing that does not fit together.

    Parameters
    ----------
    conflict_type
        How it does not fit.
    path
        The node that it is about.
    conflicted_chunks
        For conflicts of chunks, their coordinates.
    """

    __slots__ = ("conflict_type", "path", "_conflicted_chunks")
    __module__ = "icechunk"
    _title = "icechunk.conflicts.Conflict"

    conflict_type: ConflictType
    path: str
    conflicted_chunks = Copied[list[list[int]] | None](
        lambda chunks: None if chunks is None else [list(chunk) for chunk in chunks]
    )

    def __init__(
        self,
        conflict_type: ConflictType,
        path: str,
        conflicted_chunks: Iterable[Sequence[int]] | None = None,
    ) -> None:
        chunks = None
        if conflicted_chunks is not None:
            chunks = tuple([tuple([_coord("conflicted_chunks", i) for i in c]) for c in conflicted_chunks])
        self._fill(_type("conflict_type", conflict_type), _path("path", path), chunks)

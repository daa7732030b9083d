"""What a conflict solver implements: a decision about one conflict at a time.

When the changes of a session are rebased over a commit that somebody else made meanwhile, each thing that does
not fit together is a conflict. A solver looks at it and says what is to become of it::

    class KeepTheLarger(ConflictSolver):
        def resolve(self, conflict: ConflictView) -> Resolution:
            if conflict.conflict_type is not ConflictType.ChunkDoubleUpdate:
                return Fail("only chunks can be compared")
            ours, theirs = conflict.ours.chunk(), conflict.theirs.chunk()
            if ours is None or theirs is None:
                return Ours() if theirs is None else Theirs()
            return Value(np.maximum(ours, theirs))

    session.commit("the larger of both", rebase_with=KeepTheLarger())

**When.** `resolve` is called once for each conflict of nodes, then once for each chunk that both sides have written. A
rebase over several commits asks about one commit after the other, oldest first; the answers for one are in place
before the next is looked at. If any answer of a commit is `Fail`, nothing of that commit is applied, and the rebase raises a
`RebaseFailedError` with all its conflicts and the reasons; the session stays based on the last commit that went well. What a
solver raises reaches the caller as it is. Nothing is read before the view is asked for it, so a solver that decides by type
alone costs no reads.

**How users reach it.** As an instance, or by a name that a plugin gives it: see
`icechunk.plugins.hookspecs.icechunk_conflict_solvers`.

**The rules**, which `icechunk.testing.conformance.SolverConformance` tests:

1. *Every conflict gets an answer.* `resolve` returns a `Resolution` for each type of conflict, and raises nothing.
2. *Pure.* The same conflict gets the same answer, whatever came before it. One solver may serve several sessions and threads.
3. *Only looking.* What a solver is shown stays as it is: it changes neither arrays nor metadata in place.
4. *What it does not know fails.* New types of conflict will be added; `Fail` is the answer to those.
5. *Values fit.* An array for a chunk, of the chunk's shape and of a dtype that goes into the array's; for a document, one of
   the same kind of node.
6. *All chunks at once is no other answer than one by one.* If `resolve_chunks` answers, `resolve` answers the same for each
   of the chunks, reasons aside.

What an answer means depends on the type of the conflict. "-" is an answer that this type cannot have: the conflict
stands, with that as its reason.

================================  ==========================  ==============================  ====================
conflict type                     `Ours`                      `Theirs`                        `Value`
================================  ==========================  ==============================  ====================
NewNodeConflictsWithExistingNode  their node and all below    our node is dropped, and all    -
                                  it is deleted; of two       that we created below it; of
                                  groups, ours gives the      two groups, only our document
                                  document
NewNodeInInvalidGroup             their array is deleted      what we created below it is     -
                                                              dropped
ZarrMetadataDoubleUpdate          our document                their document                  that document
ZarrMetadataUpdateOfDeleted...    -                           our changes are dropped         -
ChunkDoubleUpdate                 our chunk                   their chunk                     that chunk
ChunksUpdatedInDeletedArray       -                           our chunks are dropped          -
ChunksUpdatedInUpdatedArray       our chunks, under their     our chunks are dropped          -
                                  document
DeleteOfUpdatedArray, ...Group    it is deleted               it stays, with its groups       -
MoveOperationCannotBeRebased      -                           -                               -
DeleteOfGroupWithNewNode          their node is deleted too   their node and its groups stay  -
NewNodeInDeletedGroup             the groups are there again  our node is dropped, and all    -
                                                              that we created below it
LayoutUpdateOfUpdatedChunks       our document                their document                  that document
BaseIsNoAncestor                  -                           -                               -
MoveOverNewNode, ...              -                           -                               -
================================  ==========================  ==============================  ====================

`Renumber` is for ZarrMetadataDoubleUpdate of arrays.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol, TypeAlias

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt
    import zarr

    from icechunk._values.conflicts import ConflictType

__all__ = [
    "ConflictSolver",
    "ConflictView",
    "Fail",
    "NodeVersion",
    "NodeView",
    "Ours",
    "Renumber",
    "Resolution",
    "Theirs",
    "Value",
]


class NodeVersion(Protocol):
    """One node as one side has it. To be looked at only; everything is read when it is asked for."""

    @property
    def exists(self) -> bool:
        """Whether this side has a node at the path."""
        ...

    @property
    def metadata(self) -> Mapping[str, Any] | None:
        """The node's ``zarr.json``, decoded; ``None`` if there is no such node. Changing it has no effect."""
        ...

    @property
    def array(self) -> zarr.Array[Any]:
        """The whole array, to be read through Zarr.

        Raises
        ------
        NodeNotFoundError
            This side has no array at the path.
        """
        ...

    def chunk(self, index: tuple[int, ...] | None = None) -> npt.NDArray[np.generic] | None:
        """Read and decode one chunk; ``None`` if this side has none there, or no such array.

        Parameters
        ----------
        index
            Its place in the array's chunk grid: one integer for each dimension. With sharding, a chunk is a
            shard. Default: that of the conflict.

        Returns
        -------
        numpy.ndarray
            Of the chunk's shape. At the end of an axis, only the part within the array.
        """
        ...


class NodeView(Protocol):
    """A node in its three versions."""

    @property
    def path(self) -> str:
        """The node's path: ``/group/array``."""
        ...

    @property
    def base(self) -> NodeVersion:
        """As it was before either side changed it."""
        ...

    @property
    def ours(self) -> NodeVersion:
        """As the session has it."""
        ...

    @property
    def theirs(self) -> NodeVersion:
        """As the other commit left it."""
        ...


class ConflictView(NodeView, Protocol):
    """One conflict between a session and a commit that came before it, to be looked at only."""

    @property
    def conflict_type(self) -> ConflictType:
        """What kind of conflict it is."""
        ...

    @property
    def chunk(self) -> tuple[int, ...] | None:
        """The chunk's index in the array's chunk grid; ``None`` if the conflict is about the node."""
        ...

    @property
    def chunks(self) -> npt.NDArray[np.uint32] | None:
        """All chunks of the array that both sides have written; ``None`` if the conflict is about the node.

        Shape (number of chunks, number of dimensions), rows in lexicographic order.
        """
        ...

    def arrays_of_group(self) -> Iterable[NodeView]:
        """Look at every array of the group in which the node is, itself included, on whichever side it is."""
        ...


@dataclass(frozen=True, slots=True)
class Ours:
    """What the session did counts."""


@dataclass(frozen=True, slots=True)
class Theirs:
    """What the other commit did counts."""


@dataclass(frozen=True, slots=True, eq=False)
class Value:
    """Neither: this counts.

    For a chunk an array of the shape that `NodeVersion.chunk` has, which is encoded as the array's metadata say. For
    a document the whole ``zarr.json`` as a mapping.
    """

    value: npt.NDArray[Any] | Mapping[str, Any]


@dataclass(frozen=True, slots=True, eq=False)
class Renumber:
    """Both count, ours behind theirs: what we wrote from some place on along an axis moves.

    Only chunk indices change; no chunk is read or written. It settles every conflict of the array, but for
    chunks before that place which both sides have written.
    """

    axis: int
    """The axis along which chunks move."""

    start: int
    """The first chunk index along the axis that moves, on our side."""

    offset: int
    """How many chunks further they go."""

    metadata: Mapping[str, Any]
    """The array's ``zarr.json`` afterwards."""


@dataclass(frozen=True, slots=True)
class Fail:
    """The conflict stands, and the rebase fails with it."""

    reason: str
    """Why, for the user: it is in the `RebaseFailedError`."""


Resolution: TypeAlias = Ours | Theirs | Value | Renumber | Fail


class ConflictSolver(ABC):
    """Decides the conflicts of a rebase. Subclass it, or use one that is there; see the module's rules."""

    __module__ = "icechunk"

    @abstractmethod
    def resolve(self, conflict: ConflictView) -> Resolution:
        """Say what becomes of `conflict`."""

    def resolve_chunks(self, conflict: ConflictView) -> Resolution | None:
        """Say what becomes of all chunks of an array that both sides have written, if that needs no look at each.

        Called once for each array, before `resolve` is for its first chunk: `conflict.chunk` is ``None``
        here, and `conflict.chunks` all of them. An answer other than `Ours`, `Theirs` and `Fail` makes no sense here.

        Returns
        -------
        Resolution or None
            One answer for all of them. ``None``, as from this method unless it is overridden: ask about each
            chunk alone.
        """
        return None

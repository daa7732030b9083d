"""What a conflict solver implements: a decision about one conflict at a time."""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol, TypeAlias

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt

    from icechunk._values.conflicts import ConflictType

__all__ = ["ConflictSolver", "ConflictView", "Fail", "Ours", "Resolution", "Theirs", "Value"]


class ConflictView(Protocol):
    """One conflict between a session and a commit that came before it, to be looked at only."""

    @property
    def conflict_type(self) -> ConflictType:
        """What kind of conflict it is."""

    @property
    def path(self) -> str:
        """The node's path."""

    @property
    def chunk(self) -> tuple[int, ...] | None:
        """The chunk's index in the array's chunk grid; ``None`` if the conflict is about the node."""

    def base(self) -> npt.NDArray[np.generic] | None:
        """Read the chunk as it was before either change; ``None`` if there was none."""

    def ours(self) -> npt.NDArray[np.generic] | None:
        """Read the chunk as the session has it; ``None`` if the session deleted it."""

    def theirs(self) -> npt.NDArray[np.generic] | None:
        """Read the chunk as the other commit left it; ``None`` if it was deleted."""


@dataclass(frozen=True, slots=True)
class Ours:
    """What the session did counts."""


@dataclass(frozen=True, slots=True)
class Theirs:
    """What the other commit did counts."""


@dataclass(frozen=True, slots=True, eq=False)
class Value:
    """The chunk gets this value: an array of the chunk's shape."""

    array: npt.NDArray[Any]


@dataclass(frozen=True, slots=True)
class Fail:
    """The conflict stands, and the rebase fails with it."""

    reason: str


Resolution: TypeAlias = Ours | Theirs | Value | Fail


class ConflictSolver(ABC):
    """Decides conflicts of a rebase: asked once for each, in no promised order.

    A solver is pure: the same conflict always gets the same answer, and nothing else changes.
    """

    @abstractmethod
    def resolve(self, conflict: ConflictView) -> Resolution:
        """Say what becomes of `conflict`."""

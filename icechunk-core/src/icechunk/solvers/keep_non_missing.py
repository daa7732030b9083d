"""Merges chunks element by element: a value goes before a missing value, whoever wrote it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Literal, TypeAlias, get_args

import numpy as np

from icechunk._values.conflicts import ConflictType
from icechunk.abc.conflicts import ConflictSolver, ConflictView, Fail, Ours, Resolution, Theirs, Value

if TYPE_CHECKING:
    import numpy.typing as npt

__all__ = ["KeepNonMissing"]

Otherwise: TypeAlias = Literal["fail", "ours"]
"""What becomes of an element that both sides have set differently."""


class KeepNonMissing(ConflictSolver):
    """Keeps, element by element, the value of the side that has one.

    For chunks that both sides have written: an element is missing if it is the array's fill value, or NaN (of
    times, NaT). Where one side has a value and the other has none, the value is kept, and so is one that both have. Of two
    values the one is kept that is new; if both are, then `otherwise` says what happens. A chunk that a side has deleted
    is missing altogether. Conflicts of other types fail.

    Reads the chunk of both sides, and that of the base if there are two values; writes the merged one.

    Parameters
    ----------
    otherwise
        What becomes of an element that both sides have set differently: ``"fail"``, or ``"ours"``.
    """

    __module__ = "icechunk.conflicts"

    def __init__(self, *, otherwise: Otherwise = "fail") -> None:
        if otherwise not in get_args(Otherwise):
            raise ValueError(f"otherwise is 'fail' or 'ours', not {otherwise!r}")
        self._otherwise = otherwise

    def resolve(self, conflict: ConflictView) -> Resolution:
        """Merge a chunk; fail for anything else."""
        if conflict.conflict_type is not ConflictType.ChunkDoubleUpdate or conflict.chunk is None:
            return Fail("only chunks can be merged element by element")
        ours, theirs = conflict.ours.chunk(), conflict.theirs.chunk()
        if ours is None:
            return Theirs()
        if theirs is None:
            return Ours()
        if ours.shape != theirs.shape or ours.dtype != theirs.dtype:
            return Fail("the two sides have different arrays")
        fill = conflict.theirs.array.fill_value
        theirs_counts = _is_missing(ours, fill)
        differ = ~(theirs_counts | _is_missing(theirs, fill) | (ours == theirs))
        if differ.any():
            base = conflict.base.chunk()
            if base is not None and base.shape == ours.shape and base.dtype == ours.dtype:
                theirs_counts = theirs_counts | (differ & (ours == base))
                differ = differ & (ours != base) & (theirs != base)
            if differ.any() and self._otherwise == "fail":
                return Fail(_told(differ, ours, theirs))
        if not (theirs_counts & ~_is_missing(theirs, fill)).any():
            return Ours()
        return Value(np.where(theirs_counts, theirs, ours))

    def __repr__(self) -> str:
        return f"icechunk.conflicts.KeepNonMissing(otherwise={self._otherwise!r})"


def _is_missing(values: npt.NDArray[Any], fill: Any) -> npt.NDArray[np.bool_]:
    missing: npt.NDArray[np.bool_] = np.asarray(values == fill)
    if values.dtype.kind in "fc":
        missing = missing | np.isnan(values)
    elif values.dtype.kind in "mM":
        missing = missing | np.isnat(values)
    return missing


def _told(differ: npt.NDArray[np.bool_], ours: npt.NDArray[Any], theirs: npt.NDArray[Any]) -> str:
    """Say how many elements differ, and show the first."""
    first = tuple(int(axis[0]) for axis in np.nonzero(np.atleast_1d(differ)))
    where = first if differ.ndim else ()
    return (
        f"{int(differ.sum())} elements are set differently on both sides; the first is {list(where)} of the chunk: "
        f"ours is {ours[where]!s}, theirs {theirs[where]!s}"
    )

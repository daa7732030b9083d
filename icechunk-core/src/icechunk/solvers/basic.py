"""The two solvers that the reference has too: one that never solves anything, and one that goes by type."""

from __future__ import annotations

from inspect import Signature, signature

from icechunk._values.conflicts import ConflictType, VersionSelection
from icechunk.abc.conflicts import ConflictSolver, ConflictView, Fail, Ours, Resolution, Theirs

__all__ = ["BasicConflictSolver", "ConflictDetector"]


class ConflictDetector(ConflictSolver):
    """Solves nothing: a rebase with it succeeds if there are no conflicts, and else tells all of them."""

    __module__ = "icechunk"

    def resolve(self, conflict: ConflictView) -> Resolution:
        """Leave `conflict` as it is."""
        return _NOTHING_TO_ADD

    def resolve_chunks(self, conflict: ConflictView) -> Resolution:
        """Leave `conflict` as it is."""
        return _NOTHING_TO_ADD

    def __repr__(self) -> str:
        return "icechunk.ConflictDetector()"


class BasicConflictSolver(ConflictSolver):
    """Solves conflicts of chunks, and of deletions, by a rule; fails for all others.

    Parameters
    ----------
    on_chunk_conflict
        Whose chunk is kept when both sides have written it. Default: ours.
    fail_on_delete_of_updated_array
        Whether to fail when the session deletes an array that they have changed. Otherwise it is deleted.
    fail_on_delete_of_updated_group
        The same for a group whose metadata they have changed.
    """

    __module__ = "icechunk"

    def __init__(
        self,
        *,
        on_chunk_conflict: VersionSelection = VersionSelection.UseOurs,
        fail_on_delete_of_updated_array: bool = False,
        fail_on_delete_of_updated_group: bool = False,
    ) -> None:
        if not isinstance(on_chunk_conflict, VersionSelection):
            raise TypeError(
                f"on_chunk_conflict is a VersionSelection, not an instance of {type(on_chunk_conflict)}"
            )
        self._options: dict[str, VersionSelection | bool] = {
            "on_chunk_conflict": on_chunk_conflict,
            "fail_on_delete_of_updated_array": _checked(
                fail_on_delete_of_updated_array, "fail_on_delete_of_updated_array"
            ),
            "fail_on_delete_of_updated_group": _checked(
                fail_on_delete_of_updated_group, "fail_on_delete_of_updated_group"
            ),
        }
        answers: dict[VersionSelection, Resolution] = {
            VersionSelection.Fail: _NOTHING_TO_ADD,
            VersionSelection.UseOurs: Ours(),
            VersionSelection.UseTheirs: Theirs(),
        }
        self._chunks = answers[on_chunk_conflict]
        self._arrays = _NOTHING_TO_ADD if fail_on_delete_of_updated_array else Ours()
        self._groups = _NOTHING_TO_ADD if fail_on_delete_of_updated_group else Ours()

    def resolve(self, conflict: ConflictView) -> Resolution:
        """Decide by the type of `conflict`, and the options."""
        match conflict.conflict_type:
            case ConflictType.ChunkDoubleUpdate:
                return self._chunks
            case ConflictType.DeleteOfUpdatedArray:
                return self._arrays
            case ConflictType.DeleteOfUpdatedGroup:
                return self._groups
        return _NOTHING_TO_ADD

    def resolve_chunks(self, conflict: ConflictView) -> Resolution:
        """Decide by the option, whichever chunks they are."""
        return self._chunks

    def __repr__(self) -> str:
        options = ", ".join(f"{name}={value!r}" for name, value in self._options.items())
        return f"icechunk.BasicConflictSolver({options})"


# What the reference shows, which has no Python value for this default. Tools compare signatures.
BasicConflictSolver.__init__.__signature__ = Signature(  # type: ignore[attr-defined]  # for `inspect`
    [
        parameter.replace(default=...) if parameter.name == "on_chunk_conflict" else parameter
        for parameter in signature(BasicConflictSolver.__init__).parameters.values()
    ]
)

# The type of the conflict says it all.
_NOTHING_TO_ADD = Fail("")


def _checked(value: object, name: str) -> bool:
    if not isinstance(value, bool):
        raise TypeError(f"{name} is a bool, not an instance of {type(value)}")
    return value

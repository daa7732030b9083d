"""Several solvers as one: each is asked in turn, until one of them solves the conflict."""

from __future__ import annotations

from icechunk.abc.conflicts import ConflictSolver, ConflictView, Fail, Resolution
from icechunk.plugins import registry

__all__ = ["FirstOf", "as_solver"]


class FirstOf(ConflictSolver):
    """Asks one solver after the other. The first answer that is not `Fail` counts.

    If all of them fail, the conflict stands, with all of their reasons.

    Parameters
    ----------
    *solvers
        In the order in which they are asked; at least one. One that needs no options can be given by its name.
    """

    __module__ = "icechunk.conflicts"

    def __init__(self, *solvers: ConflictSolver | str) -> None:
        if not solvers:
            raise TypeError("FirstOf needs at least one solver")
        self._solvers = tuple(map(as_solver, solvers))

    def resolve(self, conflict: ConflictView) -> Resolution:
        """Ask about one conflict."""
        reasons: list[str] = []
        for solver in self._solvers:
            answer = solver.resolve(conflict)
            if not isinstance(answer, Fail):
                return answer
            reasons.append(answer.reason)
        return _failing(reasons)

    def resolve_chunks(self, conflict: ConflictView) -> Resolution | None:
        """Ask about all chunks at once, as long as the solvers answer for all at once."""
        reasons: list[str] = []
        for solver in self._solvers:
            answer = solver.resolve_chunks(conflict)
            if not isinstance(answer, Fail):
                # One that wants to see each chunk may solve some of them and leave others to the next.
                return answer
            reasons.append(answer.reason)
        return _failing(reasons)

    def __repr__(self) -> str:
        return f"icechunk.conflicts.FirstOf({', '.join(map(repr, self._solvers))})"


def as_solver(solver: object) -> ConflictSolver:
    """Return a solver, or make the one that has this name.

    Raises
    ------
    TypeError
        It is neither.
    PluginError
        No plugin has a solver of this name, or more than one has.
    """
    if isinstance(solver, str):
        return registry.solver(solver).build({})
    if not isinstance(solver, ConflictSolver):
        raise TypeError(f"a solver is a ConflictSolver or the name of one, not an instance of {type(solver)}")
    return solver


def _failing(reasons: list[str]) -> Fail:
    return Fail("; ".join(dict.fromkeys(filter(None, reasons))))

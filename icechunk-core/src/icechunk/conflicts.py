"""What can be wrong when a session is rebased, and who decides it."""

from __future__ import annotations

from typing import Any

from icechunk._values.conflicts import Conflict, ConflictType, VersionSelection
from icechunk.abc.conflicts import ConflictSolver
from icechunk.plugins import registry
from icechunk.solvers.basic import BasicConflictSolver, ConflictDetector
from icechunk.solvers.combine_appends import CombineAppends
from icechunk.solvers.composition import FirstOf
from icechunk.solvers.keep_non_missing import KeepNonMissing

__all__ = [
    "BasicConflictSolver",
    "CombineAppends",
    "Conflict",
    "ConflictDetector",
    "ConflictSolver",
    "ConflictType",
    "FirstOf",
    "KeepNonMissing",
    "VersionSelection",
    "solver",
]


def solver(name: str, **options: Any) -> ConflictSolver:
    """Make a conflict solver by its name: one that core has, or a plugin.

    Core has ``detector`` (`ConflictDetector`), ``basic`` (`BasicConflictSolver`), ``keep-non-missing``
    (`KeepNonMissing`) and ``combine-appends`` (`CombineAppends`). Where a solver is asked for, a name will do, too:
    ``session.rebase("combine-appends")``. To write one, see `icechunk.abc.conflicts`.

    Raises
    ------
    PluginError
        No plugin has a solver of this name, or more than one has.
    TypeError
        The solver has no such options.
    """
    return registry.solver(name).build(options)

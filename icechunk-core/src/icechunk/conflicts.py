"""What can be wrong when a session is rebased, and who decides it."""

from __future__ import annotations

from typing import Any

from icechunk._values.conflicts import Conflict, ConflictType, VersionSelection
from icechunk.abc.conflicts import ConflictSolver
from icechunk.plugins import registry
from icechunk.solvers.basic import BasicConflictSolver, ConflictDetector

__all__ = [
    "BasicConflictSolver",
    "Conflict",
    "ConflictDetector",
    "ConflictSolver",
    "ConflictType",
    "VersionSelection",
    "solver",
]


def solver(name: str, **options: Any) -> ConflictSolver:
    """Make a conflict solver by its name: one that core has, or a plugin.

    Core has ``detector`` and ``basic``.

    Raises
    ------
    PluginError
        No plugin has a solver of this name, or more than one has.
    TypeError
        The solver has no such options.
    """
    return registry.solver(name).build(options)

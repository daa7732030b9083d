"""Core's own conflict solvers, brought in through the same hook as anybody's."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import TYPE_CHECKING, Any

from icechunk.abc.providers import NamedSolver
from icechunk.plugins.hookspecs import hookimpl
from icechunk.solvers.basic import BasicConflictSolver, ConflictDetector

if TYPE_CHECKING:
    from icechunk.abc.conflicts import ConflictSolver

__all__ = ["icechunk_conflict_solvers"]


@hookimpl
def icechunk_conflict_solvers() -> Iterable[NamedSolver]:
    """Contribute what core solves conflicts with."""
    return [
        NamedSolver(name="detector", build=_by_keywords(ConflictDetector)),
        NamedSolver(name="basic", build=_by_keywords(BasicConflictSolver)),
    ]


def _by_keywords(make: Callable[..., ConflictSolver]) -> Callable[[Mapping[str, Any]], ConflictSolver]:
    return lambda options: make(**options)

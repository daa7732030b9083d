"""Core's own conflict solvers, brought in through the same hook as anybody's."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import TYPE_CHECKING, Any

from icechunk.abc.providers import NamedSolver
from icechunk.plugins.hookspecs import hookimpl
from icechunk.solvers.basic import BasicConflictSolver, ConflictDetector
from icechunk.solvers.combine_appends import CombineAppends
from icechunk.solvers.keep_non_missing import KeepNonMissing

if TYPE_CHECKING:
    from icechunk.abc.conflicts import ConflictSolver

__all__ = ["icechunk_conflict_solvers"]


@hookimpl
def icechunk_conflict_solvers() -> Iterable[NamedSolver]:
    """Contribute what core solves conflicts with."""
    return [
        NamedSolver(name="detector", build=_by_keywords(ConflictDetector)),
        NamedSolver(name="basic", build=_by_keywords(BasicConflictSolver)),
        NamedSolver(name="keep-non-missing", build=_by_keywords(KeepNonMissing)),
        NamedSolver(name="combine-appends", build=_by_keywords(CombineAppends)),
    ]


def _by_keywords(make: Callable[..., ConflictSolver]) -> Callable[[Mapping[str, Any]], ConflictSolver]:
    return lambda options: make(**options)

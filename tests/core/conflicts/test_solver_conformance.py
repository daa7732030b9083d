"""The solvers that core ships obey the rules, and for each rule there is a solver that breaks it, and only it."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from itertools import count
from typing import Any

import numpy as np
import pytest

from icechunk import BasicConflictSolver, ConflictDetector, ConflictType, VersionSelection
from icechunk.abc import ConflictSolver, ConflictView, Fail, Ours, Resolution, Theirs, Value
from icechunk.conflicts import CombineAppends, FirstOf, KeepNonMissing
from icechunk.testing.conformance import SolverConformance
from icechunk.testing.conformance.solvers import look_at_each_conflict


class TestConflictDetector(SolverConformance):
    @pytest.fixture
    def solver(self) -> ConflictSolver:
        return ConflictDetector()


class TestBasicConflictSolver(SolverConformance):
    @pytest.fixture(params=list(VersionSelection), ids=lambda selection: selection.name)
    def solver(self, request: pytest.FixtureRequest) -> ConflictSolver:
        return BasicConflictSolver(on_chunk_conflict=request.param)


class TestKeepNonMissing(SolverConformance):
    @pytest.fixture(params=["fail", "ours"])
    def solver(self, request: pytest.FixtureRequest) -> ConflictSolver:
        return KeepNonMissing(otherwise=request.param)


class TestCombineAppends(SolverConformance):
    @pytest.fixture
    def solver(self) -> ConflictSolver:
        return CombineAppends()


class TestFirstOf(SolverConformance):
    @pytest.fixture
    def solver(self) -> ConflictSolver:
        return FirstOf("combine-appends", "keep-non-missing", "basic")


class Sound(ConflictSolver):
    """Breaks no rule: takes the larger value of chunks, and fails for all else."""

    def resolve(self, conflict: ConflictView) -> Resolution:
        if conflict.conflict_type is not ConflictType.ChunkDoubleUpdate:
            return Fail("only chunks can be compared")
        ours, theirs = conflict.ours.chunk(), conflict.theirs.chunk()
        if ours is None or theirs is None:
            return Ours() if theirs is None else Theirs()
        if ours.shape != theirs.shape:
            return Fail("the array ends at different places")
        return Value(np.fmax(ours, theirs))


BREAKERS: dict[str, type[Sound]] = {}


def breaks(test: str) -> Callable[[type[Sound]], type[Sound]]:
    def note(solver: type[Sound]) -> type[Sound]:
        BREAKERS[test] = solver
        return solver

    return note


@breaks("test_rule_1_every_conflict_gets_an_answer")
class KnowsNoMoves(Sound):
    def resolve(self, conflict: ConflictView) -> Resolution:
        if conflict.conflict_type is ConflictType.MoveOperationCannotBeRebased:
            raise LookupError("who moves?")
        return super().resolve(conflict)


@breaks("test_rule_2_the_same_conflict_gets_the_same_answer")
class TakesTurns(Sound):
    def __init__(self) -> None:
        self._turns = count()

    def resolve(self, conflict: ConflictView) -> Resolution:
        if conflict.conflict_type is ConflictType.DeleteOfUpdatedArray:
            return Ours() if next(self._turns) % 2 else Theirs()
        return super().resolve(conflict)


@breaks("test_rule_3_what_is_shown_stays_as_it_is")
class WorksInPlace(Sound):
    def resolve(self, conflict: ConflictView) -> Resolution:
        answer = super().resolve(conflict)
        ours = conflict.ours.chunk() if conflict.chunk else None
        if ours is not None:
            ours[...] = 0
        return answer


@breaks("test_rule_4_a_type_that_it_does_not_know_fails")
class AlwaysRight(Sound):
    def resolve(self, conflict: ConflictView) -> Resolution:
        return Ours()


@breaks("test_rule_5_values_fit")
class GivesTheWholeArray(Sound):
    def resolve(self, conflict: ConflictView) -> Resolution:
        answer = super().resolve(conflict)
        return Value(conflict.ours.array[...]) if isinstance(answer, Value) else answer


@breaks("test_rule_6_all_chunks_at_once_is_no_other_answer")
class SaysSomethingElse(Sound):
    def resolve_chunks(self, conflict: ConflictView) -> Resolution | None:
        return Theirs()


TESTS = [name for name in vars(SolverConformance) if name.startswith("test_")]


def failing_tests(solver: ConflictSolver) -> list[str]:
    """Run the kit without pytest."""
    return [name for name in TESTS if not passes(name, solver)]


def passes(name: str, solver: ConflictSolver) -> bool:
    test = getattr(SolverConformance(), name)
    fixtures: dict[str, Any] = {"solver": solver, "each_conflict": look_at_each_conflict}
    try:
        test(**{name: fixtures[name] for name in inspect.signature(test).parameters})
    except (Exception, pytest.fail.Exception):
        return False
    return True


def test_a_sound_solver_fails_nothing() -> None:
    assert failing_tests(Sound()) == []


def test_every_test_has_a_solver_that_fails_it() -> None:
    assert set(TESTS) == set(BREAKERS)


@pytest.mark.parametrize("test", TESTS)
def test_breaking_one_rule_fails_one_test(test: str) -> None:
    assert failing_tests(BREAKERS[test]()) == [test]


def test_the_kit_shows_conflicts_of_every_type_of_a_commit() -> None:
    seen: set[ConflictType] = set()
    look_at_each_conflict(lambda conflict: seen.add(conflict.conflict_type))
    # A branch that was reset is about no commit, and no solver is asked.
    assert seen == set(ConflictType) - {ConflictType.BaseIsNoAncestor}

"""What a rebase leaves of random edits, against two dicts."""

from __future__ import annotations

import numpy as np
import zarr
from hypothesis import given, settings, strategies as st

import icechunk
from icechunk import BasicConflictSolver, ConflictDetector, VersionSelection
from icechunk.abc import ConflictSolver
from icechunk.conflicts import KeepNonMissing

LENGTH = 12
MISSING = -1

# Elements of an array with chunks of three, and their new values.
writes = st.dictionaries(st.integers(0, LENGTH - 1), st.integers(MISSING, 3), max_size=5)


def write(session: icechunk.Session, values: dict[int, int]) -> None:
    array = zarr.open_array(session.store, path="a", mode="r+")
    for where, value in values.items():
        array[where] = value


def race(
    base: dict[int, int], theirs: list[dict[int, int]], ours: dict[int, int], solver: ConflictSolver
) -> list[int]:
    """Rebase and commit, and return what the array holds then."""
    repo = icechunk.Repository.create(icechunk.in_memory_storage())
    session = repo.writable_session("main")
    zarr.create_array(session.store, name="a", shape=LENGTH, chunks=3, dtype="i2", fill_value=MISSING)
    write(session, base)
    session.commit("base")
    mine = repo.writable_session("main")
    write(mine, ours)
    for values in theirs:
        other = repo.writable_session("main")
        write(other, values)
        other.commit("theirs", allow_empty=True)
    mine.commit("mine", rebase_with=solver, allow_empty=True)
    found = zarr.open_array(repo.readonly_session("main").store, path="a", mode="r")
    return np.asarray(found[:]).tolist()


def after(*steps: dict[int, int]) -> list[int]:
    values = dict.fromkeys(range(LENGTH), MISSING)
    for step in steps:
        values |= step
    return [values[where] for where in range(LENGTH)]


def chunk_of(where: int) -> int:
    return where // 3


@settings(max_examples=25)
@given(writes, st.lists(writes, max_size=3), writes)
def test_a_chunk_is_whole_ours_or_whole_theirs(
    base: dict[int, int], theirs: list[dict[int, int]], ours: dict[int, int]
) -> None:
    touched = {chunk_of(where) for values in theirs for where in values}
    mine = {chunk_of(where) for where in ours}
    with_ours, with_theirs = after(base, ours), after(base, *theirs)
    for selection, winners in (
        (VersionSelection.UseOurs, mine),
        (VersionSelection.UseTheirs, mine - touched),
    ):
        found = race(base, theirs, ours, BasicConflictSolver(on_chunk_conflict=selection))
        expected = [with_ours[i] if chunk_of(i) in winners else with_theirs[i] for i in range(LENGTH)]
        assert found == expected
    try:
        found = race(base, theirs, ours, ConflictDetector())
    except icechunk.RebaseFailedError as error:
        [conflict] = error.conflicts
        assert {chunk for [chunk] in conflict.conflicted_chunks or []} <= mine & touched
    else:
        assert not mine & touched
        assert found == after(base, *theirs, ours)


@settings(max_examples=25)
@given(writes, st.lists(writes, max_size=3), writes)
def test_elements_are_kept_one_by_one(
    base: dict[int, int], theirs: list[dict[int, int]], ours: dict[int, int]
) -> None:
    found = race(base, theirs, ours, KeepNonMissing(otherwise="ours"))
    merged, mine = after(base), after(base, ours)
    touched = {chunk_of(where) for where in ours}
    for values in theirs:
        before, merged = merged, after(dict(enumerate(merged)), values)
        conflicting = touched & {chunk_of(where) for where in values}
        # A chunk that we have deleted is missing altogether: it is theirs from now on, and no conflict later.
        touched -= {
            chunk
            for chunk in conflicting
            if all(mine[where] == MISSING for where in range(LENGTH) if chunk_of(where) == chunk)
        }
        for where in range(LENGTH):
            if chunk_of(where) not in touched or (
                chunk_of(where) in conflicting
                and (mine[where] == MISSING or (mine[where] == before[where] and merged[where] != MISSING))
            ):
                mine[where] = merged[where]
    assert found == [mine[i] if chunk_of(i) in touched else merged[i] for i in range(LENGTH)]

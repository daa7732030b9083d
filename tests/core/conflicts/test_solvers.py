"""The solvers that core ships, their names, and several as one."""

from __future__ import annotations

import asyncio
import inspect
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import zarr

import icechunk
from icechunk import BasicConflictSolver, ConflictDetector, VersionSelection
from icechunk.abc import ConflictSolver
from icechunk.conflicts import CombineAppends, FirstOf, KeepNonMissing, solver
from icechunk.testing import FaultInjectingStorage

Change = Callable[[zarr.Group], None]


def race(
    repo: icechunk.Repository, theirs: Change, ours: Change, solve_with: ConflictSolver | str
) -> zarr.Group:
    """Commit `theirs`, then `ours` on top of it. Returns the root group as it is then."""
    session, other = repo.writable_session("main"), repo.writable_session("main")
    ours(zarr.open_group(session.store, mode="r+"))
    theirs(zarr.open_group(other.store, mode="r+"))
    other.commit("theirs")
    session.commit("ours", rebase_with=solve_with)
    return zarr.open_group(repo.readonly_session("main").store, mode="r")


def setting(path: str, values: Any, where: Any = slice(None)) -> Change:
    def change(root: zarr.Group) -> None:
        root[path][where] = values

    return change


def failure_of(repo: icechunk.Repository, theirs: Change, ours: Change, solve_with: Any) -> str:
    with pytest.raises(icechunk.RebaseFailedError) as failure:
        race(repo, theirs, ours, solve_with)
    return " | ".join(filter(None, failure.value.reasons))


# -- keeping what is not missing ---------------------------------------------------------------------------


def array(repo: icechunk.Repository, values: Any, **options: Any) -> None:
    """Make the array `/x`, and commit it."""
    with repo.transaction("main", message="x") as store:
        x = zarr.open_group(store, mode="r+").create_array(
            "x", **{"chunks": np.shape(values), **options}, shape=np.shape(values)
        )
        x[...] = values


NAN = float("nan")


@pytest.mark.parametrize(
    ("dtype", "fill", "base", "theirs", "ours", "merged"),
    [
        ("i4", -1, [-1, -1, -1, -1], [1, -1, 2, -1], [-1, 3, 2, -1], [1, 3, 2, -1]),
        ("i4", -1, [7, 7, 7, 7], [8, 7, 7, 7], [7, 9, 7, 7], [8, 9, 7, 7]),
        ("i4", -1, [7, 7], [-1, 7], [7, -1], [7, 7]),
        ("f8", 0.0, [0.0, NAN, NAN], [0.0, NAN, 1.5], [2.5, 3.5, NAN], [2.5, 3.5, 1.5]),
        ("f4", NAN, [NAN, NAN], [NAN, 1], [2, NAN], [2, 1]),
        ("M8[s]", np.datetime64("NaT", "s"), ["NaT", "NaT"], ["2020-01-01", "NaT"], ["NaT", "2021-01-01"], ["2020-01-01", "2021-01-01"]),
        ("bool", False, [False, False], [True, False], [False, True], [True, True]),
    ],
)  # fmt: skip
def test_the_value_that_is_there_is_kept(
    repo: icechunk.Repository, dtype: str, fill: Any, base: Any, theirs: Any, ours: Any, merged: Any
) -> None:
    def of(values: Any) -> Any:
        return np.array(values, dtype)

    array(repo, of(base), dtype=dtype, fill_value=fill)
    root = race(repo, setting("x", of(theirs)), setting("x", of(ours)), "keep-non-missing")
    np.testing.assert_array_equal(root["x"][:], of(merged))


def test_an_element_that_both_set_differently_fails_or_takes_ours(repo: icechunk.Repository) -> None:
    array(repo, [-1, -1, -1, -1], dtype="i4", fill_value=-1)
    theirs, ours = setting("x", [5, 1, 2, -1]), setting("x", [5, -1, 3, 4])
    reason = failure_of(repo, theirs, ours, KeepNonMissing())
    assert "chunk [0]: 1 elements" in reason
    assert "[2] of the chunk: ours is 3, theirs 2" in reason
    # Now the base is theirs: 5 is what we left, 7 what we miss, 8 what we have changed as well.
    root = race(repo, setting("x", [6, 7, 8, -1]), ours, KeepNonMissing(otherwise="ours"))
    assert root["x"][:].tolist() == [6, 7, 3, 4]
    with pytest.raises(ValueError, match="otherwise"):
        KeepNonMissing(otherwise="theirs")


def test_edges_shards_and_arrays_without_dimensions_are_merged_too(repo: icechunk.Repository) -> None:
    array(repo, np.full((3, 5), 0), dtype="i4", fill_value=0, chunks=(2, 2), shards=(2, 4))
    theirs = np.array([[1, 0, 0, 0, 1]] * 3)
    ours = setting("x", 7, (slice(1, 3), slice(1, 4)))
    root = race(repo, setting("x", theirs), ours, KeepNonMissing())
    assert root["x"][:].tolist() == [[1, 0, 0, 0, 1], [1, 7, 7, 7, 1], [1, 7, 7, 7, 1]]
    repo2 = icechunk.Repository.create(icechunk.in_memory_storage())
    with repo2.transaction("main", message="x") as store:
        zarr.create_group(store).create_array("x", shape=(), dtype="f4", fill_value=NAN)[...] = 1
    root = race(repo2, setting("x", 2.0, ...), setting("x", NAN, ...), KeepNonMissing())
    assert root["x"][()] == 2.0


def test_a_deleted_chunk_is_missing(repo: icechunk.Repository) -> None:
    def deleting(root: zarr.Group) -> None:
        asyncio.run(root.store.delete("a/c/1"))

    assert race(repo, setting("a", 9), deleting, KeepNonMissing())["a"][2] == 9
    assert race(repo, deleting, setting("a", 8), KeepNonMissing())["a"][2] == 8


def test_documents_cannot_be_merged_element_by_element(repo: icechunk.Repository) -> None:
    def naming(root: zarr.Group) -> None:
        root["a"].attrs["name"] = "x"

    assert "only chunks" in failure_of(repo, naming, naming, "keep-non-missing")


# -- combining appends -------------------------------------------------------------------------------------


def appending(path: str, values: Any, axis: int = 0) -> Change:
    def change(root: zarr.Group) -> None:
        root[path].append(np.asarray(values), axis=axis)

    return change


def both(*changes: Change) -> Change:
    def change(root: zarr.Group) -> None:
        for each in changes:
            each(root)

    return change


def test_ours_comes_behind_theirs(repo: icechunk.Repository) -> None:
    root = race(repo, appending("a", [10, 11, 12, 13]), appending("a", [20, 21, 22]), "combine-appends")
    assert root["a"][:].tolist() == [*range(8), 10, 11, 12, 13, 20, 21, 22]


def test_several_appends_and_a_change_before_are_combined_one_by_one(repo: icechunk.Repository) -> None:
    session = repo.writable_session("main")
    root = zarr.open_group(session.store, mode="r+")
    root["a"].append(np.array([30, 31]))
    root["a"][0:2] = 5
    for first in (10, 20):
        other = repo.writable_session("main")
        zarr.open_group(other.store, mode="r+")["a"].append(np.arange(first, first + 4))
        other.commit("theirs")
    session.rebase("combine-appends")
    status = session.status()
    assert status.updated_chunks == {"/a": [[0], [8]]}
    session.commit("ours")
    root = zarr.open_group(repo.readonly_session("main").store, mode="r")
    assert root["a"][:].tolist() == [5, 5, *range(2, 8), 10, 11, 12, 13, 20, 21, 22, 23, 30, 31]


def test_shards_move_as_a_whole_along_any_axis(repo: icechunk.Repository) -> None:
    base = np.arange(24).reshape(3, 8)
    array(repo, base, dtype="i4", chunks=(1, 2), shards=(2, 4))
    theirs, ours = np.full((3, 8), 100), np.arange(15).reshape(3, 5) + 200
    root = race(repo, appending("x", theirs, 1), appending("x", ours, 1), "combine-appends")
    np.testing.assert_array_equal(root["x"][:], np.concatenate([base, theirs, ours], axis=1))


@pytest.mark.parametrize(
    ("length", "theirs", "reason"),
    [(8, 2, "their length 10 "), (6, 2, "the old length 6 ")],
)
def test_chunks_must_end_where_the_append_begins(
    repo: icechunk.Repository, length: int, theirs: int, reason: str
) -> None:
    array(repo, np.arange(length), dtype="i4", chunks=(2,), shards=(4,))
    found = failure_of(repo, appending("x", [1] * theirs), appending("x", [2, 2]), "combine-appends")
    assert reason in found
    assert "no multiple of the chunk length 4" in found


def group_of_series(root: zarr.Group) -> None:
    group = root.create_group("series")
    for name in ("time", "wind", "rain"):
        group.create_array(name, data=np.arange(4), chunks=2, dimension_names=["time"])
    group.create_array("places", data=np.arange(2), chunks=2, dimension_names=["place"])
    # It has the dimension, and nobody appends to it.
    group.create_array("bounds", data=np.arange(4), chunks=2, dimension_names=["time"])


def appending_to(names: str, values: list[int]) -> Change:
    return both(*(appending(f"series/{name}", values) for name in names.split()))


def test_all_arrays_along_a_dimension_are_combined_together(repo: icechunk.Repository) -> None:
    with repo.transaction("main", message="series") as store:
        group_of_series(zarr.open_group(store, mode="r+"))
    root = race(
        repo, appending_to("time wind rain", [10, 11]), appending_to("time wind rain", [20]), CombineAppends()
    )
    for name in ("time", "wind", "rain"):
        assert root["series"][name][:].tolist() == [0, 1, 2, 3, 10, 11, 20]
    assert root["series/bounds"].shape == (4,)


@pytest.mark.parametrize(
    ("theirs", "ours"),
    [
        (appending_to("time wind", [1, 1]), appending_to("time wind rain", [1, 1])),
        (appending_to("time wind rain", [1, 1]), appending_to("time wind", [1, 1])),
        (appending_to("time", [1, 1]), both(appending_to("time", [2, 2]), appending_to("wind", [2, 2, 3]))),
        (both(appending_to("time", [1, 1]), appending_to("wind", [1, 1, 1, 1])), appending_to("time wind", [2])),
    ],
    ids=["we append to more", "they append to more", "they to fewer, by less", "they by different lengths"],
)  # fmt: skip
def test_arrays_that_have_not_grown_alike_are_not_combined(
    repo: icechunk.Repository, theirs: Change, ours: Change
) -> None:
    with repo.transaction("main", message="series") as store:
        group_of_series(zarr.open_group(store, mode="r+"))
    assert "has not grown along time as this array has" in failure_of(repo, theirs, ours, CombineAppends())


def test_an_array_that_is_new_along_the_dimension_is_in_the_way(repo: icechunk.Repository) -> None:
    with repo.transaction("main", message="series") as store:
        group_of_series(zarr.open_group(store, mode="r+"))

    def adding(root: zarr.Group) -> None:
        root["series"].create_array("snow", data=np.arange(6), chunks=2, dimension_names=["time"])
        appending_to("time wind rain", [1, 2])(root)

    append = appending_to("time wind rain", [3, 4])
    for theirs, ours in ((adding, append), (append, adding)):
        assert "/series/snow, which also has the dimension time" in failure_of(
            repo, theirs, ours, CombineAppends()
        )
        repo.reset_branch("main", list(repo.ancestry(branch="main"))[1].id)


def changing(**fields: Any) -> Change:
    def change(root: zarr.Group) -> None:
        root["a"].attrs.update(fields)
        appending("a", [1, 2])(root)

    return change


def test_everything_else_must_be_equal(repo: icechunk.Repository) -> None:
    reason = failure_of(repo, changing(units="K"), changing(units="m"), CombineAppends())
    assert "differ in attributes" in reason
    repo.reset_branch("main", list(repo.ancestry(branch="main"))[1].id)
    root = race(repo, changing(units="K"), changing(units="K"), CombineAppends())
    assert root["a"].shape == (12,)
    assert root["a"].attrs["units"] == "K"


@pytest.mark.parametrize(
    ("theirs", "ours", "reason"),
    [
        (lambda root: root["a"].resize((4,)), appending("a", [1, 2]), "only appends can be combined"),
        (appending("a", [1, 2]), lambda root: root["a"].resize((4,)), "only appends can be combined"),
        (setting("b", 1), setting("b", 2), "written this chunk, differently"),
        (lambda root: root.create_array("n", shape=1, dtype="i4"), lambda root: root.create_array("n", shape=2, dtype="i4"), "no append"),
        (lambda root: root["a"].attrs.put({"x": 1}), lambda root: root["a"].attrs.put({"x": 2}), "nothing was appended"),
        (setting("a", 1), lambda root: root["a"].resize((4,)), "shrunk"),
        (lambda root: root["a"].resize((4,)), setting("a", 1), "shrunk"),
    ],
    ids=["they shrink", "we shrink", "chunks", "new nodes", "documents", "shrunk over chunks", "chunks of the shrunk"],
)  # fmt: skip
def test_what_is_no_append_fails_with_the_reason(
    repo: icechunk.Repository, theirs: Change, ours: Change, reason: str
) -> None:
    assert reason in failure_of(repo, theirs, ours, CombineAppends())


def test_one_side_appends_and_the_other_writes_before_that(repo: icechunk.Repository) -> None:
    root = race(repo, appending("a", [10, 11]), setting("a", [5, 5], slice(2, 4)), CombineAppends())
    assert root["a"][:].tolist() == [0, 1, 5, 5, 4, 5, 6, 7, 10, 11]
    root = race(repo, setting("a", [6, 6], slice(0, 2)), appending("a", [12, 13]), CombineAppends())
    assert root["a"][:].tolist() == [6, 6, 5, 5, 4, 5, 6, 7, 10, 11, 12, 13]


def test_no_chunk_is_read_or_written_to_combine() -> None:
    storage = FaultInjectingStorage(icechunk.in_memory_storage())
    config = icechunk.RepositoryConfig(inline_chunk_threshold_bytes=0)
    repo = icechunk.Repository.create(storage, config=config)
    with repo.transaction("main", message="base") as store:
        zarr.create_group(store).create_array("a", data=np.arange(8), chunks=2)
    session, other = repo.writable_session("main"), repo.writable_session("main")
    zarr.open_group(session.store, mode="r+")["a"].append(np.array([20, 21, 22, 23]))
    zarr.open_group(other.store, mode="r+")["a"].append(np.array([10, 11]))
    other.commit("theirs")
    storage.faults.forget()
    session.commit("ours", rebase_with="combine-appends")
    assert storage.faults.count(path="chunks/*") == 0
    root = zarr.open_group(repo.readonly_session("main").store, mode="r")
    assert root["a"][:].tolist() == [*range(8), 10, 11, 20, 21, 22, 23]


# -- names, and several as one -----------------------------------------------------------------------------


def test_solvers_have_names() -> None:
    assert repr(solver("detector")) == "icechunk.ConflictDetector()"
    theirs = solver("basic", on_chunk_conflict=VersionSelection.UseTheirs)
    assert repr(theirs) == (
        "icechunk.BasicConflictSolver(on_chunk_conflict=VersionSelection.UseTheirs, "
        "fail_on_delete_of_updated_array=False, fail_on_delete_of_updated_group=False)"
    )
    assert (
        repr(solver("keep-non-missing", otherwise="ours"))
        == "icechunk.conflicts.KeepNonMissing(otherwise='ours')"
    )
    assert isinstance(solver("combine-appends"), CombineAppends)
    with pytest.raises(TypeError):
        solver("detector", mood="good")
    with pytest.raises(icechunk.errors.PluginError, match="combine-appends"):
        solver("combine-apends")


def test_the_first_that_does_not_fail_counts(repo: icechunk.Repository) -> None:
    array(repo, [0, 0, 0, 0], dtype="i4", fill_value=0, chunks=(4,))
    theirs = both(setting("x", [1, 0, 2, 0]), appending("a", [10, 11]))
    ours = both(setting("x", [0, 3, 4, 0]), appending("a", [20, 21]))
    reason = failure_of(repo, theirs, ours, FirstOf("combine-appends", "keep-non-missing"))
    assert "differently; 1 elements" in reason
    repo.reset_branch("main", list(repo.ancestry(branch="main"))[1].id)
    root = race(repo, theirs, ours, FirstOf(CombineAppends(), "keep-non-missing", BasicConflictSolver()))
    assert root["x"][:].tolist() == [0, 3, 4, 0]
    assert root["a"][8:].tolist() == [10, 11, 20, 21]
    for nonsense in ((), (3,)):
        with pytest.raises(TypeError):
            FirstOf(*nonsense)


def test_the_options_of_the_basic_solver_are_checked() -> None:
    for options in (
        {"on_chunk_conflict": 1},
        {"fail_on_delete_of_updated_array": 1},
        {"fail_on_delete_of_updated_group": None},
    ):
        with pytest.raises(TypeError):
            BasicConflictSolver(**options)
    with pytest.raises(TypeError):
        ConflictSolver()
    assert issubclass(ConflictDetector, icechunk.ConflictSolver)


def test_the_signature_of_the_basic_solver_is_the_one_of_the_reference() -> None:
    parameters = inspect.signature(BasicConflictSolver).parameters.values()
    assert [(each.name, each.kind.name, each.default) for each in parameters] == [
        ("on_chunk_conflict", "KEYWORD_ONLY", ...),
        ("fail_on_delete_of_updated_array", "KEYWORD_ONLY", False),
        ("fail_on_delete_of_updated_group", "KEYWORD_ONLY", False),
    ]

    class Another(BasicConflictSolver):
        def __init__(self, mood: str) -> None:
            super().__init__()

    assert list(inspect.signature(Another).parameters) == ["mood"]

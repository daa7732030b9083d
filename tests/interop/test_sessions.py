"""Amend, flush, move, fork, merge and the other operations of sessions do what they do in the reference."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

import icechunk
from tests.interop import fork_programs, session_programs
from tests.interop.programs import without_identity
from tests.interop.reference import Side

SidesByName = Callable[[str], Side]

spec_versions = pytest.mark.parametrize("spec_version", [1, 2])

ERRORS = {name for name in dir(icechunk) if name.endswith("Error")}

# Where we differ on purpose (docs/adr/0001): what we do, and what the reference does.
DIFFERENCES: dict[tuple[str, str], tuple[Any, Any]] = {
    # It loses the nodes below; we refuse.
    ("moves_over_missing_groups", "/a to /x"): (
        ["AlreadyExistsError", "move-wont-overwrite", "session error: move cannot overwrite exi"],
        ["ok", None],
    ),
    ("moves_over_missing_groups", "/a to /x: nodes"): (
        ["/", "/a", "/g", "/g/b", "/g/h", "/k", "/x/q", "/x/y", "/x/y/y"],
        ["/", "/g", "/g/b", "/g/h", "/k", "/x"],
    ),
    ("moves_over_missing_groups", "/x/y to /x"): (
        ["AlreadyExistsError", "move-wont-overwrite", "session error: move cannot overwrite exi"],
        ["ok", None],
    ),
    ("moves_over_missing_groups", "/x/y to /x: nodes"): (
        ["/", "/a", "/g", "/g/b", "/g/h", "/k", "/x/q", "/x/y", "/x/y/y"],
        ["/", "/a", "/g", "/g/b", "/g/h", "/k", "/x", "/x/y"],
    ),
}


def compare(reference: Side, program: str, *args: Any) -> None:
    ours = getattr(session_programs, program)(*args)
    theirs = reference.call(f"session_programs:{program}", *args)
    assert ours.keys() == theirs.keys()
    for step, outcome in ours.items():
        expected = DIFFERENCES.get((program, step))
        if expected is None:
            assert agree(outcome, theirs[step]), (step, outcome, theirs[step])
        else:
            assert sorted_nodes(outcome) == sorted_nodes(expected[0]), step
            assert sorted_nodes(theirs[step]) == sorted_nodes(expected[1]), step


def agree(ours: Any, theirs: Any) -> bool:
    """Whether both are the same: of messages, as far as the shorter one goes."""
    if isinstance(ours, list) and len(ours) == 3 and str(ours[0]) in ERRORS:
        return ours[:2] == theirs[:2] and (ours[2].startswith(theirs[2]) or theirs[2].startswith(ours[2]))
    return bool(sorted_nodes(ours) == sorted_nodes(theirs))


def sorted_nodes(outcome: Any) -> Any:
    """Lists of paths come in the order of keys, and that is not promised."""
    if isinstance(outcome, list):
        if outcome and all(isinstance(item, str) and item.startswith("/") for item in outcome):
            return sorted(outcome)
        return [sorted_nodes(item) for item in outcome]
    return outcome


@spec_versions
@pytest.mark.parametrize("program", ["amend", "flush", "default_metadata", "moves"])
def test_sessions_allow_and_refuse_the_same(reference: Side, program: str, spec_version: int) -> None:
    compare(reference, program, spec_version)


def test_nothing_is_lost_when_a_node_is_moved_to_where_a_group_is_missing(reference: Side) -> None:
    compare(reference, "moves_over_missing_groups")


@pytest.mark.parametrize(
    ("writer", "reader"),
    [("ours", "reference"), ("reference", "ours")],
    ids=["ours-first", "reference-first"],
)
def test_the_other_side_goes_on_with_amends_and_moves(
    reference: Side, ours: Side, side: SidesByName, writer: str, reader: str, tmp_path: Path
) -> None:
    path = str(tmp_path)
    _call(side(writer), "write_amended_and_moved", path)
    for number, name in enumerate([reader, writer, reader]):
        _call(side(name), "go_on", path, f"{name}-{number}")
        assert ours.call("describe", path) == reference.call("describe", path)


def test_both_write_the_same_history(reference: Side, ours: Side, tmp_path: Path) -> None:
    found = []
    for side in (ours, reference):
        path = str(tmp_path / side.name)
        _call(side, "write_amended_and_moved", path)
        _call(side, "go_on", path, "the-program")
        found.append(
            (
                without_identity(reference.call("describe", path)),
                reference.call("session_programs:logs", path),
                reference.call("session_programs:logs", path, "main"),
            )
        )
    assert found[0] == found[1]


def _call(side: Side, program: str, *args: Any) -> Any:
    if side.name == "ours":
        return getattr(session_programs, program)(*args)
    return side.call(f"session_programs:{program}", *args)


# --- forks

MERGE_FAILED = "session error: failed to merge sessions: "
TWO_NODES_AT_ONE_PATH = {
    "a group and an array": f"{MERGE_FAILED}Multiple writers created the same arrays: /n",
    "an array and a group": f"{MERGE_FAILED}Multiple writers created the same groups: /n",
}


@pytest.mark.parametrize("name", fork_programs.PAIRS)
def test_two_writers_fit_together_or_do_not(reference: Side, name: str) -> None:
    ours = fork_programs.merge_pair(name, 2)
    theirs = reference.call("fork_programs:merge_pair", name, 2)
    if name in TWO_NODES_AT_ONE_PATH:
        # The reference writes a snapshot with two nodes at one path; we refuse (docs/adr/0001).
        for step in ("two forks: merge", "a session and a fork: merge"):
            assert ours[step] == ["SessionStateError", "merge-failed", TWO_NODES_AT_ONE_PATH[name]]
            assert theirs[step] == ["ok", None]
        assert theirs["two forks: nodes"].count("/n") == 2
        return
    for step, outcome in ours.items():
        assert in_order(outcome) == in_order(theirs[step]), step


def in_order(outcome: Any) -> Any:
    """The names in the message of a merge come in no order there."""
    if isinstance(outcome, list) and outcome and outcome[0] == "SessionStateError":
        problem, _, names = outcome[2].rpartition(": ")
        return [*outcome[:2], problem, sorted(names.split(", "))]
    return sorted_nodes(outcome)


# What the reference loses: updates of nodes that the session had created before the fork.
LOST = {
    "attributes of a new array",
    "attributes of a new array, twice",
    "a new group updated",
    "made anew and updated",
}


@pytest.mark.parametrize("name", fork_programs.AFTER)
def test_forks_build_on_what_their_session_did(reference: Side, name: str) -> None:
    ours = fork_programs.merge_after(name, 2)
    theirs = reference.call("fork_programs:merge_after", name, 2)
    for step, outcome in ours.items():
        if step == "attributes" and name in LOST:
            path = "/a" if name == "made anew and updated" else "/n"
            assert outcome[path] != {}
            assert theirs[step][path] == {}
        else:
            assert agree(outcome, theirs[step]), (step, outcome, theirs[step])


@spec_versions
def test_forks_do_what_they_do_in_the_reference(reference: Side, spec_version: int, tmp_path: Path) -> None:
    ours = fork_programs.forks(str(tmp_path / "ours"), spec_version)
    theirs = reference.call("fork_programs:forks", str(tmp_path / "reference"), spec_version)
    assert ours.keys() == theirs.keys()
    for step, outcome in ours.items():
        assert agree(outcome, theirs[step]), (step, outcome, theirs[step])


def test_forks_of_another_snapshot_lose_nothing(reference: Side) -> None:
    ours = fork_programs.merge_into_another_snapshot(2)
    theirs = reference.call("fork_programs:merge_into_another_snapshot", 2)
    refused = {"chunks of a deleted array", "attributes of a deleted array", "created as well"}
    for step, outcome in ours.items():
        name, _, what = step.partition(": ")
        if name not in refused:
            assert agree(outcome, theirs[step]), (step, outcome, theirs[step])
        elif what == "merge":
            # The reference drops what it cannot place, or writes two nodes at one path (docs/adr/0001).
            assert outcome[:2] == ["SessionStateError", "merge-failed"]
            assert theirs[step] == ["ok", None]
    assert theirs["created as well: nodes"].count("/n") == 2


@spec_versions
@pytest.mark.parametrize("program", ["renumbering", "questions"])
def test_chunks_are_renumbered_and_found_alike(reference: Side, program: str, spec_version: int) -> None:
    ours = getattr(fork_programs, program)(spec_version)
    theirs = reference.call(f"fork_programs:{program}", spec_version)
    assert ours.keys() == theirs.keys()
    for step, outcome in ours.items():
        if step == "reindex two dimensions":
            # It writes chunks that nobody can reach; we refuse (docs/adr/0001).
            assert outcome[:2] == ["InvalidInputError", "invalid-chunk-index"]
            assert theirs[step] == ["ok", None]
        elif step != "reindex two dimensions: chunks":
            assert agree(outcome, theirs[step]), (step, outcome, theirs[step])

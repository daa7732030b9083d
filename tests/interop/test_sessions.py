"""Amend, flush, move, fork, merge and the other operations of sessions do what they do in the reference."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

import icechunk
from tests.interop import session_programs
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

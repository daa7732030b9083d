"""Diffs, the ops log, metadata, status and flags: one program, run with both, gives one result."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from tests.interop.reference import Side

SidesByName = Callable[[str], Side]

spec_versions = pytest.mark.parametrize("spec_version", [2, 1], ids=["spec 2", "spec 1"])


@spec_versions
@pytest.mark.parametrize("program", ["diffs", "state", "resets"])
def test_both_answer_alike(
    ours: Side, reference: Side, program: str, spec_version: int, tmp_path: Path
) -> None:
    answers = [
        side.call(f"history_programs:{program}", str(tmp_path / side.name), spec_version)
        for side in (ours, reference)
    ]
    assert answers[0] == answers[1]


def test_both_tell_alike_what_moves_have_changed(ours: Side, reference: Side, tmp_path: Path) -> None:
    answers = [
        side.call("history_programs:diffs_of_moves", str(tmp_path / side.name)) for side in (ours, reference)
    ]
    assert answers[0] == answers[1]


def test_both_refuse_the_same_while_the_status_is_read_only(
    ours: Side, reference: Side, tmp_path: Path
) -> None:
    answers = [
        side.call("history_programs:refused_while_read_only", str(tmp_path / side.name))
        for side in (ours, reference)
    ]
    assert answers[0] == answers[1]


@pytest.mark.parametrize("updates_per_file", [1, 3, 7, 1000])
@pytest.mark.parametrize("writer", ["ours", "reference"])
def test_both_show_the_log_that_either_wrote(
    side: SidesByName, ours: Side, reference: Side, writer: str, updates_per_file: int, tmp_path: Path
) -> None:
    path = str(tmp_path)
    written = side(writer).call("history_programs:long_ops_log", path, updates_per_file)
    assert len(written) == 44
    for reader in (ours, reference):
        assert reader.call("history_programs:describe_ops_log", path) == written

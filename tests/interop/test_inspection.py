"""What each metadata file is reported to hold: both say the same, to the letter."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from tests.interop.conftest import golden_names
from tests.interop.reference import Side


def same_reports(ours: Side, reference: Side, path: str) -> int:
    found, expected = (side.call("history_programs:inspect_everything", path) for side in (ours, reference))
    assert found.keys() == expected.keys()
    for name, report in expected.items():
        assert found[name] == report, name
    return len(found)


@pytest.mark.parametrize("name", golden_names())
def test_of_files_that_other_versions_wrote(
    ours: Side, reference: Side, unpack_golden: Callable[[str], str], name: str
) -> None:
    assert same_reports(ours, reference, unpack_golden(name)) > 10


@pytest.mark.parametrize("spec_version", [2, 1], ids=["spec 2", "spec 1"])
def test_of_files_that_we_wrote(ours: Side, reference: Side, spec_version: int, tmp_path: Path) -> None:
    path = str(tmp_path)
    ours.call("write_everything", path, spec_version)
    ours.call("continue_history", path, "us")
    if spec_version == 2:
        ours.call("add_rectilinear", path)
    assert same_reports(ours, reference, path) > 20


def test_of_a_log_in_pages_and_of_every_state(ours: Side, reference: Side, tmp_path: Path) -> None:
    for program, argument in [("long_ops_log", 5), ("state", 2), ("resets", 2)]:
        path = str(tmp_path / program)
        ours.call(f"history_programs:{program}", path, argument)
        assert same_reports(ours, reference, path) > 5

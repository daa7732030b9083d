"""How repositories look: `str`, `repr`, graphs, diffs and lists of one repository, with both."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from tests.interop.conftest import golden_names
from tests.interop.reference import Side


def look_alike(ours: Side, reference: Side, path: str) -> None:
    found, expected = (side.call("history_programs:appearance", path) for side in (ours, reference))
    assert found.keys() == expected.keys()
    for name, look in expected.items():
        assert found[name] == look, name


@pytest.mark.parametrize("name", golden_names())
def test_repositories_that_other_versions_wrote_look_alike(
    ours: Side, reference: Side, unpack_golden: Callable[[str], str], name: str
) -> None:
    look_alike(ours, reference, unpack_golden(name))


@pytest.mark.parametrize("spec_version", [2, 1], ids=["spec 2", "spec 1"])
@pytest.mark.parametrize("writer", ["ours", "reference"])
def test_repositories_that_either_wrote_look_alike(
    side: Callable[[str], Side],
    ours: Side,
    reference: Side,
    writer: str,
    spec_version: int,
    tmp_path: Path,
) -> None:
    path = str(tmp_path)
    side(writer).call("write_everything", path, spec_version)
    side("ours").call("continue_history", path, "us")
    side("reference").call("continue_history", path, "them")
    look_alike(ours, reference, path)


@pytest.mark.parametrize("seed", range(6))
def test_histories_of_random_shape_look_alike(ours: Side, reference: Side, seed: int, tmp_path: Path) -> None:
    path = str(tmp_path)
    reference.call("history_programs:random_history", path, 1 + seed % 2, seed)
    look_alike(ours, reference, path)

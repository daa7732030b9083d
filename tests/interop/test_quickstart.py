"""The reference opens, reads and continues what the quickstart makes."""

from __future__ import annotations

import runpy
from pathlib import Path

import icechunk
from tests.interop.reference import Side
from tests.interop.test_xarray import _plugin  # noqa: F401  (a fixture)

QUICKSTART = Path(__file__).parents[2] / "examples" / "quickstart" / "quickstart.py"


def test_the_reference_reads_and_continues_the_quickstart(
    ours: Side, reference: Side, tmp_path: Path
) -> None:
    path = str(tmp_path / "winds")
    runpy.run_path(str(QUICKSTART))["tell_the_story"](icechunk.local_filesystem_storage(path))
    seen = ours.call("describe", path)
    assert reference.call("describe", path) == seen
    assert len(seen["ancestry"]["branch main"]) == 7
    reference.call("continue_history", path, "the-reference")
    assert ours.call("describe", path) == reference.call("describe", path)

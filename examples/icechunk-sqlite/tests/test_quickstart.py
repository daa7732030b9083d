"""The project's quickstart, in one SQLite file instead of a folder."""

from __future__ import annotations

import runpy
from pathlib import Path

import pytest
from icechunk_sqlite import sqlite_storage

pytest.importorskip("icechunk_xarray")

QUICKSTART = Path(__file__).parents[2] / "quickstart" / "quickstart.py"


def test_the_quickstart_runs_in_one_file(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    quickstart = runpy.run_path(str(QUICKSTART))
    storage = sqlite_storage(tmp_path / "winds.db")
    repo = quickstart["tell_the_story"](storage)
    quickstart["show_files"](storage)
    assert "The history of main:" in capsys.readouterr().out
    assert quickstart["read"](repo, tag="v1").load().identical(quickstart["load_winds"]())

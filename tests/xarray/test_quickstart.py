"""The quickstart tells its story, and keeps its hands off what is there."""

from __future__ import annotations

import os
import runpy
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import icechunk

FOLDER = Path(__file__).parents[2] / "examples" / "quickstart"


@pytest.fixture(scope="module")
def quickstart() -> dict[str, Any]:
    return runpy.run_path(str(FOLDER / "quickstart.py"))


def test_the_story_ends_with_the_history(
    quickstart: dict[str, Any], capsys: pytest.CaptureFixture[str]
) -> None:
    repo = quickstart["tell_the_story"](icechunk.in_memory_storage())
    told = capsys.readouterr().out
    messages = [info.message for info in repo.ancestry(branch="main")]
    assert messages == [
        "Stamp each month with its middle, the source's stamps drift",
        *(f"Add the winds of {year}" for year in (1986, 1985, 1984, 1983, 1982)),
        "Repository initialized",
    ]
    history = told.partition("The history of main:\n")[2]
    assert [line.split("  ")[4].partition("   <-")[0] for line in history.splitlines()] == messages
    assert "1982   0.2   El Niño" in told
    assert "What differs between the two: time\n" in told


def test_the_repository_holds_the_winds(quickstart: dict[str, Any]) -> None:
    repo = quickstart["tell_the_story"](icechunk.in_memory_storage())
    winds = quickstart["load_winds"]()
    kept = quickstart["read"](repo, tag="v1").load()
    assert kept.identical(winds)
    corrected = quickstart["read"](repo, branch="main").load()
    assert corrected.drop_vars("time").identical(winds.drop_vars("time"))
    assert str(corrected.time.values[1]).startswith("1982-02-15T00:00")
    assert repo.list_tags() == {"v1", "v2"}
    assert repo.list_branches() == {"main"}


def test_it_lists_the_files_and_leaves_what_is_there_alone(
    quickstart: dict[str, Any],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setattr(sys, "argv", ["quickstart.py", str(tmp_path / "repo")])
    assert quickstart["main"]() == 0
    last = capsys.readouterr().out.partition("The files are in")[2].split()
    assert {"chunks/", "manifests/", "repo", "snapshots/", "transactions/"} <= set(last)
    before = sorted(tmp_path.rglob("*"))
    assert quickstart["main"]() == 1
    assert "is already there" in capsys.readouterr().err
    assert sorted(tmp_path.rglob("*")) == before


def test_the_data_is_small_and_says_where_it_is_from() -> None:
    assert (FOLDER / "winds.npz").stat().st_size < 1_000_000
    readme = (FOLDER / "README.md").read_text(encoding="utf-8")
    assert "monthly_navy_winds.nc" in readme
    assert "public domain" in " ".join(readme.split())
    with np.load(FOLDER / "winds.npz") as file:
        assert file["uwnd"].shape == (60, 25, 65)


def test_it_runs_as_a_program_without_a_warning(tmp_path: Path) -> None:
    # Where our distributions are on the path without their metadata, the plugin has to be registered.
    program = (
        "import sys, runpy\n"
        "from icechunk.plugins import registry\n"
        "from icechunk_xarray import plugin\n"
        "if 'xarray' not in registry.report(): registry.register(plugin, 'xarray')\n"
        f"sys.argv = ['quickstart.py', {str(tmp_path / 'repo')!r}]\n"
        f"runpy.run_path({str(FOLDER / 'quickstart.py')!r}, run_name='__main__')\n"
    )
    path = os.pathsep.join(p for p in sys.path if p)
    environment = {**os.environ, "PYTHONPATH": path, "PYTHONIOENCODING": "utf-8"}
    done = subprocess.run(
        [sys.executable, "-c", program], env=environment, capture_output=True, encoding="utf-8", check=False
    )
    assert (done.returncode, done.stderr) == (0, "")
    assert "The history of main:" in done.stdout

"""What the README shows is true: its programs run, its links lead somewhere."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import xarray as xr

import icechunk

ROOT = Path(__file__).parents[2]
PAGES = [
    "README.md",
    "ARCHITECTURE.md",
    "CONTRIBUTING.md",
    "benchmarks/README.md",
    "examples/quickstart/README.md",
]


def programs() -> list[str]:
    return re.findall(r"```python\n(.*?)```", (ROOT / "README.md").read_text(encoding="utf-8"), re.DOTALL)


def test_the_short_tour_runs(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    first, second, third = programs()[:3]
    names: dict[str, Any] = {}
    exec(first, names)
    told = capsys.readouterr().out.splitlines()
    assert [line.split()[-1] for line in told] == ["February", "January", "initialized"]

    repo = icechunk.Repository.create(icechunk.in_memory_storage())
    month = xr.Dataset({"wind": (("time", "x"), np.ones((1, 3)))}, coords={"time": [0]})
    session = repo.writable_session("main")
    month.to_zarr(session.store, consolidated=False)
    session.commit("the first month")
    exec(second, {"repo": repo, "dataset": month.assign_coords(time=[1])})
    kept = xr.open_zarr(repo.readonly_session("main").store, consolidated=False)
    assert kept.sizes == {"time": 2, "x": 3}

    exec(third, names)
    told = capsys.readouterr().out.splitlines()
    assert [line.split()[-1] for line in told if "NewCommit(" in line] == [
        f'new_snap_id="{info.id}")' for info in names["repo"].ancestry(branch="main") if info.parent_id
    ]
    with pytest.raises(icechunk.ReadOnlyError, match="moving house"):
        names["repo"].writable_session("main")


def test_the_plugin_that_is_shown_could_be_one() -> None:
    names: dict[str, object] = {"connect": print, "location_from_url": print}
    exec(programs()[3], names)
    assert names["icechunk_storage_providers"]()[0].kind == "sqlite"  # type: ignore[operator]


@pytest.mark.parametrize("page", PAGES)
def test_links_lead_somewhere(page: str) -> None:
    text = (ROOT / page).read_text(encoding="utf-8")
    for target in re.findall(r"\]\(([^)#]+)\)", text):
        if not target.startswith("http"):
            assert ((ROOT / page).parent / target).exists(), target

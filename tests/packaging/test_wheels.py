"""What is in the wheels and the source archives, and that versions go in lock step."""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
import zipfile
from email.parser import Parser
from pathlib import Path

import pytest

from tests.packaging.conftest import ROOT, distributions

each_distribution = pytest.mark.parametrize("folder", distributions(), ids=lambda folder: folder.name)


def open_wheel(wheels: Path, folder: Path) -> zipfile.ZipFile:
    (wheel,) = wheels.glob(f"{folder.name.replace('-', '_')}-*.whl")
    return zipfile.ZipFile(wheel)


@each_distribution
def test_a_wheel_holds_its_package_with_types_and_licence_and_no_strays(wheels: Path, folder: Path) -> None:
    (package,) = (path for path in (folder / "src").glob("icechunk*") if path.is_dir())
    with open_wheel(wheels, folder) as wheel:
        names = wheel.namelist()
    assert f"{package.name}/py.typed" in names
    assert any(name.endswith(".dist-info/licenses/LICENSE") for name in names)
    tracked = {
        path.relative_to(folder / "src").as_posix()
        for path in package.rglob("*")
        if path.is_file() and not any(part.startswith((".", "__pycache__")) for part in path.parts)
    }
    assert {name for name in names if ".dist-info/" not in name} == tracked
    strays = [name for name in tracked if not re.fullmatch(r"[\w/]+\.(py|typed|css)|[\w/]+/py\.typed", name)]
    assert not strays


@each_distribution
def test_every_package_folder_has_an_init(wheels: Path, folder: Path) -> None:
    # Without it a folder is a namespace, which another distribution could add to.
    with open_wheel(wheels, folder) as wheel:
        names = set(wheel.namelist())
    parents = {name.rpartition("/")[0] for name in names if name.endswith(".py")}
    assert {parent for parent in parents if f"{parent}/__init__.py" not in names} == set()


def test_all_wheels_have_one_version_and_pin_each_other_to_it(wheels: Path) -> None:
    versions = set()
    for folder in distributions():
        with open_wheel(wheels, folder) as wheel:
            (name,) = (name for name in wheel.namelist() if name.endswith(".dist-info/METADATA"))
            metadata = Parser().parsestr(wheel.read(name).decode())
        versions.add(metadata["Version"])
        for requirement in metadata.get_all("Requires-Dist", []):
            if requirement.startswith("icechunk"):
                pinned = re.match(r"[\w-]+(?:\[[\w,]+\])?==([^;\s]+)", requirement)
                assert pinned is not None, requirement
                versions.add(pinned[1])
    assert len(versions) == 1, versions


def test_the_release_tool_moves_every_version_at_once(tmp_path: Path) -> None:
    copy = tmp_path / "copy"
    for folder in distributions():
        for relative in ("pyproject.toml", "src/icechunk/_version.py"):
            if (folder / relative).is_file():
                (copy / folder.name / relative).parent.mkdir(parents=True, exist_ok=True)
                shutil.copy(folder / relative, copy / folder.name / relative)
    (copy / "tools").mkdir()
    tool = shutil.copy(ROOT / "tools" / "release.py", copy / "tools" / "release.py")

    def release(*arguments: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run([sys.executable, tool, *arguments], capture_output=True, text=True, check=False)

    assert release("bump", "12.34.5").returncode == 0
    assert release("check").stdout.strip() == "12.34.5"
    assert "12.34.5" in (copy / "icechunk-xarray" / "pyproject.toml").read_text()

    project = copy / "icechunk-xarray" / "pyproject.toml"
    project.write_text(project.read_text().replace("icechunk-core==12.34.5", "icechunk-core==12.34.4"))
    assert release("check").returncode != 0
    project.write_text(project.read_text().replace("icechunk-core==12.34.4", "icechunk-core>=12"))
    refused = release("check")
    assert refused.returncode != 0
    assert "has to be pinned" in refused.stderr


@each_distribution
def test_each_distribution_carries_the_licence_of_the_project(folder: Path) -> None:
    assert (folder / "LICENSE").read_text() == (ROOT / "LICENSE").read_text()

"""Wheels as a release would build them, and throw-away environments that hold them."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]


def distributions() -> list[Path]:
    """The folders of our distributions, those of later issues too once they are there."""
    return sorted(path.parent for path in ROOT.glob("icechunk-*/pyproject.toml"))


def run(*command: str | Path, check: bool = True) -> subprocess.CompletedProcess[str]:
    """Run a command away from the work tree, so that nothing is imported from it."""
    environment = {k: v for k, v in os.environ.items() if k not in {"PYTHONPATH", "VIRTUAL_ENV"}}
    done = subprocess.run(
        [str(part) for part in command], capture_output=True, text=True, env=environment, cwd="/", check=False
    )
    if check and done.returncode:
        raise AssertionError(f"{command} ended with {done.returncode}\n{done.stdout}\n{done.stderr}")
    return done


@dataclass(frozen=True)
class Environment:
    """A virtual environment."""

    folder: Path

    @property
    def python(self) -> Path:
        return self.folder / ("Scripts/python.exe" if os.name == "nt" else "bin/python")

    def install(self, *arguments: str | Path) -> None:
        run(_uv(), "pip", "install", "--quiet", "--python", self.python, *arguments)

    def remove(self, *names: str) -> None:
        run(_uv(), "pip", "uninstall", "--quiet", "--python", self.python, *names)

    def execute(self, program: str) -> subprocess.CompletedProcess[str]:
        return run(self.python, "-c", program, check=False)


def _uv() -> str:
    found = shutil.which("uv")
    if found is None:
        pytest.fail("uv is not on the PATH; `tox -e packaging` has it")
    return found


@pytest.fixture(scope="session")
def wheels(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the wheel of every distribution."""
    folder = tmp_path_factory.mktemp("wheels")
    for distribution in distributions():
        run(_uv(), "build", "--quiet", "--wheel", "--out-dir", folder, distribution)
    return folder


@pytest.fixture
def make_environment(tmp_path: Path) -> Callable[[str], Environment]:
    """Make an empty environment with the interpreter that runs the tests."""

    def make(name: str) -> Environment:
        folder = tmp_path / name
        run(_uv(), "venv", "--quiet", "--python", sys.executable, folder)
        return Environment(folder)

    return make

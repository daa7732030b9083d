"""`tools/check.py`: what it runs, what it leaves out, and what it says then."""

from __future__ import annotations

import configparser
import importlib.util
import subprocess
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from tests.packaging.conftest import ROOT


@pytest.fixture
def check(monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    """The script, on a machine with nothing but Python 3.11, where tox does nothing."""
    spec = importlib.util.spec_from_file_location("check", ROOT / "tools" / "check.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    monkeypatch.setattr(module, "_launcher", lambda: Path("/launcher"))
    monkeypatch.setattr(module, "_running", lambda: "3.11")
    monkeypatch.setattr(module, "_has_interpreter", lambda bin_dir, version, environment: version == "3.11")
    monkeypatch.setattr(
        module.subprocess, "run", lambda command, **_: subprocess.CompletedProcess(command, 0, "", "")
    )
    monkeypatch.delenv("CI", raising=False)
    return module


def test_it_runs_every_environment_that_there_is(check: ModuleType) -> None:
    tox = configparser.ConfigParser(interpolation=None)
    tox.read(ROOT / "tox.ini")
    listed = {name.strip() for name in tox["tox"]["env_list"].split(",")}
    assert set(check.ENVIRONMENTS) == listed
    for name, version in check.EXACTLY.items():
        factor = "py" + version.replace(".", "")
        assert name == factor or tox[f"testenv:{name}"]["base_python"] == factor


def test_what_has_no_interpreter_is_left_out_with_one_line(
    check: ModuleType, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    ran: list[Any] = []

    def run(command: Any, **_: Any) -> subprocess.CompletedProcess[str]:
        ran.extend(command)
        return subprocess.CompletedProcess(command, 0, "", "")

    monkeypatch.setattr(check.subprocess, "run", run)
    assert check.main([]) == 0
    assert ran[ran.index("-e") + 1].split(",") == [
        "lint",
        "layers",
        "core",
        "plugin",
        "lowest",
        "py311",
        "packaging",
    ]
    (line,) = capsys.readouterr().out.splitlines()
    assert all(name in line for name in ("type", "py312", "py313", "interop", "uv python install 3.12 3.13"))


def test_in_continuous_integration_a_missing_interpreter_is_a_failure(
    check: ModuleType, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CI", "true")
    assert check.main([]) == 1
    (line,) = capsys.readouterr().err.splitlines()
    assert "interop (Python 3.12)" in line


def test_with_every_interpreter_nothing_is_left_out(
    check: ModuleType, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(check, "_has_interpreter", lambda bin_dir, version, environment: True)
    monkeypatch.setenv("CI", "true")
    assert check.main([]) == 0
    assert capsys.readouterr().out == ""


def test_continuous_integration_runs_the_command_of_the_readme() -> None:
    (command,) = [
        line.removeprefix("exec ")
        for line in (ROOT / ".ci" / "run").read_text().splitlines()
        if line.startswith("exec ")
    ]
    assert f"```sh\n{command}\n```" in (ROOT / "README.md").read_text()

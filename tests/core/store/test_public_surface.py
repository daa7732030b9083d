"""`import icechunk`: what it offers, and that it stays cheap."""

from __future__ import annotations

import ast
import inspect
import subprocess
import sys
from pathlib import Path
from typing import NoReturn

import pytest

import icechunk


def imported_for_type_checkers() -> dict[str, set[str]]:
    tree = ast.parse(Path(icechunk.__file__).read_text(encoding="utf-8"))
    homes: dict[str, set[str]] = {}
    for block in tree.body:
        if isinstance(block, ast.If) and ast.unparse(block.test) == "TYPE_CHECKING":
            for statement in block.body:
                assert isinstance(statement, ast.ImportFrom)
                home = (statement.module or "").removeprefix("icechunk.")
                homes.setdefault(home, set()).update(alias.name for alias in statement.names)
    return homes


def test_type_checkers_see_what_the_interpreter_finds() -> None:
    assert imported_for_type_checkers() == {home: set(names) for home, names in icechunk._HOMES.items()}


@pytest.mark.parametrize("name", icechunk.__all__)
def test_every_public_name_can_be_had(name: str) -> None:
    assert getattr(icechunk, name) is not None
    assert name in dir(icechunk)


def test_a_name_that_is_not_there_is_an_attribute_error() -> None:
    with pytest.raises(AttributeError, match="has no attribute 'Repositry'"):
        icechunk.Repositry  # noqa: B018


def test_modules_are_attributes() -> None:
    assert icechunk.storage.in_memory_storage is icechunk.in_memory_storage


def test_a_module_that_cannot_be_imported_is_no_attribute(monkeypatch: pytest.MonkeyPatch) -> None:
    def missing(name: str) -> NoReturn:
        raise icechunk.MissingPluginError(f"no plugin provides {name}; to install it: pip install it")

    monkeypatch.setattr(icechunk, "import_module", missing)
    monkeypatch.delattr(icechunk, "xarray", raising=False)
    assert not hasattr(icechunk, "xarray")
    with pytest.raises(AttributeError, match=r"'xarray': no plugin .* pip install it") as caught:
        icechunk.xarray  # noqa: B018
    assert isinstance(caught.value.__cause__, icechunk.MissingPluginError)
    assert "xarray" not in dict(inspect.getmembers(icechunk))


def test_an_import_says_which_plugin_is_missing() -> None:
    # In a process of its own, as another test may have imported the module.
    code = (
        "import inspect, icechunk\n"
        "from icechunk.plugins import registry\n"
        "def none(name): raise icechunk.MissingPluginError(f'no plugin provides {name}')\n"
        "registry.integration = none\n"
        "assert not hasattr(icechunk, 'xarray'), 'has it'\n"
        "assert len(inspect.getmembers(icechunk)) > 100\n"
        "for statement in ('import icechunk.xarray', 'from icechunk import xarray'):\n"
        "    try: exec(statement)\n"
        "    except icechunk.MissingPluginError as error: print(error)\n"
    )
    out = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert out.stdout == "no plugin provides xarray\n" * 2


def test_versions() -> None:
    assert icechunk.__api_version__ == "2.3.0"
    assert icechunk.user_agent() == f"ic-py-{icechunk.__version__}"
    assert icechunk.spec_version() is icechunk.SpecVersion.v2
    assert icechunk.supported_spec_versions() == [icechunk.SpecVersion.v2, icechunk.SpecVersion.v1]


def test_debug_info_names_the_versions(capsys: pytest.CaptureFixture[str]) -> None:
    icechunk.print_debug_info()
    assert f"icechunk-core:  {icechunk.__version__}\n" in capsys.readouterr().out


def test_importing_loads_no_third_party_that_zarr_does_not() -> None:
    # In a process of its own, as this one has imported everything.
    code = (
        "import zarr, sys; before = set(sys.modules)\n"
        "import icechunk\n"
        "loaded = {name.split('.')[0] for name in set(sys.modules) - before}\n"
        "print(*sorted(loaded - {'icechunk'} - sys.stdlib_module_names))"
    )
    out = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert out.stdout.strip() == ""

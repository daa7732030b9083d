"""`to_icechunk` does the same in both implementations, errors included."""

from __future__ import annotations

import re
from importlib.metadata import entry_points

import pytest

from icechunk.plugins import registry
from tests.interop import xarray_programs
from tests.interop.reference import Side


@pytest.fixture(scope="module", autouse=True)
def _plugin() -> None:
    # Where our distributions are on the path without their metadata.
    if not [e for e in entry_points(group="icechunk") if e.value == "icechunk_xarray.plugin"]:
        from icechunk_xarray import plugin

        registry.register(plugin, "xarray")


@pytest.mark.parametrize("case", xarray_programs.CASES)
@pytest.mark.parametrize("spec_version", [1, 2])
def test_to_icechunk_does_what_the_reference_does(reference: Side, case: str, spec_version: int) -> None:
    ours = xarray_programs.outcome(case, spec_version)
    theirs = reference.call("xarray_programs:outcome", case, spec_version)
    if ours["error"] or theirs["error"]:
        # Which variable is refused first, and what was written until then, depends on the order of a set.
        assert without_names(ours["error"]) == without_names(theirs["error"])
    else:
        assert ours == theirs


def without_names(error: list[str] | None) -> list[str] | None:
    return error and [error[0], re.sub(r"'[a-z]+'|\{.*?\}", "...", error[1])]

"""The door to Xarray, also where our distributions are on the path without their metadata."""

from __future__ import annotations

from importlib.metadata import entry_points

import pytest

import icechunk
from icechunk.plugins import registry


@pytest.fixture(scope="session", autouse=True)
def _plugin() -> None:
    if not [e for e in entry_points(group="icechunk") if e.value == "icechunk_xarray.plugin"]:
        from icechunk_xarray import plugin

        registry.register(plugin, "xarray")


@pytest.fixture(params=[1, 2], ids=["spec1", "spec2"])
def repo(request: pytest.FixtureRequest) -> icechunk.Repository:
    return icechunk.Repository.create(icechunk.in_memory_storage(), spec_version=request.param)

"""A repository with a few arrays, and sessions that race."""

from __future__ import annotations

import numpy as np
import pytest
import zarr

import icechunk


@pytest.fixture(params=[1, 2], ids=["v1", "v2"])
def repo(request: pytest.FixtureRequest) -> icechunk.Repository:
    """`/a` with the chunks 0 to 3 of two numbers each, the empty `/b` alike, the group `/g` with the array `c`."""
    repo = icechunk.Repository.create(icechunk.in_memory_storage(), spec_version=request.param)
    with repo.transaction("main", message="base") as store:
        root = zarr.create_group(store)
        root.create_array("a", shape=8, chunks=2, dtype="i4", fill_value=-1)[:] = np.arange(8)
        root.create_array("b", shape=8, chunks=2, dtype="i4", fill_value=-1)
        root.create_array("g/c", shape=4, chunks=2, dtype="i4", fill_value=-1)[:] = 1
    return repo

"""`to_icechunk` writes what `to_zarr` writes into any other store, and what it wrote can be read and versioned."""

from __future__ import annotations

import asyncio
import hashlib
import json
import os
import pickle
import subprocess
import sys
import warnings
from typing import Any

import numpy as np
import pytest
import xarray as xr
import zarr
import zarr.core.buffer
import zarr.storage

import icechunk
from tests.interop.xarray_programs import CASES, content, later, winds


@pytest.fixture
def to_icechunk() -> Any:
    from icechunk.xarray import to_icechunk

    return to_icechunk


def opened(session: icechunk.Session, **arguments: Any) -> xr.Dataset:
    return xr.open_zarr(session.store, consolidated=False, chunks=None, **arguments)


def memory_content(store: zarr.storage.MemoryStore) -> dict[str, Any]:
    prototype = zarr.core.buffer.default_buffer_prototype()

    async def collect() -> dict[str, Any]:
        out: dict[str, Any] = {}
        async for key in store.list():
            data = (await store.get(key, prototype)).to_bytes()  # type: ignore[union-attr]
            out[key] = json.loads(data) if key.endswith("zarr.json") else hashlib.sha256(data).hexdigest()
        return out

    return asyncio.run(collect())


@pytest.mark.parametrize("case", CASES)
def test_it_writes_what_to_zarr_writes(repo: icechunk.Repository, to_icechunk: Any, case: str) -> None:
    session, memory = repo.writable_session("main"), zarr.storage.MemoryStore()
    errors: list[tuple[type, ...] | None] = [None, None]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        for make, arguments in CASES[case]:
            try:
                to_icechunk(make(), session, **arguments)
            except Exception as error:
                errors[0] = (type(error),)
            try:
                make().to_zarr(memory, consolidated=False, zarr_format=3, **arguments)
            except Exception as error:
                errors[1] = (type(error),)
    assert errors[0] == errors[1]
    if errors[0] is None:
        assert content(session) == memory_content(memory)


def test_years_are_appended_commit_by_commit_and_read_back_at_each(
    repo: icechunk.Repository, to_icechunk: Any
) -> None:
    snapshots = []
    for year, part in enumerate([winds(4), later(3)]):
        session = repo.writable_session("main")
        to_icechunk(part, session, append_dim="time" if year else None)
        snapshots.append(session.commit(f"year {year}"))
    first, both = (opened(repo.readonly_session(snapshot_id=s)).load() for s in snapshots)
    xr.testing.assert_identical(first, winds(4))
    xr.testing.assert_identical(both.isel(time=slice(4, None)).drop_vars("land"), later(3).drop_vars("land"))


def test_nothing_is_committed(repo: icechunk.Repository, to_icechunk: Any) -> None:
    session = repo.writable_session("main")
    to_icechunk(winds(), session)
    assert session.has_uncommitted_changes
    assert len(list(repo.ancestry(branch="main"))) == 1


def test_the_store_has_no_consolidated_metadata(repo: icechunk.Repository, to_icechunk: Any) -> None:
    session = repo.writable_session("main")
    to_icechunk(winds(), session)
    assert content(session)["zarr.json"].get("consolidated_metadata") is None


def test_zarr_format_3_is_written_whatever_the_default_is(
    repo: icechunk.Repository, to_icechunk: Any
) -> None:
    session = repo.writable_session("main")
    with zarr.config.set({"default_zarr_format": 2}):
        to_icechunk(winds(), session)
    xr.testing.assert_identical(opened(session).load(), winds())


def test_a_read_only_session_is_refused(repo: icechunk.Repository, to_icechunk: Any) -> None:
    with pytest.raises(ValueError, match="read-only"):
        to_icechunk(winds(), repo.readonly_session("main"))


@pytest.mark.parametrize("obj", [np.arange(3), "winds", None, xr.DataTree(winds())])
def test_what_is_no_dataset_is_refused(repo: icechunk.Repository, to_icechunk: Any, obj: object) -> None:
    with pytest.raises(TypeError, match="expected a Dataset or a DataArray"):
        to_icechunk(obj, repo.writable_session("main"))


def test_what_is_no_session_is_refused(repo: icechunk.Repository, to_icechunk: Any) -> None:
    for other in (repo, repo.writable_session("main").store, None):
        with pytest.raises(TypeError, match="expected an icechunk Session"):
            to_icechunk(winds(), other)


def test_the_function_pickles(to_icechunk: Any) -> None:
    assert pickle.loads(pickle.dumps(to_icechunk)) is to_icechunk


class TestDask:
    @pytest.fixture(autouse=True)
    def _dask(self) -> None:
        pytest.importorskip("dask.array")

    @pytest.mark.parametrize("scheduler", ["threads", "synchronous"])
    def test_dask_arrays_are_written_by_threads(
        self, repo: icechunk.Repository, to_icechunk: Any, scheduler: str
    ) -> None:
        import dask

        session = repo.writable_session("main")
        data = winds(24).chunk(time=1)
        with dask.config.set(scheduler=scheduler):
            to_icechunk(data, session, encoding={"u": {"chunks": (1, 2, 3)}})
            session.commit("first")
            session = repo.writable_session("main")
            to_icechunk(later(12).chunk(time=3), session, append_dim="time")
            session.commit("second")
        found = opened(repo.readonly_session("main")).load()
        xr.testing.assert_equal(found.isel(time=slice(0, 24)).drop_vars("land"), winds(24).drop_vars("land"))
        xr.testing.assert_equal(found.isel(time=slice(24, None)).u, later(12).u)

    def test_chunks_that_several_tasks_would_change_are_refused(
        self, repo: icechunk.Repository, to_icechunk: Any
    ) -> None:
        with pytest.raises(ValueError, match="overlap"):
            to_icechunk(
                winds().chunk(time=2), repo.writable_session("main"), encoding={"u": {"chunks": (3, 2, 3)}}
            )

    def test_other_processes_are_refused(self, repo: icechunk.Repository, to_icechunk: Any) -> None:
        import dask

        session = repo.writable_session("main")
        with dask.config.set(scheduler="processes"), pytest.raises(Exception, match=r"pickle|fork"):
            to_icechunk(winds().chunk(time=2), session)


def test_without_the_distribution_the_door_says_what_to_install() -> None:
    program = "import icechunk.xarray"
    environment = {
        **os.environ,
        "ICECHUNK_DISABLED_PLUGINS": "xarray",
        "PYTHONPATH": os.pathsep.join(sys.path),
    }
    done = subprocess.run(
        [sys.executable, "-c", program], env=environment, capture_output=True, text=True, check=False
    )
    last = done.stderr.strip().splitlines()[-1]
    assert last.startswith("icechunk.errors.MissingPluginError: ")
    assert last.endswith("pip install 'icechunk-core[xarray]'")


def test_core_imports_no_xarray() -> None:
    program = "import sys, icechunk; print('xarray' in sys.modules, 'icechunk_xarray' in sys.modules)"
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    done = subprocess.run(
        [sys.executable, "-c", program], env=environment, capture_output=True, text=True, check=True
    )
    assert done.stdout.split() == ["False", "False"]

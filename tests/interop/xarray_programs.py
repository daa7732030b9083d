"""Programs with `to_icechunk`, run unchanged with our implementation and with the reference (see `programs`)."""

from __future__ import annotations

import asyncio
import hashlib
import json
import warnings
from collections.abc import Callable
from typing import Any

import numpy as np
import xarray as xr
import zarr.core.buffer

import icechunk


def winds(times: int = 4) -> xr.Dataset:
    values = np.arange(times * 6, dtype="f4").reshape(times, 2, 3)
    return xr.Dataset(
        {
            "u": (("time", "y", "x"), values),
            "v": (("time", "y", "x"), -values),
            "land": (("y", "x"), values[0] > 3),
        },
        coords={
            "time": np.arange(times).astype("M8[D]").astype("M8[ns]"),
            "y": [1.5, 2.5],
            "x": ("x", [10, 20, 30], {"units": "degrees"}),
        },
        attrs={"title": "winds"},
    )


def no_coordinates(obj: xr.Dataset) -> xr.Dataset:
    return obj.drop_vars(["x", "y", "land"])


def later(times: int) -> xr.Dataset:
    obj = winds(times)
    return obj.assign_coords(time=obj.time + np.timedelta64(100, "D"))


Steps = list[tuple[Callable[[], Any], dict[str, Any]]]

# Each case: one `to_icechunk` after the other into one session, up to the first that fails.
CASES: dict[str, Steps] = {
    "as it is": [(winds, {})],
    "twice": [(winds, {}), (winds, {})],
    "twice, w-": [(winds, {}), (winds, {"mode": "w-"})],
    "twice, w": [(winds, {}), (lambda: winds(2)[["u"]], {"mode": "w"})],
    "twice, a": [(winds, {}), (lambda: (winds() + 1)[["v", "land"]].rename(land="sea"), {"mode": "a"})],
    "twice, r+": [(winds, {}), (lambda: winds() * 2, {"mode": "r+"})],
    "r+ with something new": [(winds, {}), (lambda: winds().rename(v="w"), {"mode": "r+"})],
    "no such mode": [(winds, {"mode": "x"})],
    "appended": [(winds, {}), (lambda: later(3), {"append_dim": "time"})],
    "appended, a-": [(winds, {}), (lambda: later(3), {"append_dim": "time", "mode": "a-"})],
    "appended, w": [(winds, {}), (lambda: later(3), {"append_dim": "time", "mode": "w"})],
    "appended to chunks": [
        (winds, {"encoding": {"u": {"chunks": (3, 2, 3)}, "time": {"chunks": (5,)}}}),
        (lambda: later(3), {"append_dim": "time"}),
        (lambda: later(1), {"append_dim": "time"}),
    ],
    "appended along nothing": [(winds, {}), (winds, {"append_dim": "z"})],
    "appended with other sizes": [(winds, {}), (lambda: later(2).isel(x=[0]), {"append_dim": "time"})],
    "a region": [
        (winds, {}),
        (lambda: no_coordinates(winds() * 3).isel(time=slice(1, 3)), {"region": {"time": slice(1, 3)}}),
    ],
    "a region found by itself": [
        (winds, {}),
        (lambda: (winds() * 3).isel(time=slice(1, 3)).drop_vars("land"), {"region": "auto"}),
    ],
    "a region of one dimension found by itself": [
        (winds, {}),
        (lambda: no_coordinates(winds() * 3).isel(time=slice(1, 3)), {"region": {"time": "auto"}}),
    ],
    "a region with a variable that does not belong": [
        (winds, {}),
        (lambda: winds().isel(time=slice(1, 3)), {"region": {"time": slice(1, 3)}}),
    ],
    "a region that is too large": [
        (winds, {}),
        (lambda: no_coordinates(winds(9)), {"region": {"time": slice(0, 9)}}),
    ],
    "a region of nothing": [(lambda: no_coordinates(winds()), {"region": {"time": slice(0, 4)}})],
    "a group": [(winds, {"group": "a/b"}), (winds, {"group": "/a"}), (winds, {"group": "a/b"})],
    "encoding": [
        (
            winds,
            {
                "encoding": {
                    "u": {"chunks": (2, 1, 3), "dtype": "i2", "scale_factor": 0.5, "_FillValue": -1},
                    "v": {"compressors": (), "shards": (4, 2, 3), "chunks": (1, 2, 3)},
                    "time": {"units": "hours since 1970-01-01", "dtype": "i8"},
                }
            },
        )
    ],
    "encoding of nothing": [(winds, {"encoding": {"zz": {"chunks": (1,)}}})],
    "encoding that is none": [(winds, {"encoding": {"u": {"foo": 1}}})],
    "an array without a name": [(lambda: winds().u.rename(None), {})],
    "an array": [(lambda: winds().u, {})],
    "an array called like its coordinate": [(lambda: winds().x, {})],
    "an array called like its dimension": [(lambda: xr.DataArray(np.arange(3), dims="q", name="q"), {})],
    "an array into a region": [
        (lambda: winds().u, {}),
        (lambda: (winds().u * 9).drop_vars(["x", "y"]).isel(time=[1]), {"region": {"time": slice(1, 2)}}),
    ],
    "an array appended": [(lambda: winds().u, {}), (lambda: later(2).u, {"append_dim": "time"})],
    "nothing": [(xr.Dataset, {})],
    "coordinates only": [(lambda: xr.Dataset(coords={"x": [1, 2]}), {})],
    "no times": [(lambda: winds().isel(time=slice(0, 0)), {}), (lambda: later(2), {"append_dim": "time"})],
    "a scalar": [(lambda: xr.Dataset({"s": ((), 3.5)}), {})],
    "texts": [(lambda: xr.Dataset({"s": ("x", np.array(["a", "bb", "é"]))}), {})],
    "complex numbers": [(lambda: xr.Dataset({"s": ("x", np.array([1j, 2]))}), {})],
    "missing values": [(lambda: xr.Dataset({"s": ("x", [1.0, np.nan])}, attrs={"a": [1, 2]}), {})],
    "a name that is no text": [(lambda: xr.Dataset({1: ("x", [1])}), {})],
    "aligned chunks": [(winds, {"align_chunks": True, "safe_chunks": False})],
    "hints for dask": [(winds, {"chunkmanager_store_kwargs": {"a": 1}})],
}


def outcome(case: str, spec_version: int) -> dict[str, Any]:
    """What a case leaves in the session, and the error that ended it."""
    from icechunk.xarray import to_icechunk

    repo = icechunk.Repository.create(icechunk.in_memory_storage(), spec_version=spec_version)
    session = repo.writable_session("main")
    error = None
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        for make, arguments in CASES[case]:
            try:
                result = to_icechunk(make(), session, **arguments)
            except Exception as caught:
                error = [type(caught).__name__, str(caught)]
                break
            assert result is None
    return {"error": error, "content": content(session), "changes": session.has_uncommitted_changes}


def content(session: icechunk.Session) -> dict[str, Any]:
    prototype = zarr.core.buffer.default_buffer_prototype()

    async def collect() -> dict[str, Any]:
        out: dict[str, Any] = {}
        async for key in session.store.list():
            data = (await session.store.get(key, prototype)).to_bytes()
            is_document = key.endswith("zarr.json")
            out[key] = json.loads(data) if is_document else hashlib.sha256(data).hexdigest()
        return out

    return asyncio.run(collect())

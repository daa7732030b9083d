"""`to_icechunk`: five years of monthly winds from memory, a year at a time, and all of it read back."""

from __future__ import annotations

import numpy as np
import xarray as xr
from harness import Bench, main

import icechunk
from icechunk.xarray import to_icechunk


def run(bench: Bench) -> None:
    years = bench.size(5)
    rng = np.random.default_rng(0)
    shape = (12 * years, 73, 144)
    winds = xr.Dataset(
        {name: (("time", "lat", "lon"), rng.random(shape, dtype="f4")) for name in ("uwnd", "vwnd")},
        coords={"time": np.arange(12 * years), "lat": np.linspace(-90, 90, 73), "lon": np.arange(144) * 2.5},
    )
    encoding = {name: {"chunks": (12, 73, 144)} for name in ("uwnd", "vwnd")}
    for _ in bench.repeats():
        repo = icechunk.Repository.create(bench.storage())
        with bench.phase("write"):
            for year in range(years):
                session = repo.writable_session("main")
                part = winds.isel(time=slice(12 * year, 12 * year + 12))
                if year == 0:
                    to_icechunk(part, session, encoding=encoding)
                else:
                    to_icechunk(part, session, append_dim="time")
                session.commit(f"year {year}")
        with bench.phase("read"):
            repo = icechunk.Repository.open(bench.storage())
            store = repo.readonly_session("main").store
            found = xr.open_zarr(store, consolidated=False, chunks=None).load()
        assert found.sizes["time"] == 12 * years


if __name__ == "__main__":
    main(run)

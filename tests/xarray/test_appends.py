"""Two programs append to one dataset at the same time."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import xarray as xr

import icechunk


def to_icechunk(*args: Any, **options: Any) -> None:
    # The door opens when it is first used, which is not before the tests run.
    from icechunk.xarray import to_icechunk

    to_icechunk(*args, **options)


def days(first: int, count: int, value: float) -> xr.Dataset:
    """Some days of weather at four places."""
    time = np.datetime64("2024-01-01", "ns") + np.arange(first, first + count) * np.timedelta64(1, "D")
    shape = (count, 2, 2)
    return xr.Dataset(
        {
            "temperature": (("time", "lat", "lon"), np.full(shape, value), {"units": "K"}),
            "rain": (("time", "lat", "lon"), np.full(shape, value / 10, "f4")),
            "height": (("lat", "lon"), np.arange(4.0).reshape(2, 2)),
        },
        coords={"time": time, "lat": [10.0, 20.0], "lon": [1.0, 2.0]},
        attrs={"title": "weather"},
    )


ENCODING = {
    "time": {"units": "hours since 2024-01-01", "dtype": "i8", "chunks": (4,)},
    "temperature": {"chunks": (2, 2, 2)},
    "rain": {"chunks": (2, 2, 1), "shards": (4, 2, 2)},
}


def test_two_appends_to_one_dataset_are_combined(repo: icechunk.Repository) -> None:
    session = repo.writable_session("main")
    to_icechunk(days(0, 4, 1.0), session, mode="w", encoding=ENCODING)
    session.commit("four days")

    ours, theirs = repo.writable_session("main"), repo.writable_session("main")
    to_icechunk(days(12, 3, 3.0), ours, append_dim="time")
    to_icechunk(days(4, 8, 2.0), theirs, append_dim="time")
    theirs.commit("eight more")
    with pytest.raises(icechunk.ConflictError):
        ours.commit("three more")
    ours.commit("three more", rebase_with="combine-appends")

    found = xr.open_zarr(repo.readonly_session("main").store, consolidated=False, chunks=None)
    expected = xr.concat([days(0, 4, 1.0), days(4, 8, 2.0), days(12, 3, 3.0)], "time", data_vars="minimal")
    xr.testing.assert_equal(found.load(), expected)


def test_what_cannot_be_combined_is_told(repo: icechunk.Repository) -> None:
    session = repo.writable_session("main")
    to_icechunk(days(0, 3, 1.0), session, mode="w", encoding=ENCODING)
    session.commit("three days")
    ours, theirs = repo.writable_session("main"), repo.writable_session("main")
    to_icechunk(days(3, 3, 3.0), ours, append_dim="time", safe_chunks=False)
    to_icechunk(days(3, 3, 2.0), theirs, append_dim="time", safe_chunks=False)
    theirs.commit("three more")
    with pytest.raises(
        icechunk.RebaseFailedError, match="the old length 3 along time is no multiple of the chunk"
    ):
        ours.rebase("combine-appends")
    assert ours.has_uncommitted_changes

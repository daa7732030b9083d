"""Sixteen uncompressed chunks of 8 MiB: how large data gets through."""

from __future__ import annotations

import numpy as np
import zarr
from floors import measure_floors
from harness import Bench, main

import icechunk

CHUNK = 2 * 2**20  # float32: 8 MiB


def run(bench: Bench) -> None:
    count = bench.size(16)
    data = np.random.default_rng(0).random(count * CHUNK, dtype="f4")
    for _ in bench.repeats():
        repo = icechunk.Repository.create(bench.storage())
        session = repo.writable_session("main")
        array = zarr.create_array(
            session.store, name="a", shape=data.shape, chunks=CHUNK, dtype="f4", compressors=None
        )
        with bench.phase("write"):
            array[...] = data
        session.commit("written")
        repo = icechunk.Repository.open(bench.storage())
        array = zarr.open_array(repo.readonly_session("main").store, path="a", mode="r")
        with bench.phase("read"):
            found = array[...]
        assert np.array_equal(found, data)
        del found
    measure_floors(bench, data, CHUNK)


if __name__ == "__main__":
    main(run)

"""2,000 uncompressed chunks of 16 KiB, written in one go and read back from a repository opened anew."""

from __future__ import annotations

import numpy as np
import zarr
from floors import measure_floors
from harness import Bench, main

import icechunk

CHUNK = 4096  # float32: 16 KiB


def run(bench: Bench) -> None:
    count = bench.size(2_000)
    data = np.random.default_rng(0).random(count * CHUNK, dtype="f4")
    for _ in bench.repeats():
        repo = icechunk.Repository.create(bench.storage())
        session = repo.writable_session("main")
        array = zarr.create_array(
            session.store, name="a", shape=data.shape, chunks=CHUNK, dtype="f4", compressors=None
        )
        with bench.phase("write"):
            array[...] = data
        with bench.phase("commit"):
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

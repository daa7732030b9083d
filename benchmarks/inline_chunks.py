"""20,000 chunks of 32 bytes, which live in the manifest."""

from __future__ import annotations

import numpy as np
import zarr
from harness import Bench, main

import icechunk

CHUNK = 8  # float32: 32 bytes


def run(bench: Bench) -> None:
    count = bench.size(20_000)
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


if __name__ == "__main__":
    main(run)

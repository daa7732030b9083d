"""2,000 uncompressed chunks of 16 KiB, written in one go and read back from a repository opened anew.

And the floor: the same array read from Zarr's own store in memory.
"""

from __future__ import annotations

import numpy as np
import zarr
import zarr.storage
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
        # What Zarr itself needs for this, from a store that does no I/O and no look-up.
        kept = zarr.create_array(
            zarr.storage.MemoryStore(), name="a", shape=data.shape, chunks=CHUNK, dtype="f4", compressors=None
        )
        kept[...] = data
        with bench.phase("floor of read"):
            found = kept[...]
        del found, kept


if __name__ == "__main__":
    main(run)

"""`store.get` and `store.exists`, one call after the other, from one event loop."""

from __future__ import annotations

import asyncio
from typing import Any

import numpy as np
import zarr
from harness import Bench, main
from zarr.core.buffer import default_buffer_prototype

import icechunk


async def get_all(store: Any, keys: list[str]) -> int:
    prototype = default_buffer_prototype()
    found = 0
    for key in keys:
        if await store.get(key, prototype) is not None:
            found += 1
    return found


async def exists_all(store: Any, keys: list[str]) -> int:
    found = 0
    for key in keys:
        if await store.exists(key):
            found += 1
    return found


def run(bench: Bench) -> None:
    count = bench.size(1_000)
    for _ in bench.repeats():
        repo = icechunk.Repository.create(bench.storage())
        session = repo.writable_session("main")
        for name, chunk in (("native", 4096), ("inline", 8)):
            array = zarr.create_array(
                session.store, name=name, shape=count * chunk, chunks=chunk, dtype="f4", compressors=None
            )
            array[...] = np.arange(1, count * chunk + 1, dtype="f4")
        session.commit("written")
        repo = icechunk.Repository.open(bench.storage())
        store = repo.readonly_session("main").store

        native = [f"native/c/{i}" for i in range(count)]
        inline = [f"inline/c/{i}" for i in range(count)]
        zarr_json = ["native/zarr.json"] * count
        missing = [f"native/c/{i}" for i in range(count, 2 * count)]
        # The manifests are fetched once for any number of chunks, and not what is measured here.
        asyncio.run(get_all(store, [native[0], inline[0]]))
        with bench.phase("get, 16 KiB"):
            assert asyncio.run(get_all(store, native)) == count
        with bench.phase("get, inline"):
            assert asyncio.run(get_all(store, inline)) == count
        with bench.phase("get, zarr.json"):
            assert asyncio.run(get_all(store, zarr_json)) == count
        with bench.phase("get, missing"):
            assert asyncio.run(get_all(store, missing)) == 0
        with bench.phase("exists"):
            assert asyncio.run(exists_all(store, native)) == count


if __name__ == "__main__":
    main(run)

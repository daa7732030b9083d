"""2,000 uncompressed chunks of 16 KiB, written in one go and read back from a repository opened anew.

And two floors: the same array read from Zarr's own store in memory, and from one that has the id of each chunk ready
and does no more than what the format asks for: spell the name, open, read, close.
"""

from __future__ import annotations

import os
import time
from pathlib import Path
from typing import Any

import numpy as np
import zarr
import zarr.storage
from harness import Bench, empty_files, main

import icechunk

CHUNK = 4096  # float32: 16 KiB


LETTERS = "0123456789ABCDEFGHJKMNPQRSTVWXYZ"
PAIRS = [first + second for first in LETTERS for second in LETTERS]


def name_of(chunk_id: bytes) -> str:
    """Spell an id as the format does, in the fastest way that we know."""
    number = int.from_bytes(chunk_id, "big")
    a = number >> 66
    b = number >> 36 & 0x3FFFFFFF
    c = number >> 6 & 0x3FFFFFFF
    return (
        f"{PAIRS[a >> 20]}{PAIRS[a >> 10 & 1023]}{PAIRS[a & 1023]}"
        f"{PAIRS[b >> 20]}{PAIRS[b >> 10 & 1023]}{PAIRS[b & 1023]}"
        f"{PAIRS[c >> 20]}{PAIRS[c >> 10 & 1023]}{PAIRS[c & 1023]}"
        f"{PAIRS[(number & 63) << 4]}"
    )


class FileForEachChunk(zarr.storage.MemoryStore):
    """What chunks in files of a folder need at the least, with their ids in one dict. Documents stay in memory."""

    def __init__(self, folder: Path) -> None:
        super().__init__()
        folder.mkdir()
        self.folder = str(folder)
        self.ids: dict[str, bytes] = {}

    def get_sync(self, key: str, *, prototype: Any = None, byte_range: Any = None) -> Any:
        chunk_id = self.ids.get(key)
        if chunk_id is None:
            return super().get_sync(key, prototype=prototype, byte_range=byte_range)
        descriptor = os.open(f"{self.folder}/{name_of(chunk_id)}", os.O_RDONLY)
        try:
            return prototype.buffer.from_bytes(os.pread(descriptor, 4 * CHUNK, 0))
        finally:
            os.close(descriptor)

    def set_sync(self, key: str, value: Any) -> None:
        if "/c/" not in key:
            super().set_sync(key, value)
            return
        chunk_id = os.urandom(12)
        descriptor = os.open(f"{self.folder}/{name_of(chunk_id)}", os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
        try:
            os.write(descriptor, value.as_buffer_like())
        finally:
            os.close(descriptor)
        self.ids[key] = chunk_id

    async def get(self, key: str, prototype: Any = None, byte_range: Any = None) -> Any:
        if key in self.ids:
            return self.get_sync(key, prototype=prototype)
        return await super().get(key, prototype, byte_range)

    async def set(self, key: str, value: Any, byte_range: Any = None) -> None:
        self.set_sync(key, value)


def new_array(store: Any, data: Any) -> Any:
    return zarr.create_array(
        store, name="a", shape=data.shape, chunks=CHUNK, dtype=data.dtype, compressors=None
    )


def run(bench: Bench) -> None:
    count = bench.size(2_000)
    data = np.random.default_rng(0).random(count * CHUNK, dtype="f4")
    for _ in bench.repeats():
        repo = icechunk.Repository.create(bench.storage())
        session = repo.writable_session("main")
        array = new_array(session.store, data)
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
    # Not in between: what they leave of the heap would be a part of the peaks above.
    for _ in bench.repeats():
        floors(bench, data)


def floors(bench: Bench, data: Any) -> None:
    """Measure what Zarr itself needs, from a store that does no I/O and no look-up; and what the files need."""
    memory = zarr.storage.MemoryStore()
    array = new_array(memory, data)
    array[...] = data
    with bench.phase("floor of read (memory)"):
        found = array[...]
    del found, array, memory
    store = FileForEachChunk(bench.folder / f"files-{time.time_ns()}")
    array = new_array(store, data)
    with bench.phase("floor of write (files)"):
        array[...] = data
    # The first read runs beside the kernel's writing, which leaves one core to all of Zarr's threads: they
    # are faster so, and no repository that was written earlier can be.
    found = array[...]
    assert np.array_equal(found, data)
    with bench.phase("floor of read (files)"):
        found = array[...]
    empty_files(Path(store.folder))


if __name__ == "__main__":
    main(run)

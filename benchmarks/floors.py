"""What plain stores take, to compare with: the same array in Zarr's own store in memory, and in plain files.

The store in files has the id of each chunk ready, and does no more than what the format asks for: spell the name, open,
read or write, close.
"""

from __future__ import annotations

import os
import time
from pathlib import Path
from typing import Any

import numpy as np
import zarr
import zarr.storage
from harness import Bench, empty_files

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
    """Chunks in files of a folder, with their ids in one dict. Documents stay in memory."""

    def __init__(self, folder: Path, chunk_bytes: int) -> None:
        super().__init__()
        folder.mkdir()
        self.chunk_bytes = chunk_bytes
        self.folder = str(folder)
        self.ids: dict[str, bytes] = {}

    def get_sync(self, key: str, *, prototype: Any = None, byte_range: Any = None) -> Any:
        chunk_id = self.ids.get(key)
        if chunk_id is None:
            return super().get_sync(key, prototype=prototype, byte_range=byte_range)
        descriptor = os.open(f"{self.folder}/{name_of(chunk_id)}", os.O_RDONLY)
        try:
            return prototype.buffer.from_bytes(os.pread(descriptor, self.chunk_bytes, 0))
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


def measure_floors(bench: Bench, data: Any, chunk: int) -> None:
    """Measure both; after the workload itself: what they leave of the heap would be a part of its peaks."""
    for _ in bench.repeats():
        memory = zarr.storage.MemoryStore()
        array = _new_array(memory, data, chunk)
        array[...] = data
        with bench.phase("floor of read (memory)"):
            found = array[...]
        del found, array, memory
        store = FileForEachChunk(bench.folder / f"files-{time.time_ns()}", chunk * data.itemsize)
        array = _new_array(store, data, chunk)
        with bench.phase("floor of write (files)"):
            array[...] = data
        # Not the first read: right after the writing it takes a quarter less, probably because the kernel still
        # writes and leaves one core to all of Zarr's threads. No repository that was written earlier has that.
        found = array[...]
        assert np.array_equal(found, data)
        with bench.phase("floor of read (files)"):
            found = array[...]
        empty_files(Path(store.folder))
        del found, array, store


def _new_array(store: Any, data: Any, chunk: int) -> Any:
    return zarr.create_array(
        store, name="a", shape=data.shape, chunks=chunk, dtype=data.dtype, compressors=None
    )

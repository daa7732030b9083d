"""2,000 uncompressed chunks of 16 KiB, written in one go and read back from a repository opened anew.

And two floors: the same array read from Zarr's own store in memory, and from one that does no more than
to read a file for each chunk.
"""

from __future__ import annotations

import os
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
import zarr
import zarr.storage
from harness import Bench, empty_files, main

import icechunk

CHUNK = 4096  # float32: 16 KiB


class FileForEachChunk(zarr.storage.MemoryStore):
    """What a store in a folder needs at the least: open, read or write, close. Documents stay in memory."""

    def keep_chunks(self, folder: Path) -> None:
        """Move all chunks to files."""
        folder.mkdir(exist_ok=True)
        self.files: dict[str, str] = {}
        for key in [key for key in self._store_dict if "/c/" in key]:
            file = folder / key.replace("/", ".")
            file.write_bytes(self._store_dict.pop(key).to_bytes())
            self.files[key] = str(file)

    def get_sync(self, key: str, *, prototype: Any = None, byte_range: Any = None) -> Any:
        file = self.files.get(key)
        if file is None:
            return super().get_sync(key, prototype=prototype, byte_range=byte_range)
        descriptor = os.open(file, os.O_RDONLY)
        try:
            return prototype.buffer.from_bytes(os.pread(descriptor, 4 * CHUNK, 0))
        finally:
            os.close(descriptor)

    def set_sync(self, key: str, value: Any) -> None:
        folder = getattr(self, "folder", None)
        if folder is None or "/c/" not in key:
            super().set_sync(key, value)
            return
        file = f"{folder}/{key.replace('/', '.')}"
        descriptor = os.open(file, os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
        try:
            os.write(descriptor, value.as_buffer_like())
        finally:
            os.close(descriptor)
        self.files[key] = file

    async def get(self, key: str, prototype: Any = None, byte_range: Any = None) -> Any:
        if key in self.files:
            return self.get_sync(key, prototype=prototype)
        return await super().get(key, prototype, byte_range)


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
        # What Zarr itself needs for this, from a store that does no I/O and no look-up; and what the files need.
        store = FileForEachChunk()
        store.files = {}
        kept = zarr.create_array(
            store, name="a", shape=data.shape, chunks=CHUNK, dtype="f4", compressors=None
        )
        kept[...] = data
        with bench.phase("floor of read (memory)"):
            found = kept[...]
        del found
        store.keep_chunks(bench.folder / "files")
        with bench.phase("floor of read (files)"):
            found = kept[...]
        assert np.array_equal(found, data)
        del found
        if zarr.config.get("codec_pipeline.path").endswith("FusedCodecPipeline"):
            # No other writes through `set_sync`.
            store.folder = tempfile.mkdtemp(dir=bench.folder)
            with bench.phase("floor of write (files)"):
                kept[...] = data
            empty_files(Path(store.folder))
        del kept, store


if __name__ == "__main__":
    main(run)

"""One session or store in many threads, processes and event loops."""

from __future__ import annotations

import asyncio
import multiprocessing
import pickle
import sys
import threading
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING

import numpy as np
import pytest
import zarr
from zarr.core.buffer import cpu, default_buffer_prototype

from icechunk import Repository, Session, local_filesystem_storage
from icechunk.errors import ReadOnlyError, SessionStateError

if TYPE_CHECKING:
    from pathlib import Path

    from icechunk import IcechunkStore

VALUES = np.arange(16 * 700, dtype="f8").reshape(16, 700)


@pytest.fixture
def repository(tmp_path: Path, spec_version: int) -> Repository:
    return Repository.create(local_filesystem_storage(tmp_path), spec_version=spec_version)


@pytest.fixture
def reader(repository: Repository) -> Session:
    session = repository.writable_session("main")
    # Native and inline chunks, in one manifest each.
    for name, chunks in (("native", (4, 350)), ("inline", (4, 5))):
        zarr.create_array(session.store, name=name, data=VALUES, chunks=chunks, compressors=None)
    session.commit("fill")
    return repository.readonly_session("main")


def read(store: IcechunkStore) -> bool:
    arrays = [zarr.open_array(store, path=name, mode="r") for name in ("native", "inline")]
    return all(np.array_equal(array[:], VALUES) for array in arrays)


def read_directly(store: IcechunkStore) -> bool:
    """Read without Zarr, which would take turns in its one event loop."""
    rows = []
    for i in range(4):
        parts = [store.get_sync(f"native/c/{i}/{j}") for j in range(2)]
        blocks = [np.frombuffer(p.to_bytes(), "f8").reshape(4, 350) for p in parts if p is not None]
        rows.append(np.hstack(blocks))
    return np.array_equal(np.vstack(rows), VALUES)


def test_eight_threads_read_through_one_store(reader: Session) -> None:
    store = reader.store
    with ThreadPoolExecutor(8) as pool:
        assert all(pool.map(read_directly, [store] * 40))


@pytest.mark.parametrize("method", ["spawn", "fork"])
def test_processes_read_through_one_store(reader: Session, method: str) -> None:
    if method not in multiprocessing.get_all_start_methods():
        assert sys.platform == "win32"
        return
    read_directly(reader.store)  # so that a forked child inherits warm caches and their locks
    context = multiprocessing.get_context(method)
    with context.Pool(2) as pool:
        assert pool.map(read_directly, [reader.store] * 4) == [True] * 4


def test_a_copy_reads_and_has_a_lock_of_its_own(reader: Session) -> None:
    copy: Session = pickle.loads(pickle.dumps(reader))
    assert copy != reader
    assert copy.snapshot_id == reader.snapshot_id
    assert read(copy.store)
    assert read(pickle.loads(pickle.dumps(reader.store)))


def test_threads_write_different_chunks_of_one_array(repository: Repository) -> None:
    session = repository.writable_session("main")
    array = zarr.create_array(session.store, name="a", shape=(8, 50), chunks=(1, 1), dtype="i4")
    size = cpu.Buffer.from_bytes(np.int32(7).tobytes())
    del array

    def write(row: int) -> None:
        for column in range(50):
            session.store.set_sync(f"a/c/{row}/{column}", size)

    with ThreadPoolExecutor(8) as pool:
        list(pool.map(write, range(8)))
    keys = [key for key in session.store._sync_iter(session.store.list()) if "/c/" in key]
    assert len(keys) == 400


def test_no_write_of_another_thread_is_lost_in_a_commit(repository: Repository) -> None:
    # Each write lands in the commit, or is told that it came too late.
    session = repository.writable_session("main")
    zarr.create_array(session.store, name="a", shape=100_000, chunks=1, dtype="i1", compressors=None)
    value = cpu.Buffer.from_bytes(b"\x01")
    landed: list[int] = []
    begun = threading.Event()

    def write() -> None:
        for i in range(100_000):
            try:
                session.store.set_sync(f"a/c/{i}", value)
            except (SessionStateError, ReadOnlyError):
                return
            landed.append(i)
            if i == 200:
                begun.set()

    thread = threading.Thread(target=write)
    thread.start()
    begun.wait(30)
    session.commit("in the middle of it")
    thread.join(60)
    assert not thread.is_alive()
    store = repository.readonly_session("main").store
    assert all(store.get_sync(f"a/c/{i}") is not None for i in landed)
    assert len(landed) > 200


def test_readers_see_every_write_that_was_answered(repository: Repository) -> None:
    session = repository.writable_session("main")
    zarr.create_group(session.store)
    stop = threading.Event()
    problems: list[str] = []

    def watch() -> None:
        # Fills the memo of nodes all the time, which writes must see to it is never out of date.
        while not stop.is_set():
            for i in range(20):
                session.store.get_sync(f"n{i}/zarr.json")
                session.store.get_sync(f"n{i}/c/0")

    watchers = [threading.Thread(target=watch) for _ in range(3)]
    for thread in watchers:
        thread.start()
    document = (
        b'{"node_type": "array", "shape": [1], "chunk_grid": {"name": "regular", "configuration": '
        b'{"chunk_shape": [1]}}, "n": %d}'
    )
    try:
        for step in range(300):
            name = f"n{step % 20}"
            expected = document % step
            session.store.set_sync(f"{name}/zarr.json", cpu.Buffer.from_bytes(expected))
            session.store.set_sync(f"{name}/c/0", cpu.Buffer.from_bytes(b"%d" % step))
            found = session.store.get_sync(f"{name}/zarr.json"), session.store.get_sync(f"{name}/c/0")
            if [None if f is None else f.to_bytes() for f in found] != [expected, b"%d" % step]:
                problems.append(f"{name} at step {step}")
            if step % 3 == 0:
                session.store.delete_sync(f"{name}/zarr.json")
                if session.store.get_sync(f"{name}/c/0") is not None:
                    problems.append(f"{name} is not gone at step {step}")
    finally:
        stop.set()
        for thread in watchers:
            thread.join()
    assert problems == []


def test_two_event_loops_use_one_store(reader: Session) -> None:
    store, prototype = reader.store, default_buffer_prototype()

    async def read_all() -> int:
        parts = await asyncio.gather(*(store.get(f"native/c/{i}/0", prototype) for i in range(4)))
        return sum(len(part) for part in parts if part is not None)

    with ThreadPoolExecutor(2) as pool:
        assert list(pool.map(asyncio.run, [read_all(), read_all()])) == [4 * 4 * 350 * 8] * 2


async def test_zarrs_blocking_api_works_inside_a_running_loop(reader: Session) -> None:
    # As in a notebook.
    assert read(reader.store)

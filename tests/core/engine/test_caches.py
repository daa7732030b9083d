"""The caches of a repository handle: their limits hold, and one load serves all who wait for it."""

from __future__ import annotations

import gc
import threading
import weakref
from collections.abc import Callable

import numpy as np
import pytest
import zarr

import icechunk
from icechunk import Repository
from icechunk._engine.assets.assets import Assets
from icechunk._engine.assets.weighted_cache import WeightedCache
from icechunk.abc import Locality
from icechunk.testing import FaultInjectingStorage

NUM_ARRAYS = 40
REFS_EACH = 25


@pytest.fixture(params=[1, 2], ids=["v1", "v2"])
def storage(request: pytest.FixtureRequest) -> FaultInjectingStorage:
    """Forty arrays with a manifest of 25 refs each, in twenty snapshots, on storage that counts."""
    storage = FaultInjectingStorage(icechunk.in_memory_storage(), locality=Locality.REMOTE)
    repo = Repository.create(
        storage, icechunk.RepositoryConfig(inline_chunk_threshold_bytes=0), spec_version=request.param
    )
    for first in range(0, NUM_ARRAYS, 2):
        session = repo.writable_session("main")
        for name in (f"a{first}", f"a{first + 1}"):
            zarr.create_array(session.store, name=name, shape=(REFS_EACH,), chunks=(1,), dtype="i4")[:] = 7
        session.commit("two more")
    storage.faults.forget()
    return storage


# Storage in memory says that a byte is worth a request; what is far away does not.
FAR = icechunk.StorageSettings(concurrency=icechunk.StorageConcurrencySettings(18, 12 * 2**20))


def opened(storage: FaultInjectingStorage, **limits: int) -> Repository:
    caching = icechunk.CachingConfig(**limits)
    return Repository.open(storage, icechunk.RepositoryConfig(caching=caching, storage=FAR))


def assets_of(repo: Repository) -> Assets:
    return repo.readonly_session("main")._engine.assets


def read_all(repo: Repository, after_each: Callable[[], None]) -> None:
    group = zarr.open_group(repo.readonly_session("main").store, mode="r")
    for i in range(NUM_ARRAYS):
        array = group[f"a{i}"]
        assert isinstance(array, zarr.Array)
        np.testing.assert_array_equal(array[:], np.full(REFS_EACH, 7))
        after_each()


def weight_of(cache: WeightedCache[object, object]) -> int:
    """What is really there, not what the cache has counted."""
    return sum(weight for _value, weight in cache._entries.values())


def test_manifests_stay_under_their_limit(storage: FaultInjectingStorage) -> None:
    limit = NUM_ARRAYS * REFS_EACH // 10
    repo = opened(storage, num_chunk_refs=limit)
    cache = assets_of(repo)._manifests
    weights = []
    read_all(repo, lambda: weights.append(weight_of(cache)))
    assert max(weights) == limit
    assert storage.faults.count("get", "manifests/*") == NUM_ARRAYS
    # The last ones are still there, the first ones have to be fetched again.
    storage.faults.forget()
    store = repo.readonly_session("main").store
    assert zarr.open_array(store, path=f"a{NUM_ARRAYS - 1}", mode="r")[0] == 7
    assert storage.faults.count("get", "manifests/*") == 0
    assert zarr.open_array(store, path="a0", mode="r")[0] == 7
    assert storage.faults.count("get", "manifests/*") == 1


def test_what_leaves_the_cache_leaves_memory(storage: FaultInjectingStorage) -> None:
    repo = opened(storage, num_chunk_refs=NUM_ARRAYS * REFS_EACH // 10)
    cache = assets_of(repo)._manifests
    seen: dict[object, weakref.ref[object]] = {}

    def look() -> None:
        for id, (manifest, _weight) in cache._entries.items():
            seen.setdefault(id, weakref.ref(manifest))

    read_all(repo, look)
    gc.collect()
    assert len(seen) == NUM_ARRAYS
    assert sum(there() is not None for there in seen.values()) == NUM_ARRAYS // 10


def test_snapshots_stay_under_their_limit(storage: FaultInjectingStorage) -> None:
    limit = 60
    repo = opened(storage, num_snapshot_nodes=limit)
    cache = assets_of(repo)._snapshots
    nodes = 0
    for info in repo.ancestry(branch="main"):
        store = repo.readonly_session(snapshot_id=info.id).store
        nodes += len(list(zarr.open_group(store, mode="r").array_keys())) if info.parent_id else 0
        assert weight_of(cache) <= limit
    assert nodes > 6 * limit


def test_chunks_stay_under_their_limit(storage: FaultInjectingStorage) -> None:
    # 25 chunks of about 4 to 20 bytes each, of forty arrays: ten times what fits.
    repo = opened(storage, num_bytes_chunks=1_000)
    cache = assets_of(repo)._chunks
    weights = []
    read_all(repo, lambda: weights.append(weight_of(cache)))
    assert 500 < max(weights) <= 1_000
    read = storage.faults.count("get", "chunks/*")
    assert read == NUM_ARRAYS * REFS_EACH
    # What is cached is not read again.
    array = zarr.open_array(repo.readonly_session("main").store, path=f"a{NUM_ARRAYS - 1}", mode="r")
    assert (array[:] == 7).all()
    assert storage.faults.count("get", "chunks/*") == read


def test_a_limit_of_zero_keeps_nothing(storage: FaultInjectingStorage) -> None:
    repo = opened(storage, num_chunk_refs=0, num_snapshot_nodes=0, num_bytes_chunks=0)
    assets = assets_of(repo)
    read_all(repo, lambda: None)
    assert not assets._manifests._entries
    assert not assets._snapshots._entries
    assert not assets._chunks._entries


def test_fifty_threads_that_want_one_cold_manifest_make_one_request(storage: FaultInjectingStorage) -> None:
    repo = opened(storage)
    store = repo.readonly_session("main").store
    barrier = threading.Barrier(50)
    # The manifest takes so long to come that all of them are there.
    arrived = threading.Semaphore(0)
    storage.faults.run(lambda: [arrived.acquire(timeout=60) for _ in range(50)], "get", "manifests/*")
    found: list[object] = []

    def read(number: int) -> None:
        barrier.wait(60)
        arrived.release()
        buffer = store.get_sync(f"a5/c/{number % REFS_EACH}")
        found.append(None if buffer is None else len(buffer))

    threads = [threading.Thread(target=read, args=(i,)) for i in range(50)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(120)
    assert len(found) == 50
    assert None not in found
    assert storage.faults.count("get", "manifests/*") == 1
    assert storage.faults.count("get", "snapshots/*") == 1

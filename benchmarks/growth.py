"""How the cost of one small commit grows with what it does not touch: nodes, snapshots, references."""

from __future__ import annotations

import numpy as np
import zarr
from harness import Bench, main

import icechunk

COMMITS = 20


def commit_some(bench: Bench, repo: icechunk.Repository, label: str, path: str = "a") -> None:
    with bench.phase(label):
        for i in range(COMMITS):
            session = repo.writable_session("main")
            zarr.open_array(session.store, path=path, mode="r+")[i] = i + 1
            session.commit(f"number {i}")


def by_nodes(bench: Bench, count: int) -> None:
    name = f"nodes{count}"
    repo = icechunk.Repository.create(bench.storage(name))
    session = repo.writable_session("main")
    root = zarr.create_group(session.store)
    array = root.create_array("a", shape=1000, chunks=1, dtype="i4", compressors=None)
    document = array.metadata.to_buffer_dict(zarr.core.buffer.default_buffer_prototype())["zarr.json"]
    for i in range(count):
        # Straight to the store: making arrays is not what is measured.
        zarr.core.sync.sync(session.store.set(f"b{i:05d}/zarr.json", document))
    session.commit("created")
    commit_some(bench, repo, f"{COMMITS} commits among {count:,} arrays")


def by_snapshots(bench: Bench, count: int) -> None:
    name = f"snapshots{count}"
    repo = icechunk.Repository.create(bench.storage(name))
    session = repo.writable_session("main")
    zarr.create_array(session.store, name="a", shape=1000, chunks=1, dtype="i4", compressors=None)
    session.commit("created")
    for _ in range(count):
        repo.writable_session("main").commit("empty", allow_empty=True)
    commit_some(bench, repo, f"{COMMITS} commits on {count:,} snapshots")


def by_refs(bench: Bench, count: int) -> None:
    count = max(count, COMMITS)
    name = f"refs{count}"
    repo = icechunk.Repository.create(bench.storage(name))
    session = repo.writable_session("main")
    array = zarr.create_array(session.store, name="a", shape=count, chunks=1, dtype="i4", compressors=None)
    array[...] = np.arange(1, count + 1, dtype="i4")
    session.commit("created")
    commit_some(bench, repo, f"{COMMITS} commits among {count:,} inline references")


def run(bench: Bench) -> None:
    for _ in bench.repeats():
        for count in (100, 1_000, 5_000):
            by_nodes(bench, bench.size(count))
        for count in (10, 100, 1_000):
            by_snapshots(bench, bench.size(count))
        for count in (100, 1_000, 10_000):
            by_refs(bench, bench.size(count))


if __name__ == "__main__":
    main(run)

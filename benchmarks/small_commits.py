"""300 commits of one small chunk each, to one branch."""

from __future__ import annotations

import zarr
from harness import Bench, main

import icechunk


def run(bench: Bench) -> None:
    count = bench.size(300)
    for _ in bench.repeats():
        repo = icechunk.Repository.create(bench.storage())
        session = repo.writable_session("main")
        zarr.create_array(session.store, name="a", shape=1000, chunks=10, dtype="i4", compressors=None)
        session.commit("created")
        with bench.phase("commits"):
            for i in range(count):
                session = repo.writable_session("main")
                array = zarr.open_array(session.store, path="a", mode="r+")
                array[i % 1000] = i + 1
                session.commit(f"number {i}")
        assert len(list(repo.ancestry(branch="main"))) == count + 2


if __name__ == "__main__":
    main(run)

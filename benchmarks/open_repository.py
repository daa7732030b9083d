"""Opening: a repository, a read-only session and its root group, 100 times, each time anew."""

from __future__ import annotations

import zarr
from harness import Bench, main

import icechunk


def run(bench: Bench) -> None:
    count = bench.size(100)
    for _ in bench.repeats():
        repo = icechunk.Repository.create(bench.storage())
        session = repo.writable_session("main")
        root = zarr.create_group(session.store, attributes={"title": "winds"})
        for name in ("u", "v", "time"):
            root.create_array(name, shape=100, chunks=10, dtype="f4")[...] = 1
        session.commit("created")
        with bench.phase("open"):
            for _ in range(count):
                repo = icechunk.Repository.open(bench.storage())
                root = zarr.open_group(repo.readonly_session("main").store, mode="r")
        assert root.attrs["title"] == "winds"


if __name__ == "__main__":
    main(run)

"""300 arrays in 30 groups: created, committed, opened, walked."""

from __future__ import annotations

import zarr
from harness import Bench, main

import icechunk


def run(bench: Bench) -> None:
    groups = bench.size(30)
    for _ in bench.repeats():
        repo = icechunk.Repository.create(bench.storage())
        session = repo.writable_session("main")
        with bench.phase("create"):
            root = zarr.create_group(session.store)
            for g in range(groups):
                group = root.create_group(f"group{g}")
                for a in range(10):
                    group.create_array(f"array{a}", shape=(100, 100), chunks=(10, 10), dtype="f4")
        with bench.phase("commit"):
            session.commit("created")
        with bench.phase("open"):
            repo = icechunk.Repository.open(bench.storage())
            root = zarr.open_group(repo.readonly_session("main").store, mode="r")
        with bench.phase("walk"):
            members = root.members(max_depth=None)
        assert len(members) == groups * 11
        with bench.phase("all"):
            repo = icechunk.Repository.create(bench.storage("again"))
            session = repo.writable_session("main")
            root = zarr.create_group(session.store)
            for g in range(groups):
                group = root.create_group(f"group{g}")
                for a in range(10):
                    group.create_array(f"array{a}", shape=(100, 100), chunks=(10, 10), dtype="f4")
            session.commit("created")
            repo = icechunk.Repository.open(bench.storage("again"))
            root = zarr.open_group(repo.readonly_session("main").store, mode="r")
            members = root.members(max_depth=None)


if __name__ == "__main__":
    main(run)

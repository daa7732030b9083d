"""What a history of a thousand commits costs: ancestry, ops log, diff; and a rebase over fifty commits."""

from __future__ import annotations

import zarr
from harness import Bench, main

import icechunk


def make(repo: icechunk.Repository, count: int) -> None:
    session = repo.writable_session("main")
    for name in ("a", "b"):
        zarr.create_array(session.store, name=name, shape=1_000, chunks=1, dtype="i4", compressors=None)
    session.commit("created")
    change(repo, "a", count)


def change(repo: icechunk.Repository, name: str, count: int) -> None:
    for i in range(count):
        session = repo.writable_session("main")
        zarr.open_array(session.store, path=name, mode="r+")[i] = i + 1
        session.commit(f"number {i}")


def run(bench: Bench) -> None:
    count = bench.size(1_000)
    for _ in bench.repeats():
        storage = bench.copy_of(f"history-{count}", lambda repo: make(repo, count))
        repo = icechunk.Repository.open(storage)
        with bench.phase(f"ancestry of {count:,} commits"):
            ids = [info.id for info in repo.ancestry(branch="main")]
        assert len(ids) == count + 2
        with bench.phase(f"ops log of {count:,} commits"):
            updates = [update.updated_at for update in repo.ops_log()]
        assert len(updates) == count + 2
        with bench.phase(f"diff over {count:,} commits"):
            diff = repo.diff(from_snapshot_id=ids[-2], to_branch="main")
        assert len(diff.updated_chunks["/a"]) == count

        session = repo.writable_session("main")
        zarr.open_array(session.store, path="a", mode="r+")[0] = 7
        change(repo, "b", 50)
        with bench.phase("rebase over 50 commits"):
            session.rebase(icechunk.ConflictDetector())
        session.commit("rebased")


if __name__ == "__main__":
    main(run)

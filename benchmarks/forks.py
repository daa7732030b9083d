"""64 forks that each wrote 1,000 chunks come home: unpickled, merged and committed.

The forks are pickled, changed and pickled again once, as workers would do it; what is measured is what the process does
that waits for them.
"""

from __future__ import annotations

import asyncio
import pickle

import zarr
from harness import Bench, main
from zarr.core.buffer import cpu

import icechunk

FORKS = 64


async def work(fork: icechunk.Session, start: int, count: int, size_bytes: int) -> None:
    store = fork.store
    for number in range(start, start + count):
        await store.set(
            f"a/c/{number}", cpu.Buffer.from_bytes(number.to_bytes(8, "little") * (size_bytes // 8))
        )


def run(bench: Bench) -> None:
    count = bench.size(1_000)
    for _ in bench.repeats():
        for kind, size_bytes in (("inline", 8), ("native", 1024)):
            repo = icechunk.Repository.create(bench.storage(kind))
            session = repo.writable_session("main")
            zarr.create_array(
                session.store, name="a", shape=FORKS * count, chunks=1, dtype="i8", compressors=None
            )
            base = session.commit("array")
            session = repo.writable_session("main")
            with bench.phase(f"{kind}: fork and pickle"):
                sent = [pickle.dumps(session.fork()) for _ in range(FORKS)]
            received = []
            for number, data in enumerate(sent):
                fork = pickle.loads(data)
                asyncio.run(work(fork, number * count, count, size_bytes))
                received.append(pickle.dumps(fork))
            bench.notes[f"{kind}: bytes for each fork"] = len(received[0])
            with bench.phase(f"{kind}: unpickle, merge, commit"):
                session.merge(*[pickle.loads(data) for data in received])
                session.commit("merged")
            repo.reset_branch("main", base)
            session = repo.writable_session("main")
            with bench.phase(f"{kind}: unpickle"):
                forks = [pickle.loads(data) for data in received]
            with bench.phase(f"{kind}: merge"):
                session.merge(*forks)
            with bench.phase(f"{kind}: commit"):
                session.commit("merged")
            keys = _keys(repo)
            assert keys == FORKS * count, keys


def _keys(repo: icechunk.Repository) -> int:
    async def count() -> int:
        found = 0
        async for key in repo.readonly_session("main").store.list_prefix("a"):
            found += not key.endswith("zarr.json")
        return found

    return asyncio.run(count())


if __name__ == "__main__":
    main(run)

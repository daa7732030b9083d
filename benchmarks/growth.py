"""How the cost of one small commit grows with what it does not touch: nodes, snapshots, references.

Measured twice: with the session, opening the array and writing the chunk, of which Zarr has the larger part; and
`Session.commit` alone. Each measurement commits to a copy of a repository that is made once.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import zarr
from harness import Bench, main
from zarr.core.buffer import cpu, default_buffer_prototype
from zarr.core.sync import sync

import icechunk

LENGTH = 1_000


def new_array(store: Any, length: int = LENGTH) -> Any:
    return zarr.create_array(store, name="a", shape=length, chunks=1, dtype="i4", compressors=None)


def among_nodes(repo: icechunk.Repository, count: int) -> None:
    session = repo.writable_session("main")
    document = new_array(session.store).metadata.to_buffer_dict(default_buffer_prototype())["zarr.json"]
    for i in range(count - 1):
        sync(session.store.set(f"b{i:05d}/zarr.json", document))
    session.commit("created")


def on_snapshots(repo: icechunk.Repository, count: int) -> None:
    session = repo.writable_session("main")
    new_array(session.store)
    session.commit("created")
    for i in range(count - 1):
        repo.writable_session("main").commit(f"number {i}", allow_empty=True)


def among_refs(repo: icechunk.Repository, count: int) -> None:
    session = repo.writable_session("main")
    new_array(session.store, count)
    # Native ones, each in a file of its own, as long as so many files are bearable.
    size = 600 if count <= 100_000 else 4
    for i in range(count):
        sync(session.store.set(f"a/c/{i}", cpu.Buffer.from_bytes(i.to_bytes(4, "little") * (size // 4))))
    session.commit("created")


def commits(bench: Bench, kind: str, make: Callable[[icechunk.Repository, int], None], count: int) -> None:
    storage = bench.copy_of(f"{kind}-{count}", lambda repo: make(repo, count))
    repo = icechunk.Repository.open(storage)
    number = 3 if count > 10_000 else 20
    with bench.phase(f"{number} commits, {count:,} {kind}"):
        for i in range(number):
            session = repo.writable_session("main")
            zarr.open_array(session.store, path="a", mode="r+")[i] = -i - 1
            session.commit(f"measured {i}")
    with bench.parts(f"the commits alone, {count:,} {kind}") as commit:
        for i in range(number):
            session = repo.writable_session("main")
            zarr.open_array(session.store, path="a", mode="r+")[i] = i + 1
            with commit():
                session.commit(f"measured again {i}")


def run(bench: Bench) -> None:
    for _ in bench.repeats():
        for count in (100, 1_000, 5_000):
            commits(bench, "arrays", among_nodes, bench.size(count))
        for count in (100, 1_000, 5_000):
            commits(bench, "snapshots", on_snapshots, bench.size(count))
        for count in (10_000, 100_000, 1_000_000):
            commits(bench, "references", among_refs, bench.size(count))


if __name__ == "__main__":
    main(run)

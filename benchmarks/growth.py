"""How the cost of one small commit grows with what it does not touch: nodes, snapshots, references.

The repositories are made once, by whoever comes first, and kept in the system's temporary folder: each
measurement commits to a copy. Delete the folder to make them anew.
"""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import zarr
from harness import Bench, main
from zarr.core.buffer import cpu, default_buffer_prototype
from zarr.core.sync import sync

import icechunk

KEPT = Path(tempfile.gettempdir()) / "icechunk-benchmark-growth"
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
    for i in range(count):
        sync(session.store.set(f"a/c/{i}", cpu.Buffer.from_bytes(i.to_bytes(4, "little"))))
    session.commit("created")


def commits(bench: Bench, kind: str, make: Callable[[icechunk.Repository, int], None], count: int) -> None:
    name = f"{kind}-{count}"
    kept = KEPT / name
    if not kept.exists():
        making = Path(tempfile.mkdtemp(prefix=f"{name}-", dir=KEPT)) / "repo"
        make(icechunk.Repository.create(icechunk.local_filesystem_storage(str(making))), count)
        making.rename(kept)
    shutil.copytree(kept, bench.path(name))
    repo = icechunk.Repository.open(bench.storage(name))
    number = 3 if count > 10_000 else 20
    with bench.phase(f"{number} commits, {count:,} {kind}"):
        for i in range(number):
            session = repo.writable_session("main")
            zarr.open_array(session.store, path="a", mode="r+")[i] = -i - 1
            session.commit(f"measured {i}")


def run(bench: Bench) -> None:
    KEPT.mkdir(exist_ok=True)
    for _ in bench.repeats():
        for count in (100, 1_000, 5_000):
            commits(bench, "arrays", among_nodes, bench.size(count))
        for count in (100, 1_000, 5_000):
            commits(bench, "snapshots", on_snapshots, bench.size(count))
        for count in (10_000, 100_000, 1_000_000):
            commits(bench, "references", among_refs, bench.size(count))


if __name__ == "__main__":
    main(run)

"""A manifest of 10^6 references, encoded and decoded: time, and peak memory beside the raw buffer's size.

Times are those of the phases; memory is what is allocated meanwhile (tracemalloc, in a pass of its own, because the
heap of the process has room from the pass before). The raw buffer itself is counted: as the result of encoding, and
as what is decoded. This is about our own format code, and has nothing to compare with: under another interpreter it says so.
"""

from __future__ import annotations

import os
import sys
import tracemalloc
from collections.abc import Callable

import numpy as np
from harness import Bench, main

try:
    from icechunk._engine.format.chunk_refs import NativeRef, RefColumns, VirtualRef
    from icechunk._engine.format.ids import ChunkId, ManifestId, NodeId
    from icechunk._engine.format.manifest import Manifest, encode_manifest
except ImportError:
    print('{"phases": {}, "files": 0, "bytes": 0, "notes": {"skipped": "only for our own format code"}}')
    sys.exit()


def columns_of(kind: str, count: int) -> RefColumns:
    """References on a grid of 1,000 columns; virtual ones in 1,000 files."""
    rows = [(i // 1000, i % 1000) for i in range(count)]
    if kind == "native":
        ids = os.urandom(12 * count)
        refs = [NativeRef(ChunkId(ids[12 * i : 12 * i + 12]), 0, 8192) for i in range(count)]
    else:
        rng = np.random.default_rng(0)
        lengths = rng.integers(5_000, 20_000, count)
        offsets = np.cumsum(lengths)
        refs = [
            VirtualRef(
                f"s3://a-bucket/forecasts/2024/a-run-of-the-model-{i // 1000:05d}.grib2", o, n, None, 0
            )
            for i, (o, n) in enumerate(zip(offsets.tolist(), lengths.tolist(), strict=True))
        ]
    return RefColumns.from_refs(rows, refs, 2)


def run(bench: Bench) -> None:
    count = bench.size(1_000_000)
    node_id = NodeId(b"\x01" * 8)
    for kind in ("virtual", "native"):
        columns = columns_of(kind, count)
        for _ in bench.repeats():
            with bench.phase(f"encode, {kind}"):
                pieces = encode_manifest(ManifestId.random(), [(node_id, columns)], spec_version=2)
            with bench.phase(f"join, {kind}"):
                payload = b"".join(pieces)
            del pieces
            bench.notes[f"raw bytes, {kind}"] = len(payload)
            with bench.phase(f"decode all columns, {kind}"):
                decoded = Manifest.decode(memoryview(payload), name="manifest").find_array(node_id)
                assert decoded is not None
                found = decoded.columns()
            assert len(found) == count
            del decoded, found
            with bench.phase(f"one lookup in a fresh one, {kind}"):
                decoded = Manifest.decode(memoryview(payload), name="manifest").find_array(node_id)
                assert decoded is not None
                assert decoded.lookup((count // 2000, 500)) is not None
            del decoded

        def encode(columns: RefColumns = columns) -> object:
            return encode_manifest(ManifestId.random(), [(node_id, columns)], spec_version=2)

        def decode(payload: bytes = payload) -> object:
            decoded = Manifest.decode(memoryview(payload), name="manifest").find_array(node_id)
            assert decoded is not None
            return decoded.columns()

        raw = len(payload)
        bench.notes[f"peak memory to encode, {kind}"] = f"{allocated(encode) / raw:.2f} times the raw buffer"
        bench.notes[f"peak memory to decode, {kind}"] = (
            f"{1 + allocated(decode) / raw:.2f} times the raw buffer"
        )
        del columns, payload


def allocated(work: Callable[[], object]) -> int:
    """The peak of what `work` allocates, its result included."""
    tracemalloc.start()
    try:
        result = work()
        _, peak = tracemalloc.get_traced_memory()
        del result
        return peak
    finally:
        tracemalloc.stop()


if __name__ == "__main__":
    main(run)

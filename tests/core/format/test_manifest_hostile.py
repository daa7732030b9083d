"""Manifests that nobody should have written: an error that names the file, or values; never anything else."""

from __future__ import annotations

import random
import struct
import time
import tracemalloc
from collections.abc import Callable

import pytest
import zstandard

from icechunk._engine.format.chunk_refs import ChunkRef, InlineRef, NativeRef, VirtualRef
from icechunk._engine.format.ids import ChunkId, NodeId
from icechunk._engine.format.manifest import LocationCompression
from icechunk.errors import FormatError
from tests.core.format.refs import NODE_ID, columns_of, decoded, manifest_of

# The file's name, as every message has it.
NAMED = "`manifests/X`"

# So many refs that anything quadratic would not end.
MANY = 200_000

ALWAYS = LocationCompression(min_num_refs=1, min_text_bytes=0)


def samples() -> list[bytes]:
    rng = random.Random(2)
    refs: list[Callable[[int], ChunkRef]] = [
        lambda row: NativeRef(ChunkId(rng.randbytes(12)), row % 2, row),
        lambda row: InlineRef(rng.randbytes(row % 9)),
        lambda row: VirtualRef(f"s3://bucket/{row % 7}", row, 9, "etag" if row % 3 else None, row % 2),
    ]
    payloads = []
    for count in (1, 5, 60):
        for make in (*refs, lambda row: refs[row % 3](row)):
            table = {(row // 8, row % 8): make(row) for row in range(count)}
            payloads.append(manifest_of((NODE_ID, columns_of(2, table))))
    own = {(row,): VirtualRef(f"s3://bucket/{rng.randrange(10**9)}/{row}", row, 9) for row in range(80)}
    payloads.append(manifest_of((NODE_ID, columns_of(1, dict(own))), location_compression=ALWAYS))
    return payloads


def damaged(payload: bytes, rng: random.Random) -> bytes:
    data = bytearray(payload)
    for _ in range(rng.choice([1, 1, 1, 3])):
        kind = rng.randrange(5)
        at = rng.randrange(max(1, len(data) - 4))
        until = min(len(data), at + rng.randrange(1, 64))
        if kind == 0:
            data[at] ^= 1 << rng.randrange(8)
        elif kind == 1:
            values = [0, 1, 4, 2**31 - 1, 2**32 - 1, rng.randrange(len(data)), rng.randrange(2**32)]
            data[at // 4 * 4 : at // 4 * 4 + 4] = struct.pack("<I", rng.choice(values))
        elif kind == 2:
            data[at // 2 * 2 : at // 2 * 2 + 2] = struct.pack("<H", rng.choice([0, 3, 4, 6, 28, 65535]))
        elif kind == 3:
            del data[at:until]
        else:
            data[at:at] = data[at:until]
    return bytes(data)


def read_everything(payload: bytes) -> None:
    """Read each ref in both ways, and see that they agree."""
    manifest = decoded(payload)
    for node_id in manifest.node_ids:
        refs = manifest.find_array(node_id)
        assert refs is not None
        columns = refs.columns()
        for row, coords in enumerate(columns.coords.tolist()):
            answers: list[object] = []
            for read in (lambda: columns.row(row), lambda: refs.lookup(tuple(coords))):  # noqa: B023
                try:
                    answers.append(read())
                except FormatError as error:
                    answers.append("refused" if NAMED in str(error) else error)
            assert answers[0] == answers[1]


def test_damaged_manifests_are_refused_or_read_alike_both_ways() -> None:
    payloads = samples()
    rng = random.Random(3)
    messages = []
    for _ in range(3000):
        payload = damaged(rng.choice(payloads), rng)
        try:
            read_everything(payload)
        except FormatError as error:
            messages.append(str(error))
    assert all(NAMED in message for message in messages)
    assert 300 < len(messages) < 2700


def test_every_truncation_is_refused_or_read_alike_both_ways() -> None:
    for payload in samples()[3:5]:
        for end in range(len(payload)):
            try:
                read_everything(payload[:end])
            except FormatError:
                pass


def aliased(count: int, table: bytes, *, arrays: int = 1) -> bytes:
    """Return a manifest with a vector of `count` refs that all are one table, which ends the file."""
    base = bytearray(
        manifest_of(
            *((numbered_id(number), columns_of(1, {(0,): InlineRef(b"")})) for number in range(arrays))
        )
    )
    vector = len(base)
    end = vector + 4 + 4 * count
    tables = decoded(bytes(base))._file.root().tables(1)
    assert tables is not None
    for array in tables:
        field = array.position + array._slots[1]
        base[field : field + 4] = struct.pack("<I", vector - field)
    # Behind the vector: the vtable of the table, then the table.
    at = end + 12
    elements = struct.pack(f"<{count}I", *range(at - vector - 4, at - vector - 4 - 4 * count, -4))
    vtable = struct.pack("<4H", 8, 12, 4, 8)
    return bytes(base) + struct.pack("<I", count) + elements + vtable.ljust(12, b"\0") + table


def numbered_id(number: int) -> NodeId:
    return NodeId(struct.pack(">Q", number))


def measured(action: Callable[[], object]) -> tuple[float, int]:
    tracemalloc.start()
    start = time.process_time()
    try:
        with pytest.raises(FormatError, match="`manifests/X`"):
            action()
        return time.process_time() - start, tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()


def test_refs_that_are_all_one_table_cost_no_more_than_others() -> None:
    # Index of one coordinate, and an empty inline chunk.
    table = struct.pack("<iIIIII", 12, 8, 12, 1, 0, 0)
    seconds, peak = measured(lambda: read_everything(aliased(MANY, table)))
    assert seconds < 2
    assert peak < 200 * MANY


def test_refs_that_share_a_long_vector_are_refused_before_memory_is_taken() -> None:
    table = struct.pack("<iIII", 12, 8, 8, 900) + bytes(4 * 900)
    seconds, peak = measured(lambda: read_everything(aliased(MANY, table)))
    assert seconds < 2
    assert peak < 100 * MANY


def test_coordinates_without_end_are_refused() -> None:
    table = struct.pack("<iIII", 12, 8, 8, 10**6) + bytes(4 * 10**6)
    measured(lambda: read_everything(aliased(2, table)))


def test_arrays_that_share_their_refs_are_refused() -> None:
    table = struct.pack("<iIIIII", 12, 8, 12, 1, 0, 0)
    measured(lambda: read_everything(aliased(10**5, table, arrays=50)))


def test_long_chunks_that_overlap_are_not_copied_at_once() -> None:
    # Ten refs whose inline chunk is the same 10 MB.
    payload = bytearray(manifest_of((NODE_ID, columns_of(1, {(row,): InlineRef(b"") for row in range(10)}))))
    rows = decoded(bytes(payload))._file.root().tables(1)
    assert rows is not None
    refs = rows[0].tables(1)
    assert refs is not None
    for ref in refs:
        field = ref.position + ref._slots[1]
        payload[field : field + 4] = struct.pack("<I", len(payload) - field)
    payload += struct.pack("<I", 10**7) + bytes(10**7)
    tracemalloc.start()
    try:
        found = decoded(bytes(payload)).find_array(NODE_ID)
        assert found is not None
        assert found.columns().lengths.tolist() == [10**7] * 10
        assert tracemalloc.get_traced_memory()[1] < 3 * 10**7
    finally:
        tracemalloc.stop()


@pytest.mark.parametrize("order", [(1, 0), (0, 0), (0, 2, 1)])
def test_refs_that_are_not_in_order_are_refused(order: tuple[int, ...]) -> None:
    for count in (len(order), 40):
        rows = [*order, *range(3, 3 + count - len(order))]
        table = {(row,): InlineRef(bytes([row])) for row in range(100, 100 + count)}
        payload = bytearray(manifest_of((NODE_ID, columns_of(1, dict(table)))))
        for row, value in zip(range(100, 100 + count), rows, strict=True):
            at = payload.index(struct.pack("<II", 1, row))
            payload[at + 4 : at + 8] = struct.pack("<I", value)
        refs = decoded(bytes(payload)).find_array(NODE_ID)
        assert refs is not None
        with pytest.raises(FormatError, match="not in ascending order"):
            refs.columns()


def test_a_ref_that_is_nothing_is_refused() -> None:
    for count in (1, 40):
        payload = bytearray(
            manifest_of((NODE_ID, columns_of(1, {(row,): InlineRef(b"x") for row in range(count)})))
        )
        at = payload.index(struct.pack("<4H", 8, 12, 4, 8))
        payload[at + 6 : at + 8] = bytes(2)
        refs = decoded(bytes(payload)).find_array(NODE_ID)
        assert refs is not None
        with pytest.raises(FormatError, match="neither inline, native nor virtual"):
            refs.columns()
        with pytest.raises(FormatError, match="neither inline, native nor virtual"):
            refs.lookup((0,))


def test_a_compressed_location_that_is_a_bomb_is_refused() -> None:
    rng = random.Random(1)
    table = {(row,): VirtualRef(f"s3://b/{rng.randrange(10**9)}/{row}", row, 9) for row in range(100)}
    payload = manifest_of((NODE_ID, columns_of(1, dict(table))), location_compression=ALWAYS)
    good = decoded(payload).find_array(NODE_ID)
    assert good is not None
    frame = bytes(good.columns().locations.data[int(good.columns().locations.starts[5]) :])[:20]
    for bomb in (
        zstandard.compress(bytes(10**6)),
        zstandard.ZstdCompressor(write_content_size=False).compress(bytes(10**6)),
        b"nonsense",
    ):
        bad = payload.replace(frame, (bomb + bytes(20))[:20])
        refs = decoded(bad).find_array(NODE_ID)
        assert refs is not None
        row = 5
        with pytest.raises(FormatError, match="`manifests/X`: a compressed location"):
            refs.lookup((row,))
        with pytest.raises(FormatError, match="`manifests/X`: a compressed location"):
            refs.columns().row(row)

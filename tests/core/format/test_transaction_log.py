"""Transaction logs: columns both ways."""

from __future__ import annotations

import struct
from concurrent.futures import ThreadPoolExecutor
from threading import Barrier
from typing import Any

import numpy as np
import pytest
from hypothesis import given, strategies as st

from icechunk._engine.format import transaction_log
from icechunk._engine.format.coordinates import MAX_DIMENSIONS
from icechunk._engine.format.header import FileType
from icechunk._engine.format.ids import NodeId, SnapshotId
from icechunk._engine.format.tables_columns import TableColumns
from icechunk._engine.format.transaction_log import Move, TransactionLog, UpdatedChunks
from icechunk.errors import FormatError
from tests.core.format.judge.hostile import shared_chunks
from tests.core.format.record_strategies import (
    check_names,
    coordinate_columns,
    golden_files,
    node_ids,
    paths,
    snapshot_ids,
)

LISTS = ("new_groups", "new_arrays", "deleted_groups", "deleted_arrays", "updated_groups", "updated_arrays")

moves = st.builds(Move, paths, paths, node_ids, st.booleans())
logs = st.builds(
    TransactionLog,
    id=snapshot_ids,
    updated_chunks=st.dictionaries(node_ids, coordinate_columns(), max_size=3),
    moved_nodes=st.lists(moves, max_size=3, unique_by=lambda move: move.to_path),
    **{name: st.lists(node_ids, max_size=3, unique=True) for name in LISTS},
)


def decode(log: TransactionLog) -> TransactionLog:
    return TransactionLog.decode(b"".join(log.encode()), name="transactions/X")


def check(decoded: TransactionLog, log: TransactionLog) -> None:
    assert decoded.id == log.id
    for name in LISTS:
        assert getattr(decoded, name) == sorted(getattr(log, name))
    assert decoded.moved_nodes == log.moved_nodes
    assert list(decoded.updated_chunks) == sorted(log.updated_chunks)
    for id, coords in log.updated_chunks.items():
        assert decoded.updated_chunks[id].dtype == np.uint32
        np.testing.assert_array_equal(decoded.updated_chunks[id], coords)


@given(logs)
def test_a_log_survives_a_round_trip(log: TransactionLog) -> None:
    check(decode(log), log)
    check(decode(decode(log)), log)


GOLDEN = list(golden_files(FileType.TRANSACTION_LOG, "transactions"))


@pytest.mark.parametrize(("name", "spec_version", "payload"), GOLDEN, ids=[name for name, *_ in GOLDEN])
def test_logs_of_the_reference_are_kept(name: str, spec_version: int, payload: memoryview) -> None:
    log = TransactionLog.decode(payload, name=name)
    check(decode(log), log)


def test_moves_are_sorted_by_the_parts_of_their_target() -> None:
    targets = ["/a", "/a/b", "/a-b", "/aa"]
    moves = [Move(f"/old{to}", to, NodeId(bytes(8)), False) for to in reversed(targets)]
    log = TransactionLog(id=SnapshotId(bytes(12)), moved_nodes=moves)
    assert [move.to_path for move in decode(log).moved_nodes] == targets


def test_a_million_chunks_take_one_row_each() -> None:
    coords = np.stack(np.unravel_index(np.arange(10**6), (1000, 1000)), axis=1).astype(np.uint32)
    log = TransactionLog(id=SnapshotId(bytes(12)), updated_chunks={NodeId(bytes(8)): coords})
    assert sum(map(len, log.encode())) < 25 * 10**6
    check(decode(log), log)


def test_an_array_without_changed_chunks_is_kept() -> None:
    log = TransactionLog(
        id=SnapshotId(bytes(12)), updated_chunks={NodeId(bytes(8)): np.empty((0, 2), np.uint32)}
    )
    assert len(decode(log).updated_chunks[NodeId(bytes(8))]) == 0


def small_log() -> bytes:
    ids = [NodeId(bytes([number]) * 8) for number in range(1, 9)]
    log = TransactionLog(
        id=SnapshotId(bytes(range(12))),
        new_groups=ids[:2],
        updated_arrays=ids[2:3],
        updated_chunks={
            ids[0]: np.arange(6, dtype=np.uint32).reshape(3, 2),
            ids[1]: np.zeros((1, 0), np.uint32),
        },
        moved_nodes=[Move("/a", "/b", ids[4], True)],
    )
    return b"".join(log.encode())


def read_everything(payload: bytes) -> Any:
    log = TransactionLog.decode(payload, name="transactions/X")
    return [getattr(log, name) for name in LISTS], log.moved_nodes, dict(log.updated_chunks)


@given(data=st.data())
def test_mutated_logs_are_values_or_format_errors(data: st.DataObject) -> None:
    payload = bytearray(small_log())
    for _ in range(data.draw(st.integers(1, 3))):
        word = data.draw(st.integers(0, len(payload) // 4 - 1))
        value = data.draw(st.sampled_from([0, 1, 2**31, 2**32 - 1]) | st.integers(0, len(payload)))
        struct.pack_into("<I", payload, 4 * word, value)
    cut = data.draw(st.just(len(payload)) | st.integers(0, len(payload)))
    try:
        read_everything(bytes(payload[:cut]))
    except FormatError as error:
        check_names(error, "transactions/X")


@given(logs)
def test_a_few_chunks_are_read_as_tuples(log: TransactionLog) -> None:
    chunks = decode(log).updated_chunks
    assert isinstance(chunks, UpdatedChunks)
    for id, rows in log.updated_chunks.items():
        assert chunks.few(id, len(rows)) == [tuple(row) for row in rows.tolist()]
        assert not len(rows) or chunks.few(id, len(rows) - 1) is None


def test_few_chunks_with_different_numbers_of_dimensions_are_refused() -> None:
    id = NodeId(bytes(8))
    log = TransactionLog(id=SnapshotId(bytes(12)), updated_chunks={id: np.zeros((2, 3), np.uint32)})
    payload = bytearray(b"".join(log.encode()))
    payload[-16:-12] = struct.pack("<I", 2)
    chunks = TransactionLog.decode(payload, name="transactions/X").updated_chunks
    assert isinstance(chunks, UpdatedChunks)
    with pytest.raises(FormatError, match="different numbers of dimensions"):
        chunks.few(id, 2)


@pytest.mark.parametrize("as_tuples", [True, False], ids=["as tuples", "as columns"])
@pytest.mark.parametrize("num_chunks", [1, 8, 16])
def test_a_log_gives_no_more_coordinates_than_it_has_room_for(num_chunks: int, as_tuples: bool) -> None:
    payload = shared_chunks(nodes=2_000, chunks=num_chunks, ndim=1_000)
    chunks = TransactionLog.decode(payload, name="transactions/X").updated_chunks
    assert isinstance(chunks, UpdatedChunks)
    total = 0

    def ask_for_all() -> None:
        nonlocal total
        for id in chunks:
            rows = chunks.few(id, num_chunks) if as_tuples else chunks[id].tolist()
            assert rows is not None
            total += sum(map(len, rows))

    with pytest.raises(FormatError, match="overlap") as raised:
        ask_for_all()
    check_names(raised.value, "transactions/X")
    assert 0 < 4 * total <= len(payload)


@pytest.mark.parametrize("num_chunks", [1, 9])
def test_chunks_of_more_dimensions_than_anybody_has_are_refused(num_chunks: int) -> None:
    def chunks(ndim: int) -> UpdatedChunks:
        payload = shared_chunks(nodes=1, chunks=num_chunks, ndim=ndim, copies=num_chunks)
        found = TransactionLog.decode(payload, name="transactions/X").updated_chunks
        assert isinstance(found, UpdatedChunks)
        return found

    for ask in (lambda found, id: found[id], lambda found, id: found.few(id, num_chunks)):
        found = chunks(MAX_DIMENSIONS)
        (id,) = found
        assert np.shape(ask(found, id)) == (num_chunks, MAX_DIMENSIONS)
        with pytest.raises(FormatError, match=f"claim {MAX_DIMENSIONS + 1} coordinates"):
            ask(chunks(MAX_DIMENSIONS + 1), id)


@given(logs)
def test_an_honest_log_can_be_asked_any_number_of_times(log: TransactionLog) -> None:
    chunks = decode(log).updated_chunks
    assert isinstance(chunks, UpdatedChunks)
    for _ in range(50):
        for id, rows in log.updated_chunks.items():
            assert chunks.few(id, len(rows)) == [tuple(row) for row in rows.tolist()]
            np.testing.assert_array_equal(chunks[id], rows)


def test_an_honest_log_can_be_asked_by_many_threads_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    id = NodeId(bytes(8))
    coords = np.arange(6400, dtype=np.uint32).reshape(100, 64)
    chunks = decode(TransactionLog(id=SnapshotId(bytes(12)), updated_chunks={id: coords})).updated_chunks
    threads = 40
    all_are_decoding = Barrier(threads)

    def when_all_are(*arguments: Any) -> TableColumns:
        all_are_decoding.wait(timeout=60)
        return TableColumns(*arguments)

    monkeypatch.setattr(transaction_log, "TableColumns", when_all_are)
    with ThreadPoolExecutor(threads) as pool:
        for found in pool.map(lambda _: chunks[id], range(threads)):
            np.testing.assert_array_equal(found, coords)

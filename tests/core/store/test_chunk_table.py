"""The chunk table against a plain dict: sets and deletes, one by one and in bulk, in any order."""

from __future__ import annotations

import pickle

import numpy as np
import pytest
from hypothesis import given, strategies as st

from icechunk._engine.changes import DELETED, ChunkTable
from icechunk._engine.changes.packing import pack_tables, unpack_tables
from icechunk._engine.format.chunk_refs import ChunkRef, InlineRef, NativeRef, RefColumns, VirtualRef
from icechunk._engine.format.ids import ChunkId, NodeId

Coords = tuple[int, ...]


@st.composite
def edits(draw: st.DrawFn) -> tuple[int, list[list[tuple[Coords, bytes | None]]], list[bool]]:
    ndim = draw(st.integers(0, 3))
    # Sometimes so far apart that the grid has more places than fit into a machine word.
    places = st.sampled_from([0, 1, 2, 3, 2**32 - 1]) if draw(st.booleans()) else st.integers(0, 3)
    coords = st.tuples(*[places] * ndim)
    steps = draw(
        st.lists(
            st.lists(st.tuples(coords, st.one_of(st.none(), st.binary(min_size=1, max_size=2))), max_size=6),
            max_size=14,
        )
    )
    in_bulk = draw(st.lists(st.booleans(), min_size=len(steps), max_size=len(steps)))
    return ndim, steps, in_bulk


Edits = tuple[int, list[list[tuple[Coords, bytes | None]]], list[bool]]


def edited(given_edits: Edits) -> tuple[ChunkTable, dict[Coords, bytes | None]]:
    ndim, steps, in_bulk = given_edits
    table = ChunkTable()
    model: dict[Coords, bytes | None] = {}
    for step, bulk in zip(steps, in_bulk, strict=True):
        if bulk:
            live = [(coords, data) for coords, data in step if data is not None]
            refs = RefColumns.from_refs(
                [coords for coords, _ in live], [InlineRef(data) for _, data in live], ndim
            )
            gone = sorted({coords for coords, data in step if data is None} - {coords for coords, _ in live})
            deleted = np.array(gone, np.uint32).reshape(len(gone), ndim)
            if gone:
                table.add_changes(refs.sorted_last_wins(), deleted)
            else:
                table.add_columns(refs)
            model.update(live)
            model.update((coords, None) for coords in gone)
        else:
            for coords, data in step:
                if data is None:
                    table.delete(coords)
                else:
                    table.set(coords, InlineRef(data))
                model[coords] = data
    return table, model


def check(table: ChunkTable, model: dict[Coords, bytes | None], ndim: int) -> None:
    for coords, data in model.items():
        assert table.find(coords) == (DELETED if data is None else InlineRef(data))
    assert table.find((7,) * ndim if ndim else (0,)) is None
    live_columns, deleted = table.columns(ndim)
    live_rows = [tuple(row) for row in live_columns.coords.tolist()]
    assert live_rows == sorted(c for c, data in model.items() if data is not None)
    assert [live_columns.row(i) for i in range(len(live_columns))] == [
        InlineRef(model[c] or b"") for c in live_rows
    ]
    assert [tuple(row) for row in deleted.tolist()] == sorted(c for c, data in model.items() if data is None)
    assert [tuple(row) for row in table.touched_coords(ndim).tolist()] == sorted(model)
    assert table.touched_coords(ndim).shape == (len(model), ndim)
    few = table.few_changes(1000)
    assert few == sorted((c, DELETED if data is None else InlineRef(data)) for c, data in model.items())
    assert table.ndim == (ndim if model else None)


@given(edits())
def test_the_last_change_of_a_chunk_wins(given_edits: Edits) -> None:
    check(*edited(given_edits), ndim=given_edits[0])


@given(st.lists(edits(), min_size=1, max_size=12))
def test_tables_are_laid_one_over_the_other(many: list[Edits]) -> None:
    ndim = many[0][0]
    (first, expected), *others = [edited(each) for each in many if each[0] == ndim]
    first.add_tables([table for table, _ in others])
    for _, model in others:
        expected.update(model)
    check(first, expected, ndim)


@given(st.lists(edits(), max_size=4))
def test_tables_survive_the_way_to_another_process(many: list[Edits]) -> None:
    tables = {NodeId(bytes([n]) * 8): edited(each) for n, each in enumerate(many)}
    sent = pickle.loads(pickle.dumps(pack_tables({id: table for id, (table, _) in tables.items()})))
    received = unpack_tables(sent)
    assert received.keys() == tables.keys()
    for id, (ndim, _, _) in zip(tables, many, strict=True):
        check(received[id], tables[id][1], ndim)


def test_many_bulk_changes_are_merged() -> None:
    table = ChunkTable()
    for step in range(40):
        table.set((step,), InlineRef(b"one"))
        table.add_columns(RefColumns.from_refs([(step + 1,)], [InlineRef(b"bulk %d" % step)], 1))
    assert len(table._below) < 20
    assert table.find((40,)) == InlineRef(b"bulk 39")
    assert table.find((0,)) == InlineRef(b"one")
    assert table.find((5,)) == InlineRef(b"one")


@pytest.mark.parametrize("ndim", [0, 2])
def test_an_empty_table_has_columns_of_the_right_shape(ndim: int) -> None:
    table = ChunkTable()
    assert table.live_columns(ndim).coords.shape == (0, ndim)
    assert table.columns(ndim)[1].shape == (0, ndim)
    assert table.touched_coords(ndim).shape == (0, ndim)
    assert table.touched_coords(ndim).dtype == np.uint32


def test_virtual_refs_go_through_columns_unchanged() -> None:
    ref: ChunkRef = VirtualRef("s3://bucket/key", 1, 2, "etag")
    table = ChunkTable()
    table.add_columns(RefColumns.from_refs([(1, 2)], [ref], 2))
    assert table.find((1, 2)) == ref


def contents(table: ChunkTable, ndim: int) -> dict[Coords, bytes | None]:
    live = table.live_columns(ndim)
    found: dict[Coords, bytes | None] = {}
    for row, coords in enumerate(live.coords.tolist()):
        ref = live.row(row)
        assert isinstance(ref, InlineRef)
        found[tuple(coords)] = ref.data
    return found | {tuple(coords): None for coords in table.columns(ndim)[1].tolist()}


@given(edits(), st.data())
def test_a_table_without_some_chunks_has_all_others(given_edits: Edits, data: st.DataObject) -> None:
    ndim, _, _ = given_edits
    table, model = edited(given_edits)
    some = data.draw(st.lists(st.sampled_from(sorted(model)), unique=True) if model else st.just([]))
    rest = table.without(np.array(some, np.uint32).reshape(len(some), ndim))
    assert contents(rest, ndim) == {coords: ref for coords, ref in model.items() if coords not in some}
    assert contents(table, ndim) == model


@given(edits(), st.data())
def test_renumbering_moves_what_lies_behind_a_place(given_edits: Edits, data: st.DataObject) -> None:
    ndim, steps, in_bulk = given_edits
    if not ndim:
        return
    small = [[(tuple(min(c, 9) for c in coords), ref) for coords, ref in step] for step in steps]
    table, model = edited((ndim, small, in_bulk))
    axis, start, offset = data.draw(
        st.tuples(st.integers(0, ndim - 1), st.integers(0, 4), st.integers(0, 2**31))
    )
    expected = {
        tuple(c + offset * (a == axis and c >= start) for a, c in enumerate(coords)): ref
        for coords, ref in model.items()
    }
    assert contents(table.renumbered(ndim, axis, start, offset), ndim) == expected
    assert contents(table, ndim) == model


def test_refs_of_all_kinds_survive_the_way_to_another_process() -> None:
    refs: list[ChunkRef] = [
        VirtualRef("s3://bucket/key", 1, 2, "etag"),
        NativeRef(ChunkId(b"chunk of 12b"), 3, 4),
        InlineRef(b"inline"),
        VirtualRef("s3://bucket/key", 5, 6, None, 7),
        InlineRef(b"more"),
        VirtualRef("s3://bucket/other", 8, 9),
    ]
    columns = RefColumns.from_refs([(i,) for i in range(6)], refs, 1)
    for rows in ([0, 1, 2, 3, 4, 5], [3], [4, 5], [1]):
        table = ChunkTable()
        table.add_columns(columns.take(np.array(rows)))
        packed = pack_tables({NodeId(b"the node"): table})
        [received] = unpack_tables(pickle.loads(pickle.dumps(packed))).values()
        assert [received.find((row,)) for row in rows] == [refs[row] for row in rows]


def test_what_is_sent_is_as_large_as_what_changed() -> None:
    # A few rows of a large manifest: its other locations and inline chunks stay at home.
    refs: list[ChunkRef] = [VirtualRef(f"s3://bucket/{i:04}", 0, 1) for i in range(1000)]
    refs += [InlineRef(bytes(100)) for _ in range(1000)]
    columns = RefColumns.from_refs([(i,) for i in range(2000)], refs, 1)
    table = ChunkTable()
    table.add_columns(columns.take(np.array([5, 1500])))
    assert len(pickle.dumps(pack_tables({NodeId(b"the node"): table}))) < 1000
    table = ChunkTable()
    for i in range(1000):
        table.set((i,), NativeRef(ChunkId.random(), 0, 100))
    # An id, a coordinate, a length; the rest is the same for all.
    assert len(pickle.dumps(pack_tables({NodeId(b"the node"): table}))) < 1000 * (12 + 4 + 8) + 1000

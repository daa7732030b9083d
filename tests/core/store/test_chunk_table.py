"""The chunk table against a plain dict: sets and deletes, one by one and in bulk, in any order."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, strategies as st

from icechunk._engine.changes import DELETED, ChunkTable
from icechunk._engine.format.chunk_refs import ChunkRef, InlineRef, RefColumns, VirtualRef

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


def built(given_edits: Edits) -> tuple[ChunkTable, dict[Coords, bytes | None]]:
    """Make a table, and the dict that says the same."""
    ndim, steps, in_bulk = given_edits
    table = ChunkTable()
    model: dict[Coords, bytes | None] = {}
    for step, bulk in zip(steps, in_bulk, strict=True):
        if bulk:
            live = [(coords, data) for coords, data in step if data is not None]
            table.add_columns(
                RefColumns.from_refs(
                    [coords for coords, _ in live], [InlineRef(data) for _, data in live], ndim
                )
            )
            model.update(live)
        else:
            for coords, data in step:
                if data is None:
                    table.delete(coords)
                else:
                    table.set(coords, InlineRef(data))
                model[coords] = data
    return table, model


@given(edits())
def test_the_last_change_of_a_chunk_wins(given_edits: Edits) -> None:
    ndim, _, _ = given_edits
    table, model = built(given_edits)
    for coords, data in model.items():
        assert table.find(coords) == (DELETED if data is None else InlineRef(data))
    assert table.find((7,) * ndim if ndim else (0,)) is None
    live_columns = table.live_columns(ndim)
    live_rows = [tuple(row) for row in live_columns.coords.tolist()]
    assert live_rows == sorted(c for c, data in model.items() if data is not None)
    assert [live_columns.row(i) for i in range(len(live_columns))] == [
        InlineRef(model[c] or b"") for c in live_rows
    ]
    deleted = [tuple(row) for row in table.deleted_coords(ndim).tolist()]
    assert deleted == sorted(c for c, data in model.items() if data is None)
    assert [tuple(row) for row in table.touched_coords(ndim).tolist()] == sorted(model)
    assert table.touched_coords(ndim).shape == (len(model), ndim)


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
    assert table.deleted_coords(ndim).shape == (0, ndim)
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
    return found | {tuple(coords): None for coords in table.deleted_coords(ndim).tolist()}


@given(edits(), st.data())
def test_a_table_without_some_chunks_has_all_others(given_edits: Edits, data: st.DataObject) -> None:
    ndim, _, _ = given_edits
    table, model = built(given_edits)
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
    table, model = built((ndim, small, in_bulk))
    axis, start, offset = data.draw(
        st.tuples(st.integers(0, ndim - 1), st.integers(0, 4), st.integers(0, 2**31))
    )
    expected = {
        tuple(c + offset * (a == axis and c >= start) for a, c in enumerate(coords)): ref
        for coords, ref in model.items()
    }
    assert contents(table.renumbered(ndim, axis, start, offset), ndim) == expected
    assert contents(table, ndim) == model

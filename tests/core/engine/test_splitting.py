from __future__ import annotations

import itertools

import numpy as np
from hypothesis import given, strategies as st

from icechunk._engine.session.splitting import BoxGrid, row_keys, tight_extents


@st.composite
def grids(draw: st.DrawFn) -> BoxGrid:
    edges = []
    for _ in range(draw(st.integers(0, 3))):
        inner = draw(st.sets(st.integers(1, 12), max_size=5))
        last = draw(st.integers(0, 13))
        edges.append((0, *sorted(e for e in inner if e < last), last))
    return BoxGrid(tuple(edges))


def box_by_hand(grid: BoxGrid, coords: tuple[int, ...]) -> int | None:
    boxes = itertools.product(*[list(itertools.pairwise(e)) for e in grid.edges])
    for number, intervals in enumerate(boxes):
        if all(a <= c < b for c, (a, b) in zip(coords, intervals, strict=True)):
            return number
    return None


@given(grids())
def test_every_chunk_is_in_the_box_that_its_edges_say(grid: BoxGrid) -> None:
    coords = list(itertools.product(*[range(n + 2) for n in grid.num_chunks]))
    table = np.array(coords, np.uint32).reshape(len(coords), len(grid.edges))
    expected = [box_by_hand(grid, c) for c in coords]
    inside = grid.contains(table)
    assert inside.tolist() == [box is not None for box in expected]
    boxes = grid.boxes_of(table[inside])
    assert boxes.tolist() == [box for box in expected if box is not None]


@given(grids(), st.data())
def test_extents_know_the_boxes_that_they_touch(grid: BoxGrid, data: st.DataObject) -> None:
    extents = []
    for _ in grid.edges:
        first = data.draw(st.integers(0, 14))
        extents.append((first, data.draw(st.integers(first + 1, 16))))
    cells = itertools.product(*[range(a, b) for a, b in extents])
    boxes = {box_by_hand(grid, cell) for cell in cells}
    assert grid.intersects(tuple(extents)) == (boxes != {None})
    assert grid.box_holding(tuple(extents)) == (next(iter(boxes)) if len(boxes) == 1 else None)


@given(
    st.integers(0, 4).flatmap(
        lambda ndim: st.lists(
            st.lists(
                st.tuples(*[st.one_of(st.integers(0, 3), st.integers(0, 2**32 - 1))] * ndim),
                max_size=6,
            ).map(lambda rows: np.array(rows, np.uint32).reshape(len(rows), ndim)),
            min_size=1,
            max_size=3,
        )
    )
)
def test_row_keys_order_and_compare_as_rows_do(tables: list[np.ndarray]) -> None:
    rows = [tuple(row) for table in tables for row in table.tolist()]
    keys = [key for column in row_keys(*tables) for key in column.tolist()]
    for (row, key), (other_row, other_key) in itertools.combinations(zip(rows, keys, strict=True), 2):
        assert (row < other_row) == (key < other_key)
        assert (row == other_row) == (key == other_key)


def test_tight_extents_end_behind_the_last_chunk() -> None:
    assert tight_extents(np.array([[1, 7], [4, 2]], np.uint32)) == ((1, 5), (2, 8))
    assert tight_extents(np.empty((1, 0), np.uint32)) == ()

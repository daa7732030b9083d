from __future__ import annotations

import pickle

import numpy as np
import pytest
from hypothesis import given, strategies as st

from icechunk._engine.format.byte_strings import ByteStrings, concat_strings, copy_strings
from icechunk._engine.format.chunk_refs import ChunkRef, InlineRef, NativeRef, RefColumns, RefKind
from icechunk._engine.format.coordinates import Box
from icechunk._engine.format.ids import ChunkId
from tests.core.format.refs import any_refs, columns_of, tables

Table = tuple[int, dict[tuple[int, ...], ChunkRef]]


@given(tables())
def test_refs_survive_being_columns(drawn: Table) -> None:
    ndim, table = drawn
    columns = RefColumns.from_refs(list(table), list(table.values()), ndim)
    assert len(columns) == len(table)
    assert columns.ndim == ndim
    assert [columns.row(row) for row in range(len(columns))] == list(table.values())
    assert list(map(tuple, columns.coords.tolist())) == list(table)


@given(st.lists(st.tuples(st.tuples(st.integers(0, 3), st.integers(0, 2**32 - 1)), any_refs), max_size=40))
def test_sorting_keeps_the_last_of_equal_coordinates(rows: list[tuple[tuple[int, int], ChunkRef]]) -> None:
    columns = RefColumns.from_refs([coords for coords, _ in rows], [ref for _, ref in rows], 2)
    found = columns.sorted_last_wins()
    expected = sorted(dict(rows).items())
    assert list(map(tuple, found.coords.tolist())) == [coords for coords, _ in expected]
    assert [found.row(row) for row in range(len(found))] == [ref for _, ref in expected]


def test_sorting_works_where_coordinates_cannot_be_numbered() -> None:
    high = 2**32 - 1
    coords = [(high, high, high), (0, 0, 0), (high, 0, high), (0, 0, 0)]
    refs: list[ChunkRef] = [InlineRef(bytes([number])) for number in range(4)]
    found = RefColumns.from_refs(coords, refs, 3).sorted_last_wins()
    assert not Box(found.coords).is_small
    assert [found.row(row) for row in range(3)] == [
        InlineRef(b"\x03"),
        InlineRef(b"\x02"),
        InlineRef(b"\x00"),
    ]


@given(st.lists(tables(max_refs=8, ndims=range(2, 3)), min_size=1, max_size=4))
def test_joined_columns_hold_the_rows_of_all_parts(drawn: list[Table]) -> None:
    parts = [columns_of(*table) for table in drawn]
    joined = RefColumns.concat(parts)
    assert [joined.row(row) for row in range(len(joined))] == [
        part.row(row) for part in parts for row in range(len(part))
    ]
    # And again with columns that share their buffers.
    halves = [joined.take(np.arange(0, len(joined), 2)), joined.take(np.arange(1, len(joined), 2))]
    assert sorted(map(repr, (RefColumns.concat(halves).row(row) for row in range(len(joined))))) == sorted(
        map(repr, (joined.row(row) for row in range(len(joined))))
    )


def test_rows_are_taken_by_number_or_mask() -> None:
    columns = columns_of(1, {(number,): InlineRef(bytes([number])) for number in range(5)})
    assert columns.take(columns.coords[:, 0] > 2).row(0) == InlineRef(b"\x03")
    assert columns.take(np.array([4, 0])).row(0) == InlineRef(b"\x04")


def test_columns_that_say_nothing_take_no_memory() -> None:
    columns = columns_of(1, {(number,): NativeRef(ChunkId(bytes(12)), 0, 9) for number in range(5)})
    joined = RefColumns.concat([columns, columns]).take(np.arange(7))
    for column in (joined.location_codes, joined.etag_codes, joined.last_modified, joined.inline_starts):
        assert column.strides == (0,)
        assert len(column) == 7


@given(tables())
def test_columns_survive_pickling(drawn: Table) -> None:
    columns = columns_of(*drawn)
    again = pickle.loads(pickle.dumps(columns))
    assert [again.row(row) for row in range(len(again))] == [columns.row(row) for row in range(len(columns))]


@given(st.lists(st.binary(max_size=9) | st.binary(min_size=3, max_size=3), max_size=60), st.integers(0, 5))
def test_strings_are_moved_between_buffers(strings: list[bytes], gap: int) -> None:
    source = ByteStrings.of(strings)
    places = source.starts + gap * np.arange(1, len(strings) + 1)
    target = np.zeros(len(source.data) + gap * (len(strings) + 1), dtype=np.uint8)
    copy_strings(source.data, source.starts, target, places, source.lengths)
    assert list(ByteStrings(target, places, source.lengths)) == strings


@given(st.lists(st.lists(st.binary(max_size=5), max_size=9), min_size=1, max_size=4))
def test_joined_strings_are_those_of_all_parts(parts: list[list[bytes]]) -> None:
    joined = concat_strings([ByteStrings.of(part) for part in parts])
    assert list(joined) == [text for part in parts for text in part]


def test_an_empty_table_has_columns_too() -> None:
    empty = RefColumns.empty(3)
    assert len(empty) == 0
    assert empty.ndim == 3
    assert RefColumns.concat([empty, empty]).ndim == 3
    assert len(empty.sorted_last_wins()) == 0


@pytest.mark.parametrize("kind", RefKind)
def test_one_kind_for_all_rows_needs_no_column(kind: RefKind) -> None:
    columns = RefColumns.build(coords=np.zeros((3, 1), np.uint32), kinds=kind, lengths=np.zeros(3, np.uint64))
    assert columns.kinds.tolist() == [kind] * 3

"""The primitives, on tables made by the stock FlatBuffers builder, and on tables made by hand."""

from __future__ import annotations

import struct

import flatbuffers  # type: ignore[import-untyped]
import numpy as np
import pytest
from hypothesis import given, strategies as st

from icechunk._engine.format.tables import FlatBuffer, TableVector, Vector
from icechunk._engine.format.tables_columns import TableColumns, gather, regular_step
from icechunk.errors import FormatError

# One row of a table with slots 0: u64, 1: u8, 2: string, 3: a struct of 12 bytes; None where absent.
ROWS = st.lists(
    st.tuples(
        st.none() | st.integers(1, 2**64 - 1),
        st.none() | st.integers(1, 255),
        st.none() | st.text(max_size=5),
        st.none() | st.binary(min_size=12, max_size=12),
    ),
    max_size=30,
)
Row = tuple[int | None, int | None, str | None, bytes | None]


def built(rows: list[Row]) -> bytes:
    builder = flatbuffers.Builder()
    tables = []
    for number, small, text, raw in rows:
        text_at = None if text is None else builder.CreateString(text)
        builder.StartObject(4)
        if number is not None:
            builder.PrependUint64Slot(0, number, 0)
        if small is not None:
            builder.PrependUint8Slot(1, small, 0)
        if text_at is not None:
            builder.PrependUOffsetTRelativeSlot(2, text_at, 0)
        if raw is not None:
            builder.Prep(1, 12)
            for byte in reversed(raw):
                builder.PrependByte(byte)
            builder.PrependStructSlot(3, builder.Offset(), 0)
        tables.append(builder.EndObject())
    builder.StartVector(4, len(tables), 4)
    for table in reversed(tables):
        builder.PrependUOffsetTRelative(table)
    vector = builder.EndVector()
    builder.StartObject(1)
    builder.PrependUOffsetTRelativeSlot(0, vector, 0)
    builder.Finish(builder.EndObject())
    return bytes(builder.Output())


def rows_of(data: bytes) -> TableVector:
    rows = FlatBuffer(data, name="thing").root().tables(0)
    assert rows is not None
    return rows


@given(ROWS)
def test_scalars_are_read_as_they_were_built(rows: list[Row]) -> None:
    found = rows_of(built(rows))
    assert len(found) == len(rows)
    for table, (number, small, text, raw) in zip(found, rows, strict=True):
        assert table.u64(0, 7) == (7 if number is None else number)
        assert table.u8(1) == (small or 0)
        assert table.text(2) == text
        assert table.struct(3, 12) == raw
        assert [table.has(slot) for slot in range(4)] == [value is not None for value in table_values(table)]


def table_values(table: object) -> list[object]:
    return [
        table.u64(0) or None,  # type: ignore[attr-defined]
        table.u8(1) or None,  # type: ignore[attr-defined]
        table.text(2),  # type: ignore[attr-defined]
        table.struct(3, 12),  # type: ignore[attr-defined]
    ]


@given(ROWS)
def test_columns_hold_the_same_as_the_rows(rows: list[Row]) -> None:
    data = built(rows)
    file = FlatBuffer(data, name="thing")
    columns = TableColumns(file, rows_of(data).positions())
    assert columns.scalars(0, "<u8", 7).tolist() == [7 if row[0] is None else row[0] for row in rows]
    assert columns.scalars(1, "<u1").tolist() == [row[1] or 0 for row in rows]
    assert columns.has(2).tolist() == [row[2] is not None for row in rows]
    assert [item.tobytes() for item in columns.structs(3, 12)] == [row[3] or bytes(12) for row in rows]
    starts, counts = columns.vectors(2, 1)
    texts = [
        None if count < 0 else data[start : start + count].decode()
        for start, count in zip(starts.tolist(), counts.tolist(), strict=True)
    ]
    assert texts == [row[2] for row in rows]


def test_a_vtable_for_each_table_is_fine() -> None:
    # As in our own snapshots: each table carries its vtable before it.
    count = 50
    one = struct.pack("<3HxxiI", 6, 8, 4, 8, 0)
    data = b"".join(one[:12] + struct.pack("<I", number) for number in range(count))
    positions = np.arange(count, dtype=np.int64) * 16 + 8
    columns = TableColumns(FlatBuffer(data, name="thing"), positions)
    assert columns.scalars(0, "<u4").tolist() == list(range(count))


def test_slots_beyond_a_vtable_are_absent() -> None:
    file = FlatBuffer(struct.pack("<2Hi", 4, 4, 4), name="thing")
    assert not file.table_at(4).has(15)
    assert TableColumns(file, np.array([4])).scalars(15, "<u4", 9).tolist() == [9]


@pytest.mark.parametrize("step", [-24, -9, 0, 3, 8, 24])
@pytest.mark.parametrize("dtype", ["<u1", "<u2", "<u4", "<u8", "V12"])
def test_gathering_takes_any_step_and_alignment(step: int, dtype: str) -> None:
    data = bytes(range(256)) * 4
    file = FlatBuffer(data, name="thing")
    positions = 500 + step * np.arange(20, dtype=np.int64)
    kind = np.dtype(dtype)
    expected = [data[at : at + kind.itemsize] for at in positions.tolist()]
    for known in (regular_step(positions), 0):
        assert [item.tobytes() for item in gather(file, positions, kind, step=known)] == expected


@pytest.mark.parametrize("positions", [[0, 61], [-1, 5], [61, 0], [2**40, 3], [-(2**40)], [59, 60, 61]])
def test_gathering_does_not_leave_the_buffer(positions: list[int]) -> None:
    file = FlatBuffer(bytes(64), name="thing")
    where = np.array(positions, dtype=np.int64)
    with pytest.raises(FormatError, match="`thing`"):
        gather(file, where, np.dtype("<u4"), step=regular_step(where))


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"\0\0\0",
        struct.pack("<I", 2**32 - 1),
        struct.pack("<Ii", 4, 100),  # a vtable before the start
        struct.pack("<Ii", 4, -100),  # and behind the end
        struct.pack("<IHHi", 8, 3, 4, 4),  # too short
        struct.pack("<IHHi", 8, 5, 4, 4),  # odd
        struct.pack("<IHHi", 8, 200, 4, 4),  # beyond the end
    ],
)
def test_a_root_that_leads_nowhere_is_refused(data: bytes) -> None:
    with pytest.raises(FormatError, match="`thing`"):
        FlatBuffer(data, name="thing").root()


def test_a_vector_that_claims_too_much_is_refused() -> None:
    file = FlatBuffer(struct.pack("<II", 2**32 - 1, 0), name="thing")
    with pytest.raises(FormatError, match="claims 4294967295 elements"):
        file.vector_at(0, 8)
    assert file.vector_at(4, 8) == Vector(8, 0)


@given(ROWS, st.data())
def test_damaged_tables_are_an_error_or_read_alike_both_ways(rows: list[Row], data: st.DataObject) -> None:
    damaged = bytearray(built(rows))
    for _ in range(data.draw(st.integers(1, 4))):
        at = data.draw(st.integers(0, len(damaged) - 1))
        damaged[at] = data.draw(st.integers(0, 255))
    try:
        vector = rows_of(bytes(damaged))
        file = vector.file
        columns = TableColumns(file, vector.positions())
        numbers = columns.scalars(0, "<u8").tolist()
        structs = [item.tobytes() for item in columns.structs(3, 12)]
        starts, counts = columns.vectors(2, 1)
    except (FormatError, AssertionError):
        return
    for row, table in enumerate(vector):
        assert table.u64(0) == numbers[row]
        assert (table.struct(3, 12) or bytes(12)) == structs[row]
        text = table.bytes(2)
        assert (-1 if text is None else len(text)) == counts[row]
        if text is not None:
            assert text == file.data[int(starts[row]) : int(starts[row] + counts[row])]

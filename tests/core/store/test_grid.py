"""What a session reads from a `zarr.json`."""

from __future__ import annotations

import json
from typing import Any

import pytest
import zarr
from hypothesis import given, strategies as st
from zarr.storage import MemoryStore

from icechunk._engine.format.snapshot_records import DimensionShape
from icechunk._engine.session.grid import ArrayLayout, parse_node_document
from icechunk.errors import InvalidInputError


def document(**fields: Any) -> bytes:
    return json.dumps({"zarr_format": 3, "node_type": "array", **fields}).encode()


def regular(*sizes: int) -> dict[str, Any]:
    return {"name": "regular", "configuration": {"chunk_shape": list(sizes)}}


def rectilinear(*axes: Any) -> dict[str, Any]:
    return {"name": "rectilinear", "configuration": {"kind": "inline", "chunk_shapes": list(axes)}}


@given(st.lists(st.tuples(st.integers(0, 50), st.integers(1, 20)), max_size=3))
def test_the_number_of_chunks_is_zarrs(axes: list[tuple[int, int]]) -> None:
    lengths, sizes = [axis[0] for axis in axes], [axis[1] for axis in axes]
    store = MemoryStore()
    array = zarr.create_array(store, shape=lengths, chunks=sizes, dtype="i1")
    layout = parse_node_document(store._store_dict["zarr.json"].to_bytes(), 2)
    assert layout is not None
    assert tuple(d.num_chunks for d in layout.shape) == array.cdata_shape
    assert [d.array_length for d in layout.shape] == lengths


def test_a_group_has_no_layout() -> None:
    assert parse_node_document(b'{"node_type": "group"}', 2) is None


def test_dimension_names_may_be_missing_one_by_one() -> None:
    layout = parse_node_document(
        document(shape=[3, 4], chunk_grid=regular(2, 2), dimension_names=["x", None]), 2
    )
    assert layout == ArrayLayout((DimensionShape(3, 2), DimensionShape(4, 2)), ("x", None))


def test_a_chunk_size_of_zero_makes_no_chunks() -> None:
    layout = parse_node_document(document(shape=[0], chunk_grid=regular(0)), 1)
    assert layout == ArrayLayout((DimensionShape(0, 0),), None)


def test_run_lengths_of_a_rectilinear_grid_are_counted() -> None:
    layout = parse_node_document(
        document(shape=[10, 6, 8], chunk_grid=rectilinear([3, [2, 3], 1], [[6, 1]], 3)), 2
    )
    assert layout is not None
    assert [d.num_chunks for d in layout.shape] == [5, 1, 3]


@pytest.mark.parametrize("value", ["NaN", "Infinity", "-Infinity"])
def test_what_only_python_takes_for_json_is_refused(value: str) -> None:
    with pytest.raises(InvalidInputError, match=f"{value} is no JSON value"):
        parse_node_document(b'{"node_type": "group", "attributes": {"x": %s}}' % value.encode(), 2)


@pytest.mark.parametrize("encoding", ["utf-8-sig", "utf-16", "utf-16-le", "utf-32"])
def test_documents_are_utf_8(encoding: str) -> None:
    with pytest.raises(InvalidInputError, match="bad metadata"):
        parse_node_document('{"node_type": "group"}'.encode(encoding), 2)


def test_spec_1_has_regular_grids_only() -> None:
    with pytest.raises(InvalidInputError, match="Non-regular chunk grids are not supported"):
        parse_node_document(document(shape=[3], chunk_grid=rectilinear([1, 2])), 1)


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        (b"x", "bad metadata"),
        (b"\xff", "bad metadata"),
        (b"[" * 100_000, "bad metadata"),
        (b"[]", "expected an object, found list"),
        (b"{}", "missing field `node_type`"),
        (b'{"node_type": "zz"}', "invalid node_type 'zz'"),
        (document(), "missing field `shape`"),
        (document(shape=[1]), "missing field `chunk_grid`"),
        (document(shape=[-1], chunk_grid=regular(1)), "invalid shape"),
        (document(shape=[True], chunk_grid=regular(1)), "invalid shape"),
        (document(shape=[1.5], chunk_grid=regular(1)), "invalid shape"),
        (document(shape=[2**64], chunk_grid=regular(1)), "invalid shape"),
        (document(shape=3, chunk_grid=regular(1)), "invalid shape"),
        (document(shape=[1], chunk_grid=[]), "invalid chunk_grid"),
        (document(shape=[1], chunk_grid={"name": "regular"}), "missing field `configuration`"),
        (document(shape=[1, 2], chunk_grid=regular(1)), "1 dimensions, the shape of the array 2"),
        (document(shape=[2**40], chunk_grid=regular(1)), "along one dimension"),
        (document(shape=[1], chunk_grid={"name": "foo", "configuration": {}}), "Unsupported chunk grid foo"),
        (document(shape=[1], chunk_grid=rectilinear(["1"])), "invalid chunk size"),
        (document(shape=[1], chunk_grid=rectilinear([[1, 2, 3]])), "invalid chunk size"),
        (document(shape=[1], chunk_grid=rectilinear("1")), "invalid chunk sizes"),
        (document(shape=[1], chunk_grid=regular(1), dimension_names=["a", "b"]), "2 dimension_names"),
        (document(shape=[1], chunk_grid=regular(1), dimension_names=[1]), "invalid dimension_names"),
    ],
)
def test_a_document_that_is_no_node_is_refused(text: bytes, problem: str) -> None:
    with pytest.raises(InvalidInputError, match=problem):
        parse_node_document(text, 2)

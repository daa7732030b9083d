"""What random programs are made of: names, documents, and choices among what is there."""

from __future__ import annotations

import itertools
import math
from typing import Any

from hypothesis import strategies as st

PATHS = ["a", "g", "g/a", "g/h", "g/h/a", "b", "z", ""]
BRANCHES = ["main", "dev", "other"]
TAGS = ["t1", "t2"]
SESSIONS = ["0", "1", "2"]
FORKS = ["f0", "f1"]
# Above the threshold chunks are objects of their own, below they lie in manifests.
INLINE_THRESHOLD = 16
SIZES = [3, 20]
# Shapes with their chunks: one and two dimensions, none, and empty.
GRIDS: list[tuple[list[int], list[int]]] = [
    ([4], [1]),
    ([5], [2]),
    ([4, 3], [2, 1]),
    ([6], [3]),
    ([], []),
    ([0], [1]),
]
SOLVERS: list[list[Any]] = [
    ["detector"],
    ["basic", "UseOurs", False, False],
    ["basic", "UseTheirs", False, False],
    ["basic", "Fail", True, False],
    ["basic", "UseOurs", False, True],
]
METADATA = [None, {}, {"author": "x"}, {"run": 1, "nested": {"a": [1, None, 2.5]}}]

numbers = st.integers(1, 3)


def key_of(path: str, name: str = "zarr.json") -> str:
    return f"{path}/{name}" if path else name


def group_document(number: int) -> dict[str, Any]:
    return {"zarr_format": 3, "node_type": "group", "attributes": {"n": number}}


def array_document(grid: tuple[list[int], list[int]], number: int, *, named: bool) -> dict[str, Any]:
    shape, chunks = grid
    document = {
        "zarr_format": 3,
        "node_type": "array",
        "shape": shape,
        "data_type": "uint8",
        "chunk_grid": {"name": "regular", "configuration": {"chunk_shape": chunks}},
        "chunk_key_encoding": {"name": "default", "configuration": {"separator": "/"}},
        "fill_value": 0,
        "codecs": [{"name": "bytes"}],
        "attributes": {"n": number},
    }
    if named:
        document["dimension_names"] = list("xy"[: len(shape)])
    return document


def shapes_like(shape: list[int]) -> st.SearchStrategy[list[int]]:
    """Another shape with as many dimensions."""
    return st.lists(st.integers(0, 8), min_size=len(shape), max_size=len(shape))


def chunk_key(path: str, index: list[int]) -> str:
    return key_of(path, "/".join(["c", *map(str, index)]))


def indices(num_chunks: list[int], *, beyond: int = 0) -> st.SearchStrategy[list[int]]:
    """Coordinates in a grid, or `beyond` it."""
    return st.tuples(*(st.integers(0, max(n - 1 + beyond, 0)) for n in num_chunks)).map(list)


def indices_to_delete(num_chunks: list[int], *, beyond: int = 0) -> st.SearchStrategy[list[int]]:
    """As `indices`; but never chunk 0 of nothing, which the reference has: decision 0001, 2."""
    return indices(num_chunks, beyond=beyond).map(
        lambda index: [i or 1 if not n else i for i, n in zip(index, num_chunks, strict=True)]
    )


def all_indices(num_chunks: list[int]) -> list[list[int]]:
    return [list(index) for index in itertools.product(*map(range, num_chunks))]


def grid_of(shape: list[int], chunks: list[int]) -> list[int]:
    return [math.ceil(n / size) for n, size in zip(shape, chunks, strict=True)]

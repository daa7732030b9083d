"""Random splitting configurations and edits, run unchanged with our implementation and with the reference."""

from __future__ import annotations

import random
from typing import Any

import numpy as np
import zarr

import icechunk
from icechunk import ManifestSplitCondition, ManifestSplitDimCondition

PATHS = ["a", "time", "g/temp", "g/time", "g/h/x1", "lat"]
PATTERNS = ["^/a$", "time", "^/g/", "x[0-9]", ".*", "t", "(", "^lat$", "e$", "TIME"]
DIMENSIONS = ["x", "y", "time", None, "lat", "X"]
DIMENSION_PATTERNS = ["^x$", "y", ".*", "time|lat", "(", "^$"]


def write(path: str, seed: int, count: int, spec_version: int) -> None:
    """Make `count` repositories under `path`, each with a configuration and arrays of its own."""
    for number in range(count):
        draw = random.Random(f"{seed} {number}")
        _write_one(f"{path}/{number}", draw, spec_version)


def _write_one(path: str, draw: random.Random, spec_version: int) -> None:
    storage = icechunk.local_filesystem_storage(path)
    repo = icechunk.Repository.create(storage, config=_config(draw), spec_version=spec_version)
    paths = draw.sample(PATHS, draw.randint(1, 3))
    session = repo.writable_session("main")
    for name in paths:
        _create(session.store, name, draw)
    session.commit("create")
    for _ in range(draw.randint(1, 3)):
        if draw.random() < 0.4:
            # Other boxes from now on: what lies across them is cut anew where it is touched.
            repo = icechunk.Repository.open(storage, config=_config(draw))
        session = repo.writable_session("main")
        for name in paths:
            _edit(zarr.open_array(session.store, path=name), draw)
        session.commit("edit", allow_empty=True)


def _config(draw: random.Random) -> icechunk.RepositoryConfig:
    rules: dict[Any, dict[Any, int]] = {}
    for _ in range(draw.randint(0, 4)):
        # One of each: equal ones are one key with ours, and two with the reference (docs/adr/0001).
        dimensions = {repr(found): found for found in (_dimension(draw) for _ in range(draw.randint(0, 3)))}
        sizes = {found: draw.choice([1, 2, 3, 4, 5, 9, 100]) for found in dimensions.values()}
        rules[_condition(draw, 2)] = sizes
    config = icechunk.RepositoryConfig.default()
    config.inline_chunk_threshold_bytes = draw.choice([0, 512])
    config.manifest = icechunk.ManifestConfig(
        preload=icechunk.ManifestPreloadConfig(max_total_refs=0),
        splitting=icechunk.ManifestSplittingConfig.from_dict(rules),
    )
    return config


def _condition(draw: random.Random, depth: int) -> Any:
    kind = draw.choice(["path", "name", "any", "or", "and"] if depth else ["path", "name", "any"])
    if kind == "path":
        return ManifestSplitCondition.path_matches(draw.choice(PATTERNS))
    if kind == "name":
        return ManifestSplitCondition.name_matches(draw.choice(PATTERNS))
    if kind == "any":
        return ManifestSplitCondition.AnyArray()
    parts = [_condition(draw, depth - 1) for _ in range(draw.randint(1, 3))]
    join = ManifestSplitCondition.or_conditions if kind == "or" else ManifestSplitCondition.and_conditions
    return join(parts)


def _dimension(draw: random.Random) -> Any:
    kind = draw.choice(["axis", "name", "any"])
    if kind == "axis":
        return ManifestSplitDimCondition.Axis(draw.randint(0, 3))
    if kind == "name":
        return ManifestSplitDimCondition.DimensionName(draw.choice(DIMENSION_PATTERNS))
    return ManifestSplitDimCondition.Any()


def _create(store: Any, name: str, draw: random.Random) -> None:
    ndim = draw.randint(0, 3)
    shape = tuple(draw.randint(0, 11) for _ in range(ndim))
    names = tuple(draw.choice(DIMENSIONS) for _ in range(ndim)) if draw.random() < 0.7 else None
    array = zarr.create_array(
        store, name=name, shape=shape, chunks=(1,) * ndim, dtype="i1", dimension_names=names, fill_value=0
    )
    _edit(array, draw)


def _edit(array: Any, draw: random.Random) -> None:
    ndim = len(array.shape)
    if ndim and draw.random() < 0.3:
        array.resize(tuple(max(0, n + draw.randint(-4, 5)) for n in array.shape))
    what = draw.random()
    if what < 0.15:
        return
    if what < 0.4:
        array[...] = draw.choice([1, 2, 0])
        return
    for _ in range(draw.randint(1, 6)):
        if 0 in array.shape:
            return
        window = tuple(slice(i := draw.randrange(n), i + draw.randint(1, 3)) for n in array.shape)
        array[window] = np.int8(draw.choice([1, 2, 3, 0]))

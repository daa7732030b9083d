"""Manifests that are loaded ahead: which, when, and that nobody notices if it fails."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import zarr

import icechunk
from icechunk import (
    ManifestConfig,
    ManifestPreloadCondition,
    ManifestPreloadConfig,
    Repository,
    RepositoryConfig,
)
from icechunk._engine.assets import fanout
from icechunk._engine.session.preloading import wanted_manifests
from icechunk._values.preloading import DEFAULT_PRELOAD_CONDITION, is_preloaded
from icechunk.abc import Locality
from icechunk.testing import FaultInjectingStorage

# What the reference loads ahead of arrays with these names, and what not, was found by watching its requests.
COORDINATES = [
    "time",
    "t",
    "hour",
    "day",
    "week",
    "month",
    "year",
    "min",
    "level",
    "lev",
    "z",
    "height",
    "hght",
    "altitude",
    "depth",
    "pres",
    "pressure",
    "isobaric",
    "isotherm",
    "sigma",
    "nav_lev",
    "y",
    "j",
    "nlat",
    "rlat",
    "nj",
    "lat",
    "latitude",
    "ylat",
    "nav_lat",
    "gphi",
    "gphit",
    "x",
    "i",
    "nlon",
    "rlon",
    "ni",
    "lon",
    "longitude",
    "xlon",
    "nav_lon",
    "glam",
    "glamt",
    "lat2",
    "time2",
    "lats",
    "bottom_top",
    "gdepw",
    "olev",
    "zeta",
    "z2",
    "zz",
]
OTHERS = [
    "times",
    "minute",
    "mylat",
    "mytime",
    "time_bnds",
    "xx",
    "ii",
    "temperature",
    "station",
    "Time",
    "LAT",
    "X",
    "wind_speed",
    "flat",
    "xylon",
    "platform",
    "salt",
    "slon",
    "lv_ISBL0",
    "alt",
    "vertical",
    "coord",
    "band",
    "step",
]


@pytest.mark.parametrize("name", COORDINATES)
def test_small_coordinates_are_loaded_ahead_by_default(name: str) -> None:
    assert is_preloaded(DEFAULT_PRELOAD_CONDITION, f"/group/{name}", 1000)
    assert not is_preloaded(DEFAULT_PRELOAD_CONDITION, f"/group/{name}", 1001)


@pytest.mark.parametrize("name", OTHERS)
def test_other_arrays_are_not(name: str) -> None:
    assert not is_preloaded(DEFAULT_PRELOAD_CONDITION, f"/group/{name}", 1)


@pytest.mark.parametrize(
    ("condition", "expected"),
    [
        (ManifestPreloadCondition.true(), True),
        (ManifestPreloadCondition.false(), False),
        (ManifestPreloadCondition.path_matches("^/a/"), True),
        (ManifestPreloadCondition.path_matches("^b"), False),
        (ManifestPreloadCondition.name_matches("^b"), True),
        (ManifestPreloadCondition.name_matches("("), False),
        (ManifestPreloadCondition.num_refs(5, 6), True),
        (ManifestPreloadCondition.num_refs(6, None), False),
        (ManifestPreloadCondition.num_refs(None, 5), False),
        (ManifestPreloadCondition.false() | ManifestPreloadCondition.true(), True),
        (ManifestPreloadCondition.false() & ManifestPreloadCondition.true(), False),
    ],
)
def test_conditions(condition: ManifestPreloadCondition, expected: bool) -> None:
    assert is_preloaded(condition, "/a/b", 5) is expected


def filled(storage: icechunk.Storage, names: str = "abcdef", chunks: int = 10) -> Repository:
    repo = Repository.create(storage)
    session = repo.writable_session("main")
    for name in names:
        zarr.create_array(session.store, name=name, shape=(chunks,), chunks=(1,), dtype="i4")[:] = 1
    session.commit("arrays")
    return repo


@pytest.mark.parametrize(
    ("rules", "number"),
    [
        (ManifestPreloadConfig(preload_if=ManifestPreloadCondition.true()), 6),
        (ManifestPreloadConfig(preload_if=ManifestPreloadCondition.true(), max_total_refs=39), 3),
        (ManifestPreloadConfig(preload_if=ManifestPreloadCondition.true(), max_arrays_to_scan=2), 2),
        (ManifestPreloadConfig(preload_if=ManifestPreloadCondition.name_matches("[ace]")), 3),
        (ManifestPreloadConfig(), 0),
    ],
)
def test_so_many_are_wanted(rules: ManifestPreloadConfig, number: int) -> None:
    repo = filled(icechunk.in_memory_storage())
    base = repo.readonly_session("main")._engine.base()
    assert len(list(wanted_manifests(base, rules))) == number


def remote(path: Path) -> FaultInjectingStorage:
    return FaultInjectingStorage(icechunk.local_filesystem_storage(str(path)), locality=Locality.REMOTE)


def eventually(condition: Callable[[], bool]) -> None:
    until = time.monotonic() + 60
    while not condition():
        assert time.monotonic() < until
        time.sleep(0.01)


def everything() -> RepositoryConfig:
    preload = ManifestPreloadConfig(preload_if=ManifestPreloadCondition.true())
    return RepositoryConfig(manifest=ManifestConfig(preload=preload))


def test_they_are_there_when_they_are_asked_for_and_are_read_once(tmp_path: Path) -> None:
    storage = remote(tmp_path)
    filled(storage)
    repo = Repository.open(storage, everything())
    storage.faults.forget()
    session = repo.readonly_session("main")
    # Nobody has asked for anything yet.
    assert storage.faults.count("get", "snapshots/*") == 0
    group = zarr.open_group(session.store, mode="r")
    eventually(lambda: storage.faults.count("get", "manifests/*") == 6)
    assert all((array[:] == 1).all() for _, array in group.arrays())
    assert storage.faults.count("get", "manifests/*") == 6


def test_on_storage_nearby_only_what_is_asked_for_is_loaded_ahead(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    storage = icechunk.local_filesystem_storage(str(tmp_path))
    filled(storage, "xyz")
    submitted: list[Any] = []
    monkeypatch.setattr("icechunk._engine.session.preloading.run_later", submitted.append)
    Repository.open(storage).readonly_session("main").get_node_id("/x")
    assert submitted == []
    Repository.open(storage, everything()).readonly_session("main").get_node_id("/x")
    assert len(submitted) == 1


@pytest.mark.parametrize(
    "rules",
    [
        ManifestPreloadConfig(max_total_refs=0),
        ManifestPreloadConfig(preload_if=ManifestPreloadCondition.false()),
    ],
)
def test_it_can_be_switched_off(rules: ManifestPreloadConfig, tmp_path: Path) -> None:
    storage = remote(tmp_path)
    filled(storage, "xyz")
    repo = Repository.open(storage, RepositoryConfig(manifest=ManifestConfig(preload=rules)))
    storage.faults.forget()
    repo.readonly_session("main").get_node_id("/x")
    fanout.run_all([time.time, time.time])
    assert storage.faults.count("get", "manifests/*") == 0


def test_a_failure_shows_only_where_the_manifest_is_needed(tmp_path: Path) -> None:
    storage = remote(tmp_path)
    filled(storage)
    repo = Repository.open(storage, everything())
    storage.faults.fail("get", "manifests/*", times=6)
    session = repo.readonly_session("main")
    group = zarr.open_group(session.store, mode="r")
    eventually(lambda: storage.faults.count("get", "manifests/*") >= 6)
    assert (group["a"][:] == 1).all()

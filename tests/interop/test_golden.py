"""Repositories that released versions of the reference wrote: we read all of them, and go on from there."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import zarr

import icechunk
from tests.interop.conftest import GOLDEN, READ_ONLY, golden_contents, golden_names
from tests.interop.reference import Side

goldens = pytest.mark.parametrize("name", golden_names())
writable_goldens = pytest.mark.parametrize("name", [name for name in golden_names() if name != READ_ONLY])


def expected(name: str) -> dict[str, Any]:
    contents = golden_contents(name)
    del contents["beyond"]  # what only the reference can tell
    return contents


@goldens
def test_we_read_all_of_it(name: str, ours: Side, unpack_golden: Callable[[str], str]) -> None:
    assert ours.call("describe", unpack_golden(name)) == expected(name)


@goldens
def test_reading_writes_nothing(name: str, ours: Side, unpack_golden: Callable[[str], str]) -> None:
    path = unpack_golden(name)
    before = _files(path)
    ours.call("describe", path)
    assert _files(path) == before


@writable_goldens
def test_we_continue_it_and_the_reference_reads_that(
    name: str, ours: Side, reference: Side, unpack_golden: Callable[[str], str]
) -> None:
    path = unpack_golden(name)
    known, files = list(golden_contents(name)["snapshots"]), _immutable_files(path)
    ours.call("continue_history", path, "ours")
    assert _immutable_files(path).items() >= files.items()
    continued = ours.call("describe", path, known=known)
    assert reference.call("describe", path, known=known) == continued
    assert set(continued["snapshots"]) > set(known)

    known = list(continued["snapshots"])
    reference.call("continue_history", path, "reference")
    continued = ours.call("describe", path, known=known)
    assert reference.call("describe", path, known=known) == continued
    assert set(continued["snapshots"]) > set(known)


@writable_goldens
def test_virtual_references_are_carried_along_unread(
    name: str, ours: Side, reference: Side, tmp_path: Path, unpack_golden: Callable[[str], str]
) -> None:
    locations = []
    for side in (ours, reference):
        path = str(Path(unpack_golden(name)).rename(tmp_path / side.name))
        side.call("continue_history", path, "either")
        description = reference.call("describe", path, trees=False, beyond=True)
        locations.append(description["beyond"]["virtual_chunk_locations"][description["branches"]["main"]])
    assert locations[0] == locations[1]


def test_a_read_only_repository_refuses_every_write(unpack_golden: Callable[[str], str]) -> None:
    repo = icechunk.Repository.open(icechunk.local_filesystem_storage(unpack_golden(READ_ONLY)))
    main = repo.lookup_branch("main")
    for write in (
        lambda: repo.writable_session("main"),
        lambda: repo.create_branch("b", main),
        lambda: repo.create_tag("new", main),
        lambda: repo.delete_tag("t"),
        lambda: repo.reset_branch("main", main),
        lambda: repo.save_config(),
    ):
        with pytest.raises(icechunk.ReadOnlyError) as caught:
            write()
        assert caught.value.kind == icechunk.ErrorKind.READ_ONLY_REPOSITORY
    assert zarr.open_array(repo.readonly_session("main").store, path="a", mode="r")[:].tolist() == [1, 1, 1]


def test_golden_repositories_are_small() -> None:
    for archive in GOLDEN.glob("*.zip"):
        assert archive.stat().st_size < 200_000, archive.name


def _immutable_files(path: str) -> dict[str, bytes]:
    immutable = ("snapshots/", "manifests/", "transactions/", "chunks/")
    return {name: data for name, data in _files(path).items() if name.startswith(immutable)}


def _files(path: str) -> dict[str, bytes]:
    return {
        str(file.relative_to(path)): file.read_bytes() for file in Path(path).rglob("*") if file.is_file()
    }

"""`Session.chunk_coordinates` and `IcechunkStore.array_chunk_iterator`."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import zarr
from zarr.core.buffer import cpu
from zarr.core.sync import sync

from icechunk import (
    InvalidInputError,
    NodeNotFoundError,
    Repository,
    RepositoryConfig,
    Session,
    in_memory_storage,
)
from icechunk._engine.format.chunk_refs import RefColumns, VirtualRef
from icechunk._engine.format.ids import NodeId
from tests.core.session.helpers import array

Refused = Callable[..., Any]


@pytest.fixture
def repo(spec_version: int) -> Repository:
    config = RepositoryConfig(inline_chunk_threshold_bytes=4)
    repo = Repository.create(in_memory_storage(), config, spec_version=spec_version)
    session = repo.writable_session("main")
    zarr.create_array(session.store, name="a", shape=10, chunks=2, dtype="i4", compressors=None)
    for i in range(3):
        session.store.set_sync(f"a/c/{i}", cpu.Buffer.from_bytes(bytes([i]) * 8))
    zarr.create_group(session.store, path="g")
    session.commit("array")
    return repo


@pytest.fixture
def changed(repo: Repository) -> Session:
    session = repo.writable_session("main")
    session.store.set_sync("a/c/4", cpu.Buffer.from_bytes(b"new"))
    session.store.set_sync("a/c/0", cpu.Buffer.from_bytes(b"old"))
    sync(session.store.delete("a/c/1"))
    return session


async def coordinates(session: Session, *arguments: Any, **options: Any) -> list[tuple[int, ...]]:
    return [place async for place in session.chunk_coordinates(*arguments, **options)]


async def test_each_chunk_is_there_once(repo: Repository, changed: Session) -> None:
    assert sorted(await coordinates(repo.readonly_session("main"), "/a")) == [(0,), (1,), (2,)]
    for batch_size in (1, 2, 1000):
        assert sorted(await coordinates(changed, "/a", batch_size=batch_size)) == [(0,), (2,), (4,)]


async def test_chunks_outside_of_a_smaller_shape_are_none(changed: Session) -> None:
    array(changed, "a").resize((5,))
    assert sorted(await coordinates(changed, "/a")) == [(0,), (2,)]
    [batch] = changed.store.array_chunk_iterator("/a")
    assert sorted(batch[0].tolist()) == [[0], [2]]


async def test_who_has_no_coordinates(changed: Session, refused: Refused) -> None:
    with refused(NodeNotFoundError, "node-not-found", "session error: node not found at `/zz`: existing"):
        await coordinates(changed, "/zz")
    with refused(InvalidInputError, "not-an-array", "session error: there is not an array at"):
        await coordinates(changed, "/g")
    with refused(InvalidInputError, "invalid-path", "could not create path from prefix"):
        await coordinates(changed, "a")
    for wrong in (0, -1):
        with pytest.raises(ValueError, match="batch_size"):
            await coordinates(changed, "/a", batch_size=wrong)
        with pytest.raises(ValueError, match="batch_size"):
            changed.store.array_chunk_iterator("/a", batch_size=wrong)


def rows(session: Session, *arguments: Any, **options: Any) -> dict[tuple[int, ...], tuple[Any, ...]]:
    found: dict[tuple[int, ...], tuple[Any, ...]] = {}
    for coords, kinds, paths, offsets, lengths, inline in session.store.array_chunk_iterator(
        *arguments, **options
    ):
        assert (coords.dtype, kinds.dtype, offsets.dtype, lengths.dtype) == ("u4", "u1", "u8", "u8")
        assert coords.shape == (len(kinds), 1)
        assert len(kinds) == len(paths) == len(offsets) == len(lengths)
        for row in range(len(kinds)):
            place = tuple(coords[row].tolist())
            assert place not in found
            found[place] = (
                int(kinds[row]),
                paths[row],
                int(offsets[row]),
                int(lengths[row]),
                inline.get(row),
            )
    return found


def test_all_refs_of_an_array(repo: Repository, changed: Session) -> None:
    before = rows(repo.readonly_session("main"), "/a")
    assert before.keys() == {(0,), (1,), (2,)}
    for kind, path, offset, length, inline in before.values():
        assert (kind, len(path), offset, length, inline) == (1, 20, 0, 8, None)
    for path in ("/a", "a", "a/"):
        assert rows(changed, path) == {
            (0,): (3, "", 0, 3, b"old"),
            (2,): before[2,],
            (4,): (3, "", 0, 3, b"new"),
        }
    assert rows(changed, "/a", batch_size=1) == rows(changed, "/a")
    batches = list(changed.store.array_chunk_iterator("/a", batch_size=2))
    assert [len(batch[0]) for batch in batches] == [2, 1]


def test_virtual_chunks_say_where_they_are(repo: Repository) -> None:
    session = repo.writable_session("main")
    ref = VirtualRef("s3://bucket/key", 3, 8, None, 0)
    id = NodeId(session._engine.find_node("/a").id)  # type: ignore[union-attr]
    session._engine.changes.chunk_table(id).add_columns(RefColumns.from_refs([(1,)], [ref], 1))
    for reader in (session, repo.readonly_session(snapshot_id=session.flush("virtual"))):
        assert rows(reader, "/a")[1,] == (2, "s3://bucket/key", 3, 8, None)


def test_without_an_array_there_is_nothing(changed: Session, refused: Refused) -> None:
    for path in ("/zz", "zz", "/g", "/", ""):
        assert list(changed.store.array_chunk_iterator(path)) == []
    with refused(InvalidInputError, "invalid-path", "Invalid array path"):
        list(changed.store.array_chunk_iterator("../a"))


def test_an_array_without_dimensions(repo: Repository) -> None:
    session = repo.writable_session("main")
    scalar = zarr.create_array(session.store, name="s", shape=(), dtype="i4", compressors=None)
    assert list(session.store.array_chunk_iterator("/s")) == []
    scalar[...] = 7
    [(coords, kinds, paths, _offsets, lengths, inline)] = session.store.array_chunk_iterator("/s")
    assert coords.shape == (1, 0)
    assert (kinds.tolist(), paths, lengths.tolist()) == ([3], [""], [4])
    assert inline == {0: np.int32(7).tobytes()}
    assert sync(coordinates(session, "/s")) == [()]


async def test_batches_can_be_awaited(changed: Session) -> None:
    batches = changed.store.array_chunk_iterator("/a", batch_size=2)
    assert [len(batch[0]) async for batch in batches] == [2, 1]
    batches = changed.store.array_chunk_iterator("/a", batch_size=2)
    await batches.__anext__()
    await batches.aclose()
    assert [batch async for batch in batches] == []

"""What a session keeps, discards and commits, and what a writable one refuses."""

from __future__ import annotations

import asyncio
import copy
import json
import logging
import pickle

import numpy as np
import pytest
import zarr
from zarr.core.buffer import cpu

from icechunk import (
    ChunkType,
    ConflictError,
    ForkSession,
    InvalidInputError,
    NodeNotFoundError,
    ReadOnlyError,
    Repository,
    Session,
    SessionStateError,
    SnapshotInfo,
)
from icechunk._engine.session import session as engine_session
from icechunk.errors import ErrorKind


def filled(session: Session) -> zarr.Array:
    zarr.create_group(session.store)
    zarr.create_group(session.store, path="g")
    array = zarr.create_array(session.store, name="g/a", shape=(10, 4), chunks=(3, 2), dtype="i4")
    array[:] = np.arange(40).reshape(10, 4)
    return array


def test_a_session_sees_its_own_changes_only(repository: Repository) -> None:
    writer, other = repository.writable_session("main"), repository.writable_session("main")
    filled(writer)
    assert other.store.get_sync("g/zarr.json") is None
    writer.commit("fill")
    assert other.store.get_sync("g/zarr.json") is None
    assert zarr.open_array(repository.readonly_session("main").store, path="g/a", mode="r")[9, 3] == 39


def test_after_a_commit_the_session_reads_the_new_snapshot(repository: Repository, session: Session) -> None:
    array = filled(session)
    id = session.commit("fill")
    assert (session.snapshot_id, session.branch, session.read_only) == (id, None, True)
    assert not session.has_uncommitted_changes
    assert array[9, 3] == 39
    with pytest.raises(ReadOnlyError):
        array[0, 0] = 1
    with pytest.raises(ReadOnlyError, match="Read only sessions cannot modify"):
        session.discard_changes()
    with pytest.raises(SessionStateError, match="commits are not allowed on read-only") as caught:
        session.commit("again")
    assert caught.value.kind == ErrorKind.COMMIT_NOT_ALLOWED
    assert isinstance(repository.lookup_snapshot(id), SnapshotInfo)


def test_a_failed_commit_leaves_the_session_as_it_was(repository: Repository) -> None:
    loser, winner = repository.writable_session("main"), repository.writable_session("main")
    array = filled(loser)
    base = loser.snapshot_id
    zarr.create_group(winner.store, path="other")
    winner.commit("first")
    with pytest.raises(ConflictError):
        loser.commit("second")
    assert (loser.snapshot_id, loser.branch, loser.read_only) == (base, "main", False)
    assert loser.has_uncommitted_changes
    array[0, 0] = 77
    assert array[0, 0] == 77


def test_an_interrupted_commit_leaves_the_session_usable(
    session: Session, monkeypatch: pytest.MonkeyPatch
) -> None:
    array = filled(session)

    def interrupted(*_: object, **__: object) -> None:
        with pytest.raises(SessionStateError, match="is being committed"):
            array[0, 0] = 5
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(engine_session.committing, "commit_session", interrupted)
        with pytest.raises(KeyboardInterrupt):
            session.commit("interrupted")
    array[0, 0] = 5
    session.commit("now")
    assert array[0, 0] == 5


def test_discarding_forgets_everything(repository: Repository, session: Session) -> None:
    filled(session)
    session.discard_changes()
    assert not session.has_uncommitted_changes
    assert session.status().is_empty()
    assert session.store.get_sync("g/zarr.json") is None
    with pytest.raises(SessionStateError, match="no changes made to the session"):
        session.commit("nothing")
    filled(session)
    session.commit("fill")
    again = repository.writable_session("main")
    array = zarr.open_array(again.store, path="g/a")
    array[0, 0] = 5
    asyncio.run(again.store.delete("g/zarr.json"))
    again.discard_changes()
    assert array[0, 0] == 0


def test_setting_the_same_document_changes_nothing(repository: Repository, session: Session) -> None:
    filled(session)
    session.commit("fill")
    again = repository.writable_session("main")
    document = again.store.get_sync("g/a/zarr.json")
    assert document is not None
    again.store.set_sync("g/a/zarr.json", document)
    assert not again.has_uncommitted_changes
    chunk = again.store.get_sync("g/a/c/0/0")
    assert chunk is not None
    again.store.set_sync("g/a/c/0/0", chunk)
    assert again.has_uncommitted_changes


def test_the_status_tells_what_was_changed(repository: Repository, session: Session) -> None:
    filled(session)
    grid = [[i, j] for i in range(4) for j in range(2)]
    new = session.status()
    assert (new.new_groups, new.new_arrays) == ({"/", "/g"}, {"/g/a"})
    assert new.updated_chunks == {"/g/a": grid}
    session.commit("fill")

    again = repository.writable_session("main")
    array = zarr.open_array(again.store, path="g/a")
    array.attrs["units"] = "m"
    array.resize((3, 4))
    zarr.open_group(again.store, path="g").attrs["title"] = "x"
    changed = again.status()
    assert changed.updated_arrays == {"/g/a"}
    assert changed.updated_groups == {"/g"}
    assert changed.updated_chunks == {"/g/a": grid[2:]}

    asyncio.run(again.store.delete("g/a/zarr.json"))
    assert again.status().deleted_arrays == {"/g/a"}
    assert not again.status().updated_arrays
    assert not again.status().updated_chunks
    zarr.create_group(again.store, path="g/a")
    assert again.status().deleted_arrays == {"/g/a"}
    assert again.status().new_groups == {"/g/a"}
    asyncio.run(again.store.delete("g/a/zarr.json"))
    assert not again.status().new_groups

    asyncio.run(again.store.delete("g/zarr.json"))
    assert again.status().deleted_groups == {"/g"}
    assert not again.status().updated_groups


def test_growing_an_array_does_not_bring_back_what_shrinking_took(
    repository: Repository, session: Session
) -> None:
    array = filled(session)
    session.commit("fill")
    again = repository.writable_session("main")
    array = zarr.open_array(again.store, path="g/a")
    array.resize((3, 4))
    array.resize((10, 4))
    assert array[3:].max() == 0
    again.commit("shrink and grow")
    assert zarr.open_array(again.store, path="g/a", mode="r")[3:].max() == 0


def test_a_node_that_was_deleted_and_made_anew_has_none_of_the_old_chunks(
    repository: Repository, session: Session
) -> None:
    filled(session)
    old = session.get_node_id("/g/a")
    session.commit("fill")
    again = repository.writable_session("main")
    array = zarr.create_array(
        again.store, name="g/a", shape=(10, 4), chunks=(3, 2), dtype="i4", overwrite=True
    )
    assert array[:].max() == 0
    assert again.get_node_id("/g/a") != old
    again.commit("anew")
    assert zarr.open_array(again.store, path="g/a", mode="r")[:].max() == 0


def test_chunk_types(repository: Repository, session: Session) -> None:
    array = zarr.create_array(
        session.store, name="a", shape=2000, chunks=1000, dtype="i1", compressors=None, fill_value=0
    )
    array[:1000] = 1
    zarr.create_array(session.store, name="small", shape=2, chunks=1, dtype="i1")[:1] = 1

    def kinds(of: Session) -> list[ChunkType]:
        places = [("/a", [0]), ("/a", [1]), ("/a", [7]), ("/a", [2**32 - 1]), ("/a", [0, 0])]
        places += [("/small", [0]), ("/small", [1])]
        return [of.chunk_type(path, coords) for path, coords in places]

    none = ChunkType.uninitialized
    expected = [ChunkType.native, none, none, none, none, ChunkType.inline, none]
    assert kinds(session) == expected
    session.commit("fill")
    assert kinds(repository.readonly_session("main")) == expected
    with pytest.raises(NodeNotFoundError):
        session.chunk_type("/nope", [0])
    with pytest.raises(NodeNotFoundError):
        session.get_node_id("/nope")
    with pytest.raises(InvalidInputError, match="path must start with a `/` character"):
        session.get_node_id("a")


def test_a_writable_session_does_not_pickle(session: Session) -> None:
    for thing in (session, session.store, filled(session)):
        with pytest.raises(ValueError, match="You must opt-in to pickle writable sessions"):
            pickle.dumps(thing)


def test_a_writable_session_does_not_copy(session: Session) -> None:
    for thing in (session, session.store, session.store.with_read_only(True)):
        for way in (copy.copy, copy.deepcopy):
            with pytest.raises(ValueError, match="You must opt-in to pickle writable sessions"):
                way(thing)


def test_a_copy_of_a_fork_is_a_session_of_its_own(session: Session) -> None:
    fork = session.fork()
    filled(fork)
    for other in (copy.copy(fork), copy.copy(fork.store).session):
        assert type(other) is ForkSession
        assert other != fork
        asyncio.run(other.store.delete("g/a/zarr.json"))
        assert other.store.get_sync("g/a/zarr.json") is None
        assert fork.store.get_sync("g/a/zarr.json") is not None


def test_a_copy_of_a_reader_reads_the_same(repository: Repository, session: Session) -> None:
    filled(session)
    session.commit("fill")
    for reader in (session, repository.readonly_session("main")):
        twin, store = copy.copy(reader), copy.copy(reader.store)
        assert (twin != reader, twin.snapshot_id) == (True, reader.snapshot_id)
        assert store.read_only
        for each in (twin.store, store):
            assert zarr.open_array(each, path="g/a", mode="r")[9, 3] == 39


def test_very_many_changes_are_worth_a_warning(
    session: Session, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(engine_session, "_MANY_CHUNK_CHANGES", 10)
    array = zarr.create_array(session.store, name="a", shape=20, chunks=1, dtype="i1")
    with caplog.at_level(logging.WARNING, "icechunk"):
        array[:9] = 1
        assert not caplog.records
        array[9:] = 1
    assert len(caplog.records) == 1
    assert "commit more often" in caplog.text


def test_an_array_with_other_dimensions_has_lost_its_chunks(repository: Repository) -> None:
    filled(session := repository.writable_session("main"))
    session.commit("fill")
    session = repository.writable_session("main")
    document = json.loads(session.store.get_sync("g/a/zarr.json").to_bytes())
    line = {
        **document,
        "shape": [10],
        "chunk_grid": {"name": "regular", "configuration": {"chunk_shape": [3]}},
    }

    def set_document(session: Session, document: dict[str, object]) -> None:
        session.store.set_sync("g/a/zarr.json", cpu.Buffer.from_bytes(json.dumps(document).encode()))

    def keys() -> list[str]:
        keys = session.store._sync_iter(session.store.list_prefix("g/a"))
        return sorted(key for key in keys if "/c/" in key)

    session.store.set_sync("g/a/c/0/1", cpu.Buffer.from_bytes(b"square"))
    set_document(session, line)
    assert keys() == []
    session.store.set_sync("g/a/c/1", cpu.Buffer.from_bytes(b"line"))
    assert keys() == ["g/a/c/1"]
    session.commit("a line")
    assert keys() == ["g/a/c/1"]
    assert session.store.get_sync("g/a/c/0/0") is None
    session = repository.writable_session("main")
    set_document(session, document)
    assert keys() == []
    session.commit("a square")
    assert keys() == []

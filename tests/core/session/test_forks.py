"""Forks: sessions that travel to other processes, and are merged when they come back."""

from __future__ import annotations

import pickle
import struct
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import pytest
import zarr
from zarr.core.buffer import cpu
from zarr.core.sync import sync

from icechunk import (
    ForkSession,
    IcechunkError,
    ReadOnlyError,
    Repository,
    Session,
    SessionMode,
    SessionStateError,
    SnapshotNotFoundError,
    Storage,
    in_memory_storage,
    local_filesystem_storage,
)
from icechunk.distributed import extract_session, merge_sessions
from icechunk.testing import FaultInjectingStorage
from tests.core.session.helpers import array, fill, log, paths

Refused = Callable[..., Any]

GROUP = b'{"zarr_format":3,"node_type":"group"}'


@pytest.fixture
def storage(tmp_path: Path) -> Storage:
    return local_filesystem_storage(str(tmp_path / "repo"))


def travelled(fork: ForkSession) -> ForkSession:
    """What comes out of a pickle."""
    copy = pickle.loads(pickle.dumps(fork))
    assert type(copy) is ForkSession
    return copy


def set_key(session: Session, key: str, data: bytes = GROUP) -> None:
    sync(session.store.set(key, cpu.Buffer.from_bytes(data)))


class TestFork:
    def test_a_fork(self, repo: Repository) -> None:
        session = repo.writable_session("main")
        fork = session.fork()
        assert isinstance(fork, ForkSession)
        assert isinstance(fork, Session)
        assert (fork.mode, fork.branch, fork.read_only) == (SessionMode.readonly, None, False)
        # Nothing has changed, so there is nothing to write.
        assert fork.snapshot_id == session.snapshot_id
        assert not fork.has_uncommitted_changes
        assert not fork.store.read_only
        assert type(fork.store.session) is ForkSession
        assert fork.store.session == fork
        assert str(fork).startswith("<icechunk.session.Session>\nread_only: False\n")

    def test_it_sees_the_changes_of_its_session_and_does_not_have_them(self, repo: Repository) -> None:
        session = repo.writable_session("main")
        array(session, "a")[0] = 7
        set_key(session, "n/zarr.json")
        fork = session.fork()
        assert fork.snapshot_id != session.snapshot_id
        assert array(fork, "a")[:3].tolist() == [7, 1, 1]
        assert "/n" in paths(fork)
        assert not fork.has_uncommitted_changes
        assert session.has_uncommitted_changes
        array(session, "a")[1] = 8
        assert array(fork, "a")[1] == 1

    def test_nobody_knows_its_snapshot(self, repo2: Repository) -> None:
        session = repo2.writable_session("main")
        array(session, "a")[0] = 7
        fork = session.fork()
        with pytest.raises(SnapshotNotFoundError):
            repo2.lookup_snapshot(fork.snapshot_id)
        assert len(list(repo2.ops_log())) == 2

    def test_a_fork_of_a_fork(self, repo: Repository) -> None:
        session = repo.writable_session("main")
        first = session.fork()
        array(first, "a")[0] = 7
        second = travelled(first.fork())
        assert array(second, "a")[0] == 7
        array(second, "a")[2] = 8
        first.merge(second)
        session.merge(first)
        session.commit("both")
        assert array(repo.readonly_session("main"), "a")[:4].tolist() == [7, 1, 8, 1]

    def test_a_fork_of_moves_is_for_edits(self, repo2: Repository, refused: Refused) -> None:
        session = repo2.rearrange_session("main")
        session.move("/a", "/z")
        fork = session.fork()
        assert paths(fork) == ["/", "/g", "/g/b", "/g/h", "/k", "/z"]
        array(fork, "z")[0] = 7
        with refused(
            SessionStateError, "rearrange-session-only", "session error: This session was created to"
        ):
            session.merge(fork)
        with refused(
            SessionStateError,
            "non-rearrange-session",
            "session error: To move nodes in the hierarchy you need to create a rearrange session",
        ):
            fork.move("/z", "/y")
        repo2.set_feature_flag("move_node", False)
        with refused(
            SessionStateError, "feature-flag-disabled", "session error: flush rearrange session is disabled"
        ):
            session.fork()

    def test_what_a_fork_cannot_do(self, repo2: Repository, refused: Refused) -> None:
        fork = repo2.writable_session("main").fork()
        array(fork, "a")[0] = 7
        message = "session error: commits are not allowed on read-only or forked sessions"
        for publish in (fork.commit, fork.amend):
            with refused(SessionStateError, "commit-not-allowed", message):
                publish("no")
        with refused(
            IcechunkError, "unknown", "session error: cannot flush a forked session, merge the fork"
        ):
            fork.flush("no")
        fork.discard_changes()
        assert not fork.has_uncommitted_changes

    def test_a_chunk_of_an_array_that_is_gone_is_a_change_of_the_fork_alone(self, repo: Repository) -> None:
        session = repo.writable_session("main")
        fork = session.fork()
        zarr.create_array(fork.store, name="new", shape=2, chunks=1, dtype="i1")[:] = 1
        sync(fork.store.delete("new/zarr.json"))
        fork = travelled(fork)
        assert fork.has_uncommitted_changes
        session.merge(fork)
        assert not session.has_uncommitted_changes

    def test_readers_are_not_forked(self, repo: Repository, refused: Refused) -> None:
        with refused(
            SessionStateError,
            "cannot-fork-read-only-session",
            "session error: cannot fork a read-only session",
        ):
            repo.readonly_session("main").fork()

    def test_it_writes_a_snapshot_only_if_there_are_changes(self) -> None:
        storage = FaultInjectingStorage(in_memory_storage())
        repo = fill(Repository.create(storage))
        session = repo.writable_session("main")
        storage.faults.forget()
        session.fork()
        assert storage.faults.counts() == {}
        array(session, "a")[0] = 7
        storage.faults.forget()
        session.fork()
        assert {r.path.partition("/")[0] for r in storage.faults.requests if r.operation == "put"} == {
            "manifests",
            "snapshots",
            "transactions",
        }
        assert storage.faults.count("put", "repo") == storage.faults.count("get", "repo") == 0


class TestPickling:
    def test_a_fork_takes_its_changes_along(self, repo: Repository) -> None:
        session = repo.writable_session("main")
        fork = session.fork()
        root = zarr.open_group(fork.store)
        root.create_array("n", shape=(4, 4), chunks=(2, 2), dtype="i4")[:] = 3
        root.create_array("scalar", shape=(), dtype="i4")[...] = 5
        root["g"].attrs["q"] = 1
        root["g/b"].attrs["q"] = 2
        del root["k"]
        array(fork, "a")[0] = 7
        sync(fork.store.delete("a/c/1"))
        copy = travelled(fork)
        assert copy != fork
        assert copy.has_uncommitted_changes
        assert repr(copy.status()) == repr(fork.status())
        for each in (copy, travelled(copy)):
            assert paths(each) == paths(fork)
            assert array(each, "a")[:4].tolist() == [7, 1, 0, 0]
            assert array(each, "n")[:].tolist() == [[3] * 4] * 4
            assert array(each, "scalar")[...] == 5
        session.merge(copy)
        session.commit("merged")
        assert array(repo.readonly_session("main"), "a")[:4].tolist() == [7, 1, 0, 0]
        assert dict(zarr.open_group(repo.readonly_session("main").store, path="g", mode="r").attrs) == {
            "q": 1
        }

    def test_a_store_of_a_fork_takes_them_along_too(self, repo: Repository) -> None:
        fork = repo.writable_session("main").fork()
        array(fork, "a")[0] = 7
        store = pickle.loads(pickle.dumps(fork.store))
        assert type(store.session) is ForkSession
        assert not store.read_only
        assert array(store.session, "a")[0] == 7
        copied: Any = pickle.loads(pickle.dumps(array(fork, "a")))
        copied[1] = 8
        assert extract_session(copied).has_uncommitted_changes

    @pytest.mark.parametrize("kind", ["writable", "rearrange"])
    def test_sessions_with_a_branch_stay_where_they_are(self, repo2: Repository, kind: str) -> None:
        session = getattr(repo2, f"{kind}_session")("main")
        for what in (session, session.store):
            with pytest.raises(ValueError, match="You must opt-in to pickle writable sessions"):
                pickle.dumps(what)


class TestMerge:
    def test_everything_comes_together(self, repo: Repository) -> None:
        session = repo.writable_session("main")
        array(session, "a")[8] = 9
        forks = [session.fork() for _ in range(4)]
        for number, fork in enumerate(forks):
            array(fork, "a")[2 * number] = 10 + number
            zarr.create_group(fork.store, path=f"n{number}")
        session.merge(*map(travelled, forks))
        assert array(session, "a")[:].tolist() == [10, 1, 11, 1, 12, 1, 13, 1, 9, 1]
        id = session.commit("all")
        assert array(repo.readonly_session("main"), "a")[:].tolist() == [10, 1, 11, 1, 12, 1, 13, 1, 9, 1]
        assert {f"/n{i}" for i in range(4)} < set(paths(repo.readonly_session("main")))
        assert log(repo, id)["updated_chunks"] == {session.get_node_id("/a"): [[0], [1], [2], [3], [4]]}

    def test_of_one_chunk_the_last_counts(self, repo: Repository) -> None:
        session = repo.writable_session("main")
        forks = [session.fork() for _ in range(20)]
        for number, fork in enumerate(forks):
            array(fork, "a")[:] = number
        session.merge(*[forks[i] for i in (3, 19, 7, 11)])
        assert array(session, "a")[:].tolist() == [11] * 10
        session.merge(*map(travelled, forks))
        assert array(session, "a")[:].tolist() == [19] * 10
        gone = session.fork()
        sync(gone.store.delete("a/c/0"))
        session.merge(forks[5], travelled(gone))
        assert array(session, "a")[:4].tolist() == [0, 0, 5, 5]
        # What this session does afterwards counts more.
        array(session, "a")[0:2] = 6
        session.commit("last wins")
        assert array(repo.readonly_session("main"), "a")[:4].tolist() == [6, 6, 5, 5]

    def test_the_fork_goes_on_and_can_be_merged_again(self, repo: Repository) -> None:
        session = repo.writable_session("main")
        fork = session.fork()
        array(fork, "a")[0] = 7
        session.merge(fork)
        array(fork, "a")[2] = 8
        assert array(session, "a")[2] == 1
        session.merge(fork)
        assert array(session, "a")[:4].tolist() == [7, 1, 8, 1]

    def test_updates_of_what_the_session_has_created_are_not_lost(self, repo: Repository) -> None:
        session = repo.writable_session("main")
        root = zarr.open_group(session.store)
        root.create_array("n", shape=4, chunks=2, dtype="i4")[:] = 1
        root.create_group("m")
        fork = session.fork()
        forked = zarr.open_group(fork.store)
        forked["n"].attrs["q"] = 1
        forked["m"].attrs["q"] = 2
        array(fork, "n").resize((2,))
        session.merge(travelled(fork))
        id = session.commit("merged")
        reader = zarr.open_group(repo.readonly_session("main").store, mode="r")
        assert reader["n"].attrs["q"] == 1
        assert reader["m"].attrs["q"] == 2
        assert array(repo.readonly_session("main"), "n").shape == (2,)
        n, m = session.get_node_id("/n"), session.get_node_id("/m")
        assert log(repo, id)["updated_arrays"] == [n]
        assert log(repo, id)["updated_groups"] == [m]

    def test_those_before_one_that_does_not_fit_stay_merged(self, repo: Repository, refused: Refused) -> None:
        session = repo.writable_session("main")
        first, second, third = session.fork(), session.fork(), session.fork()
        array(first, "a")[0] = 7
        set_key(first, "n/zarr.json")
        array(second, "a")[0] = 8
        set_key(second, "n/zarr.json")
        array(third, "a")[0] = 9
        with refused(
            SessionStateError,
            "merge-failed",
            "session error: failed to merge sessions: Multiple writers created the same groups: /n",
        ):
            session.merge(first, second, third)
        assert array(session, "a")[0] == 7
        assert "/n" in paths(session)

    def test_who_may_merge_whom(self, repo: Repository, refused: Refused) -> None:
        session, reader = repo.writable_session("main"), repo.readonly_session("main")
        fork = session.fork()
        array(fork, "a")[0] = 7
        for nothing in (session, reader, fork):
            nothing.merge()
        with refused(ReadOnlyError, "read-only-session", "session error: Read only sessions cannot modify"):
            reader.merge(fork)
        with refused(
            SessionStateError, "merge-not-allowed", "session error: cannot merge a branch session into a fork"
        ):
            fork.merge(session)  # type: ignore[arg-type]
        fork.merge(reader)  # type: ignore[arg-type]
        other = repo.writable_session("main")
        array(other, "a")[2] = 8
        session.merge(other, fork)  # type: ignore[arg-type]
        assert array(session, "a")[:3].tolist() == [7, 1, 8]
        session.merge(session)  # type: ignore[arg-type]
        for wrong in ([fork], 3, None, fork.store):
            with pytest.raises(TypeError):
                session.merge(wrong)  # type: ignore[arg-type]

    def test_chunks_of_an_array_that_another_fork_gave_other_dimensions(self, repo: Repository) -> None:
        session = repo.writable_session("main")
        first, second = session.fork(), session.fork()
        array(first, "a")[0] = 7
        document = (
            b'{"zarr_format":3,"node_type":"array","shape":[4,4],"data_type":"int32","fill_value":0,'
            b'"chunk_grid":{"name":"regular","configuration":{"chunk_shape":[2,2]}},'
            b'"chunk_key_encoding":{"name":"default"},"codecs":[{"name":"bytes","configuration":'
            b'{"endian":"little"}}]}'
        )
        set_key(second, "a/zarr.json", document)
        array(second, "a")[0:2, 0:2] = 5
        for order in ((first, second), (second, first)):
            merged = repo.writable_session("main")
            merged.merge(*order)
            assert array(merged, "a")[:2].tolist() == [[5, 5, 0, 0]] * 2
            assert array(repo.readonly_session(snapshot_id=merged.flush("f")), "a")[0, 0] == 5


class TestDistributed:
    def test_forks_are_merged_into_the_first(self, repo: Repository) -> None:
        session = repo.writable_session("main")
        forks = [session.fork() for _ in range(4)]
        for number, fork in enumerate(forks):
            array(fork, "a")[2 * number] = 7
        merged = merge_sessions([forks[0], forks[1]], [[forks[2]]], forks[3])  # type: ignore[arg-type]
        assert merged is forks[0]
        assert array(merged, "a")[:8].tolist() == [7, 1] * 4
        assert merge_sessions(forks[1]) is forks[1]

    def test_only_forks_are(self, repo: Repository) -> None:
        session = repo.writable_session("main")
        for wrong in (session, repo.readonly_session("main"), 3, (session.fork(),)):
            with pytest.raises(TypeError, match="merge_sessions only accepts ForkSession objects"):
                merge_sessions(session.fork(), wrong)  # type: ignore[arg-type]
        for nothing in ([], [[]]):
            with pytest.raises(ValueError, match="not enough values"):
                merge_sessions(*nothing)

    def test_the_session_of_an_array(self, repo: Repository) -> None:
        session = repo.writable_session("main")
        fork = session.fork()
        assert extract_session(array(session, "a")) == session
        assert extract_session(array(fork, "a"), axis=0, keepdims=True) == fork
        with pytest.raises(AttributeError):
            extract_session(zarr.create_array({}, shape=1, dtype="i4"))


async def test_the_awaitable_form(repo: Repository) -> None:
    session = repo.writable_session("main")
    fork = session.fork()
    array(fork, "a")[0] = 7
    await session.merge_async(fork)
    assert array(session, "a")[0] == 7


def chunk(number: int, writer: int, size_bytes: int) -> bytes:
    return struct.pack("<2I", number, writer).ljust(size_bytes, b".")


def write_chunks(fork: ForkSession, writer: int, count: int, size_bytes: int) -> ForkSession:
    """What a worker does: its own chunks, and a few of those that the next one writes as well."""
    store = fork.store
    for number in range(writer * count, (writer + 1) * count + 10):
        store.set_sync(f"big/c/{number}", cpu.Buffer.from_bytes(chunk(number, writer, size_bytes)))
    return fork


@pytest.mark.slow
@pytest.mark.parametrize(("count", "size_bytes"), [(1000, 8), (50, 1024)], ids=["inline", "native"])
def test_64_forks_in_other_processes_each_write_many_chunks(
    repo: Repository, count: int, size_bytes: int
) -> None:
    session = repo.writable_session("main")
    zarr.create_array(
        session.store, name="big", shape=64 * count + 10, chunks=1, dtype="i8", compressors=None
    )
    session.commit("array")
    session = repo.writable_session("main")
    forks = [session.fork() for _ in range(64)]
    with ProcessPoolExecutor(2, mp_context=get_context("spawn")) as pool:
        done = list(pool.map(write_chunks, forks, range(64), [count] * 64, [size_bytes] * 64))
    session.merge(*done)
    session.commit("all of it")
    store = repo.readonly_session("main").store
    for number in range(64 * count + 10):
        # Two have written the first ten of each worker's; the later one counts.
        buffer = store.get_sync(f"big/c/{number}")
        assert buffer is not None
        assert buffer.to_bytes() == chunk(number, min(number // count, 63), size_bytes)

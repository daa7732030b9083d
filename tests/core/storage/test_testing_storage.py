"""Slow storage and failing storage: the contract, and what they do on command."""

from __future__ import annotations

import pickle
import threading
import time
from pathlib import Path

import pytest

from icechunk.abc import NOT_YET_CREATED, Landed, Locality, StorageBackend, Unknown, Version
from icechunk.errors import ObjectNotFoundError, StorageError
from icechunk.plugins.registry import connect
from icechunk.storage import Storage, in_memory_storage, local_filesystem_storage
from icechunk.testing import FaultInjectingStorage, LatencyStorage, Request
from icechunk.testing.conformance import StorageConformance


class TestLatency(StorageConformance):
    @pytest.fixture
    def storage(self) -> Storage:
        return LatencyStorage(in_memory_storage())


class TestFaultsOverMemory(StorageConformance):
    @pytest.fixture
    def storage(self) -> Storage:
        return FaultInjectingStorage(in_memory_storage())


class TestFaultsOverAFolder(StorageConformance):
    @pytest.fixture
    def storage(self, tmp_path: Path) -> Storage:
        return FaultInjectingStorage(local_filesystem_storage(tmp_path))


@pytest.fixture
def storage() -> FaultInjectingStorage:
    return FaultInjectingStorage(in_memory_storage())


@pytest.fixture
def backend(storage: FaultInjectingStorage) -> StorageBackend:
    return connect(storage.location)


# -- latency -------------------------------------------------------------------------------------------------


def test_each_request_waits() -> None:
    storage = LatencyStorage(in_memory_storage(), write_latency_ms=30, read_latency_ms=10)
    backend = connect(storage.location)
    assert backend.locality is Locality.REMOTE
    start = time.perf_counter()
    backend.put("repo", b"body")
    written = time.perf_counter()
    backend.get("repo")
    read = time.perf_counter()
    assert written - start >= 0.03
    assert read - written >= 0.01


def test_latency_shows_itself_and_travels(tmp_path: Path) -> None:
    storage = LatencyStorage(local_filesystem_storage(tmp_path), write_latency_ms=3, read_latency_ms=2)
    assert repr(storage) == "LatencyStorage(write_latency_ms=3, read_latency_ms=2)"
    assert pickle.loads(pickle.dumps(storage)) == storage
    assert storage.default_settings() == local_filesystem_storage(tmp_path).default_settings()


def test_latency_is_about_another_storage() -> None:
    with pytest.raises(TypeError, match="'str' object is not an instance of 'Storage'"):
        LatencyStorage("x")  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="-1"):
        LatencyStorage(in_memory_storage(), read_latency_ms=-1)


# -- counting ------------------------------------------------------------------------------------------------


def test_requests_are_counted(storage: FaultInjectingStorage, backend: StorageBackend) -> None:
    backend.put("chunks/A", b"body")
    backend.get("chunks/A", (1, 3))
    backend.delete(["chunks/A", "chunks/B"])
    list(backend.list("chunks/"))
    assert storage.faults.requests == [
        Request("put", "chunks/A", 4),
        Request("get", "chunks/A", 2),
        Request("delete", "chunks/A", None),
        Request("delete", "chunks/B", None),
        Request("list", "chunks/", None),
    ]
    assert storage.faults.counts() == {"put": 1, "get": 1, "delete": 2, "list": 1}
    assert storage.faults.count(path="chunks/?") == 4
    storage.faults.forget()
    assert storage.faults.count() == 0


def test_all_connections_of_one_process_count_together(storage: FaultInjectingStorage) -> None:
    connect(storage.location).put("a", b"")
    connect(storage.location).put("b", b"")
    assert storage.faults.count("put") == 2
    assert pickle.loads(pickle.dumps(storage)).faults.count() == 0


# -- failing -------------------------------------------------------------------------------------------------


def test_a_failure_before_the_effect_leaves_things_as_they_are(
    storage: FaultInjectingStorage, backend: StorageBackend
) -> None:
    storage.faults.fail("put", "chunks/*")
    with pytest.raises(StorageError, match="injected"):
        backend.put("chunks/A", b"body")
    with pytest.raises(ObjectNotFoundError):
        backend.get("chunks/A")
    assert isinstance(backend.put("chunks/A", b"body"), Landed)


def test_a_failure_after_the_effect_does_not(storage: FaultInjectingStorage, backend: StorageBackend) -> None:
    storage.faults.fail("put", after_effect=True, error=OSError("mine"))
    with pytest.raises(OSError, match="mine"):
        backend.put("chunks/A", b"body")
    assert bytes(backend.fetch("chunks/A").data) == b"body"


def test_some_go_through_before_and_after(storage: FaultInjectingStorage, backend: StorageBackend) -> None:
    storage.faults.fail("put", skip=1, times=2)
    outcomes = []
    for name in "abcd":
        try:
            backend.put(name, b"")
            outcomes.append(name)
        except StorageError:
            pass
    assert outcomes == ["a", "d"]


def test_stop_lets_everything_through(storage: FaultInjectingStorage, backend: StorageBackend) -> None:
    storage.faults.fail(times=None)
    for _ in range(2):
        with pytest.raises(StorageError):
            backend.put("a", b"")
    storage.faults.stop()
    backend.put("a", b"")


@pytest.mark.parametrize("landed", [True, False])
def test_an_answer_is_lost(storage: FaultInjectingStorage, backend: StorageBackend, landed: bool) -> None:
    storage.faults.lose_answer("repo", landed=landed)
    assert isinstance(backend.put("repo", b"body", expected=NOT_YET_CREATED), Unknown)
    assert [info.path for info in backend.list()] == (["repo"] if landed else [])
    storage.faults.lose_answer("chunks/A", landed=landed)
    with pytest.raises(StorageError, match="answer was lost"):
        backend.put("chunks/A", b"body")
    assert len(list(backend.list())) == 2 * landed


def test_a_race_happens_on_command(storage: FaultInjectingStorage, backend: StorageBackend) -> None:
    first = backend.put("repo", b"first", expected=NOT_YET_CREATED)
    assert isinstance(first, Landed)
    assert isinstance(first.version, Version)
    inner = connect(storage.location.options["inner"])
    storage.faults.run(lambda: inner.put("repo", b"theirs"), "put", "repo")
    outcome = backend.replace("repo", b"ours", expected=first.version, backup="overwritten/A")
    assert not isinstance(outcome, Landed)
    assert bytes(backend.fetch("repo").data) == b"theirs"


def test_delays_hold_up_only_their_own_request(
    storage: FaultInjectingStorage, backend: StorageBackend
) -> None:
    backend.put("a", b"")
    backend.put("b", b"")
    storage.faults.delay(0.3, "get", "a")
    slow = threading.Thread(target=lambda: backend.get("a"))
    slow.start()
    start = time.perf_counter()
    backend.get("b")
    assert time.perf_counter() - start < 0.25
    slow.join()
    assert time.perf_counter() - start > 0.25


def test_distance_can_be_feigned() -> None:
    storage = FaultInjectingStorage(in_memory_storage(), locality=Locality.REMOTE)
    assert connect(storage.location).locality is Locality.REMOTE
    assert str(storage).startswith("<icechunk.Storage>\ntype: fault injecting\n")

"""Reads without a hand-over of the lock: the same bytes, or None and the ordinary way."""

from __future__ import annotations

import itertools
import os
import sys
from pathlib import Path

import pytest

from icechunk.backends import local_cached
from icechunk.backends.local import LocalBackend
from icechunk.backends.local_cached import MOST_BYTES, CachedFiles
from icechunk.errors import ObjectNotFoundError, StorageError


@pytest.fixture(autouse=True)
def _crowded(monkeypatch: pytest.MonkeyPatch) -> None:
    """Each read seems to come from another thread than the last."""
    monkeypatch.setattr(local_cached, "get_ident", itertools.count().__next__)


@pytest.fixture
def backend(tmp_path: Path) -> LocalBackend:
    made = LocalBackend(str(tmp_path))
    made.put("chunks/A", bytes(range(256)) * 4)
    return made


def test_gives_just_the_bytes_that_were_asked_for(tmp_path: Path, backend: LocalBackend) -> None:
    files = CachedFiles()
    files.read(str(tmp_path / "chunks/A"), 0, 1)
    data = files.read(str(tmp_path / "chunks/A"), 250, 260)
    # None where the system has no such calls, or the kernel had to wait.
    assert data is None or (data.readonly and data == bytes([*range(250, 256), *range(4)]))
    assert backend.fetch("chunks/A", (250, 260)).data == bytes([*range(250, 256), *range(4)])


@pytest.mark.skipif(sys.platform != "linux", reason="a call of the Linux kernel's")
def test_names_need_not_be_utf8(tmp_path: Path) -> None:
    folder = os.fsdecode(os.fsencode(str(tmp_path)) + b"/\xff")
    backend = LocalBackend(folder)
    backend.put("chunks/A", b"12345")
    assert [bytes(backend.fetch("chunks/A", (1, 3)).data) for _ in range(5)] == [b"23"] * 5


def test_what_is_wrong_is_found_the_ordinary_way(tmp_path: Path, backend: LocalBackend) -> None:
    (tmp_path / "chunks/B").mkdir()
    for _ in range(5):
        with pytest.raises(ObjectNotFoundError):
            backend.fetch("chunks/missing", (0, 5))
        with pytest.raises((ObjectNotFoundError, StorageError)):
            backend.fetch("chunks/B", (0, 5))
        with pytest.raises(StorageError, match="it has 1024"):
            backend.fetch("chunks/A", (1000, 1025))
    assert backend.fetch("chunks/A", (1000, 1024)).data == bytes(range(232, 256))


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="this system has no named pipes")
def test_a_pipe_is_not_waited_for(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    files = CachedFiles()
    assert [files.read(str(tmp_path / "pipe"), 0, 5) for _ in range(3)] == [None] * 3


def test_attempts_become_rare_where_they_fail(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    attempts: list[str] = []

    def never(file: str, start: int, stop: int) -> None:
        attempts.append(file)

    monkeypatch.setattr(local_cached, "_reader", lambda: never)
    backend = LocalBackend(str(tmp_path))
    backend.put("chunks/A", b"12345")
    for _ in range(10_000):
        assert backend.fetch("chunks/A", (0, 5)).data == b"12345"
    assert 10 < len(attempts) < 60


def test_a_success_makes_them_frequent_again(monkeypatch: pytest.MonkeyPatch) -> None:
    answers = iter([None] * 8 + [memoryview(b"1")] * 100)
    monkeypatch.setattr(local_cached, "_reader", lambda: lambda file, start, stop: next(answers))
    files = CachedFiles()
    files.read("f", 0, 1)
    found = [files.read("f", 0, 1) for _ in range(255 + 8 + 20)]
    assert found[-20:] == [b"1"] * 20


def test_large_reads_do_not_hold_the_lock(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(file: str, start: int, stop: int) -> None:
        pytest.fail("a large read with the lock held")

    monkeypatch.setattr(local_cached, "_reader", lambda: refuse)
    backend = LocalBackend(str(tmp_path))
    backend.put("chunks/A", bytes(MOST_BYTES + 1))
    assert len(backend.fetch("chunks/A", (0, MOST_BYTES + 1)).data) == MOST_BYTES + 1


def test_a_thread_that_reads_alone_reads_the_ordinary_way(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(local_cached, "_reader", lambda: lambda file, start, stop: memoryview(b"1"))
    thread = 1
    monkeypatch.setattr(local_cached, "get_ident", lambda: thread)
    files = CachedFiles()
    assert {files.read("f", 0, 1) for _ in range(100)} == {None}
    thread = 2
    found = [files.read("f", 0, 1) for _ in range(10_000)]
    assert found[0] == b"1"
    assert found[-1] is None


def test_what_32_bits_cannot_say_is_left_alone(tmp_path: Path, backend: LocalBackend) -> None:
    files = CachedFiles()
    with (tmp_path / "chunks/large").open("wb") as file:
        file.truncate(2**32 + 10)
        file.seek(5)
        file.write(b"x")
    wanted = [(2**31 - 10, 2**31), (2**32 + 3, 2**32 + 8)]
    found = {files.read(str(tmp_path / "chunks/large"), *part) for _ in range(3) for part in wanted}
    assert found == {None}
    assert backend.fetch("chunks/large", wanted[1]).data == bytes(5)


def test_a_system_without_the_calls(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "platform", "plan9")
    assert local_cached._reader.__wrapped__() is None

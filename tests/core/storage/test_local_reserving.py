"""Room is asked for before large files are written, and nobody can tell."""

from __future__ import annotations

import os
import sys
from pathlib import Path

import pytest

from icechunk.abc.storage import StorageBackend
from icechunk.backends import local_reserving
from icechunk.backends.local import LocalBackend
from icechunk.backends.local_reserving import RESERVE_FROM_BYTES, Room

SIZES = [0, 1, RESERVE_FROM_BYTES - 1, RESERVE_FROM_BYTES, RESERVE_FROM_BYTES + 1, 5 * 2**20 + 3]


@pytest.fixture
def backend(tmp_path: Path) -> StorageBackend:
    return LocalBackend(str(tmp_path / "repo"))


def calls(monkeypatch: pytest.MonkeyPatch, *, answer: int | None = None) -> list[tuple[int, ...]]:
    """Pretend to be on ext4; keep what is asked of it, and answer, or let the filesystem do it."""
    asked: list[tuple[int, ...]] = []
    real = local_reserving._allocate()

    def allocate(*arguments: int) -> int:
        asked.append(arguments)
        if answer is not None:
            return answer
        assert real is not None
        return real(*arguments)

    monkeypatch.setattr(local_reserving, "_is_on_ext4", lambda descriptor: True)
    monkeypatch.setattr(local_reserving, "_allocate", lambda: allocate)
    return asked


@pytest.mark.parametrize("size", SIZES)
def test_a_file_has_the_bytes_that_were_written_and_no_more(backend: StorageBackend, size: int) -> None:
    data = os.urandom(size)
    backend.put("chunks/A", data, fresh=True)
    assert bytes(backend.fetch("chunks/A").data) == data
    assert backend.stat("chunks/A").size_bytes == size


@pytest.mark.skipif(sys.platform != "linux", reason="the call is Linux's")
@pytest.mark.parametrize("size", SIZES)
def test_so_it_has_where_room_is_asked_for(
    backend: StorageBackend, monkeypatch: pytest.MonkeyPatch, size: int
) -> None:
    asked = calls(monkeypatch)
    test_a_file_has_the_bytes_that_were_written_and_no_more(backend, size)
    assert [arguments[3] for arguments in asked] == ([size] if size >= RESERVE_FROM_BYTES else [])


@pytest.mark.skipif(sys.platform != "linux", reason="the call is Linux's")
def test_a_file_with_room_has_no_size_yet(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    # Zeros of the right length would pass for a chunk after a power loss.
    asked = calls(monkeypatch)
    descriptor = os.open(tmp_path / "file", os.O_WRONLY | os.O_CREAT)
    Room().reserve(descriptor, 2**20)
    assert len(asked) == 1
    assert os.fstat(descriptor).st_size == 0
    os.close(descriptor)


def test_a_refusal_changes_nothing_and_nobody_asks_again(
    backend: StorageBackend, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked = calls(monkeypatch, answer=-1)
    for name in "ABC":
        backend.put(f"chunks/{name}", bytes(2**20), fresh=True)
        assert backend.stat(f"chunks/{name}").size_bytes == 2**20
    assert len(asked) == 1


def test_nothing_is_asked_on_other_filesystems(
    backend: StorageBackend, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked = calls(monkeypatch, answer=0)
    monkeypatch.setattr(local_reserving, "_is_on_ext4", lambda descriptor: False)
    backend.put("chunks/A", bytes(2**20), fresh=True)
    assert asked == []


@pytest.mark.skipif(sys.platform != "linux", reason="the folder is Linux's")
def test_what_a_filesystem_is_can_be_told() -> None:
    descriptor = os.open("/proc", os.O_RDONLY)
    assert not local_reserving._is_on_ext4(descriptor)
    os.close(descriptor)
    assert not local_reserving._is_on_ext4(-1)

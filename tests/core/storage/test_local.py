"""Local storage: the contract, what lies on disk, and races between processes."""

from __future__ import annotations

import errno
import multiprocessing
import os
import pickle
import signal
import stat
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from icechunk.abc import NOT_YET_CREATED, Landed, LostRace, ObjectKind
from icechunk.backends import local, local_files, local_lock
from icechunk.backends.local import LocalBackend
from icechunk.errors import ErrorKind, ObjectNotFoundError, StorageError
from icechunk.plugins.registry import connect
from icechunk.storage import Storage, local_filesystem_storage
from icechunk.testing.conformance import StorageConformance


class TestLocal(StorageConformance):
    @pytest.fixture
    def storage(self, tmp_path: Path) -> Storage:
        return local_filesystem_storage(tmp_path / "not" / "yet" / "there")


class TestDurable(StorageConformance):
    @pytest.fixture
    def storage(self, tmp_path: Path) -> Storage:
        return local_filesystem_storage(str(tmp_path / "repo"), durable=True)


class TestBehindASymbolicLink(StorageConformance):
    @pytest.fixture
    def storage(self, tmp_path: Path) -> Storage:
        (tmp_path / "real").mkdir()
        (tmp_path / "link").symlink_to(tmp_path / "real")
        return local_filesystem_storage(tmp_path / "link")


def _fails_with(number: int) -> Callable[..., None]:
    def fail(*args: object, **options: object) -> None:
        raise OSError(number, os.strerror(number))

    return fail


class TestWithoutLinks(StorageConformance):
    """As on exFAT and some network filesystems."""

    @pytest.fixture
    def storage(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Storage:
        monkeypatch.setattr(os, "link", _fails_with(errno.EPERM))
        return local_filesystem_storage(tmp_path)


class TestWithTheLockInAFile(StorageConformance):
    """As on NFS, where a folder cannot be locked."""

    @pytest.fixture
    def storage(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Storage:
        def lock(descriptor: int) -> None:
            if stat.S_ISDIR(os.fstat(descriptor).st_mode):
                raise OSError(errno.EBADF, "bad file descriptor")
            real_lock(descriptor)

        real_lock = local_lock._lock
        monkeypatch.setattr(local_lock, "_lock", lock)
        return local_filesystem_storage(tmp_path)


@pytest.mark.filterwarnings("ignore:the filesystem of .* has no locks")
class TestWithoutLocks(StorageConformance):
    """Safe for the threads of one process at least."""

    @pytest.fixture
    def storage(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Storage:
        monkeypatch.setattr(local_lock, "_lock", _fails_with(errno.ENOLCK))
        return local_filesystem_storage(tmp_path)


@pytest.fixture
def backend(tmp_path: Path) -> LocalBackend:
    return LocalBackend(str(tmp_path))


def on_disk(root: Path) -> list[str]:
    return sorted(str(path.relative_to(root)) for path in root.rglob("*") if not path.is_dir())


# -- what lies on disk ---------------------------------------------------------------------------------------


def test_an_object_is_a_file(backend: LocalBackend, tmp_path: Path) -> None:
    backend.put("chunks/A", b"body", fresh=True)
    backend.put("repo", b"{}", expected=NOT_YET_CREATED)
    assert on_disk(tmp_path) == ["chunks/A", "repo"]
    assert (tmp_path / "chunks" / "A").read_bytes() == b"body"


def test_a_file_has_the_mode_of_any_new_file(backend: LocalBackend, tmp_path: Path) -> None:
    (tmp_path / "plain").write_bytes(b"")
    backend.put("chunks/A", b"body", fresh=True)
    backend.put("repo", b"body")
    mode = (tmp_path / "plain").stat().st_mode
    assert (tmp_path / "chunks" / "A").stat().st_mode == mode
    assert (tmp_path / "repo").stat().st_mode == mode


def test_a_backup_is_a_link_to_the_old_file(backend: LocalBackend, tmp_path: Path) -> None:
    old = backend.put("repo", b"first", expected=NOT_YET_CREATED)
    assert isinstance(old, Landed)
    assert old.version is not None
    inode = (tmp_path / "repo").stat().st_ino
    backend.replace("repo", b"second", expected=old.version, backup="overwritten/repo.1")
    assert (tmp_path / "overwritten" / "repo.1").stat().st_ino == inode
    assert on_disk(tmp_path) == ["overwritten/repo.1", "repo"]


def test_locking_leaves_no_file(backend: LocalBackend, tmp_path: Path) -> None:
    with backend.exclusive("repo"):
        pass
    assert list(tmp_path.iterdir()) == []


def test_temporary_files_are_not_listed(backend: LocalBackend, tmp_path: Path) -> None:
    backend.put("refs/a#b/ref.json", b"{}")
    (tmp_path / "repo#1").write_bytes(b"half")
    (tmp_path / "refs" / "a%23b" / "ref.json#123").write_bytes(b"half")
    assert [info.path for info in backend.list()] == ["refs/a#b/ref.json"]
    assert list(backend.list_paths()) == ["refs/a#b/ref.json"]


def test_an_object_may_be_called_like_a_temporary_file(backend: LocalBackend, tmp_path: Path) -> None:
    backend.put("repo#1", b"body")
    assert list(backend.list_paths()) == ["repo#1"]
    assert on_disk(tmp_path) == ["repo%231"]


@pytest.mark.parametrize(
    ("path", "name"),
    [
        ("refs/branch.é日/ref.json", "refs/branch.%C3%A9%E6%97%A5/ref.json"),
        ('refs/{}[]<>#"%|^`~*?\x01\x7f', "refs/%7B%7D%5B%5D%3C%3E%23%22%25%7C%5E%60%7E%2A%3F%01%7F"),
        ("refs/a b!$&'()+,-.:;=@_Z9", "refs/a b!$&'()+,-.:;=@_Z9"),
        ("refs/\udcff", "refs/%FF"),
    ],
)
@pytest.mark.skipif(sys.platform == "win32", reason="`:` is not allowed in names there")
def test_names_are_encoded_as_the_reference_does(
    backend: LocalBackend, tmp_path: Path, path: str, name: str
) -> None:
    backend.put(path, b"body")
    assert on_disk(tmp_path) == [name]
    assert backend.fetch(path).data == b"body"
    assert [info.path for info in backend.list(path[:6])] == [path]
    assert list(backend.list_paths(path.rpartition("/")[0] + "/")) == [path]
    backend.delete([path])
    assert on_disk(tmp_path) == []


def test_what_nobody_has_encoded_keeps_its_name(backend: LocalBackend, tmp_path: Path) -> None:
    for name in ("a%2Fb", "a%zz", "a%41", "a%c3%a9"):
        (tmp_path / name).write_bytes(b"theirs")
    assert sorted(backend.list_paths()) == ["a%2Fb", "a%41", "a%c3%a9", "a%zz"]


def test_a_failed_write_leaves_no_file(
    backend: LocalBackend, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(local, "write_all", _fails_with(errno.ENOSPC))
    for fresh in (True, False):
        with pytest.raises(StorageError, match="No space left") as info:
            backend.put("chunks/A", b"body", fresh=fresh)
        assert info.value.kind == ErrorKind.IO
        assert isinstance(info.value.__cause__, OSError)
    assert on_disk(tmp_path) == []


def test_writes_that_the_system_cuts_short_are_continued(
    backend: LocalBackend, monkeypatch: pytest.MonkeyPatch
) -> None:
    real_write, real_pread = os.write, local_files._pread
    monkeypatch.setattr(os, "write", lambda descriptor, data: real_write(descriptor, bytes(data)[:7]))
    monkeypatch.setattr(local_files, "_pread", lambda d, count, offset: real_pread(d, min(count, 3), offset))
    backend.put("chunks/A", bytes(range(100)), fresh=True)
    assert backend.fetch("chunks/A").data == bytes(range(100))
    assert backend.fetch("chunks/A", (10, 20)).data == bytes(range(10, 20))


def test_two_files_of_one_inode_are_two_versions(backend: LocalBackend) -> None:
    # Without a backup the inode of the old file is free again, and the next but one may get it.
    versions = set()
    for number in range(200):
        outcome = backend.put("refs/branch.main/ref.json", b"%04d" % number)
        assert isinstance(outcome, Landed)
        versions.add(outcome.version)
    assert len(versions) == 200


# -- reading -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("size", [2**20 - 1, 2**20, 2**20 + 4097, 3 * 2**20])
def test_large_reads_are_exact(backend: LocalBackend, size: int) -> None:
    body = os.urandom(size)
    backend.put("chunks/A", body, fresh=True)
    backend.put("chunks/B", body)
    for path in ("chunks/A", "chunks/B"):
        assert bytes(backend.fetch(path).data) == body
        for start, stop in ((0, size), (1, size), (4096, None), (4097, size), (size - 10, None)):
            assert bytes(backend.fetch(path, (start, stop)).data) == body[start:stop]
        with pytest.raises(StorageError) as info:
            backend.fetch(path, (5, size + 1))
        assert info.value.kind == ErrorKind.INVALID_OBJECT_SIZE
    target = memoryview(bytearray(size - 5))
    backend.read_into("chunks/A", 5, target)
    assert target == body[5:]
    with pytest.raises(StorageError):
        backend.read_into("chunks/A", 6, target)


def test_a_large_read_is_a_view_that_outlives_the_file(backend: LocalBackend) -> None:
    body = os.urandom(2**20)
    backend.put("chunks/A", body, fresh=True)
    view = backend.fetch("chunks/A", (0, 2**20)).data
    assert isinstance(view, memoryview)
    assert view.readonly
    backend.delete(["chunks/A"])
    assert view == body


def test_where_nothing_can_be_mapped_it_is_read(
    backend: LocalBackend, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(local_files.mmap, "mmap", _fails_with(errno.ENODEV))
    body = os.urandom(2**20)
    backend.put("chunks/A", body, fresh=True)
    assert backend.fetch("chunks/A").data == body


def test_living_views_do_not_use_up_the_files_of_the_process(backend: LocalBackend) -> None:
    resource = pytest.importorskip("resource")
    body = bytes(2**20)
    backend.put("chunks/A", body, fresh=True)
    limits = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (min(256, limits[0]), limits[1]))
    try:
        # Before 3.13 a mapping has a descriptor, and one must be left to read with when they end.
        count = 400 if sys.version_info >= (3, 13) else 150
        views = [backend.fetch("chunks/A").data for _ in range(count)]
        assert all(len(view) == len(body) for view in views)
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, limits)


def test_what_the_system_refuses_is_an_io_error(backend: LocalBackend, tmp_path: Path) -> None:
    backend.put("chunks/A", b"body")
    (tmp_path / "loop").symlink_to(tmp_path / "loop")
    for attempt in (
        lambda: backend.get("loop"),
        lambda: backend.stat("loop"),
        lambda: backend.put("loop/x", b""),
    ):
        with pytest.raises(StorageError) as info:
            attempt()
        assert info.value.kind == ErrorKind.IO


def test_what_lies_below_a_file_is_not_there(backend: LocalBackend) -> None:
    backend.put("repo", b"body")
    with pytest.raises(ObjectNotFoundError):
        backend.get("repo/x")
    assert not backend.delete(["repo/x"])
    assert list(backend.list("repo/")) == []


def test_a_folder_cannot_be_deleted_as_an_object(backend: LocalBackend) -> None:
    backend.put("chunks/A", b"body")
    (failure,) = backend.delete(["chunks", "chunks/A"])
    assert failure.path == "chunks"
    assert list(backend.list()) == []


# -- the storage ---------------------------------------------------------------------------------------------


def test_a_relative_path_is_taken_from_the_working_directory_of_that_moment(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "here").mkdir()
    monkeypatch.chdir(tmp_path / "here")
    storage = local_filesystem_storage("repo")
    monkeypatch.chdir(tmp_path)
    connect(storage.location).put("chunks/A", b"body")
    assert on_disk(tmp_path) == ["here/repo/chunks/A"]
    assert str(storage) == "<icechunk.Storage>\ntype: local filesystem\npath: repo\n"


def test_a_folder_travels(tmp_path: Path) -> None:
    storage = local_filesystem_storage(tmp_path, durable=True)
    arrived = pickle.loads(pickle.dumps(storage))
    assert arrived == storage
    assert hash(arrived) == hash(storage)
    assert arrived != local_filesystem_storage(tmp_path)
    connect(arrived.location).put("repo", b"body")
    assert storage.list_objects() == [("repo", 4)]


@pytest.mark.parametrize("path", ["", "a\0b"])
def test_what_is_no_path_is_refused_when_it_is_used(path: str) -> None:
    storage = local_filesystem_storage(path)
    with pytest.raises(StorageError) as info:
        storage.list_objects()
    assert info.value.kind == ErrorKind.STORAGE_CONFIG


def test_settings_of_folders_are_those_of_the_reference(tmp_path: Path) -> None:
    settings = local_filesystem_storage(tmp_path).default_settings()
    assert settings.unsafe_use_conditional_update is False
    assert settings.unsafe_use_metadata is False
    assert settings.unsafe_use_conditional_create is None
    assert settings.concurrency is not None
    assert settings.concurrency.ideal_concurrent_request_size == 4096


def test_objects_are_listed_below_a_folder(tmp_path: Path) -> None:
    storage = local_filesystem_storage(tmp_path)
    backend = connect(storage.location)
    backend.put("snapshots/A", b"12")
    backend.put("repo", b"123")
    assert sorted(storage.list_objects()) == [("repo", 3), ("snapshots/A", 2)]
    for prefix in ("snapshots", "snapshots/"):
        assert storage.list_objects(prefix=prefix) == [("A", 2)]
    assert storage.list_objects(prefix="snap") == []
    (info,) = storage.list_objects_metadata(prefix="snapshots")
    assert (info.key, info.size_bytes) == ("A", 2)
    assert str(info).startswith(
        "<icechunk.storage.StorageObjectInfo>\nkey: A\nsize_bytes: 2\ncreated_at: datet"
    )


# -- durability ----------------------------------------------------------------------------------------------


def test_durable_writes_sync_the_file_and_then_its_name(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    synced: list[str] = []
    real = os.fsync

    def fsync(descriptor: int) -> None:
        synced.append(os.path.relpath(os.readlink(f"/proc/self/fd/{descriptor}"), tmp_path).partition("#")[0])
        real(descriptor)

    monkeypatch.setattr(os, "fsync", fsync)
    backend = LocalBackend(str(tmp_path / "repo"), durable=True)
    backend.put("chunks/A", b"body", fresh=True)
    assert synced == [".", "repo", "repo/chunks/A", "repo/chunks"]
    synced.clear()
    first = backend.put("repo", b"first", expected=NOT_YET_CREATED)
    assert synced == ["repo/repo", "repo"]
    synced.clear()
    assert isinstance(first, Landed)
    assert first.version is not None
    backend.replace("repo", b"second", expected=first.version, backup="overwritten/A")
    # The backup's name is safe before `repo` is replaced.
    assert synced == ["repo/repo", "repo", "repo/overwritten", "repo"]


def test_nothing_is_synced_otherwise(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "fsync", _fails_with(errno.EIO))
    backend = LocalBackend(str(tmp_path))
    backend.put("chunks/A", b"body", fresh=True)
    backend.put("repo", b"body")


# -- races ---------------------------------------------------------------------------------------------------


def _add_lines(root: str, who: int, count: int) -> None:
    backend = LocalBackend(root)
    for number in range(count):
        while True:
            with backend.exclusive("repo"):
                fetched = backend.fetch("repo")
                assert fetched.version is not None
                body = bytes(fetched.data) + b"%d %d\n" % (who, number)
                outcome = backend.replace(
                    "repo", body, expected=fetched.version, backup=f"overwritten/{who}-{number}"
                )
            if isinstance(outcome, Landed):
                break
            assert isinstance(outcome, LostRace)


@pytest.mark.parametrize("method", ["fork", pytest.param("spawn", marks=pytest.mark.slow)])
@pytest.mark.filterwarnings("ignore:This process .* is multi-threaded:DeprecationWarning")
def test_updates_of_many_processes_all_count(tmp_path: Path, method: str) -> None:
    backend = LocalBackend(str(tmp_path))
    backend.put("repo", b"", expected=NOT_YET_CREATED)
    context = multiprocessing.get_context(method)
    processes = [context.Process(target=_add_lines, args=(str(tmp_path), who, 50)) for who in range(4)]
    for process in processes:
        process.start()
    for process in processes:
        process.join(60)
        assert process.exitcode == 0
    assert len(set(bytes(backend.fetch("repo").data).splitlines())) == 200
    assert len(list(backend.list("overwritten/"))) == 200


def test_updates_of_many_threads_all_count_even_without_holding_the_lock(tmp_path: Path) -> None:
    backend = LocalBackend(str(tmp_path))
    backend.put("repo", b"", expected=NOT_YET_CREATED)

    def add(who: int) -> None:
        mine = LocalBackend(str(tmp_path))
        for number in range(20):
            while True:
                fetched = mine.fetch("repo")
                assert fetched.version is not None
                body = bytes(fetched.data) + b"%d %d\n" % (who, number)
                if isinstance(mine.replace("repo", body, expected=fetched.version), Landed):
                    break

    threads = [threading.Thread(target=add, args=(who,)) for who in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert len(set(bytes(backend.fetch("repo").data).splitlines())) == 80


def _hold(root: str, holding: Path) -> None:
    with LocalBackend(root).exclusive("repo"):
        holding.touch()
        time.sleep(600)


@pytest.mark.skipif(not hasattr(os, "fork"), reason="there is no fork")
@pytest.mark.filterwarnings("ignore:This process .* is multi-threaded:DeprecationWarning")
def test_a_killed_holder_lets_go(tmp_path: Path) -> None:
    root = tmp_path / "repo"
    process = multiprocessing.get_context("fork").Process(
        target=_hold, args=(str(root), tmp_path / "holding")
    )
    process.start()
    while not (tmp_path / "holding").exists():
        assert process.is_alive()
        time.sleep(0.01)
    assert process.pid is not None
    os.kill(process.pid, signal.SIGKILL)
    process.join(30)
    with LocalBackend(str(root)).exclusive("repo"):
        pass


@pytest.mark.skipif(not hasattr(os, "fork"), reason="there is no fork")
@pytest.mark.filterwarnings("ignore:This process .* is multi-threaded:DeprecationWarning")
def test_a_child_does_not_inherit_the_lock(tmp_path: Path) -> None:
    backend = LocalBackend(str(tmp_path))
    held, go = threading.Event(), threading.Event()

    def hold() -> None:
        with backend.exclusive("repo"):
            held.set()
            go.wait(30)

    holder = threading.Thread(target=hold)
    holder.start()
    held.wait(30)
    child = os.fork()
    if not child:
        time.sleep(600)
        os._exit(0)
    try:
        go.set()
        holder.join(30)
        with backend.exclusive("repo"):
            pass
    finally:
        os.kill(child, signal.SIGKILL)
        os.waitpid(child, 0)


def test_an_error_inside_the_lock_is_the_callers(backend: LocalBackend) -> None:
    with pytest.raises(OSError, match="mine"), backend.exclusive("repo"):
        raise OSError("mine")
    with backend.exclusive("repo"):
        pass


def test_where_there_are_no_locks_it_is_said_once(
    backend: LocalBackend, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(local_lock, "_lock", _fails_with(errno.ENOLCK))
    with pytest.warns(RuntimeWarning, match="has no locks"), backend.exclusive("repo"):
        pass
    with backend.exclusive("repo"):
        assert backend.put("repo", b"body", kind=ObjectKind.REF)


def test_an_interrupted_wait_leaves_the_lock_to_others(
    backend: LocalBackend, monkeypatch: pytest.MonkeyPatch
) -> None:
    def interrupted(descriptor: int) -> None:
        real_lock(descriptor)
        raise KeyboardInterrupt

    real_lock = local_lock._lock
    with monkeypatch.context() as patch:
        patch.setattr(local_lock, "_lock", interrupted)
        with pytest.raises(KeyboardInterrupt), backend.exclusive("repo"):
            pass
    with backend.exclusive("repo"):
        pass

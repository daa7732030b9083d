"""Storage in a folder, safe for concurrent commits from many threads and processes.

An object is a file. Writing makes a temporary file (``<name>#<digits>``, which lists ignore) and moves
it to its name; creating links it there, so that only one can; replacing a version holds a
lock on the folder meanwhile (`icechunk.backends.local_lock`). Readers take no lock: what they have open stays as it
is. The backup of a replaced file is a hard link to it. What lies on disk is what the reference
implementation writes, which takes no lock: beside it, a race is narrow, but not closed.
"""

from __future__ import annotations

import errno
import os
import stat as modes
import sys
import time
from contextlib import contextmanager
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Literal, NoReturn

from icechunk.abc.storage import (
    ANY,
    NO_METADATA,
    NOT_YET_CREATED,
    UNCHANGED,
    Buffer,
    ByteRange,
    Capabilities,
    CopyOutcome,
    DeleteFailure,
    Expectation,
    Fetched,
    Landed,
    Locality,
    LostRace,
    ObjectInfo,
    ObjectKind,
    PutOutcome,
    StorageBackend,
    Unchanged,
    Version,
    check_object_path,
)
from icechunk.backends.local_cached import MOST_BYTES, CachedFiles
from icechunk.backends.local_files import (
    READ,
    WRITE_OVER,
    ShortFileError,
    from_file_name,
    is_temporary,
    make_folders,
    open_temporary,
    read_bytes,
    read_into,
    stamp,
    sync_file,
    sync_folder,
    to_file_name,
    version_of,
    write_all,
)
from icechunk.backends.local_lock import exclusive_folder
from icechunk.backends.local_reserving import RESERVE_FROM_BYTES, Room
from icechunk.errors import ErrorKind, InvalidInputError, ObjectNotFoundError, StorageError

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence

_CAPABILITIES = Capabilities(conditional_put=True, user_metadata=False, server_side_copy=True)

_LANDED_IN_PLACE = Landed(None)

# What a filesystem without hard links answers to an attempt at one.
_NO_LINKS_HERE = frozenset(
    getattr(errno, name)
    for name in ("EPERM", "EOPNOTSUPP", "ENOTSUP", "ENOSYS", "EMLINK", "EXDEV", "EINVAL", "EACCES")
    if hasattr(errno, name)
)
# More folders than these a repository has only of refs in spec 1.
_MOST_KNOWN_FOLDERS = 1000


class LocalBackend(StorageBackend):
    """A connection to a folder.

    Parameters
    ----------
    root
        The absolute path of the folder. It is made by the first write.
    durable
        Whether a write returns only when the object, its name, and the folders that it lies in would
        survive a power loss. As each put is synced before the next begins, what ``repo`` refers to is
        on disk before ``repo`` is replaced.
    """

    def __init__(self, root: str, *, durable: bool = False) -> None:
        self._root = root
        # A string to put in front of each path: joining costs more than opening the file.
        self._prefix = root if root.endswith(os.sep) else root + os.sep
        self._durable = durable
        self._cached = CachedFiles()
        self._room = Room()
        # Folders that `check_object_path` has seen.
        self._known_folders = {""}

    @property
    def locality(self) -> Locality:
        """Local."""
        return Locality.LOCAL

    @property
    def can(self) -> Capabilities:
        """Conditional puts (whatever the settings say: the lock makes them safe) and cheap copies."""
        return _CAPABILITIES

    # -- reading ------------------------------------------------------------------------------------------

    def fetch(self, path: str, range: ByteRange | None = None) -> Fetched:  # noqa: A002
        """Read a file: open, read, close. From 1 MiB on, the answer is a view of the mapped file."""
        file = self._file(path)
        if range is not None and range[1] is not None and range[1] - range[0] <= MOST_BYTES:
            data = self._cached.read(file, range[0], range[1])
            if data is not None:
                return Fetched(data, None)
        try:
            descriptor = os.open(file, READ)
            try:
                if range is not None and range[1] is not None:
                    return Fetched(read_bytes(descriptor, range[0], range[1]), None)
                info = os.fstat(descriptor)
                if not modes.S_ISREG(info.st_mode):
                    raise IsADirectoryError
                if range is None:
                    return Fetched(read_bytes(descriptor, 0, info.st_size), version_of(info))
                if range[0] >= info.st_size:
                    raise ShortFileError(info.st_size)
                return Fetched(read_bytes(descriptor, range[0], info.st_size), None)
            finally:
                os.close(descriptor)
        except (OSError, ShortFileError) as failure:
            _raise_read_failure(path, range, failure)

    def get(
        self,
        path: str,
        range: ByteRange | None = None,  # noqa: A002
        *,
        unless: Version | None = None,
    ) -> Fetched | Literal[Unchanged.UNCHANGED]:
        """Read a file, if it is another than the caller knows (which one `stat` tells)."""
        if unless is not None:
            try:
                if version_of(os.stat(self._file(path))) == unless:
                    return UNCHANGED
            except OSError as failure:
                _raise_read_failure(path, range, failure)
        return self.fetch(path, range)

    def read_into(self, path: str, start: int, target: memoryview) -> None:
        """Read into memory of the caller's, without a copy."""
        try:
            descriptor = os.open(self._file(path), READ)
            try:
                read_into(descriptor, start, target)
            finally:
                os.close(descriptor)
        except (OSError, ShortFileError) as failure:
            _raise_read_failure(path, (start, start + len(target)), failure)

    def stat(self, path: str) -> ObjectInfo:
        """Tell what the filesystem knows of a file."""
        try:
            info = os.stat(self._file(path))
        except OSError as failure:
            _raise_read_failure(path, None, failure)
        if not modes.S_ISREG(info.st_mode):
            raise ObjectNotFoundError(f"object not found `{path}`")
        return _object_info(path, info)

    def list(self, prefix: str = "") -> Iterator[ObjectInfo]:
        """Walk the folders, with one `stat` for each file."""
        for path, entry in self._walk(prefix):
            try:
                yield _object_info(path, entry.stat())
            except FileNotFoundError:
                continue  # Deleted since the folder was read.
            except OSError as failure:
                raise _io_error(path, failure) from failure

    def list_paths(self, prefix: str = "") -> Iterator[str]:
        """Walk the folders, without a `stat` for each file."""
        for path, _ in self._walk(prefix):
            yield path

    # -- writing ------------------------------------------------------------------------------------------

    def put(
        self,
        path: str,
        data: Buffer,
        *,
        expected: Expectation = ANY,
        kind: ObjectKind = ObjectKind.METADATA,
        fresh: bool = False,
        content_type: str | None = None,
        user_metadata: Mapping[str, str] = NO_METADATA,
    ) -> PutOutcome:
        """Write a file: in place if nobody can know of it, else beside its name and then moved there."""
        file = self._file(path)
        try:
            if fresh:
                self._write_in_place(file, data)
                return _LANDED_IN_PLACE
            if expected is ANY:
                with self._written(file, data) as (temporary, version):
                    os.replace(temporary, file)
            elif expected is NOT_YET_CREATED:
                with self._written(file, data) as (temporary, version):
                    if not self._move_if_absent(temporary, file):
                        return LostRace()
            else:
                with self._written(file, data) as (temporary, version), exclusive_folder(self._root):
                    if _current_version(file) != expected:
                        return LostRace()
                    os.replace(temporary, file)
            self._sync_name(file)
        except OSError as failure:
            raise _io_error(path, failure) from failure
        return Landed(version)

    def replace(
        self,
        path: str,
        data: Buffer,
        *,
        expected: Version,
        backup: str | None = None,
        kind: ObjectKind = ObjectKind.REF,
        content_type: str | None = None,
        user_metadata: Mapping[str, str] = NO_METADATA,
    ) -> PutOutcome:
        """Compare, link the old file to `backup`, and move the new one over it, under one lock."""
        file = self._file(path)
        try:
            with self._written(file, data) as (temporary, version), exclusive_folder(self._root):
                # The link first: whether it is the expected file shows on the link, which nobody can
                # exchange any more, and so comparing and backing up are one step.
                if backup is None:
                    if _current_version(file) != expected:
                        return LostRace()
                elif not self._copied(file, self._file(backup), expected):
                    return LostRace()
                os.replace(temporary, file)
                # Inside the lock, so that whoever comes next builds on what would survive.
                self._sync_name(file)
        except OSError as failure:
            raise _io_error(path, failure) from failure
        return Landed(version)

    def copy(
        self,
        source: str,
        target: str,
        *,
        expected: Version | None = None,
        kind: ObjectKind = ObjectKind.METADATA,
    ) -> CopyOutcome:
        """Give a file a second name (a hard link), or copy its bytes where there are no links."""
        file, second = self._file(source), self._file(target)
        try:
            if not self._copied(file, second, expected):
                if expected is None:
                    raise ObjectNotFoundError(f"object not found `{source}`")
                return LostRace()
            return Landed(_current_version(second))
        except OSError as failure:
            raise _io_error(source, failure) from failure

    def delete(self, paths: Iterable[str]) -> Sequence[DeleteFailure]:
        """Unlink files. Folders stay, even empty."""
        failures = []
        for path in paths:
            try:
                os.unlink(self._file(path))
            except (FileNotFoundError, NotADirectoryError):
                continue
            except OSError as failure:
                failures.append(DeleteFailure(path, f"{failure.strerror or failure}"))
        return failures

    @contextmanager
    def exclusive(self, path: str) -> Iterator[None]:
        """Hold the lock on the folder; one for all objects."""
        # Failures of the lock only: what the caller's own block raises is none of ours.
        lock = exclusive_folder(self._root)
        try:
            if self._durable:
                make_folders(self._root, durable=True)
            lock.__enter__()
        except OSError as failure:
            raise _io_error(path, failure) from failure
        try:
            yield
        finally:
            lock.__exit__(None, None, None)

    # -- helpers ------------------------------------------------------------------------------------------

    def _file(self, path: str) -> str:
        """Tell the file of an object, after a check of the path that is cheap for the usual ones."""
        folder, _, name = path.rpartition("/")
        if name.isalnum() and name.isascii() and folder in self._known_folders:
            return self._prefix + path
        check_object_path(path)
        if sys.platform == "win32" and ":" in path:
            # Drives, and second streams of one file.
            raise InvalidInputError(f"invalid object path `{path}`", kind=ErrorKind.INVALID_PATH)
        if len(self._known_folders) < _MOST_KNOWN_FOLDERS and to_file_name(folder) == folder:
            self._known_folders.add(folder)
        return self._prefix + to_file_name(path)

    def _write_in_place(self, file: str, data: Buffer) -> None:
        # No look whether the folder is there: it nearly always is.
        try:
            descriptor = os.open(file, WRITE_OVER, 0o666)
        except FileNotFoundError:
            make_folders(os.path.dirname(file), durable=self._durable)
            descriptor = os.open(file, WRITE_OVER, 0o666)
        try:
            size_bytes = memoryview(data).nbytes
            if size_bytes >= RESERVE_FROM_BYTES:
                self._room.reserve(descriptor, size_bytes)
            write_all(descriptor, data)
            if self._durable:
                sync_file(descriptor)
        except BaseException:
            # Disk full, or Ctrl-C. Nothing refers to it, and half a file is of no use.
            os.close(descriptor)
            _unlink_quietly(file)
            raise
        os.close(descriptor)
        self._sync_name(file)

    @contextmanager
    def _written(self, file: str, data: Buffer) -> Iterator[tuple[str, Version]]:
        """Write `data` beside `file`; the temporary file is gone at the end, unless it was moved."""
        try:
            descriptor, temporary = open_temporary(file)
        except FileNotFoundError:
            make_folders(os.path.dirname(file), durable=self._durable)
            descriptor, temporary = open_temporary(file)
        try:
            try:
                write_all(descriptor, data)
                # Two files in a row can get the same inode, and would then be one version to a
                # reader, if their size and the tick of the kernel's clock were the same too.
                stamp(descriptor, temporary, time.time_ns())
                if self._durable:
                    sync_file(descriptor)
                version = version_of(os.fstat(descriptor))
            finally:
                os.close(descriptor)
            yield temporary, version
        finally:
            _unlink_quietly(temporary)

    def _move_if_absent(self, temporary: str, file: str) -> bool:
        try:
            os.link(temporary, file)
        except FileExistsError:
            return False
        except OSError as failure:
            if failure.errno not in _NO_LINKS_HERE:
                raise
            with exclusive_folder(self._root):
                if os.path.lexists(file):
                    return False
                os.replace(temporary, file)
        return True

    def _copied(self, file: str, second: str, expected: Version | None) -> bool:
        """Make `second` the same as `file`, if that is there and the expected version."""
        for _ in range(3):
            try:
                os.link(file, second)
                break
            except FileExistsError:
                os.unlink(second)
            except FileNotFoundError:
                if not os.path.lexists(file):
                    return False
                make_folders(os.path.dirname(second), durable=self._durable)
            except NotADirectoryError:
                return False
            except OSError as failure:
                if failure.errno not in _NO_LINKS_HERE:
                    raise
                return self._copied_bytes(file, second, expected)
        else:
            raise FileExistsError(errno.EEXIST, "somebody else writes it, again and again", second)
        if expected is not None and _current_version(second) != expected:
            os.unlink(second)
            return False
        self._sync_name(second)
        return True

    def _copied_bytes(self, file: str, second: str, expected: Version | None) -> bool:
        try:
            descriptor = os.open(file, READ)
        except FileNotFoundError:
            return False
        try:
            info = os.fstat(descriptor)
            if expected is not None and version_of(info) != expected:
                return False
            data = read_bytes(descriptor, 0, info.st_size)
        finally:
            os.close(descriptor)
        with self._written(second, data) as (temporary, _):
            os.replace(temporary, second)
        self._sync_name(second)
        return True

    def _sync_name(self, file: str) -> None:
        if self._durable:
            sync_folder(os.path.dirname(file))

    def _walk(self, prefix: str) -> Iterator[tuple[str, os.DirEntry[str]]]:
        """Yield the files whose path starts with `prefix`, with their paths."""
        folder, slash, _ = prefix.rpartition("/")
        if folder:
            check_object_path(folder)
        waiting = [folder + slash]
        while waiting:
            above = waiting.pop()
            try:
                with os.scandir(self._prefix + to_file_name(above)) as entries:
                    for entry in entries:
                        path = above + from_file_name(entry.name)
                        if entry.is_dir():
                            if path.startswith(prefix) or prefix.startswith(path + "/"):
                                waiting.append(path + "/")
                        elif path.startswith(prefix) and not is_temporary(entry.name):
                            yield path, entry
            except (FileNotFoundError, NotADirectoryError):
                continue
            except OSError as failure:
                raise _io_error(above, failure) from failure


def _current_version(file: str) -> Version | None:
    try:
        return version_of(os.stat(file))
    except FileNotFoundError:
        return None


def _object_info(path: str, info: os.stat_result) -> ObjectInfo:
    return ObjectInfo(path, info.st_size, datetime.fromtimestamp(info.st_mtime, UTC), version_of(info))


def _unlink_quietly(file: str) -> None:
    try:
        os.unlink(file)
    except OSError:
        pass  # Moved away already; or it stays, and is ignored by its name.


def _io_error(path: str, failure: OSError) -> StorageError:
    return StorageError(f"I/O error: `{path}`: {failure.strerror or failure}", kind=ErrorKind.IO)


def _raise_read_failure(path: str, wanted: ByteRange | None, failure: OSError | ShortFileError) -> NoReturn:
    if isinstance(failure, ShortFileError):
        start, stop = wanted or (0, None)
        raise StorageError(
            f"invalid object size: bytes {start} to {'the end' if stop is None else stop} "
            f"of `{path}` were asked for, it has {failure.size_bytes}",
            kind=ErrorKind.INVALID_OBJECT_SIZE,
        ) from None
    if isinstance(failure, (FileNotFoundError, NotADirectoryError, IsADirectoryError)):
        raise ObjectNotFoundError(f"object not found `{path}`") from None
    raise _io_error(path, failure) from failure

"""The file operations under the local backend: whole writes, exact reads, and the names of files.

Nothing here knows of roots or object paths; failures are `OSError`.
"""

from __future__ import annotations

import mmap
import os
import random
import re
import sys
from typing import TYPE_CHECKING

from icechunk.abc.storage import Version

if TYPE_CHECKING:
    from icechunk.abc.storage import Buffer

_EXTRA_FLAGS = getattr(os, "O_CLOEXEC", 0) | getattr(os, "O_BINARY", 0) | getattr(os, "O_NOINHERIT", 0)
READ = os.O_RDONLY | _EXTRA_FLAGS
WRITE_NEW = os.O_WRONLY | os.O_CREAT | os.O_EXCL | _EXTRA_FLAGS
WRITE_OVER = os.O_WRONLY | os.O_CREAT | os.O_TRUNC | _EXTRA_FLAGS

# 1 MiB: from here on mapping a file beats reading it twofold, below 512 KiB reading wins. Windows refuses to
# replace or delete a file that is mapped.
MAP_FROM_BYTES = 2**20 if sys.platform != "win32" else sys.maxsize

# All but these are encoded: what the reference's local storage does, tried with every character.
_TO_ENCODE = re.compile(r"[^ !$&'()+,\-./0-9:;=@A-Z_a-z]+")

_ENCODED = re.compile(rb"%([0-9A-F]{2})")

# No object has such a file: `#` is one of those that are encoded.
_TEMPORARY_NAME = re.compile(r"#[0-9]+\Z")


class ShortFileError(Exception):
    """A file ends before the bytes that were asked for."""

    def __init__(self, size_bytes: int) -> None:
        super().__init__(size_bytes)
        self.size_bytes = size_bytes


def to_file_name(path: str) -> str:
    """Return the name of an object's file, relative to the root: some characters are percent-encoded.

    Those that the reference encodes on local storage (branches and tags of spec version 1 have names that
    users choose), which are also those that some systems do not allow in names.
    """
    return _TO_ENCODE.sub(_percent_encoded, path)


def from_file_name(name: str) -> str:
    """Return the object path that a name in a folder stands for. One that nobody encoded is left as it is."""
    if "%" not in name:
        return name
    path = _ENCODED.sub(_byte, os.fsencode(name)).decode(errors="surrogateescape")
    return path if to_file_name(path) == name else name


def _byte(match: re.Match[bytes]) -> bytes:
    return bytes([int(match[1], 16)])


def _percent_encoded(match: re.Match[str]) -> str:
    # Bytes of a name that is no UTF-8 are encoded, too.
    return "".join(f"%{byte:02X}" for byte in match[0].encode(errors="surrogateescape"))


def is_temporary(name: str) -> bool:
    """Tell whether a file of this name is somebody's half-done write: `<name>#<digits>`."""
    return "#" in name and _TEMPORARY_NAME.search(name) is not None


def version_of(info: os.stat_result) -> Version:
    """Tell files apart as the reference's etags do, only to the nanosecond: inode, mtime and size."""
    return Version(f'"{info.st_ino:x}-{info.st_mtime_ns:x}-{info.st_size:x}"')


def read_bytes(descriptor: int, start: int, stop: int) -> bytes | memoryview:
    """Read exactly the bytes from `start` to `stop`: copied if few, mapped if many."""
    wanted = stop - start
    if wanted >= MAP_FROM_BYTES:
        mapped = _mapped(descriptor, start, stop)
        if mapped is not None:
            return mapped
    data = _pread(descriptor, wanted, start)
    if len(data) == wanted:
        return data
    return _read_on(descriptor, data, start, stop)


def read_into(descriptor: int, start: int, target: memoryview) -> None:
    """Fill `target` with the bytes from `start` on."""
    done = 0
    while done < len(target):
        count = _preadv(descriptor, target[done:], start + done)
        if not count:
            raise ShortFileError(start + done)
        done += count


def write_all(descriptor: int, data: Buffer) -> None:
    """Write every byte of `data`."""
    # One call is nearly always enough, and takes buffers of any shape. (Linux writes 2 GiB at a time.)
    done = os.write(descriptor, data)
    size = len(data) if isinstance(data, bytes) else memoryview(data).nbytes
    if done < size:
        rest = memoryview(data).cast("B")
        while done < size:
            done += os.write(descriptor, rest[done:])


def open_temporary(file: str) -> tuple[int, str]:
    """Open a new temporary file beside `file`, and tell its name."""
    while True:
        # Random, not counted from 1: what a crash left behind need not be tried one by one.
        temporary = f"{file}#{random.getrandbits(40)}"
        try:
            return os.open(temporary, WRITE_NEW, 0o666), temporary
        except FileExistsError:
            continue


if sys.platform == "win32":

    def sync_folder(folder: str) -> None:
        """Do nothing: Windows has no call that makes names survive a power loss, and no need of one."""

else:

    def sync_folder(folder: str) -> None:
        """Make the names in a folder survive a power loss."""
        descriptor = os.open(folder, os.O_RDONLY | _EXTRA_FLAGS)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)


if sys.platform == "darwin":
    from fcntl import F_FULLFSYNC, fcntl

    def sync_file(descriptor: int) -> None:
        """Make a file survive a power loss. Apple's fsync only hands it to the drive."""
        fcntl(descriptor, F_FULLFSYNC)

else:

    def sync_file(descriptor: int) -> None:
        """Make a file survive a power loss."""
        os.fsync(descriptor)


def make_folders(folder: str, *, durable: bool) -> None:
    """Make a folder and those above it, and with `durable` their names too."""
    if not durable:
        os.makedirs(folder, exist_ok=True)
        return
    parent = os.path.dirname(folder)
    try:
        os.mkdir(folder)
    except FileExistsError:
        return
    except FileNotFoundError:
        if parent == folder:
            raise
        make_folders(parent, durable=True)
        make_folders(folder, durable=True)
        return
    sync_folder(parent)


def stamp(descriptor: int, file: str, nanoseconds: int) -> None:
    """Set a file's mtime. The kernel's own advances in ticks of some milliseconds."""
    if os.utime in os.supports_fd:
        os.utime(descriptor, ns=(nanoseconds, nanoseconds))
    else:
        os.utime(file, ns=(nanoseconds, nanoseconds))


def _read_on(descriptor: int, data: bytes, start: int, stop: int) -> bytes:
    parts = [data]
    done = start + len(data)
    while done < stop:
        data = _pread(descriptor, stop - done, done)
        if not data:
            raise ShortFileError(os.fstat(descriptor).st_size)
        parts.append(data)
        done += len(data)
    return b"".join(parts)


def _mapped(descriptor: int, start: int, stop: int) -> memoryview | None:
    # A mapping begins at a page.
    skipped = start % mmap.ALLOCATIONGRANULARITY
    length = stop - start + skipped
    try:
        if sys.version_info >= (3, 13) and sys.platform != "win32":
            # Without a descriptor of its own, so that living mappings do not use up the process's files.
            mapping = mmap.mmap(
                descriptor, length, access=mmap.ACCESS_READ, offset=start - skipped, trackfd=False
            )
        else:
            mapping = mmap.mmap(descriptor, length, access=mmap.ACCESS_READ, offset=start - skipped)
    except (OSError, ValueError):
        # No mappings here, no descriptor left, or the file is too short: reading finds out.
        return None
    return memoryview(mapping)[skipped:]


if sys.platform != "win32":
    _pread = os.pread
else:

    def _pread(descriptor: int, count: int, offset: int, /) -> bytes:
        os.lseek(descriptor, offset, os.SEEK_SET)
        return os.read(descriptor, count)


if sys.platform != "win32" and hasattr(os, "preadv"):

    def _preadv(descriptor: int, target: memoryview, offset: int) -> int:
        return os.preadv(descriptor, [target], offset)

else:

    def _preadv(descriptor: int, target: memoryview, offset: int) -> int:
        # Not more than this at a time, to hold no second copy of a large target.
        data = _pread(descriptor, min(len(target), 2**20), offset)
        target[: len(data)] = data
        return len(data)

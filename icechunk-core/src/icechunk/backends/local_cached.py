"""Reads of small files that the kernel has in memory, without handing over the interpreter's lock (Linux).

Each call of `os` lets go of the lock. Where several threads read small files (Zarr's synchronous
pipeline, Dask), each open, read and close then wakes another thread and waits for it: with two of
them that took longer than all the rest of reading a chunk. The calls here keep the lock, and say
"not now" to the kernel instead of waiting: for a name that is not in its cache (``RESOLVE_CACHED``) and for
bytes that are not (``RWF_NOWAIT``). Whoever gets `None` reads the ordinary way, which also finds out what is wrong.
A thread that reads alone has nobody to hand the lock to, and the calls of `os` are the faster ones.
"""

from __future__ import annotations

import ctypes
import functools
import os
import platform
import struct
import sys
from threading import get_ident
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable

    CachedReader = Callable[[str, int, int], memoryview | None]

MOST_BYTES = 2**17
"""Copying more than this holds up the other threads for longer than the hand-overs would."""

# After a failure some reads do not try: twice as many as last time, and never more than these.
_MOST_SKIPPED = 256

# After so many reads in a row a thread is alone again. Many: one that holds the lock may read
# hundreds of chunks before another's turn comes.
_ALONE_AFTER = 4096

# The same number on every machine since Linux 5.6; no C library has a function for it.
_SYS_OPENAT2 = 437
_AT_FDCWD = -100
_RESOLVE_CACHED = 0x20
_RWF_NOWAIT = 0x8

_MOST_32_BITS = 2**31 - 1

_pack = struct.Struct("@NN").pack


class CachedFiles:
    """The attempts at one folder: they stop soon where they cannot succeed. Safe from several threads."""

    def __init__(self) -> None:
        self._read = _reader()
        self._skipping = 0
        self._skip_next = 1
        self._last_thread: int | None = None
        self._reads_until_alone = 0

    def read(self, file: str, start: int, stop: int) -> memoryview | None:
        """Return the bytes from `start` to `stop` if that is faster than to wait for them, else `None`."""
        # Two threads can count at once: then a few reads more, or fewer, try.
        thread = get_ident()
        if thread != self._last_thread:
            self._reads_until_alone = 0 if self._last_thread is None else _ALONE_AFTER
            self._last_thread = thread
        if not self._reads_until_alone:
            return None
        self._reads_until_alone -= 1
        if self._skipping:
            self._skipping -= 1
            return None
        if self._read is None:
            return None
        data = self._read(file, start, stop)
        if data is not None:
            self._skip_next = 1
            return data
        self._skipping = self._skip_next
        self._skip_next = min(2 * self._skip_next, _MOST_SKIPPED)
        return None


@functools.cache
def _reader() -> CachedReader | None:
    """Make the function that reads, or None where the system has no such calls."""
    if not (
        sys.platform == "linux"
        and sys.maxsize > 2**32
        and platform.python_implementation() == "CPython"
        # Without the lock there is nothing to hand over.
        and getattr(sys, "_is_gil_enabled", _always)()
    ):
        return None
    try:
        library = ctypes.PyDLL(None)
        openat2, preadv2, close = library.syscall, library.preadv2, library.close
    except (OSError, AttributeError):
        return None
    # No `argtypes`: to check five arguments takes as long as all else. Without them an `int` is passed
    # as 32 bits, sign extended, and `bytes` as their address.
    # `O_NONBLOCK` changes nothing for files; anything else must not keep the lock while it waits.
    how = struct.pack("@QQQ", os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK, 0, _RESOLVE_CACHED)
    how_size = len(how)
    encoding, errors = sys.getfilesystemencoding(), sys.getfilesystemencodeerrors()
    address_of = ctypes.addressof
    first_byte = ctypes.c_char.from_buffer

    def read(file: str, start: int, stop: int) -> memoryview | None:
        if stop > _MOST_32_BITS:
            return None
        descriptor = openat2(_SYS_OPENAT2, _AT_FDCWD, file.encode(encoding, errors), how, how_size)
        if descriptor < 0:
            return None
        wanted = stop - start
        try:
            data = bytearray(wanted)
            count = preadv2(descriptor, _pack(address_of(first_byte(data)), wanted), 1, start, _RWF_NOWAIT)
        finally:
            close(descriptor)
        return memoryview(data).toreadonly() if count == wanted else None

    # Old kernels do not know the call, and sandboxes may forbid it.
    root = openat2(_SYS_OPENAT2, _AT_FDCWD, b"/", how, how_size)
    if root < 0:
        return None
    close(root)
    return read


def _always() -> bool:
    return True

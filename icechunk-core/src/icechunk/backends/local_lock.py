"""One writer at a time for a folder, across threads and processes.

The lock is an ``flock`` on the folder itself, so that no file of ours lies in the repository (one in
its root would keep other implementations from creating a repository there). The folder is opened anew
each time: an flock belongs to the open file, so that threads of one process exclude each other
too, and a killed holder lets go. Measured: 1.2 µs for taking and giving back.
"""

from __future__ import annotations

import errno
import os
import sys
import threading
import time
import warnings
from contextlib import contextmanager
from functools import partial
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

if sys.platform == "win32":
    import msvcrt
else:
    import fcntl

# Filesystems that have no lock for a folder, or none at all. On Linux, NFS turns an flock into a record
# lock, which wants a file that is open for writing.
_NO_LOCK_HERE = frozenset(
    getattr(errno, name)
    for name in ("EBADF", "ENOLCK", "EOPNOTSUPP", "ENOTSUP", "EINVAL", "ENOSYS", "EISDIR", "EACCES")
    if hasattr(errno, name)
)
# Where the folder cannot be locked. The name is one of a temporary file, which every implementation
# ignores, in a folder that no implementation expects to be empty.
_LOCK_FILE = ("overwritten", "repo.lock#1")


class _Held(threading.local):
    """How often this thread holds which root."""

    def __init__(self) -> None:
        self.roots: dict[str, int] = {}


_held = _Held()
_open_locks: set[int] = set()
_lockless: dict[str, threading.Lock] = {}


def _forget_after_fork() -> None:
    # The child has a copy of each descriptor that the parent's threads hold a lock with. As long as it is
    # open the lock is not free, should the parent be killed.
    for descriptor in list(_open_locks):
        os.close(descriptor)
    _open_locks.clear()
    _held.roots.clear()
    _lockless.clear()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_forget_after_fork)


@contextmanager
def exclusive_folder(root: str) -> Iterator[None]:
    """Wait until no other thread or process is in this context for `root`, and hold them off.

    A thread that is in it may enter again. The folder is made if it is not there.
    """
    depth = _held.roots.get(root, 0)
    if depth:
        _held.roots[root] = depth + 1
        try:
            yield
        finally:
            _held.roots[root] = depth
        return
    taken: list[Callable[[], None]] = []
    try:
        _take(root, taken)
        _held.roots[root] = 1
        yield
    finally:
        _held.roots.pop(root, None)
        while taken:
            taken.pop()()


def _take(root: str, taken: list[Callable[[], None]]) -> None:
    """Lock, and note in `taken` how to let go.

    It is noted before the lock is taken: Ctrl-C may come right after, and a lock that nobody gives back
    would hold up this process for ever.
    """
    if sys.platform != "win32" and _locked(_open_folder(root), taken):
        return
    if _locked(_open_lock_file(root), taken):
        return
    if root not in _lockless:
        warnings.warn(
            f"the filesystem of `{root}` has no locks: commits to it are safe from several threads of one "
            "process, but not from several processes at the same time",
            RuntimeWarning,
            stacklevel=5,
        )
    lock = _lockless.setdefault(root, threading.Lock())
    lock.acquire()
    taken.append(lock.release)


def _locked(descriptor: int, taken: list[Callable[[], None]]) -> bool:
    """Lock an open file, or close it where there is no lock for it."""
    _open_locks.add(descriptor)
    taken.append(partial(_let_go, descriptor))
    try:
        _lock(descriptor)
    except OSError as failure:
        if failure.errno not in _NO_LOCK_HERE:
            raise
        taken.pop()()
        return False
    return True


def _let_go(descriptor: int) -> None:
    if descriptor not in _open_locks:
        return  # Closed in a forked child.
    _open_locks.discard(descriptor)
    try:
        # Not left to `close`: a child that was forked meanwhile has a copy, which would keep the lock.
        _unlock(descriptor)
    except OSError:
        pass  # It was not locked.
    finally:
        os.close(descriptor)


def _open_folder(root: str) -> int:
    flags = os.O_RDONLY | getattr(os, "O_CLOEXEC", 0) | getattr(os, "O_DIRECTORY", 0)
    try:
        return os.open(root, flags)
    except FileNotFoundError:
        os.makedirs(root, exist_ok=True)
        return os.open(root, flags)


def _open_lock_file(root: str) -> int:
    path = os.path.join(root, *_LOCK_FILE)
    flags = os.O_RDWR | os.O_CREAT | getattr(os, "O_CLOEXEC", 0) | getattr(os, "O_NOINHERIT", 0)
    try:
        return os.open(path, flags, 0o666)
    except FileNotFoundError:
        os.makedirs(os.path.dirname(path), exist_ok=True)
        return os.open(path, flags, 0o666)


if sys.platform == "win32":

    def _lock(descriptor: int) -> None:
        while True:
            os.lseek(descriptor, 0, os.SEEK_SET)
            try:
                msvcrt.locking(descriptor, msvcrt.LK_NBLCK, 1)
            except OSError as failure:
                # EACCES and EDEADLOCK say here that another one has it.
                if failure.errno not in {errno.EACCES, errno.EDEADLK}:
                    raise
                time.sleep(0.002)
            else:
                return

    def _unlock(descriptor: int) -> None:
        os.lseek(descriptor, 0, os.SEEK_SET)
        msvcrt.locking(descriptor, msvcrt.LK_UNLCK, 1)

else:

    def _lock(descriptor: int) -> None:
        fcntl.flock(descriptor, fcntl.LOCK_EX)

    def _unlock(descriptor: int) -> None:
        fcntl.flock(descriptor, fcntl.LOCK_UN)

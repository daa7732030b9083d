"""Storage in the memory of one process: fast, atomic, and gone with it."""

from __future__ import annotations

import os
import threading
import time
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Literal, NamedTuple
from weakref import WeakSet

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
from icechunk.errors import ErrorKind, ObjectNotFoundError, StorageError

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence

_CAPABILITIES = Capabilities(conditional_put=True, user_metadata=True, server_side_copy=True)


class _Stored(NamedTuple):
    data: bytes
    version: Version
    created_at: float
    user_metadata: Mapping[str, str]


class MemoryStore:
    """The objects themselves, shared by all backends that are connected to them.

    It travels nowhere: what is unpickled elsewhere is a new, empty store.
    """

    def __init__(self) -> None:
        self.lock = threading.Lock()
        self.objects: dict[str, _Stored] = {}
        self.last_version = 0
        _stores.add(self)

    def __reduce__(self) -> tuple[type[MemoryStore], tuple[()]]:
        return MemoryStore, ()

    def __repr__(self) -> str:
        return f"<{len(self.objects)} objects in memory>"


_stores: WeakSet[MemoryStore] = WeakSet()


def _renew_locks() -> None:
    # A thread of the parent may have held the lock while it forked; it does not exist here to let go.
    for store in list(_stores):
        store.lock = threading.Lock()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_renew_locks)


class MemoryBackend(StorageBackend):
    """A connection to a `MemoryStore`."""

    def __init__(self, store: MemoryStore) -> None:
        self._store = store

    @property
    def locality(self) -> Locality:
        """In memory."""
        return Locality.MEMORY

    @property
    def can(self) -> Capabilities:
        """Everything."""
        return _CAPABILITIES

    def fetch(self, path: str, range: ByteRange | None = None) -> Fetched:  # noqa: A002
        """Look up an object; no copy is made."""
        stored = self._find(path)
        if range is None:
            return Fetched(stored.data, stored.version)
        start, stop = range
        size = len(stored.data)
        if start >= size or (stop is not None and stop > size):
            raise StorageError(
                f"invalid object size: bytes {start} to {'the end' if stop is None else stop} "
                f"of `{path}` were asked for, it has {size}",
                kind=ErrorKind.INVALID_OBJECT_SIZE,
            )
        return Fetched(memoryview(stored.data)[start:stop], stored.version)

    def get(
        self,
        path: str,
        range: ByteRange | None = None,  # noqa: A002
        *,
        unless: Version | None = None,
    ) -> Fetched | Literal[Unchanged.UNCHANGED]:
        """Look up an object; no copy is made."""
        fetched = self.fetch(path, range)
        return UNCHANGED if unless is not None and fetched.version == unless else fetched

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
        """Keep a copy of `data`, atomically."""
        if path not in self._store.objects:
            check_object_path(path)
        # A caller may reuse its buffer. (`bytes` of bytes is the same object, no copy.)
        return self._set(path, bytes(data), expected, dict(user_metadata) if user_metadata else NO_METADATA)

    def stat(self, path: str) -> ObjectInfo:
        """Tell what is known of an object."""
        return _info(path, self._find(path))

    def delete(self, paths: Iterable[str]) -> Sequence[DeleteFailure]:
        """Forget objects."""
        for path in paths:
            check_object_path(path)
            with self._store.lock:
                self._store.objects.pop(path, None)
        return ()

    def list(self, prefix: str = "") -> Iterator[ObjectInfo]:
        """Yield the objects as they were when the first was asked for."""
        with self._store.lock:
            found = [item for item in self._store.objects.items() if item[0].startswith(prefix)]
        for path, stored in found:
            yield _info(path, stored)._replace(user_metadata=NO_METADATA)

    def copy(
        self,
        source: str,
        target: str,
        *,
        expected: Version | None = None,
        kind: ObjectKind = ObjectKind.METADATA,
    ) -> CopyOutcome:
        """Keep the same bytes under another name."""
        check_object_path(target)
        try:
            stored = self._find(source)
        except ObjectNotFoundError:
            if expected is None:
                raise
            return LostRace()
        if expected is not None and stored.version != expected:
            return LostRace()
        return self._set(target, stored.data, ANY, stored.user_metadata)

    def _find(self, path: str) -> _Stored:
        try:
            # One look into a dict is atomic: no lock.
            return self._store.objects[path]
        except KeyError:
            check_object_path(path)
            raise ObjectNotFoundError(f"object not found `{path}`") from None

    def _set(
        self, path: str, data: bytes, expected: Expectation, user_metadata: Mapping[str, str]
    ) -> Landed | LostRace:
        store = self._store
        with store.lock:
            if expected is not ANY:
                current = store.objects.get(path)
                if (
                    (current is not None)
                    if expected is NOT_YET_CREATED
                    else (current is None or current.version != expected)
                ):
                    return LostRace()
            store.last_version += 1
            version = Version(store.last_version)
            store.objects[path] = _Stored(data, version, time.time(), user_metadata)
        return Landed(version)


def _info(path: str, stored: _Stored) -> ObjectInfo:
    return ObjectInfo(
        path,
        len(stored.data),
        datetime.fromtimestamp(stored.created_at, UTC),
        stored.version,
        stored.user_metadata,
    )

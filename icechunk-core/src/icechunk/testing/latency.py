"""Storage that is as slow as one says: what far away storage does to a program, without any."""

from __future__ import annotations

import sys
import time
from typing import TYPE_CHECKING, Literal

from icechunk.abc import (
    ANY,
    NO_METADATA,
    Buffer,
    ByteRange,
    Capabilities,
    CopyOutcome,
    DeleteFailure,
    Expectation,
    Fetched,
    Locality,
    Location,
    ObjectInfo,
    ObjectKind,
    PutOutcome,
    StorageBackend,
    StorageProvider,
    Unchanged,
    Version,
)
from icechunk.plugins import registry
from icechunk.plugins.hookspecs import hookimpl
from icechunk.storage import Storage

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence
    from contextlib import AbstractContextManager

    from icechunk._values.storage_settings import StorageSettings

__all__ = ["LatencyStorage"]

_KIND = "testing-latency"


class LatencyStorage(Storage):
    """Another storage, each of whose requests takes longer.

    It counts as remote, so that the library does with it what it does with a cloud's.

    Parameters
    ----------
    inner
        The storage that has the objects.
    write_latency_ms, read_latency_ms
        How many milliseconds each request waits before it is made. Writes are puts, copies and deletes.
    """

    __slots__ = ()

    def __init__(self, inner: Storage, *, write_latency_ms: int = 0, read_latency_ms: int = 0) -> None:
        if not isinstance(inner, Storage):
            raise TypeError(f"{type(inner).__name__!r} object is not an instance of 'Storage'")
        for latency in (write_latency_ms, read_latency_ms):
            if latency < 0:
                raise ValueError(f"a latency is zero or more milliseconds, not {latency}")
        self._location = Location(
            _KIND,
            inner.location.root,
            {
                "inner": inner.location,
                "write_latency_ms": write_latency_ms,
                "read_latency_ms": read_latency_ms,
            },
        )

    @property
    def write_latency_ms(self) -> int:
        """How long a write waits."""
        latency: int = self._location.options["write_latency_ms"]
        return latency

    @property
    def read_latency_ms(self) -> int:
        """How long a read waits."""
        latency: int = self._location.options["read_latency_ms"]
        return latency

    def __repr__(self) -> str:
        return (
            f"LatencyStorage(write_latency_ms={self.write_latency_ms}, "
            f"read_latency_ms={self.read_latency_ms})"
        )


class _LatencyBackend(StorageBackend):
    """Waits, then asks another backend. What has a default in the contract is made of these requests."""

    def __init__(self, inner: StorageBackend, *, write_seconds: float, read_seconds: float) -> None:
        self._inner = inner
        self._write_seconds = write_seconds
        self._read_seconds = read_seconds

    @property
    def locality(self) -> Locality:
        return Locality.REMOTE

    @property
    def can(self) -> Capabilities:
        return self._inner.can

    def get(
        self,
        path: str,
        range: ByteRange | None = None,  # noqa: A002
        *,
        unless: Version | None = None,
    ) -> Fetched | Literal[Unchanged.UNCHANGED]:
        time.sleep(self._read_seconds)
        return self._inner.get(path, range, unless=unless)

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
        time.sleep(self._write_seconds)
        return self._inner.put(
            path,
            data,
            expected=expected,
            kind=kind,
            fresh=fresh,
            content_type=content_type,
            user_metadata=user_metadata,
        )

    def stat(self, path: str) -> ObjectInfo:
        time.sleep(self._read_seconds)
        return self._inner.stat(path)

    def delete(self, paths: Iterable[str]) -> Sequence[DeleteFailure]:
        time.sleep(self._write_seconds)
        return self._inner.delete(paths)

    def list(self, prefix: str = "") -> Iterator[ObjectInfo]:
        time.sleep(self._read_seconds)
        return self._inner.list(prefix)

    def copy(
        self,
        source: str,
        target: str,
        *,
        expected: Version | None = None,
        kind: ObjectKind = ObjectKind.METADATA,
    ) -> CopyOutcome:
        time.sleep(self._write_seconds)
        return self._inner.copy(source, target, expected=expected, kind=kind)

    def exclusive(self, path: str) -> AbstractContextManager[None]:
        return self._inner.exclusive(path)

    def close(self) -> None:
        self._inner.close()


def _connect(location: Location, settings: StorageSettings) -> StorageBackend:
    options = location.options
    return _LatencyBackend(
        registry.connect(options["inner"], settings),
        write_seconds=options["write_latency_ms"] / 1000,
        read_seconds=options["read_latency_ms"] / 1000,
    )


@hookimpl
def icechunk_storage_providers() -> Iterable[StorageProvider]:
    """Contribute slow storage."""
    return [
        StorageProvider(
            kind=_KIND,
            connect=_connect,
            default_settings=lambda location: registry.default_settings(location.options["inner"]),
        )
    ]


# Not an entry point, so that nobody pays for it who does not import it.
registry.register(sys.modules[__name__], "testing-latency")

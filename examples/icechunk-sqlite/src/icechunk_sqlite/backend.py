"""The storage contract over one table of an SQLite file."""

from __future__ import annotations

import json
import os
import sqlite3
import threading
import time
import weakref
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime
from typing import Any, Literal

from icechunk.abc import (
    ANY,
    NO_METADATA,
    NOT_YET_CREATED,
    UNCHANGED,
    Buffer,
    ByteRange,
    Capabilities,
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

# Replacing a row gives it a new number, and AUTOINCREMENT never gives one twice: the version.
_SCHEMA = """
CREATE TABLE IF NOT EXISTS objects (
    version INTEGER PRIMARY KEY AUTOINCREMENT,
    path TEXT NOT NULL UNIQUE,
    body BLOB NOT NULL,
    created_at REAL NOT NULL,
    user_metadata TEXT NOT NULL
)
"""
_PAGE = 1000
# No body is longer.
_WHOLE = 2**31 - 1


class SqliteBackend(StorageBackend):
    """A connection to an SQLite file: one of SQLite's for each thread, since they are not shared."""

    def __init__(self, file: str, *, timeout_seconds: float) -> None:
        self._file = file
        self._timeout_seconds = timeout_seconds
        self._of_thread = threading.local()
        self._all: list[sqlite3.Connection] = []
        # The library may drop a backend without closing it.
        self._finalizer = weakref.finalize(self, _close_all, self._all)

    @property
    def locality(self) -> Locality:
        """Local."""
        return Locality.LOCAL

    @property
    def can(self) -> Capabilities:
        """Everything but copying inside the database, for which the default does well enough."""
        return Capabilities(conditional_put=True, user_metadata=True)

    def get(
        self,
        path: str,
        range: ByteRange | None = None,  # noqa: A002
        *,
        unless: Version | None = None,
    ) -> Fetched | Literal[Unchanged.UNCHANGED]:
        """Select a row, or a part of its body."""
        if unless is not None and self.stat(path).version == unless:
            return UNCHANGED
        start, stop = range or (0, None)
        # SQLite counts from 1, and takes less where there is less.
        length = _WHOLE if stop is None else stop - start
        version, body, size = self._row(
            path,
            "SELECT version, substr(body, ?, ?), length(body) FROM objects WHERE path = ?",
            (start + 1, length, path),
        )
        if range is not None and (start >= size or (stop is not None and stop > size)):
            raise StorageError(
                f"invalid object size: bytes {start} to {stop} of `{path}` were asked for, it has {size}",
                kind=ErrorKind.INVALID_OBJECT_SIZE,
            )
        # Of an empty body, SQLite's part is NULL.
        return Fetched(body or b"", Version(version))

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
        """Replace a row, in a transaction that begins with the look at the old one."""
        check_object_path(path)
        # One dimension of bytes, as the module wants it, and no copy. (Nothing cannot be cast.)
        body = memoryview(data).cast("B") if memoryview(data).nbytes else b""
        with self._transaction() as connection:
            if expected is not ANY:
                current = connection.execute("SELECT version FROM objects WHERE path = ?", (path,)).fetchone()
                found = None if current is None else Version(current[0])
                if found != (None if expected is NOT_YET_CREATED else expected):
                    return LostRace()
            inserted = connection.execute(
                "INSERT OR REPLACE INTO objects (path, body, created_at, user_metadata) VALUES (?, ?, ?, ?)",
                (path, body, time.time(), json.dumps(dict(user_metadata))),
            )
        return Landed(Version(inserted.lastrowid))

    def stat(self, path: str) -> ObjectInfo:
        """Select what is small of a row."""
        row = self._row(
            path,
            "SELECT path, length(body), created_at, version, user_metadata FROM objects WHERE path = ?",
            (path,),
        )
        return _info(row)._replace(user_metadata=json.loads(row[4]))

    def delete(self, paths: Iterable[str]) -> Sequence[DeleteFailure]:
        """Delete rows, all in one transaction."""
        paths = list(paths)
        for path in paths:
            check_object_path(path)
        if self._exists():
            with self._transaction() as connection:
                connection.executemany("DELETE FROM objects WHERE path = ?", [(path,) for path in paths])
        return ()

    def list(self, prefix: str = "") -> Iterator[ObjectInfo]:
        """Select rows, page by page, so that no read is open while the caller does something else."""
        after = ""
        while self._exists():
            with _translated_errors(prefix):
                page = (
                    self._connection()
                    .execute(
                        "SELECT path, length(body), created_at, version FROM objects "
                        "WHERE path > ? AND substr(path, 1, ?) = ? ORDER BY path LIMIT ?",
                        (after, len(prefix), prefix, _PAGE),
                    )
                    .fetchall()
                )
            yield from map(_info, page)
            if len(page) < _PAGE:
                return
            after = page[-1][0]

    def close(self) -> None:
        """Close the connections of all threads."""
        self._finalizer()

    def _row(self, path: str, query: str, parameters: tuple[object, ...]) -> tuple[Any, ...]:
        check_object_path(path)
        row: tuple[Any, ...] | None = None
        if self._exists():
            with _translated_errors(path):
                row = self._connection().execute(query, parameters).fetchone()
        if row is None:
            raise ObjectNotFoundError(f"object not found `{path}`")
        return row

    def _exists(self) -> bool:
        # Connecting would make the file, and reading is to make nothing.
        return os.path.exists(self._file)

    @contextmanager
    def _transaction(self) -> Iterator[sqlite3.Connection]:
        with _translated_errors(self._file):
            os.makedirs(os.path.dirname(self._file), exist_ok=True)
            connection = self._connection()
            # IMMEDIATE: only one writer at a time gets beyond this line.
            connection.execute("BEGIN IMMEDIATE")
            try:
                yield connection
            except BaseException:
                connection.execute("ROLLBACK")
                raise
            connection.execute("COMMIT")

    def _connection(self) -> sqlite3.Connection:
        # A connection must not be used in a process that was forked from the one that made it.
        owner, connection = getattr(self._of_thread, "connection", (None, None))
        if connection is None or owner != os.getpid():
            connection = sqlite3.connect(
                self._file,
                timeout=self._timeout_seconds,
                isolation_level=None,
                check_same_thread=False,
            )
            self._all.append(connection)
            _use_write_ahead_log(connection, self._timeout_seconds)
            connection.execute("PRAGMA synchronous = NORMAL")
            connection.execute(_SCHEMA)
            self._of_thread.connection = (os.getpid(), connection)
        return connection


def _use_write_ahead_log(connection: sqlite3.Connection, timeout_seconds: float) -> None:
    """Have readers not wait for a writer, nor a writer for readers."""
    deadline = time.monotonic() + timeout_seconds
    while True:
        try:
            connection.execute("PRAGMA journal_mode = WAL")
            return
        except sqlite3.OperationalError as failure:
            # Of several that open a new file at once, one may be refused without having waited.
            is_busy = failure.sqlite_errorcode & 0xFF == sqlite3.SQLITE_BUSY
            if not is_busy or time.monotonic() > deadline:
                raise
        time.sleep(0.01)


def _close_all(connections: list[sqlite3.Connection]) -> None:
    while connections:
        connections.pop().close()


def _info(row: tuple[Any, ...]) -> ObjectInfo:
    path, size, created_at, version = row[:4]
    return ObjectInfo(path, size, datetime.fromtimestamp(created_at, UTC), Version(version))


@contextmanager
def _translated_errors(what: str) -> Iterator[None]:
    try:
        yield
    except (sqlite3.Error, OSError) as failure:
        raise StorageError(f"SQLite: `{what}`: {failure}", kind=ErrorKind.OBJECT_STORE) from failure

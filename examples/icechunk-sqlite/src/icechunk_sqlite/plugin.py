"""What the plugin contributes. Loaded in every process that uses Icechunk, so it imports little."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any
from urllib.parse import unquote

from icechunk.abc import Location, StorageBackend, StorageProvider
from icechunk.errors import ErrorKind, InvalidInputError
from icechunk.plugins.hookspecs import hookimpl
from icechunk.storage import StorageSettings


@hookimpl
def icechunk_storage_providers() -> Iterable[StorageProvider]:
    """Contribute SQLite files."""
    return [
        StorageProvider(
            kind="sqlite", connect=_connect, schemes={"sqlite": _location_of_url}, describe=_describe
        )
    ]


def _connect(location: Location, settings: StorageSettings) -> StorageBackend:
    # Here and not at the top: whoever opens no SQLite file need not load SQLite.
    from icechunk_sqlite.backend import SqliteBackend

    return SqliteBackend(location.root, timeout_seconds=location.options["timeout_seconds"])


def _location_of_url(url: str, settings: Mapping[str, Any]) -> Location:
    from icechunk_sqlite import sqlite_storage

    path = url.removeprefix("sqlite:///")
    if path == url or not path:
        raise InvalidInputError(
            f"cannot parse url `{url}`: expected `sqlite:///relative/path.db` or `sqlite:////absolute/path.db`",
            kind=ErrorKind.CANNOT_PARSE_URL,
        )
    # What the function does not know is refused by it, with a TypeError.
    return sqlite_storage(unquote(path), **settings).location


def _describe(location: Location) -> Sequence[tuple[str, object]]:
    return [("type", "SQLite"), ("path", location.root)]

"""Core's own storage, contributed through the same hook as anybody's."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any
from urllib.parse import unquote, urlsplit

from icechunk._values.storage_settings import (
    StorageConcurrencySettings,
    StorageRetriesSettings,
    StorageSettings,
)
from icechunk.abc.providers import StorageProvider
from icechunk.backends.locations import local_location, memory_location
from icechunk.errors import ErrorKind, InvalidInputError, StorageError
from icechunk.plugins.hookspecs import hookimpl

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from icechunk.abc.locations import Location
    from icechunk.abc.storage import StorageBackend

__all__ = ["icechunk_storage_providers"]


@hookimpl
def icechunk_storage_providers() -> Iterable[StorageProvider]:
    """Contribute memory and the local filesystem."""
    return [
        StorageProvider(
            kind="local",
            connect=_connect_to_folder,
            schemes={"file": _location_of_file_url},
            default_settings=_settings_of_folders,
            describe=_describe_folder,
        ),
        StorageProvider(
            kind="memory",
            connect=_connect_to_memory,
            schemes={"memory": _location_of_memory_url},
            default_settings=_settings_of_memory,
            describe=_describe_memory,
        ),
    ]


# -- the local filesystem ------------------------------------------------------------------------------------


def _connect_to_folder(location: Location, settings: StorageSettings) -> StorageBackend:
    # Not at the top: whoever opens no folder needs none of it.
    from icechunk.backends.local import LocalBackend

    if not location.root or "\0" in location.root:
        raise StorageError(
            f"storage configuration error: {location.root!r} is no path of a folder",
            kind=ErrorKind.STORAGE_CONFIG,
        )
    return LocalBackend(location.root, durable=bool(location.options.get("durable", False)))


def _location_of_file_url(url: str, settings: Mapping[str, Any]) -> Location:
    parts = urlsplit(url)
    unknown = settings.keys() - {"durable"}
    if parts.netloc not in {"", "localhost"} or parts.query or parts.fragment or not parts.path.strip("/"):
        raise InvalidInputError(
            f"cannot parse url `{url}`: expected `file:///path/of/a/folder`", kind=ErrorKind.CANNOT_PARSE_URL
        )
    if unknown:
        raise TypeError(f"a file URL takes `durable` and nothing else, not {', '.join(sorted(unknown))}")
    path = unquote(parts.path)
    if os.name == "nt":
        path = path.lstrip("/")
    return local_location(path, **settings)


def _settings_of_folders(location: Location) -> StorageSettings:
    return StorageSettings(
        concurrency=StorageConcurrencySettings(
            max_concurrent_requests_for_object=5, ideal_concurrent_request_size=4096
        ),
        retries=StorageRetriesSettings(max_tries=1, initial_backoff_ms=0, max_backoff_ms=0),
        # What the reference writes for folders, and reads there. Ours are conditional all the same.
        unsafe_use_conditional_update=False,
        unsafe_use_metadata=False,
    )


def _describe_folder(location: Location) -> Sequence[tuple[str, object]]:
    fields: list[tuple[str, object]] = [
        ("type", "local filesystem"),
        ("path", location.options.get("given", location.root)),
    ]
    if location.options.get("durable"):
        fields.append(("durable", True))
    return fields


# -- memory --------------------------------------------------------------------------------------------------


def _connect_to_memory(location: Location, settings: StorageSettings) -> StorageBackend:
    # Not at the top, for the same reason as above.
    from icechunk.backends.memory import MemoryBackend

    return MemoryBackend(location.options["store"])


def _location_of_memory_url(url: str, settings: Mapping[str, Any]) -> Location:
    if url.rstrip("/") != "memory:":
        raise InvalidInputError(
            f"cannot parse url `{url}`: expected `memory://`, which is a new store each time",
            kind=ErrorKind.CANNOT_PARSE_URL,
        )
    if settings:
        raise TypeError(f"memory takes no settings, not {', '.join(sorted(settings))}")
    return memory_location()


def _settings_of_memory(location: Location) -> StorageSettings:
    return StorageSettings(
        concurrency=StorageConcurrencySettings(
            max_concurrent_requests_for_object=5, ideal_concurrent_request_size=1
        ),
        retries=StorageRetriesSettings(max_tries=1, initial_backoff_ms=0, max_backoff_ms=0),
    )


def _describe_memory(location: Location) -> Sequence[tuple[str, object]]:
    return [("type", "in-memory")]

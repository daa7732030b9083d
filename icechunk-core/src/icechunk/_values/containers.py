"""Virtual chunk containers: under which locations the objects behind virtual chunks are allowed to be."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from icechunk._values.checks import instance, required, text, unsigned
from icechunk._values.object_stores import ObjectStoreConfig
from icechunk._values.records import Copied, Frozen, aware
from icechunk._values.settings import Field, Settings

if TYPE_CHECKING:
    from collections.abc import Iterable
    from datetime import datetime

__all__ = ["VirtualChunkContainer", "VirtualChunkSpec", "check_container"]

_text = required(text)
_u32 = required(unsigned(32))
_u64 = required(unsigned(64))

# Compiled when the first container is checked, as most programs have none.
_URL = r"([A-Za-z][A-Za-z0-9+.-]*):(?://([^/?#]*))?([^?#]*)"
_HOST = r"(?:[^@]*@)?(?P<host>\[[0-9A-Fa-f:.]+\]|[^\s<>^|%\[\]:\\@]*)(?::(?P<port>[0-9]*))?"
_PORT_END = 2**16

# Which schemes the URLs of a store may have, and what its containers are called in messages.
_SCHEMES: dict[type[ObjectStoreConfig], tuple[tuple[str, ...], str]] = {
    ObjectStoreConfig.S3: (("s3",), "s3://"),
    ObjectStoreConfig.S3Compatible: (("s3",), "s3://"),
    ObjectStoreConfig.Tigris: (("tigris", "s3"), "tigris://"),
    ObjectStoreConfig.Gcs: (("gs", "gcs"), "GCS"),
    ObjectStoreConfig.Azure: (("az", "azure", "abfs"), "Azure"),
    ObjectStoreConfig.Http: (("http", "https"), "http(s)://"),
    ObjectStoreConfig.LocalFileSystem: (("file",), "file://"),
    ObjectStoreConfig.InMemory: ((), ""),
}


class VirtualChunkContainer(Settings):
    """A prefix of locations, and the store that has the objects below it.

    Parameters
    ----------
    url_prefix
        Absolute, ending in `/`.
    store
        What kind of store it is.
    name
        Lets locations be written as ``vcc://name/...``, so that the prefix can change later.
    """

    __slots__ = ()
    __module__ = "icechunk.virtual"

    name = Field(text)
    url_prefix = Field(_text)
    store = Field(required(instance(ObjectStoreConfig)))

    def __init__(self, url_prefix: str, store: ObjectStoreConfig, name: str | None = None) -> None:
        self.name = name
        self.url_prefix = url_prefix
        self.store = store


class VirtualChunkSpec(Frozen):
    """Where the bytes of one virtual chunk are.

    Parameters
    ----------
    index
        The chunk's coordinates in its array's chunk grid.
    location
        The absolute URL of the object, or ``vcc://container/...``.
    offset, length
        The part of the object that is the chunk, in bytes.
    etag_checksum, last_updated_at_checksum
        If given, what the object must still be like when it is read. Whole seconds count.
    """

    __slots__ = (
        "_index",
        "location",
        "offset",
        "length",
        "etag_checksum",
        "last_updated_at_checksum",
    )
    __module__ = "icechunk.virtual"

    index = Copied[list[int]](list)
    location: str
    offset: int
    length: int
    etag_checksum: str | None
    last_updated_at_checksum: datetime | None

    def __init__(
        self,
        index: Iterable[int],
        location: str,
        offset: int,
        length: int,
        etag_checksum: str | None = None,
        last_updated_at_checksum: datetime | None = None,
    ) -> None:
        self._fill(
            tuple([_u32("index", coordinate) for coordinate in index]),
            _text("location", location),
            _u64("offset", offset),
            _u64("length", length),
            text("etag_checksum", etag_checksum),
            None if last_updated_at_checksum is None else aware(last_updated_at_checksum),
        )


def check_container(container: VirtualChunkContainer) -> None:
    """Check what a container must fulfil before it can be used.

    Raises
    ------
    ValueError
        The prefix is no URL, does not end in `/`, does not fit the kind of store, or lacks the host or
        path that this kind needs; or the name could not be part of a ``vcc://`` location.
    """
    prefix, name = container.url_prefix, container.name
    if not prefix.endswith("/"):
        raise ValueError(f"VirtualChunkContainer url_prefix must end in a / character, got {prefix!r}")
    match = re.match(_URL, prefix)
    if match is None:
        raise ValueError(f"relative URL without a base: {prefix!r}")
    scheme, authority, path = match[1].lower(), match[2] or "", match[3]
    host = _host(authority, prefix)
    schemes, called = _SCHEMES[type(container.store)]
    if scheme not in schemes:
        raise ValueError(
            f"Invalid url prefix scheme ({scheme}) for this object store config: "
            f"({type(container.store).__name__.removesuffix('Store')}); it takes "
            f"{', '.join(schemes) or 'no virtual chunks'}"
        )
    if scheme == "file":
        if path.strip("/") == "":
            raise ValueError(f"Url prefix for file:// containers must include a path, got {prefix!r}")
    elif not host:
        raise ValueError(f"Url prefix for {called} containers must include a host, got {prefix!r}")
    if name is not None and (not name or "/" in name):
        raise ValueError(f"VirtualChunkContainer name must be non-empty and not contain '/', got {name!r}")


def _host(authority: str, prefix: str) -> str:
    match = re.fullmatch(_HOST, authority)
    if match is None:
        raise ValueError(f"invalid host in url prefix {prefix!r}")
    if match["port"] and int(match["port"]) >= _PORT_END:
        raise ValueError(f"invalid port number in url prefix {prefix!r}")
    return match["host"]

"""Where the objects behind virtual chunks are: the kinds of object stores, and their options."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar, TypeAlias

from icechunk._display.blocks import Block
from icechunk._display.html import html
from icechunk._display.literals import quoted
from icechunk._values.checks import boolean, instance, required, text, unsigned
from icechunk._values.records import Forms, NamedInt, Numbered, public_name, variant
from icechunk._values.settings import Field, Settings

if TYPE_CHECKING:
    from collections.abc import Mapping

__all__ = ["AnyObjectStoreConfig", "ChecksumAlgorithm", "ObjectStoreConfig", "S3Options"]

_flag = required(boolean)
_path = required(text)


class ChecksumAlgorithm(NamedInt):
    """The checksum that is sent along with uploads to S3."""

    __module__ = "icechunk"

    Crc32 = 0
    Crc32c = 1
    Crc64Nvme = 2
    Sha1 = 3
    Sha256 = 4


class S3Options(Settings):
    """How to reach a service that speaks S3."""

    __slots__ = ()
    __module__ = "icechunk.storage"

    region = Field(text)
    endpoint_url = Field(text)
    allow_http = Field(_flag)
    anonymous = Field(_flag)
    force_path_style = Field(_flag)
    network_stream_timeout_seconds = Field(unsigned(32))
    requester_pays = Field(_flag)
    checksum_algorithm = Field(instance(ChecksumAlgorithm))

    def __init__(
        self,
        region: str | None = None,
        endpoint_url: str | None = None,
        allow_http: bool = False,
        anonymous: bool = False,
        force_path_style: bool = False,
        network_stream_timeout_seconds: int | None = None,
        requester_pays: bool = False,
        checksum_algorithm: ChecksumAlgorithm | None = None,
    ) -> None:
        self.region = region
        self.endpoint_url = endpoint_url
        self.allow_http = allow_http
        self.anonymous = anonymous
        self.force_path_style = force_path_style
        self.network_stream_timeout_seconds = network_stream_timeout_seconds
        self.requester_pays = requester_pays
        self.checksum_algorithm = checksum_algorithm


class ObjectStoreConfig(Numbered, Forms):
    """A kind of object store, with its options."""

    __slots__ = ()
    __module__ = "icechunk.config"
    __hash__ = None  # type: ignore[assignment]  # options can be changed

    InMemory: ClassVar[type[InMemoryStore]]
    LocalFileSystem: ClassVar[type[LocalFileSystemStore]]
    S3: ClassVar[type[S3Store]]
    S3Compatible: ClassVar[type[S3CompatibleStore]]
    Gcs: ClassVar[type[GcsStore]]
    Azure: ClassVar[type[AzureStore]]
    Tigris: ClassVar[type[TigrisStore]]
    Http: ClassVar[type[HttpStore]]

    def __eq__(self, other: object) -> bool:
        if type(other) is not type(self):
            return NotImplemented
        # No options and empty options are the same, and are saved as the same.
        return [value or None for value in self._contents()] == [value or None for value in other._contents()]

    def _block(self) -> Block:
        fields = [(name, _text(getattr(self, name))) for name in self._field_names()]
        return Block(public_name(type(self)), fields)

    def __repr__(self) -> str:
        return f"{public_name(type(self))}({', '.join(map(_text, self._contents()))})"

    def __str__(self) -> str:
        return self._block().text()

    def _repr_html_(self) -> str:
        return html(self._block())


class _SpeaksS3(ObjectStoreConfig):
    """What the stores that speak S3 share."""

    __slots__ = ()

    options: S3Options

    def __init__(self, _0: S3Options) -> None:
        self._fill(required(instance(S3Options))("options", _0))

    def _block(self) -> Block:
        return Block(public_name(type(self)), self.options._block().fields)


@variant(ObjectStoreConfig, "InMemory")
class InMemoryStore(ObjectStoreConfig):
    """This process's memory. It cannot back virtual chunks."""

    __slots__ = ()


@variant(ObjectStoreConfig, "LocalFileSystem")
class LocalFileSystemStore(ObjectStoreConfig):
    """Files below a directory."""

    __slots__ = ("path",)
    __match_args__ = ("_0",)

    path: str

    def __init__(self, _0: str) -> None:
        self._fill(_path("path", _0))


@variant(ObjectStoreConfig, "S3")
class S3Store(_SpeaksS3):
    """Amazon S3."""

    __slots__ = ("options",)
    __match_args__ = ("_0",)


@variant(ObjectStoreConfig, "S3Compatible")
class S3CompatibleStore(_SpeaksS3):
    """Another service that speaks S3."""

    __slots__ = ("options",)
    __match_args__ = ("_0",)


@variant(ObjectStoreConfig, "Tigris")
class TigrisStore(_SpeaksS3):
    """Tigris."""

    __slots__ = ("options",)
    __match_args__ = ("_0",)


@variant(ObjectStoreConfig, "Gcs")
class GcsStore(ObjectStoreConfig):
    """Google Cloud Storage. Options are those of its client, by name."""

    __slots__ = ("config",)
    __match_args__ = ("_0",)

    config: dict[str, str] | None

    def __init__(self, _0: Mapping[str, str] | None = None) -> None:
        self._fill(_options("config", _0))


@variant(ObjectStoreConfig, "Azure")
class AzureStore(ObjectStoreConfig):
    """Azure Blob Storage. Options are those of its client, by name; `account` is one of them."""

    __slots__ = ("config",)
    __match_args__ = ("_0",)

    config: dict[str, str] | None

    def __init__(self, _0: Mapping[str, str] | None = None) -> None:
        self._fill(_options("config", _0))


@variant(ObjectStoreConfig, "Http")
class HttpStore(ObjectStoreConfig):
    """A web server. Options are those of the client, by name; headers are sent with every request."""

    __slots__ = ("opts", "headers")
    __match_args__ = ("_0", "_1")

    opts: dict[str, str] | None
    headers: dict[str, str] | None

    def __init__(self, _0: Mapping[str, str] | None = None, _1: Mapping[str, str] | None = None) -> None:
        self._fill(_options("opts", _0), _options("headers", _1))


AnyObjectStoreConfig: TypeAlias = (
    InMemoryStore
    | LocalFileSystemStore
    | S3Store
    | S3CompatibleStore
    | TigrisStore
    | GcsStore
    | AzureStore
    | HttpStore
)


def _options(name: str, options: Mapping[str, str] | None) -> dict[str, str] | None:
    if options is None:
        return None
    return {_path(name, key): _path(name, value) for key, value in options.items()}


def _text(value: object) -> str:
    if isinstance(value, str):
        return quoted(value)
    if isinstance(value, dict):
        return "{" + ", ".join(f"{quoted(key)}: {quoted(item)}" for key, item in value.items()) + "}"
    return repr(value)

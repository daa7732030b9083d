"""Where repositories live: the public `Storage`, and the functions that make one.

Nothing here does I/O, except the two lists of `Storage`. The kinds that need a vendor's SDK come with
plugins; without theirs, their functions raise `MissingPluginError` with the way to install it.
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any, Self

from icechunk._arguments import instance, optional_texts
from icechunk._display.blocks import Block
from icechunk._display.html import html
from icechunk._values.enums import ChunkType
from icechunk._values.object_stores import (
    AnyObjectStoreConfig,
    ChecksumAlgorithm,
    ObjectStoreConfig,
    S3Options,
)
from icechunk._values.storage_settings import (
    StorageConcurrencySettings,
    StorageRetriesSettings,
    StorageSettings,
    StorageTimeoutSettings,
)
from icechunk._values.store_makers import (
    azure_store,
    gcs_store,
    http_store,
    local_filesystem_store,
    s3_store,
)
from icechunk._values.summaries import StorageObjectInfo
from icechunk.abc.credentials import Secret
from icechunk.abc.locations import Location
from icechunk.backends.locations import local_location, memory_location
from icechunk.errors import PluginError
from icechunk.plugins import registry

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from datetime import datetime

    from icechunk.credentials import (
        AnyAzureCredential,
        AnyGcsCredential,
        AnyS3Credential,
        GcsBearerCredential,
        S3StaticCredentials,
    )

__all__ = [
    "AnyObjectStoreConfig",
    "ChecksumAlgorithm",
    "ChunkType",
    "ObjectStoreConfig",
    "S3Options",
    "Storage",
    "StorageConcurrencySettings",
    "StorageObjectInfo",
    "StorageRetriesSettings",
    "StorageSettings",
    "StorageTimeoutSettings",
    "azure_storage",
    "azure_store",
    "gcs_storage",
    "gcs_store",
    "hf_storage",
    "http_storage",
    "http_store",
    "in_memory_storage",
    "local_filesystem_storage",
    "local_filesystem_store",
    "r2_storage",
    "redirect_storage",
    "s3_object_store_storage",
    "s3_storage",
    "s3_store",
    "storage_from_url",
    "tigris_storage",
]

# Arguments that never show in a text.
_SECRETS = frozenset(
    {
        "access_key",
        "access_key_id",
        "application_credentials",
        "bearer_token",
        "sas_token",
        "secret_access_key",
        "service_account_key",
        "session_token",
    }
)


class Storage:
    """A place where a repository is, or can be created.

    A plain value: it compares, pickles, and shows no secret. Make one with the functions of this
    module, such as `local_filesystem_storage`, or with a plugin's own. (Storage in memory pickles as a
    new, empty one.)
    """

    __slots__ = ("_location",)
    _location: Location

    def __init__(self) -> None:
        raise TypeError(
            "cannot create 'Storage' instances; see `icechunk.local_filesystem_storage` and others"
        )

    @classmethod
    def _from_location(cls, location: Location) -> Self:
        made = cls.__new__(cls)
        made._location = location
        return made

    @property
    def location(self) -> Location:
        """The address, as the plugin that connects to it knows it."""
        return self._location

    def default_settings(self) -> StorageSettings:
        """Tell the settings that are in force here if nobody says otherwise."""
        return registry.default_settings(self._location)

    def list_objects(
        self, settings: StorageSettings | None = None, prefix: str | None = None
    ) -> list[tuple[str, int]]:
        """List all objects below `prefix` (a folder), as paths relative to it, with sizes in bytes."""
        return [(info.key, info.size_bytes) for info in self.list_objects_metadata(settings, prefix)]

    def list_objects_metadata(
        self, settings: StorageSettings | None = None, prefix: str | None = None
    ) -> list[StorageObjectInfo]:
        """List all objects below `prefix` (a folder), as paths relative to it."""
        optional_texts(prefix=prefix)
        if settings is not None:
            instance("settings", settings, StorageSettings)
        folder = (prefix or "").strip("/")
        start = f"{folder}/" if folder else ""
        backend = registry.connect(self._location, settings)
        try:
            return [
                StorageObjectInfo._of(
                    info.path[len(start) :], size_bytes=info.size_bytes, created_at=info.created_at
                )
                for info in backend.list(start)
            ]
        finally:
            backend.close()

    def __eq__(self, other: object) -> bool:
        if type(other) is not type(self):
            return NotImplemented
        return self._location == other._location

    def __hash__(self) -> int:
        return hash((type(self), self._location))

    def __reduce__(self) -> tuple[Callable[..., Storage], tuple[type[Storage], Location]]:
        return _remade, (type(self), self._location)

    def _block(self) -> Block:
        return Block("icechunk.Storage", [(name, f"{value}") for name, value in _described(self._location)])

    def __repr__(self) -> str:
        return self._block().text()

    def _repr_html_(self) -> str:
        return html(self._block())

    # -- the same as the functions below, as the reference has them too ------------------------------------

    @staticmethod
    def new_in_memory() -> Storage:
        """See `in_memory_storage`."""
        return in_memory_storage()

    @staticmethod
    def new_local_filesystem(path: str) -> Storage:
        """See `local_filesystem_storage`."""
        return local_filesystem_storage(path)

    @staticmethod
    def new_s3(
        config: S3Options,
        bucket: str,
        prefix: str | None,
        credentials: AnyS3Credential | None = None,
        legacy_rooted_keys: bool | None = None,
        *,
        read_headers: Mapping[str, str] | None = None,
        write_headers: Mapping[str, str] | None = None,
        headers: Mapping[str, str] | None = None,
    ) -> Storage:
        """See `s3_storage`."""
        return _of_plugin("s3", locals())

    @staticmethod
    def new_s3_object_store(
        config: S3Options,
        bucket: str,
        prefix: str | None,
        credentials: AnyS3Credential | None = None,
        *,
        read_headers: Mapping[str, str] | None = None,
        write_headers: Mapping[str, str] | None = None,
        headers: Mapping[str, str] | None = None,
    ) -> Storage:
        """See `s3_object_store_storage`."""
        return _of_plugin("s3", locals())

    @staticmethod
    def new_tigris(
        config: S3Options,
        bucket: str,
        prefix: str | None,
        use_weak_consistency: bool,
        credentials: AnyS3Credential | None = None,
        legacy_rooted_keys: bool | None = None,
        *,
        read_headers: Mapping[str, str] | None = None,
        write_headers: Mapping[str, str] | None = None,
        headers: Mapping[str, str] | None = None,
    ) -> Storage:
        """See `tigris_storage`."""
        return _of_plugin("tigris", locals())

    @staticmethod
    def new_r2(
        config: S3Options,
        bucket: str | None = None,
        prefix: str | None = None,
        account_id: str | None = None,
        credentials: AnyS3Credential | None = None,
        legacy_rooted_keys: bool | None = None,
        *,
        read_headers: Mapping[str, str] | None = None,
        write_headers: Mapping[str, str] | None = None,
        headers: Mapping[str, str] | None = None,
    ) -> Storage:
        """See `r2_storage`."""
        return _of_plugin("r2", locals())

    @staticmethod
    def new_hf(
        config: S3Options,
        bucket: str,
        prefix: str | None,
        namespace: str,
        credentials: AnyS3Credential | None = None,
        legacy_rooted_keys: bool | None = None,
        *,
        read_headers: Mapping[str, str] | None = None,
        write_headers: Mapping[str, str] | None = None,
        headers: Mapping[str, str] | None = None,
    ) -> Storage:
        """See `hf_storage`."""
        return _of_plugin("hf", locals())

    @staticmethod
    def new_gcs(
        bucket: str,
        prefix: str | None,
        credentials: AnyGcsCredential | None = None,
        *,
        config: Mapping[str, str] | None = None,
        read_headers: Mapping[str, str] | None = None,
        write_headers: Mapping[str, str] | None = None,
        headers: Mapping[str, str] | None = None,
    ) -> Storage:
        """See `gcs_storage`."""
        return _of_plugin("gcs", locals())

    @staticmethod
    def new_azure_blob(
        account: str,
        container: str,
        prefix: str,
        credentials: AnyAzureCredential | None = None,
        *,
        config: Mapping[str, str] | None = None,
    ) -> Storage:
        """See `azure_storage`."""
        return _of_plugin("azure", locals())

    @staticmethod
    def new_http(
        base_url: str,
        config: Mapping[str, str] | None = None,
        headers: Mapping[str, str] | None = None,
    ) -> Storage:
        """See `http_storage`."""
        return _of_plugin("http", locals())

    @staticmethod
    def new_redirect(base_url: str) -> Storage:
        """See `redirect_storage`."""
        return _of_plugin("redirect", locals())


# -- kinds of storage ----------------------------------------------------------------------------------------


def in_memory_storage() -> Storage:
    """Make a new, empty storage in the memory of this process.

    The `Storage` is the store: whoever has it sees the same objects, as long as it lives. Pickled, it
    arrives elsewhere new and empty.
    """
    return Storage._from_location(memory_location())


def local_filesystem_storage(path: str | os.PathLike[str], *, durable: bool = False) -> Storage:
    """Name a folder as storage. It need not exist; the first write makes it.

    Commits from many threads and processes of one machine are safe. A relative path is taken from the
    working directory of this moment; ``~`` is a folder of that name.

    Parameters
    ----------
    path
        The folder.
    durable
        Whether what is written is made to survive a power loss before it counts as written, in the
        order in which one thing refers to another. Costs some milliseconds a commit on most disks. A
        crash of the program loses nothing either way.
    """
    return Storage._from_location(local_location(os.fsdecode(path), durable=durable))


def storage_from_url(url: str, **settings: Any) -> Storage:
    """Make the storage that a URL names: ``file:///path``, ``memory://``, or what plugins provide.

    Parameters
    ----------
    url
        ``scheme://...``; which plugin reads it depends on the scheme.
    settings
        What else the plugin takes; its documentation says what that is.

    Raises
    ------
    InvalidInputError
        Of kind ``cannot-parse-url``: this is no URL, or none that the plugin understands.
    PluginError
        No plugin, or more than one, knows the scheme.
    """
    return Storage._from_location(registry.location_from_url(url, settings))


def s3_storage(
    *,
    bucket: str,
    prefix: str | None,
    region: str | None = None,
    endpoint_url: str | None = None,
    allow_http: bool = False,
    access_key_id: str | None = None,
    secret_access_key: str | None = None,
    session_token: str | None = None,
    expires_after: datetime | None = None,
    anonymous: bool | None = None,
    from_env: bool | None = None,
    get_credentials: Callable[[], S3StaticCredentials] | None = None,
    scatter_initial_credentials: bool = False,
    force_path_style: bool = False,
    network_stream_timeout_seconds: int = 60,
    requester_pays: bool = False,
    checksum_algorithm: ChecksumAlgorithm | None = None,
    legacy_rooted_keys: bool | None = None,
    read_headers: Mapping[str, str] | None = None,
    write_headers: Mapping[str, str] | None = None,
    headers: Mapping[str, str] | None = None,
) -> Storage:
    """Name a prefix in an S3 bucket, or in one of a compatible service, as storage."""
    return _of_plugin("s3", locals())


def s3_object_store_storage(
    *,
    bucket: str,
    prefix: str | None,
    region: str | None = None,
    endpoint_url: str | None = None,
    allow_http: bool = False,
    access_key_id: str | None = None,
    secret_access_key: str | None = None,
    session_token: str | None = None,
    expires_after: datetime | None = None,
    anonymous: bool | None = None,
    from_env: bool | None = None,
    force_path_style: bool = False,
    read_headers: Mapping[str, str] | None = None,
    write_headers: Mapping[str, str] | None = None,
    headers: Mapping[str, str] | None = None,
) -> Storage:
    """Name a prefix in an S3 bucket as storage: the reference's second client, here the same as the first."""
    return _of_plugin("s3", locals())


def tigris_storage(
    *,
    bucket: str,
    prefix: str | None,
    region: str | None = None,
    endpoint_url: str | None = None,
    use_weak_consistency: bool = False,
    allow_http: bool = False,
    access_key_id: str | None = None,
    secret_access_key: str | None = None,
    session_token: str | None = None,
    expires_after: datetime | None = None,
    anonymous: bool | None = None,
    from_env: bool | None = None,
    get_credentials: Callable[[], S3StaticCredentials] | None = None,
    scatter_initial_credentials: bool = False,
    network_stream_timeout_seconds: int = 60,
    checksum_algorithm: ChecksumAlgorithm | None = None,
    legacy_rooted_keys: bool | None = None,
    read_headers: Mapping[str, str] | None = None,
    write_headers: Mapping[str, str] | None = None,
    headers: Mapping[str, str] | None = None,
) -> Storage:
    """Name a prefix in a Tigris bucket as storage."""
    return _of_plugin("tigris", locals())


def r2_storage(
    *,
    bucket: str | None = None,
    prefix: str | None = None,
    account_id: str | None = None,
    endpoint_url: str | None = None,
    region: str | None = None,
    allow_http: bool = False,
    access_key_id: str | None = None,
    secret_access_key: str | None = None,
    session_token: str | None = None,
    expires_after: datetime | None = None,
    anonymous: bool | None = None,
    from_env: bool | None = None,
    get_credentials: Callable[[], S3StaticCredentials] | None = None,
    scatter_initial_credentials: bool = False,
    network_stream_timeout_seconds: int = 60,
    checksum_algorithm: ChecksumAlgorithm | None = None,
    legacy_rooted_keys: bool | None = None,
    read_headers: Mapping[str, str] | None = None,
    write_headers: Mapping[str, str] | None = None,
    headers: Mapping[str, str] | None = None,
) -> Storage:
    """Name a prefix in a Cloudflare R2 bucket as storage."""
    return _of_plugin("r2", locals())


def hf_storage(
    *,
    bucket: str,
    prefix: str | None,
    namespace: str,
    access_key_id: str | None = None,
    secret_access_key: str | None = None,
    session_token: str | None = None,
    expires_after: datetime | None = None,
    from_env: bool | None = None,
    get_credentials: Callable[[], S3StaticCredentials] | None = None,
    scatter_initial_credentials: bool = False,
    network_stream_timeout_seconds: int = 60,
    legacy_rooted_keys: bool | None = None,
    read_headers: Mapping[str, str] | None = None,
    write_headers: Mapping[str, str] | None = None,
    headers: Mapping[str, str] | None = None,
) -> Storage:
    """Name a prefix in a Hugging Face bucket as storage."""
    return _of_plugin("hf", locals())


def gcs_storage(
    *,
    bucket: str,
    prefix: str | None,
    service_account_file: str | None = None,
    service_account_key: str | None = None,
    application_credentials: str | None = None,
    bearer_token: str | None = None,
    anonymous: bool | None = None,
    from_env: bool | None = None,
    config: Mapping[str, str] | None = None,
    get_credentials: Callable[[], GcsBearerCredential] | None = None,
    scatter_initial_credentials: bool = False,
    read_headers: Mapping[str, str] | None = None,
    write_headers: Mapping[str, str] | None = None,
    headers: Mapping[str, str] | None = None,
) -> Storage:
    """Name a prefix in a Google Cloud Storage bucket as storage."""
    return _of_plugin("gcs", locals())


def azure_storage(
    *,
    account: str,
    container: str,
    prefix: str,
    access_key: str | None = None,
    sas_token: str | None = None,
    bearer_token: str | None = None,
    from_env: bool | None = None,
    anonymous: bool | None = None,
    config: Mapping[str, str] | None = None,
) -> Storage:
    """Name a prefix in an Azure Blob Storage container as storage."""
    return _of_plugin("azure", locals())


def http_storage(
    base_url: str, opts: Mapping[str, str] | None = None, headers: Mapping[str, str] | None = None
) -> Storage:
    """Name the URL of a repository that some web server shows, to be read only."""
    return _of_plugin("http", locals())


def redirect_storage(base_url: str) -> Storage:
    """Name a URL that answers with the place where the repository really is, to be read only."""
    return _of_plugin("redirect", locals())


# -- helpers -------------------------------------------------------------------------------------------------


def _of_plugin(kind: str, arguments: Mapping[str, Any]) -> Storage:
    """Make the storage of a plugin from a function's arguments, if the plugin is there."""
    registry.storage_provider(kind)
    root = "/".join(
        arguments[part]
        for part in ("account", "container", "bucket", "prefix", "base_url")
        if arguments.get(part)
    )
    options = {
        name: Secret(value) if name in _SECRETS else value
        for name, value in arguments.items()
        if value is not None
    }
    return Storage._from_location(Location(kind, root, options))


def _remade(cls: type[Storage], location: Location) -> Storage:
    return cls._from_location(location)


def _described(location: Location) -> list[tuple[str, object]]:
    """Tell what a repr shows. It must work where the plugin is missing, or is broken."""
    try:
        describe = registry.storage_provider(location.kind).describe
    except PluginError:
        describe = None
    if describe is not None:
        return list(describe(location))
    return [("type", location.kind), ("path", location.root), *location.options.items()]

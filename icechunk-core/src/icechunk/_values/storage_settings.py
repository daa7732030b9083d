"""How to talk to storage: concurrency, retries, timeouts, classes, and what may be relied on."""

from __future__ import annotations

from icechunk._values.checks import boolean, instance, text, unsigned
from icechunk._values.settings import Field, Settings

__all__ = [
    "StorageConcurrencySettings",
    "StorageRetriesSettings",
    "StorageSettings",
    "StorageTimeoutSettings",
]

_u16 = unsigned(16)
_u32 = unsigned(32)
_u64 = unsigned(64)


class StorageConcurrencySettings(Settings):
    """How a large object is read: in how many requests at once, and how large each is in bytes."""

    __slots__ = ()
    __module__ = "icechunk.storage"

    max_concurrent_requests_for_object = Field(unsigned(16, allow_zero=False), default=18)
    ideal_concurrent_request_size = Field(unsigned(64, allow_zero=False), default=12 * 2**20)

    def __init__(
        self,
        max_concurrent_requests_for_object: int | None = None,
        ideal_concurrent_request_size: int | None = None,
    ) -> None:
        self.max_concurrent_requests_for_object = max_concurrent_requests_for_object
        self.ideal_concurrent_request_size = ideal_concurrent_request_size


class StorageRetriesSettings(Settings):
    """How often to try in all, and how long to wait between two tries, in milliseconds."""

    __slots__ = ()
    __module__ = "icechunk.storage"

    max_tries = Field(unsigned(16, allow_zero=False), default=10)
    initial_backoff_ms = Field(_u32, default=100)
    max_backoff_ms = Field(_u32, default=180_000)

    def __init__(
        self,
        max_tries: int | None = None,
        initial_backoff_ms: int | None = None,
        max_backoff_ms: int | None = None,
    ) -> None:
        self.max_tries = max_tries
        self.initial_backoff_ms = initial_backoff_ms
        self.max_backoff_ms = max_backoff_ms


class StorageTimeoutSettings(Settings):
    """How long to wait for storage, in milliseconds. Unset leaves it to the storage's own client."""

    __slots__ = ()
    __module__ = "icechunk.storage"

    connect_timeout_ms = Field(_u32)
    read_timeout_ms = Field(_u32)
    operation_timeout_ms = Field(_u32)
    operation_attempt_timeout_ms = Field(_u32)

    def __init__(
        self,
        connect_timeout_ms: int | None = None,
        read_timeout_ms: int | None = None,
        operation_timeout_ms: int | None = None,
        operation_attempt_timeout_ms: int | None = None,
    ) -> None:
        self.connect_timeout_ms = connect_timeout_ms
        self.read_timeout_ms = read_timeout_ms
        self.operation_timeout_ms = operation_timeout_ms
        self.operation_attempt_timeout_ms = operation_attempt_timeout_ms


class StorageSettings(Settings):
    """How a repository uses its storage.

    Parameters
    ----------
    concurrency, retries, timeouts
        How requests are made. What is unset is up to the kind of storage.
    unsafe_use_conditional_create, unsafe_use_conditional_update
        Whether objects are only written if nobody else has written them meanwhile. Switching this off
        where storage supports it loses data when two writers meet.
    unsafe_use_metadata
        Whether user metadata is attached to objects.
    storage_class, metadata_storage_class, chunks_storage_class
        Storage classes of a cloud provider: for everything, and for one sort of objects.
    minimum_size_for_multipart_upload
        Objects of at least so many bytes are uploaded in parts.
    """

    __slots__ = ()
    __module__ = "icechunk.storage"

    unsafe_use_conditional_create = Field(boolean, default=True)
    unsafe_use_conditional_update = Field(boolean, default=True)
    unsafe_use_metadata = Field(boolean, default=True)
    storage_class = Field(text)
    metadata_storage_class = Field(text)
    chunks_storage_class = Field(text)
    minimum_size_for_multipart_upload = Field(_u64, default=100 * 2**20)
    concurrency = Field(instance(StorageConcurrencySettings), default=StorageConcurrencySettings, merges=True)
    retries = Field(instance(StorageRetriesSettings), default=StorageRetriesSettings, merges=True)
    timeouts = Field(instance(StorageTimeoutSettings), merges=True)

    def __init__(
        self,
        concurrency: StorageConcurrencySettings | None = None,
        retries: StorageRetriesSettings | None = None,
        unsafe_use_conditional_create: bool | None = None,
        unsafe_use_conditional_update: bool | None = None,
        unsafe_use_metadata: bool | None = None,
        storage_class: str | None = None,
        metadata_storage_class: str | None = None,
        chunks_storage_class: str | None = None,
        minimum_size_for_multipart_upload: int | None = None,
        timeouts: StorageTimeoutSettings | None = None,
    ) -> None:
        self.unsafe_use_conditional_create = unsafe_use_conditional_create
        self.unsafe_use_conditional_update = unsafe_use_conditional_update
        self.unsafe_use_metadata = unsafe_use_metadata
        self.storage_class = storage_class
        self.metadata_storage_class = metadata_storage_class
        self.chunks_storage_class = chunks_storage_class
        self.minimum_size_for_multipart_upload = minimum_size_for_multipart_upload
        self.concurrency = concurrency
        self.retries = retries
        self.timeouts = timeouts

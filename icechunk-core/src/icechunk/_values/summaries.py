"""What long operations and listings report."""

from __future__ import annotations

from typing import TYPE_CHECKING

from icechunk._values.records import Copied, Info

if TYPE_CHECKING:
    from collections.abc import Iterable
    from datetime import datetime

__all__ = ["ChunkStorageStats", "GCSummary", "StorageObjectInfo"]


class GCSummary(Info):
    """What a garbage collection has deleted, or would have, and what went wrong."""

    __slots__ = (
        "bytes_deleted",
        "chunks_deleted",
        "manifests_deleted",
        "snapshots_deleted",
        "attributes_deleted",
        "transaction_logs_deleted",
        "objects_failed_to_delete",
        "throttled_batches",
        "_delete_errors",
        "_skipped_phases",
    )
    __module__ = "icechunk.ops"
    __hash__ = None  # type: ignore[assignment]  # as in the API that we follow

    bytes_deleted: int
    chunks_deleted: int
    manifests_deleted: int
    snapshots_deleted: int
    attributes_deleted: int
    transaction_logs_deleted: int
    objects_failed_to_delete: int
    throttled_batches: int
    delete_errors = Copied[list[str]](list)
    skipped_phases = Copied[list[str]](list)

    def __init__(
        self,
        *,
        bytes_deleted: int = 0,
        chunks_deleted: int = 0,
        manifests_deleted: int = 0,
        snapshots_deleted: int = 0,
        attributes_deleted: int = 0,
        transaction_logs_deleted: int = 0,
        objects_failed_to_delete: int = 0,
        throttled_batches: int = 0,
        delete_errors: Iterable[str] = (),
        skipped_phases: Iterable[str] = (),
    ) -> None:
        self._fill(
            bytes_deleted,
            chunks_deleted,
            manifests_deleted,
            snapshots_deleted,
            attributes_deleted,
            transaction_logs_deleted,
            objects_failed_to_delete,
            throttled_batches,
            tuple(delete_errors),
            tuple(skipped_phases),
        )


class ChunkStorageStats(Info):
    """How many bytes of chunks a repository refers to. Stats of several repositories can be added."""

    __slots__ = ("native_bytes", "virtual_bytes", "inlined_bytes")
    __module__ = "icechunk"
    _title = "icechunk.stats.ChunkStorageStats"

    native_bytes: int
    virtual_bytes: int
    inlined_bytes: int

    def __init__(self, *, native_bytes: int = 0, virtual_bytes: int = 0, inlined_bytes: int = 0) -> None:
        self._fill(native_bytes, virtual_bytes, inlined_bytes)

    def non_virtual_bytes(self) -> int:
        """Bytes that are in the repository itself."""
        return self.native_bytes + self.inlined_bytes

    def total_bytes(self) -> int:
        """All bytes, virtual ones included."""
        return self.native_bytes + self.virtual_bytes + self.inlined_bytes

    def __add__(self, other: ChunkStorageStats) -> ChunkStorageStats:
        if not isinstance(other, ChunkStorageStats):
            return NotImplemented
        return ChunkStorageStats(
            native_bytes=self.native_bytes + other.native_bytes,
            virtual_bytes=self.virtual_bytes + other.virtual_bytes,
            inlined_bytes=self.inlined_bytes + other.inlined_bytes,
        )


class StorageObjectInfo(Info):
    """An object in storage."""

    __slots__ = ("key", "size_bytes", "created_at")
    __module__ = "icechunk"
    _title = "icechunk.storage.StorageObjectInfo"

    key: str
    size_bytes: int
    created_at: datetime

    @classmethod
    def _of(cls, key: str, *, size_bytes: int, created_at: datetime) -> StorageObjectInfo:
        info = object.__new__(cls)
        info._fill(key, size_bytes, created_at)
        return info

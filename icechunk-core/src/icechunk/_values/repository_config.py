"""The configuration of a repository, and its parts that are not about storage or manifests."""

from __future__ import annotations

import copy
import os
from typing import TYPE_CHECKING

from icechunk._display.blocks import Block
from icechunk._display.literals import call_text, mapping_text
from icechunk._values.checks import instance, required, unsigned
from icechunk._values.containers import VirtualChunkContainer, check_container
from icechunk._values.manifest_config import ManifestConfig
from icechunk._values.records import NamedInt, public_name
from icechunk._values.settings import Field, Settings, value_text
from icechunk._values.storage_settings import StorageRetriesSettings, StorageSettings

if TYPE_CHECKING:
    from collections.abc import Mapping

__all__ = [
    "CachingConfig",
    "CompressionAlgorithm",
    "CompressionConfig",
    "RepoUpdateRetryConfig",
    "RepositoryConfig",
]

_u16 = unsigned(16)
_u64 = unsigned(64)
_container = required(instance(VirtualChunkContainer))
_prefix = required(instance(str))


class CompressionAlgorithm(NamedInt):
    """How metadata files are compressed."""

    __module__ = "icechunk.config"

    Zstd = 0

    @staticmethod
    def default() -> CompressionAlgorithm:
        """Return the algorithm that is used if none is set."""
        return CompressionAlgorithm.Zstd


class CompressionConfig(Settings):
    """How metadata files are compressed. Chunks are compressed by Zarr, as each array says.

    Parameters
    ----------
    algorithm
        Zstd is the only one.
    level
        That of the algorithm. What is set is used for all files; if nothing is, manifests are compressed
        faster (at level 1, those below 1 MiB at level -1), and everything else at level 3.
    """

    __slots__ = ()
    __module__ = "icechunk.config"

    algorithm = Field(instance(CompressionAlgorithm), default=CompressionAlgorithm.Zstd)
    level = Field(unsigned(8), default=3)

    def __init__(self, algorithm: CompressionAlgorithm | None = None, level: int | None = None) -> None:
        self.algorithm = algorithm
        self.level = level

    @staticmethod
    def default() -> CompressionConfig:
        """Make settings in which everything is unset."""
        return CompressionConfig()


class CachingConfig(Settings):
    """How much of a repository is kept in memory.

    Parameters
    ----------
    num_snapshot_nodes
        Nodes of snapshots.
    num_chunk_refs
        Chunk refs of manifests.
    num_transaction_changes
        Changes in transaction logs.
    num_bytes_attributes
        Not used.
    num_bytes_chunks
        Bytes of chunks.
    """

    __slots__ = ()
    __module__ = "icechunk.config"

    num_snapshot_nodes = Field(_u64, default=500_000)
    num_chunk_refs = Field(_u64, default=15_000_000)
    num_transaction_changes = Field(_u64, default=0)
    num_bytes_attributes = Field(_u64, default=0)
    num_bytes_chunks = Field(_u64, default=0)

    def __init__(
        self,
        num_snapshot_nodes: int | None = None,
        num_chunk_refs: int | None = None,
        num_transaction_changes: int | None = None,
        num_bytes_attributes: int | None = None,
        num_bytes_chunks: int | None = None,
    ) -> None:
        self.num_snapshot_nodes = num_snapshot_nodes
        self.num_chunk_refs = num_chunk_refs
        self.num_transaction_changes = num_transaction_changes
        self.num_bytes_attributes = num_bytes_attributes
        self.num_bytes_chunks = num_bytes_chunks

    @staticmethod
    def default() -> CachingConfig:
        """Make settings in which everything is unset."""
        return CachingConfig()


class RepoUpdateRetryConfig(Settings):
    """How often an update of the repository's state is tried again after somebody else came first."""

    __slots__ = ()
    __module__ = "icechunk.config"

    default = Field(
        instance(StorageRetriesSettings),
        default=lambda: StorageRetriesSettings(100, 50, 30_000),
        merges=True,
    )

    def __init__(self, default: StorageRetriesSettings | None = None) -> None:
        self.default = default


class RepositoryConfig(Settings):
    """How a repository is read and written.

    Whatever is unset here is taken from what the repository has saved, and then from the defaults.
    Settings are saved with `Repository.save_config`.

    Parameters
    ----------
    inline_chunk_threshold_bytes
        Chunks of at most so many bytes are kept in the manifest.
    get_partial_values_concurrency
        How many ranges are read at once for one call.
    compression, caching, storage, manifest
        See their classes.
    max_concurrent_requests
        How many requests to storage are under way at once.
    virtual_chunk_containers
        Where virtual chunks may be, by URL prefix.
    repo_update_retries
        How often to try again when somebody else came first.
    num_updates_per_repo_info_file
        How much of the repository's history of operations is kept in one file.
    max_concurrent_decodes
        How many metadata files are decoded at once. Unset, one for each processor.
    """

    __slots__ = ()
    __module__ = "icechunk.config"

    inline_chunk_threshold_bytes = Field(_u16, default=512)
    get_partial_values_concurrency = Field(_u16, default=10)
    max_concurrent_requests = Field(_u16, default=256)
    max_concurrent_decodes = Field(_u16, default=lambda: os.cpu_count() or 1)
    num_updates_per_repo_info_file = Field(_u16, default=1000)
    compression = Field(instance(CompressionConfig), default=CompressionConfig, merges=True)
    caching = Field(instance(CachingConfig), default=CachingConfig, merges=True)
    storage = Field(instance(StorageSettings), merges=True)
    manifest = Field(instance(ManifestConfig), default=ManifestConfig, merges=True)
    repo_update_retries = Field(instance(RepoUpdateRetryConfig), default=RepoUpdateRetryConfig, merges=True)

    def __init__(
        self,
        inline_chunk_threshold_bytes: int | None = None,
        get_partial_values_concurrency: int | None = None,
        compression: CompressionConfig | None = None,
        max_concurrent_requests: int | None = None,
        caching: CachingConfig | None = None,
        storage: StorageSettings | None = None,
        virtual_chunk_containers: Mapping[str, VirtualChunkContainer] | None = None,
        manifest: ManifestConfig | None = None,
        repo_update_retries: RepoUpdateRetryConfig | None = None,
        num_updates_per_repo_info_file: int | None = None,
        max_concurrent_decodes: int | None = None,
    ) -> None:
        self.inline_chunk_threshold_bytes = inline_chunk_threshold_bytes
        self.get_partial_values_concurrency = get_partial_values_concurrency
        self.compression = compression
        self.max_concurrent_requests = max_concurrent_requests
        self.caching = caching
        self.storage = storage
        self.manifest = manifest
        self.repo_update_retries = repo_update_retries
        self.num_updates_per_repo_info_file = num_updates_per_repo_info_file
        self.max_concurrent_decodes = max_concurrent_decodes
        self._values["previous_file"] = None
        self._values["virtual_chunk_containers"] = (
            None
            if virtual_chunk_containers is None
            else {
                _prefix("url_prefix", prefix): copy.copy(_container("container", container))
                for prefix, container in virtual_chunk_containers.items()
            }
        )

    @staticmethod
    def default() -> RepositoryConfig:
        """Make a configuration in which everything is unset."""
        return RepositoryConfig()

    @property
    def previous_file(self) -> str | None:
        """What old versions of the library wrote here. Nothing uses it."""
        value: str | None = self._values["previous_file"]
        return value

    @property
    def virtual_chunk_containers(self) -> dict[str, VirtualChunkContainer] | None:
        """Where virtual chunks may be, by URL prefix. New objects with every call."""
        containers: dict[str, VirtualChunkContainer] | None = self._values["virtual_chunk_containers"]
        return (
            None
            if containers is None
            else {prefix: copy.copy(container) for prefix, container in containers.items()}
        )

    def get_virtual_chunk_container(self, name: str) -> VirtualChunkContainer | None:
        """Return a copy of the container of a URL prefix, which is what `name` is here."""
        container: VirtualChunkContainer | None = (self._values["virtual_chunk_containers"] or {}).get(name)
        return copy.copy(container)

    def set_virtual_chunk_container(self, cont: VirtualChunkContainer) -> None:
        """Add a container. It replaces those of the same URL prefix or the same name.

        Raises
        ------
        ValueError
            The container cannot be used: see its message.
        """
        check_container(_container("cont", cont))
        containers = self._values["virtual_chunk_containers"] or {}
        kept = {
            prefix: other
            for prefix, other in containers.items()
            if cont.name is None or other.name != cont.name
        }
        kept[cont.url_prefix] = copy.copy(cont)
        self._values["virtual_chunk_containers"] = kept

    def clear_virtual_chunk_containers(self) -> None:
        """Remove all containers, those too that the repository has saved."""
        self._values["virtual_chunk_containers"] = {}

    def check_containers(self) -> None:
        """Check that all virtual chunk containers can be used.

        Raises
        ------
        ValueError
            One cannot: see the message.
        """
        for container in (self._values["virtual_chunk_containers"] or {}).values():
            check_container(container)

    def merge(self, other: RepositoryConfig) -> RepositoryConfig:
        """Make the configuration in which `other` is laid over this one.

        What `other` leaves unset stays. Virtual chunk containers, rules for splitting manifests and for
        loading them ahead are replaced as a whole; everything else setting by setting.

        Raises
        ------
        ValueError
            One of the virtual chunk containers cannot be used.
        """
        required(instance(RepositoryConfig))("other", other)
        self.check_containers()
        other.check_containers()
        result = self._merged(other)
        for name in ("previous_file", "virtual_chunk_containers"):
            if other._values[name] is not None:
                result._values[name] = copy.deepcopy(other._values[name])
        return result

    def _block(self) -> Block:
        block = super()._block()
        containers = self._values["virtual_chunk_containers"]
        shown: str | Block = repr(containers)
        if containers:
            shown = Block(None, [(prefix, each._block()) for prefix, each in containers.items()])
        fields = (*block.fields, ("virtual_chunk_containers", shown))
        return Block(block.title, fields, abridged=f"<{type(self).__name__} ...>")

    def __repr__(self) -> str:
        containers = self._values["virtual_chunk_containers"]
        shown = "None"
        if containers is not None:
            shown = mapping_text([(prefix, repr(each)) for prefix, each in containers.items()])
        arguments = [(name, value_text(value)) for name, value, _ in self._items()]
        return call_text(public_name(type(self)), [*arguments, ("virtual_chunk_containers", shown)])

"""A configuration with every default applied, as plain attributes for code that runs often."""

from __future__ import annotations

from typing import TYPE_CHECKING

from icechunk._values.records import Frozen
from icechunk._values.storage_settings import StorageSettings

if TYPE_CHECKING:
    from icechunk._values.repository_config import RepositoryConfig

__all__ = ["EffectiveSettings"]

# Where each setting is in a configuration; the last part is its name here, unless it has a prefix.
_TOP = (
    "inline_chunk_threshold_bytes",
    "get_partial_values_concurrency",
    "max_concurrent_requests",
    "max_concurrent_decodes",
    "num_updates_per_repo_info_file",
)
_CACHING = ("num_snapshot_nodes", "num_chunk_refs", "num_transaction_changes", "num_bytes_chunks")
_CONCURRENCY = ("max_concurrent_requests_for_object", "ideal_concurrent_request_size")
_RETRIES = ("max_tries", "initial_backoff_ms", "max_backoff_ms")


class EffectiveSettings(Frozen):
    """What a configuration amounts to. Defaults of the kind of storage are expected to be merged in."""

    __slots__ = (
        *_TOP,
        "compression_level",
        "is_compression_level_set",
        *_CACHING,
        *_CONCURRENCY,
        "retry_max_tries",
        "retry_initial_backoff_ms",
        "retry_max_backoff_ms",
        "repo_update_max_tries",
        "repo_update_initial_backoff_ms",
        "repo_update_max_backoff_ms",
        "max_concurrent_manifest_fetches_during_commit",
    )

    inline_chunk_threshold_bytes: int
    get_partial_values_concurrency: int
    max_concurrent_requests: int
    max_concurrent_decodes: int
    num_updates_per_repo_info_file: int
    compression_level: int
    is_compression_level_set: bool
    num_snapshot_nodes: int
    num_chunk_refs: int
    num_transaction_changes: int
    num_bytes_chunks: int
    max_concurrent_requests_for_object: int
    ideal_concurrent_request_size: int
    retry_max_tries: int
    retry_initial_backoff_ms: int
    retry_max_backoff_ms: int
    repo_update_max_tries: int
    repo_update_initial_backoff_ms: int
    repo_update_max_backoff_ms: int
    max_concurrent_manifest_fetches_during_commit: int

    @classmethod
    def of(cls, config: RepositoryConfig) -> EffectiveSettings:
        """Apply the defaults to `config`, of which later changes are not followed."""
        storage = config.storage or StorageSettings()
        compression = config.effective("compression")
        caching, concurrency = config.effective("caching"), storage.effective("concurrency")
        retries = storage.effective("retries")
        update_retries = config.effective("repo_update_retries").effective("default")
        settings = object.__new__(cls)
        settings._fill(
            *map(config.effective, _TOP),
            compression.effective("level"),
            compression.level is not None,
            *map(caching.effective, _CACHING),
            *map(concurrency.effective, _CONCURRENCY),
            *map(retries.effective, _RETRIES),
            *map(update_retries.effective, _RETRIES),
            config.effective("manifest").effective("max_concurrent_manifest_fetches_during_commit"),
        )
        return settings

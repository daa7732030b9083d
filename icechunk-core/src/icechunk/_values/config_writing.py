"""From a configuration to the document that is saved."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, TypeVar

from icechunk._values import conditions
from icechunk._values.config_layout import (
    ALGORITHMS,
    CACHING,
    CHECKSUMS,
    CONCURRENCY,
    CONDITIONAL,
    LOCATION_COMPRESSION,
    RETRIES,
    STORAGE_CLASSES,
    STORES_LIKE_S3,
    TIMEOUTS,
)
from icechunk._values.object_stores import (
    AzureStore,
    GcsStore,
    HttpStore,
    InMemoryStore,
    LocalFileSystemStore,
)

if TYPE_CHECKING:
    from collections.abc import Iterable

    from icechunk._values.conditions import (
        ManifestPreloadCondition,
        ManifestSplitCondition,
        ManifestSplitDimCondition,
    )
    from icechunk._values.containers import VirtualChunkContainer
    from icechunk._values.manifest_config import ManifestConfig, ManifestSplittingConfig
    from icechunk._values.object_stores import ObjectStoreConfig, S3Options
    from icechunk._values.repository_config import RepositoryConfig
    from icechunk._values.settings import Settings
    from icechunk._values.storage_settings import StorageSettings

__all__ = ["config_to_document"]

T = TypeVar("T")


def config_to_document(config: RepositoryConfig) -> dict[str, Any]:
    """Make the document that is saved for a configuration."""
    compression, retries = config.compression, config.repo_update_retries
    containers = config.virtual_chunk_containers
    return {
        "inline_chunk_threshold_bytes": config.inline_chunk_threshold_bytes,
        "get_partial_values_concurrency": config.get_partial_values_concurrency,
        "compression": None
        if compression is None
        else {"algorithm": _name_of(ALGORITHMS, compression.algorithm), "level": compression.level},
        "max_concurrent_requests": config.max_concurrent_requests,
        "max_concurrent_decodes": config.max_concurrent_decodes,
        "caching": _fields(config.caching, CACHING),
        "storage": _storage_document(config.storage),
        "virtual_chunk_containers": None
        if containers is None
        else {prefix: _container_document(each) for prefix, each in containers.items()},
        "manifest": _manifest_document(config.manifest),
        "previous_file": config.previous_file,
        "repo_update_retries": None if retries is None else {"default": _fields(retries.default, RETRIES)},
        "num_updates_per_repo_info_file": config.num_updates_per_repo_info_file,
    }


def _fields(settings: Settings | None, names: Iterable[str]) -> dict[str, Any] | None:
    return None if settings is None else {name: getattr(settings, name) for name in names}


def _name_of(names: dict[str, T], value: T | None) -> str | None:
    return next((name for name, named in names.items() if named is value), None)


def _storage_document(storage: StorageSettings | None) -> dict[str, Any] | None:
    if storage is None:
        return None
    return {
        "concurrency": _fields(storage.concurrency, CONCURRENCY),
        "retries": _fields(storage.retries, RETRIES),
        "timeouts": _fields(storage.timeouts, TIMEOUTS),
        **{name: getattr(storage, name) for name in (*CONDITIONAL, *STORAGE_CLASSES)},
        "minimum_size_for_multipart_upload": storage.minimum_size_for_multipart_upload,
    }


def _container_document(container: VirtualChunkContainer) -> dict[str, Any]:
    return {
        "name": container.name,
        "url_prefix": container.url_prefix,
        "store": _store_document(container.store),
    }


def _store_document(store: ObjectStoreConfig) -> Any:
    match store:
        case LocalFileSystemStore():
            return {"local_file_system": store.path}
        case GcsStore():
            return {"gcs": dict(store.config or {})}
        case AzureStore():
            return {"azure": dict(store.config or {})}
        case HttpStore():
            headers = {"headers": dict(store.headers)} if store.headers else {}
            return {"http": {**(store.opts or {}), **headers}}
        case InMemoryStore():
            return "in_memory"
    for name, cls in STORES_LIKE_S3.items():
        if isinstance(store, cls):
            return {name: _s3_document(store.options)}
    raise TypeError(f"not a kind of object store: {type(store).__qualname__}")


def _s3_document(options: S3Options) -> dict[str, Any]:
    return {
        "region": options.region,
        "endpoint_url": options.endpoint_url,
        "anonymous": options.anonymous,
        "allow_http": options.allow_http,
        "force_path_style": options.force_path_style,
        "network_stream_timeout_seconds": options.network_stream_timeout_seconds,
        "requester_pays": options.requester_pays,
        "checksum_algorithm": _name_of(CHECKSUMS, options.checksum_algorithm),
    }


def _manifest_document(manifest: ManifestConfig | None) -> dict[str, Any] | None:
    if manifest is None:
        return None
    preload, splitting = manifest.preload, manifest.splitting
    return {
        "preload": None
        if preload is None
        else {
            "max_total_refs": preload.max_total_refs,
            "preload_if": None if preload.preload_if is None else _condition_document(preload.preload_if),
            "max_arrays_to_scan": preload.max_arrays_to_scan,
        },
        "splitting": None if splitting is None else {"split_sizes": _split_sizes_document(splitting)},
        "virtual_chunk_location_compression": _fields(
            manifest.virtual_chunk_location_compression, LOCATION_COMPRESSION
        ),
        "max_concurrent_manifest_fetches_during_commit": (
            manifest.max_concurrent_manifest_fetches_during_commit
        ),
    }


def _split_sizes_document(splitting: ManifestSplittingConfig) -> list[Any] | None:
    if splitting.split_sizes is None:
        return None
    return [
        [
            _condition_document(condition),
            [
                {"condition": _dimension_document(dimension), "num_chunks": num_chunks}
                for dimension, num_chunks in sizes
            ],
        ]
        for condition, sizes in splitting.split_sizes
    ]


def _condition_document(condition: ManifestPreloadCondition | ManifestSplitCondition) -> Any:
    match condition:
        case conditions.PreloadOr() | conditions.SplitOr():
            return {"or": [_condition_document(each) for each in condition.conditions]}
        case conditions.PreloadAnd() | conditions.SplitAnd():
            return {"and": [_condition_document(each) for each in condition.conditions]}
        case conditions.PreloadPathMatches() | conditions.SplitPathMatches():
            return {"path_matches": {"regex": condition.regex}}
        case conditions.PreloadNameMatches() | conditions.SplitNameMatches():
            return {"name_matches": {"regex": condition.regex}}
        case conditions.PreloadNumRefs():
            least, end = condition.from_refs, condition.to_refs
            return {
                "num_refs": {
                    "from": "Unbounded" if least is None else {"Included": least},
                    "to": "Unbounded" if end is None else {"Excluded": end},
                }
            }
        case conditions.PreloadTrue():
            return "true"
        case conditions.PreloadFalse():
            return "false"
        case conditions.SplitAnyArray():
            return "any_array"
    raise TypeError(f"not a condition: {type(condition).__qualname__}")


def _dimension_document(condition: ManifestSplitDimCondition) -> Any:
    match condition:
        case conditions.SplitAxis():
            return {"Axis": condition.number}
        case conditions.SplitDimensionName():
            return {"DimensionName": condition.regex}
    return "Any"

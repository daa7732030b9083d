"""From the document that is saved to a configuration, with a message that names whatever is wrong."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Any, TypeVar

from icechunk._values import conditions
from icechunk._values.conditions import (
    ManifestPreloadCondition,
    ManifestSplitCondition,
    ManifestSplitDimCondition,
)
from icechunk._values.config_layout import (
    ALGORITHMS,
    CACHING,
    CHECKSUMS,
    CONCURRENCY,
    CONDITIONAL,
    LOCATION_COMPRESSION,
    RETRIES,
    S3_FLAGS,
    STORAGE_CLASSES,
    STORES_LIKE_S3,
    TIMEOUTS,
)
from icechunk._values.containers import VirtualChunkContainer, check_container
from icechunk._values.manifest_config import (
    ManifestConfig,
    ManifestPreloadConfig,
    ManifestSplittingConfig,
    ManifestVirtualChunkLocationCompressionConfig,
)
from icechunk._values.object_stores import (
    AzureStore,
    GcsStore,
    HttpStore,
    InMemoryStore,
    LocalFileSystemStore,
    ObjectStoreConfig,
    S3Options,
)
from icechunk._values.repository_config import (
    CachingConfig,
    CompressionConfig,
    RepositoryConfig,
    RepoUpdateRetryConfig,
)
from icechunk._values.storage_settings import (
    StorageConcurrencySettings,
    StorageRetriesSettings,
    StorageSettings,
    StorageTimeoutSettings,
)
from icechunk.errors import ErrorKind, FormatError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping

    from icechunk._values.manifest_config import SplitSizes

__all__ = ["config_from_document"]

_log = logging.getLogger(__name__)

T = TypeVar("T")

# Conditions can be nested. Nobody nests them as deeply as this, but a hostile file might.
_MAX_NESTING = 64


def config_from_document(document: object) -> RepositoryConfig:
    """Read a configuration from a document.

    Raises
    ------
    FormatError
        Something in it has a type or a value that it cannot have. The message names the field.
    """
    top = _Map(document, "configuration")
    config = top.make(
        RepositoryConfig,
        inline_chunk_threshold_bytes=top.get("inline_chunk_threshold_bytes", _whole),
        get_partial_values_concurrency=top.get("get_partial_values_concurrency", _whole),
        max_concurrent_requests=top.get("max_concurrent_requests", _whole),
        max_concurrent_decodes=top.get("max_concurrent_decodes", _whole),
        num_updates_per_repo_info_file=top.get("num_updates_per_repo_info_file", _whole),
        compression=top.get("compression", _compression),
        caching=top.get("caching", _settings(CachingConfig, CACHING)),
        storage=top.get("storage", _storage),
        virtual_chunk_containers=top.get("virtual_chunk_containers", _containers),
        manifest=top.get("manifest", _manifest),
        repo_update_retries=top.get("repo_update_retries", _update_retries),
    )
    config._values["previous_file"] = top.get("previous_file", _text)
    return config


# Reading. A reader gets a value that is not null, and where it stands.


class _Map:
    """A map of the document, which knows where it stands."""

    __slots__ = ("_items", "_where")

    def __init__(self, value: object, where: str) -> None:
        if not isinstance(value, dict):
            raise _wrong(where, "a map", value)
        self._items = value
        self._where = where

    def get(self, name: str, read: Callable[[Any, str], T]) -> T | None:
        value = self._items.get(name)
        return None if value is None else read(value, f"{self._where}.{name}")

    def need(self, name: str, read: Callable[[Any, str], T]) -> T:
        if self._items.get(name) is None:
            raise _wrong(f"{self._where}.{name}", "a value", None)
        return read(self._items[name], f"{self._where}.{name}")

    def make(self, cls: type[T], **fields: object) -> T:
        """Construct `cls`, and say where we are if that fails."""
        try:
            return cls(**fields)
        except (TypeError, ValueError, OverflowError) as error:
            raise _error(f"`{self._where}`: {error}") from error

    def items(self, read: Callable[[Any, str], T]) -> dict[str, T]:
        return {
            _text(name, self._where): read(value, f"{self._where}.{name}")
            for name, value in self._items.items()
        }


def _error(message: str) -> FormatError:
    return FormatError(f"invalid repository configuration: {message}", kind=ErrorKind.CONFIG_DESERIALIZATION)


def _wrong(where: str, expected: str, value: object) -> FormatError:
    found = "nothing" if value is None else f"{value!r:.80}"
    return _error(f"`{where}` should be {expected}, found {found}")


def _whole(value: Any, where: str) -> int:
    if type(value) is not int:
        raise _wrong(where, "a whole number", value)
    return value


def _text(value: Any, where: str) -> str:
    if not isinstance(value, str):
        raise _wrong(where, "a text", value)
    return value


def _flag(value: Any, where: str) -> bool:
    if not isinstance(value, bool):
        raise _wrong(where, "true or false", value)
    return value


def _list(value: Any, where: str) -> list[Any]:
    if not isinstance(value, list):
        raise _wrong(where, "a list", value)
    return value


def _pair(value: Any, where: str) -> list[Any]:
    if len(_list(value, where)) != 2:
        raise _wrong(where, "a list of two", value)
    return _list(value, where)


def _choice(names: Mapping[str, T]) -> Callable[[Any, str], T]:
    def read(value: Any, where: str) -> T:
        if not isinstance(value, str) or value not in names:
            raise _wrong(where, f"one of {', '.join(names)}", value)
        return names[value]

    return read


def _variant(value: Any, where: str) -> tuple[str, Any]:
    """Read a bare text, or a map with one key."""
    if isinstance(value, str):
        return value, None
    if isinstance(value, dict) and len(value) == 1:
        [(name, content)] = value.items()
        if isinstance(name, str):
            return name, content
    raise _wrong(where, "a name or a map with one key", value)


def _settings(cls: type[T], names: Iterable[str]) -> Callable[[Any, str], T]:
    def read(value: Any, where: str) -> T:
        items = _Map(value, where)
        return items.make(cls, **{name: items.get(name, _whole) for name in names})

    return read


def _compression(value: Any, where: str) -> CompressionConfig:
    items = _Map(value, where)
    return items.make(
        CompressionConfig,
        algorithm=items.get("algorithm", _choice(ALGORITHMS)),
        level=items.get("level", _whole),
    )


def _update_retries(value: Any, where: str) -> RepoUpdateRetryConfig:
    items = _Map(value, where)
    return RepoUpdateRetryConfig(items.get("default", _settings(StorageRetriesSettings, RETRIES)))


def _storage(value: Any, where: str) -> StorageSettings:
    items = _Map(value, where)
    return items.make(
        StorageSettings,
        concurrency=items.get("concurrency", _settings(StorageConcurrencySettings, CONCURRENCY)),
        retries=items.get("retries", _settings(StorageRetriesSettings, RETRIES)),
        timeouts=items.get("timeouts", _settings(StorageTimeoutSettings, TIMEOUTS)),
        **{name: items.get(name, _flag) for name in CONDITIONAL},
        **{name: items.get(name, _text) for name in STORAGE_CLASSES},
        minimum_size_for_multipart_upload=items.get("minimum_size_for_multipart_upload", _whole),
    )


def _containers(value: Any, where: str) -> dict[str, VirtualChunkContainer]:
    usable = {}
    for key, container in _Map(value, where).items(_container).items():
        try:
            check_container(container)
        except ValueError as error:
            # Somebody else saved it. The rest of the repository is as good as ever.
            _log.warning("ignoring the virtual chunk container `%s` of the repository: %s", key, error)
        else:
            usable[key] = container
    return usable


def _container(value: Any, where: str) -> VirtualChunkContainer:
    # The key is no help: very old files have the container's name there, newer ones its prefix.
    items = _Map(value, where)
    return items.make(
        VirtualChunkContainer,
        url_prefix=items.need("url_prefix", _text),
        store=items.need("store", _store),
        name=items.get("name", _text),
    )


def _store(value: Any, where: str) -> ObjectStoreConfig:
    kind, content = _variant(value, where)
    if kind == "in_memory":
        return InMemoryStore()
    if kind == "local_file_system":
        return LocalFileSystemStore(_text(content, where))
    if kind in STORES_LIKE_S3:
        return STORES_LIKE_S3[kind](_s3_options(content, where))
    if kind == "gcs":
        return GcsStore(_texts(content, where))
    if kind == "azure":
        return AzureStore(_texts(content, where))
    if kind == "http":
        items = _Map(content, where)
        headers = items.get("headers", _texts)
        options = {name: item for name, item in content.items() if name != "headers"}
        return HttpStore(_texts(options, where), headers)
    raise _wrong(where, "a kind of object store", value)


def _texts(value: Any, where: str) -> dict[str, str]:
    return _Map(value, where).items(_text)


def _s3_options(value: Any, where: str) -> S3Options:
    items = _Map(value, where)
    return items.make(
        S3Options,
        region=items.get("region", _text),
        endpoint_url=items.get("endpoint_url", _text),
        **{name: items.get(name, _flag) or False for name in S3_FLAGS},
        network_stream_timeout_seconds=items.get("network_stream_timeout_seconds", _whole),
        checksum_algorithm=items.get("checksum_algorithm", _choice(CHECKSUMS)),
    )


def _manifest(value: Any, where: str) -> ManifestConfig:
    items = _Map(value, where)
    compression = _settings(ManifestVirtualChunkLocationCompressionConfig, LOCATION_COMPRESSION)
    return items.make(
        ManifestConfig,
        preload=items.get("preload", _preload),
        splitting=items.get("splitting", _splitting),
        virtual_chunk_location_compression=items.get("virtual_chunk_location_compression", compression),
        max_concurrent_manifest_fetches_during_commit=items.get(
            "max_concurrent_manifest_fetches_during_commit", _whole
        ),
    )


def _preload(value: Any, where: str) -> ManifestPreloadConfig:
    items = _Map(value, where)
    return items.make(
        ManifestPreloadConfig,
        max_total_refs=items.get("max_total_refs", _whole),
        preload_if=items.get("preload_if", _preload_condition),
        max_arrays_to_scan=items.get("max_arrays_to_scan", _whole),
    )


def _preload_condition(value: Any, where: str, nesting: int = 0) -> ManifestPreloadCondition:
    kind, content = _variant(value, where)
    if kind == "true":
        return ManifestPreloadCondition.true()
    if kind == "false":
        return ManifestPreloadCondition.false()
    if kind in {"or", "and"}:
        _check_nesting(nesting, where)
        parts = [_preload_condition(item, where, nesting + 1) for item in _list(content, where)]
        combine = conditions.PreloadOr if kind == "or" else conditions.PreloadAnd
        return combine(parts)
    items = _Map(content, where)
    if kind == "path_matches":
        return ManifestPreloadCondition.path_matches(items.need("regex", _text))
    if kind == "name_matches":
        return ManifestPreloadCondition.name_matches(items.need("regex", _text))
    if kind == "num_refs":
        least = items.need("from", _bound(included=0, excluded=1))
        end = items.need("to", _bound(included=1, excluded=0))
        return items.make(conditions.PreloadNumRefs, **{"from": least, "to": end})
    raise _wrong(where, "a condition", value)


def _bound(*, included: int, excluded: int) -> Callable[[Any, str], int | None]:
    """Read an end of a range, and add what makes the range half-open."""

    def read(value: Any, where: str) -> int | None:
        match _variant(value, where):
            case "Unbounded", None:
                return None
            case "Included", number:
                return _whole(number, where) + included
            case "Excluded", number:
                return _whole(number, where) + excluded
        raise _wrong(where, "Unbounded, Included or Excluded", value)

    return read


def _splitting(value: Any, where: str) -> ManifestSplittingConfig:
    return ManifestSplittingConfig(_Map(value, where).get("split_sizes", _split_sizes))


def _split_sizes(value: Any, where: str) -> SplitSizes:
    return [
        (_split_condition(condition, where), [_split_size(size, where) for size in _list(sizes, where)])
        for condition, sizes in (_pair(rule, where) for rule in _list(value, where))
    ]


def _split_size(value: Any, where: str) -> tuple[ManifestSplitDimCondition, int]:
    items = _Map(value, where)
    num_chunks = items.need("num_chunks", _whole)
    if not 0 <= num_chunks < 2**32:
        raise _wrong(where, "a number of chunks below 2**32", num_chunks)
    return items.need("condition", _dimension_condition), num_chunks


def _split_condition(value: Any, where: str, nesting: int = 0) -> ManifestSplitCondition:
    kind, content = _variant(value, where)
    if kind == "any_array":
        return ManifestSplitCondition.any_array()
    if kind in {"or", "and"}:
        _check_nesting(nesting, where)
        parts = [_split_condition(item, where, nesting + 1) for item in _list(content, where)]
        combine = conditions.SplitOr if kind == "or" else conditions.SplitAnd
        return combine(parts)
    if kind == "path_matches":
        return ManifestSplitCondition.path_matches(_Map(content, where).need("regex", _text))
    if kind == "name_matches":
        return ManifestSplitCondition.name_matches(_Map(content, where).need("regex", _text))
    raise _wrong(where, "a condition", value)


def _dimension_condition(value: Any, where: str) -> ManifestSplitDimCondition:
    match _variant(value, where):
        case "Any", None:
            return ManifestSplitDimCondition.any()
        case "Axis", number if type(number) is int and 0 <= number < 2**64:
            return ManifestSplitDimCondition.axis(number)
        case "DimensionName", regex:
            return ManifestSplitDimCondition.dimension_name(_text(regex, where))
    raise _wrong(where, "a condition on a dimension", value)


def _check_nesting(nesting: int, where: str) -> None:
    if nesting >= _MAX_NESTING:
        raise _error(f"`{where}` is nested too deeply")

"""Arbitrary settings, for hypothesis."""

from __future__ import annotations

from typing import TypeVar

from hypothesis import strategies as st

from icechunk._values.object_stores import ChecksumAlgorithm, S3Options
from icechunk._values.storage_settings import (
    StorageConcurrencySettings,
    StorageRetriesSettings,
    StorageSettings,
    StorageTimeoutSettings,
)
from icechunk.config import (
    CachingConfig,
    CompressionAlgorithm,
    CompressionConfig,
    ManifestConfig,
    ManifestPreloadCondition,
    ManifestPreloadConfig,
    ManifestSplitCondition,
    ManifestSplitDimCondition,
    ManifestSplittingConfig,
    ManifestVirtualChunkLocationCompressionConfig,
    ObjectStoreConfig,
    RepositoryConfig,
    RepoUpdateRetryConfig,
)
from icechunk.virtual import VirtualChunkContainer

T = TypeVar("T")

u8 = st.integers(0, 2**8 - 1)
u16 = st.integers(0, 2**16 - 1)
u32 = st.integers(0, 2**32 - 1)
u64 = st.integers(0, 2**64 - 1)
texts = st.text(max_size=8)
options = st.dictionaries(texts.filter(lambda key: key != "headers"), texts, max_size=3)


def maybe(strategy: st.SearchStrategy[T]) -> st.SearchStrategy[T | None]:
    return st.none() | strategy


retries = st.builds(StorageRetriesSettings, maybe(st.integers(1, 2**16 - 1)), maybe(u32), maybe(u32))
storage_settings = st.builds(
    StorageSettings,
    maybe(
        st.builds(
            StorageConcurrencySettings,
            maybe(st.integers(1, 2**16 - 1)),
            maybe(st.integers(1, 2**64 - 1)),
        )
    ),
    maybe(retries),
    *[maybe(st.booleans())] * 3,
    *[maybe(texts)] * 3,
    maybe(u64),
    maybe(st.builds(StorageTimeoutSettings, *[maybe(u32)] * 4)),
)

split_conditions = st.recursive(
    st.just(ManifestSplitCondition.AnyArray())
    | st.builds(ManifestSplitCondition.path_matches, texts)
    | st.builds(ManifestSplitCondition.name_matches, texts),
    lambda inner: (
        st.builds(ManifestSplitCondition.or_conditions, st.lists(inner, max_size=3))
        | st.builds(ManifestSplitCondition.and_conditions, st.lists(inner, max_size=3))
    ),
    max_leaves=5,
)
dimension_conditions = (
    st.just(ManifestSplitDimCondition.Any())
    | st.builds(ManifestSplitDimCondition.Axis, st.integers(0, 5))
    | st.builds(ManifestSplitDimCondition.DimensionName, texts)
)
splittings = st.builds(
    ManifestSplittingConfig,
    maybe(
        st.lists(
            st.tuples(split_conditions, st.lists(st.tuples(dimension_conditions, u32), max_size=3)),
            max_size=3,
        )
    ),
)
preload_conditions = st.recursive(
    st.just(ManifestPreloadCondition.true())
    | st.just(ManifestPreloadCondition.false())
    | st.builds(ManifestPreloadCondition.path_matches, texts)
    | st.builds(ManifestPreloadCondition.name_matches, texts)
    | st.builds(ManifestPreloadCondition.num_refs, maybe(u32), maybe(u32)),
    lambda inner: (
        st.builds(ManifestPreloadCondition.or_conditions, st.lists(inner, max_size=3))
        | st.builds(ManifestPreloadCondition.and_conditions, st.lists(inner, max_size=3))
    ),
    max_leaves=5,
)
manifest_configs = st.builds(
    ManifestConfig,
    maybe(st.builds(ManifestPreloadConfig, maybe(u32), maybe(preload_conditions), maybe(u32))),
    maybe(splittings),
    maybe(
        st.builds(
            ManifestVirtualChunkLocationCompressionConfig,
            maybe(u16),
            dictionary_max_training_samples=maybe(u16),
            dictionary_max_size_bytes=maybe(u32),
            compression_level=maybe(st.integers(-(2**31), 2**31 - 1)),
        )
    ),
    maybe(u16),
)

s3_options = st.builds(
    S3Options,
    region=maybe(texts),
    endpoint_url=maybe(texts),
    allow_http=st.booleans(),
    anonymous=st.booleans(),
    force_path_style=st.booleans(),
    network_stream_timeout_seconds=maybe(u32),
    requester_pays=st.booleans(),
    checksum_algorithm=maybe(st.sampled_from(ChecksumAlgorithm)),
)
containers = st.one_of(
    st.tuples(st.just("s3"), st.builds(ObjectStoreConfig.S3, s3_options)),
    st.tuples(st.just("s3"), st.builds(ObjectStoreConfig.S3Compatible, s3_options)),
    st.tuples(st.just("tigris"), st.builds(ObjectStoreConfig.Tigris, s3_options)),
    st.tuples(st.just("gs"), st.builds(ObjectStoreConfig.Gcs, maybe(options))),
    st.tuples(st.just("az"), st.builds(ObjectStoreConfig.Azure, maybe(options))),
    st.tuples(st.just("https"), st.builds(ObjectStoreConfig.Http, maybe(options), maybe(options))),
    st.tuples(st.just("file"), st.builds(ObjectStoreConfig.LocalFileSystem, texts)),
).flatmap(
    lambda kind: st.builds(
        VirtualChunkContainer,
        st.sampled_from([f"{kind[0]}://host/a/", f"{kind[0]}://host/b/c/"]),
        st.just(kind[1]),
        maybe(st.sampled_from(["x", "y"])),
    )
)

configs = st.builds(
    RepositoryConfig,
    inline_chunk_threshold_bytes=maybe(u16),
    get_partial_values_concurrency=maybe(u16),
    compression=maybe(st.builds(CompressionConfig, maybe(st.just(CompressionAlgorithm.Zstd)), maybe(u8))),
    max_concurrent_requests=maybe(u16),
    caching=maybe(st.builds(CachingConfig, *[maybe(u64)] * 5)),
    storage=maybe(storage_settings),
    virtual_chunk_containers=maybe(
        st.lists(containers, max_size=2).map(lambda some: {each.url_prefix: each for each in some})
    ),
    manifest=maybe(manifest_configs),
    repo_update_retries=maybe(st.builds(RepoUpdateRetryConfig, maybe(retries))),
    num_updates_per_repo_info_file=maybe(u16),
    max_concurrent_decodes=maybe(u16),
)

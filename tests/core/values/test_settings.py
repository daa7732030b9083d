"""Settings: what they accept, how they merge, how they show themselves."""

from __future__ import annotations

import copy
import inspect
import pickle
from types import FunctionType
from typing import Any

import pytest
from hypothesis import given, settings

import icechunk
import icechunk.config
import icechunk.storage
import icechunk.virtual
from icechunk._values.effective import EffectiveSettings
from icechunk._values.object_stores import ChecksumAlgorithm, S3Options
from icechunk._values.settings import Settings
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
from tests.core.values.value_strategies import configs, containers, storage_settings

few = settings(max_examples=40, deadline=None)


@few
@given(configs)
def test_the_repr_of_a_configuration_makes_it_again(config: RepositoryConfig) -> None:
    assert eval(repr(config), {"icechunk": icechunk}) == config


@few
@given(configs)
def test_configurations_can_be_copied_and_pickled(config: RepositoryConfig) -> None:
    for twin in (copy.copy(config), copy.deepcopy(config), pickle.loads(pickle.dumps(config))):
        assert twin == config
        assert twin is not config
        twin.inline_chunk_threshold_bytes = 77 if config.inline_chunk_threshold_bytes != 77 else 78
        assert twin != config


@few
@given(configs, configs)
def test_merging_changes_neither_side_and_is_neutral_with_nothing(
    ours: RepositoryConfig, theirs: RepositoryConfig
) -> None:
    before = repr(ours), repr(theirs)
    merged = ours.merge(theirs)
    assert (repr(ours), repr(theirs)) == before
    assert ours.merge(RepositoryConfig()) == ours
    assert RepositoryConfig().merge(ours) == ours
    assert merged.merge(theirs) == merged
    if merged.caching is not None:
        merged.caching.num_chunk_refs = 3
        merged.caching.num_snapshot_nodes = 3
        assert (repr(ours), repr(theirs)) == before


def test_merging_goes_into_most_parts_and_replaces_some() -> None:
    ours = RepositoryConfig(
        inline_chunk_threshold_bytes=1,
        compression=CompressionConfig(CompressionAlgorithm.Zstd, 5),
        caching=CachingConfig(1, 2),
        storage=StorageSettings(
            StorageConcurrencySettings(1), timeouts=StorageTimeoutSettings(1), storage_class="x"
        ),
        manifest=ManifestConfig(ManifestPreloadConfig(1), max_concurrent_manifest_fetches_during_commit=2),
        repo_update_retries=RepoUpdateRetryConfig(StorageRetriesSettings(1)),
    )
    theirs = RepositoryConfig(
        compression=CompressionConfig(level=7),
        caching=CachingConfig(num_chunk_refs=9),
        storage=StorageSettings(
            StorageConcurrencySettings(None, 4), timeouts=StorageTimeoutSettings(None, 5)
        ),
        manifest=ManifestConfig(ManifestPreloadConfig(max_arrays_to_scan=5)),
        repo_update_retries=RepoUpdateRetryConfig(StorageRetriesSettings(max_backoff_ms=4)),
    )
    assert ours.merge(theirs) == RepositoryConfig(
        inline_chunk_threshold_bytes=1,
        compression=CompressionConfig(CompressionAlgorithm.Zstd, 7),
        caching=CachingConfig(1, 9),
        storage=StorageSettings(
            StorageConcurrencySettings(1, 4), timeouts=StorageTimeoutSettings(1, 5), storage_class="x"
        ),
        manifest=ManifestConfig(
            ManifestPreloadConfig(max_arrays_to_scan=5),
            max_concurrent_manifest_fetches_during_commit=2,
        ),
        repo_update_retries=RepoUpdateRetryConfig(StorageRetriesSettings(1, None, 4)),
    )


def test_no_containers_replace_all_containers() -> None:
    ours = RepositoryConfig()
    ours.set_virtual_chunk_container(
        VirtualChunkContainer("file:///data/", ObjectStoreConfig.LocalFileSystem("/data"))
    )
    cleared = RepositoryConfig(virtual_chunk_containers={})
    assert ours.merge(cleared).virtual_chunk_containers == {}
    assert cleared != RepositoryConfig()


@pytest.mark.parametrize(
    ("make", "error"),
    [
        (lambda: RepositoryConfig(inline_chunk_threshold_bytes=2**16), OverflowError),
        (lambda: RepositoryConfig(inline_chunk_threshold_bytes=-1), OverflowError),
        (lambda: RepositoryConfig(inline_chunk_threshold_bytes="1"), TypeError),
        (lambda: RepositoryConfig(inline_chunk_threshold_bytes=1.0), TypeError),
        (lambda: RepositoryConfig(caching=3), TypeError),
        (lambda: RepositoryConfig(virtual_chunk_containers={"a": 3}), TypeError),
        (lambda: CompressionConfig(level=256), OverflowError),
        (lambda: CompressionConfig("zstd"), TypeError),
        (lambda: CachingConfig(2**64), OverflowError),
        (lambda: StorageRetriesSettings(0), ValueError),
        (lambda: StorageConcurrencySettings(0), ValueError),
        (lambda: StorageConcurrencySettings(1, 0), ValueError),
        (lambda: StorageSettings(unsafe_use_metadata=1), TypeError),
        (lambda: StorageSettings(storage_class=1), TypeError),
        (lambda: S3Options(anonymous=None), TypeError),
        (lambda: ObjectStoreConfig.LocalFileSystem(b"/x"), TypeError),
        (lambda: ObjectStoreConfig.Gcs({"a": 1}), TypeError),
        (lambda: ManifestSplitDimCondition.Axis(-1), OverflowError),
        (lambda: ManifestSplitCondition.or_conditions([3]), TypeError),
        (lambda: ManifestPreloadConfig(preload_if=ManifestSplitCondition.AnyArray()), TypeError),
        (
            lambda: ManifestSplittingConfig.from_dict(
                {ManifestSplitCondition.AnyArray(): {ManifestSplitDimCondition.Any(): 2**32}}
            ),
            OverflowError,
        ),
    ],
)
def test_what_does_not_fit_is_refused(make: Any, error: type[Exception]) -> None:
    with pytest.raises(error):
        make()


def test_assignment_is_checked_too() -> None:
    config = RepositoryConfig()
    with pytest.raises(OverflowError, match="inline_chunk_threshold_bytes must be between 0 and 65535"):
        config.inline_chunk_threshold_bytes = 2**16
    with pytest.raises(TypeError, match="caching must be of type CachingConfig, got int"):
        config.caching = 3  # type: ignore[assignment]
    with pytest.raises(AttributeError):
        config.inline_chunk_treshold_bytes = 3  # type: ignore[attr-defined]
    with pytest.raises(AttributeError):
        config.virtual_chunk_containers = {}  # type: ignore[misc]
    assert config == RepositoryConfig.default()


def test_parts_are_shared_with_the_configuration_that_holds_them() -> None:
    caching = CachingConfig()
    config = RepositoryConfig(caching=caching)
    caching.num_chunk_refs = 5
    assert config.caching is caching
    assert config.caching.num_chunk_refs == 5


@pytest.mark.parametrize(
    "value",
    [RepositoryConfig(), CachingConfig(), S3Options(), ObjectStoreConfig.Gcs(None), ManifestConfig()],
)
def test_what_can_change_has_no_hash(value: object) -> None:
    with pytest.raises(TypeError):
        hash(value)


def test_conditions_are_keys() -> None:
    sizes = {
        ManifestSplitCondition.AnyArray() | ManifestSplitCondition.name_matches("x"): {
            ManifestSplitDimCondition.Axis(0): 3,
            ManifestSplitDimCondition.Any(): 4,
        },
        ManifestSplitCondition.path_matches("a"): {ManifestSplitDimCondition.DimensionName("t"): 1},
    }
    assert ManifestSplittingConfig.from_dict(sizes).to_dict() == sizes
    assert list(ManifestSplittingConfig.from_dict(sizes).to_dict()) == list(sizes)


def test_conditions_match_as_patterns() -> None:
    match ManifestSplitCondition.path_matches("abc"):
        case icechunk.config.ManifestSplitCondition.PathMatches(regex):
            assert regex == "abc"
        case _:
            pytest.fail("not recognised")


def test_a_configuration_as_text() -> None:
    config = RepositoryConfig(
        inline_chunk_threshold_bytes=12,
        compression=CompressionConfig(level=2),
        storage=StorageSettings(storage_class="x"),
        max_concurrent_decodes=4,
    )
    config.set_virtual_chunk_container(
        VirtualChunkContainer("s3://x/", ObjectStoreConfig.S3(S3Options(region="r")))
    )
    assert (
        str(config)
        == """\
<icechunk.config.RepositoryConfig>
inline_chunk_threshold_bytes: 12
get_partial_values_concurrency: 10 (default)
max_concurrent_requests: 256 (default)
max_concurrent_decodes: 4
num_updates_per_repo_info_file: 1000 (default)
compression:
    <icechunk.config.CompressionConfig>
    algorithm: Zstd (default)
    level: 2
caching:
    <icechunk.config.CachingConfig>
    num_snapshot_nodes: 500000 (default)
    num_chunk_refs: 15000000 (default)
    num_transaction_changes: 0 (default)
    num_bytes_attributes: 0 (default)
    num_bytes_chunks: 0 (default)
storage:
    <icechunk.storage.StorageSettings>
    unsafe_use_conditional_create: True (default)
    unsafe_use_conditional_update: True (default)
    unsafe_use_metadata: True (default)
    storage_class: "x"
    metadata_storage_class: None
    chunks_storage_class: None
    minimum_size_for_multipart_upload: 104857600 (default)
    concurrency:
        <icechunk.storage.StorageConcurrencySettings>
        max_concurrent_requests_for_object: 18 (default)
        ideal_concurrent_request_size: 12582912 (default)
    retries:
        <icechunk.storage.StorageRetriesSettings>
        max_tries: 10 (default)
        initial_backoff_ms: 100 (default)
        max_backoff_ms: 180000 (default)
    timeouts: None
manifest:
    <icechunk.config.ManifestConfig>
    preload:
        <icechunk.config.ManifestPreloadConfig>
        max_total_refs: 10000 (default)
        preload_if: None
        max_arrays_to_scan: 50 (default)
    splitting:
        <icechunk.config.ManifestSplittingConfig>
        split_sizes: [(icechunk.config.ManifestSplitCondition.path_matches(".*"), \
[(icechunk.config.ManifestSplitDimCondition.any(), 4294967295)])]
    virtual_chunk_location_compression:
        <icechunk.config.ManifestVirtualChunkLocationCompressionConfig>
        min_num_chunks: 1000 (default)
        dictionary_max_training_samples: 100 (default)
        dictionary_max_size_bytes: 2048 (default)
        compression_level: 3 (default)
    max_concurrent_manifest_fetches_during_commit: 1 (default)
repo_update_retries:
    <icechunk.config.RepoUpdateRetryConfig>
    default:
        <icechunk.storage.StorageRetriesSettings>
        max_tries: 100
        initial_backoff_ms: 50
        max_backoff_ms: 30000
virtual_chunk_containers:
    s3://x/:
        <icechunk.virtual.VirtualChunkContainer>
        name: None
        url_prefix: "s3://x/"
        store:
            <icechunk.config.ObjectStoreConfig.S3>
            region: "r"
            endpoint_url: None
            allow_http: False
            anonymous: False
            force_path_style: False
            network_stream_timeout_seconds: None
            requester_pays: False
            checksum_algorithm: None
"""
    )


def test_a_configuration_as_an_expression() -> None:
    config = RepositoryConfig(
        caching=CachingConfig(1),
        virtual_chunk_containers={
            "s3://x/": VirtualChunkContainer(
                "s3://x/",
                ObjectStoreConfig.S3(S3Options(checksum_algorithm=ChecksumAlgorithm.Crc32)),
                "n",
            )
        },
    )
    assert (
        repr(config)
        == """\
icechunk.config.RepositoryConfig(
    inline_chunk_threshold_bytes=None,
    get_partial_values_concurrency=None,
    max_concurrent_requests=None,
    max_concurrent_decodes=None,
    num_updates_per_repo_info_file=None,
    compression=None,
    caching=icechunk.config.CachingConfig(
        num_snapshot_nodes=1,
        num_chunk_refs=None,
        num_transaction_changes=None,
        num_bytes_attributes=None,
        num_bytes_chunks=None,
    ),
    storage=None,
    manifest=None,
    repo_update_retries=None,
    virtual_chunk_containers={
        "s3://x/": icechunk.virtual.VirtualChunkContainer(
            name="n",
            url_prefix="s3://x/",
            store=icechunk.config.ObjectStoreConfig.S3(icechunk.storage.S3Options(
                region=None,
                endpoint_url=None,
                allow_http=False,
                anonymous=False,
                force_path_style=False,
                network_stream_timeout_seconds=None,
                requester_pays=False,
                checksum_algorithm=icechunk.ChecksumAlgorithm.Crc32,
            )),
        ),
    },
)"""
    )


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (ManifestPreloadCondition.num_refs(1, 2), "ManifestPreloadCondition.num_refs(1, 2)"),
        (ManifestPreloadCondition.num_refs(None, 2), "ManifestPreloadCondition.num_refs(None, 2)"),
        (
            ManifestPreloadCondition.true() & ManifestPreloadCondition.name_matches('a"b'),
            (
                "ManifestPreloadCondition.and_conditions([icechunk.config.ManifestPreloadCondition.true(), "
                'icechunk.config.ManifestPreloadCondition.name_matches("a\\"b")])'
            ),
        ),
        (ManifestSplitCondition.AnyArray(), "ManifestSplitCondition.any_array()"),
        (ManifestSplitDimCondition.Axis(1), "ManifestSplitDimCondition.axis(1)"),
        (ManifestSplitDimCondition.DimensionName("x"), 'ManifestSplitDimCondition.dimension_name("x")'),
        (ObjectStoreConfig.InMemory(), "ObjectStoreConfig.InMemory()"),
        (ObjectStoreConfig.LocalFileSystem("/x"), 'ObjectStoreConfig.LocalFileSystem("/x")'),
        (ObjectStoreConfig.Gcs(None), "ObjectStoreConfig.Gcs(None)"),
        (ObjectStoreConfig.Http({"a": "b"}, None), 'ObjectStoreConfig.Http({"a": "b"}, None)'),
    ],
)
def test_conditions_and_stores_as_expressions(value: object, text: str) -> None:
    assert repr(value) == f"icechunk.config.{text}"
    assert eval(repr(value), {"icechunk": icechunk}) == value


@few
@given(storage_settings)
def test_html_is_balanced_and_escaped(value: StorageSettings) -> None:
    html = value._repr_html_()
    for tag in ("div", "span", "details", "summary", "style"):
        assert html.count(f"<{tag}") == html.count(f"</{tag}>")
    assert "<script" not in StorageSettings(storage_class="<script>")._repr_html_()


def test_effective_settings_have_every_default() -> None:
    effective = EffectiveSettings.of(RepositoryConfig())
    assert effective.inline_chunk_threshold_bytes == 512
    assert (effective.compression_level, effective.is_compression_level_set) == (3, False)
    assert effective.num_chunk_refs == 15_000_000
    assert effective.num_updates_per_repo_info_file == 1000
    assert effective.max_concurrent_requests_for_object == 18
    assert effective.ideal_concurrent_request_size == 12 * 2**20
    assert (effective.retry_max_tries, effective.retry_initial_backoff_ms) == (10, 100)
    assert (effective.repo_update_max_tries, effective.repo_update_max_backoff_ms) == (100, 30_000)
    assert effective.max_concurrent_decodes >= 1


@few
@given(configs)
def test_effective_settings_are_what_is_set(config: RepositoryConfig) -> None:
    effective = EffectiveSettings.of(config)
    assert None not in effective._contents()
    if config.inline_chunk_threshold_bytes is not None:
        assert effective.inline_chunk_threshold_bytes == config.inline_chunk_threshold_bytes
    if config.compression is not None and config.compression.level is not None:
        assert effective.compression_level == config.compression.level
        assert effective.is_compression_level_set
    assert pickle.loads(pickle.dumps(effective)) == effective


@few
@given(containers)
def test_generated_containers_can_be_used(container: VirtualChunkContainer) -> None:
    config = RepositoryConfig()
    config.set_virtual_chunk_container(container)
    assert config.get_virtual_chunk_container(container.url_prefix) == container


def test_every_class_of_settings_is_public_under_its_own_name() -> None:
    for cls in Settings.__subclasses__():
        module = vars(icechunk)[cls.__module__.removeprefix("icechunk.")]
        assert getattr(module, cls.__name__) is cls


def test_location_compression_takes_keywords_only() -> None:
    with pytest.raises(TypeError):
        ManifestVirtualChunkLocationCompressionConfig(1, 2)  # type: ignore[misc]


@pytest.mark.parametrize(
    "family",
    [
        ManifestSplitCondition,
        ManifestSplitDimCondition,
        ManifestPreloadCondition,
        ObjectStoreConfig,
        icechunk.UpdateType,
        icechunk.Credentials,
        icechunk.S3Credentials,
        icechunk.GcsCredentials,
        icechunk.AzureCredentials,
        icechunk.GcsStaticCredentials,
        icechunk.AzureStaticCredentials,
    ],
)
def test_only_the_forms_of_a_value_can_be_made(family: Any) -> None:
    with pytest.raises(TypeError, match=f"cannot create {family.__name__} instances"):
        family()


ANY_ARRAY = ManifestSplitCondition.AnyArray()


@pytest.mark.parametrize(
    ("form", "fields"),
    [
        (ManifestSplitCondition.Or, [[ANY_ARRAY]]),
        (ManifestSplitCondition.And, [[ANY_ARRAY]]),
        (ManifestSplitCondition.AnyArray, []),
        (ManifestSplitDimCondition.Axis, [3]),
        (ManifestSplitDimCondition.DimensionName, ["x"]),
        (ManifestSplitDimCondition.Any, []),
        (ManifestPreloadCondition.Or, [[]]),
        (getattr(ManifestPreloadCondition, "True"), []),
        (ObjectStoreConfig.InMemory, []),
        (ObjectStoreConfig.LocalFileSystem, ["/a"]),
        (ObjectStoreConfig.Gcs, [{"a": "b"}]),
        (ObjectStoreConfig.S3, [S3Options(region="a")]),
        (ObjectStoreConfig.Http, [{"a": "b"}, None]),
        (icechunk.S3Credentials.Anonymous, []),
        (icechunk.S3Credentials.Static, [icechunk.S3StaticCredentials("a", "b")]),
        (icechunk.GcsStaticCredentials.BearerToken, ["t"]),
        (icechunk.Credentials.Gcs, [icechunk.GcsCredentials.FromEnv()]),
    ],
)
def test_forms_with_numbered_fields_are_like_tuples(form: Any, fields: list[Any]) -> None:
    names = [f"_{number}" for number in range(len(fields))]
    value = form(**dict(zip(names, fields, strict=True)))
    assert value == form(*fields)
    assert len(value) == len(fields)
    assert [*value] == [getattr(value, name) for name in names] == fields
    if fields:
        assert form.__match_args__ == tuple(names)
        assert value[-1] == fields[-1]
    with pytest.raises(IndexError):
        value[len(fields)]


def test_a_form_without_fields_is_true() -> None:
    # The reference has the empty tuple's truth, see docs/adr/0001, 6.
    assert ManifestSplitCondition.AnyArray()
    assert icechunk.S3Credentials.Anonymous()


def test_what_a_form_hands_out_by_number_is_a_copy() -> None:
    store, s3 = ObjectStoreConfig.Gcs({"a": "b"}), ObjectStoreConfig.S3(S3Options(region="a"))
    either = ManifestSplitCondition.Or([ANY_ARRAY])
    store[0]["c"] = "d"
    s3[0].region = "b"
    either[0].clear()
    assert store == ObjectStoreConfig.Gcs({"a": "b"})
    assert s3 == ObjectStoreConfig.S3(S3Options(region="a"))
    assert either == ManifestSplitCondition.Or([ANY_ARRAY])


def test_help_has_words_for_every_public_property_and_method() -> None:
    public = [getattr(icechunk, name) for name in icechunk.__all__]
    classes = [value for value in public if isinstance(value, type)]
    forms = [value for cls in classes for value in vars(cls).values() if isinstance(value, type)]
    assert ManifestPreloadCondition.NumRefs in forms
    silent = [
        f"{cls.__qualname__}.{name}"
        for cls in {*classes, *forms}
        for name, value in vars(cls).items()
        if isinstance(value, property | FunctionType | staticmethod | classmethod)
        if not name.startswith("_") and not inspect.getdoc(getattr(cls, name))
    ]
    assert silent == []


def test_numbers_of_refs_are_called_from_and_to() -> None:
    between = ManifestPreloadCondition.NumRefs(**{"from": 1, "to": 2})
    assert between == ManifestPreloadCondition.NumRefs(1, 2) == ManifestPreloadCondition.num_refs(1, 2)
    assert (getattr(between, "from"), between.to) == (1, 2)
    assert between.__match_args__ == ("from", "to")
    for arguments, named in (([1], {}), ([1, 2, 3], {}), ([1, 2], {"to": 3}), ([1], {"too": 2})):
        with pytest.raises(TypeError, match="two arguments: `from` and `to`"):
            ManifestPreloadCondition.NumRefs(*arguments, **named)

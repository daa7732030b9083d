"""The configuration as it is saved: round trips, the reference's own document, and what is refused."""

from __future__ import annotations

import contextlib
import logging
from typing import Any

import pytest
from hypothesis import given, settings, strategies as st

from icechunk._values.config_document import config_from_document, config_to_document
from icechunk.config import (
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
)
from icechunk.errors import ErrorKind, FormatError
from icechunk.virtual import VirtualChunkContainer
from tests.core.values.value_strategies import configs

few = settings(max_examples=60, deadline=None)

NOTHING_SET = {
    "inline_chunk_threshold_bytes": None,
    "get_partial_values_concurrency": None,
    "compression": None,
    "max_concurrent_requests": None,
    "max_concurrent_decodes": None,
    "caching": None,
    "storage": None,
    "virtual_chunk_containers": None,
    "manifest": None,
    "previous_file": None,
    "repo_update_retries": None,
    "num_updates_per_repo_info_file": None,
}


@few
@given(configs)
def test_a_configuration_survives_a_round_trip(config: RepositoryConfig) -> None:
    document = config_to_document(config)
    assert config_from_document(document) == config
    assert list(document) == list(NOTHING_SET)


def test_what_is_unset_is_saved_as_null() -> None:
    assert config_to_document(RepositoryConfig()) == NOTHING_SET
    assert config_from_document({}) == RepositoryConfig()


def test_the_document_is_the_one_that_the_reference_writes() -> None:
    P, S, D = ManifestPreloadCondition, ManifestSplitCondition, ManifestSplitDimCondition  # noqa: N806
    config = RepositoryConfig(
        compression=CompressionConfig(CompressionAlgorithm.Zstd),
        manifest=ManifestConfig(
            ManifestPreloadConfig(
                1,
                P.or_conditions([P.num_refs(None, 5), P.true(), P.false() & P.name_matches("a")]),
            ),
            ManifestSplittingConfig.from_dict(
                {
                    S.AnyArray(): {D.Any(): 3, D.Axis(1): 2},
                    S.name_matches("x") | S.path_matches("q"): {D.DimensionName("t"): 1},
                }
            ),
            ManifestVirtualChunkLocationCompressionConfig(5),
        ),
    )
    for prefix, store in {
        "gs://a/": ObjectStoreConfig.Gcs(None),
        "gs://c/": ObjectStoreConfig.Gcs({"a": "b"}),
        "http://a/": ObjectStoreConfig.Http(None, None),
        "http://b/": ObjectStoreConfig.Http({"a": "b"}, {"h": "v"}),
        "file:///d/": ObjectStoreConfig.LocalFileSystem("/d"),
    }.items():
        config.set_virtual_chunk_container(VirtualChunkContainer(prefix, store))

    # Taken from a `config.yaml` of the reference, 2.3.0; its YAML tags are maps with one key here.
    def container(prefix: str, store: object) -> dict[str, Any]:
        return {"name": None, "url_prefix": prefix, "store": store}

    assert config_to_document(config) == NOTHING_SET | {
        "compression": {"algorithm": "zstd", "level": None},
        "virtual_chunk_containers": {
            "gs://a/": container("gs://a/", {"gcs": {}}),
            "gs://c/": container("gs://c/", {"gcs": {"a": "b"}}),
            "http://a/": container("http://a/", {"http": {}}),
            "http://b/": container("http://b/", {"http": {"a": "b", "headers": {"h": "v"}}}),
            "file:///d/": container("file:///d/", {"local_file_system": "/d"}),
        },
        "manifest": {
            "preload": {
                "max_total_refs": 1,
                "preload_if": {
                    "or": [
                        {"num_refs": {"from": "Unbounded", "to": {"Excluded": 5}}},
                        "true",
                        {"and": ["false", {"name_matches": {"regex": "a"}}]},
                    ]
                },
                "max_arrays_to_scan": None,
            },
            "splitting": {
                "split_sizes": [
                    [
                        "any_array",
                        [
                            {"condition": "Any", "num_chunks": 3},
                            {"condition": {"Axis": 1}, "num_chunks": 2},
                        ],
                    ],
                    [
                        {"or": [{"name_matches": {"regex": "x"}}, {"path_matches": {"regex": "q"}}]},
                        [{"condition": {"DimensionName": "t"}, "num_chunks": 1}],
                    ],
                ]
            },
            "virtual_chunk_location_compression": {
                "min_num_chunks": 5,
                "dictionary_max_training_samples": None,
                "dictionary_max_size_bytes": None,
                "compression_level": None,
            },
            "max_concurrent_manifest_fetches_during_commit": None,
        },
    }


@pytest.mark.parametrize(
    ("bounds", "expected"),
    [
        ({"from": {"Excluded": 1}, "to": {"Included": 4}}, (2, 5)),
        ({"from": {"Included": 1}, "to": {"Excluded": 4}}, (1, 4)),
        ({"from": "Unbounded", "to": "Unbounded"}, (None, None)),
    ],
)
def test_every_form_of_a_range_is_read(
    bounds: dict[str, Any], expected: tuple[int | None, int | None]
) -> None:
    config = config_from_document({"manifest": {"preload": {"preload_if": {"num_refs": bounds}}}})
    assert config.manifest == ManifestConfig(
        ManifestPreloadConfig(preload_if=ManifestPreloadCondition.num_refs(*expected))
    )


def test_unknown_and_missing_keys_do_no_harm() -> None:
    document = {"new": 1, "caching": {"num_chunk_refs": 3, "new": []}, "previous_file": "x"}
    config = config_from_document(document)
    assert config.caching is not None
    assert config.caching.num_chunk_refs == 3
    assert config.previous_file == "x"
    assert config_to_document(config)["previous_file"] == "x"


def test_an_unusable_container_is_left_out_with_a_warning(caplog: pytest.LogCaptureFixture) -> None:
    document = {
        "virtual_chunk_containers": {
            "old": {"url_prefix": "s3://no-slash", "store": {"gcs": {}}},
            "file:///d/": {"url_prefix": "file:///d/", "store": {"local_file_system": "/d"}},
        }
    }
    with caplog.at_level(logging.WARNING):
        config = config_from_document(document)
    assert list(config.virtual_chunk_containers or ()) == ["file:///d/"]
    assert "must end in a /" in caplog.text


@pytest.mark.parametrize(
    ("document", "where"),
    [
        ([], "configuration"),
        ({"inline_chunk_threshold_bytes": "1"}, "configuration.inline_chunk_threshold_bytes"),
        ({"inline_chunk_threshold_bytes": True}, "configuration.inline_chunk_threshold_bytes"),
        ({"inline_chunk_threshold_bytes": 2**16}, "inline_chunk_threshold_bytes must be between"),
        ({"caching": []}, "configuration.caching"),
        ({"caching": {"num_chunk_refs": -1}}, "configuration.caching"),
        ({"compression": {"algorithm": "lz4"}}, "configuration.compression.algorithm"),
        ({"storage": {"retries": {"max_tries": 0}}}, "configuration.storage.retries"),
        ({"storage": {"unsafe_use_metadata": 1}}, "configuration.storage.unsafe_use_metadata"),
        ({"storage": {"storage_class": 1}}, "configuration.storage.storage_class"),
        ({"virtual_chunk_containers": {"a": {}}}, "configuration.virtual_chunk_containers.a.url_prefix"),
        (
            {"virtual_chunk_containers": {"a": {"url_prefix": "s3://a/", "store": {"ftp": {}}}}},
            "configuration.virtual_chunk_containers.a.store",
        ),
        ({"manifest": {"preload": {"preload_if": "maybe"}}}, "configuration.manifest.preload.preload_if"),
        ({"manifest": {"preload": {"preload_if": {"or": 1}}}}, "manifest.preload.preload_if"),
        ({"manifest": {"preload": {"preload_if": {"a": 1, "b": 2}}}}, "manifest.preload.preload_if"),
        ({"manifest": {"splitting": {"split_sizes": [["any_array"]]}}}, "manifest.splitting.split_sizes"),
        (
            {"manifest": {"splitting": {"split_sizes": [["any_array", [{"condition": "Any"}]]]}}},
            "manifest.splitting.split_sizes.num_chunks",
        ),
    ],
)
def test_a_wrong_value_is_named(document: Any, where: str) -> None:
    with pytest.raises(FormatError) as caught:
        config_from_document(document)
    assert caught.value.kind == ErrorKind.CONFIG_DESERIALIZATION
    assert where in caught.value.message


def test_conditions_nested_without_end_are_refused() -> None:
    condition: Any = "true"
    for _ in range(100_000):
        condition = {"or": [condition]}
    with pytest.raises(FormatError, match="nested too deeply"):
        config_from_document({"manifest": {"preload": {"preload_if": condition}}})


anything = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=4),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=4), inner, max_size=3),
    max_leaves=4,
)


@settings(max_examples=300, deadline=None)
@given(configs, st.data())
def test_a_damaged_document_is_read_or_refused(config: RepositoryConfig, data: st.DataObject) -> None:
    document = config_to_document(config)
    place: Any = document
    while True:
        keys = list(place) if isinstance(place, dict) else list(range(len(place)))
        if not keys:
            break
        key = data.draw(st.sampled_from(keys))
        if not isinstance(place[key], dict | list) or not place[key] or data.draw(st.booleans()):
            place[key] = data.draw(anything)
            break
        place = place[key]
    # Raises nothing else, and reads a configuration otherwise.
    with contextlib.suppress(FormatError):
        assert isinstance(config_from_document(document), RepositoryConfig)

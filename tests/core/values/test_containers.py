"""Virtual chunk containers: which can be used, and how a configuration keeps them."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest

from icechunk._values.object_stores import S3Options
from icechunk._values.store_makers import (
    azure_store,
    gcs_store,
    http_store,
    local_filesystem_store,
    s3_store,
)
from icechunk.config import ObjectStoreConfig as O, RepositoryConfig
from icechunk.virtual import VirtualChunkContainer, VirtualChunkSpec

s3 = O.S3(S3Options())


@pytest.mark.parametrize(
    ("prefix", "store"),
    [
        ("s3://a/", s3),
        ("S3://A/", s3),
        ("s3://a/?q/", s3),
        ("s3://a/", O.S3Compatible(S3Options())),
        ("s3://a/", O.Tigris(S3Options())),
        ("tigris://a/", O.Tigris(S3Options())),
        ("gs://a/", O.Gcs({})),
        ("gcs://a/", O.Gcs(None)),
        ("az://a/", O.Azure({"account": "x"})),
        ("azure://a/", O.Azure(None)),
        ("abfs://a/", O.Azure(None)),
        ("http://a/", O.Http(None, None)),
        ("https://a:8080/b/", O.Http(None, None)),
        ("https://[::1]:80/", O.Http(None, None)),
        ("file:///a/", O.LocalFileSystem("/")),
        ("file:/a/", O.LocalFileSystem("/")),
    ],
)
def test_containers_that_can_be_used(prefix: str, store: O) -> None:
    config = RepositoryConfig()
    config.set_virtual_chunk_container(VirtualChunkContainer(prefix, store))
    assert list(config.virtual_chunk_containers or ()) == [prefix]


@pytest.mark.parametrize(
    ("prefix", "store", "name", "message"),
    [
        ("s3://a", s3, None, "VirtualChunkContainer url_prefix must end in a / character"),
        ("", s3, None, "VirtualChunkContainer url_prefix must end in a / character"),
        ("a/", s3, None, "relative URL without a base"),
        ("1s3://a/", s3, None, "relative URL without a base"),
        ("gs://a/", s3, None, r"Invalid url prefix scheme \(gs\) for this object store config: \(S3"),
        ("tigris://a/", s3, None, r"Invalid url prefix scheme \(tigris\)"),
        ("abfss://a/", O.Azure(None), None, r"Invalid url prefix scheme \(abfss\)"),
        ("memory://a/", O.InMemory(), None, r"Invalid url prefix scheme \(memory\)"),
        ("s3:///a/", s3, None, "Url prefix for s3:// containers must include a host"),
        ("s3:a/", s3, None, "Url prefix for s3:// containers must include a host"),
        ("gs:///", O.Gcs(None), None, "Url prefix for GCS containers must include a host"),
        ("az:///", O.Azure(None), None, "Url prefix for Azure containers must include a host"),
        ("tigris:///", O.Tigris(S3Options()), None, "Url prefix for tigris:// containers must"),
        ("http:///", O.Http(None, None), None, "must include a host"),
        ("file:///", O.LocalFileSystem("/"), None, "Url prefix for file:// containers must include a path"),
        ("s3://a b/", s3, None, "invalid host"),
        ("s3://a:b/", s3, None, "invalid host"),
        ("http://a:99999/", O.Http(None, None), None, "invalid port number"),
        ("s3://a/", s3, "", "VirtualChunkContainer name must be non-empty and not contain '/'"),
        ("s3://a/", s3, "x/y", "VirtualChunkContainer name must be non-empty and not contain '/'"),
    ],
)
def test_containers_that_cannot_be_used(prefix: str, store: O, name: str | None, message: str) -> None:
    container = VirtualChunkContainer(prefix, store, name)
    config = RepositoryConfig()
    with pytest.raises(ValueError, match=message):
        config.set_virtual_chunk_container(container)
    assert config.virtual_chunk_containers is None
    with pytest.raises(ValueError, match=message):
        config.merge(RepositoryConfig(virtual_chunk_containers={prefix: container}))


def test_a_container_replaces_those_of_the_same_prefix_or_name() -> None:
    config = RepositoryConfig()
    for prefix, name in [("s3://a/", "n"), ("s3://b/", "n"), ("s3://b/", "m"), ("s3://c/", None)]:
        config.set_virtual_chunk_container(VirtualChunkContainer(prefix, s3, name))
    containers = config.virtual_chunk_containers or {}
    assert {prefix: each.name for prefix, each in containers.items()} == {"s3://b/": "m", "s3://c/": None}
    assert config.get_virtual_chunk_container("s3://b/") == containers["s3://b/"]
    assert config.get_virtual_chunk_container("m") is None
    config.clear_virtual_chunk_containers()
    assert config.virtual_chunk_containers == {}
    assert str(config).endswith("\nvirtual_chunk_containers: {}\n")
    assert "virtual_chunk_containers={}," in repr(config)


def test_the_dict_of_containers_is_a_copy() -> None:
    config = RepositoryConfig(virtual_chunk_containers={})
    containers = config.virtual_chunk_containers
    assert containers is not None
    containers["s3://a/"] = VirtualChunkContainer("s3://a/", s3)
    assert config.virtual_chunk_containers == {}


def test_containers_of_a_configuration_are_changed_by_setting_them_only() -> None:
    given = VirtualChunkContainer("s3://a/", s3)
    config = RepositoryConfig(virtual_chunk_containers={"s3://a/": given})
    config.set_virtual_chunk_container(other := VirtualChunkContainer("s3://b/", s3))
    by_prefix = config.virtual_chunk_containers or {}
    for container in (given, other, config.get_virtual_chunk_container("s3://a/"), by_prefix["s3://b/"]):
        assert container is not None
        container.name = "changed"
    assert [each.name for each in (config.virtual_chunk_containers or {}).values()] == [None, None]


def test_a_spec_checks_its_numbers_and_times() -> None:
    moment = datetime(2020, 1, 1, tzinfo=UTC)
    spec = VirtualChunkSpec((1, 2), "s3://a/b", 3, 4, "etag", moment)
    assert (spec.index, spec.offset, spec.length) == ([1, 2], 3, 4)
    assert (spec.etag_checksum, spec.last_updated_at_checksum) == ("etag", moment)
    with pytest.raises(OverflowError):
        VirtualChunkSpec([-1], "s3://a/b", 3, 4)
    with pytest.raises(OverflowError):
        VirtualChunkSpec([1], "s3://a/b", -3, 4)
    with pytest.raises(TypeError, match="expected a datetime with non-None tzinfo"):
        VirtualChunkSpec([1], "s3://a/b", 3, 4, None, moment.replace(tzinfo=None))
    with pytest.raises(AttributeError, match="immutable"):
        spec.offset = 5


def test_stores_can_be_made_without_knowing_their_classes() -> None:
    assert s3_store() == O.S3(S3Options(network_stream_timeout_seconds=60))
    assert s3_store("r", s3_compatible=True, network_stream_timeout_seconds=1) == O.S3Compatible(
        S3Options("r", network_stream_timeout_seconds=1)
    )
    assert gcs_store({"a": "b"}) == O.Gcs({"a": "b"})
    assert azure_store(account="x", config={"q": "r"}) == O.Azure({"account": "x", "q": "r"})
    assert http_store({"a": "b"}, {"h": "i"}) == O.Http({"a": "b"}, {"h": "i"})
    assert local_filesystem_store("/a") == O.LocalFileSystem("/a")

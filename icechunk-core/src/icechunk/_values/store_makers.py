"""Functions that make the store of a virtual chunk container, for those who do not want to know its classes."""

from __future__ import annotations

from typing import TYPE_CHECKING

from icechunk._values.object_stores import (
    AzureStore,
    GcsStore,
    HttpStore,
    LocalFileSystemStore,
    S3CompatibleStore,
    S3Options,
    S3Store,
)

if TYPE_CHECKING:
    from collections.abc import Mapping

    from icechunk._values.object_stores import ChecksumAlgorithm

__all__ = ["azure_store", "gcs_store", "http_store", "local_filesystem_store", "s3_store"]


def s3_store(
    region: str | None = None,
    endpoint_url: str | None = None,
    allow_http: bool = False,
    anonymous: bool = False,
    s3_compatible: bool = False,
    force_path_style: bool = False,
    network_stream_timeout_seconds: int = 60,
    requester_pays: bool = False,
    checksum_algorithm: ChecksumAlgorithm | None = None,
) -> S3Store | S3CompatibleStore:
    """Describe where virtual chunks on S3 are, or on another service that speaks S3.

    Parameters
    ----------
    s3_compatible
        It is another service.
    region, endpoint_url, allow_http, anonymous, force_path_style, network_stream_timeout_seconds, \
requester_pays, checksum_algorithm
        See `S3Options`.
    """
    options = S3Options(
        region=region,
        endpoint_url=endpoint_url,
        allow_http=allow_http,
        anonymous=anonymous,
        force_path_style=force_path_style,
        network_stream_timeout_seconds=network_stream_timeout_seconds,
        requester_pays=requester_pays,
        checksum_algorithm=checksum_algorithm,
    )
    return S3CompatibleStore(options) if s3_compatible else S3Store(options)


def gcs_store(opts: Mapping[str, str] | None = None) -> GcsStore:
    """Describe where virtual chunks on Google Cloud Storage are."""
    return GcsStore(opts)


def azure_store(*, account: str, config: Mapping[str, str] | None = None) -> AzureStore:
    """Describe where virtual chunks on Azure Blob Storage are."""
    return AzureStore({"account": account, **(config or {})})


def http_store(opts: Mapping[str, str] | None = None, headers: Mapping[str, str] | None = None) -> HttpStore:
    """Describe the web server that virtual chunks are on."""
    return HttpStore(opts, headers)


def local_filesystem_store(path: str) -> LocalFileSystemStore:
    """Describe the folder that virtual chunks are below."""
    return LocalFileSystemStore(path)

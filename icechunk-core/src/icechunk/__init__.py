"""Icechunk: a transactional storage engine for Zarr, in pure Python.

The names here are the public API; each lives in the module that `_HOMES` says. That module is imported
when the first of its names is used, so `import icechunk` costs little more than `import zarr`.
"""

from __future__ import annotations

import sys
from importlib import import_module
from typing import TYPE_CHECKING, Any

from icechunk._ownership import refuse_second_owner
from icechunk._version import CLIENT_NAME, __version__

refuse_second_owner()

if TYPE_CHECKING:
    from icechunk._values.enums import (
        ChunkType as ChunkType,
    )
    from icechunk._values.enums import (
        RepoAvailability as RepoAvailability,
    )
    from icechunk._values.enums import (
        SessionMode as SessionMode,
    )
    from icechunk._values.enums import (
        SpecVersion as SpecVersion,
    )
    from icechunk._values.repository_state import (
        RepoStatus as RepoStatus,
    )
    from icechunk._values.summaries import (
        ChunkStorageStats as ChunkStorageStats,
    )
    from icechunk.config import (
        Attribution as Attribution,
    )
    from icechunk.config import (
        CachingConfig as CachingConfig,
    )
    from icechunk.config import (
        CompressionAlgorithm as CompressionAlgorithm,
    )
    from icechunk.config import (
        CompressionConfig as CompressionConfig,
    )
    from icechunk.config import (
        FeatureFlag as FeatureFlag,
    )
    from icechunk.config import (
        ManifestConfig as ManifestConfig,
    )
    from icechunk.config import (
        ManifestPreloadCondition as ManifestPreloadCondition,
    )
    from icechunk.config import (
        ManifestPreloadConfig as ManifestPreloadConfig,
    )
    from icechunk.config import (
        ManifestSplitCondition as ManifestSplitCondition,
    )
    from icechunk.config import (
        ManifestSplitDimCondition as ManifestSplitDimCondition,
    )
    from icechunk.config import (
        ManifestSplittingConfig as ManifestSplittingConfig,
    )
    from icechunk.config import (
        ManifestVirtualChunkLocationCompressionConfig as ManifestVirtualChunkLocationCompressionConfig,
    )
    from icechunk.config import (
        ObjectStoreConfig as ObjectStoreConfig,
    )
    from icechunk.config import (
        RepositoryConfig as RepositoryConfig,
    )
    from icechunk.config import (
        RepoUpdateRetryConfig as RepoUpdateRetryConfig,
    )
    from icechunk.conflicts import (
        Conflict as Conflict,
    )
    from icechunk.conflicts import (
        ConflictType as ConflictType,
    )
    from icechunk.conflicts import (
        VersionSelection as VersionSelection,
    )
    from icechunk.credentials import (
        AnyAzureCredential as AnyAzureCredential,
    )
    from icechunk.credentials import (
        AnyAzureStaticCredential as AnyAzureStaticCredential,
    )
    from icechunk.credentials import (
        AnyCredential as AnyCredential,
    )
    from icechunk.credentials import (
        AnyGcsCredential as AnyGcsCredential,
    )
    from icechunk.credentials import (
        AnyGcsStaticCredential as AnyGcsStaticCredential,
    )
    from icechunk.credentials import (
        AnyS3Credential as AnyS3Credential,
    )
    from icechunk.credentials import (
        AzureCredentials as AzureCredentials,
    )
    from icechunk.credentials import (
        AzureRefreshableCredential as AzureRefreshableCredential,
    )
    from icechunk.credentials import (
        AzureStaticCredentials as AzureStaticCredentials,
    )
    from icechunk.credentials import (
        Credentials as Credentials,
    )
    from icechunk.credentials import (
        GcsBearerCredential as GcsBearerCredential,
    )
    from icechunk.credentials import (
        GcsCredentials as GcsCredentials,
    )
    from icechunk.credentials import (
        GcsStaticCredentials as GcsStaticCredentials,
    )
    from icechunk.credentials import (
        S3Credentials as S3Credentials,
    )
    from icechunk.credentials import (
        S3StaticCredentials as S3StaticCredentials,
    )
    from icechunk.credentials import (
        azure_anonymous_credentials as azure_anonymous_credentials,
    )
    from icechunk.credentials import (
        azure_credentials as azure_credentials,
    )
    from icechunk.credentials import (
        azure_from_env_credentials as azure_from_env_credentials,
    )
    from icechunk.credentials import (
        azure_refreshable_credentials as azure_refreshable_credentials,
    )
    from icechunk.credentials import (
        azure_static_credentials as azure_static_credentials,
    )
    from icechunk.credentials import (
        containers_credentials as containers_credentials,
    )
    from icechunk.credentials import (
        gcs_credentials as gcs_credentials,
    )
    from icechunk.credentials import (
        gcs_from_env_credentials as gcs_from_env_credentials,
    )
    from icechunk.credentials import (
        gcs_refreshable_credentials as gcs_refreshable_credentials,
    )
    from icechunk.credentials import (
        gcs_static_credentials as gcs_static_credentials,
    )
    from icechunk.credentials import (
        s3_anonymous_credentials as s3_anonymous_credentials,
    )
    from icechunk.credentials import (
        s3_credentials as s3_credentials,
    )
    from icechunk.credentials import (
        s3_from_env_credentials as s3_from_env_credentials,
    )
    from icechunk.credentials import (
        s3_refreshable_credentials as s3_refreshable_credentials,
    )
    from icechunk.credentials import (
        s3_static_credentials as s3_static_credentials,
    )
    from icechunk.errors import (
        AlreadyExistsError as AlreadyExistsError,
    )
    from icechunk.errors import (
        ConflictError as ConflictError,
    )
    from icechunk.errors import (
        ErrorKind as ErrorKind,
    )
    from icechunk.errors import (
        FormatError as FormatError,
    )
    from icechunk.errors import (
        IcechunkError as IcechunkError,
    )
    from icechunk.errors import (
        InternalError as InternalError,
    )
    from icechunk.errors import (
        InvalidInputError as InvalidInputError,
    )
    from icechunk.errors import (
        MissingPluginError as MissingPluginError,
    )
    from icechunk.errors import (
        NodeNotFoundError as NodeNotFoundError,
    )
    from icechunk.errors import (
        NotFoundError as NotFoundError,
    )
    from icechunk.errors import (
        ObjectNotFoundError as ObjectNotFoundError,
    )
    from icechunk.errors import (
        PluginError as PluginError,
    )
    from icechunk.errors import (
        ReadOnlyError as ReadOnlyError,
    )
    from icechunk.errors import (
        RebaseFailedError as RebaseFailedError,
    )
    from icechunk.errors import (
        RefNotFoundError as RefNotFoundError,
    )
    from icechunk.errors import (
        RepositoryNotFoundError as RepositoryNotFoundError,
    )
    from icechunk.errors import (
        SessionStateError as SessionStateError,
    )
    from icechunk.errors import (
        SnapshotNotFoundError as SnapshotNotFoundError,
    )
    from icechunk.errors import (
        StorageError as StorageError,
    )
    from icechunk.ops import (
        GCSummary as GCSummary,
    )
    from icechunk.ops import (
        Update as Update,
    )
    from icechunk.ops import (
        UpdateType as UpdateType,
    )
    from icechunk.repository import (
        Repository as Repository,
    )
    from icechunk.session import (
        Session as Session,
    )
    from icechunk.snapshots import (
        Diff as Diff,
    )
    from icechunk.snapshots import (
        ManifestFileInfo as ManifestFileInfo,
    )
    from icechunk.snapshots import (
        SnapshotInfo as SnapshotInfo,
    )
    from icechunk.storage import (
        ChecksumAlgorithm as ChecksumAlgorithm,
    )
    from icechunk.storage import (
        S3Options as S3Options,
    )
    from icechunk.storage import (
        Storage as Storage,
    )
    from icechunk.storage import (
        StorageConcurrencySettings as StorageConcurrencySettings,
    )
    from icechunk.storage import (
        StorageObjectInfo as StorageObjectInfo,
    )
    from icechunk.storage import (
        StorageRetriesSettings as StorageRetriesSettings,
    )
    from icechunk.storage import (
        StorageSettings as StorageSettings,
    )
    from icechunk.storage import (
        StorageTimeoutSettings as StorageTimeoutSettings,
    )
    from icechunk.storage import (
        azure_storage as azure_storage,
    )
    from icechunk.storage import (
        gcs_storage as gcs_storage,
    )
    from icechunk.storage import (
        hf_storage as hf_storage,
    )
    from icechunk.storage import (
        http_storage as http_storage,
    )
    from icechunk.storage import (
        in_memory_storage as in_memory_storage,
    )
    from icechunk.storage import (
        local_filesystem_storage as local_filesystem_storage,
    )
    from icechunk.storage import (
        r2_storage as r2_storage,
    )
    from icechunk.storage import (
        redirect_storage as redirect_storage,
    )
    from icechunk.storage import (
        s3_storage as s3_storage,
    )
    from icechunk.storage import (
        storage_from_url as storage_from_url,
    )
    from icechunk.storage import (
        tigris_storage as tigris_storage,
    )
    from icechunk.store import (
        IcechunkStore as IcechunkStore,
    )
    from icechunk.types import (
        CommitMethod as CommitMethod,
    )
    from icechunk.virtual import (
        VirtualChunkContainer as VirtualChunkContainer,
    )
    from icechunk.virtual import (
        VirtualChunkSpec as VirtualChunkSpec,
    )

__api_version__ = "2.3.0"
"""The release of the reference implementation whose API this one follows."""

# What type checkers see above, for the interpreter. A test holds the two together.
_HOMES = {
    "_values.enums": (
        "ChunkType",
        "RepoAvailability",
        "SessionMode",
        "SpecVersion",
    ),
    "_values.repository_state": ("RepoStatus",),
    "_values.summaries": ("ChunkStorageStats",),
    "config": (
        "Attribution",
        "CachingConfig",
        "CompressionAlgorithm",
        "CompressionConfig",
        "FeatureFlag",
        "ManifestConfig",
        "ManifestPreloadCondition",
        "ManifestPreloadConfig",
        "ManifestSplitCondition",
        "ManifestSplitDimCondition",
        "ManifestSplittingConfig",
        "ManifestVirtualChunkLocationCompressionConfig",
        "ObjectStoreConfig",
        "RepoUpdateRetryConfig",
        "RepositoryConfig",
    ),
    "conflicts": (
        "Conflict",
        "ConflictType",
        "VersionSelection",
    ),
    "credentials": (
        "AnyAzureCredential",
        "AnyAzureStaticCredential",
        "AnyCredential",
        "AnyGcsCredential",
        "AnyGcsStaticCredential",
        "AnyS3Credential",
        "AzureCredentials",
        "AzureRefreshableCredential",
        "AzureStaticCredentials",
        "Credentials",
        "GcsBearerCredential",
        "GcsCredentials",
        "GcsStaticCredentials",
        "S3Credentials",
        "S3StaticCredentials",
        "azure_anonymous_credentials",
        "azure_credentials",
        "azure_from_env_credentials",
        "azure_refreshable_credentials",
        "azure_static_credentials",
        "containers_credentials",
        "gcs_credentials",
        "gcs_from_env_credentials",
        "gcs_refreshable_credentials",
        "gcs_static_credentials",
        "s3_anonymous_credentials",
        "s3_credentials",
        "s3_from_env_credentials",
        "s3_refreshable_credentials",
        "s3_static_credentials",
    ),
    "errors": (
        "AlreadyExistsError",
        "ConflictError",
        "ErrorKind",
        "FormatError",
        "IcechunkError",
        "InternalError",
        "InvalidInputError",
        "MissingPluginError",
        "NodeNotFoundError",
        "NotFoundError",
        "ObjectNotFoundError",
        "PluginError",
        "ReadOnlyError",
        "RebaseFailedError",
        "RefNotFoundError",
        "RepositoryNotFoundError",
        "SessionStateError",
        "SnapshotNotFoundError",
        "StorageError",
    ),
    "ops": (
        "GCSummary",
        "Update",
        "UpdateType",
    ),
    "repository": ("Repository",),
    "session": ("Session",),
    "snapshots": (
        "Diff",
        "ManifestFileInfo",
        "SnapshotInfo",
    ),
    "storage": (
        "ChecksumAlgorithm",
        "S3Options",
        "Storage",
        "StorageConcurrencySettings",
        "StorageObjectInfo",
        "StorageRetriesSettings",
        "StorageSettings",
        "StorageTimeoutSettings",
        "azure_storage",
        "gcs_storage",
        "hf_storage",
        "http_storage",
        "in_memory_storage",
        "local_filesystem_storage",
        "r2_storage",
        "redirect_storage",
        "s3_storage",
        "storage_from_url",
        "tigris_storage",
    ),
    "store": ("IcechunkStore",),
    "types": ("CommitMethod",),
    "virtual": (
        "VirtualChunkContainer",
        "VirtualChunkSpec",
    ),
}
_HOME_OF = {name: home for home, names in _HOMES.items() for name in names}
_MODULES = frozenset(
    {"abc", "plugins", "testing", "dask", "xarray", *(home for home in _HOMES if home[0] != "_")}
)

__all__ = sorted(  # noqa: PLE0605
    [
        *_HOME_OF,
        "__api_version__",
        "__version__",
        "print_debug_info",
        "spec_version",
        "supported_spec_versions",
        "user_agent",
    ]
)


def __getattr__(name: str) -> Any:
    home = _HOME_OF.get(name)
    if home is not None:
        value = globals()[name] = getattr(import_module(f"icechunk.{home}"), name)
        return value
    if name in _MODULES:
        return import_module(f"icechunk.{name}")
    raise AttributeError(f"module 'icechunk' has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__, *_MODULES})


def spec_version() -> SpecVersion:
    """Return the version of the on-disk format that new repositories are created in."""
    from icechunk._values.enums import SpecVersion as Versions  # with everything else, at first use

    return Versions.current()


def supported_spec_versions() -> list[SpecVersion]:
    """Return the versions of the on-disk format that can be read and written, the newest first."""
    from icechunk._values.enums import SpecVersion as Versions  # with everything else, at first use

    return sorted(Versions, reverse=True)


def user_agent() -> str:
    """Return the name under which this library writes files and talks to storage."""
    return CLIENT_NAME


def print_debug_info() -> None:
    """Print the versions of everything that matters for a bug report."""
    # Needed for this only.
    import platform
    from importlib.metadata import PackageNotFoundError, version

    lines = {"platform": platform.platform(), "python": platform.python_version()}
    lines["icechunk-core"] = __version__
    for name in ("zarr", "numcodecs", "numpy", "icechunk-xarray", "xarray", "dask"):
        try:
            lines[name] = version(name)
        except PackageNotFoundError:
            continue
    sys.stdout.write("".join(f"{name}:  {value}\n" for name, value in lines.items()))

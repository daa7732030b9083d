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
        RepoAvailability as RepoAvailability,
        SessionMode as SessionMode,
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
        CachingConfig as CachingConfig,
        CompressionAlgorithm as CompressionAlgorithm,
        CompressionConfig as CompressionConfig,
        FeatureFlag as FeatureFlag,
        ManifestConfig as ManifestConfig,
        ManifestPreloadCondition as ManifestPreloadCondition,
        ManifestPreloadConfig as ManifestPreloadConfig,
        ManifestSplitCondition as ManifestSplitCondition,
        ManifestSplitDimCondition as ManifestSplitDimCondition,
        ManifestSplittingConfig as ManifestSplittingConfig,
        ManifestVirtualChunkLocationCompressionConfig as ManifestVirtualChunkLocationCompressionConfig,
        ObjectStoreConfig as ObjectStoreConfig,
        RepositoryConfig as RepositoryConfig,
        RepoUpdateRetryConfig as RepoUpdateRetryConfig,
        initialize_logs as initialize_logs,
        set_logs_filter as set_logs_filter,
        shutdown_telemetry as shutdown_telemetry,
    )
    from icechunk.conflicts import (
        BasicConflictSolver as BasicConflictSolver,
        Conflict as Conflict,
        ConflictDetector as ConflictDetector,
        ConflictSolver as ConflictSolver,
        ConflictType as ConflictType,
        VersionSelection as VersionSelection,
    )
    from icechunk.credentials import (
        AnyAzureCredential as AnyAzureCredential,
        AnyAzureStaticCredential as AnyAzureStaticCredential,
        AnyCredential as AnyCredential,
        AnyGcsCredential as AnyGcsCredential,
        AnyGcsStaticCredential as AnyGcsStaticCredential,
        AnyS3Credential as AnyS3Credential,
        AzureCredentials as AzureCredentials,
        AzureRefreshableCredential as AzureRefreshableCredential,
        AzureStaticCredentials as AzureStaticCredentials,
        Credentials as Credentials,
        GcsBearerCredential as GcsBearerCredential,
        GcsCredentials as GcsCredentials,
        GcsStaticCredentials as GcsStaticCredentials,
        S3Credentials as S3Credentials,
        S3StaticCredentials as S3StaticCredentials,
        azure_anonymous_credentials as azure_anonymous_credentials,
        azure_credentials as azure_credentials,
        azure_from_env_credentials as azure_from_env_credentials,
        azure_refreshable_credentials as azure_refreshable_credentials,
        azure_static_credentials as azure_static_credentials,
        containers_credentials as containers_credentials,
        gcs_credentials as gcs_credentials,
        gcs_from_env_credentials as gcs_from_env_credentials,
        gcs_refreshable_credentials as gcs_refreshable_credentials,
        gcs_static_credentials as gcs_static_credentials,
        s3_anonymous_credentials as s3_anonymous_credentials,
        s3_credentials as s3_credentials,
        s3_from_env_credentials as s3_from_env_credentials,
        s3_refreshable_credentials as s3_refreshable_credentials,
        s3_static_credentials as s3_static_credentials,
    )
    from icechunk.errors import (
        AlreadyExistsError as AlreadyExistsError,
        ConflictError as ConflictError,
        ErrorKind as ErrorKind,
        FormatError as FormatError,
        IcechunkError as IcechunkError,
        InternalError as InternalError,
        InvalidInputError as InvalidInputError,
        MissingPluginError as MissingPluginError,
        NodeNotFoundError as NodeNotFoundError,
        NotFoundError as NotFoundError,
        ObjectNotFoundError as ObjectNotFoundError,
        PluginError as PluginError,
        ReadOnlyError as ReadOnlyError,
        RebaseFailedError as RebaseFailedError,
        RefNotFoundError as RefNotFoundError,
        RepositoryNotFoundError as RepositoryNotFoundError,
        SessionStateError as SessionStateError,
        SnapshotNotFoundError as SnapshotNotFoundError,
        StorageError as StorageError,
    )
    from icechunk.ops import (
        GCSummary as GCSummary,
        Update as Update,
        UpdateType as UpdateType,
    )
    from icechunk.repository import (
        Repository as Repository,
    )
    from icechunk.session import (
        ForkSession as ForkSession,
        Session as Session,
    )
    from icechunk.snapshots import (
        AncestryGraph as AncestryGraph,
        Diff as Diff,
        ManifestFileInfo as ManifestFileInfo,
        SnapshotInfo as SnapshotInfo,
    )
    from icechunk.storage import (
        AnyObjectStoreConfig as AnyObjectStoreConfig,
        ChecksumAlgorithm as ChecksumAlgorithm,
        S3Options as S3Options,
        Storage as Storage,
        StorageConcurrencySettings as StorageConcurrencySettings,
        StorageObjectInfo as StorageObjectInfo,
        StorageRetriesSettings as StorageRetriesSettings,
        StorageSettings as StorageSettings,
        StorageTimeoutSettings as StorageTimeoutSettings,
        azure_storage as azure_storage,
        gcs_storage as gcs_storage,
        gcs_store as gcs_store,
        hf_storage as hf_storage,
        http_storage as http_storage,
        http_store as http_store,
        in_memory_storage as in_memory_storage,
        local_filesystem_storage as local_filesystem_storage,
        local_filesystem_store as local_filesystem_store,
        r2_storage as r2_storage,
        redirect_storage as redirect_storage,
        s3_storage as s3_storage,
        s3_store as s3_store,
        storage_from_url as storage_from_url,
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
        "initialize_logs",
        "set_logs_filter",
        "shutdown_telemetry",
    ),
    "conflicts": (
        "BasicConflictSolver",
        "Conflict",
        "ConflictDetector",
        "ConflictSolver",
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
    "session": (
        "ForkSession",
        "Session",
    ),
    "snapshots": (
        "AncestryGraph",
        "Diff",
        "ManifestFileInfo",
        "SnapshotInfo",
    ),
    "storage": (
        "AnyObjectStoreConfig",
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
        "gcs_store",
        "hf_storage",
        "http_storage",
        "http_store",
        "in_memory_storage",
        "local_filesystem_storage",
        "local_filesystem_store",
        "r2_storage",
        "redirect_storage",
        "s3_storage",
        "s3_store",
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
        try:
            return import_module(f"icechunk.{name}")
        except ImportError as error:
            # `hasattr` and `inspect.getmembers` know no other way to say that a name is not there. An
            # import statement does not end here, and gives the error itself.
            raise AttributeError(f"module 'icechunk' has no attribute {name!r}: {error}") from error
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
    from importlib.metadata import PackageNotFoundError, entry_points, version

    lines = {"platform": platform.platform(), "python": platform.python_version()}
    lines["icechunk-core"] = __version__
    for name in ("zarr", "numcodecs", "numpy", "icechunk-xarray", "xarray", "dask"):
        try:
            lines[name] = version(name)
        except PackageNotFoundError:
            continue
    plugins = {entry.dist for entry in entry_points(group="icechunk") if entry.dist is not None}
    lines.update(
        {f"plugin {dist.name}": dist.version for dist in sorted(plugins, key=lambda dist: dist.name)}
    )
    sys.stdout.write("".join(f"{name}:  {value}\n" for name, value in lines.items()))

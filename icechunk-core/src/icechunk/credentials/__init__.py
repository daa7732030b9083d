"""Credentials, for storage and for virtual chunks.

`s3_credentials`, `gcs_credentials` and `azure_credentials` take everything that can be known about a
login and choose; the other functions make one sort each. What they return holds secrets, shows none,
and can be pickled.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, TypeAlias

from icechunk._ownership import refuse_second_owner
from icechunk._values.credentials import (
    AzureAccessKey,
    AzureAnonymous,
    AzureBearerToken,
    AzureCredentials,
    AzureFromEnv,
    AzureRefreshable,
    AzureRefreshableCredential,
    AzureSasToken,
    AzureStatic,
    AzureStaticCredentials,
    Credentials,
    ForAzure,
    ForGcs,
    ForHttp,
    ForLocalFileSystem,
    ForS3,
    GcsAnonymous,
    GcsApplicationCredentials,
    GcsBearerCredential,
    GcsBearerToken,
    GcsCredentials,
    GcsFromEnv,
    GcsRefreshable,
    GcsServiceAccount,
    GcsServiceAccountKey,
    GcsStatic,
    GcsStaticCredentials,
    S3Anonymous,
    S3Credentials,
    S3FromEnv,
    S3Refreshable,
    S3Static,
    S3StaticCredentials,
    pickled,
)

# Reached with another distribution's `__init__.py` too; `_ownership` says how, and why this is a package.
refuse_second_owner()

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from datetime import datetime

__all__ = [
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
    "HttpAccess",
    "LocalFileSystemAccess",
    "S3Credentials",
    "S3StaticCredentials",
    "azure_anonymous_credentials",
    "azure_credentials",
    "azure_from_env_credentials",
    "azure_refreshable_credentials",
    "azure_static_credentials",
    "containers_credentials",
    "gcs_anonymous_credentials",
    "gcs_credentials",
    "gcs_from_env_credentials",
    "gcs_refreshable_credentials",
    "gcs_static_credentials",
    "s3_anonymous_credentials",
    "s3_credentials",
    "s3_from_env_credentials",
    "s3_refreshable_credentials",
    "s3_static_credentials",
]

AnyS3Credential: TypeAlias = S3Static | S3Anonymous | S3FromEnv | S3Refreshable
AnyGcsStaticCredential: TypeAlias = (
    GcsServiceAccount | GcsServiceAccountKey | GcsApplicationCredentials | GcsBearerToken
)
AnyGcsCredential: TypeAlias = GcsFromEnv | GcsAnonymous | GcsStatic | GcsRefreshable
AnyAzureStaticCredential: TypeAlias = AzureAccessKey | AzureSasToken | AzureBearerToken
AnyAzureCredential: TypeAlias = AzureFromEnv | AzureAnonymous | AzureStatic | AzureRefreshable
AnyCredential: TypeAlias = ForS3 | ForGcs | ForAzure | ForLocalFileSystem | ForHttp

#: Lets virtual chunks be read from files of this machine, and from web servers.
LocalFileSystemAccess = ForLocalFileSystem()
HttpAccess = ForHttp()


def s3_from_env_credentials() -> S3FromEnv:
    """Log in to S3 with what the environment has: variables, files, or the machine's own role."""
    return S3FromEnv()


def s3_anonymous_credentials() -> S3Anonymous:
    """Make requests to S3 without logging in."""
    return S3Anonymous()


def s3_static_credentials(
    *,
    access_key_id: str,
    secret_access_key: str,
    session_token: str | None = None,
    expires_after: datetime | None = None,
) -> S3Static:
    """Log in to S3 with a pair of keys."""
    return S3Static(S3StaticCredentials(access_key_id, secret_access_key, session_token, expires_after))


def s3_refreshable_credentials(
    get_credentials: Callable[[], S3StaticCredentials],
    scatter_initial_credentials: bool = False,
) -> S3Refreshable:
    """Log in to S3 with keys that a function makes anew when they expire.

    Parameters
    ----------
    get_credentials
        Makes keys. It is pickled, so that it can be called in other processes too.
    scatter_initial_credentials
        Call it once now, and let other processes start with these keys.
    """
    function, current = pickled(get_credentials, call=scatter_initial_credentials)
    return S3Refreshable(function, current)


def s3_credentials(
    *,
    access_key_id: str | None = None,
    secret_access_key: str | None = None,
    session_token: str | None = None,
    expires_after: datetime | None = None,
    anonymous: bool | None = None,
    from_env: bool | None = None,
    get_credentials: Callable[[], S3StaticCredentials] | None = None,
    scatter_initial_credentials: bool = False,
) -> AnyS3Credential:
    """Choose how to log in to S3: with keys, anonymously, with a function, or from the environment.

    Raises
    ------
    ValueError
        More than one way is given, or half a pair of keys.
    """
    parts = (access_key_id, secret_access_key, session_token, expires_after)
    has_keys = any(part is not None for part in parts)
    if sum((has_keys, bool(anonymous), bool(from_env), get_credentials is not None)) <= 1:
        if anonymous:
            return s3_anonymous_credentials()
        if get_credentials is not None:
            return s3_refreshable_credentials(get_credentials, scatter_initial_credentials)
        if not has_keys:
            return s3_from_env_credentials()
        if access_key_id is not None and secret_access_key is not None:
            return s3_static_credentials(
                access_key_id=access_key_id,
                secret_access_key=secret_access_key,
                session_token=session_token,
                expires_after=expires_after,
            )
    raise ValueError(
        "Conflicting arguments to s3_credentials function: give both keys, or anonymous, "
        "or get_credentials, or from_env"
    )


def gcs_from_env_credentials() -> GcsFromEnv:
    """Log in to Google Cloud Storage with what the environment has."""
    return GcsFromEnv()


def gcs_anonymous_credentials() -> GcsAnonymous:
    """Make requests to Google Cloud Storage without logging in."""
    return GcsAnonymous()


def gcs_static_credentials(
    *,
    service_account_file: str | None = None,
    service_account_key: str | None = None,
    application_credentials: str | None = None,
    bearer_token: str | None = None,
) -> AnyGcsStaticCredential:
    """Log in to Google Cloud Storage with a file, a key or a token; with the first that is given.

    Raises
    ------
    ValueError
        Nothing is given.
    """
    if service_account_file is not None:
        return GcsServiceAccount(service_account_file)
    if service_account_key is not None:
        return GcsServiceAccountKey(service_account_key)
    if application_credentials is not None:
        return GcsApplicationCredentials(application_credentials)
    if bearer_token is not None:
        return GcsBearerToken(bearer_token)
    raise ValueError("Conflicting arguments to gcs_static_credentials function: nothing is given")


def gcs_refreshable_credentials(
    get_credentials: Callable[[], GcsBearerCredential],
    scatter_initial_credentials: bool = False,
) -> GcsRefreshable:
    """Log in to Google Cloud Storage with tokens that a function makes anew when they expire.

    The parameters are those of `s3_refreshable_credentials`.
    """
    function, current = pickled(get_credentials, call=scatter_initial_credentials)
    return GcsRefreshable(function, current)


def gcs_credentials(
    *,
    service_account_file: str | None = None,
    service_account_key: str | None = None,
    application_credentials: str | None = None,
    bearer_token: str | None = None,
    from_env: bool | None = None,
    anonymous: bool | None = None,
    get_credentials: Callable[[], GcsBearerCredential] | None = None,
    scatter_initial_credentials: bool = False,
) -> AnyGcsCredential:
    """Choose how to log in to Google Cloud Storage.

    `anonymous` comes before everything else, a file, key or token before a function, and the environment
    is used if there is nothing else or it is asked for.

    Raises
    ------
    ValueError
        The environment is asked for, and something that does not come from it is given.
    """
    if anonymous:
        return gcs_anonymous_credentials()
    given = {
        "service_account_file": service_account_file,
        "service_account_key": service_account_key,
        "application_credentials": application_credentials,
        "bearer_token": bearer_token,
    }
    if any(value is not None for value in given.values()):
        if from_env:
            raise _from_env_and("gcs_credentials", given)
        return GcsStatic(gcs_static_credentials(**given))
    if from_env or get_credentials is None:
        return gcs_from_env_credentials()
    return gcs_refreshable_credentials(get_credentials, scatter_initial_credentials)


def azure_from_env_credentials() -> AzureFromEnv:
    """Log in to Azure with what the environment has."""
    return AzureFromEnv()


def azure_anonymous_credentials() -> AzureAnonymous:
    """Make requests to Azure without logging in."""
    return AzureAnonymous()


def azure_static_credentials(
    *,
    access_key: str | None = None,
    sas_token: str | None = None,
    bearer_token: str | None = None,
) -> AnyAzureStaticCredential:
    """Log in to Azure with a key, a shared access signature, or a token.

    Raises
    ------
    ValueError
        Not exactly one is given.
    """
    if sum(value is not None for value in (access_key, sas_token, bearer_token)) == 1:
        if access_key is not None:
            return AzureAccessKey(access_key)
        if sas_token is not None:
            return AzureSasToken(sas_token)
        if bearer_token is not None:
            return AzureBearerToken(bearer_token)
    raise ValueError("Conflicting arguments to azure_static_credentials function: give exactly one")


def azure_refreshable_credentials(
    get_credentials: Callable[[], AzureRefreshableCredential],
    scatter_initial_credentials: bool = False,
) -> AzureRefreshable:
    """Log in to Azure with something that a function makes anew when it expires.

    The parameters are those of `s3_refreshable_credentials`.
    """
    function, current = pickled(get_credentials, call=scatter_initial_credentials)
    return AzureRefreshable(function, current)


def azure_credentials(
    *,
    access_key: str | None = None,
    sas_token: str | None = None,
    bearer_token: str | None = None,
    from_env: bool | None = None,
    anonymous: bool | None = None,
    get_credentials: Callable[[], AzureRefreshableCredential] | None = None,
    scatter_initial_credentials: bool = False,
) -> AnyAzureCredential:
    """Choose how to log in to Azure.

    `anonymous` comes before everything else, then a function, then a key or token; the environment is
    used if there is nothing else.

    Raises
    ------
    ValueError
        The environment is asked for, and something that does not come from it is given; or two of key,
        signature and token.
    """
    if anonymous:
        return azure_anonymous_credentials()
    if get_credentials is not None:
        return azure_refreshable_credentials(get_credentials, scatter_initial_credentials)
    given = {"access_key": access_key, "sas_token": sas_token, "bearer_token": bearer_token}
    if any(value is not None for value in given.values()):
        if from_env:
            raise _from_env_and("azure_credentials", given)
        return AzureStatic(azure_static_credentials(**given))
    return azure_from_env_credentials()


def containers_credentials(m: Mapping[str, Any]) -> dict[str, AnyCredential | None]:
    """Prepare credentials for `authorize_virtual_chunk_access`.

    Parameters
    ----------
    m
        From URL prefixes of virtual chunk containers to what any of the functions of this module
        returned, to `LocalFileSystemAccess` or `HttpAccess`, or to None for the environment.

    Raises
    ------
    ValueError
        Something else is given.
    """
    return {prefix: _for_container(credential) for prefix, credential in m.items()}


def _for_container(credential: object) -> AnyCredential | None:
    match credential:
        case None:
            return None
        case S3Credentials():
            return ForS3(credential)
        case GcsCredentials():
            return ForGcs(credential)
        case AzureCredentials():
            return ForAzure(credential)
        case GcsStaticCredentials():
            return ForGcs(GcsStatic(credential))
        case AzureStaticCredentials():
            return ForAzure(AzureStatic(credential))
        case ForS3() | ForGcs() | ForAzure() | ForLocalFileSystem() | ForHttp():
            return credential
        case _:
            raise ValueError(f"Unknown credential type {type(credential)}")


def _from_env_and(function: str, given: Mapping[str, str | None]) -> ValueError:
    names = ", ".join(name for name, value in given.items() if value is not None)
    return ValueError(f"Conflicting arguments to {function} function: from_env and {names}")

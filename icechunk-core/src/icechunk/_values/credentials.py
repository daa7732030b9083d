"""Credentials as plain records. What they give access to is decided by whoever gets them.

Nothing here ever shows a secret: not in `repr`, not in `str`, not in an error message.
"""

from __future__ import annotations

import pickle
from typing import TYPE_CHECKING, ClassVar

from icechunk._display.blocks import Block
from icechunk._display.literals import datetime_text
from icechunk._values.checks import instance, required, text
from icechunk._values.records import Forms, Frozen, Numbered, aware, public_name, variant
from icechunk._values.settings import Field, Settings

if TYPE_CHECKING:
    from collections.abc import Callable
    from datetime import datetime
    from typing import Any

__all__ = [
    "AzureCredentials",
    "AzureRefreshableCredential",
    "AzureStaticCredentials",
    "Credentials",
    "GcsBearerCredential",
    "GcsCredentials",
    "GcsStaticCredentials",
    "S3Credentials",
    "S3StaticCredentials",
]

_HIDDEN = "****"
# How much of an access key id is shown: enough to tell two apart, and what AWS's own logs show too.
_SHOWN_OF_AN_ID = 4

_text = required(text)


class _Secretive(Frozen):
    """A record whose repr names its class and hides what it holds."""

    __slots__ = ()

    def __repr__(self) -> str:
        return f"{public_name(type(self))}({', '.join([_HIDDEN] * len(self._field_names()))})"


def _moment(_name: str, value: Any) -> datetime | None:
    return None if value is None else aware(value)


class S3StaticCredentials(Settings):
    """A pair of keys, and if they are temporary, what belongs to that."""

    __slots__ = ()
    __module__ = "icechunk.credentials"

    access_key_id = Field(_text)
    secret_access_key = Field(_text)
    session_token = Field(text)
    expires_after = Field(_moment)

    def __init__(
        self,
        access_key_id: str,
        secret_access_key: str,
        session_token: str | None = None,
        expires_after: datetime | None = None,
    ) -> None:
        self.access_key_id = access_key_id
        self.secret_access_key = secret_access_key
        self.session_token = session_token
        self.expires_after = expires_after

    def __hash__(self) -> int:  # type: ignore[override]  # other settings have none
        # All alike: what they are equal by can change, and a hash may not.
        return hash(type(self))

    def _block(self) -> Block:
        until = self.expires_after
        return Block(
            public_name(type(self)),
            [
                ("access_key_id", self.access_key_id[:_SHOWN_OF_AN_ID] + _HIDDEN),
                ("secret_access_key", _HIDDEN),
                ("session_token", "None" if self.session_token is None else _HIDDEN),
                ("expires_after", "None" if until is None else datetime_text(until)),
            ],
        )

    def __repr__(self) -> str:
        return self._block().text()


class _Refreshable(_Secretive):
    """A pickled function that makes new credentials, and those that it has already made."""

    __slots__ = ()

    pickled_function: bytes
    current: object

    _current_type: ClassVar[type]

    def __init__(self, pickled_function: bytes, current: object = None) -> None:
        self._fill(
            required(instance(bytes))("pickled_function", pickled_function),
            instance(self._current_type)("current", current),
        )


class _Static(Numbered, _Secretive):
    """One secret."""

    __slots__ = ()

    secret: str

    def __init__(self, _0: str) -> None:
        self._fill(_text("secret", _0))


class S3Credentials(_Secretive, Forms):
    """How to log in to a service that speaks S3."""

    __slots__ = ()
    __module__ = "icechunk.credentials"

    FromEnv: ClassVar[type[S3FromEnv]]
    Anonymous: ClassVar[type[S3Anonymous]]
    Static: ClassVar[type[S3Static]]
    Refreshable: ClassVar[type[S3Refreshable]]


@variant(S3Credentials, "FromEnv")
class S3FromEnv(Numbered, S3Credentials):
    """What the environment has: variables, files, or the machine's own role."""

    __slots__ = ()


@variant(S3Credentials, "Anonymous")
class S3Anonymous(Numbered, S3Credentials):
    """None."""

    __slots__ = ()


@variant(S3Credentials, "Static")
class S3Static(Numbered, S3Credentials):
    """Keys that do not change."""

    __slots__ = ("credentials",)
    __match_args__ = ("_0",)

    credentials: S3StaticCredentials

    def __init__(self, _0: S3StaticCredentials) -> None:
        self._fill(required(instance(S3StaticCredentials))("credentials", _0))


@variant(S3Credentials, "Refreshable")
class S3Refreshable(_Refreshable, S3Credentials):
    """Keys that a function makes anew when they expire."""

    __slots__ = ("pickled_function", "current")
    __match_args__ = ("pickled_function", "current")
    _current_type = S3StaticCredentials


class GcsBearerCredential(_Secretive):
    """A token of Google Cloud, and until when it is valid."""

    __slots__ = ("bearer", "expires_after")
    __module__ = "icechunk.credentials"

    bearer: str
    expires_after: datetime | None

    def __init__(self, bearer: str, *, expires_after: datetime | None = None) -> None:
        self._fill(_text("bearer", bearer), _moment("expires_after", expires_after))


class GcsStaticCredentials(_Secretive, Forms):
    """How to log in to Google Cloud with something that does not change."""

    __slots__ = ()
    __module__ = "icechunk.credentials"

    ServiceAccount: ClassVar[type[GcsServiceAccount]]
    ServiceAccountKey: ClassVar[type[GcsServiceAccountKey]]
    ApplicationCredentials: ClassVar[type[GcsApplicationCredentials]]
    BearerToken: ClassVar[type[GcsBearerToken]]


@variant(GcsStaticCredentials, "ServiceAccount")
class GcsServiceAccount(_Static, GcsStaticCredentials):
    """The path of a service account's key file."""

    __slots__ = ("secret",)
    __match_args__ = ("_0",)


@variant(GcsStaticCredentials, "ServiceAccountKey")
class GcsServiceAccountKey(_Static, GcsStaticCredentials):
    """The contents of a service account's key file."""

    __slots__ = ("secret",)
    __match_args__ = ("_0",)


@variant(GcsStaticCredentials, "ApplicationCredentials")
class GcsApplicationCredentials(_Static, GcsStaticCredentials):
    """The path of a file with application default credentials."""

    __slots__ = ("secret",)
    __match_args__ = ("_0",)


@variant(GcsStaticCredentials, "BearerToken")
class GcsBearerToken(_Static, GcsStaticCredentials):
    """A token."""

    __slots__ = ("secret",)
    __match_args__ = ("_0",)


class GcsCredentials(_Secretive, Forms):
    """How to log in to Google Cloud Storage."""

    __slots__ = ()
    __module__ = "icechunk.credentials"

    FromEnv: ClassVar[type[GcsFromEnv]]
    Anonymous: ClassVar[type[GcsAnonymous]]
    Static: ClassVar[type[GcsStatic]]
    Refreshable: ClassVar[type[GcsRefreshable]]


@variant(GcsCredentials, "FromEnv")
class GcsFromEnv(Numbered, GcsCredentials):
    """What the environment has."""

    __slots__ = ()


@variant(GcsCredentials, "Anonymous")
class GcsAnonymous(Numbered, GcsCredentials):
    """None."""

    __slots__ = ()


@variant(GcsCredentials, "Static")
class GcsStatic(Numbered, GcsCredentials):
    """Something that does not change."""

    __slots__ = ("credentials",)
    __match_args__ = ("_0",)

    credentials: GcsStaticCredentials

    def __init__(self, _0: GcsStaticCredentials) -> None:
        self._fill(required(instance(GcsStaticCredentials))("credentials", _0))


@variant(GcsCredentials, "Refreshable")
class GcsRefreshable(_Refreshable, GcsCredentials):
    """Tokens that a function makes anew when they expire."""

    __slots__ = ("pickled_function", "current")
    __match_args__ = ("pickled_function", "current")
    _current_type = GcsBearerCredential


class AzureStaticCredentials(_Secretive, Forms):
    """How to log in to Azure with something that does not change."""

    __slots__ = ()
    __module__ = "icechunk.credentials"

    AccessKey: ClassVar[type[AzureAccessKey]]
    SasToken: ClassVar[type[AzureSasToken]]
    BearerToken: ClassVar[type[AzureBearerToken]]


@variant(AzureStaticCredentials, "AccessKey")
class AzureAccessKey(_Static, AzureStaticCredentials):
    """The key of a storage account."""

    __slots__ = ("secret",)
    __match_args__ = ("_0",)


@variant(AzureStaticCredentials, "SasToken")
class AzureSasToken(_Static, AzureStaticCredentials):
    """A shared access signature."""

    __slots__ = ("secret",)
    __match_args__ = ("_0",)


@variant(AzureStaticCredentials, "BearerToken")
class AzureBearerToken(_Static, AzureStaticCredentials):
    """A token."""

    __slots__ = ("secret",)
    __match_args__ = ("_0",)


class AzureRefreshableCredential(_Secretive, Forms):
    """Something to log in to Azure with, and until when it is valid."""

    __slots__ = ()
    __module__ = "icechunk.credentials"

    AccessKey: ClassVar[type[AzureRefreshableAccessKey]]
    SasToken: ClassVar[type[AzureRefreshableSasToken]]
    BearerToken: ClassVar[type[AzureRefreshableBearerToken]]


@variant(AzureRefreshableCredential, "AccessKey")
class AzureRefreshableAccessKey(AzureRefreshableCredential):
    """The key of a storage account."""

    __slots__ = ("key", "expires_after")
    __match_args__ = ("key", "expires_after")

    key: str
    expires_after: datetime | None

    def __init__(self, key: str, expires_after: datetime | None = None) -> None:
        self._fill(_text("key", key), _moment("expires_after", expires_after))


@variant(AzureRefreshableCredential, "SasToken")
class AzureRefreshableSasToken(AzureRefreshableCredential):
    """A shared access signature."""

    __slots__ = ("token", "expires_after")
    __match_args__ = ("token", "expires_after")

    token: str
    expires_after: datetime | None

    def __init__(self, token: str, expires_after: datetime | None = None) -> None:
        self._fill(_text("token", token), _moment("expires_after", expires_after))


@variant(AzureRefreshableCredential, "BearerToken")
class AzureRefreshableBearerToken(AzureRefreshableCredential):
    """A token."""

    __slots__ = ("bearer", "expires_after")
    __match_args__ = ("bearer", "expires_after")

    bearer: str
    expires_after: datetime | None

    def __init__(self, bearer: str, expires_after: datetime | None = None) -> None:
        self._fill(_text("bearer", bearer), _moment("expires_after", expires_after))


class AzureCredentials(_Secretive, Forms):
    """How to log in to Azure Blob Storage."""

    __slots__ = ()
    __module__ = "icechunk.credentials"

    FromEnv: ClassVar[type[AzureFromEnv]]
    Anonymous: ClassVar[type[AzureAnonymous]]
    Static: ClassVar[type[AzureStatic]]
    Refreshable: ClassVar[type[AzureRefreshable]]


@variant(AzureCredentials, "FromEnv")
class AzureFromEnv(Numbered, AzureCredentials):
    """What the environment has."""

    __slots__ = ()


@variant(AzureCredentials, "Anonymous")
class AzureAnonymous(Numbered, AzureCredentials):
    """None."""

    __slots__ = ()


@variant(AzureCredentials, "Static")
class AzureStatic(Numbered, AzureCredentials):
    """Something that does not change."""

    __slots__ = ("credentials",)
    __match_args__ = ("_0",)

    credentials: AzureStaticCredentials

    def __init__(self, _0: AzureStaticCredentials) -> None:
        self._fill(required(instance(AzureStaticCredentials))("credentials", _0))


@variant(AzureCredentials, "Refreshable")
class AzureRefreshable(_Refreshable, AzureCredentials):
    """Something that a function makes anew when it expires."""

    __slots__ = ("pickled_function", "current")
    __match_args__ = ("pickled_function", "current")
    _current_type = AzureRefreshableCredential


class Credentials(_Secretive, Forms):
    """How to log in to the store behind a virtual chunk container."""

    __slots__ = ()
    __module__ = "icechunk.credentials"

    S3: ClassVar[type[ForS3]]
    Gcs: ClassVar[type[ForGcs]]
    Azure: ClassVar[type[ForAzure]]
    LocalFileSystemAccess: ClassVar[type[ForLocalFileSystem]]
    HttpAccess: ClassVar[type[ForHttp]]


@variant(Credentials, "S3")
class ForS3(Numbered, Credentials):
    """Access to containers on S3."""

    __slots__ = ("credentials",)
    __match_args__ = ("_0",)

    credentials: S3Credentials

    def __init__(self, _0: S3Credentials) -> None:
        self._fill(required(instance(S3Credentials))("credentials", _0))


@variant(Credentials, "Gcs")
class ForGcs(Numbered, Credentials):
    """Access to containers on Google Cloud Storage."""

    __slots__ = ("credentials",)
    __match_args__ = ("_0",)

    credentials: GcsCredentials

    def __init__(self, _0: GcsCredentials) -> None:
        self._fill(required(instance(GcsCredentials))("credentials", _0))


@variant(Credentials, "Azure")
class ForAzure(Numbered, Credentials):
    """Access to containers on Azure."""

    __slots__ = ("credentials",)
    __match_args__ = ("_0",)

    credentials: AzureCredentials

    def __init__(self, _0: AzureCredentials) -> None:
        self._fill(required(instance(AzureCredentials))("credentials", _0))


@variant(Credentials, "LocalFileSystemAccess")
class ForLocalFileSystem(Numbered, Credentials):
    """Access to files of this machine, which need no credentials."""

    __slots__ = ()


@variant(Credentials, "HttpAccess")
class ForHttp(Numbered, Credentials):
    """Access to web servers, which need no credentials."""

    __slots__ = ()


def pickled(function: Callable[[], object], *, call: bool) -> tuple[bytes, object]:
    """Pickle a function that makes credentials, and if asked, call it once before it travels.

    Everything that holds the record can then be sent to another process without calling it there.
    """
    return pickle.dumps(function), function() if call else None

"""The storage contract: what a backend must do so that repositories can live on it.

A backend maps *paths* (text such as ``chunks/ZD7MT61G0CKKBHJ186KG``, relative to the repository's
root, parts joined by ``/``) to *objects* (bytes, with a version). Write a class with the five abstract
methods and the two properties of `StorageBackend`, register it with
`icechunk.plugins.hookspecs.icechunk_storage_providers`, and let your tests inherit
`icechunk.testing.conformance.StorageConformance`, which has one test for each rule below.

The rules
---------
1. **Read after write.** When `~StorageBackend.put` has returned, every later read in every process
   sees the new object; when `~StorageBackend.delete` has returned, none sees the old one. Lists too.
2. **All or nothing.** A reader sees an object as it was before a put or as it is after, whole. The
   one exception is ``fresh=True``: the caller promises a new random path that nothing refers to yet,
   so the object may be written in place.
3. **One winner.** Of several puts with the same expectation, at most one lands. The others are told
   `LostRace`, which is an answer and no exception, and leave no trace.
4. **Versions.** Each whole read, `~StorageBackend.stat` and conditional put tells the object's
   version, and all three agree. A put of other bytes makes another version. What the text means is
   the backend's affair (an etag, a generation, a counter); others only compare it.
5. **No false certainty.** `Landed` and `LostRace` are said only when they are known. If the answer to
   a conditional put was lost, or if a repeated attempt fails the precondition that an earlier attempt
   of the same call may itself have changed, the outcome is `Unknown`; the engine then finds out
   from the repository's history. A put without expectation is repeated instead, and at last raises.
6. **Absence is told apart.** Reading what is not there raises `ObjectNotFoundError`; every other
   failure is another `StorageError` with the original as its cause. A missing object is no failure in
   `~StorageBackend.delete`.
7. **Ranges are exact.** A range yields exactly its bytes; one that reaches past the end raises
   `StorageError` of kind ``invalid-object-size``.
8. **Lists are complete.** `~StorageBackend.list` yields each object whose path starts with the
   prefix, as text, once, with its size and time, and nothing half written. The order is free.
9. **Paths stay inside.** A path that is absolute, or has an empty, ``.`` or ``..`` part, is refused
   (`check_object_path`), so that no path reaches outside of the root.
10. **Many threads.** Every method may be called from several threads at once, on one backend or on
    several that are connected to one location, in one process or in several.

A backend repeats by itself what may be repeated, as the settings of its connection say (``retries``,
``timeouts``); the engine does not repeat what raised. It blocks. It is made by ``StorageProvider.connect`` in the process that uses it and never
pickled: the `~icechunk.abc.Location` travels instead.
"""

from __future__ import annotations

import re
import sys
from abc import ABC, abstractmethod
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from enum import Enum
from types import MappingProxyType
from typing import TYPE_CHECKING, Final, Literal, NamedTuple, TypeAlias

from icechunk.errors import ErrorKind, InternalError, InvalidInputError, ObjectNotFoundError, StorageError

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence
    from datetime import datetime

if sys.version_info >= (3, 12):
    from collections.abc import Buffer
else:
    from typing_extensions import Buffer

__all__ = [
    "ANY",
    "NOT_YET_CREATED",
    "NO_METADATA",
    "UNCHANGED",
    "Buffer",
    "ByteRange",
    "Capabilities",
    "CopyOutcome",
    "DeleteFailure",
    "Expectation",
    "Fetched",
    "Landed",
    "Locality",
    "LostRace",
    "ObjectInfo",
    "ObjectKind",
    "PutOutcome",
    "StorageBackend",
    "Unchanged",
    "Unknown",
    "Version",
    "check_object_path",
]

ByteRange: TypeAlias = tuple[int, int | None]
"""Start and stop in bytes, stop excluded; stop ``None`` means to the end. ``0 <= start < stop``: nobody asks for an empty range."""

NO_METADATA: Final[Mapping[str, str]] = MappingProxyType({})


class Version(str):
    """Which state of an object this is: opaque text, equal when the object is the same.

    An etag with its quotes, a generation number, a counter: whatever the backend can compare and
    state as a condition.
    """

    __slots__ = ()

    def __repr__(self) -> str:
        return f"Version({str(self)!r})"


class Expect(Enum):
    """The expectations of a put that are no `Version`; use `ANY` and `NOT_YET_CREATED`."""

    ANY = "any"
    NOT_YET_CREATED = "not yet created"


ANY: Final = Expect.ANY
"""Put whatever is there."""

NOT_YET_CREATED: Final = Expect.NOT_YET_CREATED
"""Put only if there is no such object."""

Expectation: TypeAlias = Version | Literal[Expect.ANY, Expect.NOT_YET_CREATED]
"""What must be true of the object for a put to land; a `Version` means: it is still this one."""


class Unchanged(Enum):
    """The answer of `StorageBackend.get` when the object still has the version that the caller knows."""

    UNCHANGED = "unchanged"


UNCHANGED: Final = Unchanged.UNCHANGED


class ObjectKind(Enum):
    """What an object is, for backends that place kinds differently (storage classes, durability)."""

    CHUNK = "chunk"
    """Array data. Written once."""
    METADATA = "metadata"
    """Snapshots, manifests, transaction logs, backups. Written once."""
    REF = "ref"
    """What changes in place: ``repo``, the refs of spec 1, ``config.yaml``."""


class Locality(Enum):
    """How far away the bytes are: the engine decides by it what is worth a thread or a cache."""

    MEMORY = "memory"
    """A read costs about as much as a function call."""
    LOCAL = "local"
    """A small read costs some microseconds; it is done in place, without a thread."""
    REMOTE = "remote"
    """A read is a round trip."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Capabilities:
    """What a backend can do beyond the minimum, under the settings it was connected with."""

    conditional_put: bool = True
    """An expectation is honoured. If false, every put overwrites, and concurrent writers may lose commits."""
    user_metadata: bool = False
    """``user_metadata`` is stored with the object, and `StorageBackend.stat` tells it."""
    server_side_copy: bool = False
    """`StorageBackend.copy` moves no bytes through this process."""
    write: bool = True
    """If false, the storage is read-only: nothing may be put, copied or deleted."""


class Fetched(NamedTuple):
    """What a read brought. (A tuple: it is made for each chunk, and a dataclass takes twice the time.)"""

    data: bytes | memoryview
    """The bytes. A view may look into a file or into the store itself, and is not to be written to."""
    version: Version | None
    """Never ``None`` for a whole object on a backend with conditional puts; may be ``None`` for a range."""


class ObjectInfo(NamedTuple):
    """What is known of an object without reading it. (A tuple: a list may have millions of them.)"""

    path: str
    size_bytes: int
    created_at: datetime
    """When this version was written, by the storage's clock, in UTC."""
    version: Version | None = None
    """Always there in answers of `StorageBackend.stat`; in lists if it costs nothing."""
    user_metadata: Mapping[str, str] = NO_METADATA
    """In answers of `StorageBackend.stat`, if the backend stores it; in lists always empty."""


@dataclass(frozen=True, slots=True)
class Landed:
    """The put was made: from now on every reader sees this object."""

    version: Version | None
    """The new version; never ``None`` after a put with an expectation."""


@dataclass(frozen=True, slots=True)
class LostRace:
    """The object was not what the caller expected, and was left as it is."""


@dataclass(frozen=True, slots=True)
class Unknown:
    """The answer was lost: the put may have been made, or not, or may still be made."""

    cause: BaseException | None = None


PutOutcome: TypeAlias = Landed | LostRace | Unknown
CopyOutcome: TypeAlias = Landed | LostRace


class DeleteFailure(NamedTuple):
    """An object that could not be deleted, and why."""

    path: str
    reason: str


class StorageBackend(ABC):
    """A connection to one root, under which the objects of one repository lie.

    The module's docstring has the rules. Abstract are `locality`, `can`, `get`, `put`, `stat`,
    `delete` and `list`; everything else has a default over these, to be overridden where the vendor
    has something better.
    """

    @property
    @abstractmethod
    def locality(self) -> Locality:
        """How far away the bytes are."""

    @property
    @abstractmethod
    def can(self) -> Capabilities:
        """What this backend can do, under its settings."""

    # -- the primitives -------------------------------------------------------------------------

    @abstractmethod
    def get(
        self,
        path: str,
        range: ByteRange | None = None,  # noqa: A002 (the word that everybody uses)
        *,
        unless: Version | None = None,
    ) -> Fetched | Literal[Unchanged.UNCHANGED]:
        """Read an object, or some of its bytes.

        One request. `unless` is a version that the caller has already: if the object still has it,
        the answer is `UNCHANGED`, without the bytes. It comes with no `range`.

        Raises
        ------
        ObjectNotFoundError
            There is no such object.
        StorageError
            Of kind ``invalid-object-size`` if `range` reaches past the end; of others for failures.
        """

    @abstractmethod
    def put(
        self,
        path: str,
        data: Buffer,
        *,
        expected: Expectation = ANY,
        kind: ObjectKind = ObjectKind.METADATA,
        fresh: bool = False,
        content_type: str | None = None,
        user_metadata: Mapping[str, str] = NO_METADATA,
    ) -> PutOutcome:
        """Write an object, if what is there is what the caller expects.

        Parameters
        ----------
        path
            Where. Folders, if the storage has such a thing, come into being by themselves.
        data
            A C-contiguous buffer, of any item type; its bytes are the object. It is not kept after the
            call, and not copied more often than the transport needs. Large objects may go up in parts;
            they appear at once all the same.
        expected
            With another expectation than `ANY` the put is conditional, and exactly one of several that
            race lands. If the connection's settings switch conditions off
            (``unsafe_use_conditional_create``, ``unsafe_use_conditional_update``), a remote backend
            treats the expectation as `ANY`.
        kind
            What the object is; may decide on its storage class.
        fresh
            The path is new and random, and nothing refers to it yet. The object need not appear at
            once, nor be whole after a crash; `expected` is `ANY`.
        content_type, user_metadata
            Stored with the object where the storage can. User metadata is stored only if
            ``can.user_metadata``, and ignored otherwise. Keys are lower case letters.

        Returns
        -------
        Landed | LostRace | Unknown
            Always `Landed` without an expectation.

        Raises
        ------
        StorageError
            The put failed, and surely has not been made; or it had no expectation and failed, and may
            be repeated.
        ReadOnlyError
            The storage is read-only.
        """

    @abstractmethod
    def stat(self, path: str) -> ObjectInfo:
        """Tell an object's size, time, version and user metadata, without reading it.

        Raises
        ------
        ObjectNotFoundError
            There is no such object.
        """

    @abstractmethod
    def delete(self, paths: Iterable[str]) -> Sequence[DeleteFailure]:
        """Delete objects, in as few requests as possible, and tell which could not be deleted.

        A path without an object counts as deleted. One failure does not stop the others; that nothing
        could be tried at all (no connection, no permission) may raise `StorageError`.
        """

    @abstractmethod
    def list(self, prefix: str = "") -> Iterator[ObjectInfo]:
        """Yield every object whose path starts with `prefix`, as text; all for an empty prefix.

        Paths are full, the order is free. Objects that come or go meanwhile may be there or not.
        Nothing to list is an empty iterator and no error, even if the root does not exist.
        """

    # -- with defaults ------------------------------------------------------------------------

    def list_paths(self, prefix: str = "") -> Iterator[str]:
        """Yield only the paths of `list`, which on some storage is cheaper."""
        for info in self.list(prefix):
            yield info.path

    def fetch(self, path: str, range: ByteRange | None = None) -> Fetched:  # noqa: A002
        """Read an object or a range unconditionally: `get` for callers who know no version."""
        fetched = self.get(path, range)
        if fetched is UNCHANGED:
            raise InternalError(f"storage answered `unchanged` to an unconditional read of `{path}`")
        return fetched

    def get_ranges(self, path: str, ranges: Sequence[ByteRange]) -> Sequence[bytes | memoryview]:
        """Read several ranges of one object, in the order of `ranges`. Default: one `get` each."""
        return [self.fetch(path, wanted).data for wanted in ranges]

    def read_into(self, path: str, start: int, target: memoryview) -> None:
        """Fill `target` (writable, contiguous bytes) with the object's bytes from `start` on.

        With it, parts of a large object arrive side by side in one buffer. Default: `get`, and a copy.

        Raises
        ------
        ObjectNotFoundError
            There is no such object.
        StorageError
            Of kind ``invalid-object-size`` if the object ends before `target` is full.
        """
        if len(target):
            target[:] = self.fetch(path, (start, start + len(target))).data

    def stream(self, path: str, *, part_bytes: int = 8 * 2**20) -> Iterator[bytes | memoryview]:
        """Yield a whole object in parts of at most `part_bytes`, for what need not be in memory at once.

        For objects that are written once. Default: `stat`, then a `get` for each part.
        """
        size = self.stat(path).size_bytes
        for start in range(0, size, part_bytes):
            yield self.fetch(path, (start, min(start + part_bytes, size))).data

    def copy(
        self,
        source: str,
        target: str,
        *,
        expected: Version | None = None,
        kind: ObjectKind = ObjectKind.METADATA,
    ) -> CopyOutcome:
        """Copy an object to `target` (overwriting it), if it is still the `expected` version.

        The copy is the expected version or nothing: a source that changes meanwhile, or that is not
        there any more, is a `LostRace`. Bytes are copied; user metadata need not be. A repeated copy
        does no harm, so that a lost answer is repeated and is never `Unknown`.
        Default: `get`, compare, `put`.

        Raises
        ------
        ObjectNotFoundError
            There is no such source, and none was `expected`.
        """
        try:
            fetched = self.fetch(source)
        except ObjectNotFoundError:
            if expected is None:
                raise
            return LostRace()
        if expected is not None and fetched.version != expected:
            return LostRace()
        outcome = self.put(target, fetched.data, kind=kind)
        if not isinstance(outcome, Landed):
            raise StorageError(
                f"storage could not tell whether it wrote `{target}`, which had no condition",
                kind=ErrorKind.STORAGE_OTHER,
            )
        return outcome

    def replace(
        self,
        path: str,
        data: Buffer,
        *,
        expected: Version,
        backup: str | None = None,
        kind: ObjectKind = ObjectKind.REF,
        content_type: str | None = None,
        user_metadata: Mapping[str, str] = NO_METADATA,
    ) -> PutOutcome:
        """Compare and set, after a copy of the old object to `backup` under the same condition.

        When `path` has the new object, the backup is there. A lost race may leave a backup, to which
        nobody refers. Default: `copy`, then `put`.
        """
        if backup is not None and isinstance(self.copy(path, backup, expected=expected), LostRace):
            return LostRace()
        return self.put(
            path,
            data,
            expected=expected,
            kind=kind,
            content_type=content_type,
            user_metadata=user_metadata,
        )

    def exclusive(self, path: str) -> AbstractContextManager[None]:
        """Hold off other writers of `path` while the caller reads, thinks and writes.

        For storage whose own puts cannot be conditional without a lock: there the context is that
        lock, which the puts of the same thread then use instead of taking it again. It is held by
        one thread, for as long as computing the new object takes. Readers never wait. Correctness does
        not rest on it (expectations do that), but without it losers repeat their work.
        Default: nothing, for storage that compares by itself.
        """
        return nullcontext()

    def close(self) -> None:  # noqa: B027 (nothing is a good default)
        """Let go of connections. The backend is not used afterwards. Default: nothing."""


# An empty path or part, `.`, `..`; and what some filesystem takes for a separator or an end.
_BAD_PATH = re.compile(r"(?:\A|/)\.{0,2}(?:/|\Z)|[\0\\]")


def check_object_path(path: str) -> None:
    """Refuse a path that is no relative path of plain parts.

    Raises
    ------
    InvalidInputError
        Of kind ``invalid-path``.
    """
    if _BAD_PATH.search(path) is not None:
        raise InvalidInputError(
            f"invalid object path `{path!r}`: expected parts joined by `/`, none of them empty, `.` or `..`",
            kind=ErrorKind.INVALID_PATH,
        )

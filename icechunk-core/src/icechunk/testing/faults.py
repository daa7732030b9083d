"""Storage that counts what it is asked, and fails on command.

::

    storage = FaultInjectingStorage(in_memory_storage())
    repo = Repository.create(storage)
    storage.faults.fail("put", "repo", after_effect=True)    # the next put of `repo` lands, and raises
    storage.faults.lose_answer("repo", landed=False)         # the one after is never made: `Unknown`
    ...
    assert storage.faults.count("get", "chunks/*") == 1
"""

from __future__ import annotations

import sys
import threading
import time
from collections import Counter
from dataclasses import dataclass
from fnmatch import fnmatchcase
from typing import TYPE_CHECKING, Literal, NamedTuple, TypeAlias, TypeVar

from icechunk.abc import (
    ANY,
    NO_METADATA,
    Buffer,
    ByteRange,
    Capabilities,
    CopyOutcome,
    DeleteFailure,
    Expectation,
    Fetched,
    Locality,
    Location,
    ObjectInfo,
    ObjectKind,
    PutOutcome,
    StorageBackend,
    StorageProvider,
    Unchanged,
    Unknown,
    Version,
)
from icechunk.errors import ErrorKind, StorageError
from icechunk.plugins import registry
from icechunk.plugins.hookspecs import hookimpl
from icechunk.storage import Storage

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
    from contextlib import AbstractContextManager

    from icechunk._values.storage_settings import StorageSettings

__all__ = ["FaultInjectingBackend", "FaultInjectingStorage", "Faults", "Operation", "Request"]

T = TypeVar("T")

_KIND = "testing-faults"

Operation: TypeAlias = Literal["get", "put", "stat", "delete", "list", "copy"]


class Request(NamedTuple):
    """One request that was made."""

    operation: Operation
    path: str
    """The object; of a copy the source, of a list the prefix, and one request for each deleted path."""
    size_bytes: int | None
    """Of a put, what was sent; of a range, what was asked for; else ``None``."""


@dataclass(slots=True, kw_only=True)
class _Rule:
    """What happens to some requests."""

    operation: Operation | None
    path: str
    after_effect: bool
    skip: int
    times: int | None
    action: Callable[[], None] | None = None
    """Runs, and may raise."""
    lost: bool | None = None
    """For the lost answer of a put: whether it is made."""

    def takes(self, request: Request) -> bool:
        """Tell whether this request is one of them, and count it."""
        if self.operation not in {None, request.operation} or not fnmatchcase(request.path, self.path):
            return False
        if self.skip:
            self.skip -= 1
            return False
        if self.times is None:
            return True
        self.times -= 1
        return self.times >= 0


class Faults:
    """What is to go wrong, and what was asked. Safe from several threads.

    Shared by all connections of one `FaultInjectingStorage` in one process. It travels nowhere: what
    is unpickled elsewhere counts for itself and lets everything through.

    In all methods, `operation` is one of ``get``, ``put``, ``stat``, ``delete``, ``list`` and ``copy``
    (``None``: any), `path` a pattern as of `fnmatch`, `times` how many of the matching requests are meant
    (``None``: all from now on), and `skip` how many go through before.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._rules: list[_Rule] = []
        self.requests: list[Request] = []
        """What was asked, in the order of asking."""

    def __reduce__(self) -> tuple[type[Faults], tuple[()]]:
        return Faults, ()

    def count(self, operation: Operation | None = None, path: str = "*") -> int:
        """Tell how many requests were made since the last `forget`."""
        return sum(
            operation in {None, request.operation} and fnmatchcase(request.path, path)
            for request in list(self.requests)
        )

    def counts(self) -> Counter[Operation]:
        """Tell how many requests of each operation were made since the last `forget`."""
        return Counter(request.operation for request in list(self.requests))

    def forget(self) -> None:
        """Begin to count anew."""
        with self._lock:
            self.requests.clear()

    def stop(self) -> None:
        """Let everything through from now on."""
        with self._lock:
            self._rules.clear()

    def run(
        self,
        action: Callable[[], object],
        operation: Operation | None = None,
        path: str = "*",
        *,
        after_effect: bool = False,
        times: int | None = 1,
        skip: int = 0,
    ) -> None:
        """Call `action` before (or after) the effect of requests; what it raises, the request raises.

        With it, a race is no matter of luck: let another writer win in `action`.
        """

        def act() -> None:
            action()

        self._add(
            _Rule(
                operation=operation, path=path, after_effect=after_effect, skip=skip, times=times, action=act
            )
        )

    def delay(
        self,
        seconds: float,
        operation: Operation | None = None,
        path: str = "*",
        *,
        after_effect: bool = False,
        times: int | None = None,
        skip: int = 0,
    ) -> None:
        """Let requests take longer."""
        self.run(
            lambda: time.sleep(seconds), operation, path, after_effect=after_effect, times=times, skip=skip
        )

    def fail(
        self,
        operation: Operation | None = None,
        path: str = "*",
        *,
        after_effect: bool = False,
        times: int | None = 1,
        skip: int = 0,
        error: BaseException | None = None,
    ) -> None:
        """Let requests raise (a `StorageError`, if nothing else is given), without or after their effect."""

        def act() -> None:
            raise StorageError("injected failure", ErrorKind.OBJECT_STORE) if error is None else error

        self.run(act, operation, path, after_effect=after_effect, times=times, skip=skip)

    def lose_answer(self, path: str = "*", *, landed: bool, times: int | None = 1, skip: int = 0) -> None:
        """Let puts end without an answer, whether they are made (`landed`) or not.

        A put with an expectation answers `~icechunk.abc.Unknown`; one without raises.
        """
        self._add(_Rule(operation="put", path=path, after_effect=landed, skip=skip, times=times, lost=landed))

    def _add(self, rule: _Rule) -> None:
        with self._lock:
            self._rules.append(rule)

    def _pass(self, request: Request, effect: Callable[[], T]) -> T | Unknown:
        """Make a request under the rules."""
        with self._lock:
            self.requests.append(request)
            rules = [rule for rule in self._rules if rule.takes(request)]
        for rule in rules:
            if rule.lost is False:
                return Unknown()
            if rule.action is not None and not rule.after_effect:
                rule.action()
        result = effect()
        for rule in rules:
            if rule.lost:
                return Unknown()
            if rule.action is not None and rule.after_effect:
                rule.action()
        return result


class FaultInjectingStorage(Storage):
    """Another storage, whose requests are counted, and fail as `faults` says.

    Parameters
    ----------
    inner
        The storage that has the objects.
    locality
        How far away it is to seem; ``None`` as `inner`.
    """

    __slots__ = ()

    def __init__(self, inner: Storage, *, locality: Locality | None = None) -> None:
        self._location = Location(
            _KIND,
            inner.location.root,
            {"inner": inner.location, "faults": Faults(), "locality": locality},
        )

    @property
    def faults(self) -> Faults:
        """What is to go wrong, and what was asked."""
        faults: Faults = self._location.options["faults"]
        return faults


class FaultInjectingBackend(StorageBackend):
    """Passes requests on to another backend, under the rules of `faults`.

    What has a default in the contract is made of the counted requests: replacing is a copy and a put,
    and a program can die in between. Locks are the other backend's.
    """

    def __init__(self, inner: StorageBackend, faults: Faults, *, locality: Locality | None = None) -> None:
        self._inner = inner
        self._faults = faults
        self._locality = inner.locality if locality is None else locality

    @property
    def locality(self) -> Locality:
        """As the storage was told to seem."""
        return self._locality

    @property
    def can(self) -> Capabilities:
        """What the other backend can."""
        return self._inner.can

    def get(
        self,
        path: str,
        range: ByteRange | None = None,  # noqa: A002
        *,
        unless: Version | None = None,
    ) -> Fetched | Literal[Unchanged.UNCHANGED]:
        """Count, and read."""
        size = range[1] - range[0] if range is not None and range[1] is not None else None
        return _answered(
            self._faults._pass(
                Request("get", path, size), lambda: self._inner.get(path, range, unless=unless)
            )
        )

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
        """Count, and write."""

        def effect() -> PutOutcome:
            return self._inner.put(
                path,
                data,
                expected=expected,
                kind=kind,
                fresh=fresh,
                content_type=content_type,
                user_metadata=user_metadata,
            )

        outcome = self._faults._pass(Request("put", path, memoryview(data).nbytes), effect)
        if expected is ANY and isinstance(outcome, Unknown):
            raise _lost()
        return outcome

    def stat(self, path: str) -> ObjectInfo:
        """Count, and ask."""
        return _answered(self._faults._pass(Request("stat", path, None), lambda: self._inner.stat(path)))

    def delete(self, paths: Iterable[str]) -> Sequence[DeleteFailure]:
        """Count, and delete, one by one."""
        failures: list[DeleteFailure] = []
        for path in paths:
            failures += _answered(self._faults._pass(Request("delete", path, None), self._deleting(path)))
        return failures

    def _deleting(self, path: str) -> Callable[[], Sequence[DeleteFailure]]:
        return lambda: self._inner.delete([path])

    def list(self, prefix: str = "") -> Iterator[ObjectInfo]:
        """Count, and list."""
        return _answered(self._faults._pass(Request("list", prefix, None), lambda: self._inner.list(prefix)))

    def copy(
        self,
        source: str,
        target: str,
        *,
        expected: Version | None = None,
        kind: ObjectKind = ObjectKind.METADATA,
    ) -> CopyOutcome:
        """Count, and copy."""

        def effect() -> CopyOutcome:
            return self._inner.copy(source, target, expected=expected, kind=kind)

        outcome: CopyOutcome | Unknown = self._faults._pass(Request("copy", source, None), effect)
        if isinstance(outcome, Unknown):
            raise _lost()
        return outcome

    def exclusive(self, path: str) -> AbstractContextManager[None]:
        """Take the other backend's lock."""
        return self._inner.exclusive(path)

    def close(self) -> None:
        """Close the other backend."""
        self._inner.close()


def _answered(outcome: T | Unknown) -> T:
    """Raise where the lost answer of a request is an exception."""
    if isinstance(outcome, Unknown):
        raise _lost()
    return outcome


def _lost() -> StorageError:
    return StorageError("injected failure: the answer was lost", ErrorKind.OBJECT_STORE)


def _connect(location: Location, settings: StorageSettings) -> StorageBackend:
    options = location.options
    return FaultInjectingBackend(
        registry.connect(options["inner"], settings), options["faults"], locality=options["locality"]
    )


@hookimpl
def icechunk_storage_providers() -> Iterable[StorageProvider]:
    """Contribute failing storage."""
    return [
        StorageProvider(
            kind=_KIND,
            connect=_connect,
            default_settings=lambda location: registry.default_settings(location.options["inner"]),
            describe=lambda location: [
                ("type", "fault injecting"),
                ("inner", repr(location.options["inner"])),
            ],
        )
    ]


# Not an entry point, so that nobody pays for it who does not import it.
registry.register(sys.modules[__name__], "testing-faults")

"""The kit judges: for each test a backend that breaks just its rule, and fails just this test."""

# ruff: noqa: A002  (the contract's own word: range)
from __future__ import annotations

import inspect
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import datetime
from typing import Any, Literal

import pytest

from icechunk.abc import (
    ANY,
    NO_METADATA,
    NOT_YET_CREATED,
    UNCHANGED,
    Buffer,
    ByteRange,
    Capabilities,
    CopyOutcome,
    DeleteFailure,
    Expectation,
    Fetched,
    Landed,
    Locality,
    LostRace,
    ObjectInfo,
    ObjectKind,
    PutOutcome,
    StorageBackend,
    Unchanged,
    Unknown,
    Version,
)
from icechunk.backends.memory import MemoryBackend, MemoryStore
from icechunk.errors import ErrorKind, ObjectNotFoundError, StorageError
from icechunk.testing.conformance import StorageConformance


class Sound(StorageBackend):
    """Breaks no rule: memory behind a network whose answers can be lost."""

    def __init__(self, store: MemoryStore) -> None:
        self.inner = MemoryBackend(store)
        self.loses = False

    @property
    def locality(self) -> Locality:
        return Locality.REMOTE

    @property
    def can(self) -> Capabilities:
        return self.inner.can

    def get(
        self, path: str, range: ByteRange | None = None, *, unless: Version | None = None
    ) -> Fetched | Literal[Unchanged.UNCHANGED]:
        return self.inner.get(path, range, unless=unless)

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
        outcome = self.inner.put(path, data, expected=expected, user_metadata=user_metadata)
        return Unknown() if self.loses else outcome

    def stat(self, path: str) -> ObjectInfo:
        return self.inner.stat(path)

    def delete(self, paths: Iterable[str]) -> Sequence[DeleteFailure]:
        return self.inner.delete(paths)

    def list(self, prefix: str = "") -> Iterator[ObjectInfo]:
        return self.inner.list(prefix)


@contextmanager
def losing_answers(backend: StorageBackend) -> Iterator[None]:
    assert isinstance(backend, Sound)
    backend.loses = True
    yield
    backend.loses = False


BREAKERS: dict[str, type[Sound]] = {}


def breaks(test: str) -> Callable[[type[Sound]], type[Sound]]:
    def note(cls: type[Sound]) -> type[Sound]:
        assert test not in BREAKERS
        BREAKERS[test] = cls
        return cls

    return note


@breaks("test_rule_1_what_was_put_is_read_over_every_connection")
class CachesForAWhile(Sound):
    def __init__(self, store: MemoryStore) -> None:
        super().__init__(store)
        self.cache: dict[str, Fetched] = {}

    def get(self, path: str, range: Any = None, *, unless: Any = None) -> Any:
        fetched = super().get(path, range)
        if range is None and path.startswith("snapshots/"):
            fetched = self.cache.setdefault(path, fetched)
        return UNCHANGED if unless is not None and fetched.version == unless else fetched


@breaks("test_rule_1_what_was_deleted_is_gone_over_every_connection")
class RemembersTheDeleted(Sound):
    def __init__(self, store: MemoryStore) -> None:
        super().__init__(store)
        self.seen: dict[str, Any] = {}

    def get(self, path: str, range: Any = None, *, unless: Any = None) -> Any:
        try:
            fetched = super().get(path, range, unless=unless)
        except ObjectNotFoundError:
            if range is None and path in self.seen:
                return self.seen[path]
            raise
        if range is None:
            self.seen[path] = fetched
        return fetched


@breaks("test_rule_2_readers_see_whole_objects_only")
class WritesInTwoSteps(Sound):
    def put(self, path: str, data: Buffer, **options: Any) -> PutOutcome:
        whole = bytes(data)
        if len(whole) == 300_000:
            super().put(path, whole[:1000], **options)
            time.sleep(0.002)
        return super().put(path, whole, **options)


@breaks("test_rule_2_fresh_objects_are_there_when_the_put_returns")
class WritesFreshObjectsLater(Sound):
    def put(self, path: str, data: Buffer, **options: Any) -> PutOutcome:
        if options.get("fresh") and memoryview(data).nbytes > 1000:
            whole = bytes(data)
            threading.Timer(0.3, lambda: self.inner.put(path, whole)).start()
            return Landed(None)
        return super().put(path, data, **options)


class ChecksThenActs(Sound):
    """Looks first, and writes a little later."""

    expectation: type

    def put(self, path: str, data: Buffer, **options: Any) -> PutOutcome:
        expected = options.get("expected", ANY)
        if expected is ANY or not isinstance(expected, self.expectation):
            return super().put(path, data, **options)
        try:
            current: Version | None = self.inner.fetch(path).version
        except ObjectNotFoundError:
            current = None
        if current != (None if expected is NOT_YET_CREATED else expected):
            return LostRace()
        time.sleep(0.02)
        return super().put(path, data, **{**options, "expected": ANY})


@breaks("test_rule_3_one_of_many_creations_lands")
class CreatesTwice(ChecksThenActs):
    expectation = type(NOT_YET_CREATED)


@breaks("test_rule_3_one_of_many_updates_lands")
class UpdatesTwice(ChecksThenActs):
    expectation = Version


@breaks("test_rule_3_an_existing_object_is_not_created_again")
class IsNotSureOfWhatExists(Sound):
    def put(self, path: str, data: Buffer, **options: Any) -> PutOutcome:
        outcome = super().put(path, data, **options)
        if options.get("expected") is not NOT_YET_CREATED:
            return outcome
        return Unknown() if path == "refs/A" and isinstance(outcome, LostRace) else outcome


@breaks("test_rule_3_a_deleted_version_has_no_successor")
class RevivesTheDeleted(Sound):
    def put(self, path: str, data: Buffer, **options: Any) -> PutOutcome:
        if isinstance(options.get("expected"), Version):
            try:
                self.inner.stat(path)
            except ObjectNotFoundError:
                options["expected"] = NOT_YET_CREATED
        return super().put(path, data, **options)


@breaks("test_rule_3_who_loses_a_race_changes_nothing")
class LosersWriteToo(Sound):
    def put(self, path: str, data: Buffer, **options: Any) -> PutOutcome:
        outcome = super().put(path, data, **options)
        if isinstance(outcome, LostRace) and bytes(data).startswith(b"third, longer still"):
            super().put(path, data)
        return outcome


@breaks("test_rule_4_put_get_and_stat_agree_on_the_version")
class StatsItsOwnWay(Sound):
    def stat(self, path: str) -> ObjectInfo:
        return super().stat(path)._replace(version=Version("weak"))


@breaks("test_rule_4_other_bytes_are_another_version")
class TellsSizesApartOnly(Sound):
    """An unconditional put of as many bytes keeps the version."""

    def get(self, path: str, range: Any = None, *, unless: Any = None) -> Any:
        return super().get(path, range, unless=unless)

    def put(self, path: str, data: Buffer, **options: Any) -> PutOutcome:
        if options.get("expected", ANY) is ANY:
            stored = self.inner._store.objects.get(path)
            if stored is not None and len(stored.data) == memoryview(data).nbytes:
                self.inner._store.objects[path] = stored._replace(data=bytes(data))
                return Landed(stored.version)
        return super().put(path, data, **options)


@breaks("test_rule_4_what_the_caller_has_is_not_sent_again")
class AlwaysSends(Sound):
    def get(self, path: str, range: Any = None, *, unless: Any = None) -> Any:
        return super().get(path, range)


@breaks("test_rule_5_a_lost_answer_is_no_lost_race")
class RepeatsBlindly(Sound):
    def put(self, path: str, data: Buffer, **options: Any) -> PutOutcome:
        outcome = super().put(path, data, **options)
        return self.inner.put(path, data, **options) if isinstance(outcome, Unknown) else outcome


@breaks("test_rule_6_absence_is_told_apart")
class CallsAbsenceAFailure(Sound):
    def stat(self, path: str) -> ObjectInfo:
        try:
            return super().stat(path)
        except ObjectNotFoundError as failure:
            if path == "chunks":
                raise StorageError("404", ErrorKind.OBJECT_STORE) from failure
            raise


@breaks("test_rule_6_deleting_what_is_not_there_is_no_failure")
class CannotDeleteNothing(Sound):
    def delete(self, paths: Iterable[str]) -> Sequence[DeleteFailure]:
        paths = list(paths)
        there = {info.path for info in self.inner.list()}
        self.inner.delete(paths)
        return [DeleteFailure(path, "404") for path in paths if path not in there]


@breaks("test_rule_7_a_range_yields_its_bytes")
class ForgetsTheLastByte(Sound):
    def get(self, path: str, range: Any = None, *, unless: Any = None) -> Any:
        fetched = super().get(path, range, unless=unless)
        if range is not None and range[1] is None:
            return fetched._replace(data=fetched.data[:-1])
        return fetched


@breaks("test_rule_7_a_range_past_the_end_is_refused")
class SendsWhatThereIs(Sound):
    def get(self, path: str, range: Any = None, *, unless: Any = None) -> Any:
        if range is None:
            return super().get(path, unless=unless)
        fetched = self.inner.fetch(path)
        return fetched._replace(data=fetched.data[range[0] : range[1]])


@breaks("test_rule_7_several_ranges_come_in_the_order_of_asking")
class SortsRanges(Sound):
    def get_ranges(self, path: str, ranges: Sequence[ByteRange]) -> Sequence[bytes | memoryview]:
        return super().get_ranges(path, sorted(ranges, key=lambda range_: range_[0]))


@breaks("test_rule_7_bytes_are_read_into_the_callers_memory")
class ReadsFromTheBeginning(Sound):
    def read_into(self, path: str, start: int, target: memoryview) -> None:
        super().read_into(path, 0, target)


@breaks("test_rule_7_a_stream_is_the_whole_object")
class StreamsFullPartsOnly(Sound):
    def stream(self, path: str, *, part_bytes: int = 8 * 2**20) -> Iterator[bytes | memoryview]:
        for part in super().stream(path, part_bytes=part_bytes):
            if len(part) == part_bytes:
                yield part


@breaks("test_rule_8_lists_are_complete")
class ListsOnePage(Sound):
    def list(self, prefix: str = "") -> Iterator[ObjectInfo]:
        for _, info in zip(range(1000), super().list(prefix), strict=False):
            yield info


@breaks("test_rule_8_a_prefix_is_text")
class ListsFolders(Sound):
    def list(self, prefix: str = "") -> Iterator[ObjectInfo]:
        folder = prefix.rstrip("/") + "/" if prefix else ""
        whole = [info for info in super().list(prefix) if info.path == prefix]
        yield from whole
        yield from super().list(folder)


@breaks("test_rule_8_lists_tell_size_and_time")
class TellsLocalTime(Sound):
    def list(self, prefix: str = "") -> Iterator[ObjectInfo]:
        for info in super().list(prefix):
            yield info._replace(created_at=datetime.fromtimestamp(info.created_at.timestamp()))


@breaks("test_rule_8_nothing_is_an_empty_list")
class CannotListNothing(Sound):
    def list(self, prefix: str = "") -> Iterator[ObjectInfo]:
        if not self.inner._store.objects:
            raise ObjectNotFoundError(f"object not found `{prefix}`")
        return super().list(prefix)


@breaks("test_rule_9_paths_stay_inside")
class TakesAnyPath(Sound):
    def put(self, path: str, data: Buffer, **options: Any) -> PutOutcome:
        return super().put(path.replace("/./", "/"), data, **options)


@breaks("test_rule_10_threads_share_a_backend")
class HasOneDesk(Sound):
    body: bytes = b""

    def put(self, path: str, data: Buffer, **options: Any) -> PutOutcome:
        if memoryview(data).nbytes != 1000:
            return super().put(path, data, **options)
        self.body = bytes(data)
        time.sleep(0.001)
        return super().put(path, self.body, **options)


@breaks("test_put_takes_any_buffer")
class CountsItems(Sound):
    def put(self, path: str, data: Buffer, **options: Any) -> PutOutcome:
        return super().put(path, bytes(data)[: len(memoryview(data))], **options)


@breaks("test_put_takes_nothing_at_all")
class TakesEmptyForAbsent(Sound):
    def stat(self, path: str) -> ObjectInfo:
        info = super().stat(path)
        if not info.size_bytes:
            raise ObjectNotFoundError(f"object not found `{path}`")
        return info


@breaks("test_put_keeps_no_buffer")
class WritesLater(Sound):
    def __init__(self, store: MemoryStore) -> None:
        super().__init__(store)
        self.kept: dict[str, Buffer] = {}

    def put(self, path: str, data: Buffer, **options: Any) -> PutOutcome:
        if isinstance(data, bytearray):
            self.kept[path] = data
        return super().put(path, data, **options)

    def get(self, path: str, range: Any = None, *, unless: Any = None) -> Any:
        fetched = super().get(path, range, unless=unless)
        return fetched._replace(data=bytes(self.kept[path])) if path in self.kept else fetched


@breaks("test_put_stores_user_metadata_where_it_says_so")
class DropsUserMetadata(Sound):
    def put(self, path: str, data: Buffer, **options: Any) -> PutOutcome:
        return super().put(path, data, **{**options, "user_metadata": NO_METADATA})


@breaks("test_copy_copies")
class NeverCopiesOver(Sound):
    def copy(self, source: str, target: str, **options: Any) -> CopyOutcome:
        if any(info.path == target for info in self.list(target)):
            return Landed(self.stat(target).version)
        return super().copy(source, target, **options)


@breaks("test_copy_copies_the_expected_version_or_nothing")
class CopiesWhatThereIs(Sound):
    def copy(self, source: str, target: str, *, expected: Any = None, **options: Any) -> CopyOutcome:
        try:
            return super().copy(source, target, **options)
        except ObjectNotFoundError:
            if expected is None:
                raise
            return LostRace()


@breaks("test_copy_of_what_is_not_there_is_an_error")
class TakesAbsenceForARace(Sound):
    def copy(self, source: str, target: str, **options: Any) -> CopyOutcome:
        try:
            return super().copy(source, target, **options)
        except ObjectNotFoundError:
            return LostRace()


@breaks("test_replace_backs_up_what_it_replaces")
class BacksUpAfterwards(Sound):
    def replace(
        self, path: str, data: Buffer, *, expected: Version, backup: str | None = None, **options: Any
    ) -> PutOutcome:
        outcome = self.put(path, data, expected=expected)
        if backup is not None and isinstance(outcome, Landed):
            self.copy(path, backup)
        return outcome


@breaks("test_replace_replaces_the_expected_version_only")
class ReplacesWhatThereIs(Sound):
    def replace(
        self, path: str, data: Buffer, *, expected: Version, backup: str | None = None, **options: Any
    ) -> PutOutcome:
        outcome = super().replace(path, data, expected=expected, backup=backup)
        return self.put(path, data) if isinstance(outcome, LostRace) else outcome


@breaks("test_exclusive_lets_its_own_thread_write_and_others_read")
class LocksItselfOut(Sound):
    lock = threading.Lock()

    @contextmanager
    def exclusive(self, path: str) -> Iterator[None]:
        if not self.lock.acquire(timeout=0.1):
            raise StorageError("deadlock", ErrorKind.STORAGE_OTHER)
        try:
            yield
        finally:
            self.lock.release()


TESTS = [name for name in vars(StorageConformance) if name.startswith("test_")]


def failing_tests(backend_type: type[Sound]) -> list[str]:
    """Run the kit without pytest, each test on a new store."""
    return [name for name in TESTS if not passes(name, backend_type)]


def passes(name: str, backend_type: type[Sound]) -> bool:
    kit = StorageConformance()
    test = getattr(kit, name)
    marks = getattr(test, "pytestmark", [])
    cases = marks[0].args[1] if marks else [None]
    for case in cases:
        store = MemoryStore()
        fixtures = {
            "connect": lambda store=store: backend_type(store),
            "backend": backend_type(store),
            "losing_answers": losing_answers,
            "path": case,
        }
        try:
            test(**{name: fixtures[name] for name in inspect.signature(test).parameters})
        except (Exception, pytest.fail.Exception):
            return False
    return True


def test_a_sound_backend_fails_nothing() -> None:
    assert failing_tests(Sound) == []


def test_every_test_has_a_backend_that_fails_it() -> None:
    assert set(TESTS) == set(BREAKERS)


@pytest.mark.parametrize("test", TESTS)
def test_breaking_one_rule_fails_one_test(test: str) -> None:
    assert failing_tests(BREAKERS[test]) == [test]

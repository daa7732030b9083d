"""The storage contract as tests: inherit `StorageConformance`, and say which storage.

::

    class TestMyStorage(StorageConformance):
        @pytest.fixture
        def storage(self, tmp_path: Path) -> Storage:
            return my_storage(tmp_path / "repo")

Each test is about one rule of `icechunk.abc.storage`, named by its number, and about nothing else: what
breaks one rule fails one test.
"""

from __future__ import annotations

import threading
import time
from array import array
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager
from datetime import timedelta
from typing import TYPE_CHECKING, TypeAlias

import pytest

from icechunk.abc import (
    NOT_YET_CREATED,
    UNCHANGED,
    Expectation,
    Fetched,
    Landed,
    LostRace,
    ObjectKind,
    StorageBackend,
    Unknown,
    Version,
)
from icechunk.errors import ErrorKind, InvalidInputError, ObjectNotFoundError, StorageError
from icechunk.plugins import registry

if TYPE_CHECKING:
    from icechunk.storage import Storage

__all__ = ["StorageConformance"]

Connect: TypeAlias = Callable[[], StorageBackend]
LosingAnswers: TypeAlias = Callable[[StorageBackend], AbstractContextManager[object]]

_THREADS = 8


class StorageConformance:
    """Every rule of the storage contract. A subclass defines the fixture `storage`, and nothing else."""

    # -- what is tested -------------------------------------------------------------------------------------

    @pytest.fixture
    def storage(self) -> Storage:
        """Name a new, empty place. To be overridden."""
        raise TypeError(f"{type(self).__name__} must define the fixture `storage`")

    @pytest.fixture
    def connect(self, storage: Storage) -> Iterator[Connect]:
        """Make one connection after another to one place."""
        made: list[StorageBackend] = []

        def connect() -> StorageBackend:
            made.append(registry.connect(storage.location))
            return made[-1]

        yield connect
        for backend in made:
            backend.close()

    @pytest.fixture
    def backend(self, connect: Connect) -> StorageBackend:
        """Make one connection."""
        return connect()

    @pytest.fixture
    def losing_answers(self) -> LosingAnswers | None:
        """Tell how to lose an answer. To be overridden by storage behind a network.

        In the context that it makes for a backend, the server does what the next writing request says,
        and the answer never arrives. ``None`` where nothing is between caller and storage.
        """
        return None

    # -- 1. read after write --------------------------------------------------------------------------------

    def test_rule_1_what_was_put_is_read_over_every_connection(self, connect: Connect) -> None:
        """Read after write."""
        writer, reader = connect(), connect()
        writer.put("snapshots/A", b"one")
        assert _bytes(reader, "snapshots/A") == b"one"
        writer.put("snapshots/A", b"two!")
        assert _bytes(reader, "snapshots/A") == b"two!"

    def test_rule_1_what_was_deleted_is_gone_over_every_connection(self, connect: Connect) -> None:
        """Not found after delete."""
        writer, reader = connect(), connect()
        writer.put("snapshots/A", b"one")
        assert _bytes(reader, "snapshots/A") == b"one"
        assert not writer.delete(["snapshots/A"])
        with pytest.raises(ObjectNotFoundError):
            reader.get("snapshots/A")

    # -- 2. all or nothing ----------------------------------------------------------------------------------

    def test_rule_2_readers_see_whole_objects_only(self, connect: Connect) -> None:
        """A put shows at once or not at all."""
        writer, reader = connect(), connect()
        bodies = [bytes([letter]) * 300_000 for letter in b"abcdef"]
        writer.put("repo", bodies[0], kind=ObjectKind.REF)
        stop = threading.Event()

        def write() -> None:
            try:
                for round_ in range(30):
                    writer.put("repo", bodies[round_ % len(bodies)], kind=ObjectKind.REF)
            finally:
                stop.set()

        with ThreadPoolExecutor(1) as pool:
            writing = pool.submit(write)
            while not stop.is_set():
                assert _bytes(reader, "repo") in bodies
                assert {info.size_bytes for info in reader.list("repo")} == {300_000}
            writing.result()

    def test_rule_2_fresh_objects_are_there_when_the_put_returns(self, connect: Connect) -> None:
        """What is written in place counts once it is written."""
        writer, reader = connect(), connect()
        body = bytes(range(256)) * 300
        outcome = writer.put("chunks/A", body, kind=ObjectKind.CHUNK, fresh=True)
        assert isinstance(outcome, Landed)
        assert _bytes(reader, "chunks/A") == body

    # -- 3. one winner --------------------------------------------------------------------------------------

    def test_rule_3_one_of_many_creations_lands(self, connect: Connect) -> None:
        """`NOT_YET_CREATED` has one winner."""
        for round_ in range(5):
            landed, lost = _race(connect, f"refs/A{round_}", NOT_YET_CREATED)
            assert (landed, lost) == (1, _THREADS - 1)

    def test_rule_3_one_of_many_updates_lands(self, connect: Connect) -> None:
        """A version has one successor."""
        backend = connect()
        version = _created(backend, "repo", b"first")
        for _ in range(5):
            landed, lost = _race(connect, "repo", version)
            assert (landed, lost) == (1, _THREADS - 1)
            version = _version(backend, "repo")

    def test_rule_3_an_existing_object_is_not_created_again(self, backend: StorageBackend) -> None:
        """`NOT_YET_CREATED` is answered by `LostRace` where something is."""
        _created(backend, "refs/A", b"first")
        outcome = backend.put("refs/A", b"second", expected=NOT_YET_CREATED, kind=ObjectKind.REF)
        assert isinstance(outcome, LostRace)

    def test_rule_3_a_deleted_version_has_no_successor(self, backend: StorageBackend) -> None:
        """A version that is expected, and gone, is a `LostRace`."""
        version = _created(backend, "refs/A", b"first")
        backend.delete(["refs/A"])
        outcome = backend.put("refs/A", b"second", expected=version, kind=ObjectKind.REF)
        assert isinstance(outcome, LostRace)

    def test_rule_3_who_loses_a_race_changes_nothing(self, backend: StorageBackend) -> None:
        """A put that did not land has left no trace."""
        old = _created(backend, "repo", b"first")
        assert isinstance(backend.put("repo", b"second, longer", expected=old), Landed)
        assert isinstance(backend.put("repo", b"third, longer still", expected=old), LostRace)
        assert _bytes(backend, "repo") == b"second, longer"

    # -- 4. versions ----------------------------------------------------------------------------------------

    def test_rule_4_put_get_and_stat_agree_on_the_version(self, backend: StorageBackend) -> None:
        """One object has one version, whoever tells it."""
        version = _created(backend, "repo", b"first")
        assert backend.fetch("repo").version == version
        assert backend.stat("repo").version == version

    def test_rule_4_other_bytes_are_another_version(self, backend: StorageBackend) -> None:
        """Objects of one size, put one right after the other, are told apart."""
        versions = set()
        for round_ in range(20):
            backend.put("repo", b"%04d" % round_, kind=ObjectKind.REF)
            versions.add(_version(backend, "repo"))
        assert len(versions) == 20

    def test_rule_4_what_the_caller_has_is_not_sent_again(self, backend: StorageBackend) -> None:
        """`unless` spares the bytes as long as the object is the same."""
        version = _created(backend, "repo", b"first")
        assert backend.get("repo", unless=version) is UNCHANGED
        assert isinstance(backend.put("repo", b"second, longer", expected=version), Landed)
        fetched = backend.get("repo", unless=version)
        assert isinstance(fetched, Fetched)
        assert bytes(fetched.data) == b"second, longer"

    # -- 5. no false certainty ------------------------------------------------------------------------------

    def test_rule_5_a_lost_answer_is_no_lost_race(
        self, backend: StorageBackend, losing_answers: LosingAnswers | None
    ) -> None:
        """What landed without an answer is `Unknown`, or found out to have landed."""
        if losing_answers is None:
            return  # Nothing is between caller and storage.
        version = _created(backend, "repo", b"first")
        with losing_answers(backend):
            outcome = backend.put("repo", b"second, longer", expected=version, kind=ObjectKind.REF)
        assert isinstance(outcome, (Landed, Unknown))
        assert _bytes(backend, "repo") == b"second, longer"

    # -- 6. absence -----------------------------------------------------------------------------------------

    def test_rule_6_absence_is_told_apart(self, backend: StorageBackend) -> None:
        """Reading what is not there raises `ObjectNotFoundError`."""
        backend.put("chunks/A", b"body")
        for path in ("chunks/B", "nowhere/B", "chunks"):
            with pytest.raises(ObjectNotFoundError) as info:
                backend.get(path)
            assert info.value.kind == ErrorKind.OBJECT_NOT_FOUND
            with pytest.raises(ObjectNotFoundError):
                backend.get(path, (0, 1))
            with pytest.raises(ObjectNotFoundError):
                backend.get(path, unless=Version('"some"'))
            with pytest.raises(ObjectNotFoundError):
                backend.stat(path)

    def test_rule_6_deleting_what_is_not_there_is_no_failure(self, backend: StorageBackend) -> None:
        """The end is the same."""
        backend.put("chunks/A", b"body")
        assert not backend.delete(["chunks/B", "chunks/A", "nowhere/B"])
        with pytest.raises(ObjectNotFoundError):
            backend.stat("chunks/A")

    # -- 7. ranges ------------------------------------------------------------------------------------------

    def test_rule_7_a_range_yields_its_bytes(self, backend: StorageBackend) -> None:
        """Stop is excluded, and ``None`` is the end."""
        body = bytes(range(250)) * 4
        backend.put("chunks/A", body)
        for start, stop in ((0, 1), (0, 1000), (1, 999), (999, 1000), (0, None), (400, None), (999, None)):
            assert bytes(backend.fetch("chunks/A", (start, stop)).data) == body[start:stop]

    def test_rule_7_a_range_past_the_end_is_refused(self, backend: StorageBackend) -> None:
        """Fewer bytes than were asked for are an error."""
        backend.put("chunks/A", b"0123456789")
        for range_ in ((0, 11), (9, 20), (10, 11), (10, None), (20, 30)):
            with pytest.raises(StorageError) as info:
                backend.get("chunks/A", range_)
            assert info.value.kind == ErrorKind.INVALID_OBJECT_SIZE

    def test_rule_7_several_ranges_come_in_the_order_of_asking(self, backend: StorageBackend) -> None:
        """They may overlap, and need not be sorted."""
        backend.put("chunks/A", b"0123456789")
        parts = backend.get_ranges("chunks/A", [(5, 7), (0, 2), (1, 6)])
        assert [bytes(part) for part in parts] == [b"56", b"01", b"12345"]

    def test_rule_7_bytes_are_read_into_the_callers_memory(self, backend: StorageBackend) -> None:
        """As many as there is room for."""
        backend.put("chunks/A", b"0123456789")
        target = bytearray(b"......")
        backend.read_into("chunks/A", 3, memoryview(target)[1:5])
        assert target == b".3456."

    def test_rule_7_a_stream_is_the_whole_object(self, backend: StorageBackend) -> None:
        """In parts of no more than the size that was asked for."""
        backend.put("chunks/A", b"0123456789")
        parts = [bytes(part) for part in backend.stream("chunks/A", part_bytes=4)]
        assert b"".join(parts) == b"0123456789"
        assert max(map(len, parts)) <= 4

    # -- 8. lists -------------------------------------------------------------------------------------------

    def test_rule_8_lists_are_complete(self, backend: StorageBackend) -> None:
        """However many objects there are (1,000 are a page in most services)."""
        paths = [f"chunks/{number:05d}" for number in range(1050)]
        with ThreadPoolExecutor(_THREADS) as pool:
            list(pool.map(lambda path: backend.put(path, b"x", kind=ObjectKind.CHUNK), paths))
        assert sorted(info.path for info in backend.list("chunks/")) == paths
        assert sorted(backend.list_paths("chunks/")) == paths

    def test_rule_8_a_prefix_is_text(self, backend: StorageBackend) -> None:
        """It may end within a name."""
        for path in ("refs/branch.main/ref.json", "refs/branch.m/ref.json", "refs/tag.m/ref.json", "repo"):
            backend.put(path, b"{}")
        assert {info.path for info in backend.list("refs/branch.")} == {
            "refs/branch.main/ref.json",
            "refs/branch.m/ref.json",
        }
        assert [info.path for info in backend.list("refs/branch.ma")] == ["refs/branch.main/ref.json"]
        assert [info.path for info in backend.list("refs/branch.m/")] == ["refs/branch.m/ref.json"]
        assert [info.path for info in backend.list("re")].count("repo") == 1

    def test_rule_8_lists_tell_size_and_time(self, backend: StorageBackend) -> None:
        """In bytes, and in UTC; as `stat` does."""
        backend.put("chunks/A", b"0123456789")
        for info in (*backend.list(), backend.stat("chunks/A")):
            assert info.size_bytes == 10
            assert info.created_at.utcoffset() == timedelta(0)
            assert abs(info.created_at.timestamp() - time.time()) < 24 * 3600

    def test_rule_8_nothing_is_an_empty_list(self, backend: StorageBackend) -> None:
        """Even if the root does not exist."""
        assert list(backend.list()) == []
        assert list(backend.list("chunks/")) == []

    # -- 9. paths -------------------------------------------------------------------------------------------

    @pytest.mark.parametrize(
        "path", ["", "/chunks/A", "../A", "chunks/../../A", "chunks//A", "chunks/./A", "chunks/", "a\0b"]
    )
    def test_rule_9_paths_stay_inside(self, backend: StorageBackend, path: str) -> None:
        """No path names anything but an object below the root."""
        for attempt in (
            lambda: backend.put(path, b"body"),
            lambda: backend.put(path, b"body", fresh=True),
            lambda: backend.get(path),
            lambda: backend.delete([path]),
        ):
            with pytest.raises(InvalidInputError):
                attempt()

    # -- 10. threads ----------------------------------------------------------------------------------------

    def test_rule_10_threads_share_a_backend(self, backend: StorageBackend) -> None:
        """Nobody gets what is another's."""

        def work(number: int) -> bool:
            body = b"%d" % number * 1000
            for round_ in range(10):
                path = f"chunks/{number}x{round_}"
                backend.put(path, body)
                if _bytes(backend, path) != body:
                    return False
            return True

        with ThreadPoolExecutor(_THREADS) as pool:
            assert all(pool.map(work, range(_THREADS)))

    # -- what a put takes -----------------------------------------------------------------------------------

    def test_put_takes_any_buffer(self, backend: StorageBackend) -> None:
        """Not only bytes: the bytes of an array of numbers are the object."""
        numbers = array("d", [1.5, 2.5, 3.5])
        for name, body in (("A", numbers), ("B", memoryview(numbers)), ("C", bytearray(numbers.tobytes()))):
            backend.put(f"chunks/{name}", body)
            backend.put(f"chunks/{name}F", body, fresh=True)
            assert _bytes(backend, f"chunks/{name}") == numbers.tobytes()
            assert _bytes(backend, f"chunks/{name}F") == numbers.tobytes()

    def test_put_takes_nothing_at_all(self, backend: StorageBackend) -> None:
        """An empty object is an object."""
        backend.put("chunks/A", b"")
        assert _bytes(backend, "chunks/A") == b""
        assert backend.stat("chunks/A").size_bytes == 0

    def test_put_keeps_no_buffer(self, backend: StorageBackend) -> None:
        """The caller may write into it afterwards."""
        body = bytearray(b"before")
        backend.put("chunks/A", body)
        body[:] = b"after!"
        assert _bytes(backend, "chunks/A") == b"before"

    def test_put_stores_user_metadata_where_it_says_so(self, backend: StorageBackend) -> None:
        """And takes it without complaint where not."""
        backend.put("repo", b"body", user_metadata={"icechunkwriteid": "some-id"})
        if backend.can.user_metadata:
            assert dict(backend.stat("repo").user_metadata) == {"icechunkwriteid": "some-id"}

    # -- copy, replace, exclusive ---------------------------------------------------------------------------

    def test_copy_copies(self, backend: StorageBackend) -> None:
        """Over what is there, and apart from what becomes of the source."""
        version = _created(backend, "repo", b"first")
        backend.put("overwritten/A", b"old backup")
        assert isinstance(backend.copy("repo", "overwritten/A", expected=version), Landed)
        assert isinstance(backend.copy("repo", "overwritten/B"), Landed)
        assert isinstance(backend.put("repo", b"second, longer", expected=version), Landed)
        assert _bytes(backend, "overwritten/A") == b"first"
        assert _bytes(backend, "overwritten/B") == b"first"

    def test_copy_copies_the_expected_version_or_nothing(self, backend: StorageBackend) -> None:
        """A source that has changed is a lost race, and so is one that is gone."""
        old = _created(backend, "repo", b"first")
        assert isinstance(backend.put("repo", b"second, longer", expected=old), Landed)
        assert isinstance(backend.copy("repo", "overwritten/A", expected=old), LostRace)
        assert isinstance(backend.copy("nowhere", "overwritten/A", expected=old), LostRace)
        assert list(backend.list("overwritten/")) == []

    def test_copy_of_what_is_not_there_is_an_error(self, backend: StorageBackend) -> None:
        """If nothing was expected of it."""
        with pytest.raises(ObjectNotFoundError):
            backend.copy("nowhere", "overwritten/A")

    def test_replace_backs_up_what_it_replaces(self, backend: StorageBackend) -> None:
        """And chains: each version replaces the one before."""
        version = _created(backend, "repo", b"first")
        for number, body in enumerate([b"second", b"third"]):
            outcome = backend.replace("repo", body, expected=version, backup=f"overwritten/{number}")
            assert isinstance(outcome, Landed)
            assert outcome.version is not None
            version = outcome.version
        assert _bytes(backend, "repo") == b"third"
        assert _bytes(backend, "overwritten/0") == b"first"
        assert _bytes(backend, "overwritten/1") == b"second"
        assert isinstance(backend.replace("repo", b"fourth", expected=version), Landed)

    def test_replace_replaces_the_expected_version_only(self, backend: StorageBackend) -> None:
        """It is a conditional put."""
        old = _created(backend, "repo", b"first")
        assert isinstance(backend.put("repo", b"second, longer", expected=old), Landed)
        for backup in (None, "overwritten/A"):
            assert isinstance(backend.replace("repo", b"third", expected=old, backup=backup), LostRace)
        assert _bytes(backend, "repo") == b"second, longer"

    def test_exclusive_lets_its_own_thread_write_and_others_read(self, backend: StorageBackend) -> None:
        """Also when it is entered twice."""
        version = _created(backend, "repo", b"first")

        def update() -> None:
            with backend.exclusive("repo"), backend.exclusive("repo"):
                outcome = backend.replace("repo", b"second", expected=version, backup="overwritten/A")
                assert isinstance(outcome, Landed)
                with ThreadPoolExecutor(1) as reader:
                    assert reader.submit(_bytes, backend, "repo").result(10) == b"second"

        worker = ThreadPoolExecutor(1)
        try:
            worker.submit(update).result(20)
        finally:
            worker.shutdown(wait=False)


def _bytes(backend: StorageBackend, path: str) -> bytes:
    return bytes(backend.fetch(path).data)


def _version(backend: StorageBackend, path: str) -> Version:
    version = backend.fetch(path).version
    assert version is not None
    return version


def _created(backend: StorageBackend, path: str, body: bytes) -> Version:
    outcome = backend.put(path, body, expected=NOT_YET_CREATED, kind=ObjectKind.REF)
    assert isinstance(outcome, Landed)
    assert outcome.version is not None
    return outcome.version


def _race(connect: Connect, path: str, expected: Expectation) -> tuple[int, int]:
    """Let many threads, each with its own connection, put at once; count who landed and who lost."""
    start = threading.Barrier(_THREADS)

    def put(number: int) -> object:
        backend = connect()
        start.wait(30)
        return backend.put(path, b"by %d" % number, expected=expected, kind=ObjectKind.REF)

    with ThreadPoolExecutor(_THREADS) as pool:
        outcomes = list(pool.map(put, range(_THREADS)))
    return (
        sum(isinstance(outcome, Landed) for outcome in outcomes),
        sum(isinstance(outcome, LostRace) for outcome in outcomes),
    )

"""What becomes of a repository when storage fails, answers are lost, or others are faster."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import zarr

import icechunk
from icechunk import (
    AlreadyExistsError,
    ConflictError,
    RefNotFoundError,
    Repository,
    RepositoryConfig,
    RepoUpdateRetryConfig,
    Session,
    StorageError,
    StorageRetriesSettings,
)
from icechunk._engine.format.ids import SnapshotId
from icechunk.abc import Locality
from icechunk.testing import FaultInjectingStorage

INITIAL = "1CECHNKREP0F1RSTCMT0"

Raises = Callable[..., Any]


@pytest.fixture(params=["memory", "remote"])
def storage(request: pytest.FixtureRequest) -> FaultInjectingStorage:
    locality = Locality.REMOTE if request.param == "remote" else None
    return FaultInjectingStorage(icechunk.in_memory_storage(), locality=locality)


@pytest.fixture
def repo(storage: FaultInjectingStorage, spec_version: int) -> Repository:
    repo = Repository.create(storage, spec_version=spec_version)
    session = repo.writable_session("main")
    zarr.create_array(session.store, name="a", shape=(8,), chunks=(1,), dtype="i4")[:] = 1
    session.commit("array")
    storage.faults.forget()
    return repo


@pytest.fixture
def mutable_path(spec_version: int) -> str:
    """What a commit on `main` changes in place."""
    return "repo" if spec_version == 2 else "refs/branch.main/ref.json"


def changed(repo: Repository, value: int = 7) -> Session:
    session = repo.writable_session("main")
    zarr.open_array(session.store, path="a")[0] = value
    return session


def first_value(repo: Repository) -> int:
    return int(zarr.open_array(repo.readonly_session("main").store, path="a", mode="r")[0])


def messages(repo: Repository) -> list[str]:
    return [info.message for info in repo.ancestry(branch="main")][:-2][::-1]


class TestLostAnswers:
    @pytest.mark.parametrize("landed", [True, False])
    def test_a_commit_whose_answer_is_lost_is_made_once(
        self,
        repo: Repository,
        storage: FaultInjectingStorage,
        mutable_path: str,
        landed: bool,
    ) -> None:
        session = changed(repo)
        storage.faults.lose_answer(mutable_path, landed=landed)
        tip = session.commit("seven")
        assert repo.lookup_branch("main") == tip
        assert messages(repo) == ["seven"]
        assert first_value(repo) == 7

    def test_somebody_may_have_gone_on_from_a_commit_whose_answer_is_lost(
        self, repo: Repository, storage: FaultInjectingStorage, mutable_path: str
    ) -> None:
        session = changed(repo)
        other = Repository.open(storage)
        storage.faults.lose_answer(mutable_path, landed=True)
        storage.faults.run(
            lambda: [other.writable_session("main").commit(f"{i}", allow_empty=True) for i in (1, 2)],
            "get",
            mutable_path,
            # One read precedes the update whose answer is lost; the others come before the next one.
            skip=1,
        )
        session.commit("seven")
        assert sorted(messages(repo)) == ["1", "2", "seven"]
        assert first_value(repo) == 7

    @pytest.mark.parametrize("landed", [True, False])
    def test_refs_whose_answer_is_lost_are_made_once(
        self, storage: FaultInjectingStorage, spec_version: int, landed: bool
    ) -> None:
        repo = Repository.create(storage, spec_version=spec_version)
        tip = repo.writable_session("main").commit("more", allow_empty=True)
        faults = storage.faults

        def path(name: str) -> str:
            return "repo" if spec_version == 2 else f"refs/{name}"

        def lost(path: str, call: Callable[[], None]) -> None:
            faults.lose_answer(path, landed=landed)
            if landed or spec_version == 2 or "branch.b" not in path:
                try:
                    call()
                except StorageError:
                    # Spec 1 does not try again: what is not there can be asked for once more.
                    assert spec_version == 1
                    assert not landed
                    call()
            else:
                with pytest.raises(StorageError):
                    call()
                call()

        lost(path("branch.b/ref.json"), lambda: repo.create_branch("b", INITIAL))
        lost(path("tag.t/ref.json"), lambda: repo.create_tag("t", INITIAL))
        assert repo.lookup_branch("b") == repo.lookup_tag("t") == INITIAL
        faults.lose_answer(path("branch.b/ref.json"), landed=landed)
        repo.reset_branch("b", tip)
        assert repo.lookup_branch("b") == tip
        lost(path("tag.t/ref.json.deleted"), lambda: repo.delete_tag("t"))
        assert repo.list_tags() == set()
        if spec_version == 2:
            lost("repo", lambda: repo.delete_branch("b"))
            assert repo.list_branches() == {"main"}
        with pytest.raises(AlreadyExistsError):
            repo.create_tag("t", INITIAL)

    @pytest.mark.parametrize("landed", [True, False])
    def test_a_repository_whose_answer_is_lost_is_made_once(
        self,
        storage: FaultInjectingStorage,
        spec_version: int,
        mutable_path: str,
        landed: bool,
    ) -> None:
        storage.faults.lose_answer(mutable_path, landed=landed)
        if spec_version == 1 and not landed:
            with pytest.raises(StorageError):
                Repository.create(storage, spec_version=1)
            repo = Repository.create(storage, spec_version=1, check_clean_root=False)
        else:
            repo = Repository.create(storage, spec_version=spec_version)
        assert repo.lookup_branch("main") == INITIAL

    def test_in_the_ops_log_an_attempt_is_found_on_later_pages_too(
        self, storage: FaultInjectingStorage
    ) -> None:
        config = RepositoryConfig(num_updates_per_repo_info_file=2)
        repo = Repository.create(storage, config)
        other = Repository.open(storage)
        storage.faults.lose_answer("repo", landed=True)

        def others() -> None:
            for i in range(9):
                other.create_tag(f"{i}", INITIAL)

        storage.faults.run(others, "get", "repo", skip=1)
        repo.create_branch("b", INITIAL)
        assert repo.list_branches() == {"main", "b"}
        assert len(repo.list_tags()) == 9


class TestRaces:
    def test_an_update_that_loses_a_race_is_made_again_on_fresh_state(
        self, repo: Repository, storage: FaultInjectingStorage, mutable_path: str
    ) -> None:
        other = Repository.open(storage)
        session = changed(repo)
        storage.faults.run(lambda: other.create_branch("b", INITIAL), "put", mutable_path)
        session.commit("seven")
        assert repo.list_branches() == {"main", "b"}
        assert first_value(repo) == 7

    def test_a_commit_that_comes_second_is_a_conflict(
        self, repo: Repository, storage: FaultInjectingStorage, mutable_path: str
    ) -> None:
        other = Repository.open(storage)
        session = changed(repo)
        storage.faults.run(lambda: changed(other, 9).commit("nine"), "put", mutable_path)
        with pytest.raises(ConflictError):
            session.commit("seven")
        assert messages(repo) == ["nine"]
        assert first_value(repo) == 9

    def test_one_gives_up_at_last(self, storage: FaultInjectingStorage, raises: Raises) -> None:
        Repository.create(storage)
        retries = RepoUpdateRetryConfig(StorageRetriesSettings(3, 1, 2))
        repo = Repository.open(storage, RepositoryConfig(repo_update_retries=retries))
        other = Repository.open(storage)
        names = iter(range(100))
        running = False

        def overtake() -> None:
            nonlocal running
            if not running:
                running = True
                other.create_tag(f"{next(names)}", INITIAL)
                running = False

        storage.faults.run(overtake, "put", "repo", times=None)
        with raises(
            ConflictError,
            "update-attempts-exhausted",
            "repository cannot be updated after 3 attempts, too many concurrent changes",
        ):
            repo.create_branch("b", INITIAL)
        storage.faults.stop()
        repo.create_branch("b", INITIAL)

    def test_of_two_who_create_a_repository_both_can_open_it(
        self, storage: FaultInjectingStorage, spec_version: int
    ) -> None:
        path = "repo" if spec_version == 2 else "refs/branch.main/ref.json"
        storage.faults.run(
            lambda: Repository.create(storage, spec_version=spec_version, check_clean_root=False),
            "put",
            path,
        )
        assert Repository.open_or_create(storage, create_version=spec_version).list_branches() == {"main"}


class TestFailures:
    def test_whatever_fails_in_a_commit_the_session_goes_on(
        self, repo: Repository, storage: FaultInjectingStorage
    ) -> None:
        changed(repo).commit("count")
        num_requests = len(storage.faults.requests)
        for fault in (StorageError("broken"), KeyboardInterrupt(), MemoryError()):
            for number in range(num_requests + 2):
                for after_effect in (False, True):
                    value = 1000 + number * 2 + after_effect
                    session = changed(repo, value)
                    before = messages(repo)
                    storage.faults.fail(skip=number, error=fault, after_effect=after_effect, times=1)
                    try:
                        session.commit(f"{value}")
                    except type(fault):
                        if not session.read_only:
                            assert messages(repo) == before
                            storage.faults.stop()
                            session.commit(f"{value}")
                    storage.faults.stop()
                    assert session.snapshot_id == repo.lookup_branch("main")
                    assert messages(repo) == [*before, f"{value}"]
                    assert first_value(repo) == value

    def test_a_commit_that_failed_leaves_the_branch_alone(
        self, repo: Repository, storage: FaultInjectingStorage, mutable_path: str
    ) -> None:
        session = changed(repo)
        storage.faults.fail("put", mutable_path)
        with pytest.raises(StorageError):
            session.commit("seven")
        assert session.has_uncommitted_changes
        assert messages(repo) == []
        assert first_value(repo) == 1

    def test_a_failure_is_not_cached(self, repo: Repository, storage: FaultInjectingStorage) -> None:
        fresh = Repository.open(storage)
        storage.faults.fail("get", "snapshots/*")
        session = fresh.readonly_session("main")
        with pytest.raises(StorageError):
            zarr.open_array(session.store, path="a", mode="r")
        assert (zarr.open_array(session.store, path="a", mode="r")[:] == 1).all()

    def test_a_missing_branch_is_no_reason_to_write(
        self, repo: Repository, storage: FaultInjectingStorage
    ) -> None:
        with pytest.raises(RefNotFoundError):
            repo.delete_branch("zz")
        assert storage.faults.count("put") == storage.faults.count("copy") == 0


class TestRequests:
    """How much is asked of storage, and how much of it in turn."""

    def round_trips(self, storage: FaultInjectingStorage, work: Callable[[], object]) -> int:
        """Count the requests that waited for each other.

        Requests are held back until none has come for a while; those go on together, as one trip. A
        machine under load that starts a thread late is no second trip.
        """
        quiet_seconds = 0.2
        lock = threading.Lock()
        last_begin = 0.0
        waiting = trips = 0

        def slow() -> None:
            nonlocal last_begin, waiting, trips
            with lock:
                if not waiting:
                    trips += 1
                waiting += 1
                last_begin = time.perf_counter()
            while (left := last_begin + quiet_seconds - time.perf_counter()) > 0:
                time.sleep(left)
            with lock:
                waiting -= 1

        storage.faults.forget()
        storage.faults.run(slow, times=None)
        work()
        storage.faults.stop()
        return trips

    @pytest.fixture
    def storage(self) -> FaultInjectingStorage:
        return FaultInjectingStorage(icechunk.in_memory_storage(), locality=Locality.REMOTE)

    # Storage in memory says that a byte is worth a request; what is far away does not.
    FAR = RepositoryConfig(
        storage=icechunk.StorageSettings(concurrency=icechunk.StorageConcurrencySettings(18, 12 * 2**20))
    )

    def test_a_small_commit(self, repo: Repository, storage: FaultInjectingStorage) -> None:
        session = changed(repo)
        trips = self.round_trips(storage, lambda: session.commit("seven"))
        counts = storage.faults.counts()
        if repo.spec_version == 2:
            assert counts == {"put": 4, "stat": 1, "get": 1, "copy": 1}
        else:
            assert counts == {"put": 4, "stat": 1, "get": 1}
        # The files, and `repo` read meanwhile; its backup, beside a look at the clock; `repo`. In spec 1 the
        # ref is read beside that look.
        assert trips == 3

    def test_a_small_commit_that_has_to_read_a_manifest(
        self, spec_version: int, storage: FaultInjectingStorage
    ) -> None:
        repo = Repository.create(storage, spec_version=spec_version)
        session = repo.writable_session("main")
        zarr.create_array(session.store, name="a", shape=(8,), chunks=(2,), dtype="i4")[:] = 1
        session.commit("first")
        session = Repository.open(storage, self.FAR).writable_session("main")
        # A whole chunk: nobody has to read the old one.
        zarr.open_array(session.store, path="a")[:2] = 7
        trips = self.round_trips(storage, lambda: session.commit("seven"))
        assert storage.faults.count("get", "manifests/*") == 1
        assert trips == 4

    def test_a_commit_of_many_arrays(self, spec_version: int, storage: FaultInjectingStorage) -> None:
        repo = Repository.create(storage, spec_version=spec_version)
        session = repo.writable_session("main")
        for i in range(50):
            zarr.create_array(session.store, name=f"{i}", shape=(4,), chunks=(1,), dtype="i4")[:] = i + 1
        session.commit("arrays")
        repo = Repository.open(storage, self.FAR)
        session = repo.writable_session("main")
        for i in range(50):
            session.store._sync(session.store.delete(f"{i}/c/0"))
        storage.faults.forget()
        trips = self.round_trips(storage, lambda: session.commit("less"))
        assert storage.faults.counts()["put"] == 53
        assert storage.faults.counts()["get"] == 51
        # One more than above: the old manifests, all at once.
        assert trips == 4

    def test_what_was_read_ahead_may_be_out_of_date(
        self, repo: Repository, storage: FaultInjectingStorage
    ) -> None:
        session = changed(repo)
        # While the files are on their way, and `repo` has been read, a tag is made.
        storage.faults.run(
            lambda: Repository.open(storage).create_tag("meanwhile", session.snapshot_id),
            "put",
            "snapshots/*",
            after_effect=True,
        )
        snapshot_id = session.commit("seven")
        assert repo.lookup_branch("main") == snapshot_id
        assert repo.lookup_tag("meanwhile") != snapshot_id
        assert first_value(repo) == 7

    def test_a_branch_that_moved_while_files_were_written_is_a_conflict(
        self, repo: Repository, storage: FaultInjectingStorage
    ) -> None:
        session = changed(repo)
        storage.faults.run(
            lambda: changed(Repository.open(storage)).commit("faster"),
            "put",
            "snapshots/*",
            after_effect=True,
        )
        with pytest.raises(ConflictError):
            session.commit("seven")
        assert messages(repo) == ["faster"]
        assert session.has_uncommitted_changes

    def test_opening(self, repo: Repository, storage: FaultInjectingStorage) -> None:
        assert self.round_trips(storage, lambda: Repository.open(storage)) == 1
        assert storage.faults.counts() == {"get": 3}
        opened = Repository.open(storage, self.FAR)
        storage.faults.forget()
        session = opened.readonly_session("main")
        assert storage.faults.counts() == {"get": 1}
        storage.faults.forget()
        np.testing.assert_array_equal(zarr.open_array(session.store, path="a", mode="r")[:], np.ones(8))
        # The snapshot and the manifest, which has the chunks: they are small.
        assert storage.faults.counts() == {"get": 2}
        storage.faults.forget()
        assert first_value(opened) == 1
        assert storage.faults.counts() == {"get": 1}

    def test_a_large_chunk_comes_in_parts(self, storage: FaultInjectingStorage) -> None:
        config = RepositoryConfig(
            storage=icechunk.StorageSettings(
                concurrency=icechunk.StorageConcurrencySettings(
                    max_concurrent_requests_for_object=5, ideal_concurrent_request_size=1000
                )
            )
        )
        repo = Repository.create(storage, config)
        session = repo.writable_session("main")
        data = np.random.default_rng(0).integers(0, 255, 4500, dtype="u1")
        array = zarr.create_array(session.store, name="a", shape=4500, dtype="u1", compressors=None)
        array[:] = data
        session.commit("large")
        storage.faults.forget()
        store = repo.readonly_session("main").store
        np.testing.assert_array_equal(zarr.open_array(store, path="a", mode="r")[:], data)
        sizes = [request.size_bytes for request in storage.faults.requests if "chunks/" in request.path]
        assert sizes == [900] * 5

    def test_metadata_files_say_what_they_are(
        self, repo: Repository, storage: FaultInjectingStorage, spec_version: int
    ) -> None:
        backend = repo._engine.assets.backend
        kinds = {
            "snapshots": "snapshot",
            "manifests": "manifest",
            "transactions": "transaction-log",
        }
        for info in backend.list():
            folder = info.path.partition("/")[0]
            if folder in kinds or folder == "repo":
                assert dict(backend.stat(info.path).user_metadata) == {
                    "icspecver": str(spec_version),
                    "icclient": icechunk.user_agent(),
                    "icfiletype": kinds.get(folder, "repo-info"),
                    "iccompalg": "zstd",
                }

    def test_what_is_written_need_not_be_read(self, repo: Repository, storage: FaultInjectingStorage) -> None:
        tip = changed(repo).commit("seven")
        storage.faults.forget()
        assert repo._engine.assets.cached_snapshot(SnapshotId.parse(tip)) is not None
        assert first_value(repo) == 7
        assert storage.faults.counts() == {"get": 1}

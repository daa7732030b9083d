"""Many processes and threads on one repository in a folder, both spec versions.

Each test has a short form, and a long one that is marked `slow`.
"""

from __future__ import annotations

import asyncio
import os
import pickle
import signal
import subprocess
import sys
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
import zarr

from icechunk import Repository, Storage
from icechunk._engine.format.repo_info_records import BranchCreated, BranchDeleted, NewCommit, TagCreated
from icechunk._engine.repository.history_v2 import HistoryV2

INITIAL = "1CECHNKREP0F1RSTCMT0"
WORKERS = Path(__file__).with_name("workers.py")

no_fork = pytest.mark.skipif(not hasattr(os, "fork"), reason="this platform has no fork")


def start(*arguments: object) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, str(WORKERS), *map(str, arguments)], stdout=subprocess.PIPE, text=True
    )


def outputs_of(processes: list[subprocess.Popen[str]], timeout: float) -> list[str]:
    """Wait for all, and leave none behind."""
    try:
        outputs = [process.communicate(timeout=timeout)[0] for process in processes]
    finally:
        for process in processes:
            process.kill()
            process.communicate()
    assert [process.returncode for process in processes] == [0] * len(processes), outputs
    return outputs


def root_of(storage: Storage) -> str:
    return storage.location.root


@pytest.mark.timeout(900)
@pytest.mark.parametrize(
    ("writers", "commits", "ref_writers", "refs"),
    [
        pytest.param(2, 8, 1, 12, id="short"),
        pytest.param(8, 50, 8, 30, id="long", marks=pytest.mark.slow),
    ],
)
def test_every_commit_and_ref_that_was_reported_is_there(
    local_storage: Storage,
    spec_version: int,
    writers: int,
    commits: int,
    ref_writers: int,
    refs: int,
) -> None:
    Repository.create(local_storage, spec_version=spec_version)
    root = root_of(local_storage)
    processes = [start("commit", root, f"c{i}", commits) for i in range(writers)]
    processes += [start("refs", root, f"r{i}", refs) for i in range(ref_writers)]
    outputs = outputs_of(processes, 880)
    reports = [line.split() for output in outputs for line in output.splitlines()]
    committed = {line[1] for line in reports if line[0] == "commit"}
    arrays = {line[2] for line in reports if line[0] == "commit"}
    tags = {line[1] for line in reports if line[0] == "tag"}
    branches = {line[1] for line in reports if line[0] == "branch"}
    assert len(committed) == writers * commits
    repo = Repository.open(local_storage)
    assert {info.id for info in repo.ancestry(branch="main")} == {*committed, INITIAL}
    assert repo.list_tags() == tags
    assert repo.list_branches() == {"main", *branches}
    group = zarr.open_group(repo.readonly_session("main").store, mode="r")
    assert set(group.array_keys()) == arrays
    for name, array in group.arrays():
        assert (array[:] == int(name.rpartition("-")[2])).all()
    if spec_version == 2:
        check_ops_log(repo, committed, tags, branches, refs * ref_writers)


def check_ops_log(
    repo: Repository, committed: set[str], tags: set[str], branches: set[str], num_branches: int
) -> None:
    history = repo._engine.history
    assert isinstance(history, HistoryV2)
    updates = history._repo.load().latest_updates
    assert {str(u.kind.new_snap_id) for u in updates if isinstance(u.kind, NewCommit)} == committed
    assert {u.kind.name for u in updates if isinstance(u.kind, TagCreated)} == tags
    created = [u.kind.name for u in updates if isinstance(u.kind, BranchCreated)]
    deleted = {u.kind.name for u in updates if isinstance(u.kind, BranchDeleted)}
    assert len(created) == num_branches
    assert set(created) - deleted == branches
    times = [u.updated_at for u in updates]
    assert times == sorted(set(times), reverse=True)
    backups = [u.backup_path for u in updates]
    assert backups[0] is None
    backend = repo._engine.assets.backend
    for backup in backups[1:]:
        backend.stat(f"overwritten/{backup}")


@no_fork
@pytest.mark.timeout(900)
@pytest.mark.parametrize(
    "kills", [pytest.param(12, id="short"), pytest.param(200, id="long", marks=pytest.mark.slow)]
)
def test_a_writer_that_is_killed_leaves_a_repository_that_opens(
    local_storage: Storage, spec_version: int, kills: int
) -> None:
    Repository.create(local_storage, spec_version=spec_version)
    process = start("kill", root_of(local_storage), kills, 7)
    [output] = outputs_of([process], 880)
    assert int(output.split()[-1]) > 0


def read_all(repo: Repository) -> int:
    store = repo.readonly_session("main").store
    array = zarr.open_array(store, path="a", mode="r")
    assert repo.list_branches() == {"main"}
    return int(array[:].sum())


@no_fork
@pytest.mark.filterwarnings("ignore:.*fork.*:DeprecationWarning")
def test_threads_and_processes_share_one_handle(local_storage: Storage, spec_version: int) -> None:
    repo = Repository.create(local_storage, spec_version=spec_version)
    with repo.transaction("main", message="array") as store:
        zarr.create_array(store, name="a", shape=1000, chunks=10, dtype="i4")[:] = np.arange(1000)
    repo = Repository.open(local_storage)
    expected = sum(range(1000))
    stop = threading.Event()
    failures: list[BaseException] = []

    def read_on() -> None:
        try:
            while not stop.is_set():
                assert read_all(repo) == expected
        except BaseException as error:
            failures.append(error)

    threads = [threading.Thread(target=read_on) for _ in range(8)]
    for thread in threads:
        thread.start()
    try:
        children = [fork_reader(repo, expected) for _ in range(4)]
        codes = [os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) for child in children]
    finally:
        stop.set()
        for thread in threads:
            thread.join()
    assert codes == [0] * 4
    assert failures == []


def fork_reader(repo: Repository, expected: int) -> int:
    """Read in a forked child, through the parent's handle and without Zarr.

    Zarr's own event loop and locks do not survive a fork from a process with threads; ours must.
    """
    child = os.fork()
    if child == 0:
        code = 1
        try:
            signal.alarm(60)
            session = repo.readonly_session("main")._engine
            total = 0
            for i in range(100):
                found = session.load(f"a/c/{i}")
                assert found is not None
                total += len(str(found)) > 0
            code = 0 if total == 100 and repo.list_branches() == {"main"} else 2
        finally:
            os._exit(code)
    return child


def test_spawned_processes_read_through_a_handle_that_travelled(
    local_storage: Storage, spec_version: int, tmp_path: Path
) -> None:
    repo = Repository.create(local_storage, spec_version=spec_version)
    with repo.transaction("main", message="array") as store:
        zarr.create_array(store, name="a", shape=100, chunks=10, dtype="i4")[:] = np.arange(100)
    handle = tmp_path / "handle"
    handle.write_bytes(pickle.dumps(repo))
    program = (
        "import pickle, sys, zarr; repo = pickle.load(open(sys.argv[1], 'rb'));"
        "print(zarr.open_array(repo.readonly_session('main').store, path='a', mode='r')[:].sum())"
    )
    processes = [
        subprocess.Popen([sys.executable, "-c", program, str(handle)], stdout=subprocess.PIPE, text=True)
        for _ in range(2)
    ]
    assert [int(output) for output in outputs_of(processes, 280)] == [4950] * 2


def test_many_threads_commit_through_one_handle(local_storage: Storage, spec_version: int) -> None:
    repo = Repository.create(local_storage, spec_version=spec_version)

    def branch_of_one(i: int) -> list[str]:
        repo.create_branch(f"b{i}", INITIAL)
        for j in range(3):
            with repo.transaction(f"b{i}", message=f"{i} {j}") as store:
                zarr.create_group(store, path=f"{i}-{j}")
        return [info.message for info in repo.ancestry(branch=f"b{i}")]

    with ThreadPoolExecutor(8) as pool:
        histories = list(pool.map(branch_of_one, range(8)))
    for i, history in enumerate(histories):
        assert history == [f"{i} 2", f"{i} 1", f"{i} 0", "Repository initialized"]
    assert len(repo.list_branches()) == 9


async def test_everything_works_inside_of_a_running_event_loop(
    local_storage: Storage, spec_version: int
) -> None:
    repo = Repository.create(local_storage, spec_version=spec_version)
    with repo.transaction("main", message="blocking") as store:
        zarr.create_group(store, path="a")

    async def commit(i: int) -> str:
        await repo.create_branch_async(f"{i}", repo.lookup_branch("main"))
        session = await repo.writable_session_async(f"{i}")
        zarr.create_group(session.store, path=f"{i}")
        return await session.commit_async(f"{i}")

    tips = await asyncio.gather(*[commit(i) for i in range(5)])
    assert tips == [await repo.lookup_branch_async(f"{i}") for i in range(5)]


@pytest.mark.skipif(sys.platform == "win32", reason="signals of another kind")
def test_ctrl_c_in_a_commit_leaves_the_session_usable(
    local_storage: Storage, spec_version: int, request: pytest.FixtureRequest
) -> None:
    # A process that a shell has put in the background ignores it.
    previous = signal.signal(signal.SIGINT, signal.default_int_handler)
    request.addfinalizer(lambda: signal.signal(signal.SIGINT, previous))
    repo = Repository.create(local_storage, spec_version=spec_version)
    interrupted = 0
    for i in range(60):
        session = repo.writable_session("main")
        zarr.create_group(session.store, path=f"{i}")
        timer = threading.Timer(0.0001 * i, os.kill, (os.getpid(), signal.SIGINT))
        try:
            timer.start()
            session.commit(f"{i}")
            timer.join()
            # It comes here, if it comes after the commit.
            for _ in range(1000):
                pass
        except KeyboardInterrupt:
            interrupted += 1
        timer.join()
        if not session.read_only:
            session.commit(f"{i}")
        assert repo.lookup_branch("main") == session.snapshot_id
    assert interrupted > 0
    messages = [info.message for info in repo.ancestry(branch="main")]
    assert messages == [*map(str, reversed(range(60))), "Repository initialized"]

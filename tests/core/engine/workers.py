"""What the processes of `test_concurrency` do. Run as a script; results are lines on stdout.

workers.py commit ROOT NAME COUNT       commit COUNT times to main, opening anew and retrying
workers.py refs ROOT NAME COUNT         create branches and tags, delete every third branch
workers.py kill ROOT COUNT SEED         fork writers, kill them at random moments, look after each
"""

from __future__ import annotations

import os
import random
import select
import signal
import sys
import time

import zarr

from icechunk import ConflictError, Repository, local_filesystem_storage

INITIAL = "1CECHNKREP0F1RSTCMT0"


def commit(root: str, name: str, count: int) -> None:
    for i in range(count):
        while True:
            repo = Repository.open(local_filesystem_storage(root))
            session = repo.writable_session("main")
            zarr.create_array(session.store, name=f"{name}-{i}", shape=3, chunks=3, dtype="i4")[:] = i
            try:
                print("commit", session.commit(f"{name}-{i}"), f"{name}-{i}", flush=True)
                break
            except ConflictError:
                pass


def refs(root: str, name: str, count: int) -> None:
    repo = Repository.open(local_filesystem_storage(root))
    for i in range(count):
        repo.create_branch(f"{name}-{i}", INITIAL)
        repo.create_tag(f"{name}-{i}", INITIAL)
        print("tag", f"{name}-{i}")
        if i % 3:
            print("branch", f"{name}-{i}")
        else:
            repo.delete_branch(f"{name}-{i}")


def write_for_ever(root: str, acknowledge: int) -> None:
    repo = Repository.open(local_filesystem_storage(root))
    while True:
        session = repo.writable_session("main")
        array = zarr.open_array(session.store, path="a")
        array[:] = random.randrange(1000)
        id = session.commit("commit")
        os.write(acknowledge, id.encode() + b"\n")
        tag = f"{random.getrandbits(60)}"
        repo.create_tag(tag, id)
        os.write(acknowledge, tag.encode() + b"\n")


def kill(root: str, count: int, seed: int) -> None:
    moments = random.Random(seed)
    storage = local_filesystem_storage(root)
    with Repository.open(storage).transaction("main", message="array") as store:
        zarr.create_array(store, name="a", shape=100, chunks=10, dtype="i4")
    acknowledged = 0
    for number in range(count):
        reading, writing = os.pipe()
        child = os.fork()
        if child == 0:
            try:
                random.seed(number)
                write_for_ever(root, writing)
            except BaseException as error:
                print("a writer failed:", repr(error), flush=True)
            finally:
                os._exit(1)
        os.close(writing)
        if moments.random() < 0.7:
            # Not before it is at work, however busy the machine is.
            select.select([reading], [], [], 30)
        time.sleep(moments.uniform(0, 0.03))
        os.kill(child, signal.SIGKILL)
        _pid, status = os.waitpid(child, 0)
        assert os.waitstatus_to_exitcode(status) == -signal.SIGKILL, "the writer failed by itself"
        with os.fdopen(reading) as pipe:
            *told, _half = pipe.read().split("\n")
        repo = Repository.open(storage)
        history = {info.id for info in repo.ancestry(branch="main")}
        lost = set(told) - history - repo.list_tags()
        assert not lost, f"acknowledged and lost: {lost}"
        acknowledged += len(told)
        session = repo.writable_session("main")
        array = zarr.open_array(session.store, path="a")
        assert len(set(array[:].tolist())) == 1, "half a commit"
        array[:] = number
        session.commit("after")
    print("acknowledged", acknowledged)


if __name__ == "__main__":
    what, *arguments = sys.argv[1:]
    if what == "kill":
        kill(arguments[0], int(arguments[1]), int(arguments[2]))
    else:
        {"commit": commit, "refs": refs}[what](arguments[0], arguments[1], int(arguments[2]))

from __future__ import annotations

import os
import threading
import time
from functools import partial

import pytest

from icechunk._engine.assets.fanout import run_all


def test_results_come_in_the_order_of_the_work() -> None:
    def slow(i: int) -> int:
        time.sleep(0.001 * (20 - i))
        return i

    assert run_all([partial(slow, i) for i in range(20)]) == list(range(20))
    assert run_all([]) == []


def test_work_runs_side_by_side() -> None:
    together = threading.Barrier(4, timeout=10)
    run_all([together.wait] * 4)


def test_the_first_error_wins_and_nothing_is_running_afterwards() -> None:
    running = 0
    lock = threading.Lock()

    def work(i: int) -> None:
        nonlocal running
        with lock:
            running += 1
        try:
            if i == 3:
                raise ValueError("three")
            time.sleep(0.02)
        finally:
            with lock:
                running -= 1

    with pytest.raises(ValueError, match="three"):
        run_all([partial(work, i) for i in range(200)])
    assert running == 0


def test_an_error_of_the_callers_own_share_waits_for_the_others() -> None:
    done = []

    def fail() -> None:
        time.sleep(0.01)
        raise ValueError("mine")

    def work() -> None:
        time.sleep(0.05)
        done.append(1)

    with pytest.raises(ValueError, match="mine"):
        run_all([fail, work, work])
    assert len(done) == 2


def test_workers_do_not_wait_for_workers() -> None:
    def outer() -> int:
        return sum(run_all([lambda: 1] * 5))

    assert run_all([outer] * 100) == [5] * 100


@pytest.mark.skipif(not hasattr(os, "fork"), reason="this platform has no fork")
@pytest.mark.filterwarnings("ignore:.*fork.*:DeprecationWarning")
def test_a_forked_child_has_a_pool_of_its_own() -> None:
    run_all([lambda: None] * 4)
    pid = os.fork()
    if pid == 0:
        try:
            together = threading.Barrier(3, timeout=10)
            run_all([together.wait] * 3)
        except BaseException:
            os._exit(1)
        os._exit(0)
    assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 0

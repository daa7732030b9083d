"""Runs independent pieces of blocking work side by side, over one bounded pool."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Sequence
from concurrent.futures import FIRST_EXCEPTION, Future, ThreadPoolExecutor, wait
from typing import TypeVar

from icechunk._engine.assets.after_fork import remake_after_fork

_log = logging.getLogger("icechunk.assets")

T = TypeVar("T")

# Requests in flight in one process. The work is waiting for a network, not computing: more
# threads than cores, and few enough that their stacks and connections cost nothing.
MAX_WORKERS = 64


class _Pool:
    """The process's pool, made at first need, and again in a forked child."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._executor: ThreadPoolExecutor | None = None
        self.in_worker = threading.local()
        remake_after_fork(self)

    def remake_after_fork(self) -> None:
        self._lock = threading.Lock()
        self._executor = None
        self.in_worker = threading.local()

    def executor(self) -> ThreadPoolExecutor:
        with self._lock:
            if self._executor is None:
                self._executor = ThreadPoolExecutor(
                    MAX_WORKERS, thread_name_prefix="icechunk-io", initializer=self._mark_worker
                )
            return self._executor

    def _mark_worker(self) -> None:
        self.in_worker.yes = True


_pool = _Pool()


def run_later(work: Callable[[], object]) -> None:
    """Call `work` in a thread of the pool, for its effects alone. Errors end up in the log."""

    def attempt() -> None:
        try:
            work()
        except Exception:
            _log.debug("work in the background has failed", exc_info=True)

    _pool.executor().submit(attempt)


def run_all(work: Sequence[Callable[[], T]]) -> list[T]:
    """Call every item of `work`, side by side, and return the results in the same order.

    The first error wins: what has not begun by then is cancelled, what has is waited for, and
    the error is raised. So nothing is still running when this returns or raises, whichever way.

    A call from inside a worker runs in place, one after another: workers never wait for
    workers, so the pool cannot deadlock.
    """
    if len(work) < 2 or getattr(_pool.in_worker, "yes", False):
        return [item() for item in work]
    executor = _pool.executor()
    futures: list[Future[T]] = []
    try:
        # The caller's thread would only wait: it takes the first item itself.
        futures.extend(executor.submit(item) for item in work[1:])
        first = work[0]()
        done, _running = wait(futures, return_when=FIRST_EXCEPTION)
        for future in done:
            future.result()  # raises, if that is how it ended
        return [first, *(future.result() for future in futures)]
    except BaseException:
        # What runs may be writing: nobody must find it doing so after we have answered.
        for future in futures:
            future.cancel()
        wait(futures)
        raise

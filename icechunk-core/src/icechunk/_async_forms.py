"""Awaitable forms of blocking methods, and the threads that they run in.

The engine is blocking and written once; `commit_async = async_form(commit)` derives the awaitable
form, with the same signature and documentation. Nothing else in the library starts asyncio work.
"""

from __future__ import annotations

import asyncio
import contextvars
import functools
import inspect
import os
import threading
from concurrent.futures import ThreadPoolExecutor
from itertools import islice
from typing import TYPE_CHECKING, Any, Concatenate, ParamSpec, TypeVar, cast

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Coroutine, Iterable

P = ParamSpec("P")
R = TypeVar("R")
T = TypeVar("T")
C = TypeVar("C")

# Threads are started on demand and mostly wait for storage. asyncio's own pool has CPU count + 4
# of them, which on a small machine is less than the ten requests that Zarr keeps in flight.
_MAX_THREADS = 64

# The most items of an iterator that one hop to a thread brings.
_MAX_BATCH = 256


class _LazyPool:
    """A thread pool that is started at first use, and anew in a forked child."""

    def __init__(self, name: str) -> None:
        self._name = name
        self._lock = threading.Lock()
        self._executor: ThreadPoolExecutor | None = None
        if hasattr(os, "register_at_fork"):
            os.register_at_fork(after_in_child=self._forget)

    def _forget(self) -> None:
        # The parent's threads do not exist in the child, and its lock may have been held.
        self._lock = threading.Lock()
        self._executor = None

    def executor(self) -> ThreadPoolExecutor:
        executor = self._executor
        if executor is None:
            with self._lock:
                executor = self._executor
                if executor is None:
                    executor = ThreadPoolExecutor(_MAX_THREADS, thread_name_prefix=self._name)
                    self._executor = executor
        return executor


# Two pools: a call may run code of the user's (a conflict solver) that reads through a store and
# waits for it, so reads need threads that calls cannot exhaust.
_calls = _LazyPool("icechunk-call")
_reads = _LazyPool("icechunk-io")


async def run_call(function: Callable[P, R], *args: P.args, **kwargs: P.kwargs) -> R:
    """Run a whole blocking operation in a thread, and await its result.

    Cancelling the awaitable does not stop the work.
    """
    context = contextvars.copy_context()
    work = functools.partial(context.run, function, *args, **kwargs)
    return await asyncio.get_running_loop().run_in_executor(_calls.executor(), work)


async def run_io(function: Callable[P, R], *args: P.args, **kwargs: P.kwargs) -> R:
    """Run one read or write of storage in a thread, and await its result."""
    work = functools.partial(function, *args, **kwargs)
    return await asyncio.get_running_loop().run_in_executor(_reads.executor(), work)


def async_form(blocking: Callable[P, R], *, name: str | None = None) -> Callable[P, Coroutine[Any, Any, R]]:
    """Derive the awaitable form of a blocking method.

    The twin looks the blocking method up on the object, so that an override counts.

    Parameters
    ----------
    blocking
        A method, in the body of its class.
    name
        The name of the twin, if it is not that of the method with `_async` behind.
    """
    blocking_name = blocking.__name__

    async def twin(self: Any, *args: Any, **kwargs: Any) -> R:
        return await run_call(cast("Callable[..., R]", getattr(self, blocking_name)), *args, **kwargs)

    _dress(twin, blocking, name)
    return cast("Callable[P, Coroutine[Any, Any, R]]", twin)


def async_class_form(
    blocking: Callable[Concatenate[type[C], P], R], *, name: str | None = None
) -> classmethod[C, P, Coroutine[Any, Any, R]]:
    """Derive the awaitable form of a blocking class method; see `async_form`.

    Stands under the class method in the body of its class: `create_async = async_class_form(create)`.
    """
    # In the body of a class the name stands for the descriptor, which type checkers do not see.
    function = cast("classmethod[C, P, R]", blocking).__func__
    return classmethod(async_form(function, name=name))


def async_iterator_form(
    blocking: Callable[P, Iterable[T]],
    *,
    name: str | None = None,
    check: Callable[P, object] | None = None,
) -> Callable[P, AsyncIterator[T]]:
    """Derive the asynchronous iterator of a blocking method that returns an iterator.

    Items are fetched in batches that double, so the first one comes soon and a long history
    does not pay for a hop to a thread at each item.

    Parameters
    ----------
    blocking, name
        As for `async_form`.
    check
        Called with the same arguments, in place and not when the first item is asked for: raises what
        needs no I/O to be known.
    """
    blocking_name = blocking.__name__

    def twin(self: Any, *args: Any, **kwargs: Any) -> AsyncIterator[T]:
        if check is not None:
            cast("Callable[..., object]", check)(self, *args, **kwargs)
        return items_of(self, *args, **kwargs)

    async def items_of(self: Any, *args: Any, **kwargs: Any) -> AsyncIterator[T]:
        items: Iterable[T] = await run_call(getattr(self, blocking_name), *args, **kwargs)
        iterator = iter(items)
        size = 1
        while batch := await run_call(_take, iterator, size):
            for item in batch:
                yield item
            size = min(2 * size, _MAX_BATCH)

    _dress(twin, blocking, name)
    return cast("Callable[P, AsyncIterator[T]]", twin)


def _take(iterator: Iterable[T], size: int) -> list[T]:
    return list(islice(iterator, size))


def _dress(twin: Callable[..., Any], blocking: Callable[..., Any], name: str | None) -> None:
    """Give `twin` the signature and documentation of `blocking`, and a name of its own."""
    twin_name = name or f"{blocking.__name__}_async"
    qualified, dot, _ = blocking.__qualname__.rpartition(".")
    signature = inspect.signature(blocking)
    note = (
        f"The awaitable form of `{blocking.__name__}`, which runs in a thread of the library's own."
        "\nCancelling the awaitable does not stop the work."
    )
    twin.__name__ = twin_name
    twin.__qualname__ = f"{qualified}{dot}{twin_name}"
    twin.__module__ = blocking.__module__
    documentation = inspect.cleandoc(blocking.__doc__ or "")
    twin.__doc__ = f"{documentation}\n\n{note}" if documentation else note
    twin.__annotations__ = dict(blocking.__annotations__)
    twin.__signature__ = signature  # type: ignore[attr-defined]

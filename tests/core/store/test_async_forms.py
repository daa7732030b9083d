"""Awaitable forms: signature, documentation, overrides, threads."""

from __future__ import annotations

import asyncio
import contextvars
import inspect
import threading
from typing import TYPE_CHECKING

import pytest

from icechunk._async_forms import async_class_form, async_form, async_iterator_form, run_io

if TYPE_CHECKING:
    from collections.abc import Iterator

context = contextvars.ContextVar("context", default="unset")


class Subject:
    def work(self, number: int, *, factor: int = 2) -> tuple[int, str, str]:
        """Do the work."""
        return number * factor, threading.current_thread().name, context.get()

    work_async = async_form(work)

    @classmethod
    def make(cls, number: int) -> Subject:
        """Make one."""
        if number < 0:
            raise ValueError(number)
        return cls()

    make_async = async_class_form(make)

    def count(self, stop: int) -> Iterator[int]:
        """Count."""
        for number in range(stop):
            if number == 500:
                raise LookupError(number)
            yield number

    async_count = async_iterator_form(count, name="async_count")

    def _check(self, stop: int) -> None:
        if stop < 0:
            raise ValueError(stop)

    checked_count = async_iterator_form(count, name="checked_count", check=_check)


class Override(Subject):
    def work(self, number: int, *, factor: int = 2) -> tuple[int, str, str]:
        return -1, "", ""


async def test_the_twin_runs_in_a_thread_of_ours_with_the_callers_context() -> None:
    context.set("mine")
    result, thread, seen = await Subject().work_async(3, factor=5)
    assert result == 15
    assert thread.startswith("icechunk-call")
    assert seen == "mine"


async def test_an_override_of_the_blocking_method_counts() -> None:
    assert (await Override().work_async(3))[0] == -1


async def test_a_class_method_has_a_twin() -> None:
    assert type(await Override.make_async(1)) is Override
    with pytest.raises(ValueError):
        await Subject.make_async(-1)


async def test_an_iterator_comes_in_batches_and_raises_where_the_blocking_one_does() -> None:
    subject = Subject()
    assert [n async for n in subject.async_count(300)] == list(range(300))
    seen: list[int] = []

    async def read_on() -> None:
        async for number in subject.async_count(1000):
            seen.append(number)  # noqa: PERF401 - what came before the error is the point

    with pytest.raises(LookupError):
        await read_on()
    assert seen == list(range(len(seen)))


async def test_an_iterator_can_refuse_before_anybody_asks_for_an_item() -> None:
    with pytest.raises(ValueError, match="-1"):
        Subject().checked_count(-1)
    assert [n async for n in Subject().checked_count(2)] == [0, 1]
    Subject().async_count(-1)


def test_the_twin_looks_like_a_method_of_its_own() -> None:
    assert inspect.iscoroutinefunction(Subject.work_async)
    assert inspect.iscoroutinefunction(Subject.make_async)
    assert Subject.work_async.__name__ == "work_async"
    assert Subject.work_async.__qualname__ == "Subject.work_async"
    assert inspect.signature(Subject.work_async) == inspect.signature(Subject.work)
    assert Subject.async_count.__name__ == "async_count"
    documentation = inspect.getdoc(Subject.work_async) or ""
    assert documentation.startswith("Do the work.")
    assert "Cancelling" in documentation


async def test_reads_do_not_wait_for_calls() -> None:
    # A call may run code of the user's that reads through a store and waits for it.
    def nested() -> str:
        return asyncio.run(run_io(threading.current_thread().__class__.__name__.lower))

    class Nesting:
        def go(self) -> str:
            return nested()

        go_async = async_form(go)

    results = await asyncio.gather(*(Nesting().go_async() for _ in range(80)))
    assert set(results) == {"thread"}

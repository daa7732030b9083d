from __future__ import annotations

import threading
import time

import pytest

from icechunk._engine.assets.weighted_cache import WeightedCache


def no_load() -> str:
    raise AssertionError("there is no need to load")


def test_what_was_put_is_found() -> None:
    cache: WeightedCache[str, str] = WeightedCache(10, len)
    cache.put("a", "xyz")
    assert cache.find("a") == "xyz"
    assert cache.find("b") is None
    assert cache.load("a", no_load) == "xyz"


def test_what_was_used_least_recently_goes_first() -> None:
    cache: WeightedCache[str, str] = WeightedCache(10, len)
    cache.put("a", "1234")
    cache.put("b", "1234")
    cache.find("a")
    cache.put("c", "1234")
    assert cache.find("b") is None
    assert cache.find("a") == cache.find("c") == "1234"


def test_replacing_a_value_replaces_its_weight() -> None:
    cache: WeightedCache[str, str] = WeightedCache(10, len)
    cache.put("a", "123456789")
    cache.put("a", "1")
    cache.put("b", "12345678")
    assert cache.find("a") == "1"


def test_a_capacity_of_nothing_keeps_nothing() -> None:
    cache: WeightedCache[str, str] = WeightedCache(0, len)
    cache.put("a", "")
    assert cache.find("a") is None
    assert cache.load("a", lambda: "x") == "x"
    assert cache.load("a", lambda: "y") == "y"


def test_one_value_heavier_than_the_capacity_stays_until_the_next_one() -> None:
    cache: WeightedCache[str, str] = WeightedCache(3, len)
    cache.put("a", "12345")
    assert cache.find("a") == "12345"
    cache.put("b", "1")
    assert cache.find("a") is None
    assert cache.find("b") == "1"


def test_a_value_can_be_made_when_somebody_asks_for_it() -> None:
    cache: WeightedCache[str, str] = WeightedCache(10, len)
    calls = []

    def make() -> str:
        calls.append(1)
        return "xyz"

    cache.put_later("a", make, 6)
    cache.put_later("b", make, 6)
    assert not calls
    assert cache.find("a") is None
    assert cache.find("b") == cache.load("b", no_load) == "xyz"
    assert len(calls) == 1


def test_many_waiters_share_one_load() -> None:
    cache: WeightedCache[str, str] = WeightedCache(10, len)
    begun = threading.Event()
    go_on = threading.Event()
    calls = 0

    def fetch() -> str:
        nonlocal calls
        calls += 1
        begun.set()
        go_on.wait(10)
        return "x"

    results: list[str] = []
    threads = [threading.Thread(target=lambda: results.append(cache.load("a", fetch))) for _ in range(8)]
    threads[0].start()
    assert begun.wait(10)
    for thread in threads[1:]:
        thread.start()
    time.sleep(0.05)
    go_on.set()
    for thread in threads:
        thread.join()
    assert results == ["x"] * 8
    assert calls == 1


def test_an_error_reaches_all_waiters_and_is_not_remembered() -> None:
    cache: WeightedCache[str, str] = WeightedCache(10, len)
    begun = threading.Event()
    go_on = threading.Event()

    def fail() -> str:
        begun.set()
        go_on.wait(10)
        raise ValueError("no")

    errors: list[str] = []

    def ask() -> None:
        try:
            cache.load("a", fail)
        except ValueError as error:
            errors.append(str(error))

    threads = [threading.Thread(target=ask) for _ in range(3)]
    threads[0].start()
    assert begun.wait(10)
    for thread in threads[1:]:
        thread.start()
    time.sleep(0.05)
    go_on.set()
    for thread in threads:
        thread.join()
    assert errors == ["no"] * 3
    assert cache.load("a", lambda: "yes") == "yes"


def test_a_waiter_takes_over_from_a_loader_that_is_interrupted() -> None:
    cache: WeightedCache[str, str] = WeightedCache(10, len)
    begun = threading.Event()
    go_on = threading.Event()

    def interrupted() -> str:
        begun.set()
        go_on.wait(10)
        raise KeyboardInterrupt

    def first() -> None:
        with pytest.raises(KeyboardInterrupt):
            cache.load("a", interrupted)

    results: list[str] = []
    pilot = threading.Thread(target=first)
    pilot.start()
    assert begun.wait(10)
    waiter = threading.Thread(target=lambda: results.append(cache.load("a", lambda: "x")))
    waiter.start()
    time.sleep(0.05)
    go_on.set()
    pilot.join()
    waiter.join()
    assert results == ["x"]

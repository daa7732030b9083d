"""A cache of immutable things with a limit on their total weight, and one load for many waiters."""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Callable, Hashable
from typing import Generic, TypeVar

K = TypeVar("K", bound=Hashable)
V = TypeVar("V")


class _Flight(Generic[V]):
    """A load in progress: the thread that does it, and those that wait for it."""

    __slots__ = ("done", "error", "landed", "value")

    def __init__(self) -> None:
        self.done = threading.Event()
        self.landed = False
        self.value: V
        self.error: Exception | None = None


class _Later(Generic[V]):
    """Stands for a value that nobody has asked for yet."""

    __slots__ = ("make",)

    def __init__(self, make: Callable[[], V]) -> None:
        self.make = make


class WeightedCache(Generic[K, V]):
    """Keeps the most recently used values, up to a total weight. Safe from several threads.

    A `capacity` of 0 keeps nothing. Otherwise the newest value stays even when it alone is
    heavier than the capacity: a manifest that is too big for the cache would else be fetched
    again for every chunk that is read through it.
    """

    def __init__(self, capacity: int, weigh: Callable[[V], int]) -> None:
        self._capacity = capacity
        # Below this weight nothing is about to be evicted, so that recency need not be kept.
        self._calm = capacity // 2
        self._weigh = weigh
        self._entries: OrderedDict[K, tuple[V | _Later[V], int]] = OrderedDict()
        self._weight = 0
        self._flights: dict[K, _Flight[V]] = {}
        self._lock = threading.Lock()

    def remake_after_fork(self) -> None:
        """Forget the parent's loads in progress; what is cached stays."""
        self._lock = threading.Lock()
        self._flights = {}

    def find(self, key: K) -> V | None:
        """Return the value if it is here. Never waits for a load."""
        entry = self._entries.get(key)
        if entry is None:
            return None
        if self._weight > self._calm:
            with self._lock:
                if key in self._entries:
                    self._entries.move_to_end(key)
        value = entry[0]
        return self._made(key, value, entry[1]) if isinstance(value, _Later) else value

    def _made(self, key: K, later: _Later[V], weight: int) -> V:
        # Of two threads that come here at once both make it; either is as good.
        value = later.make()
        with self._lock:
            if key in self._entries:
                self._entries[key] = (value, weight)
        return value

    def put(self, key: K, value: V) -> None:
        """Keep `value`, and drop what was used least recently to make room for it."""
        if self._capacity > 0:
            self._put(key, value, self._weigh(value))

    def put_later(self, key: K, make: Callable[[], V], weight: int) -> None:
        """Keep what `make` returns, which is called when somebody asks for it."""
        if self._capacity > 0:
            self._put(key, _Later(make), weight)

    def _put(self, key: K, value: V | _Later[V], weight: int) -> None:
        weight = max(1, weight)
        with self._lock:
            replaced = self._entries.pop(key, None)
            if replaced is not None:
                self._weight -= replaced[1]
            self._entries[key] = (value, weight)
            self._weight += weight
            while self._weight > self._capacity and len(self._entries) > 1:
                _key, (_value, dropped) = self._entries.popitem(last=False)
                self._weight -= dropped

    def load(self, key: K, fetch: Callable[[], V]) -> V:
        """Return the value, calling `fetch` if it is not here.

        Threads that ask for one key at one time share one call. An error reaches all of them;
        nothing is remembered of it. When the loading thread is interrupted (Ctrl-C), that is
        its own affair: one of the waiters takes over.
        """
        while True:
            found = self.find(key)
            if found is not None:
                return found
            with self._lock:
                if key in self._entries:
                    continue  # it has just come
                flight = self._flights.get(key)
                is_pilot = flight is None
                if flight is None:
                    flight = self._flights[key] = _Flight()
            if is_pilot:
                return self._fly(key, flight, fetch)
            flight.done.wait()
            if flight.landed:
                return flight.value
            if flight.error is not None:
                raise flight.error

    def _fly(self, key: K, flight: _Flight[V], fetch: Callable[[], V]) -> V:
        try:
            flight.value = fetch()
            # Kept before the flight ends: whoever comes after finds the one or the other.
            self.put(key, flight.value)
            flight.landed = True
        except Exception as error:
            flight.error = error
            raise
        finally:
            with self._lock:
                self._flights.pop(key, None)
            flight.done.set()
        return flight.value

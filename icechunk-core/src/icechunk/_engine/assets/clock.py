"""The time, as the format counts it: whole microseconds since the epoch, UTC."""

from __future__ import annotations

import time
from datetime import UTC, datetime, timedelta

from icechunk._display.literals import rfc3339_text

# A clock that is this far behind what a repository has seen is drift between machines, or two
# events in one tick, and is smoothed over. More is an error that somebody must look at.
TOLERATED_DRIFT_US = 1_000_000


def now_us() -> int:
    """Return the time."""
    return time.time_ns() // 1000


def now_after(previous: int) -> int:
    """Return the time, but not before `previous` if it is only a little behind that.

    The result is after `previous` unless the clock is wrong by more than is tolerated.
    """
    now = now_us()
    if previous - TOLERATED_DRIFT_US < now <= previous:
        return previous + 1
    return now


_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


def as_datetime(microseconds: int) -> datetime:
    """Return a moment as a datetime, in UTC."""
    return _EPOCH + timedelta(microseconds=microseconds)


def as_microseconds(moment: datetime) -> int:
    """Return a moment, which knows its time zone, as microseconds since the epoch."""
    return (moment - _EPOCH) // timedelta(microseconds=1)


def time_text(microseconds: int) -> str:
    """Return a moment as people read it in messages: no more digits than it has."""
    return rfc3339_text(as_datetime(microseconds)).replace("T", " ").replace("Z", " UTC")

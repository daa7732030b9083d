"""Helpers for writing with many workers, each of which has a fork of one session."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, cast

from icechunk.session import ForkSession, Session
from icechunk.store import IcechunkStore

if TYPE_CHECKING:
    import zarr

__all__ = ["extract_session", "merge_sessions"]


def extract_session(zarray: zarr.Array[Any], axis: Any = None, keepdims: Any = None) -> Session:
    """Return the session that an array writes to.

    Parameters
    ----------
    zarray
        A Zarr array on an Icechunk store.
    axis, keepdims
        Accepted and not looked at, so that this can be a step of a Dask reduction.
    """
    store = zarray.store
    if not isinstance(store, IcechunkStore):
        # As with the reference, whose callers catch this.
        raise AttributeError(f"'{type(store).__name__}' object has no attribute 'session'")
    return store.session


def merge_sessions(
    *sessions: ForkSession | list[ForkSession] | list[list[ForkSession]],
) -> ForkSession:
    """Merge forks into the first of them, and return that.

    Parameters
    ----------
    sessions
        Forks, and lists of them, which may hold lists.

    Raises
    ------
    TypeError
        Something else is among them. `Session.merge` merges forks into their session.
    ValueError
        There are none.
    """
    forks = list(_flat(sessions))
    for fork in forks:
        if not isinstance(fork, ForkSession):
            raise TypeError(
                "merge_sessions only accepts ForkSession objects. "
                f"Received {type(fork).__name__!r} instance instead. "
                "To merge forks into the session that they are from, use `Session.merge`"
            )
    if not forks:
        raise ValueError("not enough values to unpack: there is no session to merge")
    first, *others = cast("list[ForkSession]", forks)
    if others:
        first.merge(*others)
    return first


def _flat(items: Sequence[object]) -> list[object]:
    flat: list[object] = []
    for item in items:
        flat += _flat(item) if isinstance(item, list) else [item]
    return flat

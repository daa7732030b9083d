"""Gives a forked child locks and pools of its own.

`fork` copies locks in whatever state the parent's other threads had them, and copies no threads:
a lock held at that moment would stay held for ever in the child, and a pool would have no
workers. Whoever owns such things registers here, and is told in the child, before anything else
runs there.
"""

from __future__ import annotations

import os
import weakref
from typing import Protocol


class RemadeAfterFork(Protocol):
    """Owns locks, pools or unfinished work that a forked child must not inherit."""

    def remake_after_fork(self) -> None:
        """Replace them. Called in the child, which has one thread."""
        ...


_registered: weakref.WeakSet[RemadeAfterFork] = weakref.WeakSet()


def remake_after_fork(owner: RemadeAfterFork) -> None:
    """Have `owner.remake_after_fork()` called in every forked child, as long as it lives."""
    _registered.add(owner)


def _in_the_child() -> None:
    for owner in list(_registered):
        owner.remake_after_fork()


# Windows has no fork, and no register_at_fork.
if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_in_the_child)

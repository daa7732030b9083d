"""Moves of nodes, one after the other, as one map from paths now to paths in the base snapshot."""

from __future__ import annotations

from bisect import bisect_left, insort
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator


class Moves:
    """Where everything is after some moves.

    The map has an entry for each subtree that was moved, by its path now, and one for each path
    that was left; the longest entry that a path begins with says where the path comes from. So a
    look-up takes as many steps as the path has segments, however many moves there were. No entry
    says what follows from those above it, so each node is in one subtree.

    `origin` may be called while another thread moves something; two threads must not move at once.
    """

    __slots__ = ("_count", "_keys", "_origins")

    def __init__(self) -> None:
        self._count = 0
        self._origins: dict[str, str | None] = {}
        # The keys of `_origins` in order, so that those below a path are one slice.
        self._keys: list[str] = []

    def __bool__(self) -> bool:
        """Whether anything was ever moved, even if it was moved back."""
        return self._count > 0

    def move(self, source: str, target: str) -> None:
        """Move the node at `source` and everything below it to `target`, where nothing is.

        Both are absolute paths, and `target` is not below `source`. Nothing is below `target` either.
        """
        origin = self.origin(source)
        # What was left there is covered by what comes to lie over it.
        for path in self._keys_below(target):
            self._forget(path)
        below = [(path, self._origins[path]) for path in self._keys_below(source)]
        # Readers take no lock. In this order they may find a node in both places for a moment, but
        # never in none.
        for path, inner_origin in below:
            self._set(target + path[len(source) :], inner_origin)
        self._set(target, origin)
        self._set(source, None)
        for path, _ in below:
            self._forget(path)
        if self._inherited(target) == origin:
            # Back where it came from, seen from the subtree that it is in: it belongs to that again.
            self._forget(target)
        self._count += 1

    def origin(self, path: str) -> str | None:
        """Return the path in the base snapshot of what would be at `path` now.

        `None` if whatever is at that path in the base snapshot was moved away.
        """
        origins = self._origins
        head = path
        while head:
            origin = origins.get(head, "")
            if origin != "":
                return None if origin is None else origin + path[len(head) :]
            head = head[: head.rfind("/")]
        return path

    def _inherited(self, path: str) -> str | None:
        """As `origin`, as if there was no entry for the path itself."""
        cut = path.rfind("/")
        origin = self.origin(path[:cut])
        return None if origin is None else origin + path[cut:]

    def subtrees(self, path: str = "/") -> Iterator[tuple[str, str]]:
        """Yield the moved subtrees that are below `path` now: where they are, and where they were.

        What was moved on from inside of a subtree is not in it any more, although its old path is
        below that of the subtree: `origin` tells.
        """
        for key in self._keys_below(path):
            origin = self._origins.get(key)
            if origin is not None:
                yield key, origin

    def _forget(self, path: str) -> None:
        del self._origins[path]
        del self._keys[bisect_left(self._keys, path)]

    def _set(self, path: str, origin: str | None) -> None:
        if path not in self._origins:
            insort(self._keys, path)
        self._origins[path] = origin

    def _keys_below(self, path: str) -> list[str]:
        prefix = "/" if path == "/" else f"{path}/"
        # "0" is the character after "/".
        return self._keys[bisect_left(self._keys, prefix) : bisect_left(self._keys, prefix[:-1] + "0")]

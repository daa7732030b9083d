"""The addresses of core's own storage. (Apart from the plugin, so that making one imports no pluggy.)"""

from __future__ import annotations

import os

from icechunk.abc.locations import Location
from icechunk.backends.memory import MemoryStore

__all__ = ["local_location", "memory_location"]


def local_location(path: str, *, durable: bool = False) -> Location:
    """Say where a folder is, however the working directory changes later."""
    options: dict[str, object] = {}
    # Not normalised: `x/..` is not `.` where `x` is a symbolic link.
    root = os.path.join(os.getcwd(), path) if path else path
    if root != path:
        options["given"] = path
    if durable:
        options["durable"] = True
    return Location("local", root, options)


def memory_location() -> Location:
    """Say where a new, empty store is: in the location itself."""
    return Location("memory", "", {"store": MemoryStore()})

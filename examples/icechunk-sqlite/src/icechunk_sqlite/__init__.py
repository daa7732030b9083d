"""Icechunk repositories in SQLite files."""

from __future__ import annotations

import os

from icechunk.abc import Location, make_storage
from icechunk.storage import Storage

__all__ = ["sqlite_storage"]


def sqlite_storage(path: str | os.PathLike[str], *, timeout_seconds: float = 60) -> Storage:
    """Name an SQLite file as storage. It need not exist; the first write makes it.

    Parameters
    ----------
    path
        The file. A relative path is taken from the working directory of this moment.
    timeout_seconds
        How long a write waits for the writes of others.
    """
    return make_storage(
        Location("sqlite", os.path.abspath(os.fsdecode(path)), {"timeout_seconds": timeout_seconds})
    )

"""The small enumerations of the public API. Their numbers are the reference's."""

from __future__ import annotations

from enum import unique

from icechunk._values.records import Named, NamedInt

__all__ = ["ChunkType", "RepoAvailability", "SessionMode", "SpecVersion"]


@unique
class SpecVersion(int, Named):
    """A version of the Icechunk format: a number, as versions are compared and ordered."""

    __module__ = "icechunk"

    v1 = 1
    v2 = 2

    @staticmethod
    def current() -> SpecVersion:
        """Return the version of the repositories that are created when none is asked for."""
        return SpecVersion.v2

    def __repr__(self) -> str:
        mark = " (current)" if self is SpecVersion.v2 else ""
        return f"SpecVersion.{self.name}{mark}"

    __str__ = __repr__


@unique
class ChunkType(NamedInt):
    """Where the bytes of a chunk are."""

    __module__ = "icechunk"

    uninitialized = 0
    native = 1
    virtual = 2
    inline = 3


@unique
class SessionMode(Named):
    """What a session may do."""

    __module__ = "icechunk"

    readonly = 0
    writable = 1
    rearrange = 2


@unique
class RepoAvailability(NamedInt):
    """Whether a repository takes writes."""

    __module__ = "icechunk"

    online = 0
    read_only = 1

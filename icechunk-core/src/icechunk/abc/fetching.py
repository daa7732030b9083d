"""What a fetcher of virtual chunks implements: bytes of files that Icechunk did not write."""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass

__all__ = ["ChunkFetcher", "ChunkRequest"]


@dataclass(frozen=True, slots=True, kw_only=True)
class ChunkRequest:
    """Some bytes of one file, and the state in which the file was when they were referred to."""

    location: str
    """The absolute URL of the file, under the prefix of the container that the fetcher serves."""
    start: int
    """First byte."""
    stop: int
    """One past the last byte."""
    etag: str | None = None
    """If given, the file must have this etag still."""
    last_modified: int | None = None
    """If given, the file must not be newer than this: whole seconds since 1970, UTC."""


class ChunkFetcher(ABC):
    """Reads from the files of one virtual chunk container. Blocks; called from several threads."""

    @abstractmethod
    def fetch(self, request: ChunkRequest) -> bytes | memoryview:
        """Read the bytes from `start` to `stop`, exactly.

        Raises
        ------
        StorageError
            Of kind ``virtual-chunk-modified`` if the file is not in the state that was asked for;
            ``virtual-chunk-fetch`` if it is missing, too short or out of reach.
        """

    def close(self) -> None:  # noqa: B027 (nothing is a good default)
        """Let go of connections. Default: nothing."""

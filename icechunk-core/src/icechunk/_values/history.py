"""What a repository tells about its snapshots."""

from __future__ import annotations

import copy
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any, Protocol

from icechunk._display.blocks import Block
from icechunk._display.html import html
from icechunk._display.literals import datetime_text
from icechunk._values.records import Info

if TYPE_CHECKING:
    from collections.abc import Mapping

__all__ = ["EXACT_AS_FLOAT", "ManifestFileInfo", "SnapshotFacts", "SnapshotInfo", "moment"]

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


# Up to here, in the year 2106, a float of seconds is exact to a quarter of a microsecond.
EXACT_AS_FLOAT = 2**32 * 10**6


def moment(microseconds: int) -> datetime:
    """Turn microseconds since 1970 into a datetime, exactly, in UTC."""
    if 0 <= microseconds < EXACT_AS_FLOAT:
        return datetime.fromtimestamp(microseconds / 1_000_000, UTC)  # three times as fast
    return _EPOCH + timedelta(microseconds=microseconds)


class SnapshotFacts(Protocol):
    """What the format layer knows about a snapshot: with raw times."""

    @property
    def id_text(self) -> str: ...
    @property
    def parent_text(self) -> str | None: ...
    @property
    def flushed_at(self) -> int: ...
    @property
    def message(self) -> str: ...
    @property
    def metadata(self) -> Mapping[str, Any]: ...


class SnapshotInfo:
    """A snapshot: who it is, where it comes from, when and why it was made.

    A history can have very many of these, so an info holds the record that it was made from, and does
    the rest when it is asked.
    """

    __slots__ = ("_facts",)
    __module__ = "icechunk"
    __hash__ = None  # type: ignore[assignment]  # as in the API that we follow

    _facts: SnapshotFacts

    def __init__(self) -> None:
        raise TypeError("SnapshotInfo objects are made by the library")

    @classmethod
    def _of(cls, facts: SnapshotFacts) -> SnapshotInfo:
        info = object.__new__(cls)
        info._facts = facts
        return info

    @property
    def id(self) -> str:
        """The snapshot's id."""
        return self._facts.id_text

    @property
    def parent_id(self) -> str | None:
        """The id of the snapshot that this one was made from; None for the first."""
        return self._facts.parent_text

    @property
    def written_at(self) -> datetime:
        """When the snapshot was written, in UTC."""
        return moment(self._facts.flushed_at)

    @property
    def message(self) -> str:
        """The commit message."""
        return self._facts.message

    @property
    def metadata(self) -> dict[str, Any]:
        """The commit's metadata. A new dict with every call."""
        metadata = self._facts.metadata
        return copy.deepcopy(dict(metadata)) if metadata else {}

    def _contents(self) -> tuple[Any, ...]:
        facts = self._facts
        return self.id, self.parent_id, facts.flushed_at, facts.message, dict(facts.metadata)

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, SnapshotInfo):
            return NotImplemented
        return self._contents() == other._contents()

    def __reduce__(self) -> tuple[Any, ...]:
        return _snapshot_info, self._contents()

    def _block(self) -> Block:
        return Block(
            "icechunk.snapshots.SnapshotInfo",
            [
                ("id", self.id),
                ("parent_id", str(self.parent_id)),
                ("written_at", datetime_text(self.written_at)),
                ("message", self.message),
                ("metadata", repr(self.metadata)),
            ],
        )

    def __repr__(self) -> str:
        return self._block().text()

    def _repr_html_(self) -> str:
        return html(self._block())


class _Facts:
    """The facts of a snapshot that no file is at hand for."""

    __slots__ = ("flushed_at", "id_text", "message", "metadata", "parent_text")

    def __init__(
        self,
        snapshot_id: str,
        parent_id: str | None,
        flushed_at: int,
        message: str,
        metadata: dict[str, Any],
    ) -> None:
        self.id_text = snapshot_id
        self.parent_text = parent_id
        self.flushed_at = flushed_at
        self.message = message
        self.metadata = metadata


def _snapshot_info(*contents: Any) -> SnapshotInfo:
    return SnapshotInfo._of(_Facts(*contents))


class ManifestFileInfo(Info):
    """A manifest that a snapshot refers to."""

    __slots__ = ("id", "size_bytes", "num_chunk_refs")
    __module__ = "icechunk"
    _title = "icechunk.snapshots.ManifestFileInfo"

    id: str
    size_bytes: int
    num_chunk_refs: int

    @classmethod
    def _of(cls, manifest_id: str, *, size_bytes: int, num_chunk_refs: int) -> ManifestFileInfo:
        info = object.__new__(cls)
        info._fill(manifest_id, size_bytes, num_chunk_refs)
        return info

"""The engine behind a `Repository`, and how it is told which ref or snapshot is meant."""

from __future__ import annotations

from typing import TYPE_CHECKING

from icechunk._arguments import optional_texts
from icechunk._engine.format.ids import SnapshotId
from icechunk._engine.repository.repository import EngineRepository

if TYPE_CHECKING:
    from datetime import datetime


class RepositoryHandle:
    """What all parts of `Repository` stand on."""

    _engine: EngineRepository

    def __init__(self, repository: EngineRepository) -> None:
        if not isinstance(repository, EngineRepository):
            raise TypeError(
                "use Repository.create, Repository.open or Repository.open_or_create; "
                f"a repository is not made from an instance of {type(repository)}"
            )
        self._engine = repository

    def _resolve(
        self, branch: str | None, tag: str | None, snapshot_id: str | None, as_of: datetime | None = None
    ) -> SnapshotId:
        id = None if snapshot_id is None else SnapshotId.parse(snapshot_id)
        return self._engine.resolve(branch=branch, tag=tag, snapshot_id=id, as_of=as_of)


def exactly_one(**selectors: str | None) -> None:
    """Raise, unless one snapshot is selected, in one way."""
    # First what each of them is: two wrong ones are not one too many.
    optional_texts(**selectors)
    if sum(selector is not None for selector in selectors.values()) != 1:
        raise ValueError("Must provide one of branch, tag, or snapshot_id")

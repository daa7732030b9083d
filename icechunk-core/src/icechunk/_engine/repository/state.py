"""What a spec 2 repository says about itself: its metadata, its status, its feature flags.

Semantics 14. Each question costs one conditional GET, each change is one update of `repo`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from icechunk._engine.assets.clock import as_datetime, as_microseconds
from icechunk._engine.format.repo_info_records import (
    FeatureFlagChanged,
    MetadataChanged,
    RepoStatusChanged,
    StatusRecord,
    UpdateKind,
)
from icechunk._engine.repository.flags import FLAGS, flag_named, setting_of
from icechunk._values.enums import RepoAvailability
from icechunk._values.repository_state import FeatureFlag, RepoStatus

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from icechunk._engine.format.repo_info import RepoInfo
    from icechunk._engine.format.values import JsonValue
    from icechunk._engine.repository.repo_file import Change, RepoFile


class RepositoryState:
    """The state of the repository that `repo_file` holds. Safe from several threads."""

    def __init__(self, repo_file: RepoFile, changed: Callable[..., RepoInfo]) -> None:
        self._repo = repo_file
        self._changed = changed

    def metadata(self) -> Mapping[str, JsonValue]:
        """Return the repository's own metadata. Not to be changed."""
        return self._repo.load().metadata

    def set_metadata(self, metadata: Mapping[str, JsonValue]) -> None:
        """Replace the metadata."""
        self._update(MetadataChanged(), metadata=metadata)

    def update_metadata(self, metadata: Mapping[str, JsonValue]) -> Mapping[str, JsonValue]:
        """Lay `metadata` over what is there, by top-level key, and return the result."""

        def change(now: Change) -> RepoInfo:
            # Over what is there now: what others set meanwhile is kept.
            return self._changed(now, MetadataChanged(), metadata={**now.info.metadata, **metadata})

        return self._repo.update(change).metadata

    def status(self) -> RepoStatus:
        """Return whether the repository takes writes."""
        return public_status(self._repo.load().status)

    def set_status(self, status: RepoStatus) -> None:
        """Open the repository for writes, or close it. The only change that a closed one takes.

        Raises
        ------
        ValueError
            `status.set_at` is before 1970, for which the format has no number.
        """
        set_at = as_microseconds(status.set_at)
        if set_at < 0:
            raise ValueError(f"set_at is before 1970: {status.set_at}")
        record = StatusRecord(int(status.availability), set_at, status.limited_availability_reason)
        self._update(RepoStatusChanged(record), status=record, even_if_read_only=True)

    def feature_flags(self) -> list[FeatureFlag]:
        """Return all flags, in order of their numbers."""
        info = self._repo.load()
        return [
            FeatureFlag._of(flag.id, flag.name, default_enabled=True, setting=setting_of(flag, info))
            for flag in FLAGS
        ]

    def set_feature_flag(self, name: str, setting: bool | None) -> None:
        """Switch an operation on or off, or with None back to its default.

        Raises
        ------
        InvalidInputError
            There is no flag of this name.
        """
        id = flag_named(name).id

        def change(now: Change) -> RepoInfo:
            enabled = set(now.info.enabled_feature_flags) - {id}
            disabled = set(now.info.disabled_feature_flags) - {id}
            if setting is not None:
                (enabled if setting else disabled).add(id)
            return self._changed(
                now,
                FeatureFlagChanged(id, setting),
                enabled_feature_flags=enabled,
                disabled_feature_flags=disabled,
            )

        self._repo.update(change)

    def _update(self, kind: UpdateKind, *, even_if_read_only: bool = False, **parts: Any) -> None:
        self._repo.update(lambda now: self._changed(now, kind, **parts), even_if_read_only=even_if_read_only)


def public_status(record: StatusRecord) -> RepoStatus:
    """Return a status as users see it."""
    return RepoStatus(
        RepoAvailability(record.availability),
        as_datetime(record.set_at),
        record.limited_availability_reason,
    )

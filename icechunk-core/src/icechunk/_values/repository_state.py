"""What a repository tells about itself: whether it takes writes, and which operations are switched off."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING

from icechunk._display.blocks import Block
from icechunk._display.literals import datetime_text
from icechunk._values.checks import instance, required, text
from icechunk._values.enums import RepoAvailability
from icechunk._values.records import Info, aware

if TYPE_CHECKING:
    from typing import ClassVar

__all__ = ["FeatureFlag", "RepoStatus", "availability_name"]


def availability_name(availability: RepoAvailability) -> str:
    """Say how messages and ops logs call it."""
    return "ReadOnly" if availability is RepoAvailability.read_only else "Online"


class RepoStatus(Info):
    """Whether a repository takes writes.

    Parameters
    ----------
    availability
        Whether it does.
    set_at
        Since when. Unset, now.
    limited_availability_reason
        Why it does not.
    """

    __slots__ = ("availability", "set_at", "limited_availability_reason")
    __module__ = "icechunk"
    __hash__ = None  # type: ignore[assignment]  # as in the API that we follow
    _title: ClassVar[str | None] = "icechunk.repository.RepoStatus"

    availability: RepoAvailability
    set_at: datetime
    limited_availability_reason: str | None

    def __init__(
        self,
        availability: RepoAvailability,
        set_at: datetime | None = None,
        limited_availability_reason: str | None = None,
    ) -> None:
        self._fill(
            required(instance(RepoAvailability))("availability", availability),
            datetime.now(UTC) if set_at is None else aware(set_at),
            text("limited_availability_reason", limited_availability_reason),
        )

    def _block(self) -> Block:
        return Block(
            self._title,
            [
                ("availability", availability_name(self.availability)),
                ("set_at", datetime_text(self.set_at)),
                ("limited_availability_reason", str(self.limited_availability_reason)),
            ],
        )


class FeatureFlag(Info):
    """An operation that can be switched off for everybody who uses the repository."""

    __slots__ = ("id", "name", "default_enabled", "setting", "enabled")
    __module__ = "icechunk.config"

    id: int
    name: str
    default_enabled: bool
    setting: bool | None
    enabled: bool

    @classmethod
    def _of(cls, flag_id: int, name: str, *, default_enabled: bool, setting: bool | None) -> FeatureFlag:
        flag = object.__new__(cls)
        enabled = default_enabled if setting is None else setting
        flag._fill(flag_id, name, default_enabled, setting, enabled)
        return flag

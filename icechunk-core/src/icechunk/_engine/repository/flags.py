"""Feature flags: operations that can be switched off for everybody who uses a spec 2 repository.

Semantics 14. A repository lists the flags that were set, on and off; the others have their default.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from icechunk.errors import ErrorKind, InvalidInputError, SessionStateError

if TYPE_CHECKING:
    from icechunk._engine.format.repo_info import RepoInfo


class Flag(NamedTuple):
    """An operation that can be switched off. `id` is its number in files; all are on by default."""

    id: int
    name: str


MOVE_NODE = Flag(3, "move_node")
CREATE_TAG = Flag(4, "create_tag")
DELETE_TAG = Flag(5, "delete_tag")

FLAGS = (MOVE_NODE, CREATE_TAG, DELETE_TAG)


def flag_named(name: str) -> Flag:
    """Return a flag by its name.

    Raises
    ------
    InvalidInputError
        There is none of this name.
    """
    for flag in FLAGS:
        if flag.name == name:
            return flag
    raise InvalidInputError(
        f"invalid feature flag name: {name}; there are {', '.join(flag.name for flag in FLAGS)}",
        kind=ErrorKind.INVALID_FEATURE_FLAG,
    )


def setting_of(flag: Flag, info: RepoInfo) -> bool | None:
    """Return what a flag was set to; None if it was not."""
    if flag.id in info.disabled_feature_flags:
        return False
    return True if flag.id in info.enabled_feature_flags else None


def check_flag(flag: Flag, info: RepoInfo, action: str) -> None:
    """Refuse an operation that is switched off. `action` says which it is.

    Raises
    ------
    SessionStateError
        It is switched off.
    """
    if setting_of(flag, info) is False:
        raise SessionStateError(
            f"{action} is disabled by a feature flag ({flag.name})",
            kind=ErrorKind.FEATURE_FLAG_DISABLED,
        )

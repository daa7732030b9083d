"""The state of a `Repository` as a whole: its own metadata, its status and its feature flags."""

from __future__ import annotations

from collections.abc import Mapping
from copy import deepcopy
from typing import Any

from icechunk._arguments import flag, instance, text
from icechunk._async_forms import async_form
from icechunk._repository.handle import RepositoryHandle
from icechunk._values.repository_state import FeatureFlag, RepoStatus


class StateMethods(RepositoryHandle):
    """The methods of `Repository` for what holds for all of it."""

    # All of these are for repositories of spec version 2; in version 1 they raise a `FormatError`.

    @property
    def metadata(self) -> dict[str, Any]:
        """The repository's own metadata, as it is now: JSON values by name. See `get_metadata`."""
        return self.get_metadata()

    def get_metadata(self) -> dict[str, Any]:
        """Return the repository's own metadata: JSON values by name. A new dict with every call.

        Raises
        ------
        FormatError
            The repository is of spec version 1, which has no place for it.
        """
        return deepcopy(dict(self._engine.history.state.metadata()))

    get_metadata_async = async_form(get_metadata)

    def set_metadata(self, metadata: Mapping[str, Any]) -> None:
        """Replace the repository's own metadata.

        Parameters
        ----------
        metadata
            JSON values by name. Tuples become lists, NaN and the infinities `None`.

        Raises
        ------
        ReadOnlyError
            The repository's status is read-only.
        FormatError
            The repository is of spec version 1, which has no place for it.
        """
        self._engine.set_metadata(metadata)

    set_metadata_async = async_form(set_metadata)

    def update_metadata(self, metadata: Mapping[str, Any]) -> dict[str, Any]:
        """Add to the repository's own metadata, and return what it is then.

        Atomic: what others set under other names meanwhile is kept.

        Parameters
        ----------
        metadata
            JSON values by name, which replace those of the same name. See `set_metadata`.

        Raises
        ------
        ReadOnlyError
            The repository's status is read-only.
        FormatError
            The repository is of spec version 1, which has no place for it.
        """
        return deepcopy(dict(self._engine.update_metadata(metadata)))

    update_metadata_async = async_form(update_metadata)

    @property
    def status(self) -> RepoStatus:
        """Whether the repository takes writes now. See `get_status`."""
        return self.get_status()

    def get_status(self) -> RepoStatus:
        """Return whether the repository takes writes, since when, and why not.

        Raises
        ------
        FormatError
            The repository is of spec version 1, which always does.
        """
        return self._engine.history.state.status()

    get_status_async = async_form(get_status)

    def set_status(self, status: RepoStatus) -> None:
        """Close the repository for writes, or open it again.

        While it is closed, everything that would change it is refused with a `ReadOnlyError`, in
        all programs; commits of sessions that are open already, too. Reading goes on.

        Raises
        ------
        FormatError
            The repository is of spec version 1, which cannot be closed.
        """
        self._engine.set_status(instance("status", status, RepoStatus))

    set_status_async = async_form(set_status)

    def feature_flags(self) -> list[FeatureFlag]:
        """Return all operations that can be switched off, and whether they are.

        Raises
        ------
        FormatError
            The repository is of spec version 1, which has no flags.
        """
        return self._engine.history.state.feature_flags()

    feature_flags_async = async_form(feature_flags)

    def enabled_feature_flags(self) -> list[FeatureFlag]:
        """Return those of `feature_flags` that are on."""
        return [flag for flag in self.feature_flags() if flag.enabled]

    enabled_feature_flags_async = async_form(enabled_feature_flags)

    def disabled_feature_flags(self) -> list[FeatureFlag]:
        """Return those of `feature_flags` that are off."""
        return [flag for flag in self.feature_flags() if not flag.enabled]

    disabled_feature_flags_async = async_form(disabled_feature_flags)

    def set_feature_flag(self, name: str, setting: bool | None) -> None:
        """Switch an operation on or off for everybody who uses the repository.

        Parameters
        ----------
        name
            The name of one of `feature_flags`.
        setting
            On or off; `None` sets it back to its default.

        Raises
        ------
        InvalidInputError
            There is no flag of this name.
        ReadOnlyError
            The repository's status is read-only.
        FormatError
            The repository is of spec version 1, which has no flags.
        """
        state = None if setting is None else flag("setting", setting)
        self._engine.set_feature_flag(text("name", name), state)

    set_feature_flag_async = async_form(set_feature_flag)

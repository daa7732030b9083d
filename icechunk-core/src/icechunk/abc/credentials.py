"""What a provider of credentials implements, and the wrapper that keeps secrets out of every text."""

from __future__ import annotations

from abc import ABC, abstractmethod

__all__ = ["CredentialSource", "Secret"]


class Secret:
    """A text that must not show: its repr, str and format are stars.

    It compares, hashes and pickles, because a repository's location has to travel to the processes
    that use it; whoever pickles one decides where the bytes go.
    """

    __slots__ = ("_value",)

    def __init__(self, value: str) -> None:
        self._value = value

    def reveal(self) -> str:
        """Give the text itself: call it where the credential is used, and nowhere else."""
        return self._value

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Secret):
            return NotImplemented
        return self._value == other._value

    def __hash__(self) -> int:
        return hash((Secret, self._value))

    def __reduce__(self) -> tuple[type[Secret], tuple[str]]:
        return Secret, (self._value,)

    def __repr__(self) -> str:
        return "Secret(***)"

    def __str__(self) -> str:
        return "***"


class CredentialSource(ABC):
    """Credentials that are good now, however long the process runs.

    May be called from several threads. It caches: a call that needs no refreshing costs nothing.
    """

    @abstractmethod
    def current(self) -> object:
        """Return a credential record of `icechunk.credentials` that has not expired.

        Raises
        ------
        InvalidInputError
            Of kind ``invalid-credentials``: none can be had.
        """

"""The colours in which branches and tags are drawn."""

from __future__ import annotations

__all__ = ["TAG", "colour"]

TAG = "#5EC4F7"

# The first is that of main.
_BRANCHES = ("#B7E400", "#A653FF", "#FF6554", "#FF9E0D", "#F881D1")


def colour(number: int) -> str:
    """Return the colour of a branch. With many branches colours come back."""
    return _BRANCHES[number % len(_BRANCHES)]

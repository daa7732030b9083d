"""What the fields of settings accept. A check returns the value to keep, or raises.

`TypeError` for another type, `OverflowError` for a number that the format has no room for,
`ValueError` for a value that makes no sense. Unless it says `required`, a check accepts None: unset.
"""

from __future__ import annotations

import operator
from collections.abc import Callable
from typing import Any, TypeVar

__all__ = ["Check", "boolean", "instance", "integer", "required", "text", "unsigned"]

T = TypeVar("T")

#: From the name of a field and what somebody wants to put there, to what is kept.
Check = Callable[[str, Any], T]


def integer(least: int, greatest: int) -> Check[int | None]:
    """Accept whole numbers of a range, ends included."""

    def check(name: str, value: Any) -> int | None:
        if value is None:
            return None
        number = operator.index(value)
        if not least <= number <= greatest:
            raise OverflowError(f"{name} must be between {least} and {greatest}, got {number}")
        return int(number)

    return check


def unsigned(bits: int, *, allow_zero: bool = True) -> Check[int | None]:
    """Accept the whole numbers that fit into so many bits."""
    fits = integer(0, 2**bits - 1)
    if allow_zero:
        return fits

    def check(name: str, value: Any) -> int | None:
        number = fits(name, value)
        if number == 0:
            raise ValueError(f"{name} must not be zero")
        return number

    return check


def instance(cls: type[T]) -> Check[T | None]:
    """Accept objects of a class."""

    def check(name: str, value: Any) -> T | None:
        if value is not None and not isinstance(value, cls):
            raise TypeError(f"{name} must be of type {cls.__name__}, got {type(value).__name__}")
        return value

    return check


def required(check: Check[T | None]) -> Check[T]:
    """Accept what `check` does, except None."""

    def required_check(name: str, value: Any) -> T:
        kept = check(name, value)
        if kept is None:
            raise TypeError(f"{name} must not be None")
        return kept

    return required_check


text: Check[str | None] = instance(str)
boolean: Check[bool | None] = instance(bool)

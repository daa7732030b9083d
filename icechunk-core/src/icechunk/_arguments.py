"""What the doors let in: checks of arguments, whose errors name the parameter.

The engine trusts its types, and what it would say of an `int` where a name belongs (that there is no such branch,
that an `int` has no `startswith`) leads its reader astray. A check returns what it has checked.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from operator import index
from typing import Any, TypeVar

import numpy as np

T = TypeVar("T")


def instance(name: str, value: object, expected: type[T], *, hint: str = "") -> T:
    """Accept the instances of a class.

    Parameters
    ----------
    name
        What the caller knows the argument by.
    hint
        The way out, if it is not obvious.

    Raises
    ------
    TypeError
        `value` is no instance of the class.
    """
    if not isinstance(value, expected):
        raise _wrong_type(name, value, expected.__name__, hint)
    return value


def text(name: str, value: object) -> str:
    """Accept a str."""
    return instance(name, value, str)


def optional_texts(**arguments: object) -> None:
    """Accept a str or None for each of several parameters."""
    for name, value in arguments.items():
        if value is not None and not isinstance(value, str):
            raise _wrong_type(name, value, "str or None")


def mapping(name: str, value: object) -> Mapping[str, Any]:
    """Accept a dict, or what behaves like one."""
    if not isinstance(value, Mapping):
        raise _wrong_type(name, value, "dict")
    return value


def flag(name: str, value: object) -> bool:
    """Accept True and False, and NumPy's, which comparisons of arrays give; not what is merely truthy."""
    if not isinstance(value, (bool, np.bool_)):
        raise _wrong_type(name, value, "bool")
    return bool(value)


def whole_number(name: str, value: object, least: int, greatest: int) -> int:
    """Accept the whole numbers of a range, ends included.

    Raises
    ------
    TypeError
        `value` is no whole number.
    OverflowError
        It is outside of the range.
    """
    try:
        number = index(value)  # type: ignore[arg-type]
    except TypeError:
        raise _wrong_type(name, value, "whole number") from None
    if not least <= number <= greatest:
        raise OverflowError(f"{name} must be from {least} to {greatest}, not {number}")
    return number


def whole_numbers(name: str, values: object, least: int, greatest: int) -> list[int]:
    """Accept whole numbers of a range, from anything that yields some."""
    if not isinstance(values, Iterable) or isinstance(values, str):
        raise _wrong_type(name, values, "sequence of whole numbers")
    return [whole_number(f"{name}[{i}]", value, least, greatest) for i, value in enumerate(values)]


def chunk_index(name: str, values: object) -> list[int]:
    """Accept the place of a chunk in a grid: a list, a tuple or an array of numbers below 2**32."""
    # What has no order (a set) is no place, though it yields numbers.
    if not isinstance(values, (Sequence, np.ndarray)):
        raise _wrong_type(name, values, "sequence of whole numbers")
    return whole_numbers(name, values, 0, 2**32 - 1)


def _wrong_type(name: str, value: object, expected: str, hint: str = "") -> TypeError:
    # The value stays out of the message: it may be large, or a secret at the wrong place.
    found = "None" if value is None else f"an instance of {type(value).__name__}"
    return TypeError(f"{name} must be of type {expected}, not {found}{hint and f'; {hint}'}")

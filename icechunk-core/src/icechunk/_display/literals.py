"""Python values as the source text that makes them, in the library's own way of writing it."""

from __future__ import annotations

import json
from datetime import UTC
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence
    from datetime import datetime

__all__ = ["call_text", "datetime_text", "mapping_text", "quoted", "rfc3339_text"]

_INDENT = "    "


def quoted(text: str) -> str:
    """Give `text` as a string literal in double quotes.

    What JSON escapes, Python unescapes in the same way, so this is a Python literal too.
    """
    return json.dumps(text, ensure_ascii=False)


def datetime_text(value: datetime) -> str:
    """Give the expression for a moment, in UTC and down to the microsecond."""
    v = value.astimezone(UTC)
    return (
        f"datetime.datetime({v.year},{v.month},{v.day},{v.hour},{v.minute},{v.second},{v.microsecond}, "
        "tzinfo=datetime.timezone.utc)"
    )


def rfc3339_text(value: datetime) -> str:
    """Give a moment as programs read it, in UTC: with milliseconds or microseconds if it has such."""
    v = value.astimezone(UTC)
    digits = f".{v.microsecond:06d}" if v.microsecond else ""
    return f"{v:%Y-%m-%dT%H:%M:%S}{digits.removesuffix('000')}Z"


def call_text(name: str, arguments: Sequence[tuple[str, str]]) -> str:
    """Give a call with one keyword argument a line."""
    lines = [f"{_INDENT}{key}={_indented(value)},\n" for key, value in arguments]
    return f"{name}(\n{''.join(lines)})"


def mapping_text(items: Sequence[tuple[str, str]]) -> str:
    """Give a dict with one item a line."""
    if not items:
        return "{}"
    lines = [f"{_INDENT}{quoted(key)}: {_indented(value)},\n" for key, value in items]
    return f"{{\n{''.join(lines)}}}"


def _indented(text: str) -> str:
    return text.replace("\n", "\n" + _INDENT)

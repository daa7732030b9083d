"""Who makes the requests: labels that go into the User-Agent."""

from __future__ import annotations

import re

from icechunk._display.blocks import Block
from icechunk._display.html import html
from icechunk._display.literals import call_text, quoted
from icechunk._values.checks import text
from icechunk._values.records import Frozen

__all__ = ["Attribution"]

_MAX_BYTES = 128

# RFC 9110 section 5.6.2 says what a token is, section 10.1.5 what a product is.
_TOKEN = r"[!#$%&'*+\-.^_`|~0-9A-Za-z]+"
_PRODUCT = rf"{_TOKEN}(?:/{_TOKEN})?"
# Printable ASCII without what would end or split a comment in a header.
_FORBIDDEN = r'[^ -~]|[()\\;="]'


class Attribution(Frozen):
    """Who makes the requests to storage.

    Parameters
    ----------
    client
        The program, as `name` or `name/version`.
    workload, principal
        What is being done, and for whom. Printable ASCII without any of ``()\\;="``.
    """

    __slots__ = ("client", "workload", "principal")
    __module__ = "icechunk"

    client: str | None
    workload: str | None
    principal: str | None

    def __init__(
        self,
        *,
        client: str | None = None,
        workload: str | None = None,
        principal: str | None = None,
    ) -> None:
        self._fill(text("client", client), text("workload", workload), text("principal", principal))
        for name in self._field_names():
            _check(name, getattr(self, name))

    def _texts(self) -> list[tuple[str, str | Block]]:
        values = [(name, getattr(self, name)) for name in self._field_names()]
        return [(name, "None" if value is None else quoted(value)) for name, value in values]

    def _block(self) -> Block:
        return Block("icechunk.Attribution", self._texts())

    def __repr__(self) -> str:
        return call_text("icechunk.Attribution", [(name, str(value)) for name, value in self._texts()])

    def __str__(self) -> str:
        return self._block().text()

    def _repr_html_(self) -> str:
        return html(self._block())


def _check(name: str, value: str | None) -> None:
    if value is None:
        return
    if len(value.encode()) > _MAX_BYTES:
        raise ValueError(f"attribution `{name}` is longer than {_MAX_BYTES} bytes")
    if name == "client":
        if re.fullmatch(_PRODUCT, value) is None:
            raise ValueError(
                "attribution `client` must be `name` or `name/version` in token characters, "
                f"got {quoted(value)}"
            )
    elif forbidden := re.search(_FORBIDDEN, value):
        raise ValueError(f"attribution `{name}` contains the forbidden character {forbidden[0]!r}")

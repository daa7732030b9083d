"""How settings work: fields that check what is put into them, and that know what unset means.

A class of settings lists its fields in the order in which they are shown::

    class CompressionConfig(Settings):
        level = Field(unsigned(8), default=3)

Unset is None, also when read back: what the library then does is said by the field's `default`, which
`str()` shows and which `Settings.effective` resolves.
"""

from __future__ import annotations

import copy
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, ClassVar, Generic, Self, TypeVar, overload

from icechunk._display.blocks import Block
from icechunk._display.html import html
from icechunk._display.literals import call_text, quoted
from icechunk._values.records import Named, public_name

if TYPE_CHECKING:
    from collections.abc import Iterator

    from icechunk._values.checks import Check

__all__ = ["Field", "Settings", "value_text"]

T = TypeVar("T")


class Field(Generic[T]):
    """One setting: an attribute that runs `check` on whatever is assigned.

    Parameters
    ----------
    check
        Returns the value to keep, or raises.
    default
        What unset means: a value, or a function of no arguments that makes one. A function that makes
        settings is a nested default, shown in full.
    merges
        Whether `Settings.merge` goes into the field. Otherwise the other's value replaces ours whole.
    copied
        Copies values that are changed by other means than an assignment, a list for example. Whoever
        reads the field gets a copy.
    """

    __slots__ = ("_check", "_copied", "_default", "merges", "name")

    def __init__(
        self,
        check: Check[T],
        *,
        default: T | Callable[[], T] | None = None,
        merges: bool = False,
        copied: Callable[[T], T] | None = None,
    ) -> None:
        self._check = check
        self._copied = copied
        self._default = default
        self.merges = merges
        self.name = ""

    def __set_name__(self, owner: type[Settings], name: str) -> None:
        self.name = name

    @overload
    def __get__(self, instance: None, owner: type[Settings]) -> Self: ...
    @overload
    def __get__(self, instance: Settings, owner: type[Settings]) -> T: ...
    def __get__(self, instance: Settings | None, owner: type[Settings]) -> Self | T:
        if instance is None:
            return self
        value: T = instance._values[self.name]
        return value if self._copied is None else self._copied(value)

    def __set__(self, instance: Settings, value: T) -> None:
        instance._values[self.name] = self._check(self.name, value)

    def default(self) -> Any:
        """Make the value that unset stands for."""
        return self._default() if callable(self._default) else self._default


class Settings:
    """Things that a user can set, read and change, alone or as part of other settings."""

    __slots__ = ("_values",)
    __hash__ = None  # type: ignore[assignment]  # mutable

    _fields: ClassVar[dict[str, Field[Any]]] = {}

    def __init_subclass__(cls) -> None:
        cls._fields = {name: field for name, field in vars(cls).items() if isinstance(field, Field)}

    def __new__(cls, *_args: object, **_settings: object) -> Self:
        self = super().__new__(cls)
        object.__setattr__(self, "_values", {})
        return self

    _values: dict[str, Any]

    def effective(self, name: str) -> Any:
        """Return what a field amounts to: its value, or if unset, its default."""
        value = self._values[name]
        return self._fields[name].default() if value is None else value

    def _merged(self, other: Self) -> Self:
        """Overlay what `other` sets. Neither is changed, and nothing is shared with the result."""
        result = copy.deepcopy(self)
        for name, field in self._fields.items():
            theirs = other._values[name]
            if theirs is None:
                continue
            ours = self._values[name]
            if field.merges and ours is not None:
                result._values[name] = ours._merged(theirs)
            else:
                result._values[name] = copy.deepcopy(theirs)
        return result

    def __eq__(self, other: object) -> bool:
        if type(other) is not type(self):
            return NotImplemented
        return self._values == other._values

    def __copy__(self) -> Self:
        twin = type(self).__new__(type(self))
        twin._values.update(self._values)
        return twin

    def _items(self) -> Iterator[tuple[str, Any, Any]]:
        """Name, value and default of everything that is shown, in order."""
        for name, field in self._fields.items():
            yield name, self._values[name], field.default()

    def _block(self) -> Block:
        return Block(
            public_name(type(self)),
            [(name, _effective_text(value, default)) for name, value, default in self._items()],
        )

    def __repr__(self) -> str:
        return call_text(
            public_name(type(self)), [(name, value_text(value)) for name, value, _ in self._items()]
        )

    def __str__(self) -> str:
        return self._block().text()

    def _repr_html_(self) -> str:
        return html(self._block())


def value_text(value: object) -> str:
    """Give the expression for a value of a field."""
    if isinstance(value, str):
        return quoted(value)
    if isinstance(value, Named):
        return public_name(type(value)) + "." + value.name
    return repr(value)


def _effective_text(value: Any, default: Any) -> str | Block:
    shown = default if value is None else value
    block = getattr(shown, "_block", None)
    if block is not None:
        nested: Block = block()
        return nested
    mark = " (default)" if value is None and default is not None else ""
    return (shown.name if isinstance(shown, Named) else value_text(shown)) + mark

"""What value classes have in common: comparing, hashing, copying, pickling and being shown.

`Frozen` values never change; `Info` is frozen and tells a fact about a repository; `Named` and `NamedInt`
are enumerations. What a user can change is in `icechunk._values.settings`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from copy import copy
from datetime import datetime
from enum import Enum, EnumType
from numbers import Integral
from operator import index
from typing import TYPE_CHECKING, Any, ClassVar, Generic, Self, TypeVar, overload

from icechunk._display.blocks import Block
from icechunk._display.html import html
from icechunk._display.literals import datetime_text, quoted

_F = TypeVar("_F", bound="Frozen")

_C = TypeVar("_C", bound=type)

_T = TypeVar("_T")

__all__ = [
    "Copied",
    "Forms",
    "Frozen",
    "Info",
    "Named",
    "NamedInt",
    "Numbered",
    "aware",
    "public_name",
    "variant",
]


class _Listed(EnumType):
    """Makes `dir`, and with it completion, know the functions of an enumeration as well as its members."""

    def __dir__(cls) -> list[str]:
        functions = [name for name, value in vars(cls).items() if isinstance(value, staticmethod)]
        return [*super().__dir__(), *functions]


class Named(Enum, metaclass=_Listed):
    """An enumeration whose members are names to people, and have a number that `int` gives.

    It is no `IntEnum`: there, members of two enumerations with one number are equal, and the member with
    the number 0 is false.
    """

    def __int__(self) -> int:
        return int(self.value)

    def __repr__(self) -> str:
        return f"{type(self).__name__}.{self.name}"

    __str__ = __repr__

    def __format__(self, spec: str) -> str:
        return format(str(self), spec)


class NamedInt(Named):
    """An enumeration whose members are equal to their numbers too, but to no other enumeration's members."""

    def __eq__(self, other: object) -> bool:
        if isinstance(other, Named) or not isinstance(other, Integral):
            return NotImplemented
        return bool(self.value == other)

    def __hash__(self) -> int:
        return hash(self.value)


class Copied(Generic[_T]):
    """An attribute of a frozen value that can itself be changed, a list for example.

    The slot of the same name with an underscore keeps what is never changed; whoever asks for the attribute
    gets a copy that is theirs.

    Parameters
    ----------
    copied
        Makes the copy.
    """

    __slots__ = ("_copied", "_slot")

    def __init__(self, copied: Callable[[Any], _T]) -> None:
        self._copied = copied

    def __set_name__(self, owner: type, name: str) -> None:
        self._slot = f"_{name}"

    @overload
    def __get__(self, instance: None, owner: type) -> Self: ...
    @overload
    def __get__(self, instance: object, owner: type) -> _T: ...
    def __get__(self, instance: object | None, owner: type) -> Self | _T:
        return self if instance is None else self._copied(getattr(instance, self._slot))


class Frozen:
    """An immutable value. Its fields are its slots, in the order in which they are shown.

    The field of a slot that begins with an underscore is `Copied`, and has none.
    """

    __slots__: ClassVar[tuple[str, ...]] = ()

    def _fill(self, *values: object) -> None:
        for name, value in zip(self.__slots__, values, strict=True):
            object.__setattr__(self, name, value)

    def _field_names(self) -> tuple[str, ...]:
        return tuple([name.removeprefix("_") for name in self.__slots__])

    def _contents(self) -> tuple[object, ...]:
        return tuple([getattr(self, name) for name in self.__slots__])

    # Hidden from type checkers, which would otherwise let any attribute be assigned.
    if not TYPE_CHECKING:

        def __setattr__(self, name: str, value: object) -> None:
            raise AttributeError(f"cannot set {name!r}: {type(self).__qualname__} is immutable")

        def __delattr__(self, name: str) -> None:
            raise AttributeError(f"cannot delete {name!r}: {type(self).__qualname__} is immutable")

    def __eq__(self, other: object) -> bool:
        if type(other) is not type(self):
            return NotImplemented
        return self._contents() == other._contents()

    def __hash__(self) -> int:
        return hash((type(self), self._contents()))

    def __copy__(self) -> Self:
        return self

    def __reduce__(self) -> tuple[Any, ...]:
        return _remake, (type(self), *self._contents())

    def __repr__(self) -> str:
        arguments = ", ".join(f"{name}={_shown(getattr(self, name))}" for name in self._field_names())
        return f"{public_name(type(self))}({arguments})"


class Forms(Frozen):
    """A value that is of one of several forms, each of which is a subclass: see `variant`."""

    __slots__ = ()

    #: The name of the form; None for what the forms have in common, of which there are no objects.
    _form: ClassVar[str | None] = None

    def __init__(self) -> None:
        if self._form is None:
            raise TypeError(f"cannot create {type(self).__name__} instances: make one of its forms")


class Numbered(Frozen):
    """A form whose fields have numbers, in the API that we follow, and names only here.

    They are to be had as ``form.name``, and as ``form._0`` and ``form[0]`` too.
    """

    __slots__: ClassVar[tuple[str, ...]] = ()

    def __init_subclass__(cls) -> None:
        for number, name in enumerate(cls.__slots__):
            setattr(cls, f"_{number}", _numbered(name))

    def __len__(self) -> int:
        return len(self.__slots__)

    def __bool__(self) -> bool:
        # Else a form without fields would be false, and `credentials or default` choose the default.
        return True

    def __getitem__(self, number: int) -> Any:
        return tuple([_given(value) for value in self._contents()])[index(number)]


class Info(Frozen):
    """A fact about a repository. It is shown as a block, with texts as they are.

    Classes that users have no reason to construct keep this constructor, and the library calls `_of`.
    """

    __slots__ = ()

    #: Heads the text form, where that is not the place from which the class can be imported.
    _title: ClassVar[str | None] = None

    def __init__(self) -> None:
        raise TypeError(f"{type(self).__name__} objects are made by the library")

    def _block(self) -> Block:
        title = self._title or public_name(type(self))
        return Block(title, [(name, _plain(getattr(self, name))) for name in self._field_names()])

    def __repr__(self) -> str:
        return self._block().text()

    def _repr_html_(self) -> str:
        return html(self._block())


def public_name(cls: type) -> str:
    """Say how users call a class."""
    return f"{cls.__module__}.{cls.__qualname__}"


def variant(of: type, name: str) -> Callable[[_C], _C]:
    """Make a class known as one of the forms that `of` can take: `of.name`.

    A form is a subclass, so it cannot be written inside the class that it extends.
    """

    def attach(cls: _C) -> _C:
        cls.__module__ = of.__module__
        cls.__qualname__ = f"{of.__qualname__}.{name}"
        cls._form = name  # type: ignore[attr-defined]  # of subclasses of Forms
        setattr(of, name, cls)
        return cls

    return attach


def aware(value: datetime) -> datetime:
    """Check that a moment knows its time zone.

    Raises
    ------
    TypeError
        It does not, or is no datetime at all.
    """
    if not isinstance(value, datetime):
        raise TypeError(f"expected a datetime, got {type(value).__name__}")
    if value.tzinfo is None:
        raise TypeError("expected a datetime with non-None tzinfo")
    return value


def _remake(cls: type[_F], *values: object) -> _F:
    made = cls.__new__(cls)
    made._fill(*values)
    return made


def _numbered(name: str) -> property:
    return property(lambda self: _given(getattr(self, name)))


def _given(value: object) -> object:
    """Copy what could be changed."""
    return list(value) if isinstance(value, tuple) else copy(value)


def _plain(value: object) -> str:
    """Show a value in a block: texts bare, enumerations by their name."""
    if isinstance(value, str):
        return value
    return _shown(value)


def _shown(value: object) -> str:
    if isinstance(value, str):
        return quoted(value)
    if isinstance(value, datetime):
        return datetime_text(value)
    if isinstance(value, Enum):
        return repr(value)
    if isinstance(value, Mapping):
        return repr(dict(value))
    return repr(value)

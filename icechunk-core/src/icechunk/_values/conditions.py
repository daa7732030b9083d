"""Conditions on arrays and their dimensions: which manifests to split, how, and which to load ahead.

Conditions are immutable and can be keys of a dict. ``a | b`` and ``a & b`` combine them.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar

from icechunk._display.literals import quoted
from icechunk._values.checks import instance, required, text, unsigned
from icechunk._values.records import Forms, Numbered, variant

if TYPE_CHECKING:
    from collections.abc import Iterable

__all__ = ["ManifestPreloadCondition", "ManifestSplitCondition", "ManifestSplitDimCondition"]

_regex = required(text)
_axis = required(unsigned(64))
_count = unsigned(32)


class _Condition(Forms):
    """A condition that shows itself as the expression that makes it."""

    __slots__ = ()

    #: The constructor's name in expressions.
    _maker: ClassVar[str] = ""

    def __repr__(self) -> str:
        family = type(self).__qualname__.partition(".")[0]
        arguments = ", ".join(map(_argument_text, self._contents()))
        return f"{type(self).__module__}.{family}.{self._maker}({arguments})"


class _Several(Numbered, _Condition):
    """What the combinations of conditions share."""

    __slots__ = ()

    conditions: tuple[_Condition, ...]

    #: What is combined.
    _of: ClassVar[type[_Condition]]

    def __init__(self, _0: Iterable[_Condition]) -> None:
        check = required(instance(self._of))
        self._fill(tuple([check("condition", condition) for condition in _0]))


class _Matches(_Condition):
    """What the conditions on a path or a name share."""

    __slots__ = ()

    regex: str

    def __init__(self, regex: str) -> None:
        self._fill(_regex("regex", regex))


class ManifestSplitCondition(_Condition):
    """Which arrays a rule of a `ManifestSplittingConfig` is about."""

    __slots__ = ()
    __module__ = "icechunk.config"

    Or: ClassVar[type[SplitOr]]
    And: ClassVar[type[SplitAnd]]
    PathMatches: ClassVar[type[SplitPathMatches]]
    NameMatches: ClassVar[type[SplitNameMatches]]
    AnyArray: ClassVar[type[SplitAnyArray]]

    @staticmethod
    def or_conditions(conditions: Iterable[ManifestSplitCondition]) -> ManifestSplitCondition:
        """Match the arrays that at least one of the conditions matches."""
        return SplitOr(conditions)

    @staticmethod
    def and_conditions(conditions: Iterable[ManifestSplitCondition]) -> ManifestSplitCondition:
        """Match the arrays that all of the conditions match."""
        return SplitAnd(conditions)

    @staticmethod
    def path_matches(regex: str) -> ManifestSplitCondition:
        """Match the arrays in whose path, for example `/ocean/temperature`, the expression is found."""
        return SplitPathMatches(regex)

    @staticmethod
    def name_matches(regex: str) -> ManifestSplitCondition:
        """Match the arrays in whose name, the last part of the path, the expression is found."""
        return SplitNameMatches(regex)

    @staticmethod
    def any_array() -> ManifestSplitCondition:
        """Match every array."""
        return SplitAnyArray()

    def __or__(self, other: ManifestSplitCondition) -> ManifestSplitCondition:
        if not isinstance(other, ManifestSplitCondition):
            return NotImplemented
        return SplitOr([self, other])

    def __and__(self, other: ManifestSplitCondition) -> ManifestSplitCondition:
        if not isinstance(other, ManifestSplitCondition):
            return NotImplemented
        return SplitAnd([self, other])


@variant(ManifestSplitCondition, "Or")
class SplitOr(_Several, ManifestSplitCondition):
    """At least one of several conditions."""

    __slots__ = ("conditions",)
    __match_args__ = ("_0",)
    _maker = "or_conditions"
    _of = ManifestSplitCondition

    conditions: tuple[ManifestSplitCondition, ...]


@variant(ManifestSplitCondition, "And")
class SplitAnd(_Several, ManifestSplitCondition):
    """All of several conditions."""

    __slots__ = ("conditions",)
    __match_args__ = ("_0",)
    _maker = "and_conditions"
    _of = ManifestSplitCondition

    conditions: tuple[ManifestSplitCondition, ...]


@variant(ManifestSplitCondition, "PathMatches")
class SplitPathMatches(_Matches, ManifestSplitCondition):
    """An expression that is found in the array's path."""

    __slots__ = ("regex",)
    __match_args__ = ("regex",)
    _maker = "path_matches"


@variant(ManifestSplitCondition, "NameMatches")
class SplitNameMatches(_Matches, ManifestSplitCondition):
    """An expression that is found in the array's name."""

    __slots__ = ("regex",)
    __match_args__ = ("regex",)
    _maker = "name_matches"


@variant(ManifestSplitCondition, "AnyArray")
class SplitAnyArray(Numbered, ManifestSplitCondition):
    """Every array."""

    __slots__ = ()
    _maker = "any_array"


class ManifestSplitDimCondition(_Condition):
    """Which dimensions of an array are split."""

    __slots__ = ()
    __module__ = "icechunk.config"

    Axis: ClassVar[type[SplitAxis]]
    DimensionName: ClassVar[type[SplitDimensionName]]
    Any: ClassVar[type[SplitAnyDimension]]

    @staticmethod
    def axis(axis: int) -> ManifestSplitDimCondition:
        """Match the dimension of this number, counted from 0."""
        return SplitAxis(axis)

    @staticmethod
    def dimension_name(regex: str) -> ManifestSplitDimCondition:
        """Match the dimensions in whose name the expression is found."""
        return SplitDimensionName(regex)

    @staticmethod
    def any() -> ManifestSplitDimCondition:
        """Match every dimension."""
        return SplitAnyDimension()


@variant(ManifestSplitDimCondition, "Axis")
class SplitAxis(Numbered, ManifestSplitDimCondition):
    """The dimension of a number, counted from 0."""

    __slots__ = ("number",)
    __match_args__ = ("_0",)
    _maker = "axis"

    number: int

    def __init__(self, _0: int) -> None:
        self._fill(_axis("axis", _0))


@variant(ManifestSplitDimCondition, "DimensionName")
class SplitDimensionName(Numbered, ManifestSplitDimCondition):
    """The dimensions in whose name an expression is found."""

    __slots__ = ("regex",)
    __match_args__ = ("_0",)
    _maker = "dimension_name"

    regex: str

    def __init__(self, _0: str) -> None:
        self._fill(_regex("regex", _0))


@variant(ManifestSplitDimCondition, "Any")
class SplitAnyDimension(Numbered, ManifestSplitDimCondition):
    """Every dimension."""

    __slots__ = ()
    _maker = "any"


class ManifestPreloadCondition(_Condition):
    """Which manifests are loaded ahead when a session is opened."""

    __slots__ = ()
    __module__ = "icechunk.config"

    Or: ClassVar[type[PreloadOr]]
    And: ClassVar[type[PreloadAnd]]
    PathMatches: ClassVar[type[PreloadPathMatches]]
    NameMatches: ClassVar[type[PreloadNameMatches]]
    NumRefs: ClassVar[type[PreloadNumRefs]]
    # There are `True` and `False` too, names that only `getattr` can reach.

    @staticmethod
    def or_conditions(conditions: Iterable[ManifestPreloadCondition]) -> ManifestPreloadCondition:
        """Match where at least one of the conditions matches."""
        return PreloadOr(conditions)

    @staticmethod
    def and_conditions(conditions: Iterable[ManifestPreloadCondition]) -> ManifestPreloadCondition:
        """Match where all of the conditions match."""
        return PreloadAnd(conditions)

    @staticmethod
    def path_matches(regex: str) -> ManifestPreloadCondition:
        """Match the arrays in whose path the expression is found."""
        return PreloadPathMatches(regex)

    @staticmethod
    def name_matches(regex: str) -> ManifestPreloadCondition:
        """Match the arrays in whose name, the last part of the path, the expression is found."""
        return PreloadNameMatches(regex)

    @staticmethod
    def num_refs(from_refs: int | None, to_refs: int | None, /) -> ManifestPreloadCondition:
        """Match manifests by their number of chunk refs.

        Parameters
        ----------
        from_refs, to_refs
            The least number, and the least that is too many. None is no limit.
        """
        return PreloadNumRefs(from_refs, to_refs)

    @staticmethod
    def true() -> ManifestPreloadCondition:
        """Match always."""
        return PreloadTrue()

    @staticmethod
    def false() -> ManifestPreloadCondition:
        """Match never."""
        return PreloadFalse()

    def __or__(self, other: ManifestPreloadCondition) -> ManifestPreloadCondition:
        if not isinstance(other, ManifestPreloadCondition):
            return NotImplemented
        return PreloadOr([self, other])

    def __and__(self, other: ManifestPreloadCondition) -> ManifestPreloadCondition:
        if not isinstance(other, ManifestPreloadCondition):
            return NotImplemented
        return PreloadAnd([self, other])


@variant(ManifestPreloadCondition, "Or")
class PreloadOr(_Several, ManifestPreloadCondition):
    """At least one of several conditions."""

    __slots__ = ("conditions",)
    __match_args__ = ("_0",)
    _maker = "or_conditions"
    _of = ManifestPreloadCondition

    conditions: tuple[ManifestPreloadCondition, ...]


@variant(ManifestPreloadCondition, "And")
class PreloadAnd(_Several, ManifestPreloadCondition):
    """All of several conditions."""

    __slots__ = ("conditions",)
    __match_args__ = ("_0",)
    _maker = "and_conditions"
    _of = ManifestPreloadCondition

    conditions: tuple[ManifestPreloadCondition, ...]


@variant(ManifestPreloadCondition, "PathMatches")
class PreloadPathMatches(_Matches, ManifestPreloadCondition):
    """An expression that is found in the array's path."""

    __slots__ = ("regex",)
    __match_args__ = ("regex",)
    _maker = "path_matches"


@variant(ManifestPreloadCondition, "NameMatches")
class PreloadNameMatches(_Matches, ManifestPreloadCondition):
    """An expression that is found in the array's name."""

    __slots__ = ("regex",)
    __match_args__ = ("regex",)
    _maker = "name_matches"


@variant(ManifestPreloadCondition, "NumRefs")
class PreloadNumRefs(ManifestPreloadCondition):
    """A half-open range of numbers of chunk refs."""

    __slots__ = ("from_refs", "to_refs")
    __match_args__ = ("from", "to")
    _maker = "num_refs"

    from_refs: int | None
    to_refs: int | None

    # The parameters are `from` and `to`, but Python's syntax has no parameter of the name `from`.
    def __init__(self, *limits: int | None, **named: int | None) -> None:
        given = {**dict(zip(("from", "to"), limits, strict=False)), **named}
        if given.keys() != {"from", "to"} or len(limits) + len(named) != len(given):
            raise TypeError("NumRefs takes two arguments: `from` and `to`")
        self._fill(_count("from", given["from"]), _count("to", given["to"]))

    @property
    def to(self) -> int | None:
        """The least number of chunk refs that is too many."""
        return self.to_refs


setattr(
    PreloadNumRefs,
    "from",
    property(lambda self: self.from_refs, doc="The least number of chunk refs that is enough."),
)


@variant(ManifestPreloadCondition, "True")
class PreloadTrue(Numbered, ManifestPreloadCondition):
    """Always."""

    __slots__ = ()
    _maker = "true"


@variant(ManifestPreloadCondition, "False")
class PreloadFalse(Numbered, ManifestPreloadCondition):
    """Never."""

    __slots__ = ()
    _maker = "false"


def _argument_text(value: object) -> str:
    if isinstance(value, tuple):
        return repr(list(value))
    return quoted(value) if isinstance(value, str) else repr(value)

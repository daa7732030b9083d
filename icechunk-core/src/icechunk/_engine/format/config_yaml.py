"""Configuration documents in YAML, both ways; loads PyYAML.

Format section 10. The reader works on the parser's events: scalars are resolved as in YAML 1.2's
core schema (so that `no` is text, not false), a tag is a variant, and what aliases unfold to is
bounded.
"""

from __future__ import annotations

import math
import re
from typing import TYPE_CHECKING, Any, Final

import yaml

if TYPE_CHECKING:
    from collections.abc import Iterator

    from icechunk._engine.format.values import JsonValue

# A real document has a few kilobytes. Parsing hostile text takes long, per byte.
_MAX_BYTES: Final = 2**20
_MAX_DEPTH: Final = 64
_MAX_VALUES: Final = 2**17

_PARSER: Final[Any] = getattr(yaml, "CSafeLoader", yaml.SafeLoader)

_NULL = re.compile(r"|~|null|Null|NULL")
_BOOL = re.compile(r"(true|True|TRUE)|false|False|FALSE")
_INTEGER = re.compile(r"[-+]?[0-9]{1,300}|0x[0-9a-fA-F]{1,300}|0o[0-7]{1,300}")
_FLOAT = re.compile(r"[-+]?(\.[0-9]+|[0-9]+(\.[0-9]*)?)([eE][-+]?[0-9]{1,9})?")
_NOT_FINITE = re.compile(r"[-+]?\.(inf|Inf|INF)|\.(nan|NaN|NAN)")
# Text that needs no quotes wherever it stands; other text is quoted, which is never wrong.
_PLAIN_TEXT = re.compile(r"[A-Za-z0-9_./\\^$(][A-Za-z0-9_./\\^$()+*?|=~;-]*(:[A-Za-z0-9_./\\^$()+*?|=~;-]+)*")
# What other readers, of YAML 1.1, take for something else than text.
_AMBIGUOUS = re.compile(r"(?i)y|n|yes|no|on|off|=|<<|[-+.]?[0-9][-+0-9_:.,eExXoO]*|.*[0-9]:[0-9].*")


class InvalidYamlError(ValueError):
    """The text is no YAML, or not what a configuration can be."""


def decode(data: bytes) -> JsonValue:
    """Read the one document of `data`."""
    if len(data) > _MAX_BYTES:
        raise InvalidYamlError(f"{len(data)} bytes are more than the allowed {_MAX_BYTES}")
    try:
        return _Builder(yaml.parse(data.decode(), Loader=_PARSER)).document()
    except UnicodeDecodeError as error:
        raise InvalidYamlError(f"it is not UTF-8 ({error.reason})") from error
    except (yaml.YAMLError, RecursionError, ValueError) as error:
        if isinstance(error, InvalidYamlError):
            raise
        raise InvalidYamlError(" ".join(str(error).split())) from error


class _Builder:
    """Builds the document from the parser's events."""

    def __init__(self, events: Iterator[Any]) -> None:
        self._events = events
        self._anchors: dict[str, tuple[JsonValue, int]] = {}
        self._values = 0

    def document(self) -> JsonValue:
        self._expect(yaml.StreamStartEvent)
        if isinstance(next(self._events), yaml.StreamEndEvent):
            return {}
        event = next(self._events)
        value = self._value(event, _MAX_DEPTH)
        if value is None and event.value == "":
            # Nothing behind `---` is a document without settings, as for the reference; `null` is none.
            value = {}
        self._expect(yaml.DocumentEndEvent)
        self._expect(yaml.StreamEndEvent)
        return value

    def _expect(self, kind: type) -> None:
        event = next(self._events)
        if not isinstance(event, kind):
            raise InvalidYamlError("more than one document")

    def _value(self, event: Any, depth: int) -> JsonValue:
        if depth == 0:
            raise InvalidYamlError("it is nested too deep")
        if isinstance(event, yaml.AliasEvent):
            if event.anchor not in self._anchors:
                raise InvalidYamlError(f"the alias `{event.anchor}` has no anchor")
            value, size = self._anchors[event.anchor]
            self._count(size)
            return value
        before = self._values
        self._count(1)
        value = self._content(event, depth)
        if event.tag is not None and event.tag != "!":
            if not event.tag.startswith("!"):
                raise InvalidYamlError(f"the tag `{event.tag}` has no meaning here")
            value = {event.tag[1:]: value}
        if event.anchor is not None:
            self._anchors[event.anchor] = (value, self._values - before)
        return value

    def _content(self, event: Any, depth: int) -> JsonValue:
        if isinstance(event, yaml.ScalarEvent):
            # The parser in C has "" where the one in Python has None. `!` alone says: text.
            is_plain = not event.style and event.tag != "!"
            return _resolve(event.value) if is_plain else str(event.value)
        if isinstance(event, yaml.SequenceStartEvent):
            items: list[JsonValue] = []
            while not isinstance(item := next(self._events), yaml.SequenceEndEvent):
                items.append(self._value(item, depth - 1))
            return items
        members: dict[str, JsonValue] = {}
        while not isinstance(item := next(self._events), yaml.MappingEndEvent):
            if not isinstance(item, yaml.ScalarEvent) or item.tag is not None:
                raise InvalidYamlError("a key is no text")
            self._count(1)
            if item.value in members:
                raise InvalidYamlError(f"the key `{item.value}` is there twice")
            members[item.value] = self._value(next(self._events), depth - 1)
        return members

    def _count(self, values: int) -> None:
        self._values += values
        if self._values > _MAX_VALUES:
            raise InvalidYamlError("it has too many values")


def _resolve(text: str) -> JsonValue:
    if _NULL.fullmatch(text):
        return None
    if match := _BOOL.fullmatch(text):
        return match[1] is not None
    if _INTEGER.fullmatch(text):
        # Base 0 refuses leading zeros, which YAML does not mind.
        return int(text, 0) if text[:2] in ("0x", "0o") else int(text)
    if _FLOAT.fullmatch(text):
        number = float(text)
        return number if math.isfinite(number) else None
    return None if _NOT_FINITE.fullmatch(text) else text


# --- writing


def encode(document: dict[str, JsonValue]) -> bytes:
    """Write a document: block style, variants as tags."""
    # Not with PyYAML, which writes the content of a tag quoted: a tagged number would become text.
    head, lines = _block(document, _DOCUMENT)
    return "\n".join([*filter(None, [head]), *lines, ""]).encode()


class _Schema:
    """Where in a document the variants are: `items` describes every element or member."""

    def __init__(
        self,
        members: dict[str, _Schema] | None = None,
        *,
        items: _Schema | None = None,
        places: tuple[_Schema, ...] = (),
        variants: dict[str, _Schema] | None = None,
        is_variant: bool = False,
    ) -> None:
        self.members = members or {}
        self.items = items
        self.places = places
        self.variants = variants or {}
        self.is_variant = is_variant or variants is not None

    def member(self, key: str) -> _Schema:
        return self.members.get(key) or self.items or _PLAIN

    def element(self, index: int) -> _Schema:
        if self.places:
            return self.places[index] if index < len(self.places) else _PLAIN
        return self.items or _PLAIN


_PLAIN = _Schema()
_VARIANT = _Schema(is_variant=True)
_CONDITION = _Schema(variants={"num_refs": _Schema({"from": _VARIANT, "to": _VARIANT})})
for _name in ("or", "and"):
    _CONDITION.variants[_name] = _Schema(items=_CONDITION)
_DIMENSION = _Schema({"condition": _VARIANT})
_DOCUMENT = _Schema(
    {
        "virtual_chunk_containers": _Schema(items=_Schema({"store": _VARIANT})),
        "manifest": _Schema(
            {
                "preload": _Schema({"preload_if": _CONDITION}),
                "splitting": _Schema(
                    {"split_sizes": _Schema(items=_Schema(places=(_CONDITION, _Schema(items=_DIMENSION))))}
                ),
            }
        ),
    }
)


def _block(value: JsonValue, schema: _Schema, tag: str = "") -> tuple[str, list[str]]:
    """What stands behind the key or the dash, and the lines below it."""
    if schema.is_variant and not tag and isinstance(value, dict) and len(value) == 1:
        ((name, content),) = value.items()
        return _block(content, schema.variants.get(name, _PLAIN), f"!{name} ")
    lines: list[str] = []
    if isinstance(value, dict) and value:
        for key, item in value.items():
            head, below = _block(item, schema.member(key))
            lines.append(f"{_scalar(key)}: {head}".rstrip())
            # The dashes of a list stand right below its key.
            lines += below if isinstance(item, list) or _is_tagged_list(item, head) else _indented(below)
        return tag.rstrip(), lines
    if isinstance(value, list) and value:
        for index, item in enumerate(value):
            head, below = _block(item, schema.element(index))
            if below and not head:
                head, *below = below
            lines += [f"- {head}", *_indented(below)]
        return tag.rstrip(), lines
    return tag + _scalar(value), []


def _is_tagged_list(item: JsonValue, head: str) -> bool:
    return head.startswith("!") and isinstance(item, dict) and isinstance(next(iter(item.values())), list)


def _indented(lines: list[str]) -> list[str]:
    return ["  " + line for line in lines]


def _scalar(value: JsonValue) -> str:
    if isinstance(value, str):
        return _text(value)
    if value is None:
        return "null"
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, (dict, list)):
        return "{}" if isinstance(value, dict) else "[]"
    return repr(value)


def _text(text: str) -> str:
    if _PLAIN_TEXT.fullmatch(text) and isinstance(_resolve(text), str) and not _AMBIGUOUS.fullmatch(text):
        return text
    if text.isprintable():
        return "'" + text.replace("'", "''") + "'"
    return '"' + "".join(map(_escaped, text)) + '"'


def _escaped(character: str) -> str:
    if character in '"\\':
        return "\\" + character
    return character if character.isprintable() else f"\\U{ord(character):08x}"

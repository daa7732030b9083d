"""Configuration documents: a plain dict, as FlexBuffers in spec version 2 and YAML in version 1.

Format section 10. In the dict, a variant with content is a dict with one key; in YAML it is a tag
(``!name value``). Which dicts are variants depends on where they are, so the writer follows the
document's schema; the reader needs none.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from icechunk._engine.format import flexbuffers
from icechunk._engine.format.values import MAX_DEPTH, JsonValue, to_json_object
from icechunk.errors import ErrorKind, FormatError

if TYPE_CHECKING:
    from collections.abc import Mapping

    from icechunk._engine.format.envelope import Buffer


def decode_flexbuffers(data: Buffer, *, name: str) -> dict[str, JsonValue]:
    """Read a configuration of spec version 2.

    Raises
    ------
    FormatError
        It is no FlexBuffers document, or not a map (kind config-deserialization).
    """
    try:
        document = flexbuffers.decode(data, name=name, max_depth=MAX_DEPTH)
    except FormatError as error:
        raise _invalid(name, str(error)) from error
    return _as_document(document, name)


def encode_flexbuffers(document: Mapping[str, JsonValue]) -> bytes:
    """Write a configuration for spec version 2."""
    return flexbuffers.encode(to_json_object(document))


def decode_yaml(data: Buffer, *, name: str) -> dict[str, JsonValue]:
    """Read a configuration of spec version 1.

    Raises
    ------
    FormatError
        It is no YAML, or not a mapping (kind config-deserialization).
    """
    # PyYAML is loaded by those who have a config.yaml only.
    from icechunk._engine.format import config_yaml

    try:
        document = config_yaml.decode(bytes(data))
    except config_yaml.InvalidYamlError as error:
        raise _invalid(name, str(error)) from error
    return _as_document(document, name)


def encode_yaml(document: Mapping[str, JsonValue]) -> bytes:
    """Write a configuration for spec version 1."""
    from icechunk._engine.format import config_yaml

    return config_yaml.encode(to_json_object(document))


def _as_document(document: JsonValue, name: str) -> dict[str, JsonValue]:
    if not isinstance(document, dict):
        raise _invalid(name, f"a map is expected, not {type(document).__name__}")
    return document


def _invalid(name: str, problem: str) -> FormatError:
    return FormatError(f"{name}: invalid configuration: {problem}", kind=ErrorKind.CONFIG_DESERIALIZATION)

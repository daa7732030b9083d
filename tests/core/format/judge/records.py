"""The judge's reading of each Icechunk file, straight from the tables of the format's specification.

Each function takes the whole payload and returns plain values: dicts, lists, tuples, bytes. A list of things that
can be read one by one (nodes, references, snapshots) is a list of zero-argument functions, so that one broken
item does not hide the others.
"""

from __future__ import annotations

import json
import re
import struct
from typing import TYPE_CHECKING, Any, TypeVar

import yaml
import zstandard
from flatbuffers import number_types as n

from tests.core.format.judge.flat import Budget, Record, Rejected, Undecided, root
from tests.core.format.judge.values import read_flexbuffers, read_msgpack

if TYPE_CHECKING:
    from collections.abc import Callable

T = TypeVar("T")

MAGIC = b"ICE\xf0\x9f\xa7\x8aCHUNK"
HEADER_BYTES = 39
FILE_TYPES = {"snapshot": 1, "manifest": 2, "transaction_log": 4, "repo_info": 6}
MOST_BYTES = 64 * 2**20
ALPHABET = "0123456789ABCDEFGHJKMNPQRSTVWXYZ"
UPDATES = [
    "repo_initialized",
    "repo_migrated",
    "config_changed",
    "metadata_changed",
    "tag_created",
    "tag_deleted",
    "branch_created",
    "branch_deleted",
    "branch_reset",
    "new_commit",
    "commit_amended",
    "new_detached_snapshot",
    "gc_ran",
    "expiration_ran",
    "feature_flag_changed",
    "repo_status_changed",
]


# -- the envelope


def open_envelope(data: bytes, kind: str) -> tuple[bytes, int, bytes]:
    """The writer's name (padded), the spec version and the payload."""
    if len(data) < HEADER_BYTES or data[:12] != MAGIC:
        raise Rejected("no Icechunk file")
    spec_version, file_type, compression = data[36:39]
    if spec_version not in (1, 2):
        raise Rejected(f"spec version {spec_version}")
    if file_type != FILE_TYPES[kind]:
        raise Rejected(f"file type {file_type}")
    if compression != 1:
        raise Rejected(f"compression {compression}")
    return data[12:36], spec_version, decompress(data[HEADER_BYTES:])


def decompress(data: bytes) -> bytes:
    """All frames, one after the other; each must be whole."""
    out = b""
    while True:
        stream = zstandard.ZstdDecompressor(max_window_size=2**31).decompressobj()
        try:
            for start in range(0, len(data), 4096):
                out += stream.decompress(data[start : start + 4096])
                if len(out) > MOST_BYTES:
                    raise Undecided("more than the judge is ready to decompress")
                if stream.eof:
                    break
        except zstandard.ZstdError as error:
            raise Rejected(str(error)) from error
        except MemoryError as error:
            raise Undecided("a window that the judge has no memory for") from error
        if not stream.eof:
            raise Rejected("the frame ends early")
        data = stream.unused_data + data[start + 4096 :]
        if not data:
            return out


# -- what several files share


def metadata(items: list[Record], spec_version: int) -> dict[str, Any]:
    out = {}
    for item in items:
        name, value = item.text(0), item.blob(1)
        out[name] = read_msgpack(value) if spec_version == 1 else read_flexbuffers(value, item.budget)
    return out


def optional_metadata(record: Record, slot: int, spec_version: int) -> dict[str, Any]:
    return metadata(record.records(slot, lambda r: r), spec_version) if record.has(slot) else {}


def children(record: Record, slot: int, read: Callable[[Record], T]) -> list[Callable[[], T]]:
    """One function for each item of a vector of tables, which reads it when it is called."""
    count = record.vector(slot, 4)[1]
    record.budget.spend(count)
    return [lambda i=i: read(record.child(slot, i)) for i in range(count)]  # type: ignore[misc]


# -- snapshots


def snapshot(payload: bytes, spec_version: int) -> dict[str, Callable[[], Any]]:
    top = root(payload)

    def manifest_files() -> list[tuple[bytes, int, int]]:
        if top.has(7):
            return top.records(7, lambda r: (r.required_struct(0, 12), r.u64(1), r.u32(2)))
        out = []
        for item in top.structs(6, 32):
            size_bytes, num_chunk_refs = struct.unpack_from("<QI", item, 16)
            out.append((item[:12], size_bytes, num_chunk_refs))
        return out

    return {
        "id": lambda: top.required_struct(0, 12),
        "parent_id": lambda: top.struct(1, 12),
        "nodes": lambda: children(top, 2, node),
        "flushed_at": lambda: top.u64(3),
        "message": lambda: top.text(4),
        "metadata": lambda: metadata(top.records(5, lambda r: r), spec_version),
        "manifest_files": manifest_files,
    }


def node(record: Record) -> dict[str, Any]:
    out: dict[str, Any] = {
        "id": record.required_struct(0, 8),
        "path": record.text(1),
        "user_data": record.blob(2),
    }
    tag, data = record.u8(3), record.record(4)
    if tag == 2:
        data.field(0)  # a group has no fields, but a table it must be
        return out
    if tag != 1:
        raise Rejected(f"node data of type {tag}")
    if data.has(3):
        out["shape"] = tuple(data.records(3, lambda r: (r.u64(0), r.u32(1))))
    else:
        shape = []
        for item in data.structs(0, 16):
            array_length, chunk_length = struct.unpack("<QQ", item)
            if chunk_length == 0 and array_length != 0:
                raise Rejected("a dimension with chunks of length 0")
            shape.append((array_length, -(-array_length // chunk_length) if chunk_length else 0))
        out["shape"] = tuple(shape)
    names = data.records(1, lambda r: r.optional_text(0) or None) if data.has(1) else None
    out["dimension_names"] = None if names is None else tuple(names)
    out["manifests"] = tuple(
        data.records(
            2,
            lambda r: (
                r.required_struct(0, 12),
                tuple(struct.unpack("<II", item) for item in r.structs(1, 8)),
            ),
        )
    )
    return out


# -- manifests


def manifest(payload: bytes) -> dict[str, Callable[[], Any]]:
    top = root(payload)

    def arrays() -> list[Callable[[], Any]]:
        return children(
            top,
            1,
            lambda r: (r.required_struct(0, 8), children(r, 1, lambda c: chunk_ref(c, dictionary))),
        )

    def dictionary() -> bytes:
        if top.u8(3, 1) == 0 or not top.has(2):
            raise Rejected("a compressed location, and no dictionary")
        return top.blob(2)

    return {"id": lambda: top.required_struct(0, 12), "arrays": arrays}


def chunk_ref(record: Record, dictionary: Callable[[], bytes]) -> dict[str, Any]:
    out: dict[str, Any] = {"coords": tuple(record.numbers(0, n.Uint32Flags))}
    chunk_id = record.struct(4, 12)
    if chunk_id is not None:
        return {**out, "kind": 1, "chunk_id": chunk_id, "offset": record.u64(2), "length": record.u64(3)}
    if record.has(8):
        record.budget.spend(100)
        location = locate(record.blob(8), dictionary())
    elif record.has(5):
        location = record.blob(5)
    elif record.has(1):
        return {**out, "kind": 3, "data": record.blob(1)}
    else:
        raise Rejected("a reference to nothing")
    try:
        text = location.decode()
    except UnicodeDecodeError as error:
        raise Rejected("a location that is no UTF-8") from error
    return {
        **out,
        "kind": 2,
        "location": text,
        "offset": record.u64(2),
        "length": record.u64(3),
        "etag": record.optional_text(6),
        "last_modified": record.u32(7),
    }


def locate(compressed: bytes, dictionary: bytes) -> bytes:
    """A compressed location is a whole frame, and at most 1,024 bytes long."""
    try:
        decompressor = zstandard.ZstdDecompressor(zstandard.ZstdCompressionDict(dictionary))
        out = decompressor.decompress(compressed, max_output_size=1024, allow_extra_data=False)
    except (zstandard.ZstdError, MemoryError) as error:
        raise Rejected(f"a location does not decompress: {error}") from error
    if len(out) > 1024:
        raise Rejected("a location longer than 1,024 bytes")
    return out


# -- transaction logs


def transaction_log(payload: bytes) -> dict[str, Callable[[], Any]]:
    top = root(payload)

    def ids(slot: int) -> Callable[[], list[bytes]]:
        return lambda: top.structs(slot, 8)

    def moved_nodes() -> list[tuple[str, str, bytes, int]]:
        if not top.has(8):
            return []
        return top.records(8, lambda r: (r.text(0), r.text(1), r.required_struct(2, 8), r.u8(3)))

    def updated_chunks() -> list[tuple[bytes, Callable[[], list[tuple[int, ...]]]]]:
        return top.records(
            7,
            lambda r: (
                r.required_struct(0, 8),
                lambda: r.records(1, lambda c: tuple(c.numbers(0, n.Uint32Flags))),
            ),
        )

    return {
        "id": lambda: top.required_struct(0, 12),
        "new_groups": ids(1),
        "new_arrays": ids(2),
        "deleted_groups": ids(3),
        "deleted_arrays": ids(4),
        "updated_arrays": ids(5),
        "updated_groups": ids(6),
        "updated_chunks": updated_chunks,
        "moved_nodes": moved_nodes,
    }


# -- repo info


def repo_info(payload: bytes) -> dict[str, Callable[[], Any]]:
    top = root(payload)

    def snapshot_ids() -> list[bytes]:
        return top.records(4, lambda r: r.required_struct(0, 12))

    def id_at(index: int) -> bytes:
        count = top.vector(4, 4)[1]
        if not 0 <= index < count:
            raise Rejected(f"there is no snapshot {index}")
        return top.child(4, index).required_struct(0, 12)

    def refs(slot: int) -> list[tuple[str, bytes]]:
        return top.records(slot, lambda r: (r.text(0), id_at(r.u32(1))))

    def snapshot_info(record: Record) -> dict[str, Any]:
        parent = record.i32(1)
        return {
            "id": record.required_struct(0, 12),
            "parent_id": None if parent == -1 else id_at(parent),
            "flushed_at": record.u64(2),
            "message": record.text(3),
            "metadata": optional_metadata(record, 4, 2),
            "pruned_ancestor_tx_logs": record.structs(5, 12) if record.has(5) else [],
        }

    def flags(slot: int) -> list[int]:
        return top.numbers(slot, n.Uint16Flags) if top.has(slot) else []

    return {
        "spec_version": lambda: top.u8(0),
        "tags": lambda: refs(1),
        "branches": lambda: refs(2),
        "deleted_tags": lambda: top.texts(3),
        "snapshot_ids": snapshot_ids,
        "snapshots": lambda: children(top, 4, snapshot_info),
        "status": lambda: status(top.record(5)),
        "metadata": lambda: optional_metadata(top, 6, 2),
        "latest_updates": lambda: children(top, 7, update),
        "repo_before_updates": lambda: top.optional_text(8),
        "config": lambda: read_flexbuffers(top.blob(9), Budget()) if top.has(9) else None,
        "enabled_feature_flags": lambda: flags(10),
        "disabled_feature_flags": lambda: flags(11),
    }


def status(record: Record) -> tuple[int, int, str | None]:
    # Offline (2) is never written, and read as Online (0); nothing says what another number would be.
    return (1 if record.u8(0) == 1 else 0, record.u64(1), record.optional_text(2))


def update(record: Record) -> dict[str, Any]:
    tag = record.u8(0)
    if not 1 <= tag <= len(UPDATES):
        raise Rejected(f"an update of type {tag}")
    kind, value = UPDATES[tag - 1], record.record(1)
    value.field(0)
    fields: dict[str, Any] = {}
    if kind == "repo_migrated":
        fields = {"from_version": value.u8(0), "to_version": value.u8(1)}
    elif kind in ("tag_created", "branch_created"):
        fields = {"name": value.text(0)}
    elif kind in ("tag_deleted", "branch_deleted", "branch_reset"):
        fields = {"name": value.text(0), "previous_snap_id": value.required_struct(1, 12)}
    elif kind == "new_commit":
        fields = {"branch": value.text(0), "new_snap_id": value.required_struct(1, 12)}
    elif kind == "commit_amended":
        fields = {
            "branch": value.text(0),
            "previous_snap_id": value.required_struct(1, 12),
            "new_snap_id": value.required_struct(2, 12),
        }
    elif kind == "new_detached_snapshot":
        fields = {"new_snap_id": value.required_struct(0, 12)}
    elif kind == "feature_flag_changed":
        fields = {"id": value.u16(0), "new_value": value.u8(1) != 0, "is_set": value.u8(2) != 0}
    elif kind == "repo_status_changed":
        fields = {"status": status(value.record(0))}
    return {
        "kind": kind,
        "fields": fields,
        "updated_at": record.u64(2),
        "backup_path": record.optional_text(3),
    }


# -- what version 1 has as text


def object_id(text: str, size: int = 12) -> bytes:
    """Crockford's base 32: the most significant bit first, zero bits behind."""
    text = text.upper().replace("I", "1").replace("L", "1").replace("O", "0")
    digits = -(-size * 8 // 5)
    if len(text) != digits or any(c not in ALPHABET for c in text):
        raise Rejected(f"no id: {text!r}")
    number = 0
    for c in text:
        number = number * 32 + ALPHABET.index(c)
    return (number >> (digits * 5 - size * 8)).to_bytes(size, "big")


def ref_json(data: bytes) -> bytes:
    try:
        document = json.loads(data.decode())
    except (ValueError, RecursionError) as error:
        raise Rejected(f"no JSON: {error}") from error
    if not isinstance(document, dict) or not isinstance(document.get("snapshot"), str):
        raise Rejected("no snapshot in the ref")
    return object_id(document["snapshot"])


class _Loader(yaml.CSafeLoader):
    """YAML 1.2 with its core schema; ``!tag value`` is read as ``{tag: value}``.

    The parser is the one in C, which ours has too: the two of PyYAML do not accept the same texts, and we are
    not here to judge them. Keys are their text, whatever they look like, as the reference reads them.
    """

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:
        for key, _value in node.value:
            if isinstance(key, yaml.ScalarNode) and key.tag.startswith("tag:yaml.org,2002:"):
                key.tag = "tag:yaml.org,2002:str"
        return super().construct_mapping(node, deep)


_Loader.yaml_implicit_resolvers = {}
for _tag, _pattern in (
    ("null", r"~|null|Null|NULL|"),
    ("bool", r"true|True|TRUE|false|False|FALSE"),
    ("int", r"[-+]?[0-9]+|0o[0-7]+|0x[0-9a-fA-F]+"),
    ("float", r"[-+]?(\.[0-9]+|[0-9]+(\.[0-9]*)?)([eE][-+]?[0-9]+)?|[-+]?\.(inf|Inf|INF)|\.(nan|NaN|NAN)"),
):
    _Loader.add_implicit_resolver(f"tag:yaml.org,2002:{_tag}", re.compile(f"(?:{_pattern})$"), None)


def _integer(loader: _Loader, node: yaml.ScalarNode) -> int:
    text = node.value.lower()
    if text[:2] in {"0x", "0o"}:
        return int(text, 0)
    if len(text) > 4000:
        raise Undecided("more digits than Python reads")
    return int(text)


def _tagged(loader: _Loader, suffix: str, value: yaml.Node) -> Any:
    if isinstance(value, yaml.MappingNode):
        return {suffix: loader.construct_mapping(value, deep=True)}
    if isinstance(value, yaml.SequenceNode):
        return {suffix: loader.construct_sequence(value, deep=True)}
    # The same without its tag: a number behind `!Axis` is a number.
    is_plain = not value.style
    tag = loader.resolve(yaml.ScalarNode, value.value, (is_plain, not is_plain))
    return {suffix: loader.construct_object(yaml.ScalarNode(tag, value.value))}


_Loader.add_constructor("tag:yaml.org,2002:int", _integer)
_Loader.add_multi_constructor("!", _tagged)


def config_yaml(data: bytes) -> Any:
    try:
        document = yaml.load(data.decode(), Loader=_Loader)
    except (yaml.YAMLError, ValueError, TypeError, RecursionError, AttributeError) as error:
        raise Rejected(f"no YAML: {error}") from error
    # A file without a document is one without settings.
    return {} if document is None else document

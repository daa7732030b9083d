"""Files made by hand to hurt: bombs, cycles, fan-outs, lengths that lie. Mutation hardly ever finds these.

Each is a few kilobytes or little more. Offsets in FlatBuffers may share a target, so a file can claim far more
values than it has bytes; a FlexBuffers document can claim exponentially more.
"""

from __future__ import annotations

import struct
from collections.abc import Callable
from functools import cache

import numpy as np
import zstandard

from tests.core.format.judge.mutations import Mutant
from tests.core.format.judge.records import FILE_TYPES, MAGIC

ID12 = bytes(range(12))
ID8 = bytes(range(8))


def sealed(kind: str, payload: bytes, spec_version: int = 2, frame: bytes | None = None) -> bytes:
    header = MAGIC + b"hostile".ljust(24) + bytes([spec_version, FILE_TYPES[kind], 1])
    return header + (zstandard.ZstdCompressor(level=3).compress(payload) if frame is None else frame)


class Flat:
    """A FlatBuffer written from front to back; offsets are filled in when their target is known."""

    def __init__(self) -> None:
        self.out = bytearray(b"\0\0\0\0Ichk")

    def align(self, size: int = 8) -> int:
        self.out += bytes(-len(self.out) % size)
        return len(self.out)

    def table(self, **fields: bytes | int | None) -> dict[str, int]:
        """Slots by name ``s0``, ``s1``, ...; None is an offset to be filled in. Tells where the fields lie."""
        slots = [0] * (max((int(name[1:]) for name in fields), default=-1) + 1)
        body = bytearray(4)
        for name, value in fields.items():
            data = bytes(4) if value is None else value
            if isinstance(data, int):
                data = struct.pack("<Q", data)
            body += bytes(-len(body) % min(len(data), 8) if len(data) in {2, 4, 8} else 0)
            slots[int(name[1:])] = len(body)
            body += data
        self.align()
        vtable = len(self.out)
        self.out += struct.pack(f"<{2 + len(slots)}H", 4 + 2 * len(slots), len(body), *slots)
        at = self.align()
        body[:4] = struct.pack("<i", at - vtable)
        self.out += body
        where = {name: at + slots[int(name[1:])] for name in fields}
        return {"at": at, **where}

    def point(self, field: int, target: int) -> None:
        self.out[field : field + 4] = struct.pack("<I", target - field)

    def vector(self, count: int, data: bytes = b"", align: int = 4) -> int:
        self.align(align)
        if align == 8:
            self.out += bytes(4)
        at = len(self.out)
        self.out += struct.pack("<I", count) + data
        return at

    def vector_of(self, count: int) -> int:
        """`count` offsets, to be pointed at one target with `point_all`."""
        return self.vector(count, bytes(4 * count))

    def point_all(self, vector: int, count: int, target: int) -> None:
        fields = vector + 4 + 4 * np.arange(count, dtype="<u4")
        self.out[vector + 4 : vector + 4 + 4 * count] = (np.uint32(target) - fields).astype("<u4").tobytes()

    def text(self, text: str) -> int:
        return self.vector(len(text.encode()), text.encode() + b"\0")

    def finish(self, root: int) -> bytes:
        self.point(0, root)
        return bytes(self.out)


def snapshot(
    nodes: Callable[[Flat, int], None], metadata: bytes | None = None, spec_version: int = 2
) -> bytes:
    flat = Flat()
    root = flat.table(s0=ID12, s2=None, s3=1, s4=None, s5=None, s6=None, s7=None)
    for name in ("s6", "s7"):
        flat.point(root[name], flat.vector(0, align=8))
    flat.point(root["s4"], flat.text("a message"))
    if metadata is None:
        flat.point(root["s5"], flat.vector(0))
    else:
        items = flat.vector_of(1)
        flat.point(root["s5"], items)
        item = flat.table(s0=None, s1=None)
        flat.point_all(items, 1, item["at"])
        flat.point(item["s0"], flat.text("key"))
        flat.point(item["s1"], flat.vector(len(metadata), metadata))
    nodes(flat, root["s2"])
    return sealed("snapshot", flat.finish(root["at"]), spec_version)


def no_nodes(flat: Flat, field: int) -> None:
    flat.point(field, flat.vector(0))


def many_nodes_that_are_one(count: int) -> Callable[[Flat, int], None]:
    def write(flat: Flat, field: int) -> None:
        vector = flat.vector_of(count)
        flat.point(field, vector)
        node = flat.table(s0=ID8, s1=None, s2=None, s3=b"\2", s4=None)
        flat.point_all(vector, count, node["at"])
        flat.point(node["s1"], flat.text("/a" * 2000))
        flat.point(node["s2"], flat.vector(100_000, bytes(100_000)))
        flat.point(node["s4"], flat.table()["at"])

    return write


def a_length_that_lies(flat: Flat, field: int) -> None:
    flat.point(field, flat.vector(0xFFFF_FFFF))


def many_dimensions(flat: Flat, field: int) -> None:
    """10,000 nodes, that are one, with 10,000 dimensions, that are one, and as many names."""
    count = 10_000
    vector = flat.vector_of(count)
    flat.point(field, vector)
    node = flat.table(s0=ID8, s1=None, s2=None, s3=b"\1", s4=None)
    flat.point_all(vector, count, node["at"])
    flat.point(node["s1"], flat.text("/a"))
    flat.point(node["s2"], flat.vector(0))
    data = flat.table(s0=None, s1=None, s2=None, s3=None)
    flat.point(node["s4"], data["at"])
    flat.point(data["s0"], flat.vector(0, align=8))
    shape, names, manifests = (flat.vector_of(count) for _ in range(3))
    flat.point(data["s3"], shape)
    flat.point(data["s1"], names)
    flat.point(data["s2"], manifests)
    flat.point_all(shape, count, flat.table(s0=7, s1=b"\1\0\0\0")["at"])
    name = flat.table(s0=None)
    flat.point_all(names, count, name["at"])
    flat.point(name["s0"], flat.text("n" * 10_000))
    ref = flat.table(s0=ID12, s1=None)
    flat.point_all(manifests, count, ref["at"])
    flat.point(ref["s1"], flat.vector(1000, bytes(8000)))


def manifest(
    arrays: int, refs: int, ndim: int, ref: Callable[[Flat], int], dictionary: bytes | None = None
) -> bytes:
    """`arrays` that are one, with `refs` that are one, whose index has `ndim` numbers."""
    flat = Flat()
    fields: dict[str, bytes | int | None] = {"s0": ID12, "s1": None}
    if dictionary is not None:
        fields["s2"] = None
    root = flat.table(**fields)
    if dictionary is not None:
        flat.point(root["s2"], flat.vector(len(dictionary), dictionary))
    vector = flat.vector_of(arrays)
    flat.point(root["s1"], vector)
    array = flat.table(s0=ID8, s1=None)
    flat.point_all(vector, arrays, array["at"])
    rows = flat.vector_of(refs)
    flat.point(array["s1"], rows)
    at = ref(flat)
    flat.point_all(rows, refs, at)
    # The index is the last thing in the file; `ref` has left its offset for us.
    flat.point(flat.index_field, flat.vector(ndim, bytes(4 * ndim)))  # type: ignore[attr-defined]
    return sealed("manifest", flat.finish(root["at"]))


def inline_ref(size: int) -> Callable[[Flat], int]:
    def write(flat: Flat) -> int:
        ref = flat.table(s0=None, s1=None)
        flat.point(ref["s1"], flat.vector(size, bytes(size)))
        flat.index_field = ref["s0"]  # type: ignore[attr-defined]
        return ref["at"]

    return write


def native_ref(flat: Flat) -> int:
    ref = flat.table(s0=None, s2=0, s3=5, s4=ID12)
    flat.index_field = ref["s0"]  # type: ignore[attr-defined]
    return ref["at"]


def compressed_ref(frame: bytes) -> Callable[[Flat], int]:
    def write(flat: Flat) -> int:
        ref = flat.table(s0=None, s2=0, s3=5, s8=None)
        flat.point(ref["s8"], flat.vector(len(frame), frame))
        flat.index_field = ref["s0"]  # type: ignore[attr-defined]
        return ref["at"]

    return write


def transaction_log(entries: int, chunks: int, ndim: int) -> bytes:
    flat = Flat()
    root = flat.table(s0=ID12, s1=None, s2=None, s3=None, s4=None, s5=None, s6=None, s7=None)
    empty = flat.vector(0)
    for slot in range(1, 7):
        flat.point(root[f"s{slot}"], empty)
    vector = flat.vector_of(entries)
    flat.point(root["s7"], vector)
    entry = flat.table(s0=ID8, s1=None)
    flat.point_all(vector, entries, entry["at"])
    rows = flat.vector_of(chunks)
    flat.point(entry["s1"], rows)
    row = flat.table(s0=None)
    flat.point_all(rows, chunks, row["at"])
    flat.point(row["s0"], flat.vector(ndim, bytes(4 * ndim)))
    return sealed("transaction_log", flat.finish(root["at"]))


def shared_chunks(nodes: int, chunks: int, ndim: int, copies: int = 1) -> bytes:
    """The payload of a log in which each of `nodes` has an id and a vector of `chunks` of its own.

    The chunks take turns with `copies` vectors of coordinates.
    """
    flat = Flat()
    root = flat.table(s0=ID12, s1=None, s2=None, s3=None, s4=None, s5=None, s6=None, s7=None)
    empty = flat.vector(0)
    for slot in range(1, 7):
        flat.point(root[f"s{slot}"], empty)
    vector = flat.vector_of(nodes)
    flat.point(root["s7"], vector)
    vectors = []
    for number in range(nodes):
        entry = flat.table(s0=number.to_bytes(8, "big"), s1=None)
        flat.point(vector + 4 + 4 * number, entry["at"])
        vectors.append(flat.vector_of(chunks))
        flat.point(entry["s1"], vectors[-1])
    rows = []
    for _ in range(copies):
        row = flat.table(s0=None)
        flat.point(row["s0"], flat.vector(ndim, bytes(4 * ndim)))
        rows.append(row["at"])
    for at in vectors:
        for number in range(chunks):
            flat.point(at + 4 + 4 * number, rows[number % copies])
    return flat.finish(root["at"])


def repo_info(parents: list[int], config: bytes | None = None, shared_refs: int = 1) -> bytes:
    """Snapshots with these parents; with a cycle among them, an ancestry has no end."""
    flat = Flat()
    fields: dict[str, bytes | int | None] = {"s0": b"\2"}
    fields |= dict.fromkeys(("s1", "s2", "s3", "s4", "s5", "s7"))
    if config is not None:
        fields["s9"] = None
    root = flat.table(**fields)
    empty = flat.vector(0)
    for name in ("s1", "s3"):
        flat.point(root[name], empty + 0)
    if config is not None:
        flat.point(root["s9"], flat.vector(len(config), config))
    flat.point(root["s5"], flat.table(s1=1)["at"])
    updates = flat.vector_of(1)
    flat.point(root["s7"], updates)
    update = flat.table(s0=b"\1", s1=None, s2=5)
    flat.point_all(updates, 1, update["at"])
    flat.point(update["s1"], flat.table()["at"])
    refs = flat.vector_of(shared_refs)
    flat.point(root["s2"], refs)
    ref = flat.table(s0=None)
    flat.point_all(refs, shared_refs, ref["at"])
    flat.point(ref["s0"], flat.text("main" + "n" * (shared_refs - 1)))
    snapshots = flat.vector_of(len(parents))
    flat.point(root["s4"], snapshots)
    texts = []
    for number, parent in enumerate(parents):
        snapshot_id = number.to_bytes(12, "big")
        info = flat.table(s0=snapshot_id, s1=struct.pack("<i", parent), s2=number + 1, s3=None)
        flat.point(snapshots + 4 + 4 * number, info["at"])
        texts.append(info["s3"])
    message = flat.text("m")
    for field in texts:
        flat.point(field, message)
    return sealed("repo_info", flat.finish(root["at"]))


def exponential_flexbuffer(levels: int) -> bytes:
    """A vector of two references to a vector of two references to ...: 2^levels values."""
    out = bytearray(b"\1\0\0\0")
    out += bytes([2, 7, 7, 4, 4])  # length, two numbers, their types
    first = len(out) - 4
    for _ in range(levels):
        at = len(out) + 1
        out += bytes([2, (at - first) % 256, (at + 1 - first) % 256, 40, 40])
        first = at
    return bytes(out) + bytes([len(out) - first, 40, 1])


def deep_flexbuffer(levels: int) -> bytes:
    """A vector in a vector in a vector."""
    out = bytearray([0])
    first = 1
    for _ in range(levels):
        at = len(out) + 1
        out += bytes([1, at - first, 40])
        first = at
    return bytes(out) + bytes([len(out) - first, 40, 1])


def cyclic_flexbuffer() -> bytes:
    # A vector of one, whose item is an offset of 0: itself.
    return bytes([1, 0, 40, 2, 40, 1])


@cache
def a_bomb(content_size: bool) -> bytes:
    compressor = zstandard.ZstdCompressor(level=1, write_content_size=content_size)
    return compressor.compress(bytes(2**28))


def cases() -> dict[str, Mutant]:
    """All of them, by what they try."""
    window = b"\x28\xb5\x2f\xfd\x00" + bytes([(31 - 10) << 3]) + bytes([1, 0, 0])
    dictionary = zstandard.train_dictionary(512, [b"s3://bucket/a-%d" % i * 5 for i in range(200)]).as_bytes()
    with_dictionary = zstandard.ZstdCompressor(dict_data=zstandard.ZstdCompressionDict(dictionary))
    laughs = "a: &a [x,x,x,x,x,x,x,x,x]\n" + "".join(
        f"{chr(98 + i)}: &{chr(98 + i)} [{','.join(['*' + chr(97 + i)] * 9)}]\n" for i in range(12)
    )
    files: dict[str, tuple[str, int, bytes]] = {
        "a bomb with its size": ("snapshot", 2, sealed("snapshot", b"", frame=a_bomb(True))),
        "a bomb without its size": ("manifest", 2, sealed("manifest", b"", frame=a_bomb(False))),
        "a bomb of many frames": ("repo_info", 2, sealed("repo_info", b"", frame=a_bomb(False) * 4)),
        "a bomb of many frames with sizes": (
            "manifest",
            1,
            sealed("manifest", b"", 1, frame=a_bomb(True) * 4),
        ),
        "a window of 2 GiB": ("manifest", 2, sealed("manifest", b"", frame=window)),
        "a size of 2^60": (
            "manifest",
            2,
            sealed("manifest", b"", frame=b"\x28\xb5\x2f\xfd\xe0" + struct.pack("<Q", 2**60) + b"\1\0\0"),
        ),
        "nothing behind the header": ("snapshot", 2, sealed("snapshot", b"", frame=b"")),
        "an empty payload": ("snapshot", 2, sealed("snapshot", b"")),
        "an empty skippable frame": (
            "snapshot",
            2,
            sealed("snapshot", b"", frame=b"\x50\x2a\x4d\x18\0\0\0\0"),
        ),
        "30,000 nodes that are one": ("snapshot", 2, snapshot(many_nodes_that_are_one(30_000))),
        "a vector of 2^32 - 1 nodes": ("snapshot", 2, snapshot(a_length_that_lies)),
        "10^8 dimensions": ("snapshot", 2, snapshot(many_dimensions)),
        "2^60 metadata values": ("snapshot", 2, snapshot(no_nodes, exponential_flexbuffer(60))),
        "metadata 100,000 deep": ("snapshot", 2, snapshot(no_nodes, deep_flexbuffer(100_000))),
        "metadata that contains itself": ("snapshot", 2, snapshot(no_nodes, cyclic_flexbuffer())),
        "MessagePack 200,000 deep": ("snapshot", 1, snapshot(no_nodes, b"\x91" * 200_000 + b"\xc0", 1)),
        "MessagePack maps 200,000 deep": (
            "snapshot",
            1,
            snapshot(no_nodes, b"\x81\xa1k" * 200_000 + b"\xc0", 1),
        ),
        "a MessagePack list of 2^32 - 1": ("snapshot", 1, snapshot(no_nodes, b"\xdd\xff\xff\xff\xff", 1)),
        "a MessagePack text of 2^32 - 1": ("snapshot", 1, snapshot(no_nodes, b"\xdb\xff\xff\xff\xff", 1)),
        "10^11 coordinates": ("manifest", 2, manifest(1, 1_000_000, 100_000, native_ref)),
        "2^31 references": ("manifest", 2, manifest(50_000, 50_000, 1, native_ref)),
        "10^12 bytes inline": ("manifest", 2, manifest(1, 1_000_000, 1, inline_ref(1_000_000))),
        "a location of 64 MiB": (
            "manifest",
            2,
            manifest(1, 10, 1, compressed_ref(with_dictionary.compress(bytes(2**26))), dictionary),
        ),
        "100,000 times one location": (
            "manifest",
            2,
            manifest(1, 100_000, 1, compressed_ref(with_dictionary.compress(b"s3://bucket/a-1")), dictionary),
        ),
        "a dictionary that is none": (
            "manifest",
            2,
            manifest(
                1, 3, 1, compressed_ref(with_dictionary.compress(b"s3://bucket/a-1")), b"\x37\xa4\x30\xec"
            ),
        ),
        "10^10 updated chunks": ("transaction_log", 2, transaction_log(100_000, 100_000, 1)),
        "10^10 updated coordinates": ("transaction_log", 2, transaction_log(1, 100_000, 100_000)),
        "20,000 arrays with few updated chunks, that are one": (
            "transaction_log",
            2,
            sealed("transaction_log", shared_chunks(20_000, 8, 1_000)),
        ),
        "a snapshot that is its own parent": ("repo_info", 2, repo_info([0])),
        "two snapshots, each the other's parent": ("repo_info", 2, repo_info([1, 0])),
        "a cycle behind a chain": ("repo_info", 2, repo_info([3, 0, 1, 2, 3, 4])),
        "a parent that is not there": ("repo_info", 2, repo_info([-1, 9])),
        "a parent of -2": ("repo_info", 2, repo_info([-2])),
        "a config of 2^60 values": ("repo_info", 2, repo_info([-1], exponential_flexbuffer(60))),
        "a config that is a number": ("repo_info", 2, repo_info([-1], b"\1\4\1")),
        "20,000 branches that are one": ("repo_info", 2, repo_info([-1], shared_refs=20_000)),
        "a YAML bomb": ("config_yaml", 1, laughs.encode()),
        "YAML 100,000 deep": ("config_yaml", 1, b"[" * 100_000),
        "YAML that contains itself": ("config_yaml", 1, b"storage: &a\n  timeouts: *a\n"),
        "YAML that wants to run something": (
            "config_yaml",
            1,
            b"storage: !!python/object/apply:os.getcwd []\n",
        ),
        "YAML with two documents": ("config_yaml", 1, b"a: 1\n---\nb: 2\n"),
        "a YAML number of 5,000 digits": ("config_yaml", 1, b"a: " + b"9" * 5000 + b"\n"),
        "a YAML date that is none": ("config_yaml", 1, b"a: 2001-13-99\n"),
        "a YAML list": ("config_yaml", 1, b"- 1\n"),
        "YAML with a list as a key": ("config_yaml", 1, b"? [1]\n: 2\n"),
        "JSON 100,000 deep": ("ref_json", 1, b'{"snapshot":' + b"[" * 100_000),
        "JSON with a lone surrogate": ("ref_json", 1, b'{"snapshot":"\\ud800"}'),
        "a JSON number of 5,000 digits": ("ref_json", 1, b'{"a":' + b"9" * 5000 + b"}"),
        "an id of other digits": ("ref_json", 1, '{"snapshot":"١٢٣٤٥٦٧٨٩٠١٢٣٤٥٦٧٨٩٠"}'.encode()),
    }
    return {
        what: Mutant(kind, version, "by hand", data, (what,)) for what, (kind, version, data) in files.items()
    }


class Hostile:
    """Stands in for a `Mutator` in the loop."""

    def __init__(self) -> None:
        self.all = list(cases().values())

    def mutant(self, number: int) -> Mutant:
        return self.all[number % len(self.all)]

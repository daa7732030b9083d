"""Snapshots: both spec versions, from scratch, spliced, and with another writer's file inside."""

from __future__ import annotations

import struct
from typing import Any

import pytest
from hypothesis import given, strategies as st

from icechunk._engine.format.header import FileType
from icechunk._engine.format.ids import ManifestId, NodeId, SnapshotId
from icechunk._engine.format.snapshot import (
    ArrayNode,
    DimensionShape,
    GroupNode,
    ManifestFileInfo,
    ManifestRef,
    Node,
    Snapshot,
    encode_snapshot,
    rewrite_snapshot,
)
from icechunk.errors import ErrorKind, FormatError
from tests.core.format.record_strategies import (
    check_names,
    golden_files,
    hierarchies,
    manifest_files,
    metadata,
    nodes,
    paths,
    snapshot_ids,
    texts,
    times,
)


def decode(pieces: list[Any], spec_version: int) -> Snapshot:
    return Snapshot.decode(b"".join(pieces), spec_version, name="snapshots/X")


def head(**changes: Any) -> dict[str, Any]:
    return {
        "id": SnapshotId(bytes(range(12))),
        "parent_id": None,
        "flushed_at": 1_700_000_000_000_000,
        "message": "message",
        "metadata": {},
        "manifest_files": [],
    } | changes


heads = st.fixed_dictionaries(
    {
        "id": snapshot_ids,
        "parent_id": st.none() | snapshot_ids,
        "flushed_at": times,
        "message": texts,
        "metadata": metadata,
        "manifest_files": manifest_files,
    }
)


def check(snapshot: Snapshot, expected: dict[str, Node], head: dict[str, Any], spec_version: int) -> None:
    assert list(snapshot.nodes()) == list(expected.values())
    assert snapshot.num_nodes == len(expected)
    assert snapshot.spec_version == spec_version
    for name in ("id", "parent_id", "flushed_at", "message", "metadata"):
        assert getattr(snapshot, name) == head[name]
    assert snapshot.manifest_files() == sorted(head["manifest_files"])
    for file in head["manifest_files"]:
        assert snapshot.manifest_file(file.id) == file


@pytest.mark.parametrize("spec_version", [1, 2])
@given(data=st.data())
def test_a_snapshot_survives_a_round_trip(spec_version: int, data: st.DataObject) -> None:
    hierarchy = data.draw(hierarchies(spec_version))
    about = data.draw(heads)
    shuffled = data.draw(st.permutations(list(hierarchy.values())))
    pieces = encode_snapshot(nodes=shuffled, spec_version=spec_version, **about)
    check(decode(pieces, spec_version), hierarchy, about, spec_version)


@pytest.mark.parametrize("spec_version", [1, 2])
@given(data=st.data())
def test_a_rewritten_snapshot_is_what_encoding_from_scratch_gives(
    spec_version: int, data: st.DataObject
) -> None:
    hierarchy = data.draw(hierarchies(spec_version))
    old = decode(encode_snapshot(nodes=hierarchy.values(), spec_version=spec_version, **head()), spec_version)
    # Twice: what was spliced once must splice again.
    for _ in range(2):
        known = st.sampled_from(sorted(hierarchy)) if hierarchy else paths
        set_nodes = {
            path: data.draw(nodes(path, spec_version))
            for path in data.draw(st.sets(known | paths, max_size=4))
        }
        removed = data.draw(st.sets(known | paths, max_size=3))
        about = data.draw(heads)
        pieces = rewrite_snapshot(
            old, set_nodes=set_nodes, removed_paths=removed, spec_version=spec_version, **about
        )
        kept = {path: node for path, node in hierarchy.items() if path not in removed}
        changed = kept | set_nodes
        hierarchy = {path: changed[path] for path in sorted(changed, key=str.encode)}
        scratch = encode_snapshot(nodes=hierarchy.values(), spec_version=spec_version, **about)
        # Of our own files nothing dead is carried along: the bytes are the same, too.
        assert b"".join(pieces) == b"".join(scratch)
        old = decode(pieces, spec_version)
        check(old, hierarchy, about, spec_version)


@given(data=st.data())
def test_a_snapshot_of_version_1_is_rewritten_as_version_2(data: st.DataObject) -> None:
    hierarchy = data.draw(hierarchies(1))
    old = decode(encode_snapshot(nodes=hierarchy.values(), spec_version=1, **head()), 1)
    pieces = rewrite_snapshot(old, set_nodes={}, removed_paths=(), spec_version=2, **head())
    check(decode(pieces, 2), hierarchy, head(), 2)


@pytest.mark.parametrize("spec_version", [1, 2])
@given(data=st.data())
def test_manifests_can_be_given_as_a_difference(spec_version: int, data: st.DataObject) -> None:
    before = data.draw(manifest_files)
    old = decode(
        encode_snapshot(nodes=(), spec_version=spec_version, **head(manifest_files=before)), spec_version
    )
    added = data.draw(manifest_files)
    removed = data.draw(st.sets(st.sampled_from([file.id for file in before]))) if before else set()
    about = head()
    del about["manifest_files"]
    pieces = rewrite_snapshot(
        old,
        set_nodes={},
        removed_paths=(),
        added_manifest_files=added,
        removed_manifest_ids=removed,
        spec_version=spec_version,
        **about,
    )
    expected = {file.id: file for file in before if file.id not in removed}
    expected |= {file.id: file for file in added}
    assert decode(pieces, spec_version).manifest_files() == sorted(expected.values())


GOLDEN = list(golden_files(FileType.SNAPSHOT, "snapshots"))


@pytest.mark.parametrize(("name", "spec_version", "payload"), GOLDEN, ids=[name for name, *_ in GOLDEN])
def test_snapshots_of_the_reference_are_kept_by_every_way_of_writing(
    name: str, spec_version: int, payload: memoryview
) -> None:
    old = Snapshot.decode(payload, spec_version, name=name)
    about = {
        field: getattr(old, field) for field in ("id", "parent_id", "flushed_at", "message", "metadata")
    } | {"manifest_files": old.manifest_files()}
    hierarchy = {node.path: node for node in old.nodes()}
    scratch = encode_snapshot(nodes=hierarchy.values(), spec_version=spec_version, **about)
    check(decode(scratch, spec_version), hierarchy, about, spec_version)
    # Another writer's file stays inside of ours as it is; three times, so that it is nested, too.
    for number in range(3):
        path = f"/new{number}"
        node = GroupNode(NodeId(bytes(8)), path, b"{}")
        pieces = rewrite_snapshot(
            old, set_nodes={path: node}, removed_paths=(), spec_version=spec_version, **about
        )
        old = decode(pieces, spec_version)
        hierarchy = dict(sorted({**hierarchy, path: node}.items(), key=lambda item: item[0].encode()))
        check(old, hierarchy, about, spec_version)


@pytest.mark.parametrize("spec_version", [1, 2])
@given(data=st.data())
def test_nodes_are_found(spec_version: int, data: st.DataObject) -> None:
    hierarchy = data.draw(hierarchies(spec_version))
    snapshot = decode(
        encode_snapshot(nodes=hierarchy.values(), spec_version=spec_version, **head()), spec_version
    )
    for path in [*hierarchy, data.draw(paths), "/", "", "a", "/\ud800"]:
        assert snapshot.find_node(path) == hierarchy.get(path)
        prefix = "/" if path == "/" else path + "/"
        below = [other for other in hierarchy if other.startswith(prefix) and other != "/"]
        children = [other for other in below if "/" not in other[len(prefix) :]]
        assert list(snapshot.paths_under(path)) == below
        assert [node.path for node in snapshot.nodes_under(path)] == below
        assert [node.path for node in snapshot.children(path)] == children
    by_id = {node.id: node for node in hierarchy.values()}
    for id, node in by_id.items():
        found = snapshot.find_node_by_id(id)
        assert found is not None
        assert found.id == node.id
    if bytes(8) not in by_id:
        assert snapshot.find_node_by_id(NodeId(bytes(8))) is None


def test_more_chunks_than_the_format_can_count_are_refused() -> None:
    array = ArrayNode(NodeId(bytes(8)), "/a", b"", (DimensionShape(2**40, 2**32),), None, ())
    with pytest.raises(FormatError, match="does not fit") as caught:
        encode_snapshot(nodes=[array], spec_version=2, **head())
    assert caught.value.kind == ErrorKind.SERIALIZATION


def test_siblings_that_sort_into_a_subtree_are_no_part_of_it() -> None:
    tree = ["/", "/a", "/a-b", "/a-b/c", "/a/b", "/a/b/c", "/a0", "/ab"]
    groups = [GroupNode(NodeId(bytes([number] * 8)), path, b"") for number, path in enumerate(tree)]
    snapshot = decode(encode_snapshot(nodes=groups, spec_version=2, **head()), 2)
    assert [node.path for node in snapshot.nodes()] == tree
    assert list(snapshot.paths_under("/a")) == ["/a/b", "/a/b/c"]
    assert [node.path for node in snapshot.children("/")] == ["/a", "/a-b", "/a0", "/ab"]


def test_a_manifest_that_is_not_listed_is_an_error_of_its_kind() -> None:
    snapshot = decode(encode_snapshot(nodes=(), spec_version=2, **head()), 2)
    with pytest.raises(FormatError, match="manifest information cannot be found") as caught:
        snapshot.manifest_file(ManifestId(bytes(12)))
    assert caught.value.kind == ErrorKind.MANIFEST_INFO_NOT_FOUND


def small_snapshot(spec_version: int) -> bytes:
    array = ArrayNode(
        NodeId(b"12345678"),
        "/array",
        b"{}",
        (DimensionShape(10, 2), DimensionShape(0, 0)),
        ("x", None),
        (ManifestRef(ManifestId(bytes(12)), ((0, 2), (0, 1))),),
    )
    files = [ManifestFileInfo(ManifestId(bytes(12)), 100, 5)]
    return b"".join(
        encode_snapshot(
            nodes=[GroupNode(NodeId(bytes(8)), "/", b"{}"), array],
            spec_version=spec_version,
            **head(metadata={"a": [1, 2]}, manifest_files=files),
        )
    )


def read_everything(payload: bytes, spec_version: int) -> Any:
    snapshot = Snapshot.decode(payload, spec_version, name="snapshots/X")
    return (
        snapshot.id,
        snapshot.parent_id,
        snapshot.flushed_at,
        snapshot.message,
        snapshot.metadata,
        list(snapshot.nodes()),
        [node.path for node in snapshot.children("/")],
        snapshot.find_node("/array"),
        snapshot.find_node_by_id(NodeId(b"12345678")),
        snapshot.manifest_files(),
    )


@pytest.mark.parametrize("spec_version", [1, 2])
@given(data=st.data())
def test_mutated_snapshots_are_values_or_format_errors(spec_version: int, data: st.DataObject) -> None:
    payload = bytearray(small_snapshot(spec_version))
    for _ in range(data.draw(st.integers(1, 3))):
        word = data.draw(st.integers(0, len(payload) // 4 - 1))
        value = data.draw(st.sampled_from([0, 1, 2**31, 2**32 - 1]) | st.integers(0, len(payload)))
        struct.pack_into("<I", payload, 4 * word, value)
    cut = data.draw(st.just(len(payload)) | st.integers(0, len(payload)))
    mutant = bytes(payload[:cut])
    try:
        read_everything(mutant, spec_version)
        old = Snapshot.decode(mutant, spec_version, name="snapshots/X")
        rewrite_snapshot(old, set_nodes={}, removed_paths=["/array"], spec_version=spec_version, **head())
    except FormatError as error:
        check_names(error, "snapshots/X")


def test_nodes_that_share_their_bytes_do_not_unfold_without_end() -> None:
    # A thousand nodes whose user data is the same million bytes.
    groups = [GroupNode(NodeId(bytes(8)), f"/{number:04}", b"") for number in range(1000)]
    payload = bytearray(b"".join(encode_snapshot(nodes=groups, spec_version=2, **head())))
    end = len(payload)
    payload += struct.pack("<I", 10**6) + bytes(10**6)
    snapshot = Snapshot.decode(bytes(payload), 2, name="snapshots/X")
    for table in snapshot.node_vector:
        struct.pack_into("<I", payload, table.position + 8, end - (table.position + 8))
    with pytest.raises(FormatError, match="shares its content"):
        list(Snapshot.decode(bytes(payload), 2, name="snapshots/X").nodes())


def test_two_nodes_with_one_path_are_not_taken_for_each_other() -> None:
    first, second = NodeId.random(), NodeId.random()
    nodes = [GroupNode(first, "/one", b"{}"), GroupNode(second, "/two", b"{}")]
    payload = bytearray(b"".join(bytes(p) for p in encode_snapshot(**head(nodes=nodes), spec_version=2)))
    at = payload.index(b"/two")
    payload[at : at + 4] = b"/one"
    snapshot = Snapshot.decode(memoryview(bytes(payload)), 2, name="snapshots/X")
    assert snapshot.node(0).id == first
    # The reference writes such a snapshot where two sessions have replaced one node.
    assert [(node.id, node.path) for node in snapshot.nodes()] == [(first, "/one"), (second, "/one")]
    with pytest.raises(FormatError, match="two nodes have the path `/one`"):
        snapshot.find_node_by_id(second)


def test_a_node_without_a_name_is_no_child() -> None:
    groups = [
        GroupNode(NodeId(bytes([i] * 8)), path, b"") for i, path in enumerate(["/", "/a", "/a/b", "/a/c"])
    ]
    payload = b"".join(bytes(p) for p in encode_snapshot(**head(nodes=groups), spec_version=2))
    # A length of 3 for `/a/b`, and its last byte zero.
    at = payload.index(b"\4\0\0\0/a/b")
    damaged = payload[:at] + b"\3\0\0\0/a/\0" + payload[at + 8 :]
    snapshot = Snapshot.decode(memoryview(damaged), 2, name="snapshots/X")
    assert [node.path for node in snapshot.nodes()] == ["/", "/a", "/a/", "/a/c"]
    assert [node.path for node in snapshot.children("/a")] == ["/a/c"]

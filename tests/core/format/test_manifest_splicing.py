from __future__ import annotations

from collections.abc import Iterable

from hypothesis import given, strategies as st

from icechunk._engine.format.chunk_refs import ChunkRef, InlineRef, NativeRef, RefColumns, VirtualRef
from icechunk._engine.format.ids import ChunkId, ManifestId, NodeId
from icechunk._engine.format.manifest import Manifest, encode_manifest
from icechunk._engine.format.manifest_splicing import encode_few_refs, splice_manifest

NODE = NodeId(b"nodenode")

Table = dict[tuple[int, ...], ChunkRef]


def refs() -> st.SearchStrategy[ChunkRef]:
    native = st.builds(
        NativeRef,
        st.binary(min_size=12, max_size=12).map(ChunkId),
        st.one_of(st.just(0), st.integers(0, 2**63)),
        st.integers(0, 2**63),
    )
    return st.one_of(native, st.builds(InlineRef, st.binary(max_size=40)))


def coords(ndim: int) -> st.SearchStrategy[tuple[int, ...]]:
    return st.tuples(*[st.integers(0, 5)] * ndim)


def encoded(table: Table, ndim: int) -> Manifest:
    items = sorted(table.items())
    columns = RefColumns.from_refs([c for c, _ in items], [r for _, r in items], ndim)
    return decoded(encode_manifest(ManifestId.random(), [(NODE, columns)], spec_version=2))


def decoded(pieces: Iterable[bytes | bytearray | memoryview]) -> Manifest:
    return Manifest.decode(b"".join(pieces), name="manifests/X")


def content(manifest: Manifest) -> Table:
    refs = manifest.find_array(NODE)
    assert refs is not None
    columns = refs.columns()
    rows = [tuple(row) for row in columns.coords.tolist()]
    for row in rows:
        assert refs.lookup(row) == columns.row(rows.index(row))
    return {row: columns.row(i) for i, row in enumerate(rows)}


@given(st.data())
def test_changes_in_the_bytes_are_changes_of_the_refs(data: st.DataObject) -> None:
    ndim = data.draw(st.integers(0, 3))
    changes = st.dictionaries(coords(ndim), st.one_of(st.none(), refs()), min_size=1, max_size=5)
    table: Table = data.draw(st.dictionaries(coords(ndim), refs(), min_size=1, max_size=20))
    manifest = encoded(table, ndim)
    for _ in range(5):
        drawn = data.draw(changes)
        for where, ref in drawn.items():
            if ref is None:
                table.pop(where, None)
            else:
                table[where] = ref
        new_id = ManifestId.random()
        spliced = splice_manifest(manifest, new_id, NODE, sorted(drawn.items()))
        if spliced is None:
            if not table:
                return
            manifest = encoded(table, ndim)
        else:
            pieces, num_refs = spliced
            manifest = decoded(pieces)
            assert manifest.id == new_id
            assert manifest.num_refs == num_refs == len(table)
        assert content(manifest) == table


@given(st.integers(0, 3).flatmap(lambda ndim: st.dictionaries(coords(ndim), refs(), min_size=1, max_size=30)))
def test_a_few_refs_need_no_columns(table: Table) -> None:
    pieces = encode_few_refs(ManifestId.random(), NODE, sorted(table.items()))
    assert pieces is not None
    manifest = decoded(pieces)
    assert content(manifest) == table
    where, _ref = min(table.items())
    new = NativeRef(ChunkId.random(), 0, 6)
    spliced = splice_manifest(manifest, ManifestId.random(), NODE, [(where, new)])
    assert spliced is not None
    assert content(decoded(spliced[0])) == {**table, where: new}


def test_dead_bytes_are_cleared_away_in_time() -> None:
    table: Table = {(i,): NativeRef(ChunkId.random(), 0, 5) for i in range(1000)}
    manifest = encoded(table, 1)
    size = manifest.size_bytes
    for _ in range(10_000):
        spliced = splice_manifest(
            manifest, ManifestId.random(), NODE, [((500,), NativeRef(ChunkId.random(), 0, 6))]
        )
        if spliced is None:
            break
        manifest = decoded(spliced[0])
    else:
        raise AssertionError("the file grows for ever")
    assert 1.1 * size < manifest.size_bytes < 1.5 * size


def test_what_has_another_layout_is_encoded_anew() -> None:
    native = NativeRef(ChunkId.random(), 0, 5)
    columns = RefColumns.from_refs([(0,)], [native], 1)
    other = NodeId(b"otherone")
    two = decoded(encode_manifest(ManifestId.random(), [(NODE, columns), (other, columns)], spec_version=2))
    assert splice_manifest(two, ManifestId.random(), NODE, [((0,), native)]) is None
    one = encoded({(0,): native}, 1)
    assert splice_manifest(one, ManifestId.random(), other, [((0,), native)]) is None
    assert splice_manifest(one, ManifestId.random(), NODE, [((0,), None)]) is None
    virtual = VirtualRef("s3://bucket/key", 0, 5)
    assert splice_manifest(one, ManifestId.random(), NODE, [((0,), virtual)]) is None
    assert encode_few_refs(ManifestId.random(), NODE, [((0,), virtual)]) is None

from __future__ import annotations

import itertools
import random
import struct
import zipfile
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, strategies as st

from icechunk._engine.format import manifest_encoding
from icechunk._engine.format.chunk_refs import ChunkRef, InlineRef, NativeRef, RefColumns, VirtualRef
from icechunk._engine.format.envelope import open_file
from icechunk._engine.format.header import FileType
from icechunk._engine.format.ids import ChunkId, ManifestId, NodeId
from icechunk._engine.format.manifest import ArrayRefs, LocationCompression, Manifest
from icechunk._engine.format.manifest_columns import _distinct
from icechunk._engine.format.manifest_locations import MaybeCompressedStrings
from icechunk.errors import FormatError
from tests.core.format.refs import MANIFEST_ID, NODE_ID, columns_of, decoded, manifest_of, table_of, tables

Table = tuple[int, dict[tuple[int, ...], ChunkRef]]

GOLDEN = Path(__file__).parents[2] / "interop" / "golden" / "data"

ALWAYS = LocationCompression(min_num_refs=1, min_text_bytes=0)


def refs_of(payload: bytes, node_id: NodeId = NODE_ID) -> ArrayRefs:
    refs = decoded(payload).find_array(node_id)
    assert refs is not None
    return refs


def grid(*shape: int) -> dict[tuple[int, ...], ChunkRef]:
    return {
        coords: NativeRef(ChunkId(struct.pack("<3I", *coords, *[0] * (3 - len(coords)))), 0, sum(coords))
        for coords in itertools.product(*map(range, shape))
    }


@given(tables())
def test_refs_survive_a_round_trip(drawn: Table) -> None:
    ndim, table = drawn
    payload = manifest_of((NODE_ID, columns_of(ndim, table)))
    manifest = decoded(payload)
    assert manifest.id == MANIFEST_ID
    assert manifest.node_ids == (NODE_ID,)
    assert manifest.num_refs == len(table)
    refs = manifest.find_array(NODE_ID)
    assert refs is not None
    assert refs.num_refs == len(table)
    if table:
        assert refs.ndim == ndim
        assert table_of(refs.columns()) == table
        assert list(map(tuple, refs.coords().tolist())) == sorted(table)
    for coords, ref in table.items():
        assert refs.lookup(coords) == ref


@given(tables(), st.data())
def test_a_chunk_without_a_ref_is_not_found(drawn: Table, data: st.DataObject) -> None:
    ndim, table = drawn
    refs = refs_of(manifest_of((NODE_ID, columns_of(ndim, table))))
    for _ in range(20):
        coords = tuple(data.draw(st.integers(0, 5)) for _ in range(ndim))
        # The first searches go through the bytes, later ones through numbers.
        assert refs.lookup(coords) == table.get(coords)


@given(tables())
def test_few_refs_are_encoded_to_the_same_bytes_as_many(drawn: Table) -> None:
    columns = columns_of(*drawn)
    payloads = []
    for few in (0, 1000):
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(manifest_encoding, "FEW_REFS", few)
            payloads.append(manifest_of((NODE_ID, columns)))
    assert payloads[0] == payloads[1]


@given(st.lists(tables(max_refs=3), max_size=20), st.sampled_from([1, 2]))
def test_several_arrays_share_a_manifest(drawn: list[Table], spec_version: int) -> None:
    arrays = {
        NodeId(struct.pack(">Q", number * 7919 % 1000)): table
        for number, table in enumerate(drawn)
        if table[1]
    }
    payload = manifest_of(
        *((node_id, columns_of(*table)) for node_id, table in arrays.items()), spec_version=spec_version
    )
    manifest = decoded(payload)
    assert list(manifest.node_ids) == sorted(arrays)
    assert manifest.num_refs == sum(len(table) for _, table in arrays.values())
    for node_id, (_, table) in arrays.items():
        refs = manifest.find_array(node_id)
        assert refs is not None
        assert table_of(refs.columns()) == table
    assert manifest.find_array(NodeId(b"nobody..")) is None


@given(tables(), tables(max_refs=5))
def test_what_was_read_is_written_again_with_changes(drawn: Table, changes: Table) -> None:
    ndim, table = drawn
    changed = changes[1] if changes[0] == ndim else {}
    old = refs_of(manifest_of((NODE_ID, columns_of(ndim, table)))).columns()
    merged = RefColumns.concat([old, columns_of(ndim, changed)] if len(old) else [columns_of(ndim, changed)])
    payload = manifest_of((NODE_ID, merged.sorted_last_wins()))
    assert table_of(refs_of(payload).columns()) == table | changed


@pytest.mark.parametrize("shape", [(), (1,), (100,), (9, 11), (5, 6, 7), (1, 1, 30)])
@pytest.mark.parametrize("part", [1.0, 0.62, 0.04])
def test_a_grid_is_looked_up_wherever_it_ends(shape: tuple[int, ...], part: float) -> None:
    table = grid(*shape)
    kept = dict(sorted(table.items())[: max(1, int(len(table) * part))])
    refs = refs_of(manifest_of((NODE_ID, columns_of(len(shape), kept))))
    for coords in table:
        assert refs.lookup(coords) == kept.get(coords)


def test_many_misses_change_over_to_a_column_of_numbers() -> None:
    rng = random.Random(5)
    table = dict(rng.sample(sorted(grid(40, 50).items()), 300))
    refs = refs_of(manifest_of((NODE_ID, columns_of(2, table))))
    for _ in range(3):
        for coords in grid(42, 52):
            assert refs.lookup(coords) == table.get(coords)
    assert refs._numbers is not None


def test_coordinates_beyond_all_numbers_are_looked_up() -> None:
    table: dict[tuple[int, ...], ChunkRef] = {
        (row % 2 * (2**32 - 1), row * 2**24, 2**32 - 1 - row): InlineRef(bytes([row])) for row in range(200)
    }
    refs = refs_of(manifest_of((NODE_ID, columns_of(3, table))))
    for _ in range(3):
        for coords, ref in table.items():
            assert refs.lookup(coords) == ref
            assert refs.lookup((*coords[:2], coords[2] - 201)) is None


def test_an_array_of_other_dimensions_is_an_error() -> None:
    refs = refs_of(manifest_of((NODE_ID, columns_of(2, grid(2, 2)))))
    with pytest.raises(FormatError, match="have 2 coordinates, the array has 3"):
        refs.lookup((0, 0, 0))


def test_equal_locations_are_stored_once() -> None:
    table: dict[tuple[int, ...], ChunkRef] = {
        (row,): VirtualRef("s3://bucket/" + "x" * 500, row, 1) for row in range(1000)
    }
    assert len(manifest_of((NODE_ID, columns_of(1, table)))) < 60_000


def test_numbers_lie_on_multiples_of_eight() -> None:
    # The reference refuses files in which they do not.
    for ref, slots in (
        (VirtualRef("s3://b/x", 2**60, 2**61), (2, 3)),
        (NativeRef(ChunkId(bytes(12)), 5, 6), (2, 3)),
    ):
        for ndim in range(5):
            table: dict[tuple[int, ...], ChunkRef] = {(row,) * ndim: ref for row in range(3 if ndim else 1)}
            manifest = decoded(manifest_of((NODE_ID, columns_of(ndim, table))))
            arrays = manifest._file.root().tables(1)
            assert arrays is not None
            rows = arrays[0].tables(1)
            assert rows is not None
            assert all((row.position + row._slots[slot]) % 8 == 0 for row in rows for slot in slots)


def test_threads_look_up_at_once() -> None:
    table = grid(30, 40)
    del table[3, 5]
    refs = refs_of(manifest_of((NODE_ID, columns_of(2, table))))
    with ThreadPoolExecutor(8) as pool:
        answers = list(pool.map(refs.lookup, list(grid(30, 40)) * 5))
    assert answers == [table.get(coords) for coords in grid(30, 40)] * 5


def test_a_manifest_beyond_the_limit_asks_to_be_split(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(manifest_encoding, "MAX_PAYLOAD_BYTES", 1000)
    with pytest.raises(FormatError, match="ManifestSplittingConfig"):
        manifest_of((NODE_ID, columns_of(2, grid(10, 10))))


class TestCompressedLocations:
    """Locations that are compressed with a dictionary of the manifest."""

    @pytest.fixture
    def table(self) -> dict[tuple[int, ...], ChunkRef]:
        rng = random.Random(1)
        return {
            (row,): VirtualRef(f"s3://bucket/prefix/{rng.randrange(10**9)}/{row}.nc", row, 1)
            for row in range(500)
        } | {(500,): VirtualRef("s3://bucket/" + "y" * 2000, 0, 1), (501,): InlineRef(b"z")}

    def test_they_survive_a_round_trip(self, table: dict[tuple[int, ...], ChunkRef]) -> None:
        payload = manifest_of((NODE_ID, columns_of(1, table)), location_compression=ALWAYS)
        refs = refs_of(payload)
        assert len(payload) < len(manifest_of((NODE_ID, columns_of(1, table))))
        assert isinstance(refs.columns().locations, MaybeCompressedStrings)
        assert table_of(refs.columns()) == table
        assert {coords: refs.lookup(coords) for coords in table} == table

    def test_they_stay_compressed_when_others_join_them(self, table: dict[tuple[int, ...], ChunkRef]) -> None:
        old = refs_of(manifest_of((NODE_ID, columns_of(1, table)), location_compression=ALWAYS)).columns()
        new: dict[tuple[int, ...], ChunkRef] = {(7,): VirtualRef("s3://new/one", 1, 2), (9,): InlineRef(b"q")}
        merged = RefColumns.concat([old, columns_of(1, new)]).sorted_last_wins()
        refs = refs_of(manifest_of((NODE_ID, merged)))
        assert isinstance(refs.columns().locations, MaybeCompressedStrings)
        assert table_of(refs.columns()) == table | new
        assert list(merged.locations) == list(merged.locations.plain())

    def test_two_dictionaries_become_plain_locations(self, table: dict[tuple[int, ...], ChunkRef]) -> None:
        payload = manifest_of((NODE_ID, columns_of(1, table)), location_compression=ALWAYS)
        old = refs_of(payload).columns()
        other = refs_of(payload).columns().take(np.arange(3))
        merged = RefColumns.concat([old, other]).sorted_last_wins()
        refs = refs_of(manifest_of((NODE_ID, merged)))
        assert not isinstance(refs.columns().locations, MaybeCompressedStrings)
        assert table_of(refs.columns()) == table

    def test_spec_version_1_knows_only_plain_ones(self, table: dict[tuple[int, ...], ChunkRef]) -> None:
        columns = columns_of(1, table)
        plain = manifest_of((NODE_ID, columns), spec_version=1)
        assert manifest_of((NODE_ID, columns), spec_version=1, location_compression=ALWAYS) == plain
        read = refs_of(manifest_of((NODE_ID, columns), location_compression=ALWAYS)).columns()
        assert len(manifest_of((NODE_ID, read), spec_version=1)) == len(plain)

    def test_shared_or_short_ones_are_left_as_they_are(self) -> None:
        shared: dict[tuple[int, ...], ChunkRef] = {
            (row,): VirtualRef(f"s3://bucket/some/path/{row % 100}", row, 1) for row in range(2000)
        }
        columns = columns_of(1, shared)
        assert manifest_of((NODE_ID, columns), location_compression=ALWAYS) == manifest_of((NODE_ID, columns))
        own = columns_of(1, {(row,): VirtualRef(f"s3://b/{row}", row, 1) for row in range(2000)})
        default = LocationCompression()
        assert manifest_of((NODE_ID, own), location_compression=default) == manifest_of((NODE_ID, own))


@pytest.mark.parametrize("archive", sorted(GOLDEN.glob("*.zip")), ids=lambda path: path.stem)
def test_manifests_of_the_reference_are_read_and_written_again(archive: Path) -> None:
    found = 0
    with zipfile.ZipFile(archive) as files:
        for name in files.namelist():
            if "manifests/" not in name or name.endswith("/"):
                continue
            header, payload = open_file(files.read(name), FileType.MANIFEST, name=name)
            manifest = Manifest.decode(payload, name=name)
            assert str(manifest.id) == name.rsplit("/", 1)[1]
            for node_id in manifest.node_ids:
                refs = manifest.find_array(node_id)
                assert refs is not None
                table = table_of(refs.columns())
                assert len(table) == refs.num_refs > 0
                assert {coords: refs.lookup(coords) for coords in table} == table
                again = manifest_of((node_id, refs.columns()), spec_version=header.spec_version)
                assert table_of(refs_of(again, node_id).columns()) == table
                found += 1
    assert found or "read-only" in archive.stem


def test_the_manifest_that_the_specification_prints_is_read() -> None:
    payload = bytes.fromhex(
        "140000004963686b0c00180008001400000007000c00000000000000"
        "f1d81cc7bd5060f8e95e85c204000000010000000c000000"
        "0800100004000c00080000009cd787459270db2304000000010000000c000000"
        "08000c000400080008000000100000000400000002000000aabb00000100000001000000"
    )  # fmt: skip
    manifest = decoded(payload)
    assert manifest.id == ManifestId(bytes.fromhex("f1d81cc7bd5060f8e95e85c2"))
    refs = manifest.find_array(NodeId(bytes.fromhex("9cd787459270db23")))
    assert refs is not None
    assert refs.lookup((1,)) == InlineRef(b"\xaa\xbb")
    assert refs.lookup((0,)) is None


@given(
    st.lists(st.tuples(st.integers(-1, 5), st.integers(1, 9)), max_size=30),
    st.booleans(),
)
def test_locations_are_numbered_however_they_are_shared(
    runs: list[tuple[int, int]], never_twice: bool
) -> None:
    # Long runs of one location, or hardly any; -1 is none.
    targets = np.array(
        [target for target, length in runs for _ in range(1 if never_twice else length)], dtype=np.int64
    )
    codes, distinct = _distinct(targets)
    assert codes.dtype == np.int32
    assert len(set(distinct.tolist())) == len(distinct)
    assert [-1 if code < 0 else int(distinct[code]) for code in codes] == targets.tolist()

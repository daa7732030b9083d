"""Chunk refs for tests: hypothesis strategies, and manifests made of them."""

from __future__ import annotations

from hypothesis import strategies as st

from icechunk._engine.format.chunk_refs import ChunkRef, InlineRef, NativeRef, RefColumns, VirtualRef
from icechunk._engine.format.ids import ChunkId, ManifestId, NodeId
from icechunk._engine.format.manifest import LocationCompression, Manifest, encode_manifest

U32 = st.integers(0, 2**32 - 1)
U64 = st.integers(0, 2**64 - 1)
NODE_ID = NodeId(b"a node..")
MANIFEST_ID = ManifestId(b"a manifest..")

inline_refs = st.builds(InlineRef, st.binary(max_size=20))
native_refs = st.builds(NativeRef, st.binary(min_size=12, max_size=12).map(ChunkId), st.just(0) | U64, U64)
virtual_refs = st.builds(
    VirtualRef,
    st.sampled_from(["s3://bucket/one", "s3://bucket/two", "file:///ä/ö"]) | st.text(max_size=10),
    U64,
    U64,
    st.none() | st.sampled_from(["etag", ""]),
    st.just(0) | U32,
)
any_refs = inline_refs | native_refs | virtual_refs


@st.composite
def tables(
    draw: st.DrawFn, max_refs: int = 60, ndims: range = range(5)
) -> tuple[int, dict[tuple[int, ...], ChunkRef]]:
    """Draw the number of dimensions, and refs by their coordinates."""
    ndim = draw(st.sampled_from(ndims))
    # Mostly near each other, as those of real arrays are.
    value = draw(st.sampled_from([st.integers(0, 3), st.integers(0, 40), U32]))
    refs = draw(st.sampled_from([inline_refs, native_refs, virtual_refs, any_refs]))
    coords = st.tuples(*[value] * ndim)
    return ndim, draw(st.dictionaries(coords, refs, max_size=max_refs if ndim else 1))


def columns_of(ndim: int, table: dict[tuple[int, ...], ChunkRef]) -> RefColumns:
    """Return the columns of a table, in order."""
    return RefColumns.from_refs(list(table), list(table.values()), ndim).sorted_last_wins()


def manifest_of(
    *arrays: tuple[NodeId, RefColumns],
    spec_version: int = 2,
    location_compression: LocationCompression | None = None,
) -> bytes:
    """Return the payload of a manifest."""
    pieces = encode_manifest(
        MANIFEST_ID, arrays, spec_version=spec_version, location_compression=location_compression
    )
    return b"".join(pieces)


def decoded(payload: bytes) -> Manifest:
    """Return a manifest by its payload."""
    return Manifest.decode(payload, name="manifests/X")


def table_of(columns: RefColumns) -> dict[tuple[int, ...], ChunkRef]:
    """Return the refs by their coordinates."""
    return {tuple(coords): columns.row(row) for row, coords in enumerate(columns.coords.tolist())}

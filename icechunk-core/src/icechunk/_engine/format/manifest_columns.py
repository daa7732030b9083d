"""The chunk refs of one array of a manifest, decoded to columns, whatever the layout of the file."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, NamedTuple

import numpy as np

from icechunk._engine.format.byte_strings import EMPTY, ByteStrings
from icechunk._engine.format.chunk_refs import NO_BYTES, RefColumns, RefKind
from icechunk._engine.format.coordinates import MAX_DIMENSIONS, is_strictly_ascending
from icechunk._engine.format.envelope import MAX_PAYLOAD_BYTES
from icechunk._engine.format.manifest_locations import LocationDictionary, MaybeCompressedStrings
from icechunk._engine.format.manifest_rows import (
    CHUNK_ID,
    COMPRESSED_LOCATION,
    ETAG,
    INDEX,
    INLINE,
    LAST_MODIFIED,
    LENGTH,
    LOCATION,
    OFFSET,
)
from icechunk._engine.format.tables_columns import TableColumns, gather, regular_step, vectors_at

if TYPE_CHECKING:
    from icechunk._engine.format.arrays import (
        BoolColumn,
        ByteColumn,
        CodeColumn,
        Positions,
        U32Column,
    )
    from icechunk._engine.format.tables import FlatBuffer

OUT_OF_ORDER: Final = "the chunk refs are not in ascending order of their coordinates, each once"

_COMPRESSED: Final = 4  # a virtual ref whose location is compressed


def check_ndim(file: FlatBuffer, num_refs: int, ndim: int) -> None:
    """Raise FormatError if so many refs cannot have so many coordinates each.

    A small file can make a million refs share one long vector; this is asked before anything is allocated.
    """
    if ndim > MAX_DIMENSIONS:
        raise file.error(f"its chunk refs claim {ndim} coordinates each; the most is {MAX_DIMENSIONS}")
    if num_refs * (4 + 4 * ndim) > file.size:
        raise file.error(f"{num_refs} chunk refs of {ndim} coordinates do not fit into {file.size} bytes")


def decode_coords(tables: TableColumns, ndim: int) -> U32Column:
    """Return the coordinates of all refs, of shape (n, `ndim`).

    Raises
    ------
    FormatError
        A ref has none, or another number of them; or the refs are not in order. A binary search would not
        find what is in the wrong place, and missing chunks must not pass for empty ones.
    """
    file = tables.file
    n = len(tables)
    check_ndim(file, n, ndim)
    tables.require(INDEX, "ChunkRef.index")
    vectors = tables.vectors(INDEX, 4)
    if not (vectors.counts == ndim).all():
        odd = int(np.flatnonzero(vectors.counts != ndim)[0])
        raise file.error(f"chunk ref {odd} has {vectors.counts[odd]} coordinates, the first one {ndim}")
    if not ndim:
        coords = np.empty((n, 0), np.uint32)
    else:
        item = np.dtype((np.void, 4 * ndim))
        items = gather(file, vectors.starts, item, step=regular_step(vectors.starts))
        coords = items.view("<u4").reshape(n, ndim)
    if n > 1 and not (ndim and is_strictly_ascending(coords)):
        raise file.error(OUT_OF_ORDER)
    return coords


def decode_columns(tables: TableColumns, coords: U32Column, dictionary: LocationDictionary) -> RefColumns:
    """Return everything about all refs. Locations stay compressed until they are asked for."""
    file = tables.file
    kinds = _kinds(tables)
    present = np.bincount(kinds, minlength=5)
    is_mixed = np.count_nonzero(present) > 1
    if present[0]:
        row = int(np.flatnonzero(kinds == 0)[0])
        raise file.error(f"chunk ref {row} is neither inline, native nor virtual")
    lengths = tables.scalars(LENGTH, "<u8")
    offsets = tables.scalars(OFFSET, "<u8")
    inline_starts = None
    inline_data: ByteColumn = NO_BYTES
    is_inline: BoolColumn | None = None
    if present[RefKind.INLINE]:
        is_inline = kinds == RefKind.INLINE
        starts, counts = _only(is_inline, tables.targets(INLINE), file, 1)
        inline_starts, inline_data = starts, file.array
        _check_total(file, counts)
        lengths[is_inline] = counts[is_inline]
        offsets[is_inline] = 0
    chunk_ids = None
    if present[RefKind.NATIVE]:
        chunk_ids = tables.structs(CHUNK_ID, 12)
        if is_mixed:
            chunk_ids[kinds != RefKind.NATIVE] = bytes(12)
    virtual = _Virtual(None, EMPTY, None, EMPTY, None)
    if present[RefKind.VIRTUAL] or present[_COMPRESSED]:
        virtual = _decode_virtual(tables, kinds, dictionary)
        kinds[kinds == _COMPRESSED] = RefKind.VIRTUAL
    return RefColumns.build(
        coords=coords,
        kinds=kinds,
        offsets=offsets if offsets.any() else None,
        lengths=lengths,
        chunk_ids=chunk_ids,
        location_codes=virtual.location_codes,
        locations=virtual.locations,
        etag_codes=virtual.etag_codes,
        etags=virtual.etags,
        last_modified=virtual.last_modified,
        inline_starts=inline_starts,
        inline_data=inline_data,
    )


class _Virtual(NamedTuple):
    location_codes: CodeColumn | None
    locations: ByteStrings
    etag_codes: CodeColumn | None
    etags: ByteStrings
    last_modified: U32Column | None


def _kinds(tables: TableColumns) -> ByteColumn:
    """Return the kind of each ref, 0 for none. What is named later wins over what is named before."""
    kinds = np.zeros(len(tables), dtype=np.uint8)
    for slot, kind in (
        (INLINE, int(RefKind.INLINE)),
        (LOCATION, int(RefKind.VIRTUAL)),
        (COMPRESSED_LOCATION, _COMPRESSED),
        (CHUNK_ID, int(RefKind.NATIVE)),
    ):
        kinds[tables.has(slot)] = kind
    return kinds


def _decode_virtual(tables: TableColumns, kinds: ByteColumn, dictionary: LocationDictionary) -> _Virtual:
    file = tables.file
    is_compressed = kinds == _COMPRESSED
    is_virtual = is_compressed | (kinds == RefKind.VIRTUAL)
    targets = tables.targets(LOCATION)
    some_are_compressed = bool(is_compressed.any())
    if some_are_compressed:
        targets = np.where(is_compressed, tables.targets(COMPRESSED_LOCATION), targets)
    targets[~is_virtual] = -1
    locations: ByteStrings
    if some_are_compressed:
        # A plain and a compressed location are two, even if a strange file has them in the same place.
        codes, distinct = _distinct(np.where(targets < 0, targets, 2 * targets + is_compressed))
        strings = _strings(file, distinct >> 1)
        locations = MaybeCompressedStrings(
            strings.data,
            strings.starts,
            strings.lengths,
            compressed=(distinct & 1).astype(np.bool_),
            dictionary=dictionary,
            name=file.name,
        )
    else:
        codes, distinct = _distinct(targets)
        locations = _strings(file, distinct)
    etag_codes = None
    etags = EMPTY
    if (tables.has(ETAG) & is_virtual).any():
        etag_targets = tables.targets(ETAG)
        etag_targets[~is_virtual] = -1
        etag_codes, distinct = _distinct(etag_targets)
        etags = _strings(file, distinct)
    last_modified = None
    if tables.has(LAST_MODIFIED).any():
        last_modified = tables.scalars(LAST_MODIFIED, "<u4")
        last_modified[~is_virtual] = 0
    return _Virtual(codes, locations, etag_codes, etags, last_modified)


def _strings(file: FlatBuffer, positions: Positions) -> ByteStrings:
    starts, counts = vectors_at(file, positions, 1)
    _check_total(file, counts)
    return ByteStrings(file.array, starts, counts, name=file.name)


def _check_total(file: FlatBuffer, counts: Positions) -> None:
    # Strings may overlap, but not so often that a copy of each would not fit into a file.
    total = int(counts.sum())
    if total > MAX_PAYLOAD_BYTES:
        raise file.error(f"strings that overlap claim {total} bytes in all")


def _only(
    mask: BoolColumn, targets: Positions, file: FlatBuffer, item_size: int
) -> tuple[Positions, Positions]:
    """Return starts and counts of the vectors of some rows, zeros for the others."""
    targets = np.where(mask, targets, -1)
    starts, counts = vectors_at(file, targets, item_size)
    counts[~mask] = 0
    return starts, counts


def _distinct(targets: Positions) -> tuple[CodeColumn, Positions]:
    """Number the distinct positions; -1 stays.

    Returns
    -------
    tuple
        For each row its number; the distinct positions.
    """
    is_some = targets >= 0
    if is_some.all():
        return _numbered(targets)
    codes = np.full(len(targets), -1, dtype=np.int32)
    codes[is_some], distinct = _numbered(targets[is_some])
    return codes, distinct


def _numbered(values: Positions) -> tuple[CodeColumn, Positions]:
    """As `_distinct`, if all of them are there."""
    steps = np.diff(values)
    if (steps > 0).all() or (steps < 0).all():
        # Nothing is shared, as in all that the reference writes: spare the sorting.
        return np.arange(len(values), dtype=np.int32), values
    starts = np.flatnonzero(steps) + 1
    del steps
    if len(starts) > len(values) // 4:
        distinct, codes = np.unique(values, return_inverse=True)
        return codes.astype(np.int32), distinct
    # Chunks that are neighbours are often in one file: sort one of each run.
    bounds = np.concatenate(([0], starts, [len(values)]))
    distinct, codes = np.unique(values[bounds[:-1]], return_inverse=True)
    return np.repeat(codes.astype(np.int32), np.diff(bounds)), distinct

"""Columns of chunk refs in, the bytes of a manifest out.

Spec v2, "Manifest". The file is: root, arrays, dictionary; for each array the vector of its refs, then for
each variant of refs a vtable and the rows; at the end everything that rows point to. What is behind a field
can be referred to, what is in front cannot, so this order is not a matter of taste.
"""

from __future__ import annotations

import struct
from typing import TYPE_CHECKING, Final

import numpy as np

from icechunk._engine.format.byte_strings import ByteStrings, copy_strings
from icechunk._engine.format.chunk_refs import RefColumns, RefKind
from icechunk._engine.format.envelope import MAX_PAYLOAD_BYTES
from icechunk._engine.format.manifest_locations import (
    LocationCompression,
    LocationDictionary,
    MaybeCompressedStrings,
    compress_locations,
)
from icechunk._engine.format.manifest_rows import (
    CHUNK_ID,
    ETAG,
    INLINE,
    LAST_MODIFIED,
    LENGTH,
    LOCATION,
    OFFSET,
    RowLayout,
    Variant,
    row_layout,
)
from icechunk.errors import ErrorKind, FormatError

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from icechunk._engine.format.arrays import AnyColumn, ByteColumn, Positions
    from icechunk._engine.format.envelope import Buffer
    from icechunk._engine.format.ids import ManifestId, NodeId

# Up to this many refs, plain Python is faster than NumPy.
FEW_REFS: Final = 24

# Root offset, identifier, vtable and table of Manifest (arrays, id, algorithm, dictionary), vtable of
# ArrayManifest, and the length of the vector of arrays.
_HEAD: Final = struct.Struct("<I4s6HiI12sB3xI4HI")
_HEAD_SIZE: Final = _HEAD.size
_ROOT: Final = 20
_ARRAY_VTABLE: Final = 48
_ARRAY: Final = struct.Struct("<i8sI")  # offset to the vtable, node id, refs

_FIRST_VARIANTS: Final = (
    Variant(is_native=True),
    Variant(is_native=True, has_offset=True),
    Variant(is_inline=True),
)


def encode_manifest(
    manifest_id: ManifestId,
    arrays: Sequence[tuple[NodeId, RefColumns]],
    *,
    spec_version: int,
    location_compression: LocationCompression | None = None,
) -> list[Buffer]:
    """Return the payload of a manifest, in pieces to be put one behind another.

    Parameters
    ----------
    arrays
        The refs of each array, in strictly ascending order of their coordinates.
    location_compression
        When to compress locations; None for never. Spec version 2 only. Locations that came compressed
        from another manifest stay so.

    Raises
    ------
    FormatError
        The manifest would be larger than the format can hold: split the array.
    """
    arrays = sorted(arrays, key=lambda entry: entry[0])
    tables, dictionary = _string_tables(arrays, spec_version, location_compression)
    # Where the first refs begin: behind the arrays' tables and the dictionary, 8-aligned.
    start = _HEAD_SIZE + (4 + _ARRAY.size) * len(arrays)
    dictionary_at = 0
    if dictionary is not None:
        dictionary_at = start
        start += 4 + len(dictionary)
    padding = -start % 8
    start += padding

    few = sum(len(refs) for _, refs in arrays) <= FEW_REFS
    plan = [
        (_FewRefs if few else _ManyRefs)(refs, locations)
        for (_, refs), locations in zip(arrays, tables, strict=True)
    ]
    places = []
    position = start
    for part in plan:
        places.append(position)
        position = part.place(position)
    for part in plan:
        position = part.place_strings(position)
    if position > MAX_PAYLOAD_BYTES:
        raise FormatError(
            f"a manifest of {sum(len(refs) for _, refs in arrays)} chunk refs would take {position} bytes, "
            f"more than the {MAX_PAYLOAD_BYTES} that the format allows; split it (ManifestSplittingConfig)",
            kind=ErrorKind.SERIALIZATION,
        )
    head = _head(manifest_id, [node_id for node_id, _ in arrays], places, dictionary_at)
    if dictionary is not None:
        head += struct.pack("<I", len(dictionary)) + dictionary
    pieces: list[Buffer] = [head + bytes(padding)]
    for part in plan:
        pieces += part.rows()
    for part in plan:
        pieces += part.strings()
    return pieces


def single_array_head(manifest_id: ManifestId, node_id: NodeId) -> bytes:
    """Return what stands in front of the refs if there is one array and no dictionary."""
    start = _HEAD_SIZE + 4 + _ARRAY.size
    return _head(manifest_id, [node_id], [start + -start % 8], 0)


def _head(manifest_id: ManifestId, node_ids: list[NodeId], refs_at: list[int], dictionary_at: int) -> bytes:
    count = len(node_ids)
    vector = _HEAD_SIZE - 4
    head = _HEAD.pack(
        _ROOT,
        b"Ichk",
        # Vtable: its size, the table's size, id, arrays, dictionary, algorithm.
        *(12, 28, 8, 4, 24 if dictionary_at else 0, 20),
        12,
        vector - (_ROOT + 4),
        manifest_id,
        1 if dictionary_at else 0,
        dictionary_at - (_ROOT + 24) if dictionary_at else 0,
        # Vtable of ArrayManifest: node id, refs.
        *(8, 16, 4, 12),
        count,
    )
    tables = _HEAD_SIZE + 4 * count
    parts = [head]
    parts += [struct.pack("<I", tables - _HEAD_SIZE + 12 * number) for number in range(count)]
    for number, (node_id, at) in enumerate(zip(node_ids, refs_at, strict=True)):
        table = tables + 16 * number
        parts.append(_ARRAY.pack(table - _ARRAY_VTABLE, node_id, at - (table + 12)))
    return b"".join(parts)


def _string_tables(
    arrays: list[tuple[NodeId, RefColumns]], spec_version: int, config: LocationCompression | None
) -> tuple[list[ByteStrings], bytes | None]:
    """Return the locations of each array as they are to be written, and the dictionary."""
    tables = [refs.locations for _, refs in arrays]
    kept = _shared_dictionary(tables) if spec_version > 1 else None
    if kept is not None:
        return tables, kept
    tables = [locations.plain() for locations in tables]
    # One dictionary serves a whole manifest, and so far every writer puts one array into each.
    if config is None or spec_version == 1 or len(tables) != 1:
        return tables, None
    compressed = compress_locations(tables[0], len(arrays[0][1]), config)
    if compressed is None:
        return tables, None
    dictionary, strings, mask = compressed
    locations = MaybeCompressedStrings(
        strings.data,
        strings.starts,
        strings.lengths,
        compressed=mask,
        dictionary=LocationDictionary(dictionary, name=""),
        name="",
    )
    return [locations], dictionary


def _shared_dictionary(tables: Iterable[ByteStrings]) -> bytes | None:
    found = None
    for locations in tables:
        if isinstance(locations, MaybeCompressedStrings) and locations.compressed.any():
            dictionary = locations.dictionary
            if dictionary.content is None or (found is not None and dictionary is not found):
                return None
            found = dictionary
    return None if found is None else found.content


class _FewRefs:
    """The refs of one array, when they are so few that NumPy would take longer than Python.

    The bytes are those of `_ManyRefs`.
    """

    def __init__(self, refs: RefColumns, locations: ByteStrings) -> None:
        self._ndim = refs.ndim
        self._coords: list[list[int]] = refs.coords.tolist()
        self._kinds: list[int] = refs.kinds.tolist()
        self._offsets: list[int] = refs.offsets.tolist()
        self._lengths: list[int] = refs.lengths.tolist()
        self._chunk_ids = refs.chunk_ids
        self._last_modified: list[int] = refs.last_modified.tolist()
        self._location_codes: list[int] = refs.location_codes.tolist()
        self._etag_codes: list[int] = refs.etag_codes.tolist()
        self._inline_starts: list[int] = refs.inline_starts.tolist()
        self._inline_data = refs.inline_data
        self._locations = locations
        self._etags = refs.etags
        self._compressed = locations.compressed if isinstance(locations, MaybeCompressedStrings) else None
        self._string_bytes = b""
        self._targets: dict[tuple[int, int], int] = {}

    def place(self, start: int) -> int:
        """Decide where the vector and the rows lie, and return where they end."""
        self._start = start
        rows_of: dict[Variant, list[int]] = {}
        for row, kind in enumerate(self._kinds):
            if kind == RefKind.NATIVE:
                variant = _FIRST_VARIANTS[1 if self._offsets[row] else 0]
            elif kind == RefKind.INLINE:
                variant = _FIRST_VARIANTS[2]
            else:
                compressed = self._compressed
                variant = Variant(
                    is_compressed=compressed is not None and bool(compressed[self._location_codes[row]]),
                    has_etag=self._etag_codes[row] >= 0,
                    has_last_modified=self._last_modified[row] != 0,
                )
            rows_of.setdefault(variant, []).append(row)
        position = start + 4 + 4 * len(self._kinds)
        position += -position % 8
        self._groups = []
        for variant in sorted(rows_of, key=_file_order):
            layout = row_layout(variant, self._ndim)
            vtable = position
            position += len(layout.vtable)
            self._groups.append((layout, vtable, position, rows_of[variant]))
            position += layout.size * len(rows_of[variant])
        return position

    def place_strings(self, start: int) -> int:
        """Decide where the strings lie, and return where they end."""
        parts: list[bytes] = []
        end = start
        for slot, source, codes in (
            (INLINE, None, range(len(self._kinds))),
            (LOCATION, self._locations, sorted({code for code in self._location_codes if code >= 0})),
            (ETAG, self._etags, sorted({code for code in self._etag_codes if code >= 0})),
        ):
            for code in codes:
                if source is not None:
                    text = ByteStrings.__getitem__(source, code)
                elif self._kinds[code] == RefKind.INLINE:
                    data_start = self._inline_starts[code]
                    text = self._inline_data[data_start : data_start + self._lengths[code]].tobytes()
                else:
                    continue
                self._targets[slot, code] = end
                size = _padded(len(text))
                parts += (struct.pack("<I", len(text)), text, bytes(size - 4 - len(text)))
                end += size
        parts.append(bytes(-end % 8))
        self._string_bytes = b"".join(parts)
        return end + -end % 8

    def rows(self) -> list[Buffer]:
        """Return the bytes of the vector and the rows."""
        elements = [0] * len(self._kinds)
        parts: list[bytes] = []
        for layout, vtable, first, rows in self._groups:
            parts.append(layout.vtable)
            table = first
            for row in rows:
                elements[row] = table - (self._start + 4 + 4 * row)
                values = [self._value(slot, row, table, layout) for slot in layout.slots]
                parts.append(
                    layout.pack(table - vtable, layout.index - 4, *values, self._ndim, *self._coords[row])
                )
                table += layout.size
        count = len(elements)
        vector = struct.pack(f"<I{count}I", count, *elements)
        return [b"".join([vector, bytes(-len(vector) % 8), *parts])]

    def strings(self) -> list[Buffer]:
        """Return the bytes of the strings."""
        return [self._string_bytes]

    def _value(self, slot: int, row: int, table: int, layout: RowLayout) -> int | bytes:
        if slot == LENGTH:
            return self._lengths[row]
        if slot == OFFSET:
            return self._offsets[row]
        if slot == CHUNK_ID:
            chunk_id: bytes = self._chunk_ids[row].tobytes()
            return chunk_id
        if slot == LAST_MODIFIED:
            return self._last_modified[row]
        field = table + layout.offsets[slot]
        if slot == INLINE:
            return self._targets[INLINE, row] - field
        if slot == ETAG:
            return self._targets[ETAG, self._etag_codes[row]] - field
        return self._targets[LOCATION, self._location_codes[row]] - field


class _ManyRefs:
    """The refs of one array, written as one structured array for each variant."""

    def __init__(self, refs: RefColumns, locations: ByteStrings) -> None:
        self._refs = refs
        self._locations, self._location_codes = _used(locations, refs.location_codes)
        self._etags, self._etag_codes = _used(refs.etags, refs.etag_codes)
        self._inline_rows = np.flatnonzero(refs.kinds == RefKind.INLINE)
        self._inline = ByteStrings(
            refs.inline_data,
            refs.inline_starts[self._inline_rows],
            refs.lengths[self._inline_rows].astype(np.int64),
        )

    def place(self, start: int) -> int:
        """Decide where the vector and the rows lie, and return where they end."""
        self._start = start
        position = start + 4 + 4 * len(self._refs)
        position += -position % 8
        self._groups = []
        for variant, rows in _by_variant(self._refs, self._location_codes, self._locations):
            layout = row_layout(variant, self._refs.ndim)
            vtable = position
            position += len(layout.vtable)
            self._groups.append((layout, vtable, position, rows))
            position += layout.size * _count(rows, len(self._refs))
        return position

    def place_strings(self, start: int) -> int:
        """Decide where the strings lie, and return where they end."""
        self._strings_start = start
        self._places = []
        for strings in (self._inline, self._locations, self._etags):
            sizes = (strings.lengths + 8) // 4 * 4  # as `_padded`
            ends = np.cumsum(sizes) + start
            self._places.append(ends - sizes)
            start = int(ends[-1]) if len(ends) else start
        self._strings_end = start + -start % 8
        return self._strings_end

    def rows(self) -> list[Buffer]:
        """Return the bytes of the vector and the rows."""
        n = len(self._refs)
        vector = np.zeros((4 + 4 * n + 7) // 8 * 2, dtype="<u4")
        vector[0] = n
        pieces: list[Buffer] = [_bytes_of(vector)]
        for layout, vtable, first, rows in self._groups:
            tables = np.arange(_count(rows, n), dtype=np.int64)
            tables *= layout.size
            tables += first
            vector[1 : n + 1][rows] = tables
            pieces += (layout.vtable, _bytes_of(self._table(layout, vtable, tables, rows)))
        # From positions to distances; wrapping is impossible, since everything is behind the vector.
        vector[1 : n + 1] -= np.arange(self._start + 4, self._start + 4 + 4 * n, 4, dtype=np.uint32)
        return pieces

    def strings(self) -> list[Buffer]:
        """Return the bytes of the strings."""
        start = self._strings_start
        data = np.zeros(self._strings_end - start, dtype=np.uint8)
        words = data[: len(data) // 4 * 4].view("<u4")
        for strings, places in zip((self._inline, self._locations, self._etags), self._places, strict=True):
            words[(places - start) >> 2] = strings.lengths
            copy_strings(strings.data, strings.starts, data, places - start + 4, strings.lengths)
        return [_bytes_of(data)]

    def _table(self, layout: RowLayout, vtable: int, tables: Positions, rows: Positions | slice) -> AnyColumn:
        refs = self._refs
        table = np.zeros(len(tables), dtype=layout.dtype)
        table["vtable"] = tables - vtable
        table["index"] = layout.index - 4
        table["ndim"] = refs.ndim
        table["coords"] = refs.coords[rows]
        inline, locations, etags = self._places
        for slot in layout.slots:
            target: Positions | None = None
            if slot == LENGTH:
                values: AnyColumn = refs.lengths[rows]
            elif slot == OFFSET:
                values = refs.offsets[rows]
            elif slot == CHUNK_ID:
                values = refs.chunk_ids[rows]
            elif slot == LAST_MODIFIED:
                values = refs.last_modified[rows]
            elif slot == INLINE:
                # All inline refs are of one variant, so these are its rows, in order.
                target = inline
            elif slot == ETAG:
                target = etags[self._etag_codes[rows]]
            else:
                target = locations[self._location_codes[rows]]
            if target is not None:
                values = target - tables
                values -= layout.offsets[slot]
            table[f"slot{slot}"] = values
        return table


def _by_variant(
    refs: RefColumns, location_codes: AnyColumn, locations: ByteStrings
) -> list[tuple[Variant, Positions | slice]]:
    """Return the variants that occur, in the order of the file, each with its rows."""
    # What a ref has, as bits in the order of `_file_order`.
    is_native = refs.kinds == RefKind.NATIVE
    is_virtual = refs.kinds == RefKind.VIRTUAL
    bits = np.zeros(len(refs), dtype=np.uint8)
    bits[is_native] = (refs.offsets[is_native] != 0).astype(np.uint8)
    bits[refs.kinds == RefKind.INLINE] = 2
    if is_virtual.any():
        flags = np.full(int(is_virtual.sum()), 4, dtype=np.uint8)
        if isinstance(locations, MaybeCompressedStrings):
            flags += locations.compressed[location_codes[is_virtual]] * np.uint8(8)
        flags += (refs.etag_codes[is_virtual] >= 0) * np.uint8(16)
        flags += (refs.last_modified[is_virtual] != 0) * np.uint8(32)
        bits[is_virtual] = flags
    occurring = np.flatnonzero(np.bincount(bits)).tolist()
    if len(occurring) == 1:
        return [(_variant(occurring[0]), slice(None))]
    return [(_variant(code), np.flatnonzero(bits == code)) for code in occurring]


def _variant(code: int) -> Variant:
    if code < len(_FIRST_VARIANTS):
        return _FIRST_VARIANTS[code]
    return Variant(is_compressed=bool(code & 8), has_etag=bool(code & 16), has_last_modified=bool(code & 32))


def _file_order(variant: Variant) -> int:
    if variant in _FIRST_VARIANTS:
        return _FIRST_VARIANTS.index(variant)
    return 4 + 8 * variant.is_compressed + 16 * variant.has_etag + 32 * variant.has_last_modified


def _used(strings: ByteStrings, codes: AnyColumn) -> tuple[ByteStrings, AnyColumn]:
    """Return only the strings that some row refers to, and the codes for those."""
    if not len(strings):
        return strings, codes
    is_used = np.zeros(len(strings), dtype=np.bool_)
    is_used[codes[codes >= 0]] = True
    if is_used.all():
        return strings, codes
    new_codes = np.cumsum(is_used, dtype=np.int32) - np.int32(1)
    return strings.take(np.flatnonzero(is_used)), np.where(codes < 0, codes, new_codes[codes])


def _padded(length: int) -> int:
    # Length, bytes, the zero that ends a string, up to a multiple of 4.
    return (length + 8) // 4 * 4


def _count(rows: Positions | slice, total: int) -> int:
    return total if isinstance(rows, slice) else len(rows)


def _bytes_of(array: AnyColumn | ByteColumn) -> memoryview:
    return memoryview(array.view(np.uint8).reshape(-1))

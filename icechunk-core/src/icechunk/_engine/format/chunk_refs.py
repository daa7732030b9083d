"""Chunk refs: where the bytes of a chunk are. One at a time, or many as columns."""

from __future__ import annotations

from dataclasses import dataclass, fields, replace
from enum import IntEnum
from itertools import chain
from typing import TYPE_CHECKING, Any, Final, NamedTuple, Self, TypeAlias, cast

import numpy as np

from icechunk._engine.format.byte_strings import EMPTY, ByteStrings, concat_strings
from icechunk._engine.format.coordinates import order_last_wins
from icechunk._engine.format.ids import ChunkId

if TYPE_CHECKING:
    from collections.abc import Sequence

    import numpy.typing as npt

    from icechunk._engine.format.arrays import (
        AnyColumn,
        ByteColumn,
        CodeColumn,
        Positions,
        StructColumn,
        U32Column,
        U64Column,
    )


class RefKind(IntEnum):
    """How a chunk is stored; the numbers are those of the public chunk iterator."""

    NATIVE = 1
    VIRTUAL = 2
    INLINE = 3


class InlineRef(NamedTuple):
    """The chunk itself, kept in the manifest."""

    data: bytes


class NativeRef(NamedTuple):
    """A range of a chunk object of the repository."""

    chunk_id: ChunkId
    offset: int
    length: int


class VirtualRef(NamedTuple):
    """A range of somebody else's object.

    `last_modified` is in seconds since 1970, 0 for not checked; so is an `etag` of None.
    """

    location: str
    offset: int
    length: int
    etag: str | None = None
    last_modified: int = 0


ChunkRef: TypeAlias = InlineRef | NativeRef | VirtualRef

_NATIVE: Final = int(RefKind.NATIVE)
_VIRTUAL: Final = int(RefKind.VIRTUAL)
_INLINE: Final = int(RefKind.INLINE)

CHUNK_ID_TYPE: Final = np.dtype((np.void, 12))
NO_BYTES: Final[ByteColumn] = np.empty(0, dtype=np.uint8)

# Distinct strings are looked for when columns are joined, up to this many: 0.2 µs each.
_DEDUPLICATE_AT_MOST: Final = 100_000


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class RefColumns:
    """The chunk refs of one array, of any kinds mixed, as columns. Nothing changes them.

    Columns that say nothing (the checksums of native refs) are one value that stands for all rows, and
    take no memory.

    Attributes
    ----------
    coords
        Chunk coordinates, of shape (n, ndim).
    kinds
        `RefKind` of each row.
    offsets, lengths
        The range, in bytes. Of an inline ref, 0 and the length of the chunk.
    chunk_ids
        12 bytes each; zeros if not native.
    location_codes, locations
        Row of `locations`, -1 if not virtual.
    etag_codes, etags
        Row of `etags`, -1 for none.
    last_modified
        Seconds since 1970, 0 for none.
    inline_starts, inline_data
        Where the chunk of an inline ref begins in `inline_data`.
    """

    coords: U32Column
    kinds: ByteColumn
    offsets: U64Column
    lengths: U64Column
    chunk_ids: StructColumn
    location_codes: CodeColumn
    locations: ByteStrings
    etag_codes: CodeColumn
    etags: ByteStrings
    last_modified: U32Column
    inline_starts: Positions
    inline_data: ByteColumn

    @classmethod
    def build(
        cls,
        *,
        coords: U32Column,
        kinds: ByteColumn | RefKind,
        lengths: U64Column,
        offsets: U64Column | None = None,
        chunk_ids: StructColumn | None = None,
        location_codes: CodeColumn | None = None,
        locations: ByteStrings = EMPTY,
        etag_codes: CodeColumn | None = None,
        etags: ByteStrings = EMPTY,
        last_modified: U32Column | None = None,
        inline_starts: Positions | None = None,
        inline_data: ByteColumn = NO_BYTES,
    ) -> Self:
        """Make columns of some; what is left out is the same for all rows."""
        n = len(coords)
        return cls(
            coords=coords,
            kinds=constant(n, kinds, "u1") if isinstance(kinds, RefKind) else kinds,
            offsets=constant(n, 0, "<u8") if offsets is None else offsets,
            lengths=lengths,
            chunk_ids=_no_chunk_ids(n) if chunk_ids is None else chunk_ids,
            location_codes=constant(n, -1, "<i4") if location_codes is None else location_codes,
            locations=locations,
            etag_codes=constant(n, -1, "<i4") if etag_codes is None else etag_codes,
            etags=etags,
            last_modified=constant(n, 0, "<u4") if last_modified is None else last_modified,
            inline_starts=constant(n, 0, "<i8") if inline_starts is None else inline_starts,
            inline_data=inline_data,
        )

    @classmethod
    def empty(cls, ndim: int) -> Self:
        """Return no refs."""
        return cls.build(
            coords=np.empty((0, ndim), np.uint32), kinds=NO_BYTES, lengths=np.empty(0, np.uint64)
        )

    @classmethod
    def from_refs(cls, coords: Sequence[tuple[int, ...]], refs: Sequence[ChunkRef], ndim: int) -> Self:
        """Make columns of refs, in their order."""
        if not refs:
            return cls.empty(ndim)
        kinds_there = set(map(type, refs))
        if len(kinds_there) == 1 and len(refs) > _FEW_REFS:
            # Most arrays have chunks of one kind, and a column at a time is five times faster.
            if InlineRef in kinds_there:
                return cls._from_inline(coords, cast("Sequence[InlineRef]", refs), ndim)
            if NativeRef in kinds_there:
                return cls._from_native(coords, cast("Sequence[NativeRef]", refs), ndim)
        kinds = bytearray()
        offsets: list[int] = []
        lengths: list[int] = []
        ids: list[bytes] = []
        locations: dict[str, int] = {}
        location_codes: list[int] = []
        etags: dict[str, int] = {}
        etag_codes: list[int] = []
        last_modified: list[int] = []
        inline: list[bytes] = []
        starts: list[int] = []
        inline_size = 0
        for ref in refs:
            if isinstance(ref, NativeRef):
                kinds.append(_NATIVE)
                offsets.append(ref.offset)
                lengths.append(ref.length)
                ids.append(ref.chunk_id)
                code, etag_code, modified, start = -1, -1, 0, 0
            elif isinstance(ref, InlineRef):
                kinds.append(_INLINE)
                offsets.append(0)
                lengths.append(len(ref.data))
                ids.append(_NO_ID)
                inline.append(ref.data)
                code, etag_code, modified, start = -1, -1, 0, inline_size
                inline_size += len(ref.data)
            else:
                kinds.append(_VIRTUAL)
                offsets.append(ref.offset)
                lengths.append(ref.length)
                ids.append(_NO_ID)
                code = locations.setdefault(ref.location, len(locations))
                etag_code = -1 if ref.etag is None else etags.setdefault(ref.etag, len(etags))
                modified, start = ref.last_modified, 0
            location_codes.append(code)
            etag_codes.append(etag_code)
            last_modified.append(modified)
            starts.append(start)
        return cls.build(
            coords=np.array(coords, dtype=np.uint32).reshape(len(refs), ndim),
            kinds=np.frombuffer(kinds, dtype=np.uint8),
            offsets=np.array(offsets, dtype=np.uint64),
            lengths=np.array(lengths, dtype=np.uint64),
            chunk_ids=np.frombuffer(b"".join(ids), dtype=CHUNK_ID_TYPE) if _NATIVE in kinds else None,
            location_codes=np.array(location_codes, dtype=np.int32) if locations else None,
            locations=ByteStrings.of(map(str.encode, locations)) if locations else EMPTY,
            etag_codes=np.array(etag_codes, dtype=np.int32) if etags else None,
            etags=ByteStrings.of(map(str.encode, etags)) if etags else EMPTY,
            last_modified=np.array(last_modified, dtype=np.uint32) if any(last_modified) else None,
            inline_starts=np.array(starts, dtype=np.int64) if inline else None,
            inline_data=np.frombuffer(b"".join(inline), dtype=np.uint8) if inline else NO_BYTES,
        )

    @classmethod
    def _from_inline(cls, coords: Sequence[tuple[int, ...]], refs: Sequence[InlineRef], ndim: int) -> Self:
        chunks = [ref.data for ref in refs]
        lengths = np.fromiter(map(len, chunks), np.int64, len(chunks))
        return cls.build(
            coords=_coords_column(coords, ndim),
            kinds=RefKind.INLINE,
            lengths=lengths.astype(np.uint64),
            inline_starts=np.cumsum(lengths) - lengths,
            inline_data=np.frombuffer(b"".join(chunks), dtype=np.uint8),
        )

    @classmethod
    def _from_native(cls, coords: Sequence[tuple[int, ...]], refs: Sequence[NativeRef], ndim: int) -> Self:
        ids, offsets, lengths = zip(*refs, strict=True)
        return cls.build(
            coords=_coords_column(coords, ndim),
            kinds=RefKind.NATIVE,
            offsets=np.array(offsets, dtype=np.uint64) if any(offsets) else None,
            lengths=np.array(lengths, dtype=np.uint64),
            chunk_ids=np.frombuffer(b"".join(ids), dtype=CHUNK_ID_TYPE),
        )

    @classmethod
    def concat(cls, parts: Sequence[Self]) -> Self:
        """Put the rows of several columns one after another. At least one part is needed."""
        parts = [part for part in parts if len(part)] or [*parts[:1]]
        if len(parts) == 1:
            return parts[0]
        location_codes, locations = _concat_coded([(part.location_codes, part.locations) for part in parts])
        etag_codes, etags = _concat_coded([(part.etag_codes, part.etags) for part in parts])
        inline_starts, inline_data = _concat_inline(parts)
        return cls(
            coords=np.concatenate([part.coords for part in parts]),
            kinds=_concat([part.kinds for part in parts]),
            offsets=_concat([part.offsets for part in parts]),
            lengths=_concat([part.lengths for part in parts]),
            chunk_ids=_concat([part.chunk_ids for part in parts]),
            location_codes=location_codes,
            locations=locations,
            etag_codes=etag_codes,
            etags=etags,
            last_modified=_concat([part.last_modified for part in parts]),
            inline_starts=inline_starts,
            inline_data=inline_data,
        )

    def __len__(self) -> int:
        return len(self.coords)

    @property
    def ndim(self) -> int:
        """The number of coordinates of each chunk."""
        ndim: int = self.coords.shape[1]
        return ndim

    def take(self, rows: npt.NDArray[Any]) -> Self:
        """Return some of the rows, by number or by a mask, in the order asked for."""
        if rows.dtype == np.bool_:
            rows = np.flatnonzero(rows)
        taken: dict[str, Any] = {name: _take(getattr(self, name), rows) for name in _ROW_COLUMNS}
        return replace(self, **taken)

    def refs(self) -> list[ChunkRef]:
        """Return all rows as refs: a tenth of what `row` takes for each."""
        lengths = self.lengths.tolist()
        kinds = self.kinds.tolist()
        starts = self.inline_starts.tolist()
        offsets = self.offsets.tolist()
        data = self.inline_data.tobytes() if _INLINE in kinds else b""
        ids = self.chunk_ids.tobytes() if _NATIVE in kinds else b""
        found: list[ChunkRef] = []
        for row, kind in enumerate(kinds):
            if kind == _INLINE:
                start = starts[row]
                found.append(InlineRef(data[start : start + lengths[row]]))
            elif kind == _NATIVE:
                found.append(NativeRef(ChunkId(ids[12 * row : 12 * row + 12]), offsets[row], lengths[row]))
            else:
                found.append(self.row(row))
        return found

    def between(self, start: int, stop: int) -> Self:
        """Return the rows from `start` to `stop`, excluded. Copies nothing."""
        rows: dict[str, Any] = {name: getattr(self, name)[start:stop] for name in _ROW_COLUMNS}
        return replace(self, **rows)

    def sorted_last_wins(self) -> Self:
        """Return the rows in lexicographic order; of rows with equal coordinates, the last one."""
        order = order_last_wins(self.coords)
        return self if order is None else self.take(order)

    def row(self, index: int) -> ChunkRef:
        """Return one ref.

        Raises
        ------
        FormatError
            The location or etag that the file has is not UTF-8, or does not decompress.
        """
        kind = self.kinds[index]
        if kind == _NATIVE:
            chunk_id = ChunkId(self.chunk_ids[index].tobytes())
            return NativeRef(chunk_id, int(self.offsets[index]), int(self.lengths[index]))
        if kind == _INLINE:
            start = int(self.inline_starts[index])
            return InlineRef(self.inline_data[start : start + int(self.lengths[index])].tobytes())
        etag_code = int(self.etag_codes[index])
        return VirtualRef(
            self.locations.text(int(self.location_codes[index])),
            int(self.offsets[index]),
            int(self.lengths[index]),
            None if etag_code < 0 else self.etags.text(etag_code),
            int(self.last_modified[index]),
        )


_ROW_COLUMNS: Final = tuple(
    field.name for field in fields(RefColumns) if field.name not in {"locations", "etags", "inline_data"}
)

_NO_ID: Final = bytes(12)

_FEW_REFS: Final = 16


def _coords_column(coords: Sequence[tuple[int, ...]], ndim: int) -> U32Column:
    # One flat run of integers: NumPy takes three times as long to look into tuples.
    flat = np.fromiter(chain.from_iterable(coords), np.uint32, len(coords) * ndim)
    return flat.reshape(len(coords), ndim)


def constant(n: int, value: int, dtype: str) -> AnyColumn:
    """Return a column of `n` equal numbers, which takes no memory."""
    kind = np.dtype(dtype)
    return np.ndarray((n,), kind, np.array(value, kind).tobytes(), 0, (0,))


def _no_chunk_ids(n: int) -> StructColumn:
    return np.ndarray((n,), CHUNK_ID_TYPE, _NO_ID, 0, (0,))


def _is_constant(column: AnyColumn) -> bool:
    return column.strides == (0,)


def _take(column: AnyColumn, rows: npt.NDArray[Any]) -> AnyColumn:
    if _is_constant(column) and len(column):
        return np.ndarray((len(rows),), column.dtype, column[:1].tobytes(), 0, (0,))
    taken: AnyColumn = column[rows]
    return taken


def _concat(columns: list[AnyColumn]) -> AnyColumn:
    first = columns[0]
    if all(_is_constant(column) and column[0] == first[0] for column in columns):
        return np.ndarray((sum(map(len, columns)),), first.dtype, first[:1].tobytes(), 0, (0,))
    return np.concatenate(columns)


def _concat_coded(parts: list[tuple[CodeColumn, ByteStrings]]) -> tuple[CodeColumn, ByteStrings]:
    first = parts[0][1]
    used = [strings for _, strings in parts if len(strings)]
    if not used or all(strings is first for strings in used):
        return _concat([codes for codes, _ in parts]), first
    shifted = []
    base = 0
    for codes, strings in parts:
        shifted.append(codes if not len(strings) else np.where(codes < 0, codes, codes + np.int32(base)))
        base += len(strings)
    joined = np.concatenate(shifted)
    # Compressed locations stay as they are: to look into them costs more than a few twins.
    if base > _DEDUPLICATE_AT_MOST or not all(type(strings) is ByteStrings for strings in used):
        return joined, concat_strings(used)
    distinct: dict[bytes, int] = {}
    codes_of = [distinct.setdefault(text, len(distinct)) for strings in used for text in strings]
    table = np.array([*codes_of, -1], dtype=np.int32)  # the last for code -1
    return table[joined], ByteStrings.of(distinct)


def _concat_inline(parts: Sequence[RefColumns]) -> tuple[Positions, ByteColumn]:
    first = parts[0].inline_data
    if all(part.inline_data is first or not len(part.inline_data) for part in parts):
        return _concat([part.inline_starts for part in parts]), first
    starts = []
    chunks = []
    base = 0
    for part in parts:
        rows = np.flatnonzero(part.kinds == _INLINE)
        lengths = part.lengths[rows].astype(np.int64)
        # What comes from a manifest has the whole manifest for a buffer: keep the chunks only.
        strings = ByteStrings(part.inline_data, part.inline_starts[rows], lengths).compact()
        of_part = np.zeros(len(part), dtype=np.int64)
        of_part[rows] = strings.starts + base
        base += len(strings.data)
        starts.append(of_part)
        chunks.append(strings.data)
    return np.concatenate(starts), np.concatenate(chunks)

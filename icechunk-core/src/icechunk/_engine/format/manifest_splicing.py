"""Writes a few refs of a manifest as bytes: a new one, or changes to one without looking at the others.

New rows go to the end, the vector of refs is patched, and everything else stays as it is, old rows
included: they are dead bytes, of which the manifest keeps count. What costs then is to compress the
file, however many refs it has. When too much of it is dead, it is time to encode it anew.

Only manifests of our own layout (`manifest_encoding`) are changed so: of another writer's we do not
know what refers across the vector of refs, which may have to grow.
"""

from __future__ import annotations

import struct
from bisect import bisect_left
from typing import TYPE_CHECKING, Final, TypeAlias

import numpy as np

from icechunk._engine.format.chunk_refs import InlineRef, NativeRef
from icechunk._engine.format.envelope import MAX_PAYLOAD_BYTES
from icechunk._engine.format.manifest_encoding import single_array_head
from icechunk._engine.format.manifest_rows import INLINE, Variant, row_layout

if TYPE_CHECKING:
    from collections.abc import Sequence

    from icechunk._engine.format.arrays import U32Column
    from icechunk._engine.format.chunk_refs import ChunkRef
    from icechunk._engine.format.envelope import Buffer
    from icechunk._engine.format.ids import ManifestId, NodeId
    from icechunk._engine.format.manifest import Manifest

# Where the vector of refs begins (its count) if there is one array and no dictionary: behind the head.
_VECTOR: Final = 80
_FIRST_ELEMENT: Final = _VECTOR + 4

# Three bytes of padding in the root table, which nobody reads, count the dead bytes, in sixteens.
_DEAD_AT: Final = 41
_DEAD_UNIT: Final = 16
_MAX_DEAD: Final = (2**24 - 1) * _DEAD_UNIT

# A file of less takes a block on disk and a request all the same.
_FEW_BYTES: Final = 4096

# A row, whether it is there already (or comes before it), and the coordinates and the ref that it gets.
_Edit: TypeAlias = "tuple[int, bool, tuple[int, ...], ChunkRef]"

# What a row takes without inline data: an upper bound of what dies with it.
_ROW_BYTES: Final = 48


def encode_few_refs(
    manifest_id: ManifestId, node_id: NodeId, refs: Sequence[tuple[tuple[int, ...], ChunkRef]]
) -> list[Buffer] | None:
    """Return the payload of a manifest with a few refs of one array, without making columns of them.

    Parameters
    ----------
    refs
        Coordinates and refs, at least one, in ascending order.

    Returns
    -------
    list or None
        `None` if a ref is virtual: what such refs share takes more than this.
    """
    start = _aligned(_FIRST_ELEMENT + 4 * len(refs))
    rows = _appended_rows(start, refs)
    if rows is None:
        return None
    data, places = rows
    elements = [place - (_FIRST_ELEMENT + 4 * i) for i, place in enumerate(places)]
    vector = struct.pack(f"<I{len(elements)}I", len(elements), *elements)
    padding = bytes(start - _VECTOR - len(vector))
    return [single_array_head(manifest_id, node_id), vector, padding, data]


def splice_manifest(
    old: Manifest,
    manifest_id: ManifestId,
    node_id: NodeId,
    changes: Sequence[tuple[tuple[int, ...], ChunkRef | None]],
) -> tuple[list[Buffer], int] | None:
    """Return the payload of `old` with a few refs set, or deleted where there is a `None`.

    Parameters
    ----------
    old
        What to change.
    manifest_id
        The id of the new manifest.
    node_id
        The array whose refs these are.
    changes
        Coordinates and refs, in ascending order, each coordinates once. A deletion of what is not there
        changes nothing.

    Returns
    -------
    tuple or None
        The payload in pieces, and the number of refs in it. `None` if the manifest has to be encoded
        anew: for its layout, for its dead bytes, because a ref is virtual, or because none is left.
    """
    data = old.payload
    head = bytes(data[:_VECTOR])
    expected = single_array_head(old.id, node_id)
    if head[:_DEAD_AT] != expected[:_DEAD_AT] or head[_DEAD_AT + 3 :] != expected[_DEAD_AT + 3 :]:
        return None
    refs = old.find_array(node_id)
    if refs is None:
        return None
    count = refs.num_refs
    dead = int.from_bytes(head[_DEAD_AT : _DEAD_AT + 3], "little") * _DEAD_UNIT
    edits: list[_Edit] = []
    deleted: list[int] = []
    num_inserted = 0
    for coords, ref in changes:
        row, is_there = refs.row_of(coords)
        if is_there:
            before = refs.ref_at(row)
            dead += _ROW_BYTES + (len(before.data) if isinstance(before, InlineRef) else 0)
            if ref is None:
                deleted.append(row)
        elif ref is not None:
            num_inserted += 1
        if ref is not None:
            edits.append((row, is_there, coords, ref))
    new_count = count + num_inserted - len(deleted)
    end_of_vector = _aligned(_FIRST_ELEMENT + 4 * count)
    shift = _aligned(_FIRST_ELEMENT + 4 * new_count) - end_of_vector
    end = len(data) + shift
    rows = _appended_rows(end, [(coords, ref) for _, _, coords, ref in edits])
    if rows is None or not new_count or end % 8:
        return None
    appended, places = rows
    dead += _DEAD_UNIT
    size = end + len(appended)
    if dead > min(max(size // 4, _FEW_BYTES), _MAX_DEAD) or size > MAX_PAYLOAD_BYTES:
        return None

    if num_inserted or deleted:
        vector = _changed_vector(data, count, new_count, shift, edits, places, deleted)
    else:
        # What most commits do: other chunks at the same places, so that everything stays where it is.
        vector = np.frombuffer(data, "<u4", (end_of_vector - _VECTOR) // 4, _VECTOR).copy()
        for (row, *_), place in zip(edits, places, strict=True):
            vector[1 + row] = place - (_FIRST_ELEMENT + 4 * row)
    new_head = bytearray(single_array_head(manifest_id, node_id))
    new_head[_DEAD_AT : _DEAD_AT + 3] = (-(-dead // _DEAD_UNIT)).to_bytes(3, "little")
    return [bytes(new_head), vector.tobytes(), data[end_of_vector:], appended], new_count


def _changed_vector(
    data: memoryview,
    count: int,
    new_count: int,
    shift: int,
    edits: Sequence[_Edit],
    places: Sequence[int],
    deleted: Sequence[int],
) -> U32Column:
    """Return the vector of refs, its count included, after rows have come or gone."""
    tables = np.frombuffer(data, "<u4", count, _FIRST_ELEMENT).astype(np.int64)
    tables += np.arange(_FIRST_ELEMENT + shift, _FIRST_ELEMENT + shift + 4 * count, 4)
    new_rows: list[int] = []
    new_places: list[int] = []
    for (row, is_there, _, _), place in zip(edits, places, strict=True):
        if is_there:
            tables[row] = place
        else:
            new_rows.append(row - bisect_left(deleted, row))
            new_places.append(place)
    if deleted:
        tables = np.delete(tables, deleted)
    if new_rows:
        tables = np.insert(tables, new_rows, new_places)
    vector = np.zeros((_aligned(_FIRST_ELEMENT + 4 * new_count) - _VECTOR) // 4, "<u4")
    vector[0] = new_count
    vector[1 : new_count + 1] = tables - np.arange(_FIRST_ELEMENT, _FIRST_ELEMENT + 4 * new_count, 4)
    return vector


def _appended_rows(
    start: int, refs: Sequence[tuple[tuple[int, ...], ChunkRef]]
) -> tuple[bytes, list[int]] | None:
    """Return the bytes of new rows that begin at `start`, with their vtables, and where each row is."""
    parts: list[bytes] = []
    places: list[int] = []
    vtables: dict[Variant, int] = {}
    position = start
    for coords, ref in refs:
        if isinstance(ref, NativeRef):
            variant = Variant(is_native=True, has_offset=ref.offset != 0)
        elif isinstance(ref, InlineRef):
            variant = Variant(is_inline=True)
        else:
            # Virtual refs share their locations, which are not looked for here.
            return None
        layout = row_layout(variant, len(coords))
        vtable = vtables.get(variant)
        if vtable is None:
            vtable = vtables[variant] = position
            parts.append(layout.vtable)
            position += len(layout.vtable)
        values: tuple[int | bytes, ...]
        if isinstance(ref, InlineRef):
            # The chunk lies right behind its row.
            values = (layout.size - layout.offsets[INLINE],)
        elif ref.offset:
            values = (ref.length, ref.offset, ref.chunk_id)
        else:
            values = (ref.length, ref.chunk_id)
        places.append(position)
        parts.append(layout.pack(position - vtable, layout.index - 4, *values, len(coords), *coords))
        position += layout.size
        if isinstance(ref, InlineRef):
            size = _aligned(4 + len(ref.data))
            parts += (struct.pack("<I", len(ref.data)), ref.data, bytes(size - 4 - len(ref.data)))
            position += size
    return b"".join(parts), places


def _aligned(position: int) -> int:
    return position + -position % 8

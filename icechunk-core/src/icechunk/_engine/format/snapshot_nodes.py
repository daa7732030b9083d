"""The nodes of a snapshot as we write them: each one a block of bytes that can be copied as it is.

A block begins with all the vtables it needs, so its first bytes are the same for every group, and
for every array. Format section 5; offsets are from the start of the block, a multiple of 8:

========  ==============================================================
group     0 node vtable, 16 group vtable, 24 node, 52 group data, 56 path
array     0 node vtable, 16 array vtable, 28 dimension vtable, 36 manifest
          ref vtable, 44 and 50 dimension name vtables, 56 node, 84 array
          data, 104 shape and all that varies in size
========  ==============================================================
"""

from __future__ import annotations

import functools
import struct
from typing import TYPE_CHECKING, Final, NamedTuple

from icechunk._engine.format.blocks import bytes_block, padding, text_block
from icechunk._engine.format.snapshot_records import (
    DimensionShape,
    GroupNode,
    ManifestRef,
    Node,
)
from icechunk.errors import ErrorKind, FormatError

if TYPE_CHECKING:
    from collections.abc import Callable

GROUP_NODE_AT: Final = 24
ARRAY_NODE_AT: Final = 56

_ARRAY_TYPE, _GROUP_TYPE = 1, 2

# Node: soffset 0, path 4, user_data 8, node_data 12, id 16..24, type 24.
_NODE_VTABLE = struct.pack("<7H2x", 14, 28, 16, 4, 8, 24, 12)
GROUP_PREFIX: Final = _NODE_VTABLE + struct.pack("<2H4x", 4, 4)
_NODE = struct.Struct("<iIII8sB3x")
_GROUP_DATA = struct.pack("<i", 52 - 16)

# Array data: soffset 0, shape 4, dimension_names 8, manifests 12, shape_v2 16.
_ARRAY_VTABLES = {
    1: struct.pack("<6H", 12, 20, 4, 8, 12, 0),
    2: struct.pack("<6H", 12, 20, 4, 8, 12, 16),
}
_ARRAY_VTABLES_WITHOUT_NAMES = {
    1: struct.pack("<6H", 12, 20, 4, 0, 12, 0),
    2: struct.pack("<6H", 12, 20, 4, 0, 12, 16),
}
# Dimension: soffset 0, num_chunks 4, array_length 8. ManifestRef: soffset 0, id 4..16, extents 16.
_OTHER_VTABLES = struct.pack("<4H4H3H3H", 8, 16, 8, 4, 8, 20, 4, 16, 6, 8, 4, 6, 4, 0)
_DIMENSION_VTABLE_AT, _MANIFEST_REF_VTABLE_AT = 28, 36
_NAME_VTABLE_AT, _NO_NAME_VTABLE_AT = 44, 50

_UINT32 = struct.Struct("<I")
_DIMENSION_V1 = struct.Struct("<QQ")
_DIMENSION_V2 = struct.Struct("<iIQ")
_MANIFEST_REF = struct.Struct("<i12sI")


def encode_node(node: Node, spec_version: int) -> bytes:
    """Return the block of one node. Its length is a multiple of 8.

    Raises
    ------
    FormatError
        A number does not fit its field: more than 2^32 - 1 chunks along a dimension, say.
    """
    try:
        return _encode_node(node, spec_version)
    except struct.error as error:
        raise FormatError(
            f"node `{node.path}` does not fit the format: {error}", kind=ErrorKind.SERIALIZATION
        ) from error


def _encode_node(node: Node, spec_version: int) -> bytes:
    path, user_data = text_block(node.path.encode()), bytes_block(node.user_data)
    if isinstance(node, GroupNode):
        # path at 56; the offsets are from the fields at 28, 32 and 36
        fields = _NODE.pack(GROUP_NODE_AT, 28, 24 + len(path), 16, node.id, _GROUP_TYPE)
        block = GROUP_PREFIX + fields + _GROUP_DATA + path + user_data
    else:
        shape = _SHAPES[spec_version](node.shape)
        end = 104 + len(shape)
        has_names = node.dimension_names is not None
        names = _dimension_names(node.dimension_names, end) if node.dimension_names is not None else b""
        manifests = _manifest_refs(node.manifests, end + len(names))
        path_at = end + len(names) + len(manifests)
        block = b"".join(
            (
                _array_prefix(spec_version, has_names),
                _NODE.pack(
                    ARRAY_NODE_AT,
                    path_at - 60,
                    path_at + len(path) - 64,
                    84 - 68,
                    node.id,
                    _ARRAY_TYPE,
                ),
                _array_data(spec_version, end - 92 if has_names else 0, end + len(names) - 96),
                shape,
                names,
                manifests,
                path,
                user_data,
            )
        )
    return block + padding(len(block), 8)


@functools.cache
def _array_prefix(spec_version: int, has_names: bool) -> bytes:
    vtables = _ARRAY_VTABLES if has_names else _ARRAY_VTABLES_WITHOUT_NAMES
    return _NODE_VTABLE + vtables[spec_version] + _OTHER_VTABLES


def array_prefixes(spec_version: int) -> tuple[bytes, bytes]:
    """The bytes that every array's block begins with: without and with dimension names."""
    return _array_prefix(spec_version, False), _array_prefix(spec_version, True)


def _array_data(spec_version: int, names: int, manifests: int) -> bytes:
    # soffset to 16; the vector of structs at 108; in version 2 that one is empty, and dimensions at 112
    shape_v2 = 112 - 100 if spec_version == 2 else 0
    return struct.pack("<iIIII", 84 - 16, 108 - 88, names, manifests, shape_v2)


def _shape_v1(shape: tuple[DimensionShape, ...]) -> bytes:
    # The length word lies at 108, so that the structs are aligned to 8. The true length of a chunk
    # is in the Zarr metadata; what counts here is that the number of chunks can be computed back.
    parts = [struct.pack("<4xI", len(shape))]
    for length, chunks in shape:
        parts.append(_DIMENSION_V1.pack(length, -(-length // chunks) if chunks else 0))
    return b"".join(parts)


@functools.lru_cache(maxsize=256)
def _shape_v2(shape: tuple[DimensionShape, ...]) -> bytes:
    vtables, offsets = _shape_v2_frame(len(shape))
    parts = [offsets]
    for soffset, (length, chunks) in zip(vtables, shape, strict=True):
        parts.append(_DIMENSION_V2.pack(soffset, chunks, length))
    return b"".join(parts)


_SHAPES: Final[dict[int, Callable[[tuple[DimensionShape, ...]], bytes]]] = {1: _shape_v1, 2: _shape_v2}


@functools.lru_cache(maxsize=64)
def _shape_v2_frame(ndim: int) -> tuple[range, bytes]:
    """The offset to the vtable for each dimension, and the bytes from 104 up to the first."""
    head = 8 + 4 + 4 * ndim
    head += -head % 8
    first = 104 + head
    offsets = (first + 16 * i - (116 + 4 * i) for i in range(ndim))
    # 4 bytes of padding, the empty vector of structs of version 1, then the vector of offsets
    frame = struct.pack(f"<4xII{ndim}I", 0, ndim, *offsets).ljust(head, b"\0")
    start = first - _DIMENSION_VTABLE_AT
    return range(start, start + 16 * ndim, 16), frame


# Arrays of one data set have the same names and shapes.
@functools.lru_cache(maxsize=256)
def _dimension_names(names: tuple[str | None, ...], at: int) -> bytes:
    """The vector of names; `at` is where it will lie in the block."""
    tables_at = at + 4 + 4 * len(names)
    offsets, tables, texts = [], [], []
    text_at = tables_at + sum(8 if name else 4 for name in names)
    for i, name in enumerate(names):
        offsets.append(tables_at - (at + 4 + 4 * i))
        if name:
            tables.append(struct.pack("<iI", tables_at - _NAME_VTABLE_AT, text_at - (tables_at + 4)))
            text = text_block(name.encode())
            texts.append(text)
            text_at += len(text)
            tables_at += 8
        else:
            tables.append(struct.pack("<i", tables_at - _NO_NAME_VTABLE_AT))
            tables_at += 4
    count = len(names)
    return b"".join((struct.pack(f"<I{count}I", count, *offsets), *tables, *texts))


def _manifest_refs(refs: tuple[ManifestRef, ...], at: int) -> bytes:
    """The vector of manifest refs; `at` is where it will lie in the block."""
    if not refs:
        return bytes(4)
    count = len(refs)
    first = at + 4 + 4 * count
    parts = [struct.pack(f"<I{count}I", count, *(first + 20 * i - (at + 4 + 4 * i) for i in range(count)))]
    extents = []
    extents_at = first + 20 * count
    for i, (id, box) in enumerate(refs):
        table = first + 20 * i
        parts.append(_MANIFEST_REF.pack(table - _MANIFEST_REF_VTABLE_AT, id, extents_at - (table + 16)))
        ndim = len(box)
        bounds = [bound for interval in box for bound in interval]
        extents.append(_extents_layout(ndim).pack(ndim, *bounds))
        extents_at += 4 + 8 * ndim
    return b"".join(parts + extents)


@functools.lru_cache(maxsize=64)
def _extents_layout(ndim: int) -> struct.Struct:
    return struct.Struct(f"<I{2 * ndim}I")


# --- reading blocks of ours


class ArrayBlock(NamedTuple):
    """Where the contents of an array's block lie. Nothing behind these places was looked at."""

    id: bytes
    path_at: int
    user_data_at: int
    shape: tuple[DimensionShape, ...]
    # None for a dimension without a name; all None if the array has no names.
    names_at: tuple[int | None, ...] | None
    # Id and place of the extents of each manifest.
    manifests: list[tuple[bytes, int]]


def read_array_block(data: memoryview, position: int) -> ArrayBlock | None:
    """Read the array of spec version 2 at `position`, without going from table to table.

    Returns None if it is not exactly what `encode_node` writes; then the general way finds out what
    it is. Three times as fast as that.
    """
    start = position - ARRAY_NODE_AT
    if start < 0:
        return None
    has_names = _IS_ARRAY_WITH_NAMES.get(bytes(data[start:position]))
    if has_names is None:
        return None
    try:
        soffset, path, user_data, node_data, id, kind = _NODE.unpack_from(data, position)
        data_soffset, _, names, manifests, shape = _ARRAY_DATA.unpack_from(data, start + 84)
        if (soffset, node_data, kind) != (ARRAY_NODE_AT, 16, _ARRAY_TYPE):
            return None
        if (data_soffset, shape) != (84 - 16, 112 - 100):
            return None
        dimensions = _read_shape(data, start)
        names_at = _read_names(data, start, start + 92 + names) if has_names else None
        refs = _read_manifests(data, start, start + 96 + manifests)
    except struct.error:
        return None
    if dimensions is None or refs is None or (has_names and names_at is None):
        return None
    return ArrayBlock(id, position + 4 + path, position + 8 + user_data, dimensions, names_at, refs)


_ARRAY_DATA = struct.Struct("<iIIII")
_SOFFSET = struct.Struct("<i")
_IS_ARRAY_WITH_NAMES = {_array_prefix(2, False): False, _array_prefix(2, True): True}

# More dimensions or manifests than these take the general way.
_MOST_DIMENSIONS = 32
_MOST_MANIFESTS = 10_000


def _read_shape(data: memoryview, start: int) -> tuple[DimensionShape, ...] | None:
    (ndim,) = _UINT32.unpack_from(data, start + 112)
    if ndim > _MOST_DIMENSIONS:
        return None
    soffsets, frame = _shape_v2_frame(ndim)
    first = start + 104 + len(frame)
    if data[start + 104 : first] != frame:
        return None
    fields = _dimensions_layout(ndim).unpack_from(data, first)
    if fields[::3] != tuple(soffsets):
        return None
    return tuple(map(DimensionShape, fields[2::3], fields[1::3]))


@functools.lru_cache(maxsize=64)
def _dimensions_layout(ndim: int) -> struct.Struct:
    return struct.Struct("<" + "iIQ" * ndim)


def _read_names(data: memoryview, start: int, at: int) -> tuple[int | None, ...] | None:
    (count,) = _UINT32.unpack_from(data, at)
    if count > _MOST_DIMENSIONS:
        return None
    names: list[int | None] = []
    for element in range(at + 4, at + 4 + 4 * count, 4):
        table = element + _UINT32.unpack_from(data, element)[0]
        (soffset,) = _SOFFSET.unpack_from(data, table)
        if soffset == table - (start + _NAME_VTABLE_AT):
            names.append(table + 4 + _UINT32.unpack_from(data, table + 4)[0])
        elif soffset == table - (start + _NO_NAME_VTABLE_AT):
            names.append(None)
        else:
            return None
    return tuple(names)


def _read_manifests(data: memoryview, start: int, at: int) -> list[tuple[bytes, int]] | None:
    (count,) = _UINT32.unpack_from(data, at)
    if count > _MOST_MANIFESTS:
        return None
    refs = []
    for element in range(at + 4, at + 4 + 4 * count, 4):
        table = element + _UINT32.unpack_from(data, element)[0]
        soffset, id, extents = _MANIFEST_REF.unpack_from(data, table)
        if soffset != table - (start + _MANIFEST_REF_VTABLE_AT):
            return None
        refs.append((id, table + 16 + extents))
    return refs

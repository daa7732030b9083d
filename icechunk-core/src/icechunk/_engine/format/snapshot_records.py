"""What a snapshot is made of: nodes, their shapes and manifests, as plain values.

Format section 5.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple, TypeAlias

if TYPE_CHECKING:
    from icechunk._engine.format.ids import ManifestId, NodeId


class DimensionShape(NamedTuple):
    """The length of one dimension of an array, and how many chunks it is cut into."""

    array_length: int
    num_chunks: int


class ManifestRef(NamedTuple):
    """One manifest of an array, and the box that bounds the chunks which it holds of this array.

    `extents`: for each dimension the first chunk index and the one after the last.
    """

    manifest_id: ManifestId
    extents: tuple[tuple[int, int], ...]


@dataclass(frozen=True, slots=True)
class GroupNode:
    """A group. `user_data` is the content of its `zarr.json`, byte for byte."""

    id: NodeId
    path: str
    user_data: bytes


@dataclass(frozen=True, slots=True)
class ArrayNode:
    """An array. `user_data` is the content of its `zarr.json`, byte for byte."""

    id: NodeId
    path: str
    user_data: bytes
    shape: tuple[DimensionShape, ...]
    dimension_names: tuple[str | None, ...] | None
    manifests: tuple[ManifestRef, ...]


Node: TypeAlias = GroupNode | ArrayNode


class ManifestFileInfo(NamedTuple):
    """What a snapshot says of a manifest that it uses. `size_bytes` is that of the stored file."""

    id: ManifestId
    size_bytes: int
    num_chunk_refs: int

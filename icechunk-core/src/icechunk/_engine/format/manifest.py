"""Manifests: for each chunk of some arrays, where its bytes are.

Spec v2, "Manifest". A manifest keeps its buffer; what is asked for is read from there.
"""

from __future__ import annotations

from functools import cached_property
from typing import TYPE_CHECKING, Final

from icechunk._engine.format.ids import ManifestId, NodeId
from icechunk._engine.format.manifest_array import ArrayRefs
from icechunk._engine.format.manifest_encoding import encode_manifest
from icechunk._engine.format.manifest_locations import LocationCompression, LocationDictionary
from icechunk._engine.format.tables import FlatBuffer, Vector
from icechunk._engine.format.tables_columns import TableColumns

if TYPE_CHECKING:
    from collections.abc import Sequence

    from icechunk._engine.format.tables import Table

__all__ = ["ArrayRefs", "LocationCompression", "Manifest", "encode_manifest"]

# Slots of Manifest and ArrayManifest.
_ID: Final = 0
_ARRAYS: Final = 1
_DICTIONARY: Final = 2
_ALGORITHM: Final = 3
_NODE_ID: Final = 0
_REFS: Final = 1

_ZSTD: Final = 1

# Real manifests have one array; up to this many, NumPy does not pay.
_FEW_ARRAYS: Final = 16


class Manifest:
    """A manifest that was read. Safe for use from several threads."""

    def __init__(
        self,
        manifest_id: ManifestId,
        file: FlatBuffer,
        vectors: dict[NodeId, Vector],
        dictionary: LocationDictionary,
    ) -> None:
        self.id = manifest_id
        self._file = file
        self._vectors = vectors
        self._dictionary = dictionary
        self._arrays: dict[NodeId, ArrayRefs] = {}

    @classmethod
    def decode(cls, payload: memoryview | bytes, *, name: str) -> Manifest:
        """Read what arrays there are; nothing about their refs yet.

        Parameters
        ----------
        payload
            The decompressed content of the file. It is kept, not copied.
        name
            The object's path, for messages.

        Raises
        ------
        FormatError
            This is no manifest.
        """
        file = FlatBuffer(payload, name=name)
        root = file.root()
        raw_id = root.struct(_ID, 12)
        root.require(_ARRAYS, "Manifest.arrays")
        if raw_id is None:
            raise file.error("Manifest.id is missing")
        return cls(ManifestId(raw_id), file, _array_vectors(file, root), _location_dictionary(file, root))

    @property
    def node_ids(self) -> Sequence[NodeId]:
        """The arrays that have refs here."""
        return tuple(self._vectors)

    @cached_property
    def num_refs(self) -> int:
        """The number of refs of all arrays."""
        return sum(vector.count for vector in self._vectors.values())

    @property
    def payload(self) -> memoryview:
        """The decompressed content of the file."""
        return self._file.data

    @property
    def size_bytes(self) -> int:
        """What the manifest takes in memory, columns apart."""
        return self._file.size

    @property
    def may_have_compressed_locations(self) -> bool:
        """Whether the file does not say that no location is compressed."""
        return self._file.root().u8(_ALGORITHM, _ZSTD) != 0

    @property
    def location_dictionary_size(self) -> int | None:
        """Bytes of the dictionary that compressed locations need, None if there is none."""
        content = self._file.root().bytes(_DICTIONARY)
        return None if content is None else len(content)

    def find_array(self, node_id: NodeId) -> ArrayRefs | None:
        """Return the refs of one array, None if it has none here."""
        found = self._arrays.get(node_id)
        if found is None:
            vector = self._vectors.get(node_id)
            if vector is None:
                return None
            # Of two threads that come here at once, both use the one that is first in the dict.
            found = self._arrays.setdefault(node_id, ArrayRefs(self._file, vector, self._dictionary))
        return found


def _location_dictionary(file: FlatBuffer, root: Table) -> LocationDictionary:
    content = root.bytes(_DICTIONARY)
    algorithm = root.u8(_ALGORITHM, _ZSTD)
    is_usable = content is not None and algorithm == _ZSTD
    return LocationDictionary(
        content.tobytes() if is_usable and content is not None else None, name=file.name
    )


def _array_vectors(file: FlatBuffer, root: Table) -> dict[NodeId, Vector]:
    arrays = root.tables(_ARRAYS)
    if arrays is None:
        return {}
    if len(arrays) <= _FEW_ARRAYS:
        return _checked_vectors(file, [_array_vector(table) for table in arrays])
    # A column at a time: a hostile file may claim as many arrays as real ones have refs.
    tables = TableColumns(file, arrays.positions())
    tables.require(_NODE_ID, "ArrayManifest.node_id")
    tables.require(_REFS, "ArrayManifest.refs")
    starts, counts = tables.vectors(_REFS, 4)
    raw_ids = tables.structs(_NODE_ID, 8).tobytes()
    ids = [NodeId(raw_ids[at : at + 8]) for at in range(0, len(raw_ids), 8)]
    vectors = map(Vector, starts.tolist(), counts.tolist())
    return _checked_vectors(file, list(zip(ids, vectors, strict=True)))


def _array_vector(table: Table) -> tuple[NodeId, Vector]:
    raw_id = table.struct(_NODE_ID, 8)
    refs = table.vector(_REFS, 4)
    if raw_id is None or refs is None:
        raise table.file.error(f"ArrayManifest.{'node_id' if raw_id is None else 'refs'} is missing")
    return NodeId(raw_id), refs


def _checked_vectors(file: FlatBuffer, arrays: list[tuple[NodeId, Vector]]) -> dict[NodeId, Vector]:
    # Vectors that overlap would let a small file claim any number of refs.
    num_refs = sum(vector.count for _, vector in arrays)
    if 4 * num_refs > file.size:
        raise file.error(f"{num_refs} chunk refs do not fit into {file.size} bytes")
    vectors = dict(arrays)
    if len(vectors) != len(arrays):
        raise file.error("an array is listed twice")
    return vectors

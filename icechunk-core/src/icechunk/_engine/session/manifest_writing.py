"""Builds and writes the manifests of one commit, and says which the new snapshot lists.

Protocol 3.5. What each array's manifests become is decided in `manifests`; here they are fetched, encoded,
and held until they go out with the rest.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from functools import cached_property, partial
from operator import itemgetter
from typing import TYPE_CHECKING, Any

from icechunk._engine.format.ids import ManifestId
from icechunk._engine.format.manifest import LocationCompression, encode_manifest
from icechunk._engine.format.manifest_splicing import encode_few_refs, splice_manifest
from icechunk._engine.format.snapshot_records import ArrayNode, ManifestFileInfo, ManifestRef
from icechunk._engine.session.manifests import ArrayPlan, build_manifests, extents_after, extents_of
from icechunk._engine.session.splitting import BoxGrid, tight_extents
from icechunk._values.splitting import box_edges
from icechunk.abc.storage import Locality

if TYPE_CHECKING:
    from icechunk._engine.assets.assets import Assets, SealedFile
    from icechunk._engine.changes import ChangeSet
    from icechunk._engine.format.chunk_refs import RefColumns
    from icechunk._engine.format.envelope import Buffer
    from icechunk._engine.format.ids import NodeId
    from icechunk._engine.format.manifest import Manifest
    from icechunk._engine.format.snapshot import Snapshot
    from icechunk._engine.format.snapshot_records import Node
    from icechunk._engine.session.splitting import Coords
    from icechunk._values.repository_config import RepositoryConfig

# Manifests that are fetched side by side before the arrays they belong to are rebuilt; so many are in
# memory at once, whatever the cache may keep.
_FETCHED_TOGETHER = 64

# Up to here a list of all manifests is faster than columns of them.
_FEW_FILES = 64

# What is compressed and waits to go out together with the rest. Beyond this it goes ahead.
_MAX_HELD_BYTES = 64 * 2**20


class ManifestWriter:
    """Builds the manifests of one commit: those of touched arrays, one array after the other."""

    def __init__(self, assets: Assets, config: RepositoryConfig, spec_version: int) -> None:
        self._assets = assets
        self._config = config
        self._spec_version = spec_version
        self._files: list[ManifestFileInfo] = []
        self.held: list[SealedFile] = []
        """New manifests that are still to be written."""
        self.touched: dict[NodeId, Coords] = {}
        """For each array with changed chunks, which they are: for the transaction log."""
        # Old manifests that were read, and that no other array can be using.
        self._of_one_array: set[ManifestId] = set()
        self._held_bytes = 0

    @cached_property
    def _location_compression(self) -> LocationCompression | None:
        return _location_compression(self._config, self._spec_version)

    def rebuilt(self, base: Snapshot, changes: ChangeSet, arrays: Sequence[ArrayNode]) -> Iterator[ArrayNode]:
        """Yield each array with the manifests that it has after the commit."""
        for first in range(0, len(arrays), _FETCHED_TOGETHER):
            batch = arrays[first : first + _FETCHED_TOGETHER]
            plans = [self._plan(array, changes) for array in batch]
            fetched = self._fetch(base, [ref for plan in plans for ref in plan.to_read])
            for array, plan in zip(batch, plans, strict=True):
                yield replace(array, manifests=self._build(plan, fetched))

    def listing(self, base: Snapshot, nodes: Mapping[str, Node], removed: Sequence[str]) -> dict[str, Any]:
        """Return what the new snapshot lists, as arguments of `rewrite_snapshot`, which is faster with them.

        `nodes` are those that are new or different, by path; nothing is left at the paths `removed`.
        """
        dropped = self._dropped(base, nodes, removed)
        if base.num_manifest_files > _FEW_FILES:
            return {"added_manifest_files": self._files, "removed_manifest_ids": dropped}
        kept = [file for file in base.manifest_files() if file.id not in dropped]
        return {"manifest_files": [*kept, *self._files]}

    def _dropped(self, base: Snapshot, nodes: Mapping[str, Node], removed: Sequence[str]) -> set[ManifestId]:
        """Return the manifests that the base snapshot uses and the new one does not."""
        kept: set[ManifestId] = set()
        dropped: set[ManifestId] = set()
        for path in [*nodes, *removed]:
            before = base.find_node(path)
            if isinstance(before, ArrayNode):
                dropped.update(ref.manifest_id for ref in before.manifests)
        for node in nodes.values():
            if isinstance(node, ArrayNode):
                kept.update(ref.manifest_id for ref in node.manifests)
        dropped -= kept
        if dropped - self._of_one_array:
            # A manifest may hold several arrays (nobody writes such, everybody may): another array
            # may still use it.
            touched = {*nodes, *removed}
            for node in base.nodes():
                if isinstance(node, ArrayNode) and node.path not in touched:
                    dropped.difference_update(ref.manifest_id for ref in node.manifests)
        return dropped

    def _plan(self, array: ArrayNode, changes: ChangeSet) -> ArrayPlan:
        num_chunks = tuple(dimension.num_chunks for dimension in array.shape)
        edges = box_edges(self._config, array.path, num_chunks, array.dimension_names)
        table = changes.chunks.get(array.id)
        plan = ArrayPlan(array.id, BoxGrid(edges), array.manifests, table)
        if table is not None:
            self.touched[array.id] = plan.all_touched
        return plan

    def _fetch(self, base: Snapshot, refs: Sequence[ManifestRef]) -> dict[ManifestId, Manifest]:
        """Return manifests by id; on remote storage those that are not cached come side by side."""
        fetched: dict[ManifestId, Manifest] = {}
        loads: dict[ManifestId, Callable[[], Manifest]] = {}
        for ref in refs:
            id = ref.manifest_id
            cached = self._assets.cached_manifest(id)
            if cached is not None:
                fetched[id] = cached
            else:
                size_bytes = base.manifest_file(id).size_bytes
                loads[id] = partial(self._assets.load_manifest, id, size_bytes)
        fetched.update(zip(loads, self._assets.run_requests(list(loads.values())), strict=True))
        self._of_one_array.update(id for id, manifest in fetched.items() if len(manifest.node_ids) == 1)
        return fetched

    def _build(self, plan: ArrayPlan, fetched: Mapping[ManifestId, Manifest]) -> tuple[ManifestRef, ...]:
        refs = list(plan.kept)
        spliced = self._spliced(plan, fetched)
        if spliced is not None:
            refs += spliced
        else:
            for box, columns in build_manifests(plan, fetched):
                refs.append((box, self._new_manifest(plan.node_id, columns)))
        # In the order of the boxes, as the reference writes them.
        refs.sort(key=itemgetter(0))
        return tuple([ref for _box, ref in refs])

    def _spliced(
        self, plan: ArrayPlan, fetched: Mapping[ManifestId, Manifest]
    ) -> list[tuple[int, ManifestRef]] | None:
        """Write the new manifests as changes in the bytes of the old ones, if that is possible."""
        changes = plan.simple_changes()
        if changes is None:
            return None
        # All of them or none: nothing is written before that is clear.
        new: list[tuple[int, ManifestRef, list[Buffer], int]] = []
        for box, edits, old in changes:
            id = ManifestId.random()
            if old is None:
                live = [(coords, ref) for coords, ref in edits if ref is not None]
                if live:
                    pieces = encode_few_refs(id, plan.node_id, live)
                    if pieces is None:
                        return None
                    new.append((box, ManifestRef(id, extents_of(live)), pieces, len(live)))
                continue
            extents = extents_after(old.extents, edits)
            if extents is None:
                return None
            result = splice_manifest(fetched[old.manifest_id], id, plan.node_id, edits)
            if result is None:
                return None
            new.append((box, ManifestRef(id, extents), *result))
        for _box, ref, pieces, num_refs in new:
            self._add(ref.manifest_id, pieces, num_refs)
        return [(box, ref) for box, ref, _pieces, _num_refs in new]

    def _new_manifest(self, node_id: NodeId, columns: RefColumns) -> ManifestRef:
        id = ManifestId.random()
        self._add(id, self._encoded(id, node_id, columns), len(columns))
        return ManifestRef(id, tight_extents(columns.coords))

    def _encoded(self, id: ManifestId, node_id: NodeId, columns: RefColumns) -> list[Buffer]:
        return encode_manifest(
            id,
            [(node_id, columns)],
            spec_version=self._spec_version,
            location_compression=self._location_compression,
        )

    def _add(self, id: ManifestId, pieces: list[Buffer], num_refs: int) -> None:
        file = self._assets.seal_manifest(id, pieces, self._spec_version, num_refs=num_refs)
        self._files.append(ManifestFileInfo(id, file.size_bytes, num_refs))
        if self._assets.locality is Locality.REMOTE:
            self.held.append(file)
            self._held_bytes += file.size_bytes
            if self._held_bytes > _MAX_HELD_BYTES:
                self._assets.write_all(self.held)
                self.held.clear()
                self._held_bytes = 0
        else:
            # Nothing to be won by waiting.
            self._assets.write_all([file])


def _location_compression(config: RepositoryConfig, spec_version: int) -> LocationCompression | None:
    """Return when and how to compress the locations of virtual chunks."""
    if spec_version == 1:
        return None
    settings = config.effective("manifest").effective("virtual_chunk_location_compression")
    return LocationCompression(
        min_num_refs=settings.effective("min_num_chunks"),
        max_training_samples=settings.effective("dictionary_max_training_samples"),
        max_dictionary_bytes=settings.effective("dictionary_max_size_bytes"),
        level=settings.effective("compression_level"),
    )

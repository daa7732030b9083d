"""Loading manifests ahead, in the background, as soon as a session has its snapshot.

Semantics 8. Nothing but the cache knows of it: who asks for one finds it there, or waits for it. A session
that nobody reads anything from loads nothing.
"""

from __future__ import annotations

from functools import partial
from itertools import islice
from typing import TYPE_CHECKING

from icechunk._engine.assets.fanout import run_later
from icechunk._engine.format.snapshot_records import ArrayNode
from icechunk._values.preloading import DEFAULT_PRELOAD_CONDITION, is_preloaded
from icechunk.abc.storage import Locality

if TYPE_CHECKING:
    from collections.abc import Iterator

    from icechunk._engine.assets.assets import Assets
    from icechunk._engine.format.ids import ManifestId
    from icechunk._engine.format.snapshot import Snapshot
    from icechunk._engine.format.snapshot_records import ManifestFileInfo
    from icechunk._values.manifest_config import ManifestPreloadConfig
    from icechunk._values.repository_config import RepositoryConfig


def preload(snapshot: Snapshot, assets: Assets, config: RepositoryConfig) -> None:
    """Begin to load the manifests of a snapshot that `config` wants, and do not wait for it."""
    manifest = config.manifest
    is_asked_for = manifest is not None and manifest.preload is not None
    if not is_asked_for and assets.locality is not Locality.REMOTE:
        # A read of a file nearby is done before a thread has begun.
        return
    rules: ManifestPreloadConfig = config.effective("manifest").effective("preload")
    if rules.effective("max_total_refs") and assets.settings.num_chunk_refs:
        run_later(partial(_preload, snapshot, assets, rules))


def _preload(snapshot: Snapshot, assets: Assets, rules: ManifestPreloadConfig) -> None:
    for file in wanted_manifests(snapshot, rules):
        if assets.cached_manifest(file.id) is None:
            # In a thread of its own, so that they come side by side.
            run_later(partial(assets.load_manifest, file.id, file.size_bytes))


def wanted_manifests(snapshot: Snapshot, rules: ManifestPreloadConfig) -> Iterator[ManifestFileInfo]:
    """Yield those manifests of a snapshot's first arrays that the rules want, as long as they are few."""
    condition = rules.preload_if or DEFAULT_PRELOAD_CONDITION
    refs_left: int = rules.effective("max_total_refs")
    seen: set[ManifestId] = set()
    arrays = (node for node in snapshot.nodes() if isinstance(node, ArrayNode))
    for array in islice(arrays, rules.effective("max_arrays_to_scan")):
        for ref in array.manifests:
            if ref.manifest_id in seen:
                continue
            file = snapshot.manifest_file(ref.manifest_id)
            if file.num_chunk_refs <= refs_left and is_preloaded(condition, array.path, file.num_chunk_refs):
                seen.add(ref.manifest_id)
                refs_left -= file.num_chunk_refs
                yield file

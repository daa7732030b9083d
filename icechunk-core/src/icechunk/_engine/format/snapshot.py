"""The front of everything about snapshots (format section 5)."""

from __future__ import annotations

from icechunk._engine.format.snapshot_reading import Snapshot
from icechunk._engine.format.snapshot_records import (
    ArrayNode,
    DimensionShape,
    GroupNode,
    ManifestFileInfo,
    ManifestRef,
    Node,
)
from icechunk._engine.format.snapshot_writing import encode_snapshot, rewrite_snapshot

__all__ = [
    "ArrayNode",
    "DimensionShape",
    "GroupNode",
    "ManifestFileInfo",
    "ManifestRef",
    "Node",
    "Snapshot",
    "encode_snapshot",
    "rewrite_snapshot",
]

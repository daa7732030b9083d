"""What a repository tells about its history, and about what differs in it."""

from __future__ import annotations

from icechunk._values.ancestry_graph import AncestryGraph
from icechunk._values.diff import Diff
from icechunk._values.history import ManifestFileInfo, SnapshotInfo

__all__ = ["AncestryGraph", "Diff", "ManifestFileInfo", "SnapshotInfo"]

"""What can be wrong when a session is rebased, and whose version wins."""

from __future__ import annotations

from icechunk._values.conflicts import Conflict, ConflictType, VersionSelection

__all__ = ["Conflict", "ConflictType", "VersionSelection"]

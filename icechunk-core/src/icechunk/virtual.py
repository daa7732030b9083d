"""Virtual chunks: chunks whose bytes are parts of objects that the repository does not own."""

from __future__ import annotations

from icechunk._values.containers import VirtualChunkContainer, VirtualChunkSpec

__all__ = ["VirtualChunkContainer", "VirtualChunkSpec"]

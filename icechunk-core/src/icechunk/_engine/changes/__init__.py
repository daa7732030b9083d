"""The change set: what a session has not committed, in memory and pure."""

from __future__ import annotations

from icechunk._engine.changes.change_set import ArrayUpdate, ChangeSet, NewArray, NewGroup
from icechunk._engine.changes.chunk_table import DELETED, ChunkTable
from icechunk._engine.changes.moves import Moves

__all__ = ["DELETED", "ArrayUpdate", "ChangeSet", "ChunkTable", "Moves", "NewArray", "NewGroup"]

"""Types of arguments that are plain values."""

from __future__ import annotations

from typing import Literal, TypeAlias

__all__ = ["CommitMethod"]

#: How `Repository.rewrite_manifests` records what it did.
CommitMethod: TypeAlias = Literal["new_commit", "amend"]

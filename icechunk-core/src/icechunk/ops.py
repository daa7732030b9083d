"""What was done to a repository, and what long operations report."""

from __future__ import annotations

from icechunk._values.summaries import GCSummary
from icechunk._values.updates import Update, UpdateType

__all__ = ["GCSummary", "Update", "UpdateType"]

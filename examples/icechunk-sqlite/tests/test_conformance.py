"""Every rule of the storage contract, inherited."""

from __future__ import annotations

from pathlib import Path

import pytest
from icechunk_sqlite import sqlite_storage

from icechunk.storage import Storage
from icechunk.testing.conformance import StorageConformance


class TestSqliteStorage(StorageConformance):
    @pytest.fixture
    def storage(self, tmp_path: Path) -> Storage:
        return sqlite_storage(tmp_path / "folder" / "repo.db")

"""What is true of the plugin once it is installed."""

from __future__ import annotations

import os
import pickle
import sqlite3
import subprocess
import sys
import threading
from pathlib import Path

import numpy as np
import pytest
import zarr
from icechunk_sqlite import sqlite_storage

import icechunk
from icechunk.errors import InvalidInputError, StorageError
from icechunk.storage import storage_from_url


def test_a_repository_lives_in_one_file(tmp_path: Path) -> None:
    repo = icechunk.Repository.create(sqlite_storage(tmp_path / "winds.db"))
    session = repo.writable_session("main")
    winds = zarr.create_array(session.store, name="winds", shape=(6, 4), chunks=(2, 4), dtype="f4")
    winds[:] = np.arange(24).reshape(6, 4)
    first = session.commit("the winds")
    session = repo.writable_session("main")
    zarr.open_array(session.store, path="winds")[0] = -1
    session.commit("a correction")

    again = icechunk.Repository.open(storage_from_url(f"sqlite:///{tmp_path}/winds.db"))
    assert [info.message for info in again.ancestry(branch="main")][:2] == ["a correction", "the winds"]
    old = zarr.open_array(again.readonly_session(snapshot_id=first).store, path="winds", mode="r")
    np.testing.assert_array_equal(old[:], np.arange(24).reshape(6, 4))
    assert {path.name.partition("-")[0] for path in tmp_path.iterdir()} == {"winds.db"}


def test_the_storage_travels_and_shows_itself(tmp_path: Path) -> None:
    storage = sqlite_storage(tmp_path / "x.db")
    assert pickle.loads(pickle.dumps(storage)) == storage
    assert repr(storage) == f"<icechunk.Storage>\ntype: SQLite\npath: {tmp_path / 'x.db'}\n"


def test_urls_name_files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    assert storage_from_url("sqlite:///x.db") == sqlite_storage(tmp_path / "x.db")
    assert storage_from_url(f"sqlite:///{tmp_path}/x.db", timeout_seconds=1) == sqlite_storage(
        tmp_path / "x.db", timeout_seconds=1
    )
    for url in ("sqlite://x.db", "sqlite:///"):
        with pytest.raises(InvalidInputError):
            storage_from_url(url)
    with pytest.raises(TypeError):
        storage_from_url("sqlite:///x.db", colour="red")


def test_reading_makes_no_file(tmp_path: Path) -> None:
    assert not icechunk.Repository.exists(sqlite_storage(tmp_path / "x.db"))
    assert list(tmp_path.iterdir()) == []


def test_what_is_no_database_is_a_storage_error(tmp_path: Path) -> None:
    (tmp_path / "x.db").write_text("something else, and long enough to be seen to be no database at all")
    with pytest.raises(StorageError, match="not a database"):
        sqlite_storage(tmp_path / "x.db").list_objects()


def test_the_first_write_waits_for_somebody_who_makes_the_file_just_now(tmp_path: Path) -> None:
    # While another connection is about to write, SQLite refuses to change to its write-ahead log without waiting.
    file = tmp_path / "repo.db"
    other = sqlite3.connect(file, isolation_level=None, check_same_thread=False)
    other.execute("CREATE TABLE unrelated (name)")
    other.execute("BEGIN IMMEDIATE")
    commit = threading.Timer(0.2, lambda: other.execute("COMMIT"))
    commit.start()
    icechunk.Repository.create(sqlite_storage(file))
    commit.join()
    other.close()
    assert icechunk.Repository.exists(sqlite_storage(file))


def test_the_plugin_is_found_and_can_be_switched_off() -> None:
    def report(**environment: str) -> str:
        run = [sys.executable, "-m", "icechunk.plugins"]
        return subprocess.run(
            run, env={**os.environ, **environment}, capture_output=True, text=True, check=True
        ).stdout

    assert "storage of kind `sqlite`: `sqlite` (icechunk-sqlite 0.1.0)" in report()
    assert "disabled: `sqlite`" in report(ICECHUNK_DISABLED_PLUGINS="sqlite")


def test_sqlite_itself_is_loaded_by_the_first_use_only() -> None:
    code = (
        "import sys, icechunk_sqlite\n"
        "from icechunk.plugins.registry import report\n"
        "icechunk_sqlite.sqlite_storage('x.db'), report()\n"
        "assert 'icechunk_sqlite.plugin' in sys.modules and 'icechunk_sqlite.backend' not in sys.modules"
    )
    subprocess.run([sys.executable, "-c", code], check=True)

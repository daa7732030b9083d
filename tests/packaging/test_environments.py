"""What happens in a user's environment: types, and a second owner of the import package."""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.packaging.conftest import Environment, run

MakeEnvironment = Callable[[str], Environment]

USER_SCRIPT = '''\
"""A user's program."""

import asyncio
from datetime import UTC, datetime

import icechunk
import zarr
from icechunk import IcechunkStore, Repository, RepositoryConfig, Session, SnapshotInfo, local_filesystem_storage
from icechunk.xarray import to_icechunk


def run(path: str) -> str:
    config = RepositoryConfig(inline_chunk_threshold_bytes=12)
    repo: Repository = Repository.open_or_create(local_filesystem_storage(path), config=config)
    session: Session = repo.writable_session("main")
    store: IcechunkStore = session.store
    zarr.create_group(store)
    snapshot_id: str = session.commit("first", metadata={"n": 1})
    history: list[SnapshotInfo] = list(repo.ancestry(branch="main"))
    when: datetime = history[0].written_at
    branches: set[str] = repo.list_branches()
    with repo.transaction("main", message="second") as again:
        zarr.open_group(again).attrs["x"] = 1
    try:
        repo.lookup_tag("none")
    except icechunk.RefNotFoundError as error:
        kind: str = error.kind
        print(kind, when < datetime.now(UTC), branches)
    return snapshot_id


async def run_async(path: str) -> str:
    repo = await Repository.open_async(local_filesystem_storage(path))
    session = await repo.writable_session_async("main")
    return await session.commit_async("third", allow_empty=True)


if __name__ == "__main__":
    print(run("/tmp/x"), asyncio.run(run_async("/tmp/x")), to_icechunk)
'''

# Each line has one mistake, which real types show.
MISTAKES = """\
import icechunk
repo = icechunk.Repository.open(3)
repo.lookup_branch(b"main")
repo.writable_session("main").commit(message=1)
number: int = repo.writable_session("main").commit("x")
repo.no_such_method()
icechunk.RepositoryConfig(inline_chunk_threshold_bytes="many")
icechunk.local_filesystem_storage(path=None)
"""


def test_mypy_strict_sees_real_types_in_a_users_script(
    wheels: Path, make_environment: MakeEnvironment, tmp_path: Path
) -> None:
    environment = make_environment("user")
    environment.install("--find-links", wheels, "icechunk-core[xarray]", "mypy>=2.0")
    script, mistakes = tmp_path / "script.py", tmp_path / "mistakes.py"
    script.write_text(USER_SCRIPT)
    mistakes.write_text(MISTAKES)
    mypy = [environment.python, "-m", "mypy", "--strict", "--cache-dir", tmp_path / "cache"]

    run(*mypy, script)

    found = run(*mypy, mistakes, check=False).stdout
    wrong_lines = {int(line.split(":")[1]) for line in found.splitlines() if ": error:" in line}
    assert wrong_lines == set(range(2, 9)), found


@pytest.mark.skipif(sys.version_info < (3, 12), reason="PyPI's icechunk has no wheel for Python 3.11")
@pytest.mark.parametrize("ours_first", [True, False], ids=["ours-first", "theirs-first"])
def test_a_second_owner_of_the_import_package_is_noticed(
    wheels: Path, make_environment: MakeEnvironment, ours_first: bool
) -> None:
    environment = make_environment("shared")
    ours = ("--find-links", wheels, "icechunk-core")
    theirs = ("icechunk==2.3.0",)
    # The one that comes last overwrites the files of the other: as long as ours are on top, it is we who can speak up.
    for arguments in (
        (theirs, ours) if not ours_first else (ours, theirs, ("--reinstall-package", "icechunk-core", *ours))
    ):
        environment.install(*arguments)
    refused = environment.execute("import icechunk")
    assert refused.returncode != 0
    message = refused.stderr.strip()
    assert "ImportError" in message
    assert "pip uninstall" in message
    assert "icechunk-core" in message

    environment.remove("icechunk")
    environment.install("--reinstall-package", "icechunk-core", *ours)
    assert environment.execute("import icechunk; icechunk.Repository").returncode == 0


def test_importing_icechunk_alone_says_nothing(wheels: Path, make_environment: MakeEnvironment) -> None:
    environment = make_environment("alone")
    environment.install("--find-links", wheels, "icechunk-core")
    done = run(environment.python, "-W", "error", "-c", "import icechunk; print(icechunk.__version__)")
    assert done.stderr == ""

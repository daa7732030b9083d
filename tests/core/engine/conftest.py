from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

import icechunk
from icechunk import Repository, Storage


@pytest.fixture(params=[2, 1], ids=["spec 2", "spec 1"])
def spec_version(request: pytest.FixtureRequest) -> int:
    version: int = request.param
    return version


@pytest.fixture(params=["memory", "local"])
def storage(request: pytest.FixtureRequest, tmp_path: Path) -> Storage:
    if request.param == "memory":
        return icechunk.in_memory_storage()
    return icechunk.local_filesystem_storage(str(tmp_path / "repo"))


@pytest.fixture
def local_storage(tmp_path: Path) -> Storage:
    return icechunk.local_filesystem_storage(str(tmp_path / "repo"))


@pytest.fixture
def repo(storage: Storage, spec_version: int) -> Repository:
    return Repository.create(storage, spec_version=spec_version)


@pytest.fixture
def raises(spec_version: int) -> Callable[..., object]:
    """As `pytest.raises`, with the kind and the beginning of the message."""

    def check(error: type[Exception], kind: str, message: str) -> object:
        def matches(raised: BaseException) -> bool:
            assert raised.kind == kind  # type: ignore[attr-defined]
            assert str(raised).startswith(message), str(raised)
            return True

        return pytest.raises(error, check=matches)

    return check

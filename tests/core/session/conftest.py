"""Repositories with a little in them, on both versions of the format."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from icechunk import Repository, Storage, in_memory_storage
from tests.core.session.helpers import fill


@pytest.fixture(params=[1, 2], ids=["spec1", "spec2"])
def spec_version(request: pytest.FixtureRequest) -> int:
    return int(request.param)


@pytest.fixture
def storage() -> Storage:
    return in_memory_storage()


@pytest.fixture
def repo(storage: Storage, spec_version: int) -> Repository:
    return fill(Repository.create(storage, spec_version=spec_version))


@pytest.fixture
def repo2(storage: Storage) -> Repository:
    """As `repo`, for what only spec 2 has."""
    return fill(Repository.create(storage))


@pytest.fixture
def refused() -> Callable[..., object]:
    """As `pytest.raises`, with the kind and the beginning of the message."""

    def check(error: type[Exception], kind: str, message: str) -> object:
        def matches(raised: BaseException) -> bool:
            assert type(raised) is error
            assert raised.kind == kind  # type: ignore[attr-defined]
            assert str(raised).startswith(message), str(raised)
            return True

        return pytest.raises(error, check=matches)

    return check

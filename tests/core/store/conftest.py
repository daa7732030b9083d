"""Repositories and sessions in memory, on both versions of the format."""

from __future__ import annotations

import pytest

from icechunk import Repository, Session, in_memory_storage


@pytest.fixture(params=[1, 2], ids=["spec1", "spec2"])
def spec_version(request: pytest.FixtureRequest) -> int:
    return int(request.param)


@pytest.fixture
def repository(spec_version: int) -> Repository:
    return Repository.create(in_memory_storage(), spec_version=spec_version)


@pytest.fixture
def session(repository: Repository) -> Session:
    return repository.writable_session("main")

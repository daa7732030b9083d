"""In-memory storage: the contract, and what is its own."""

from __future__ import annotations

import pickle

import pytest

from icechunk.plugins.registry import connect
from icechunk.storage import Storage, in_memory_storage
from icechunk.testing.conformance import StorageConformance


class TestMemory(StorageConformance):
    @pytest.fixture
    def storage(self) -> Storage:
        return in_memory_storage()


def test_two_memories_are_two() -> None:
    first, second = in_memory_storage(), in_memory_storage()
    connect(first.location).put("repo", b"x")
    assert first != second
    assert first.list_objects() == [("repo", 1)]
    assert second.list_objects() == []


def test_memory_arrives_empty_in_another_process() -> None:
    storage = in_memory_storage()
    connect(storage.location).put("repo", b"x")
    arrived = pickle.loads(pickle.dumps(storage))
    assert arrived.list_objects() == []
    assert arrived != storage


def test_memory_shows_itself() -> None:
    assert str(in_memory_storage()) == "<icechunk.Storage>\ntype: in-memory\n"

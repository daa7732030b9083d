"""Zarr's state machines: a store against an in-memory model, through random hierarchies and keys.

`ZarrHierarchyStateMachine` runs unchanged. `ZarrStoreStateMachine` draws keys and bodies at random, and
Icechunk can hold hierarchies only: here they are drawn from legal ones. The model and the invariants
are zarr's.
"""

from __future__ import annotations

import json
import re
from typing import TYPE_CHECKING, Any

import hypothesis.strategies as st
import pytest
from hypothesis import Phase, assume, note, settings
from hypothesis.stateful import precondition, rule, run_state_machine_as_test
from zarr.core.buffer import cpu
from zarr.testing.stateful import ZarrHierarchyStateMachine, ZarrStoreStateMachine

from icechunk.repository import Repository
from icechunk.storage import in_memory_storage

if TYPE_CHECKING:
    from hypothesis.strategies import DataObject

    from icechunk.store import IcechunkStore

# `c` and `zarr.json` are names like any other, and easily taken for something else.
PATHS = ["", "a", "a/b", "a/c", "a-b", "c", "zarr.json"]


def key_of(path: str, rest: str) -> str:
    return f"{path}/{rest}" if path else rest


legal_paths = st.sampled_from(PATHS)
document_keys = legal_paths.map(lambda path: key_of(path, "zarr.json"))
chunk_keys = st.builds(
    lambda path, coords: key_of(path, "/".join(["c", *map(str, coords)])),
    legal_paths,
    st.lists(st.integers(0, 2), max_size=2),
)


def new_store(spec_version: int) -> IcechunkStore:
    repository = Repository.create(in_memory_storage(), spec_version=spec_version)
    return repository.writable_session("main").store


def group_document(attribute: int) -> bytes:
    return json.dumps({"zarr_format": 3, "node_type": "group", "attributes": {"n": attribute}}).encode()


def array_document(shape: list[int], attribute: int) -> bytes:
    grid = {"name": "regular", "configuration": {"chunk_shape": [1] * len(shape)}}
    return json.dumps(
        {
            "zarr_format": 3,
            "node_type": "array",
            "shape": shape,
            "chunk_grid": grid,
            "attributes": {"n": attribute},
        }
    ).encode()


class LegalKeysStateMachine(ZarrStoreStateMachine):
    """Zarr's machine, with keys and bodies that a hierarchy can have."""

    def node_type(self, path: str) -> str | None:
        document = self.model.get(key_of(path, "zarr.json"))
        return None if document is None else str(json.loads(document.to_bytes())["node_type"])

    def below(self, path: str) -> list[str]:
        """Return the keys that go when the node at `path` goes: of an array, its chunks only."""
        own, head = key_of(path, "zarr.json"), key_of(path, "")
        keys = [key for key in self.model if key != own and key.startswith(head)]
        if self.node_type(path) == "array":
            return [key for key in keys if re.fullmatch("c(/[0-9]+)*", key.removeprefix(head))]
        return keys

    def put(self, key: str, data: bytes) -> None:
        note(f"(set) Setting {key!r} with {data!r}")
        value = cpu.Buffer.from_bytes(data)
        self.store.set(key, value)
        self.model[key] = value

    @rule(path=legal_paths, attribute=st.integers(0, 3))
    def set_group(self, path: str, attribute: int) -> None:
        assume(self.node_type(path) != "array")
        self.put(key_of(path, "zarr.json"), group_document(attribute))

    @rule(path=legal_paths, ndim=st.integers(0, 2), attribute=st.integers(0, 3))
    def set_array(self, path: str, ndim: int, attribute: int) -> None:
        assume(self.node_type(path) != "group")
        old = self.model.get(key_of(path, "zarr.json"))
        if old is not None:
            # Another shape would take chunks out of the grid, which zarr deletes first.
            ndim = len(json.loads(old.to_bytes())["shape"])
        self.put(key_of(path, "zarr.json"), array_document([3] * ndim, attribute))

    @precondition(lambda self: any(self.node_type(path) == "array" for path in PATHS))
    @rule(data=st.data(), value=st.binary(min_size=1, max_size=600))
    def set(self, data: DataObject, value: bytes) -> None:
        arrays = [path for path in PATHS if self.node_type(path) == "array"]
        path = data.draw(st.sampled_from(arrays))
        ndim = len(json.loads(self.model[key_of(path, "zarr.json")].to_bytes())["shape"])
        coords = data.draw(st.lists(st.integers(0, 2), min_size=ndim, max_size=ndim))
        self.put(key_of(path, "/".join(["c", *map(str, coords)])), value)

    @precondition(lambda self: len(self.model) > 0)
    @rule(data=st.data())
    def delete(self, data: DataObject) -> None:
        key = data.draw(st.sampled_from(sorted(self.model)))
        note(f"(delete) Deleting {key=}")
        self.store.delete(key)
        path, _, last = key.rpartition("/")
        # The document is the node: what is below it goes, too.
        for gone in [key, *(self.below(path) if last == "zarr.json" else [])]:
            del self.model[gone]

    @rule(key=document_keys | chunk_keys, data=st.data())
    def get_invalid_zarr_keys(self, key: str, data: DataObject) -> None:
        assume(key not in self.model)
        assume(not self.is_chunk_of_group(key))
        assert self.store.get(key, self.prototype) is None

    @rule(key=document_keys | chunk_keys)
    def exists(self, key: str) -> None:
        assume(not self.is_chunk_of_group(key))
        assert self.store.exists(key) == (key in self.model)

    def is_chunk_of_group(self, key: str) -> bool:
        head, found, _ = f"/{key}/".rpartition("/c/")
        return bool(found) and not key.endswith("zarr.json") and self.node_type(head[1:]) == "group"


SETTINGS = settings(max_examples=25, stateful_step_count=30, deadline=None, phases=tuple(Phase)[:4])


@pytest.mark.parametrize("spec_version", [1, 2])
def test_zarrs_store_state_machine(spec_version: int) -> None:
    def machine() -> Any:
        return LegalKeysStateMachine(new_store(spec_version))

    run_state_machine_as_test(machine, settings=SETTINGS)


@pytest.mark.parametrize("spec_version", [1, 2])
def test_zarrs_hierarchy_state_machine(spec_version: int) -> None:
    def machine() -> Any:
        return ZarrHierarchyStateMachine(new_store(spec_version))

    run_state_machine_as_test(machine, settings=SETTINGS)

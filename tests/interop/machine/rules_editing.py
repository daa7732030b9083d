"""Rules that change what is in a session."""

from __future__ import annotations

from hypothesis import strategies as st
from hypothesis.stateful import precondition, rule

from tests.interop.machine.state import MachineState
from tests.interop.machine.vocabulary import (
    GRIDS,
    SIZES,
    array_document,
    chunk_key,
    group_document,
    indices,
    indices_to_delete,
    key_of,
    numbers,
    shapes_like,
)

has_session = precondition(lambda self: bool(self.sessions))


class Edits(MachineState):
    """One change of a session each; other rules have a use for them too."""

    def edit_group(self, data: st.DataObject, slot: str, number: int) -> None:
        path = data.draw(st.sampled_from(self.places(slot, "group")), "path")
        self.session_step("set", slot, key=key_of(path), document=group_document(number))

    def edit_array(self, data: st.DataObject, slot: str, number: int) -> None:
        path = data.draw(st.sampled_from(self.places(slot, "array")), "path")
        grid = data.draw(st.sampled_from(GRIDS), "grid")
        if self.num_dimensions(slot, path) not in {None, len(grid[0])}:
            # As Zarr does it. Setting it as it is: decision 0001, 2.
            self.session_step("delete", slot, key=key_of(path))
        document = array_document(grid, number, named=data.draw(st.booleans(), "named"))
        self.session_step("set", slot, key=key_of(path), document=document)

    def edit_attributes(self, data: st.DataObject, slot: str, number: int) -> None:
        path = self.draw_path(data, slot)
        self.session_step("edit", slot, key=key_of(path), changes={"attributes": {"n": number}})

    def edit_shape(self, data: st.DataObject, slot: str, _number: int) -> None:
        path = self.draw_path(data, slot, "array")
        node = self.sessions[slot]["nodes"].get("/" + path, {})
        shape = data.draw(shapes_like(node.get("shape", [1])), "shape")
        self.session_step("edit", slot, key=key_of(path), changes={"shape": shape})

    def edit_chunk(self, data: st.DataObject, slot: str, value: int) -> None:
        path = self.draw_path(data, slot, "array")
        index = data.draw(indices(self.num_chunks(slot, path)), "index")
        size = data.draw(st.sampled_from(SIZES), "size")
        self.session_step("set_chunk", slot, key=chunk_key(path, index), size=size, value=value)

    def edit_by_deleting(self, data: st.DataObject, slot: str, number: int) -> None:
        if number == 1:
            self.session_step("delete", slot, key=key_of(self.draw_path(data, slot)))
        else:
            path = self.draw_path(data, slot, "array")
            index = data.draw(indices_to_delete(self.num_chunks(slot, path), beyond=1), "index")
            self.session_step("delete", slot, key=chunk_key(path, index))


class EditingRules(Edits):
    """Nodes, chunks, attributes, resizes and deletes."""

    @has_session
    @rule(data=st.data(), number=numbers)
    def set_group(self, data: st.DataObject, number: int) -> None:
        self.edit_group(data, self.draw_slot(data), number)

    @has_session
    @rule(data=st.data(), number=numbers)
    def set_array(self, data: st.DataObject, number: int) -> None:
        self.edit_array(data, self.draw_slot(data), number)

    @has_session
    @rule(data=st.data(), number=numbers)
    def set_attributes(self, data: st.DataObject, number: int) -> None:
        self.edit_attributes(data, self.draw_slot(data), number)

    @has_session
    @rule(data=st.data())
    def resize(self, data: st.DataObject) -> None:
        self.edit_shape(data, self.draw_slot(data), 0)

    @has_session
    @rule(data=st.data(), names=st.sampled_from([["x"], ["x", "y"], [None, "y"]]))
    def set_dimension_names(self, data: st.DataObject, names: list[str | None]) -> None:
        slot = self.draw_slot(data)
        path = self.draw_path(data, slot, "array")
        self.session_step("edit", slot, key=key_of(path), changes={"dimension_names": names})

    @has_session
    @rule(data=st.data(), value=numbers, count=st.integers(1, 4))
    def set_chunks(self, data: st.DataObject, value: int, count: int) -> None:
        slot = self.draw_slot(data)
        for _ in range(count):
            if slot in self.sessions:
                self.edit_chunk(data, slot, value)

    @has_session
    @rule(data=st.data(), value=numbers, beyond=st.integers(0, 2))
    def set_chunk_if_new(self, data: st.DataObject, value: int, beyond: int) -> None:
        slot = self.draw_slot(data)
        path = self.draw_path(data, slot, "array")
        index = data.draw(indices(self.num_chunks(slot, path), beyond=beyond), "index")
        self.session_step("set_chunk", slot, key=chunk_key(path, index), size=3, value=value, only_new=True)

    @has_session
    @rule(data=st.data(), what=st.sampled_from([2, 1]))
    def delete(self, data: st.DataObject, what: int) -> None:
        self.edit_by_deleting(data, self.draw_slot(data), what)

    @has_session
    @rule(data=st.data(), inside=st.sampled_from(["", "c", "c/0", "c/1"]))
    def delete_dir(self, data: st.DataObject, inside: str) -> None:
        slot = self.draw_slot(data)
        path = self.draw_path(data, slot)
        self.session_step("delete_dir", slot, prefix=key_of(path, inside).rstrip("/"))

    @has_session
    @rule(data=st.data())
    def discard(self, data: st.DataObject) -> None:
        self.session_step("discard", self.draw_slot(data))

"""Rules of sessions that move nodes, of moving chunks within an array, and of snapshots off the branch."""

from __future__ import annotations

from typing import Any

from hypothesis import strategies as st
from hypothesis.stateful import precondition, rule

from tests.interop.machine.rules_conflicts import ConflictRules
from tests.interop.machine.rules_editing import has_session
from tests.interop.machine.rules_history import mostly_spec_2
from tests.interop.machine.rules_sessions import messages, metadata, slots
from tests.interop.machine.vocabulary import METADATA, PATHS, SESSIONS, SOLVERS, indices

can_move = precondition(lambda self: any(s["mode"] == "rearrange" for s in self.sessions.values()))


class RearrangingRules(ConflictRules):
    """Moves, shifts, reindexing, amends and flushes."""

    @mostly_spec_2
    @has_session
    @rule(data=st.data(), message=messages, metadata=metadata, allow_empty=st.booleans())
    def amend(self, data: st.DataObject, message: str, metadata: Any, allow_empty: bool) -> None:
        slot = self.draw_slot(data)
        self.snapshot_step("amend", slot, message=message, metadata=metadata, allow_empty=allow_empty)

    @has_session
    @rule(data=st.data(), message=messages, metadata=metadata)
    def flush(self, data: st.DataObject, message: str, metadata: Any) -> None:
        self.snapshot_step("flush", self.draw_slot(data), message=message, metadata=metadata)

    @rule(metadata=st.sampled_from(METADATA[1:]))
    def set_default_commit_metadata(self, metadata: dict[str, Any]) -> None:
        self.step("default_commit_metadata", metadata=metadata)

    @mostly_spec_2
    @rule(data=st.data(), slot=slots)
    def open_rearrange(self, data: st.DataObject, slot: str) -> None:
        self.open_slot(slot, "rearrange", branch=self.draw_branch(data))

    @mostly_spec_2
    @has_session
    @rule(data=st.data())
    def move_anywhere(self, data: st.DataObject) -> None:
        self.move_node(data, self.draw_slot(data))

    @can_move
    @rule(data=st.data(), times=st.integers(1, 3))
    def move(self, data: st.DataObject, times: int) -> None:
        among = [slot for slot in SESSIONS if self.sessions.get(slot, {}).get("mode") == "rearrange"]
        slot = data.draw(st.sampled_from(among), "slot")
        for _ in range(times):
            self.move_node(data, slot)

    @precondition(lambda self: self.spec_version == 2)
    @rule(data=st.data(), solver=st.sampled_from(SOLVERS), first_moves=st.booleans())
    def race_of_a_move(self, data: st.DataObject, solver: list[Any], first_moves: bool) -> None:
        """Let a move meet other changes, or other changes a move."""
        branch = data.draw(st.sampled_from(list(self.history["branches"]) or ["main"]), "branch")
        mover, editor = ("0", "1") if first_moves else ("1", "0")
        self.open_slot(mover, "rearrange", branch=branch)
        self.open_slot(editor, "writable", branch=branch)
        for slot in (mover, editor):
            if slot not in self.sessions:
                return
        self.move_node(data, mover)
        self.random_edits(data, editor)
        for slot in ("0", "1"):
            if slot in self.sessions:
                with_solver = solver if slot == "1" else None
                self.snapshot_step("commit", slot, message="moved", solver=with_solver, allow_empty=True)

    def move_node(self, data: st.DataObject, slot: str) -> None:
        sources = [path for path in self.nodes(slot) if path]
        if not sources or data.draw(st.integers(0, 7), "any path if 7") == 7:
            sources = PATHS
        source = data.draw(st.sampled_from(sources), "source")
        parents = ["", *self.nodes(slot, "group"), *self.nodes(slot, "group"), *PATHS]
        parent = data.draw(st.sampled_from(parents), "parent")
        name = data.draw(st.sampled_from(["m", "n", "a"]), "name")
        target = f"/{parent}/{name}" if parent else f"/{name}"
        self.session_step("move", slot, source="/" + source, target=target)

    @has_session
    @rule(data=st.data())
    def shift(self, data: st.DataObject) -> None:
        slot = self.draw_slot(data)
        path = self.draw_path(data, slot, "array")
        grid = self.num_chunks(slot, path)
        # Chunk 0 of nothing, which the reference has, is moved too: decision 0001, 2.
        if 0 in grid:
            return
        num_dimensions = len(grid)
        offsets = st.lists(st.integers(-2, 2), min_size=num_dimensions, max_size=num_dimensions)
        self.session_step("shift", slot, path="/" + path, offset=data.draw(offsets, "offset"))

    @has_session
    @rule(data=st.data(), backward=st.sampled_from(["none", "inverse", "drawn"]))
    def reindex(self, data: st.DataObject, backward: str) -> None:
        slot = self.draw_slot(data)
        path = self.draw_path(data, slot, "array")
        grid = self.num_chunks(slot, path)
        if 0 in grid:
            return
        # Seldom out of the grid.
        beyond = int(data.draw(st.integers(0, 9), "beyond if 9") == 9)
        pairs = st.lists(
            st.tuples(indices(grid), indices(grid, beyond=beyond)).map(list),
            max_size=3,
            unique_by=(lambda pair: tuple(pair[0]), lambda pair: tuple(pair[1])),
        )
        forward = data.draw(pairs, "forward")
        back = None
        if backward == "inverse":
            back = [pair[::-1] for pair in forward]
        elif backward == "drawn":
            back = data.draw(pairs, "backward")
        self.session_step("reindex", slot, path="/" + path, forward=forward, backward=back)

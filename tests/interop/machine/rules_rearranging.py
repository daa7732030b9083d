"""Rules of sessions that move nodes, of moving chunks within an array, and of snapshots off the branch."""

from __future__ import annotations

from typing import Any

from hypothesis import strategies as st
from hypothesis.stateful import precondition, rule

from tests.interop.machine.rules_conflicts import ConflictRules
from tests.interop.machine.rules_editing import has_session
from tests.interop.machine.rules_sessions import messages, metadata, slots
from tests.interop.machine.vocabulary import METADATA, PATHS, SESSIONS, SOLVERS

can_move = precondition(lambda self: any(s["mode"] == "rearrange" for s in self.sessions.values()))


class RearrangingRules(ConflictRules):
    """Moves, shifts, reindexing, amends and flushes."""

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

    @rule(data=st.data(), slot=slots)
    def open_rearrange(self, data: st.DataObject, slot: str) -> None:
        self.open_slot(slot, "rearrange", branch=self.draw_branch(data))

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
        source = self.draw_path(data, slot)
        parent = data.draw(st.sampled_from([*self.nodes(slot, "group"), *PATHS]), "parent")
        name = data.draw(st.sampled_from(["m", "n", "a"]), "name")
        target = f"/{parent}/{name}" if parent else f"/{name}"
        self.session_step("move", slot, source="/" + source, target=target)

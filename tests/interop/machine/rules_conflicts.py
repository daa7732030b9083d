"""Rules in which sessions race, and the slower one goes over what the faster one has committed."""

from __future__ import annotations

from typing import Any

from hypothesis import strategies as st
from hypothesis.stateful import rule

from tests.interop.machine.rules_editing import has_session
from tests.interop.machine.rules_history import HistoryRules
from tests.interop.machine.vocabulary import SOLVERS

solvers = st.sampled_from(SOLVERS)


class ConflictRules(HistoryRules):
    """Rebases, commits that rebase, and races that are made to need them."""

    @has_session
    @rule(data=st.data(), solver=solvers)
    def rebase(self, data: st.DataObject, solver: list[Any]) -> None:
        self.step("rebase", slot=self.draw_slot(data, forks=False), solver=solver)

    @has_session
    @rule(data=st.data(), solver=solvers, tries=st.integers(0, 3), allow_empty=st.booleans())
    def commit_with_rebase(
        self, data: st.DataObject, solver: list[Any], tries: int, allow_empty: bool
    ) -> None:
        slot = self.draw_slot(data)
        self.snapshot_step(
            "commit", slot, message="rebased", solver=solver, tries=tries, allow_empty=allow_empty
        )

    @rule(data=st.data(), solver=solvers, at_once=st.booleans(), commits=st.integers(1, 2))
    def race(self, data: st.DataObject, solver: list[Any], at_once: bool, commits: int) -> None:
        """Let two sessions begin at one snapshot, and the second come to its commit too late."""
        branch = data.draw(st.sampled_from(list(self.history["branches"]) or ["main"]), "branch")
        first, second = "0", "1"
        self.open_slot(second, "writable", branch=branch)
        for _ in range(commits):
            self.open_slot(first, "writable", branch=branch)
            self.random_edits(data, first)
            if first in self.sessions:
                self.snapshot_step("commit", first, message="faster", allow_empty=True)
        self.random_edits(data, second)
        if second not in self.sessions:
            return
        if not at_once:
            self.step("rebase", slot=second, solver=solver)
        if second in self.sessions:
            with_solver = solver if at_once else None
            self.snapshot_step("commit", second, message="slower", solver=with_solver, allow_empty=True)

    def random_edits(self, data: st.DataObject, slot: str) -> None:
        """Change a few things; what, is drawn."""
        edits = [
            self.edit_chunk,
            self.edit_attributes,
            self.edit_shape,
            self.edit_group,
            self.edit_array,
            self.edit_by_deleting,
        ]
        for number in range(data.draw(st.integers(1, 3), "number of edits")):
            if slot in self.sessions:
                data.draw(st.sampled_from(edits), "edit")(data, slot, number + 1)

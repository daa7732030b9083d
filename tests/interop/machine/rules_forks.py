"""Rules that fork sessions, send them away, and merge what comes back."""

from __future__ import annotations

from hypothesis import strategies as st
from hypothesis.stateful import precondition, rule

from tests.interop.machine.rules_editing import has_session
from tests.interop.machine.rules_rearranging import RearrangingRules
from tests.interop.machine.vocabulary import FORKS

has_fork = precondition(lambda self: any(slot in self.sessions for slot in FORKS))


class ForkRules(RearrangingRules):
    """Forks, which the rules that edit take for sessions too."""

    @has_session
    @rule(data=st.data(), into=st.sampled_from(FORKS))
    def fork(self, data: st.DataObject, into: str) -> None:
        slot = self.draw_slot(data)
        if "ok" in self.step("fork", slot=slot, into=into):
            self._look_at_session(into)

    @rule(data=st.data(), edited_first=st.booleans(), pickled=st.booleans())
    def fork_and_merge(self, data: st.DataObject, edited_first: bool, pickled: bool) -> None:
        """Let two forks and their parent change things, and bring them together."""
        slot = self.draw_slot(data, forks=False)
        if edited_first:
            self.random_edits(data, slot)
        for into in FORKS:
            if slot in self.sessions and "ok" in self.step("fork", slot=slot, into=into):
                self._look_at_session(into)
        for each in (*FORKS, slot):
            if each in self.sessions:
                self.random_edits(data, each)
        forks = self.slots(only_forks=True)
        if pickled:
            for each in forks:
                self.session_step("pickle", each)
        if slot in self.sessions and forks:
            self.step("merge", slot=slot, others=forks)
        if slot in self.sessions:
            self.snapshot_step("commit", slot, message="merged")

    @has_session
    @rule(data=st.data())
    def pickle(self, data: st.DataObject) -> None:
        slot = data.draw(st.sampled_from(sorted(self.sessions, reverse=True)), "slot")
        self.session_step("pickle", slot)

    @has_fork
    @rule(data=st.data())
    def edit_forks(self, data: st.DataObject) -> None:
        for slot in self.slots(only_forks=True):
            self.random_edits(data, slot)

    @has_fork
    @rule(data=st.data())
    def merge(self, data: st.DataObject) -> None:
        slot = self.draw_slot(data)
        among = [other for other in sorted(self.sessions, reverse=True) if other != slot]
        if among:
            others = data.draw(
                st.lists(st.sampled_from(among), min_size=1, max_size=2, unique=True), "others"
            )
            self.step("merge", slot=slot, others=others)

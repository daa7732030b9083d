"""Rules that open sessions and make snapshots of them."""

from __future__ import annotations

from typing import Any

from hypothesis import strategies as st
from hypothesis.stateful import precondition, rule

from tests.interop.machine.rules_editing import EditingRules, has_session
from tests.interop.machine.vocabulary import BRANCHES, METADATA, SESSIONS

slots = st.sampled_from(SESSIONS)
messages = st.sampled_from(["one", "two", ""])
metadata = st.sampled_from(METADATA)


class SessionRules(EditingRules):
    """Opening, committing, and looking at what was."""

    def draw_branch(self, data: st.DataObject) -> str:
        """A branch, or, seldom, one that is not there."""
        branches = list(self.history["branches"])
        if data.draw(st.integers(0, 9), "any branch if 9") < 9:
            return str(data.draw(st.sampled_from(branches), "branch"))
        return str(data.draw(st.sampled_from([*BRANCHES, "", "a/b"]), "branch"))

    @rule(data=st.data(), slot=slots)
    def open_writable(self, data: st.DataObject, slot: str) -> None:
        self.open_slot(slot, "writable", branch=self.draw_branch(data))

    @precondition(lambda self: len(self.snapshots) > 1)
    @rule(data=st.data(), slot=slots, by=st.sampled_from(["branch", "tag", "snapshot", "as_of"]))
    def open_readonly(self, data: st.DataObject, slot: str, by: str) -> None:
        which: dict[str, Any]
        if by == "branch":
            which = {"branch": self.draw_branch(data)}
        elif by == "tag":
            which = {"tag": data.draw(st.sampled_from([*self.history["tags"], "t1"]), "tag")}
        elif by == "snapshot":
            which = {"snapshot": self.draw_snapshot(data)}
        else:
            which = {"branch": self.draw_branch(data), "as_of": self.draw_snapshot(data)}
        self.open_slot(slot, "readonly", **which)

    @has_session
    @rule(data=st.data(), message=messages, metadata=metadata, allow_empty=st.booleans())
    def commit(self, data: st.DataObject, message: str, metadata: Any, allow_empty: bool) -> None:
        slot = self.draw_slot(data)
        self.snapshot_step("commit", slot, message=message, metadata=metadata, allow_empty=allow_empty)

    @precondition(lambda self: len(self.sessions) > 1)
    @rule(data=st.data())
    def close(self, data: st.DataObject) -> None:
        slot = data.draw(st.sampled_from(sorted(self.sessions)), "slot")
        self.pair.both("close", slot=slot)
        del self.sessions[slot]

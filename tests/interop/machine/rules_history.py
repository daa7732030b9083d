"""Rules that work on refs, and on the history of the whole repository."""

from __future__ import annotations

from typing import Any

from hypothesis import strategies as st
from hypothesis.stateful import precondition, rule

from tests.interop.machine.rules_sessions import SessionRules, metadata
from tests.interop.machine.vocabulary import BRANCHES, TAGS

# Spec 1 refuses all of these; to see that once in a while is enough.
mostly_spec_2 = precondition(lambda self: self.spec_version == 2 or len(self.snapshots) % 4 == 0)
branches = st.sampled_from([*BRANCHES, "a/b"])
tags = st.sampled_from(TAGS)


class HistoryRules(SessionRules):
    """Branches, tags, diffs, what a repository says about itself, and changing sides."""

    @rule(data=st.data(), name=branches)
    def create_branch(self, data: st.DataObject, name: str) -> None:
        self.step("create_branch", name=name, snapshot=self.draw_snapshot(data))

    @precondition(lambda self: len(self.snapshots) > 1)
    @rule(data=st.data(), guarded=st.booleans())
    def reset_branch(self, data: st.DataObject, guarded: bool) -> None:
        name = self.draw_branch(data)
        expected = self.draw_snapshot(data) if guarded else None
        self.step("reset_branch", name=name, snapshot=self.draw_snapshot(data), expected=expected)

    @precondition(lambda self: len(self.history["branches"]) > 1 or len(self.snapshots) % 5 == 0)
    @rule(data=st.data())
    def delete_branch(self, data: st.DataObject) -> None:
        others = [name for name in self.history["branches"] if name != "main"]
        self.step("delete_branch", name=data.draw(st.sampled_from([*others, *BRANCHES[::-1]]), "branch"))

    @rule(data=st.data(), name=tags)
    def create_tag(self, data: st.DataObject, name: str) -> None:
        self.step("create_tag", name=name, snapshot=self.draw_snapshot(data))

    @precondition(lambda self: self.history["tags"] or len(self.snapshots) % 5 == 0)
    @rule(name=tags)
    def delete_tag(self, name: str) -> None:
        self.step("delete_tag", name=name)

    @rule(data=st.data())
    def diff(self, data: st.DataObject) -> None:
        ends: dict[str, Any] = {}
        for end in ("from", "to"):
            by = data.draw(st.sampled_from(["snapshot", "branch", "tag"]), "by")
            if by == "snapshot":
                ends[f"{end}_snapshot"] = self.draw_snapshot(data)
            elif by == "branch":
                ends[f"{end}_branch"] = self.draw_branch(data)
            else:
                ends[f"{end}_tag"] = data.draw(st.sampled_from([*self.history["tags"], "t1"]), "tag")
        self.pair.both("diff", **ends)

    @mostly_spec_2
    @rule(metadata=metadata.filter(lambda m: m is not None), replaced=st.booleans())
    def change_metadata(self, metadata: dict[str, Any], replaced: bool) -> None:
        self.step("set_metadata" if replaced else "update_metadata", metadata=metadata)

    @mostly_spec_2
    @rule(
        name=st.sampled_from(["create_tag", "delete_tag", "move_node", "zz"]),
        # Seldom off: it would stay so.
        setting=st.sampled_from([None, True, None, True, False]),
    )
    def set_flag(self, name: str, setting: bool | None) -> None:
        self.step("set_flag", name=name, setting=setting)

    @mostly_spec_2
    @rule(data=st.data(), reason=st.sampled_from([None, "because"]), name=branches)
    def try_while_read_only(self, data: st.DataObject, reason: str | None, name: str) -> None:
        """Let the repository refuse something, and be writable again."""
        self.step("set_status", read_only=True, reason=reason)
        what = data.draw(st.sampled_from(["branch", "reset", "tag", "open", "commit", "metadata"]), "what")
        if what == "branch":
            self.step("create_branch", name=name, snapshot=self.draw_snapshot(data))
        elif what == "reset":
            self.step("reset_branch", name=name, snapshot=self.draw_snapshot(data))
        elif what == "tag":
            self.step("create_tag", name="t1", snapshot=self.draw_snapshot(data))
        elif what == "open":
            self.open_slot("0", "writable", branch="main")
        elif what == "metadata":
            self.step("set_metadata", metadata={})
        elif self.sessions:
            self.snapshot_step("commit", self.draw_slot(data), message="refused", allow_empty=True)
        self.step("set_status", read_only=False, reason=None)

    @precondition(lambda self: len(self.snapshots) > 2 and len(self.sessions) > 1)
    @rule()
    def change_sides(self) -> None:
        self.swap()

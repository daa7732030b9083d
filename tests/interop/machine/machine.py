"""The machine: all rules, and how a program begins."""

from __future__ import annotations

from hypothesis import strategies as st
from hypothesis.stateful import initialize

from tests.interop.machine.rules_forks import ForkRules
from tests.interop.machine.vocabulary import (
    INLINE_THRESHOLD,
    all_indices,
    array_document,
    chunk_key,
    group_document,
    key_of,
)


class Machine(ForkRules):
    """Drives a repository of ours and one of the reference's with one program."""

    @initialize(
        spec_version=st.sampled_from([2, 1, 2]),
        split=st.sampled_from([None, 2]),
        updates_per_file=st.sampled_from([None, 3]),
        furnished=st.sampled_from([True, True, False]),
    )
    def start(
        self, spec_version: int, split: int | None, updates_per_file: int | None, furnished: bool
    ) -> None:
        config = {"inline_threshold": INLINE_THRESHOLD, "split": split, "updates_per_file": updates_per_file}
        self.begin(spec_version=spec_version, config=config)
        if furnished:
            self.furnish()

    def furnish(self) -> None:
        """Commit a small tree, so that a program has something to work on."""
        slot = "0"
        self.open_slot(slot, "writable", branch="main")
        for path in ("", "g", "g/h"):
            self.pair.both("set", slot=slot, key=key_of(path), document=group_document(0))
        for path, shape, chunks in (("a", [4], [1]), ("g/a", [4, 3], [2, 1])):
            document = array_document((shape, chunks), 0, named=True)
            self.pair.both("set", slot=slot, key=key_of(path), document=document)
            for number, index in enumerate(all_indices([2, 1][: len(shape)])):
                size = 20 if number else 3
                key = chunk_key(path, index)
                self.pair.both("set_chunk", slot=slot, key=key, size=size, value=number + 1)
        self.snapshot_step("commit", slot, message="furnished")

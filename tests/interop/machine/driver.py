"""One repository under command: what `machine.py` tells both implementations to do.

A command is a JSON object, `{"do": "commit", "slot": "0", "label": "s3", ...}`, and so is its answer, `{"ok": ...}` or
`{"error": ...}`. Run as a script, this reads commands from its input, one a line, and is all that lives in the reference's
interpreter; the same class drives ours. Nothing but the public API, and nothing of ours, is used here.

Ids differ between two runs of one program. Commands and answers have labels instead: the command that makes a
snapshot says what to call it. Ids of nodes are numbered in the order in which they are seen.
"""

from __future__ import annotations

import asyncio
import json
import os
import pickle
import sys
from collections.abc import Callable, Coroutine
from inspect import signature
from pathlib import Path
from typing import Any, TypeVar

from zarr.core.buffer import default_buffer_prototype

import icechunk

if __name__ == "__main__":
    sys.path[:0] = [str(folder) for folder in Path(__file__).resolve().parents[:2]]
    from history_programs import appearance, inspect_everything
    from observing import Observer
else:
    from tests.interop.history_programs import appearance, inspect_everything
    from tests.interop.machine.observing import Observer

T = TypeVar("T")
Command = dict[str, Any]
Answer = dict[str, Any]

INITIAL = "1CECHNKREP0F1RSTCMT0"
PROTOTYPE = default_buffer_prototype()
# What a program may catch. An error is known by the first of its classes that is here.
CLASSES = {
    *(name for name in icechunk.__all__ if name.endswith("Error")),
    *("IcechunkError", "TypeError", "ValueError", "KeyError", "RuntimeError", "PanicException"),
}


class Driver:
    """The repository of the current program, its open sessions by slot, and its snapshots by label."""

    def __init__(self) -> None:
        self._loop = asyncio.new_event_loop()
        self.repo: Any = None
        self.path = ""
        self.labels: dict[str, str] = {}
        self.ids: dict[str, str] = {}
        self.slots: dict[str, Any] = {}
        self.nodes: dict[str, int] = {}
        self._observer = Observer(self)

    def run(self, command: Command) -> Answer:
        """Do it, and tell what came of it."""
        arguments = dict(command)
        method: Callable[..., Any] = getattr(self, "do_" + arguments.pop("do"))
        # A mistake of the test's own is no answer.
        signature(method).bind(**arguments)
        try:
            return {"ok": method(**arguments)}
        except (KeyboardInterrupt, SystemExit, AssertionError):
            raise
        except BaseException as error:  # a panic of the reference is no Exception
            return {"error": self._describe(error)}

    def close(self) -> None:
        self.repo = None
        self.slots.clear()
        self._loop.close()

    def wait(self, work: Coroutine[Any, Any, T]) -> T:
        return self._loop.run_until_complete(work)

    def label(self, id: str | None) -> str | None:
        return id if id is None else self.labels.get(id, "unknown")

    def _describe(self, error: BaseException) -> Answer:
        names = [cls.__name__ for cls in type(error).__mro__]
        kind = getattr(error, "kind", None)
        described: Answer = {
            "class": next((name for name in names if name in CLASSES), names[0]),
            "kind": kind and str(kind),
        }
        if isinstance(error, icechunk.RebaseFailedError):
            described["snapshot"] = self.label(error.snapshot)
            described["conflicts"] = sorted(
                [
                    repr(c.conflict_type),
                    c.path,
                    c.conflicted_chunks and [list(i) for i in c.conflicted_chunks],
                ]
                for c in error.conflicts
            )
        elif isinstance(error, icechunk.ConflictError):
            described["parents"] = [self.label(error.expected_parent), self.label(error.actual_parent)]
        described["text"] = str(error).partition("\n\ncontext")[0][:300]
        return described

    # -- the repository ---------------------------------------------------------------------------

    def do_create(self, path: str, spec_version: int, config: dict[str, Any]) -> None:
        self._forget()
        self.path = path
        self.repo = icechunk.Repository.create(
            icechunk.local_filesystem_storage(path), _config(**config), spec_version=spec_version
        )
        self._register("s0", INITIAL)

    def do_adopt(self, path: str, ids: dict[str, str]) -> None:
        """Go on with the repository that the other implementation has had."""
        self._forget()
        self.path = path
        self.repo = icechunk.Repository.open(icechunk.local_filesystem_storage(path))
        for label, id in ids.items():
            self._register(label, id)

    def do_hand_over(self) -> dict[str, Any]:
        return {"path": self.path, "ids": dict(self.ids)}

    def do_forget(self) -> None:
        self._forget()

    def _forget(self) -> None:
        self.repo = None
        for known in (self.slots, self.labels, self.ids, self.nodes):
            known.clear()

    def _register(self, label: str, id: str) -> str:
        self.labels[id] = label
        self.ids[label] = id
        return label

    # -- sessions ---------------------------------------------------------------------------------

    def do_open(
        self,
        slot: str,
        kind: str,
        branch: str | None = None,
        tag: str | None = None,
        snapshot: str | None = None,
        as_of: str | None = None,
    ) -> None:
        if kind == "writable":
            session = self.repo.writable_session(branch)
        elif kind == "rearrange":
            session = self.repo.rearrange_session(branch)
        else:
            when = as_of and self.repo.lookup_snapshot(self.ids[as_of]).written_at
            id = snapshot and self.ids[snapshot]
            session = self.repo.readonly_session(branch, tag=tag, snapshot_id=id, as_of=when)
        self.slots[slot] = session

    def do_close(self, slot: str) -> None:
        self.slots.pop(slot, None)

    def do_commit(
        self,
        slot: str,
        label: str,
        message: str,
        metadata: dict[str, Any] | None = None,
        solver: list[Any] | None = None,
        tries: int = 3,
        allow_empty: bool = False,
    ) -> str:
        rebase = {} if solver is None else {"rebase_with": _solver(solver), "rebase_tries": tries}
        id = self.slots[slot].commit(message, metadata, allow_empty=allow_empty, **rebase)
        return self._register(label, id)

    def do_amend(
        self,
        slot: str,
        label: str,
        message: str,
        metadata: dict[str, Any] | None = None,
        allow_empty: bool = False,
    ) -> str:
        id = self.slots[slot].amend(message, metadata=metadata, allow_empty=allow_empty)
        return self._register(label, id)

    def do_flush(self, slot: str, label: str, message: str, metadata: dict[str, Any] | None = None) -> str:
        return self._register(label, self.slots[slot].flush(message, metadata=metadata))

    def do_rebase(self, slot: str, solver: list[Any]) -> None:
        self.slots[slot].rebase(_solver(solver))

    def do_discard(self, slot: str) -> None:
        self.slots[slot].discard_changes()

    def do_fork(self, slot: str, into: str) -> None:
        self.slots[into] = self.slots[slot].fork()

    def do_pickle(self, slot: str) -> None:
        self.slots[slot] = pickle.loads(pickle.dumps(self.slots[slot]))

    def do_merge(self, slot: str, others: list[str]) -> None:
        self.slots[slot].merge(*(self.slots[other] for other in others))

    def do_move(self, slot: str, source: str, target: str) -> None:
        self.slots[slot].move(source, target)

    def do_shift(self, slot: str, path: str, offset: list[int]) -> None:
        assert self.slots[slot].shift_array(path, tuple(offset)) is None

    def do_reindex(
        self,
        slot: str,
        path: str,
        forward: list[list[list[int]]],
        backward: list[list[list[int]]] | None = None,
    ) -> None:
        """Move by tables: pairs of where from and where to. What is in none stays, or has no origin."""
        tables = [None if table is None else _by_table(table) for table in (forward, backward)]
        assert self.slots[slot].reindex_array(path, *tables) is None

    # -- edits ------------------------------------------------------------------------------------

    def do_set(self, slot: str, key: str, document: dict[str, Any]) -> None:
        self.wait(self.slots[slot].store.set(key, _buffer(json.dumps(document).encode())))

    def do_set_chunk(self, slot: str, key: str, size: int, value: int, only_new: bool = False) -> None:
        store = self.slots[slot].store
        set_ = store.set_if_not_exists if only_new else store.set
        self.wait(set_(key, _buffer(bytes([value]) * size)))

    def do_edit(self, slot: str, key: str, changes: dict[str, Any]) -> str:
        """Change a part of a `zarr.json`, if it is there."""
        store = self.slots[slot].store
        buffer = self.wait(store.get(key, PROTOTYPE))
        if buffer is None:
            return "missing"
        document = json.loads(buffer.to_bytes())
        if document["node_type"] == "group":
            changes = {name: value for name, value in changes.items() if name == "attributes"}
        if "shape" in changes and len(changes["shape"]) != len(document["shape"]):
            return "other dimensions"
        if "dimension_names" in changes and len(changes["dimension_names"]) != len(document["shape"]):
            return "other dimensions"
        self.wait(store.set(key, _buffer(json.dumps({**document, **changes}).encode())))
        return document["node_type"]

    def do_delete(self, slot: str, key: str) -> None:
        self.wait(self.slots[slot].store.delete(key))

    def do_delete_dir(self, slot: str, prefix: str) -> None:
        self.wait(self.slots[slot].store.delete_dir(prefix))

    def do_clear(self, slot: str) -> None:
        self.wait(self.slots[slot].store.clear())

    # -- refs and history -------------------------------------------------------------------------

    def do_create_branch(self, name: str, snapshot: str) -> None:
        self.repo.create_branch(name, self.ids[snapshot])

    def do_reset_branch(self, name: str, snapshot: str, expected: str | None = None) -> None:
        id = expected and self.ids[expected]
        self.repo.reset_branch(name, self.ids[snapshot], from_snapshot_id=id)

    def do_delete_branch(self, name: str) -> None:
        self.repo.delete_branch(name)

    def do_create_tag(self, name: str, snapshot: str) -> None:
        self.repo.create_tag(name, self.ids[snapshot])

    def do_delete_tag(self, name: str) -> None:
        self.repo.delete_tag(name)

    def do_set_metadata(self, metadata: dict[str, Any]) -> None:
        self.repo.set_metadata(metadata)

    def do_update_metadata(self, metadata: dict[str, Any]) -> Any:
        return self.repo.update_metadata(metadata)

    def do_default_commit_metadata(self, metadata: dict[str, Any]) -> Any:
        self.repo.set_default_commit_metadata(metadata)
        return self.repo.default_commit_metadata()

    def do_set_flag(self, name: str, setting: bool | None = None) -> None:
        self.repo.set_feature_flag(name, setting)

    def do_set_status(self, read_only: bool, reason: str | None = None) -> None:
        availability = icechunk.RepoAvailability.read_only if read_only else icechunk.RepoAvailability.online
        self.repo.set_status(icechunk.RepoStatus(availability, limited_availability_reason=reason))

    # -- observations -----------------------------------------------------------------------------

    def do_look_at_session(self, slot: str) -> dict[str, Any]:
        return self._observer.session(self.slots[slot])

    def do_look_at_snapshot(self, snapshot: str) -> dict[str, Any]:
        return self._observer.session(self.repo.readonly_session(snapshot_id=self.ids[snapshot]))

    def do_look_at_history(self) -> dict[str, Any]:
        return self._observer.history()

    def do_look_at_folder(self, path: str) -> dict[str, Any]:
        """How a repository looks to people, and what lies in its files: no ids are left out here."""
        return {"appearance": appearance(path), "files": inspect_everything(path)}

    def do_look_up(self, snapshot: str) -> dict[str, Any]:
        return self._observer.snapshot_info(self.repo.lookup_snapshot(self.ids[snapshot]))

    def do_diff(self, **ends: str) -> dict[str, Any]:
        """Compare two ends, each `from_` or `to_` with `branch`, `tag` or `snapshot`."""
        arguments = {
            (name + "_id" if name.endswith("snapshot") else name): (
                self.ids[end] if name.endswith("snapshot") else end
            )
            for name, end in ends.items()
        }
        return self._observer.diff(self.repo.diff(**arguments))


def _buffer(data: bytes) -> Any:
    return PROTOTYPE.buffer.from_bytes(data)


def _config(
    inline_threshold: int, updates_per_file: int | None = None, split: int | None = None
) -> icechunk.RepositoryConfig:
    config = icechunk.RepositoryConfig(inline_chunk_threshold_bytes=inline_threshold)
    if updates_per_file is not None:
        config.num_updates_per_repo_info_file = updates_per_file
    if split is not None:
        splitting = icechunk.ManifestSplittingConfig.from_dict(
            {icechunk.ManifestSplitCondition.AnyArray(): {icechunk.ManifestSplitDimCondition.Any(): split}}
        )
        config.manifest = icechunk.ManifestConfig(splitting=splitting)
    return config


def _solver(description: list[Any]) -> Any:
    if description[0] == "detector":
        return icechunk.ConflictDetector()
    _, on_chunks, fail_array, fail_group = description
    return icechunk.BasicConflictSolver(
        on_chunk_conflict=getattr(icechunk.VersionSelection, on_chunks),
        fail_on_delete_of_updated_array=fail_array,
        fail_on_delete_of_updated_group=fail_group,
    )


def _by_table(pairs: list[list[list[int]]]) -> Callable[[list[int]], list[int] | None]:
    table = {tuple(source): target for source, target in pairs}
    return lambda index: table.get(tuple(index))


def main() -> None:
    # The pipe keeps a descriptor of its own: what a library prints must not end up in it.
    answers = os.fdopen(os.dup(1), "w", encoding="utf-8")
    os.dup2(2, 1)
    driver = Driver()
    for line in sys.stdin:
        answers.write(json.dumps(driver.run(json.loads(line))) + "\n")
        answers.flush()


if __name__ == "__main__":
    main()

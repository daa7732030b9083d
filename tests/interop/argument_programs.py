"""Arguments of the wrong type, or out of range, and what is as good as the right one: as `session_programs`.

Each call is made with the blocking method and with its awaitable twin.
"""

from __future__ import annotations

import asyncio
import copy
import inspect
import pickle
import sys
from pathlib import Path
from typing import Any

import numpy as np

import icechunk

# In the reference's interpreter the modules of this folder are not in a package.
sys.path.insert(0, str(Path(__file__).parent))
from session_programs import Steps, filled

TIP = "1CECHNKREP0F1RSTCMT0"

NO_NAMES = {"an int": 1, "bytes": b"main", "None": None, "a list": ["a"]}
NO_FLAGS = {"None": None, "0": 0, "1": 1, "a str": "x", "a list": [], "a float": 1.0, "NumPy's": np.True_}
NO_TRIES = {
    "a str": "x",
    "a float": 1.5,
    "-1": -1,
    "2**16": 2**16,
    "None": None,
    "True": True,
    "NumPy's": np.int8(3),
}
NO_PLACES = {
    "-1": [-1],
    "2**32": [2**32],
    "2**32 - 1": [2**32 - 1],
    "a str": "0",
    "strs": ["0"],
    "floats": [1.0],
    "a number": 0,
    "None": None,
    "a set": {0},
    "a dict": {0: 0},
    "an iterator": iter([0]),
    "a range": range(1),
    "an array": np.array([0]),
    "an array of floats": np.array([0.0]),
}
NO_OFFSETS = {
    "2**63": [2**63],
    "2**63 - 1": [2**63 - 1],
    "-2**63": [-(2**63)],
    "-2**63 - 1": [-(2**63) - 1],
    "strs": ["0"],
    "floats": [1.0],
    "a number": 0,
    "None": None,
    "a str": "0",
}


class Twins(Steps):
    """Calls a method and its twin, and goes through what they return."""

    def both(self, label: str, owner: Any, method: str, *args: Any, show: Any = None, **kwargs: Any) -> None:
        for name in (method, f"{method}_async", f"async_{method}"):
            if hasattr(owner, name):
                call = getattr(owner, name)
                self.do(f"{name}: {label}", lambda call=call: asyncio.run(finish(call, args, kwargs)), show)


async def finish(call: Any, args: Any, kwargs: Any) -> Any:
    answer = call(*args, **kwargs)
    if hasattr(answer, "__aiter__"):
        return [item async for item in answer]
    return await answer if inspect.isawaitable(answer) else answer


def names(spec_version: int) -> dict[str, Any]:
    steps = Twins()
    repo = filled(spec_version)
    for label, bad in NO_NAMES.items():
        for method in (
            "writable_session",
            "rearrange_session",
            "lookup_branch",
            "lookup_tag",
            "delete_branch",
            "delete_tag",
            "lookup_snapshot",
            "inspect_snapshot",
            "inspect_manifest",
            "inspect_transaction_log",
            "list_manifest_files",
        ):
            steps.both(label, repo, method, bad)
        for key in ("branch", "tag", "snapshot_id"):
            for method in ("readonly_session", "ancestry", "ancestry_graph"):
                steps.both(f"{label} as {key}", repo, method, **{key: bad})
            other = "tag" if key == "branch" else "branch"
            steps.both(f"{label} as {key} of two", repo, "ancestry", **{key: bad, other: "main"})
            for end, start in (("from", "to"), ("to", "from")):
                ends = {f"{end}_{key}": bad, f"{start}_branch": "main"}
                steps.both(f"{label} as {end}_{key}", repo, "diff", **ends)
        for method in ("create_branch", "create_tag", "reset_branch"):
            steps.both(f"{label} as a name", repo, method, bad, TIP)
            steps.both(f"{label} as a snapshot", repo, method, "main", bad)
        steps.both(f"{label} as the old tip", repo, "reset_branch", "main", TIP, from_snapshot_id=bad)
        steps.both(f"{label} as a flag's name", repo, "set_feature_flag", bad, True)
    return steps.outcomes


def places() -> dict[str, Any]:
    steps = Twins()
    for label, bad in {"None": None, "a path": "/path", "an int": 3}.items():
        for method in ("create", "open", "open_or_create", "exists", "fetch_config", "fetch_spec_version"):
            steps.both(label, icechunk.Repository, method, bad)
    steps.do("settings", lambda: icechunk.in_memory_storage().list_objects(3))
    steps.do("prefix", lambda: icechunk.in_memory_storage().list_objects(prefix=3))
    return steps.outcomes


def paths(spec_version: int) -> dict[str, Any]:
    steps = Twins()
    repo = filled(spec_version)
    session = repo.writable_session("main")
    for label, bad in NO_NAMES.items():
        steps.both(f"{label} as the source", session, "move", bad, "/x")
        steps.both(f"{label} as the target", session, "move", "/a", bad)
        for method, *args in (
            ("get_node_id",),
            ("chunk_type", [0]),
            ("chunk_coordinates",),
            ("reindex_array", list),
            ("shift_array", [0]),
        ):
            steps.both(label, session, method, bad, *args)
        steps.do(f"array_chunk_iterator: {label}", lambda bad=bad: session.store.array_chunk_iterator(bad))
    for path in ("/a", "/none"):
        for label, bad in NO_PLACES.items():
            steps.both(f"{label} of {path}", session, "chunk_type", path, bad, show=str)
        for label, bad in NO_OFFSETS.items():
            shifted = repo.writable_session("main")
            steps.both(f"{label} of {path}", shifted, "shift_array", path, bad)
            steps.see(f"shifted {path} by {label}", shifted.status().updated_chunks)
    return steps.outcomes


def flags() -> dict[str, Any]:
    steps = Twins()
    for label, bad in NO_FLAGS.items():
        for method in ("create", "open_or_create"):
            for name in (method, f"{method}_async"):
                call, storage = getattr(icechunk.Repository, name), icechunk.in_memory_storage()
                wanted = {"check_clean_root": bad}
                steps.do(
                    f"{name}: {label}", lambda c=call, s=storage, w=wanted: asyncio.run(finish(c, (s,), w))
                )
        repo = filled(2)
        steps.both(label, repo, "ancestry_graph", plain=bad)
        if bad is not None:
            steps.both(label, repo, "set_feature_flag", "move_node", bad)
        for method in ("commit", "amend"):
            steps.both(label, repo.writable_session("main"), method, "m", allow_empty=bad)
    for label, bad in NO_TRIES.items():
        for solver in (None, icechunk.ConflictDetector()):
            session = filled(2).writable_session("main")
            steps.do(
                f"{label} tries with {solver and 'a solver'}",
                lambda s=session, b=bad, r=solver: s.commit(
                    "m", allow_empty=True, rebase_with=r, rebase_tries=b
                ),
            )
    return steps.outcomes


def copies(spec_version: int) -> dict[str, Any]:
    """What copies and pickles, and whether the copy is the same session."""
    steps = Steps()
    repo = filled(spec_version)
    writable, committed = repo.writable_session("main"), repo.writable_session("main")
    sessions = {
        "writable": writable,
        "fork": writable.fork(),
        "committed": committed,
        "read-only": repo.readonly_session("main"),
    }
    committed.commit("m", allow_empty=True)
    if spec_version > 1:
        sessions["rearrange"] = repo.rearrange_session("main")
    for label, session in sessions.items():
        for what, thing in (
            (label, session),
            (f"{label} store", session.store),
            (f"{label} store that refuses writes", session.store.with_read_only(True)),
        ):
            for way in (copy.copy, copy.deepcopy):
                steps.do(
                    f"{way.__name__}: {what}",
                    lambda w=way, t=thing: w(t),
                    lambda made, t=thing: [type(made).__name__, made == t, made.read_only],
                )
            steps.do(f"pickle: {what}", lambda t=thing: pickle.dumps(t))
    return steps.outcomes


def diffs(spec_version: int) -> dict[str, Any]:
    """Diffs from and to what is not there."""
    steps = Twins()
    repo = filled(spec_version)
    nowhere = {
        "branch": "nowhere",
        "tag": "nowhere",
        "snapshot_id": "0" * 20,
    }
    for key, name in nowhere.items():
        for end, start in (("from", "to"), ("to", "from")):
            ends = {f"{end}_{key}": name, f"{start}_branch": "main"}
            steps.both(f"{end} {key}", repo, "diff", **ends)
            steps.both(
                f"{end} {key}, bad id", repo, "diff", **{f"{end}_{key}": name, f"{start}_snapshot_id": "bad"}
            )
    steps.both("a name that cannot be", repo, "diff", from_tag="a/b", to_branch="main")
    steps.both("an id that cannot be", repo, "diff", from_snapshot_id="bad", to_branch="main")
    return steps.outcomes


def at_the_call(spec_version: int) -> dict[str, Any]:
    """What an asynchronous iterator refuses before anybody asks for an item."""
    steps = Steps()
    repo = filled(spec_version)

    async def call(method: str, **arguments: Any) -> None:
        getattr(repo, method)(**arguments)

    steps.do("ops log", lambda: asyncio.run(call("ops_log_async")))
    for label, arguments in {
        "nothing": {},
        "an int": {"branch": 1},
        "two": {"branch": "main", "tag": "t"},
        "no id": {"snapshot_id": "bad"},
    }.items():
        steps.do(f"ancestry of {label}", lambda a=arguments: asyncio.run(call("async_ancestry", **a)))
    return steps.outcomes


def listings() -> dict[str, Any]:
    """Prefixes that lead upwards."""
    steps = Twins()
    store = filled(2).writable_session("main").store
    for prefix in ("..", "../", "/..", "a/..", "a/../g", "c/..", "nowhere/.."):
        for method in ("list_dir", "list_prefix", "is_empty", "getsize_prefix", "delete_dir"):
            steps.both(prefix, store, method, prefix)
    return steps.outcomes

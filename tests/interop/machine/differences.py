"""Where the two implementations differ on purpose: what each does, and which decision says so."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal

Answer = dict[str, Any]
Command = dict[str, Any]


@dataclass(frozen=True, slots=True, kw_only=True)
class Occasion:
    """A command to which the two sides gave different answers."""

    command: Command
    ours: Answer
    theirs: Answer
    seen: Answer
    """How the command's session looked before, on both sides."""
    previous: str = ""
    """What was done last to the session, behind `refused ` if both sides refused it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Difference:
    """A difference that is written down."""

    name: str
    decision: str
    """The page in `docs/adr/`, and the entry in it."""
    holds: Callable[[Occasion], bool]
    """Whether this is it: both answers are what the decision says of the command."""
    parts: Literal["nothing", "sessions", "histories"] = "sessions"
    """What is different from now on: nothing, the session, which is closed, or all, and the program ends."""


def find_difference(occasion: Occasion) -> Difference | None:
    return next((d for d in DIFFERENCES if d.holds(occasion)), None)


# What the reference merges without a word; the last is found there in one direction only.
OURS_ALONE = frozenset(
    {
        "DeleteOfGroupWithNewNode",
        "NewNodeInDeletedGroup",
        "LayoutUpdateOfUpdatedChunks",
        "BaseIsNoAncestor",
        "MoveOverNewNode",
        "MoveOfDeletedNode",
        "MoveIntoDeletedGroup",
        "NewNodeInInvalidGroup",
    }
)


def finds_more(ours: Answer) -> bool:
    """Whether a rebase failed with conflicts that the reference may not see."""
    return any(name in OURS_ALONE for name, *_ in _conflicts(ours))


def _conflicts(answer: Answer) -> list[list[Any]]:
    conflicts: list[list[Any]] = answer.get("error", {}).get("conflicts", [])
    return conflicts


def _error(answer: Answer) -> tuple[str | None, str | None]:
    error = answer.get("error", {})
    return error.get("class"), error.get("kind")


def _chunk_of_nothing(on: Occasion) -> bool:
    """The reference takes chunk 0 for one of the array, until the commit; so it may also refuse the edit."""
    return (
        (
            (
                on.command["do"] == "set_chunk"
                and _error(on.ours) == ("InvalidInputError", "invalid-chunk-index")
            )
            or (on.command["do"] == "delete" and "ok" in on.ours)
        )
        and ("ok" in on.theirs or _error(on.theirs) == ("SessionStateError", "rearrange-session-only"))
        and 0 in _node(on.seen, on.command["key"].rpartition("c/")[0].rstrip("/")).get("shape", ())
    )


def _node(seen: Answer, path: str) -> Answer:
    node: Answer = seen.get("nodes", {}).get("/" + path, {})
    return node


def _two_at_one_path(on: Occasion) -> bool:
    return (
        on.command["do"].startswith("look_at_s")
        and bool(on.theirs.get("ok", {}).get("twice"))
        and on.ours.get("ok", {}).get("twice") == []
    )


def _update_of_a_new_node(on: Occasion) -> bool:
    """A fork has changed a node that its base had just made: after the merge it is as the fork says."""
    if on.command["do"] != "look_at_session" or "error" in on.ours or "error" in on.theirs:
        return False
    ours, theirs = on.ours["ok"], on.theirs["ok"]
    status = ours["status"]
    paths = {
        path
        for kind in ("groups", "arrays")
        for path in status.get(f"new_{kind}", [])
        if path in status.get(f"updated_{kind}", [])
    }
    return bool(paths) and _without(ours, paths) == _without(theirs, paths)


def _shift_of_deleted_chunks(on: Occasion) -> bool:
    """The reference takes a deletion for a chunk, and deletes what is at the place that it would move to."""
    if on.previous not in {"shift", "reindex"} or "error" in on.ours or "error" in on.theirs:
        return False
    ours, theirs = (
        {**side["ok"], "status": {}, "has_uncommitted_changes": True} for side in (on.ours, on.theirs)
    )
    rows = [side["ok"]["status"].get("updated_chunks", {}) for side in (on.ours, on.theirs)]
    # Chunks that only ours still has, of arrays that have lost a chunk in this session.
    kept = {key for key in ours["chunks"].keys() - theirs["chunks"].keys() if _has_deletions(on.seen, key)}
    ours["chunks"] = {key: chunk for key, chunk in ours["chunks"].items() if key not in kept}
    return ours == theirs and all(
        index in rows[1].get(path, []) for path, indices in rows[0].items() for index in indices
    )


def _has_deletions(seen: Answer, key: str) -> bool:
    """Whether the session has deleted chunks of the array that a chunk with this key belongs to."""
    path = "/" + f"/{key}".rpartition("/c/")[0].strip("/")
    changed = seen.get("status", {}).get("updated_chunks", {}).get(path, [])
    return any(f"{path}/c/{'/'.join(map(str, index))}".lstrip("/") not in seen["chunks"] for index in changed)


def _merged_in_part(on: Occasion) -> bool:
    """Ours has refused a fork that the reference merges in part, as it does the ones before that it refuses.

    Then ours is as it was before; or the difference is a change of a node that the session has not, unseen.
    """
    if on.previous != "refused merge" or "ok" not in on.ours or "ok" not in on.theirs:
        return False
    ours, theirs = on.ours["ok"], on.theirs["ok"]
    has_more = theirs["has_uncommitted_changes"]
    return bool(has_more) and (ours == on.seen or theirs == {**ours, "has_uncommitted_changes": True})


def _directory_without_a_node(on: Occasion) -> bool:
    """Nodes below something that is no node itself are gone with it; the reference then deletes nothing."""
    if on.previous != "delete_dir" or "error" in on.ours or "error" in on.theirs:
        return False
    ours, theirs = on.ours["ok"]["nodes"], on.theirs["ok"]["nodes"]
    gone = theirs.keys() - ours.keys()
    return bool(gone) and all(any(above not in theirs for above in _ancestors(path)) for path in gone)


def _ancestors(path: str) -> list[str]:
    names = path.strip("/").split("/")
    return ["/" + "/".join(names[:depth]) for depth in range(len(names))]


def _reindexing_of_deleted_chunks(on: Occasion) -> bool:
    """As with a shift: the reference asks where a chunk goes to that is not there any more."""
    if on.command["do"] != "reindex" or "ok" not in on.ours:
        return False
    path = on.command["path"].strip("/")
    shape = _node(on.seen, path).get("shape", ())
    asked = [source for source, _target in on.command["forward"]]
    keys = [f"{path}/c/{'/'.join(map(str, source))}".lstrip("/") for source in asked]
    return (
        _error(on.theirs) == ("InvalidInputError", "invalid-chunk-index")
        and bool(shape)
        and not all(key in on.seen["chunks"] for key in keys)
    )


def _without(session: Answer, paths: set[str]) -> Answer:
    chunks = {
        key: chunk
        for key, chunk in session["chunks"].items()
        if "/" + f"/{key}".split("/c")[0].strip("/") not in paths
    }
    nodes = {path: node for path, node in session["nodes"].items() if path not in paths}
    return {**session, "nodes": nodes, "chunks": chunks}


def _chunks_of_a_replaced_array(on: Occasion) -> bool:
    """Which of two arrays at one path a diff tells of, depends on random ids in the reference."""
    if "error" in on.ours or "error" in on.theirs:
        return False
    if on.command["do"] == "diff":
        return _without_replaced(on.ours["ok"]) == _without_replaced(on.theirs["ok"])
    return on.command["do"] == "look_at_folder" and _masked(on.ours["ok"]) == _masked(on.theirs["ok"])


def _masked(folder: Answer) -> Answer:
    looks = {
        name: [_without_replaced(diff) if isinstance(diff, dict) else diff for diff in look]
        if name.startswith("diffs")
        else look
        for name, look in folder["appearance"].items()
    }
    return {**folder, "appearance": looks}


def _without_replaced(diff: Answer) -> Answer:
    """A diff without the chunks of arrays that are both new and deleted; in either spelling of its fields."""
    new = diff.get("new_arrays") or diff.get("new", [[], []])[1]
    deleted = diff.get("deleted_arrays") or diff.get("deleted", [[], []])[1]
    replaced = set(new) & set(deleted)
    if not replaced:
        return diff
    named = "updated_chunks" if "updated_chunks" in diff else "chunks"
    chunks = {path: rows for path, rows in diff.get(named, {}).items() if path not in replaced}
    without = {name: value for name, value in diff.items() if name not in {"text", "repr", named}}
    return {**without, named: chunks} if chunks else without


def _stricter(on: Occasion) -> bool:
    """The reference goes over a commit that ours has a conflict with."""
    if on.command["do"] != "rebase" or not finds_more(on.ours):
        return False
    if any(name == "BaseIsNoAncestor" for name, *_ in _conflicts(on.ours)):
        # Replayed is whatever the branch has now; in spec 1 the walk ends in a log that is not there.
        return (
            "ok" in on.theirs
            or _error(on.theirs)[0] == "RebaseFailedError"
            or _error(on.theirs) == ("StorageError", "object-not-found")
            or _error(on.theirs) == ("InternalError", "conflicting-path-not-found")
        )
    if "ok" in on.theirs:
        return True
    return bool(_conflicts(on.theirs)) and (
        _number(on.theirs) > _number(on.ours)
        if _number(on.theirs) != _number(on.ours)
        else _same_but_for_ours_and_theirs_alone(on)
    )


def _kinder(on: Occasion) -> bool:
    """The reference fails because we create a node below an array that we have deleted ourselves."""
    if on.command["do"] not in {"rebase", "commit"} or not _false_alarms(on):
        return False
    if "ok" in on.ours:
        return True
    return bool(_conflicts(on.ours)) and (
        _number(on.ours) > _number(on.theirs)
        if _number(on.theirs) != _number(on.ours)
        else _same_but_for_ours_and_theirs_alone(on)
    )


def _false_alarms(on: Occasion) -> list[list[Any]]:
    deleted = on.seen.get("status", {}).get("deleted_arrays", [])
    return [c for c in _conflicts(on.theirs) if c[0] == "NewNodeInInvalidGroup" and c[1] in deleted]


def _same_but_for_ours_and_theirs_alone(on: Occasion) -> bool:
    ours, theirs, false_alarms = _conflicts(on.ours), _conflicts(on.theirs), _false_alarms(on)
    return all(c in theirs or c[0] in OURS_ALONE for c in ours) and all(
        c in ours or c in false_alarms for c in theirs
    )


def _number(answer: Answer) -> int:
    """How late in the history the snapshot is that a rebase failed at."""
    return int(answer["error"]["snapshot"].removeprefix("s"))


DIFFERENCES: tuple[Difference, ...] = (
    Difference(name="chunk 0 of an array that has none", decision="0001, 2", holds=_chunk_of_nothing),
    Difference(
        # Listed there, and then no key: it fails with some of the directory deleted.
        name="chunks that a resize has put outside of the grid are deleted",
        decision="0001, 3",
        holds=lambda on: (
            on.command["do"] == "delete_dir"
            and "ok" in on.ours
            and _error(on.theirs) == ("InvalidInputError", "invalid-chunk-index")
        ),
    ),
    Difference(name="conflicts that the reference does not see", decision="0003", holds=_stricter),
    Difference(
        name="what a fork has made of a node that its base had just made",
        decision="0001, 11",
        holds=_update_of_a_new_node,
    ),
    Difference(
        name="a shift of chunks that were deleted",
        decision="0001, 16",
        holds=_shift_of_deleted_chunks,
    ),
    Difference(
        name="a directory is deleted that has nodes and is none",
        decision="0001, 3",
        holds=_directory_without_a_node,
    ),
    Difference(
        name="a reindexing of chunks that were deleted",
        decision="0001, 16",
        holds=_reindexing_of_deleted_chunks,
    ),
    Difference(
        name="a merge that would lose something",
        decision="0001, 11",
        holds=lambda on: (
            on.command["do"] == "merge"
            and _error(on.ours) == ("SessionStateError", "merge-failed")
            and "ok" in on.theirs
        ),
    ),
    Difference(
        name="what is left of a merge that would lose something",
        decision="0001, 11",
        holds=_merged_in_part,
    ),
    Difference(
        name="a move over nodes without a group",
        decision="0001, 10",
        holds=lambda on: (
            on.command["do"] == "move"
            and _error(on.ours) == ("AlreadyExistsError", "move-wont-overwrite")
            and "ok" in on.theirs
            and any(path.startswith(on.command["target"] + "/") for path in on.seen["nodes"])
        ),
    ),
    Difference(
        name="chunks of an array that was replaced",
        decision="0001, 13",
        holds=_chunks_of_a_replaced_array,
        parts="nothing",
    ),
    Difference(
        name="two nodes at one path, where two sessions have replaced one",
        decision="0003",
        holds=_two_at_one_path,
        parts="histories",
    ),
    Difference(
        name="a rebase of a node below an array that we have deleted",
        decision="0003",
        holds=lambda on: on.command["do"] == "rebase" and _kinder(on),
    ),
    Difference(
        name="a commit of a node below an array that we have deleted",
        decision="0003",
        holds=_kinder,
        parts="histories",
    ),
)

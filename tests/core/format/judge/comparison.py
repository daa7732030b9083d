"""Our decoder beside the judge's: whether ours says what the judge reads.

`examine` first asks ours everything (under the limits), keeping values and refusals, and then lets the judge read
the same bytes. A refusal (FormatError) is always right for a file that is not as the writer left it; a value must
be the judge's; any other exception is a finding.

Where a mutated file is ambiguous, several answers are right: in tables that are out of order a search may find a
row, or one of several with the same key, or miss it.
"""

from __future__ import annotations

import contextlib
import itertools
import math
import traceback
from typing import TYPE_CHECKING, Any

from tests.core.format.judge import misbehaviour, records
from tests.core.format.judge.flat import Rejected, Undecided
from tests.core.format.judge.ours import FEW_CHUNKS, LOG_LISTS, MOST_ROWS, QUESTIONS, REFUSED, Asking, Verdict

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence


def examine(kind: str, data: bytes, limit: Any = None) -> Verdict:
    """Decode the file with ours (within `limit`) and with the judge's, and compare all that both say."""
    verdict = Verdict()
    ours = Asking(verdict)
    try:
        with limit or contextlib.nullcontext():
            answers = ours.ask("open", lambda: QUESTIONS[kind](ours, data))
    except BaseException as error:
        if type(error).__name__ != "TooSlow":
            raise
        verdict.problems.append(("more than a second", "".join(traceback.format_exception(error))[-1500:]))
        return verdict
    if answers is REFUSED or verdict.problems:
        return verdict
    verdict.decoded = True
    try:
        _JUDGED[kind](_Comparison(verdict), answers, data)
    except Undecided:
        verdict.undecided = True
    except Rejected as error:
        verdict.problems.append(("ours opens what the judge rejects", str(error)))
    return verdict


class _Comparison:
    def __init__(self, verdict: Verdict) -> None:
        self.verdict = verdict

    def problem(self, where: str, ours: Any, theirs: Any) -> None:
        ours, theirs, place = first_difference(ours, theirs)
        detail = f"{place or 'it'} is {ours!r:.500} in ours, {theirs!r:.500} for the judge"
        self.verdict.problems.append((f"{where} differs", detail))

    def same(self, where: str, ours: Any, judge: Callable[[], Any]) -> None:
        """Ours is refused, or what the judge reads."""
        self.one_of(where, ours, lambda: [judge()])

    def one_of(self, where: str, ours: Any, judge: Callable[[], Sequence[Any]]) -> None:
        if ours is REFUSED:
            return
        try:
            answers = judge()
        except Rejected as error:
            self.verdict.problems.append((f"{where}: the judge rejects it", f"{error}; ours: {ours!r:.600}"))
            return
        if not any(same_value(ours, a) for a in answers):
            self.problem(where, ours, answers[0] if len(answers) == 1 else answers)


def same_value(ours: Any, theirs: Any) -> bool:
    """Equal, and of the same type: True is not 1. NaN is read as None, bytes as a list (JSON has neither)."""
    if isinstance(theirs, float) and not math.isfinite(theirs):
        theirs = None
    if isinstance(ours, dict) and isinstance(theirs, dict):
        # A field that ours refused is no difference.
        return ours.keys() == theirs.keys() and all(same_value(ours[k], theirs[k]) for k in ours)
    if isinstance(theirs, bytes) and isinstance(ours, list):
        return ours == list(theirs)
    if isinstance(ours, (list, tuple)) and isinstance(theirs, (list, tuple)):
        return len(ours) == len(theirs) and all(map(same_value, ours, theirs))
    if ours is REFUSED:
        return True
    if isinstance(ours, (bool, float)) or isinstance(theirs, (bool, float)):
        return type(ours) is type(theirs) and ours == theirs
    return bool(ours == theirs)


def first_difference(ours: Any, theirs: Any, place: str = "") -> tuple[Any, Any, str]:
    """The smallest part of the two that is not the same, and where it lies."""
    if isinstance(ours, dict) and isinstance(theirs, dict) and ours.keys() == theirs.keys():
        pairs = [(key, ours[key], theirs[key]) for key in ours]
    elif isinstance(ours, (list, tuple)) and isinstance(theirs, (list, tuple)) and len(ours) == len(theirs):
        pairs = [(i, a, b) for i, (a, b) in enumerate(zip(ours, theirs, strict=True))]
    else:
        return ours, theirs, place
    for key, a, b in pairs:
        if not same_value(a, b):
            return first_difference(a, b, f"{place}[{key!r}]")
    return ours, theirs, place


def ascending(keys: Sequence[Any]) -> bool:
    return all(a < b for a, b in itertools.pairwise(keys))


def read_all(items: Sequence[Callable[[], Any]]) -> list[Any]:
    """What the judge reads of each item; None for one that it rejects."""
    out = []
    for item in items:
        try:
            out.append(item())
        except Rejected:
            out.append(None)
    return out


def same_header(comparison: _Comparison, ours: dict[str, Any], writer: bytes, spec_version: int) -> None:
    name = writer.decode(errors="replace").rstrip(" \0")
    comparison.same("header", (ours["writer"], ours["spec_version"]), lambda: (name, spec_version))


def _judge_snapshot(comparison: _Comparison, ours: dict[str, Any], data: bytes) -> None:
    writer, spec_version, payload = records.open_envelope(data, "snapshot")
    same_header(comparison, ours, writer, spec_version)
    judge = records.snapshot(payload, spec_version)
    for name in ("id", "parent_id", "flushed_at", "message", "metadata"):
        comparison.same(name, ours[name], judge[name])
    same_files(comparison, ours["manifest_files"], judge["manifest_files"])
    try:
        items = judge["nodes"]()
    except Rejected as error:
        answers = (ours["nodes"], ours["num_nodes"], *ours["found"].values())
        if any(a is not REFUSED and a != [REFUSED] for a in answers):
            comparison.problem("nodes that the judge rejects", answers, error)
        return
    nodes = read_all(items)
    comparison.same("num_nodes", ours["num_nodes"], lambda: len(nodes))
    same_items(comparison, "nodes", ours["nodes"], nodes, key=lambda n: n["path"].encode())
    whole = None not in nodes
    readable = [n for n in nodes if n is not None]
    paths = [n["path"].encode() for n in readable]
    in_order = whole and ascending(paths)
    for path, found in ours["found"].items():
        candidates = [n for n in readable if n["path"] == path]
        comparison.one_of("find_node", found, lambda c=candidates: c if in_order and c else [*c, None])  # type: ignore[misc]
    for node_id, found in ours["found_by_id"].items():
        candidates = [n for n in readable if n["id"] == node_id]
        comparison.one_of("find_node_by_id", found, lambda c=candidates: c if whole and c else [*c, None])  # type: ignore[misc]
    if in_order:
        for path, children in ours["children"].items():
            if REFUSED not in children:
                comparison.same(
                    "children", children, lambda p=path: [n for n in readable if is_child(n["path"], p)]
                )  # type: ignore[misc]
        for path, below in ours["under"].items():
            inside = [
                n["path"]
                for n in readable
                if n["path"] != path and n["path"].startswith(path.rstrip("/") + "/")
            ]
            if REFUSED not in below:
                comparison.same("paths_under", list(below), lambda i=inside: i)  # type: ignore[misc]
    files = judge["manifest_files"]() if ours["files_by_id"] else []
    for file_id, found in ours["files_by_id"].items():
        comparison.one_of("manifest_file", found, lambda i=file_id: [f for f in files if f[0] == i])  # type: ignore[misc]


def same_files(comparison: _Comparison, ours: Any, judge: Callable[[], list[Any]]) -> None:
    """The same list; or, where it says several things of one manifest, one of them for each."""

    def answers() -> list[Any]:
        theirs = judge()
        ids = [f[0] for f in ours]
        once = sorted(set(ids)) == sorted(ids) == sorted({f[0] for f in theirs})
        return [ours] if once and all(f in theirs for f in ours) else [theirs]

    comparison.one_of("manifest_files", ours, answers)


def is_child(path: str, parent: str) -> bool:
    head, _, name = path.rpartition("/")
    # Damaged files have paths without a slash in front, and with two: neither is directly below the root.
    return bool(name) and (head == parent != "/" if head else parent == "/" and path.startswith("/"))


def same_items(
    comparison: _Comparison, where: str, ours: list[Any], theirs: list[Any], key: Callable[[Any], Any]
) -> None:
    """Ours, up to a refusal, are the judge's items, in their order or (if they have none) in any."""
    refused = bool(ours) and ours[-1] is REFUSED
    mine = ours[:-1] if refused else ours
    if not refused and None in theirs:
        comparison.problem(f"{where}, of which the judge rejects some", mine, theirs)
        return
    first = theirs[: len(mine)] if refused else theirs
    if same_value(mine, first):
        return
    readable = [t for t in theirs if t is not None]
    if len(readable) == len(theirs) and ascending([key(t) for t in theirs]):
        comparison.problem(where, mine, first)
    elif not all(any(same_value(m, t) for t in readable) for m in mine):
        comparison.problem(f"{where} (out of order)", mine, theirs)


def _judge_manifest(comparison: _Comparison, ours: dict[str, Any], data: bytes) -> None:
    writer, spec_version, payload = records.open_envelope(data, "manifest")
    same_header(comparison, ours, writer, spec_version)
    judge = records.manifest(payload)
    comparison.same("id", ours["id"], judge["id"])
    try:
        arrays = read_all(judge["arrays"]())
    except Rejected as error:
        if any(ours[name] is not REFUSED for name in ("node_ids", "num_refs")):
            comparison.problem("arrays that the judge rejects", ours["node_ids"], error)
        return
    if None in arrays:
        if ours["node_ids"] is not REFUSED:
            comparison.problem("node_ids, of which the judge rejects some", ours["node_ids"], arrays)
        return
    node_ids = [node_id for node_id, _ in arrays]
    comparison.one_of("node_ids", ours["node_ids"], lambda: [node_ids, sorted(node_ids)])
    comparison.same("num_refs", ours["num_refs"], lambda: sum(len(refs) for _, refs in arrays))
    in_order = ascending(node_ids)
    for node_id, answers in ours["arrays"].items():
        candidates = [refs for i, refs in arrays if i == node_id]
        if answers is REFUSED:
            continue
        if answers is None:
            if candidates and in_order:
                comparison.problem("find_array", None, node_id)
            continue
        if not candidates:
            comparison.problem("find_array", answers, None)
        elif len(candidates) == 1:
            same_array(comparison, answers, candidates[0])
        elif not any(agrees(answers, refs) for refs in candidates):
            comparison.problem("find_array, one of several", answers, None)


def agrees(answers: dict[str, Any], refs: list[Callable[[], Any]]) -> bool:
    trial = Verdict()
    same_array(_Comparison(trial), answers, refs)
    return not trial.problems


def same_array(comparison: _Comparison, ours: dict[str, Any], refs: list[Callable[[], Any]]) -> None:
    comparison.same("num_refs of an array", ours["num_refs"], lambda: len(refs))
    # As the judge reads them, None for one that it rejects.
    rows = read_all(refs[:MOST_ROWS])
    readable = [r for r in rows if r is not None]
    coords = [r["coords"] for r in readable]
    in_order = len(readable) == len(rows) and ascending(coords)
    plain = [{k: v for k, v in r.items() if k != "coords"} for r in readable]
    if len(readable) == len(rows):
        comparison.same("coords", ours["coords"], lambda: coords)
        if rows and ours["ndim"] is not REFUSED:
            comparison.same("ndim", ours["ndim"], lambda: len(coords[0]))
        if ours["rows"]:
            comparison.same("rows", ours["rows"], lambda: plain)
        if "from_columns" in ours:
            comparison.same("columns", ours["from_columns"], lambda: readable)
            last = {r["coords"]: r for r in readable}
            comparison.same("sorted_last_wins", ours["sorted"], lambda: [last[c] for c in sorted(last)])
    elif ours.get("from_columns", REFUSED) is not REFUSED and REFUSED not in ours["rows"]:
        comparison.problem("columns, of which the judge rejects some", ours["from_columns"], rows)
    for wanted, found in ours["found"]:
        candidates = [p for c, p in zip(coords, plain, strict=True) if c == wanted]
        comparison.one_of("lookup", found, lambda c=candidates: c if in_order and c else [*c, None])  # type: ignore[misc]


def _judge_transaction_log(comparison: _Comparison, ours: dict[str, Any], data: bytes) -> None:
    writer, spec_version, payload = records.open_envelope(data, "transaction_log")
    same_header(comparison, ours, writer, spec_version)
    judge = records.transaction_log(payload)
    comparison.same("id", ours["id"], judge["id"])
    for name in LOG_LISTS:
        same_set(comparison, name, ours[name], judge[name])
    same_set(
        comparison,
        "moved_nodes",
        ours["moved_nodes"],
        lambda: [(a, b, i, kind == 1) for a, b, i, kind in judge["moved_nodes"]()],
        key=lambda move: move[1].split("/"),
    )
    same_chunks(comparison, ours["updated_chunks"], ours["few_updated_chunks"], judge["updated_chunks"])


def same_chunks(
    comparison: _Comparison,
    chunks: Any,
    few: dict[bytes, Any],
    judge: Callable[[], list[tuple[bytes, Callable[[], list[Any]]]]],
) -> None:
    """Those of all nodes; and the few of each node, None where there are more."""
    few = {node_id: rows for node_id, rows in few.items() if rows is not REFUSED}
    if chunks is REFUSED and not few:
        return
    theirs: dict[bytes, list[Any]] = {}
    try:
        for node_id, rows in judge():
            theirs.setdefault(node_id, []).extend(read_all([rows]))
    except Rejected as error:
        comparison.problem("updated_chunks that the judge rejects", [chunks, few], error)
        return
    if chunks is not REFUSED and chunks.keys() != theirs.keys():
        comparison.problem("updated_chunks", chunks, theirs)
        return
    for where, ours in (("updated_chunks", {} if chunks is REFUSED else chunks), ("few_updated_chunks", few)):
        for node_id, coords in ours.items():
            found = theirs.get(node_id, [])
            readable = [rows for rows in found if rows is not None]
            together = [c for rows in readable for c in rows]
            if coords is None:
                # Ours has counted them and not read one: there may be some that the judge rejects.
                agrees = len(together) > FEW_CHUNKS or len(readable) < len(found)
            else:
                agrees = any(same_rows(coords, c) for c in [*readable, together] if readable)
            if not agrees:
                comparison.problem(where, coords, found)


def same_rows(ours: list[Any], theirs: list[Any]) -> bool:
    return ours == theirs or (not ascending(theirs) and set(ours) == set(theirs))


def same_set(
    comparison: _Comparison,
    where: str,
    ours: Any,
    judge: Callable[[], list[Any]],
    key: Callable[[Any], Any] | None = None,
) -> None:
    """The same list, or the same set if the judge's is out of order."""
    if ours is REFUSED:
        return
    try:
        theirs = judge()
    except Rejected as error:
        comparison.problem(f"{where} that the judge rejects", ours, error)
        return
    if ours != theirs and (ascending(list(map(key, theirs)) if key else theirs) or set(ours) != set(theirs)):
        comparison.problem(where, ours, theirs)


def _judge_repo_info(comparison: _Comparison, ours: dict[str, Any], data: bytes) -> None:
    writer, _, payload = records.open_envelope(data, "repo_info")
    comparison.same("writer", ours["writer"], lambda: writer.decode(errors="replace").rstrip(" \0"))
    judge = records.repo_info(payload)
    for name in ("spec_version", "repo_before_updates", "metadata", "status"):
        comparison.same(name, ours[name], judge[name])
    comparison.same("config", ours["config"], judge["config"])
    for name in ("enabled_feature_flags", "disabled_feature_flags"):
        same_set(comparison, name, ours[name], judge[name])
    for name in ("branches", "tags"):
        same_refs(comparison, name, ours[name], judge[name])
    comparison.same("deleted_tags", ours["deleted_tags"], lambda: set(judge["deleted_tags"]()))
    # In the file's order, which is that of time; there is none to be out of.
    same_items(comparison, "latest_updates", ours["latest_updates"], judged_updates(judge), key=id)
    try:
        snapshots = read_all(judge["snapshots"]())
    except Rejected as error:
        if ours["num_snapshots"] is not REFUSED or ours["snapshots"] != [REFUSED]:
            comparison.problem("snapshots that the judge rejects", ours["snapshots"], error)
        return
    comparison.same("num_snapshots", ours["num_snapshots"], lambda: len(snapshots))
    same_infos(comparison, ours["snapshots"], judge)
    whole = None not in snapshots
    readable = [s for s in snapshots if s is not None]
    in_order = whole and ascending([s["id"] for s in snapshots])
    for snapshot_id, found in ours["found"].items():
        candidates = [s for s in readable if s["id"] == snapshot_id]
        if whole:
            comparison.one_of(
                "find_snapshot", found, lambda c=candidates: c if in_order and c else [*c, None]
            )  # type: ignore[misc]
    if in_order:
        parents = {s["id"]: s["parent_id"] for s in snapshots}
        for start, ids in ours["ancestry"].items():
            same_ancestry(comparison, start, ids, parents)


def judged_updates(judge: dict[str, Any]) -> list[Any]:
    try:
        updates = read_all(judge["latest_updates"]())
    except Rejected:
        return [None]
    for update in updates:
        if update is not None and "is_set" in update["fields"]:
            is_set = update["fields"].pop("is_set")
            update["fields"]["new_value"] = update["fields"]["new_value"] if is_set else None
    return updates


def same_infos(comparison: _Comparison, ours: list[Any], judge: dict[str, Any]) -> None:
    """Field by field: a snapshot info of ours is lazy, so one field may be refused while others are read."""
    items = judge["snapshots"]()
    refused = bool(ours) and ours[-1] is REFUSED
    for mine, item in zip(ours[:-1] if refused else ours, items, strict=False):
        try:
            theirs = item()
        except Rejected:
            # Which field it was the judge does not say; ours must have refused one.
            if REFUSED not in mine.values():
                comparison.problem("a snapshot info that the judge rejects", mine, None)
            continue
        for name, value in mine.items():
            comparison.same(f"snapshot info {name}", value, lambda v=theirs[name]: v)  # type: ignore[misc]


def same_refs(
    comparison: _Comparison, where: str, ours: Any, judge: Callable[[], list[tuple[str, bytes]]]
) -> None:
    if ours is REFUSED:
        return
    try:
        theirs = judge()
    except Rejected as error:
        comparison.problem(f"{where} that the judge rejects", ours, error)
        return
    if ours.keys() != {name for name, _ in theirs} or not all(item in theirs for item in ours.items()):
        comparison.problem(where, ours, theirs)


def same_ancestry(
    comparison: _Comparison, start: bytes, ids: list[Any], parents: dict[bytes, bytes | None]
) -> None:
    """Each is the parent of the one before, to the root; a cycle must have been refused sooner or later."""
    refused = bool(ids) and ids[-1] is REFUSED
    mine = ids[:-1] if refused else ids
    theirs: list[bytes] = []
    at: bytes | None = start
    while at is not None and len(theirs) <= len(mine):
        theirs.append(at)
        at = parents.get(at)
    if mine != theirs[: len(mine)] or (not refused and len(theirs) != len(mine)):
        comparison.problem("ancestry", ids, theirs)


_JUDGED: dict[str, Callable[[_Comparison, Any, bytes], None]] = {
    "snapshot": _judge_snapshot,
    "manifest": _judge_manifest,
    "transaction_log": _judge_transaction_log,
    "repo_info": _judge_repo_info,
    misbehaviour.KIND: lambda comparison, ours, data: comparison.same("deed", ours, lambda: "the truth"),
    "ref_json": lambda comparison, ours, data: comparison.same("ref", ours, lambda: records.ref_json(data)),
    "config_yaml": lambda comparison, ours, data: comparison.same(
        "config", ours, lambda: records.config_yaml(data)
    ),
}

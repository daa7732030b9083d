"""Our decoder, asked everything that it can be asked about one file.

Answers are plain values (dicts, lists, tuples, bytes), so that they can be compared with the judge's. An answer may
be `REFUSED`: our decoder raised FormatError. Any other exception is kept as a finding.
"""

from __future__ import annotations

import traceback
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np

from icechunk._engine.format import config_document, refs_v1
from icechunk._engine.format.chunk_refs import ChunkRef, InlineRef, NativeRef, RefColumns
from icechunk._engine.format.envelope import open_file
from icechunk._engine.format.header import FileType
from icechunk._engine.format.ids import ManifestId, NodeId, SnapshotId
from icechunk._engine.format.manifest import ArrayRefs, Manifest
from icechunk._engine.format.repo_info import RepoInfo
from icechunk._engine.format.snapshot import Snapshot
from icechunk._engine.format.snapshot_records import ArrayNode, Node
from icechunk._engine.format.transaction_log import TransactionLog
from icechunk.errors import FormatError
from tests.core.format.judge import misbehaviour
from tests.core.format.judge.records import UPDATES

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

NAME = "the/mutant"
ABSENT_ID = b"\xa5" * 12
MOST_LOOKUPS = 12
MOST_ROWS = 5_000
FEW_CHUNKS = 16


class _Refused:
    """Our decoder raised FormatError."""

    def __repr__(self) -> str:
        return "refused"


REFUSED = _Refused()


@dataclass(slots=True)
class Verdict:
    """What came of one file."""

    refusals: int = 0
    values: int = 0
    undecided: bool = False
    decoded: bool = False
    problems: list[tuple[str, str]] = field(default_factory=list)

    @property
    def outcome(self) -> str:
        if self.problems:
            return "finding"
        if not self.decoded:
            return "refused"
        if self.undecided:
            return "undecided"
        return "partly" if self.refusals else "values"

    def as_dict(self) -> dict[str, Any]:
        return {
            "outcome": self.outcome,
            "values": self.values,
            "refusals": self.refusals,
            "problems": self.problems,
        }


class Asking:
    """Asks one question at a time, and keeps what is no FormatError as a finding."""

    def __init__(self, verdict: Verdict) -> None:
        self.verdict = verdict

    def ask(self, question: str, answer: Callable[[], Any]) -> Any:
        try:
            out = answer()
        except FormatError as error:
            if NAME not in str(error):
                self.verdict.problems.append(
                    (f"{question}: the message does not name the object", str(error))
                )
            self.verdict.refusals += 1
            return REFUSED
        except Exception as error:
            frame = traceback.extract_tb(error.__traceback__)[-1]
            where = f"{frame.filename.rpartition('/')[2]}:{frame.lineno}"
            self.verdict.problems.append((f"{question}: {type(error).__name__} in {where}", repr(error)))
            return REFUSED
        self.verdict.values += 1
        return out

    def each(self, question: str, items: Callable[[], Iterable[Any]]) -> list[Any]:
        """Items up to the first refusal, which then is the last item."""
        out: list[Any] = []

        def collect() -> None:
            # Not `extend` on a list of them: what was there before a refusal is to be kept.
            for item in items():
                out.append(item)  # noqa: PERF402

        if self.ask(question, collect) is REFUSED:
            out.append(REFUSED)
        return out


def _our_snapshot(ours: Asking, data: bytes) -> dict[str, Any]:
    header, payload = open_file(data, FileType.SNAPSHOT, name=NAME)
    snapshot = Snapshot.decode(payload, header.spec_version, name=NAME)
    out: dict[str, Any] = {"spec_version": header.spec_version, "writer": header.writer}
    for name in ("id", "parent_id", "flushed_at", "message", "metadata", "num_nodes"):
        out[name] = ours.ask(name, lambda name=name: getattr(snapshot, name))  # type: ignore[misc]
    nodes = ours.each("nodes", snapshot.nodes)
    out["nodes"] = [plain_node(n) if n is not REFUSED else n for n in nodes]
    out["manifest_files"] = ours.ask("manifest_files", lambda: [tuple(f) for f in snapshot.manifest_files()])

    def find(path: str) -> Any:
        found = snapshot.find_node(path)
        return None if found is None else plain_node(found)

    def find_by_id(node_id: bytes) -> Any:
        found = snapshot.find_node_by_id(NodeId(node_id))
        return None if found is None else plain_node(found)

    # A fresh one, for searches in a table that nobody has walked yet.
    paths = [n["path"] for n in out["nodes"] if n is not REFUSED][:MOST_LOOKUPS]
    snapshot = Snapshot.decode(payload, header.spec_version, name=NAME)
    asked = [*paths, "/", "/a/b/c", "/navy", "/zzz"]
    out["found"] = {p: ours.ask("find_node", lambda p=p: find(p)) for p in asked}  # type: ignore[misc]
    ids = [*(n["id"] for n in out["nodes"][:MOST_LOOKUPS] if n is not REFUSED), ABSENT_ID[:8]]
    out["found_by_id"] = {
        i: ours.ask("find_node_by_id", lambda i=i: find_by_id(i))  # type: ignore[misc]
        for i in ids
    }
    out["children"] = {
        p: [
            n if n is REFUSED else plain_node(n)
            for n in ours.each("children", lambda p=p: snapshot.children(p))
        ]  # type: ignore[misc]
        for p in ["/", "/navy", *paths[:3]]
    }
    out["under"] = {p: ours.each("paths_under", lambda p=p: snapshot.paths_under(p)) for p in ["/", "/navy"]}  # type: ignore[misc]
    files = out["manifest_files"] if out["manifest_files"] is not REFUSED else []
    out["files_by_id"] = {
        f[0]: ours.ask("manifest_file", lambda f=f: tuple(snapshot.manifest_file(ManifestId(f[0]))))  # type: ignore[misc]
        for f in files[:MOST_LOOKUPS]
    }
    return out


def plain_node(node: Node) -> dict[str, Any]:
    out: dict[str, Any] = {"id": node.id, "path": node.path, "user_data": bytes(node.user_data)}
    if isinstance(node, ArrayNode):
        out["shape"] = tuple((d.array_length, d.num_chunks) for d in node.shape)
        out["dimension_names"] = node.dimension_names
        out["manifests"] = tuple((m.manifest_id, tuple(map(tuple, m.extents))) for m in node.manifests)
    return out


def _our_manifest(ours: Asking, data: bytes) -> dict[str, Any]:
    header, payload = open_file(data, FileType.MANIFEST, name=NAME)
    manifest = Manifest.decode(payload, name=NAME)
    out: dict[str, Any] = {"spec_version": header.spec_version, "writer": header.writer}
    out["id"] = ours.ask("id", lambda: manifest.id)
    out["num_refs"] = ours.ask("num_refs", lambda: manifest.num_refs)
    ids = ours.ask("node_ids", lambda: [bytes(i) for i in manifest.node_ids])
    out["node_ids"] = ids
    out["arrays"] = {}
    if ids is not REFUSED:
        for node_id in [*ids[:MOST_LOOKUPS], ABSENT_ID[:8]]:
            refs = ours.ask("find_array", lambda i=node_id: manifest.find_array(NodeId(i)))  # type: ignore[misc]
            if refs is not None and refs is not REFUSED:
                # A second one, in which nothing has been decoded yet, answers the lookups.
                fresh = Manifest.decode(payload, name=NAME).find_array(NodeId(node_id))
                refs = our_array(ours, refs, fresh)
            out["arrays"][node_id] = refs
    return out


def our_array(ours: Asking, refs: ArrayRefs, fresh: ArrayRefs | None) -> dict[str, Any]:
    out: dict[str, Any] = {
        "num_refs": ours.ask("ArrayRefs.num_refs", lambda: refs.num_refs),
        "ndim": ours.ask("ArrayRefs.ndim", lambda: refs.ndim),
        "coords": ours.ask("coords", lambda: list(map(tuple, refs.coords().tolist()))),
    }
    columns = ours.ask("columns", refs.columns)
    rows: list[Any] = []
    if columns is not REFUSED and len(columns) > MOST_ROWS:
        # Made by hand to be more than one wants to look at; the judge would not finish either.
        columns = ours.ask("take", lambda: columns.take(np.arange(MOST_ROWS)))
        out["coords"] = out["coords"][:MOST_ROWS]
    if columns is not REFUSED:
        rows = [ours.ask("row", lambda i=i: plain_ref(columns.row(i))) for i in range(len(columns))]  # type: ignore[misc]
        out["from_columns"] = ours.ask("column values", lambda: plain_columns(columns))
        out["sorted"] = ours.ask("sorted_last_wins", lambda: plain_columns(columns.sorted_last_wins()))
    out["rows"] = rows
    known = out["coords"] if out["coords"] is not REFUSED else []
    ndim = out["ndim"] if out["ndim"] is not REFUSED else 1
    asked = [*known[:MOST_LOOKUPS], *known[-2:], (0,) * ndim, (1,) * ndim, (3,) * ndim, (2**32 - 1,) * ndim]

    def look_up(at: ArrayRefs, coords: tuple[int, ...]) -> Any:
        found = at.lookup(coords)
        return None if found is None else plain_ref(found)

    out["found"] = [
        (c, ours.ask("lookup", lambda at=at, c=c: look_up(at, c)))  # type: ignore[misc]
        for at in (fresh, refs)
        if at is not None
        for c in asked
    ]
    return out


def plain_ref(ref: ChunkRef) -> dict[str, Any]:
    if isinstance(ref, InlineRef):
        return {"kind": 3, "data": bytes(ref.data)}
    if isinstance(ref, NativeRef):
        return {"kind": 1, "chunk_id": ref.chunk_id, "offset": ref.offset, "length": ref.length}
    return {
        "kind": 2,
        "location": ref.location,
        "offset": ref.offset,
        "length": ref.length,
        "etag": ref.etag,
        "last_modified": ref.last_modified,
    }


def plain_columns(columns: RefColumns) -> list[dict[str, Any]]:
    """Rows again, from the columns; inline data comes from `row`."""
    out = []
    chunk_ids = [bytes(i) for i in columns.chunk_ids]
    for i, kind in enumerate(columns.kinds.tolist()):
        row: dict[str, Any] = {"coords": tuple(columns.coords[i].tolist()), "kind": kind}
        if kind == 3:
            row["data"] = bytes(columns.row(i).data)  # type: ignore[union-attr]
        else:
            row["offset"], row["length"] = int(columns.offsets[i]), int(columns.lengths[i])
        if kind == 1:
            row["chunk_id"] = chunk_ids[i]
        if kind == 2:
            row["location"] = text_of(columns.locations[int(columns.location_codes[i])])
            code = int(columns.etag_codes[i])
            row["etag"] = None if code < 0 else text_of(columns.etags[code])
            row["last_modified"] = int(columns.last_modified[i])
        out.append(row)
    return out


def text_of(value: bytes | str | memoryview) -> str:
    return value if isinstance(value, str) else bytes(value).decode(errors="backslashreplace")


def _our_transaction_log(ours: Asking, data: bytes) -> dict[str, Any]:
    header, payload = open_file(data, FileType.TRANSACTION_LOG, name=NAME)
    log = TransactionLog.decode(payload, name=NAME)
    out: dict[str, Any] = {"spec_version": header.spec_version, "writer": header.writer, "id": log.id}
    for name in LOG_LISTS:
        out[name] = ours.ask(name, lambda name=name: [bytes(i) for i in getattr(log, name)])  # type: ignore[misc]
    out["updated_chunks"] = ours.ask(
        "updated_chunks",
        lambda: {bytes(i): list(map(tuple, np.asarray(c).tolist())) for i, c in log.updated_chunks.items()},
    )
    # A fresh one, of which nothing has been decoded yet. All of it is kept, as a diff does.
    fresh = TransactionLog.decode(payload, name=NAME)
    out["few_updated_chunks"] = {
        bytes(i): ours.ask("few_updated_chunks", lambda i=i: fresh.few_updated_chunks(i, FEW_CHUNKS))  # type: ignore[misc]
        for i in fresh.updated_chunks
    }
    out["moved_nodes"] = ours.ask(
        "moved_nodes",
        lambda: [(m.from_path, m.to_path, bytes(m.node_id), bool(m.is_array)) for m in log.moved_nodes],
    )
    return out


LOG_LISTS = (
    "new_groups",
    "new_arrays",
    "deleted_groups",
    "deleted_arrays",
    "updated_groups",
    "updated_arrays",
)


def _our_repo_info(ours: Asking, data: bytes) -> dict[str, Any]:
    header, payload = open_file(data, FileType.REPO_INFO, name=NAME)
    info = RepoInfo.decode(payload, name=NAME)
    out: dict[str, Any] = {"header_version": header.spec_version, "writer": header.writer}
    for name in ("spec_version", "num_snapshots", "repo_before_updates", "metadata", "config"):
        out[name] = ours.ask(name, lambda name=name: getattr(info, name))  # type: ignore[misc]
    for name in ("branches", "tags"):
        out[name] = ours.ask(name, lambda name=name: dict(getattr(info, name)))  # type: ignore[misc]
    out["deleted_tags"] = ours.ask("deleted_tags", lambda: set(info.deleted_tags))
    for name in ("enabled_feature_flags", "disabled_feature_flags"):
        out[name] = ours.ask(name, lambda name=name: list(getattr(info, name)))  # type: ignore[misc]
    out["status"] = ours.ask("status", lambda: plain_status(info.status))
    out["latest_updates"] = ours.each("latest_updates", lambda: map(plain_update, info.latest_updates))
    out["snapshots"] = ours.each("snapshots", lambda: (plain_info(ours, s) for s in info.snapshots()))
    ids = [s["id"] for s in out["snapshots"] if s is not REFUSED and s["id"] is not REFUSED][:MOST_LOOKUPS]

    def find(snapshot_id: bytes) -> Any:
        found = info.find_snapshot(SnapshotId(snapshot_id))
        return None if found is None else plain_info(ours, found)

    out["found"] = {i: ours.ask("find_snapshot", lambda i=i: find(i)) for i in [*ids, ABSENT_ID]}  # type: ignore[misc]
    out["ancestry"] = {
        i: ours.each("ancestry", lambda i=i: (bytes(s.id) for s in info.ancestry(SnapshotId(i))))  # type: ignore[misc]
        for i in ids
    }
    return out


def plain_status(status: Any) -> tuple[int, int, str | None]:
    return (int(status.availability), int(status.set_at), status.limited_availability_reason)


def plain_update(update: Any) -> dict[str, Any]:
    kind = update.kind
    fields = {name: getattr(kind, name) for name in kind.__dataclass_fields__ if name != "tag"}
    if "status" in fields:
        fields["status"] = plain_status(fields["status"])
    return {
        "kind": UPDATES[kind.tag - 1],
        "fields": fields,
        "updated_at": update.updated_at,
        "backup_path": update.backup_path,
    }


def plain_info(ours: Asking, info: Any) -> dict[str, Any]:
    names = ("id", "parent_id", "flushed_at", "message", "metadata")
    out = {name: ours.ask(f"snapshot info {name}", lambda name=name: getattr(info, name)) for name in names}  # type: ignore[misc]
    out["pruned_ancestor_tx_logs"] = ours.ask(
        "pruned_ancestor_tx_logs", lambda: [bytes(i) for i in info.pruned_ancestor_tx_logs]
    )
    return out


QUESTIONS: dict[str, Callable[[Asking, bytes], Any]] = {
    "snapshot": _our_snapshot,
    "manifest": _our_manifest,
    "transaction_log": _our_transaction_log,
    "repo_info": _our_repo_info,
    "ref_json": lambda ours, data: refs_v1.decode_ref(data, name=NAME),
    misbehaviour.KIND: misbehaviour.misbehave,
    "config_yaml": lambda ours, data: config_document.decode_yaml(data, name=NAME),
}

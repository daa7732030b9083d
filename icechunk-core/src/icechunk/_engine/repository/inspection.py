"""Metadata files as JSON, for people who want to know what lies in a repository. Semantics 14.

Structure and names are the reference's, so that programs which evaluate them can go on doing so.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from icechunk._display.literals import rfc3339_text
from icechunk._engine.assets.clock import as_datetime
from icechunk._engine.format import repo_info_records as records
from icechunk._engine.format.chunk_refs import RefKind
from icechunk._engine.format.envelope import open_file
from icechunk._engine.format.header import Compression, FileType
from icechunk._engine.format.layout import REPO_PATH, manifest_path, snapshot_path, transaction_log_path
from icechunk._engine.format.manifest import Manifest
from icechunk._engine.format.manifest_locations import MaybeCompressedStrings
from icechunk._engine.format.repo_info import RepoInfo
from icechunk._engine.format.snapshot import ArrayNode, Snapshot
from icechunk._engine.format.transaction_log import TransactionLog
from icechunk._engine.repository.transaction_logs import load_log_if_there, merged_chunks, merged_moves
from icechunk._engine.session.kinds import needs_spec_2
from icechunk.errors import NotFoundError

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from icechunk._engine.assets.assets import Assets
    from icechunk._engine.format.header import FileHeader
    from icechunk._engine.format.ids import ManifestId, NodeId, SnapshotId
    from icechunk._engine.format.manifest_array import ArrayRefs
    from icechunk._engine.format.snapshot_records import Node
    from icechunk._engine.format.values import JsonValue
    from icechunk._engine.repository.records import RefsAndHistory

_FILE_TYPES = {
    FileType.SNAPSHOT: "snapshot",
    FileType.MANIFEST: "manifest",
    FileType.TRANSACTION_LOG: "transaction-log",
    FileType.REPO_INFO: "repo-info",
}

# What stands in a report whose logs were merged, beside the ids of those.
_COMPOSITE_NOTE = (
    "Expiration has removed ancestors of this snapshot. The lists are those of its own log together with "
    "the logs that these ancestors left; the header is that of its own log."
)


def inspect_snapshot(assets: Assets, id: SnapshotId) -> dict[str, JsonValue]:
    """Report what a snapshot's file says. One GET.

    Raises
    ------
    ObjectNotFoundError
        There is no such file.
    """
    path = snapshot_path(id)
    header, payload = open_file(assets.backend.fetch(path).data, FileType.SNAPSHOT, name=path)
    snapshot = Snapshot.decode(payload, header.spec_version, name=path)
    return {
        "id": str(snapshot.id),
        "header": _header(header),
        "flushed_at": rfc3339_text(as_datetime(snapshot.flushed_at)),
        "commit_message": snapshot.message,
        "metadata": _in_order(snapshot.metadata),
        "manifests": [
            {"id": str(file.id), "size_bytes": file.size_bytes, "num_chunk_refs": file.num_chunk_refs}
            for file in snapshot.manifest_files()
        ],
        "nodes": [_node(node) for node in snapshot.nodes()],
    }


def _node(node: Node) -> dict[str, JsonValue]:
    is_array = isinstance(node, ArrayNode)
    report: dict[str, JsonValue] = {
        "id": str(node.id),
        "path": node.path,
        "node_type": "array" if is_array else "group",
    }
    if not isinstance(node, ArrayNode):
        return report
    names = node.dimension_names or (None,) * len(node.shape)
    report["shape"] = [
        {
            **({} if name is None else {"name": name}),
            "array_length": dimension.array_length,
            "num_chunks": dimension.num_chunks,
        }
        for name, dimension in zip(names, node.shape, strict=True)
    ]
    report["manifest_refs"] = [
        {"id": str(ref.manifest_id), "extents": [list(extent) for extent in ref.extents]}
        for ref in node.manifests
    ]
    return report


def inspect_manifest(assets: Assets, id: ManifestId) -> dict[str, JsonValue]:
    """Report what a manifest holds: how many refs of each kind, not the refs themselves. One GET.

    Raises
    ------
    ObjectNotFoundError
        There is no such file.
    """
    path = manifest_path(id)
    header, payload = open_file(assets.backend.fetch(path).data, FileType.MANIFEST, name=path)
    manifest = Manifest.decode(payload, name=path)
    counts = [
        (node_id, _Counts(refs))
        for node_id in manifest.node_ids
        if (refs := manifest.find_array(node_id)) is not None
    ]
    dictionary_size = manifest.location_dictionary_size
    return {
        "id": str(manifest.id),
        "header": _header(header),
        "size_bytes": len(payload),
        "num_arrays": len(counts),
        "total_chunk_refs": manifest.num_refs,
        "total_inline": sum(count.inline for _, count in counts),
        "total_native": sum(count.native for _, count in counts),
        "total_virtual": sum(count.virtual for _, count in counts),
        "arrays": [
            {
                "node_id": str(node_id),
                "num_chunk_refs": count.refs,
                "num_inline": count.inline,
                "num_native": count.native,
                "num_virtual": count.virtual,
            }
            for node_id, count in counts
        ],
        "compression": {
            "uses_location_compression": manifest.may_have_compressed_locations,
            **({} if dictionary_size is None else {"dictionary_size_bytes": dictionary_size}),
            "num_compressed_refs": sum(count.compressed for _, count in counts),
        },
    }


class _Counts:
    """How many refs of each kind an array has in a manifest."""

    def __init__(self, refs: ArrayRefs) -> None:
        columns = refs.columns()
        kinds = np.bincount(columns.kinds, minlength=4)
        self.refs = len(columns.kinds)
        self.native = int(kinds[RefKind.NATIVE])
        self.virtual = int(kinds[RefKind.VIRTUAL])
        self.inline = int(kinds[RefKind.INLINE])
        self.compressed = 0
        if isinstance(columns.locations, MaybeCompressedStrings):
            codes = columns.location_codes
            self.compressed = int(np.count_nonzero(columns.locations.compressed[codes[codes >= 0]]))


def inspect_transaction_log(assets: Assets, history: RefsAndHistory, id: SnapshotId) -> dict[str, JsonValue]:
    """Report what the commit that made a snapshot has changed, with what expiration left to it.

    Raises
    ------
    ObjectNotFoundError
        There is no such file.
    """
    path = transaction_log_path(id)
    header, payload = open_file(assets.backend.fetch(path).data, FileType.TRANSACTION_LOG, name=path)
    own = TransactionLog.decode(payload, name=path)
    # Oldest first, and the own one last.
    pruned = _pruned_ancestors(history, id)
    found = {left: log for left in pruned if (log := load_log_if_there(assets, left)) is not None}
    logs = [*found.values(), own]
    report: dict[str, JsonValue] = {
        "header": _header(header),
        "new_groups": _ids(log.new_groups for log in logs),
        "new_arrays": _ids(log.new_arrays for log in logs),
        "deleted_groups": _ids(log.deleted_groups for log in logs),
        "deleted_arrays": _ids(log.deleted_arrays for log in logs),
        "updated_groups": _ids(log.updated_groups for log in logs),
        "updated_arrays": _ids(log.updated_arrays for log in logs),
        "updated_chunks": [
            {"node_id": str(node_id), "chunks": coords.tolist()}
            for node_id, coords in sorted(merged_chunks(logs).items())
        ],
        "moved_nodes": [{"from": origin, "to": target} for origin, target in merged_moves(logs)],
    }
    if pruned:
        report["synthetic_composite"] = {
            "note": _COMPOSITE_NOTE,
            "merged_pruned_ancestor_tx_logs": [str(left) for left in found],
            "missing_tx_logs": [str(left) for left in pruned if left not in found],
        }
    return report


def _pruned_ancestors(history: RefsAndHistory, id: SnapshotId) -> Sequence[SnapshotId]:
    if history.spec_version == 1:
        return ()
    try:
        return history.lookup_snapshot(id).pruned_ancestor_tx_logs
    except NotFoundError:
        # A log whose snapshot the history does not list, that of a fork for example.
        return ()


def _ids(lists: Iterable[Sequence[NodeId]]) -> list[JsonValue]:
    return [str(id) for id in sorted({id for ids in lists for id in ids})]


def inspect_repo_info(assets: Assets, history: RefsAndHistory) -> dict[str, JsonValue]:
    """Report what the repo info says, with the newest page of the ops log. One GET.

    Raises
    ------
    FormatError
        The repository is of spec version 1, which has none.
    """
    if history.spec_version == 1:
        raise needs_spec_2()
    data = assets.backend.fetch(REPO_PATH).data
    header, payload = open_file(data, FileType.REPO_INFO, name=REPO_PATH)
    info = RepoInfo.decode(payload, name=REPO_PATH)
    before = info.repo_before_updates
    return {
        "header": _header(header),
        "spec_version": _version(info.spec_version),
        "branches": {name: str(id) for name, id in sorted(info.branches.items())},
        "tags": {name: str(id) for name, id in sorted(info.tags.items())},
        "deleted_tags": [*map(str, sorted(info.deleted_tags))],
        "snapshots": [
            {
                "id": str(record.id),
                **({} if record.parent_id is None else {"parent_id": str(record.parent_id)}),
                "flushed_at": rfc3339_text(as_datetime(record.flushed_at)),
                "message": record.message,
                "metadata": _in_order(record.metadata),
            }
            for record in info.snapshots()
        ],
        "metadata": _in_order(info.metadata),
        "latest_updates": [
            {
                "update_type": _update_type(update.kind),
                "updated_at": rfc3339_text(as_datetime(update.updated_at)),
                **({} if update.backup_path is None else {"backup_path": update.backup_path}),
            }
            for update in info.latest_updates
        ],
        **({} if before is None else {"repo_before_updates": before}),
    }


def _update_type(kind: records.UpdateKind) -> dict[str, JsonValue]:
    name = type(kind).__name__
    # The one that the format does not call `...Update`.
    report: dict[str, JsonValue] = {"type": name if name == "FeatureFlagChanged" else f"{name}Update"}
    match kind:
        case records.RepoMigrated(before, after):
            return {**report, "from_version": _version(before), "to_version": _version(after)}
        case records.FeatureFlagChanged(id, value):
            return {**report, "id": id, "new_value": value}
        case records.RepoStatusChanged(status):
            shown: dict[str, JsonValue] = {
                "availability": "ReadOnly" if status.availability == records.READ_ONLY else "Online",
                "limited_availability_reason": status.limited_availability_reason,
                "set_at": rfc3339_text(as_datetime(status.set_at)),
            }
            return {**report, "status": shown}
    # The rest is made of names and ids.
    return {**report, **{name: str(getattr(kind, name)) for name in sorted(kind.__slots__)}}


def _header(header: FileHeader) -> dict[str, JsonValue]:
    app, dash, version = header.writer.partition("-")
    return {
        "written_by": header.writer,
        **({"app_name": app, "app_version": version} if dash else {}),
        "spec_version": _version(header.spec_version),
        "file_type": _FILE_TYPES[header.file_type],
        "compression": "zstd" if header.compression is Compression.ZSTD else "none",
    }


def _version(number: int) -> str:
    return f"{number}.0"


def _in_order(values: Mapping[str, JsonValue]) -> dict[str, JsonValue]:
    """Return JSON values by name, names in order also where they are nested."""
    return {name: _value_in_order(values[name]) for name in sorted(values)}


def _value_in_order(value: JsonValue) -> JsonValue:
    if isinstance(value, dict):
        return _in_order(value)
    if isinstance(value, list):
        return [_value_in_order(item) for item in value]
    return value

"""The corpus once more, as our own writers encode it: files that only we write, for the loop and for round trips."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

from icechunk._engine.format import config_document, refs_v1
from icechunk._engine.format.envelope import open_file, seal_file
from icechunk._engine.format.header import FileType
from icechunk._engine.format.manifest import LocationCompression, Manifest, encode_manifest
from icechunk._engine.format.repo_info import RepoInfo
from icechunk._engine.format.snapshot import Snapshot, encode_snapshot, rewrite_snapshot
from icechunk._engine.format.transaction_log import TransactionLog
from tests.core.format.judge.mutations import Original, load_corpus


def own_files() -> list[Original]:
    out = []
    for original in load_corpus():
        for how, data in rewritten(original.kind, original.data).items():
            name = f"{original.kind}-v{original.spec_version}-{how}-{original.name.split('-', 2)[2]}"
            out.append(Original.of(name, data))
    return out


def rewritten(kind: str, data: bytes) -> dict[str, bytes]:
    """The same content from each of our writers, by which writer it was."""
    return _WRITERS[kind](data)


def _sealed(pieces: Iterable[Any], file_type: FileType, spec_version: int) -> bytes:
    return seal_file(pieces, file_type, spec_version)


def _snapshot(data: bytes) -> dict[str, bytes]:
    header, payload = open_file(data, FileType.SNAPSHOT, name="corpus")
    old = Snapshot.decode(payload, header.spec_version, name="corpus")
    nodes = list(old.nodes())
    common: dict[str, Any] = {
        "id": old.id,
        "parent_id": old.parent_id,
        "flushed_at": old.flushed_at,
        "message": old.message,
        "metadata": old.metadata,
        "manifest_files": old.manifest_files(),
        "spec_version": header.spec_version,
    }
    out = {"own": encode_snapshot(nodes=nodes, **common)}
    if nodes:
        # A node that is set to what it was, in their file and in ours: the paths that embed and splice.
        change = {"set_nodes": {nodes[-1].path: nodes[-1]}, "removed_paths": ()}
        out["embedded"] = rewrite_snapshot(old, **change, **common)
        ours = Snapshot.decode(memoryview(b"".join(out["own"])), header.spec_version, name="own")
        out["spliced"] = rewrite_snapshot(ours, **change, **common)
    return {how: _sealed(pieces, FileType.SNAPSHOT, header.spec_version) for how, pieces in out.items()}


def _manifest(data: bytes) -> dict[str, bytes]:
    header, payload = open_file(data, FileType.MANIFEST, name="corpus")
    manifest = Manifest.decode(payload, name="corpus")
    arrays = []
    for node_id in manifest.node_ids:
        refs = manifest.find_array(node_id)
        assert refs is not None
        arrays.append((node_id, refs.columns()))
    out = {"own": encode_manifest(manifest.id, arrays, spec_version=header.spec_version)}
    if header.spec_version == 2:
        compression = LocationCompression(min_num_refs=5, min_text_bytes=0)
        out["compressed"] = encode_manifest(
            manifest.id, arrays, spec_version=2, location_compression=compression
        )
    return {how: _sealed(pieces, FileType.MANIFEST, header.spec_version) for how, pieces in out.items()}


def _transaction_log(data: bytes) -> dict[str, bytes]:
    header, payload = open_file(data, FileType.TRANSACTION_LOG, name="corpus")
    log = TransactionLog.decode(payload, name="corpus")
    return {"own": _sealed(log.encode(), FileType.TRANSACTION_LOG, header.spec_version)}


def _repo_info(data: bytes) -> dict[str, bytes]:
    _, payload = open_file(data, FileType.REPO_INFO, name="corpus")
    return {"own": _sealed(RepoInfo.decode(payload, name="corpus").encode(), FileType.REPO_INFO, 2)}


_WRITERS: dict[str, Callable[[bytes], dict[str, bytes]]] = {
    "snapshot": _snapshot,
    "manifest": _manifest,
    "transaction_log": _transaction_log,
    "repo_info": _repo_info,
    "ref_json": lambda data: {"own": refs_v1.encode_ref(refs_v1.decode_ref(data, name="corpus"))},
    "config_yaml": lambda data: {
        "own": config_document.encode_yaml(config_document.decode_yaml(data, name="corpus"))
    },
}

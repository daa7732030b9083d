"""What lies in the files of a `Repository`, reported as JSON."""

from __future__ import annotations

from typing import Any

from icechunk._arguments import text
from icechunk._async_forms import async_form
from icechunk._engine.format.ids import ManifestId, SnapshotId
from icechunk._repository.handle import RepositoryHandle
from icechunk.errors import ErrorKind, FormatError, InvalidInputError
from icechunk.snapshots import ManifestFileInfo


class InspectionMethods(RepositoryHandle):
    """The methods of `Repository` that look into its files."""

    def list_manifest_files(self, snapshot_id: str) -> list[ManifestFileInfo]:
        """Return the manifests that a snapshot refers to, with their sizes. One GET, unless cached.

        Raises
        ------
        StorageError
            There is no such snapshot.
        """
        return [
            ManifestFileInfo._of(str(id), size_bytes=size_bytes, num_chunk_refs=num_refs)
            for id, size_bytes, num_refs in self._engine.manifest_files(
                SnapshotId.parse(text("snapshot_id", snapshot_id))
            )
        ]

    list_manifest_files_async = async_form(list_manifest_files)

    def inspect_snapshot(self, snapshot_id: str) -> dict[str, Any]:
        """Report what lies in the file of a snapshot, as JSON: nodes, shapes, manifests, metadata.

        Raises
        ------
        StorageError
            There is no such snapshot.
        """
        return self._engine.inspect_snapshot(SnapshotId.parse(text("snapshot_id", snapshot_id)))

    inspect_snapshot_async = async_form(inspect_snapshot)

    def inspect_repo_info(self) -> dict[str, Any]:
        """Report what lies in the file `repo`, as JSON: refs, snapshots, the newest of the ops log.

        Raises
        ------
        FormatError
            The repository is of spec version 1, which has no such file.
        """
        return self._engine.inspect_repo_info()

    inspect_repo_info_async = async_form(inspect_repo_info)

    def inspect_manifest(self, manifest_id: str) -> dict[str, Any]:
        """Report what lies in a manifest, as JSON: how many chunk refs of which kind.

        Raises
        ------
        StorageError
            There is no such manifest.
        """
        return self._engine.inspect_manifest(_manifest_id(text("manifest_id", manifest_id)))

    inspect_manifest_async = async_form(inspect_manifest)

    def inspect_transaction_log(self, snapshot_id: str) -> dict[str, Any]:
        """Report what lies in the transaction log of a commit, as JSON: which nodes and chunks changed.

        If expiration has removed ancestors of the snapshot, what they changed is part of it.

        Raises
        ------
        StorageError
            There is no such log.
        """
        return self._engine.inspect_transaction_log(SnapshotId.parse(text("snapshot_id", snapshot_id)))

    inspect_transaction_log_async = async_form(inspect_transaction_log)


def _manifest_id(text: str) -> ManifestId:
    try:
        return ManifestId.parse(text)
    except FormatError:
        raise InvalidInputError(f"invalid manifest id: `{text}`", kind=ErrorKind.UNKNOWN) from None

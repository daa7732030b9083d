"""The repository's immutable objects, typed: fetched through caches, written with their envelopes."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from itertools import islice, pairwise
from typing import TYPE_CHECKING, TypeVar

from icechunk._engine.assets.after_fork import remake_after_fork
from icechunk._engine.assets.fanout import run_all
from icechunk._engine.assets.weighted_cache import WeightedCache
from icechunk._engine.format.envelope import open_file, seal_file
from icechunk._engine.format.header import FileType
from icechunk._engine.format.ids import ChunkId, ManifestId, SnapshotId
from icechunk._engine.format.layout import (
    chunk_path,
    manifest_path,
    snapshot_path,
    transaction_log_path,
)
from icechunk._engine.format.manifest import Manifest
from icechunk._engine.format.snapshot import Snapshot
from icechunk._engine.format.transaction_log import TransactionLog
from icechunk._version import CLIENT_NAME
from icechunk.abc.storage import Buffer, Locality, ObjectKind, StorageBackend
from icechunk.plugins import registry

if TYPE_CHECKING:
    from datetime import datetime

    from icechunk._values.effective import EffectiveSettings
    from icechunk._values.storage_settings import StorageSettings
    from icechunk.abc.locations import Location

T = TypeVar("T")

# If no level is set. Manifests are rows of random ids, or of nearly the same numbers. On all kinds of them level 1 takes
# half to two thirds of the time of level 3 (native, inline, virtual; 10^4 to 10^6 refs), and what comes out is about as
# small. Below 1 MiB a request, or Python, takes longer than what more bytes cost: level -1 takes four fifths again, and
# makes 5 % more for native refs and up to 20 % for inline ones.
_LEVEL_OF_MANIFESTS = 1
_LEVEL_OF_SMALL_MANIFESTS = -1
_SMALL_MANIFEST_BYTES = 2**20

# What the reference puts beside each metadata object, for people who look at a bucket.
_FILE_TYPE_NAMES = {
    FileType.SNAPSHOT: "snapshot",
    FileType.MANIFEST: "manifest",
    FileType.TRANSACTION_LOG: "transaction-log",
    FileType.REPO_INFO: "repo-info",
}


def file_metadata(file_type: FileType, spec_version: int) -> Mapping[str, str]:
    """Return the user metadata that goes with a metadata file, where storage keeps such."""
    return {
        "icspecver": str(spec_version),
        "icclient": CLIENT_NAME,
        "icfiletype": _FILE_TYPE_NAMES[file_type],
        "iccompalg": "zstd",
    }


@dataclass(frozen=True, slots=True)
class SealedFile:
    """A metadata file, encoded and compressed, that is still to be written."""

    path: str
    data: bytes
    user_metadata: Mapping[str, str]
    remember: Callable[[], None]
    """Puts what the file says into the cache, when it is written."""

    @property
    def size_bytes(self) -> int:
        return len(self.data)


class Assets:
    """Snapshots, manifests, transaction logs and chunks of one repository, over its storage.

    One for each repository handle, shared by its sessions, and safe to use from many threads and
    in forked children. It pickles: the copy connects anew and starts with empty caches.

    Everything here is written once and never changed, so caches need no validation. (The one
    exception is spec 1 expiration, which rewrites snapshots in place: other processes reopen.)
    """

    def __init__(
        self, location: Location, storage_settings: StorageSettings, settings: EffectiveSettings
    ) -> None:
        self.location = location
        self.storage_settings = storage_settings
        self.settings = settings
        self._backend: StorageBackend | None = registry.connect(location, storage_settings)
        self.locality: Locality = self._backend.locality
        self._compression_level = settings.compression_level
        self._is_level_set = settings.is_compression_level_set
        self._snapshots: WeightedCache[SnapshotId, Snapshot] = WeightedCache(
            settings.num_snapshot_nodes, _weigh_snapshot
        )
        self._manifests: WeightedCache[ManifestId, Manifest] = WeightedCache(
            settings.num_chunk_refs, _weigh_manifest
        )
        self._logs: WeightedCache[SnapshotId, TransactionLog] = WeightedCache(
            settings.num_transaction_changes, _weigh_log
        )
        self._chunks: WeightedCache[tuple[ChunkId, int, int], bytes | memoryview] = WeightedCache(
            settings.num_bytes_chunks, len
        )
        self._caches_chunks = settings.num_bytes_chunks > 0
        self._caches_logs = settings.num_transaction_changes > 0
        remake_after_fork(self)

    def __reduce__(self) -> tuple[type[Assets], tuple[Location, StorageSettings, EffectiveSettings]]:
        return Assets, (self.location, self.storage_settings, self.settings)

    def reconfigured(self, storage_settings: StorageSettings, settings: EffectiveSettings) -> Assets:
        """Return assets of the same repository under other settings, sharing these caches.

        The caches keep their limits.
        """
        if storage_settings == self.storage_settings and settings == self.settings:
            return self
        other = Assets(self.location, storage_settings, settings)
        other._snapshots = self._snapshots
        other._manifests = self._manifests
        other._logs = self._logs
        other._chunks = self._chunks
        return other

    def remake_after_fork(self) -> None:
        """Connect anew in a forked child: sockets must not be shared with the parent."""
        if self.locality is Locality.REMOTE:
            # Not closed: that would say goodbye on the parent's connections.
            self._backend = None
        for cache in (self._snapshots, self._manifests, self._logs, self._chunks):
            cache.remake_after_fork()

    @property
    def backend(self) -> StorageBackend:
        """The storage, for what is mutable: the repository layer reads and updates it there."""
        backend = self._backend
        if backend is None:
            backend = self._backend = registry.connect(self.location, self.storage_settings)
        return backend

    def run_requests(self, requests: Sequence[Callable[[], T]]) -> list[T]:
        """Call functions that each make a request: side by side on remote storage, else in turn.

        Results come in the order of `requests`; the first error is raised when nothing runs any more.
        """
        # In turn where threads only cost: a local file is there before another thread has begun.
        return run_all(requests) if self.locality is Locality.REMOTE else [call() for call in requests]

    def stream_requests(self, requests: Iterable[Callable[[], T]], *, together: int) -> Iterator[T]:
        """Yield the results of functions that each make a request, in order.

        On remote storage up to `together` of them are made side by side, ahead of need; elsewhere
        each when its result is asked for.
        """
        if self.locality is not Locality.REMOTE:
            yield from (call() for call in requests)
            return
        rest = iter(requests)
        while batch := list(islice(rest, together)):
            yield from run_all(batch)

    # -- snapshots --------------------------------------------------------------------------------

    def cached_snapshot(self, id: SnapshotId) -> Snapshot | None:
        """Return the snapshot if it is in the cache. No I/O."""
        return self._snapshots.find(id)

    def load_snapshot(self, id: SnapshotId) -> Snapshot:
        """Return a snapshot: one GET if it is not cached.

        Raises
        ------
        ObjectNotFoundError
            There is no such snapshot.
        FormatError
            The file is damaged, or of a newer format.
        """
        return self._snapshots.load(id, partial(self._fetch_snapshot, id))

    def _fetch_snapshot(self, id: SnapshotId) -> Snapshot:
        path = snapshot_path(id)
        header, payload = open_file(self._fetch(path), FileType.SNAPSHOT, name=path)
        return Snapshot.decode(payload, header.spec_version, name=path)

    def snapshot_created_at(self, id: SnapshotId) -> datetime:
        """Return when a snapshot was written, by the storage's clock. One HEAD."""
        return self.backend.stat(snapshot_path(id)).created_at

    # -- manifests --------------------------------------------------------------------------------

    def cached_manifest(self, id: ManifestId) -> Manifest | None:
        """Return the manifest if it is in the cache. No I/O."""
        return self._manifests.find(id)

    def load_manifest(self, id: ManifestId, size_bytes: int) -> Manifest:
        """Return a manifest: one GET if it is not cached, several side by side if it is large.

        `size_bytes` is the file's size as the snapshot tells it.

        Raises
        ------
        ObjectNotFoundError
            There is no such manifest.
        FormatError
            The file is damaged, or of a newer format.
        """
        return self._manifests.load(id, partial(self._fetch_manifest, id, size_bytes))

    def _fetch_manifest(self, id: ManifestId, size_bytes: int) -> Manifest:
        path = manifest_path(id)
        _header, payload = open_file(self._fetch_span(path, 0, size_bytes), FileType.MANIFEST, name=path)
        return Manifest.decode(payload, name=path)

    # -- transaction logs -------------------------------------------------------------------------

    def load_transaction_log(self, id: SnapshotId) -> TransactionLog:
        """Return what the commit that made snapshot `id` changed: one GET if it is not cached.

        Raises
        ------
        ObjectNotFoundError
            There is no such log.
        FormatError
            The file is damaged, or of a newer format.
        """
        if not self._caches_logs:
            # Nobody waits for the log that another thread reads, and a rebase reads many small ones.
            return self._fetch_transaction_log(id)
        return self._logs.load(id, partial(self._fetch_transaction_log, id))

    def _fetch_transaction_log(self, id: SnapshotId) -> TransactionLog:
        path = transaction_log_path(id)
        _header, payload = open_file(self._fetch(path), FileType.TRANSACTION_LOG, name=path)
        return TransactionLog.decode(payload, name=path)

    # -- chunks -----------------------------------------------------------------------------------

    def fetch_chunk(self, id: ChunkId, start: int, stop: int) -> bytes | memoryview:
        """Read bytes `start` to `stop`, excluded, of a native chunk. May return a read-only view.

        Raises
        ------
        ObjectNotFoundError
            There is no such chunk.
        StorageError
            Of kind ``invalid-object-size`` if the object is shorter than `stop`.
        """
        if start >= stop:
            return b""
        if self._caches_chunks:
            return self._chunks.load(
                (id, start, stop), partial(self._fetch_span, chunk_path(id), start, stop)
            )
        if self.locality is not Locality.REMOTE:
            return (self._backend or self.backend).fetch(chunk_path(id), (start, stop)).data
        return self._fetch_span(chunk_path(id), start, stop)

    def write_chunk(self, data: Buffer) -> ChunkId:
        """Write a new chunk, and return the id that it was given. One PUT."""
        id = ChunkId.random()
        self.backend.put(chunk_path(id), data, kind=ObjectKind.CHUNK, fresh=True)
        return id

    # -- writing metadata files -------------------------------------------------------------------

    def seal_snapshot(self, id: SnapshotId, pieces: Iterable[Buffer], spec_version: int) -> SealedFile:
        """Compress an encoded snapshot, ready for `write_all`."""
        payload = _joined(pieces)
        return self._seal(
            snapshot_path(id),
            payload,
            FileType.SNAPSHOT,
            spec_version,
            lambda: self._snapshots.put(
                id, Snapshot.decode(memoryview(payload), spec_version, name=snapshot_path(id))
            ),
        )

    def seal_manifest(
        self, id: ManifestId, pieces: Iterable[Buffer], spec_version: int, *, num_refs: int
    ) -> SealedFile:
        """Compress an encoded manifest, ready for `write_all`."""
        payload = _joined(pieces)
        return self._seal(
            manifest_path(id),
            payload,
            FileType.MANIFEST,
            spec_version,
            # Decoded when it is asked for: a commit may write thousands.
            lambda: self._manifests.put_later(
                id, partial(Manifest.decode, memoryview(payload), name=manifest_path(id)), num_refs
            ),
        )

    def seal_transaction_log(self, id: SnapshotId, pieces: Iterable[Buffer], spec_version: int) -> SealedFile:
        """Compress an encoded transaction log, ready for `write_all`."""
        return self._seal(
            transaction_log_path(id),
            _joined(pieces),
            FileType.TRANSACTION_LOG,
            spec_version,
            # Logs are read by others and seldom; the cache's default capacity is nothing.
            lambda: None,
        )

    def _seal(
        self,
        path: str,
        payload: bytes,
        file_type: FileType,
        spec_version: int,
        remember: Callable[[], None],
    ) -> SealedFile:
        level = self._compression_level
        if file_type is FileType.MANIFEST and not self._is_level_set:
            is_small = len(payload) < _SMALL_MANIFEST_BYTES
            level = _LEVEL_OF_SMALL_MANIFESTS if is_small else _LEVEL_OF_MANIFESTS
        data = seal_file(payload, file_type, spec_version, level=level)
        return SealedFile(path, data, file_metadata(file_type, spec_version), remember)

    def write_all(self, files: Sequence[SealedFile], *, beside: Callable[[], object] | None = None) -> object:
        """Write new files under random names: side by side on remote storage, else in turn.

        When it returns, all of them are there. They are then in the caches, too. On remote storage
        `beside` is called meanwhile; what it returns is returned.
        """
        work: list[Callable[[], object]] = [partial(self._write, file) for file in files]
        if beside is None or self.locality is not Locality.REMOTE:
            self.run_requests(work)
            return None
        # First, so that it waits for none of the others if there are more than go out at once.
        return run_all([beside, *work])[0]

    def write_named(self, file: SealedFile) -> None:
        """Write a file whose name is known to others: the initial snapshot and its log."""
        self._write(file, fresh=False)

    def _write(self, file: SealedFile, *, fresh: bool = True) -> None:
        self.backend.put(
            file.path,
            file.data,
            kind=ObjectKind.METADATA,
            fresh=fresh,
            user_metadata=file.user_metadata,
        )
        file.remember()

    # -- reading ----------------------------------------------------------------------------------

    def _fetch(self, path: str) -> bytes | memoryview:
        return self.backend.fetch(path).data

    def _fetch_span(self, path: str, start: int, stop: int) -> bytes | memoryview:
        """Read a range, in several requests side by side where that is faster."""
        backend = self._backend or self.backend
        if self.locality is Locality.REMOTE:
            parts = _split_range(
                start,
                stop,
                self.settings.ideal_concurrent_request_size,
                self.settings.max_concurrent_requests_for_object,
            )
            if len(parts) > 1:
                # The parts arrive in one buffer, so that joining them copies nothing.
                whole = memoryview(bytearray(stop - start))
                run_all([partial(backend.read_into, path, a, whole[a - start : b - start]) for a, b in parts])
                return whole.toreadonly()
        return backend.fetch(path, (start, stop)).data


def _split_range(start: int, stop: int, ideal: int, limit: int) -> list[tuple[int, int]]:
    """Split a range into at most `limit` parts of about `ideal` bytes, that differ by one at most."""
    size = stop - start
    parts = min(max(1, -(-size // max(1, ideal))), max(1, limit))
    if parts == 1:
        return [(start, stop)]
    edges = [start + size * i // parts for i in range(parts + 1)]
    return list(pairwise(edges))


def _joined(pieces: Iterable[Buffer]) -> bytes:
    # One piece alone is not copied.
    return b"".join(pieces)


def _weigh_snapshot(snapshot: Snapshot) -> int:
    return snapshot.num_nodes


def _weigh_manifest(manifest: Manifest) -> int:
    return manifest.num_refs


def _weigh_log(log: TransactionLog) -> int:
    nodes = (
        len(log.new_groups) + len(log.new_arrays),
        len(log.deleted_groups) + len(log.deleted_arrays),
        len(log.updated_groups) + len(log.updated_arrays),
        len(log.moved_nodes),
    )
    return sum(nodes) + sum(len(coords) for coords in log.updated_chunks.values())

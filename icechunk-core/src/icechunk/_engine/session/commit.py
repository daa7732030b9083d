"""Turns a session's change set into a new snapshot, and has the history publish it.

Commit, amend and flush differ in what the history makes of the snapshot, and in the transaction log.

Protocol 3.4 and 3.5. Manifests, transaction log and snapshot do not depend on each other's being
there, so they go out together; the history comes last, when all of them are.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from functools import cached_property, partial
from operator import itemgetter
from typing import TYPE_CHECKING, Any

from icechunk._engine.assets.clock import now_after, time_text
from icechunk._engine.assets.fanout import run_all
from icechunk._engine.format.ids import INITIAL_SNAPSHOT_ID, ManifestId, SnapshotId
from icechunk._engine.format.manifest import LocationCompression, encode_manifest
from icechunk._engine.format.manifest_splicing import encode_few_refs, splice_manifest
from icechunk._engine.format.repo_info_records import NewSnapshot
from icechunk._engine.format.snapshot import rewrite_snapshot
from icechunk._engine.format.snapshot_records import (
    ArrayNode,
    GroupNode,
    ManifestFileInfo,
    ManifestRef,
)
from icechunk._engine.session.history import Publication
from icechunk._engine.session.kinds import (
    PublishKind,
    SessionKind,
    amend_of_first_commit,
    commit_refused,
    edit_refused,
    flush_refused,
    needs_spec_2,
)
from icechunk._engine.session.logs import log_of, merged_logs
from icechunk._engine.session.manifests import ArrayPlan, build_manifests, extents_after, extents_of
from icechunk._engine.session.rearranged import moved_nodes
from icechunk._engine.session.splitting import BoxGrid, tight_extents
from icechunk._values.splitting import box_edges
from icechunk.abc.storage import Locality
from icechunk.errors import (
    ConflictError,
    ErrorKind,
    FormatError,
    IcechunkError,
    ReadOnlyError,
    RefNotFoundError,
    SessionStateError,
)

if TYPE_CHECKING:
    from icechunk._engine.assets.assets import Assets, SealedFile
    from icechunk._engine.changes import ChangeSet
    from icechunk._engine.format.chunk_refs import RefColumns
    from icechunk._engine.format.envelope import Buffer
    from icechunk._engine.format.ids import NodeId
    from icechunk._engine.format.manifest import Manifest
    from icechunk._engine.format.snapshot import Snapshot
    from icechunk._engine.format.snapshot_records import Node
    from icechunk._engine.format.transaction_log import TransactionLog
    from icechunk._engine.format.values import JsonValue
    from icechunk._engine.session.session import EngineSession
    from icechunk._engine.session.splitting import Coords
    from icechunk._values.repository_config import RepositoryConfig

# How far the clock of remote storage may be from ours (protocol 3.4, step 6).
_MAX_CLOCK_DIFFERENCE_SECONDS = 600

# Manifests that are fetched side by side before the arrays they belong to are rebuilt; so many are in
# memory at once, whatever the cache may keep.
_FETCHED_TOGETHER = 64

# Up to here a list of all manifests is faster than columns of them.
_FEW_NODES = 64

# What is compressed and waits to go out together with the rest. Beyond this it goes ahead.
_MAX_HELD_BYTES = 64 * 2**20


def commit_session(
    session: EngineSession,
    message: str,
    metadata: Mapping[str, JsonValue] | None,
    *,
    allow_empty: bool,
) -> SnapshotId:
    """Write the session's changes as a new snapshot, and point its branch to it.

    The caller has made sure that nobody edits the session meanwhile, and makes it read-only
    afterwards. If this raises, what was written is garbage that nothing refers to, and the session
    is as it was. The same holds for `amend_session` and `flush_session`.

    Raises
    ------
    SessionStateError
        The session has no branch; or nothing has changed, and not `allow_empty`.
    ConflictError
        Somebody else has moved the branch.
    FormatError
        Of kind ``snapshot-timestamp``: the clock is wrong.
    """
    branch = _branch_to_commit_to(session, allow_empty=allow_empty)
    publication = _written(session, message, metadata)
    publish = partial(session.history.publish_commit, branch, expected_tip=session.snapshot_id)
    return _published(session, publication, publish, "commit")


def amend_session(
    session: EngineSession,
    message: str,
    metadata: Mapping[str, JsonValue] | None,
    *,
    allow_empty: bool,
) -> SnapshotId:
    """Write a new snapshot that takes the place of the session's base, which is its branch's tip.

    Its transaction log says what both have changed.

    Raises
    ------
    FormatError
        The repository is of spec version 1; or as for a commit.
    SessionStateError
        As for a commit; or the base is the first snapshot of the repository; or it has moved
        nodes, and this session does anything else.
    ConflictError
        Somebody else has moved the branch.
    """
    if session.spec_version < 2:
        raise needs_spec_2(prefix="session error: ")
    branch = _branch_to_commit_to(session, allow_empty=allow_empty)
    if session.snapshot_id == INITIAL_SNAPSHOT_ID:
        raise amend_of_first_commit()
    previous = session.assets.load_transaction_log(session.snapshot_id)
    if previous.moved_nodes and session.kind is not SessionKind.REARRANGE:
        raise edit_refused(SessionKind.REARRANGE, prefix="session error: ")
    publication = _written(session, message, metadata, previous=previous)
    publish = partial(session.history.publish_amend, branch, expected_tip=session.snapshot_id)
    return _published(session, publication, publish, "amend")


def flush_session(
    session: EngineSession, message: str, metadata: Mapping[str, JsonValue] | None
) -> SnapshotId:
    """Write the state of the session as a new snapshot that no ref leads to, changed or not.

    Raises
    ------
    IcechunkError
        The session is a fork.
    FormatError
        Of kind ``snapshot-timestamp``: the clock is wrong.
    """
    if session.kind is SessionKind.FORK:
        raise flush_refused()
    publication = _written(session, message, metadata)
    return _published(session, publication, session.history.publish_detached, "flush")


def _branch_to_commit_to(session: EngineSession, *, allow_empty: bool) -> str:
    if session.branch is None:
        raise commit_refused()
    if session.changes.is_empty and not allow_empty:
        raise SessionStateError(
            "session error: cannot commit, no changes made to the session "
            "(use `allow_empty=true` to commit anyway)",
            kind=ErrorKind.NO_CHANGES_TO_COMMIT,
        )
    return session.branch


def _written(
    session: EngineSession,
    message: str,
    metadata: Mapping[str, JsonValue] | None,
    *,
    previous: TransactionLog | None = None,
) -> Publication:
    """Write the session's changes, ready to be published."""
    properties = {**session.default_metadata, **(metadata or {})}
    snapshot, seen = write_changes(session, message, properties, previous=previous)
    check = None
    if session.assets.locality is Locality.REMOTE:
        check = partial(_check_storage_clock, session.assets, snapshot)
    return Publication(snapshot, session.kind is SessionKind.REARRANGE, seen, check)


def _published(
    session: EngineSession,
    publication: Publication,
    publish: Callable[[Publication], None],
    what: PublishKind,
) -> SnapshotId:
    """Have the history publish a snapshot, and find out whether it did if it does not say so."""
    id = publication.snapshot.id
    try:
        publish(publication)
    except ConflictError:
        raise
    except (ReadOnlyError, RefNotFoundError, SessionStateError) as error:
        raise type(error)(f"session error: {error.message}", kind=error.kind) from None
    except BaseException as error:
        # Ctrl-C, or storage that fails for good after its answer was lost: the history knows.
        if not _is_in_the_history(session, id, what):
            raise
        if not isinstance(error, Exception):
            session.become_read_only(id)
            raise
    return id


def _is_in_the_history(session: EngineSession, id: SnapshotId, what: PublishKind) -> bool:
    try:
        return session.history.has_commit(session.branch, id)
    except IcechunkError:
        # It cannot be asked either. The session stays writable, and asks again before it tries again.
        session.leave_in_doubt(what, id)
        return False


def _check_storage_clock(assets: Assets, snapshot: NewSnapshot) -> None:
    stored_at = assets.snapshot_created_at(snapshot.id)
    difference = abs(stored_at.timestamp() - snapshot.flushed_at / 1e6)
    if difference > _MAX_CLOCK_DIFFERENCE_SECONDS:
        raise FormatError(
            "session error: invalid snapshot timestamp: the storage says "
            f"`{stored_at:%Y-%m-%d %H:%M:%S.%f} UTC`, this machine `{time_text(snapshot.flushed_at)}`; "
            "please verify the machine clock",
            kind=ErrorKind.SNAPSHOT_TIMESTAMP,
        )


def write_changes(
    session: EngineSession,
    message: str,
    metadata: dict[str, JsonValue],
    *,
    previous: TransactionLog | None = None,
    look: bool = True,
) -> tuple[NewSnapshot, object]:
    """Write what the session has changed: manifests, transaction log and snapshot.

    All of them are there when this returns; nothing refers to them yet. The log includes
    `previous`, if that is given. Beside the snapshot, return what the history has `seen` meanwhile:
    nothing without `look`, for what is not going to be published.
    """
    assets, changes, spec_version = session.assets, session.changes, session.spec_version
    base = session.base()
    manifests = _Manifests(assets, session.config, spec_version)
    nodes = _changed_nodes(session, base, manifests)
    moved = list(moved_nodes(base, changes.moves))
    nodes.update((node.path, replace(node.before, path=node.path)) for node in moved)
    log = log_of(
        SnapshotId.random(),
        changes,
        updated_chunks=manifests.touched,
        moved_nodes=[node.record for node in moved],
    )
    if previous is not None:
        log = merged_logs(previous, log)
    flushed_at = now_after(base.flushed_at)
    if flushed_at <= base.flushed_at:
        raise FormatError(
            "session error: invalid snapshot timestamp ordering. "
            f"parent: `{time_text(base.flushed_at)}`, child: `{time_text(flushed_at)}`",
            kind=ErrorKind.SNAPSHOT_TIMESTAMP,
        )
    # By id, too: after a rebase the path may be that of a node which somebody else has put there.
    removed = [
        path
        for deleted in (changes.deleted_groups, changes.deleted_arrays)
        for path, id in deleted.items()
        if path not in nodes and is_at(base, path, id)
    ]
    removed += [node.before.path for node in moved if node.before.path not in nodes]
    snapshot = rewrite_snapshot(
        base,
        id=log.id,
        parent_id=base.id if spec_version == 1 else None,
        flushed_at=flushed_at,
        message=message,
        metadata=metadata,
        set_nodes=nodes,
        removed_paths=removed,
        **_manifest_files(base, manifests.files, _removed_manifests(base, nodes, removed, manifests)),
        spec_version=spec_version,
    )
    files = [
        *manifests.held,
        assets.seal_transaction_log(log.id, log.encode(), spec_version),
        assets.seal_snapshot(log.id, snapshot, spec_version),
    ]
    seen = assets.write_all(files, beside=session.history.look if look else None)
    written = NewSnapshot(
        id=log.id,
        parent_id=session.snapshot_id,
        flushed_at=flushed_at,
        message=message,
        metadata=metadata,
    )
    return written, seen


def _changed_nodes(session: EngineSession, base: Snapshot, manifests: _Manifests) -> dict[str, Node]:
    """Return the nodes that are new or different, by path, with their manifests built."""
    changes = session.changes
    nodes: dict[str, Node] = {}
    for path, group in changes.new_groups.items():
        nodes[path] = GroupNode(group.id, path, group.user_data)
    # What the session has created and a fork has updated is in both, and its creation is up to date.
    new_group_ids = {group.id for group in changes.new_groups.values()}
    for id, user_data in changes.updated_groups.items():
        if id in new_group_ids:
            continue
        node = _base_node(session, id)
        nodes[node.path] = GroupNode(id, node.path, user_data)
    # Arrays as they will be, still with the manifests that they have now.
    arrays: list[ArrayNode] = [
        ArrayNode(array.id, path, array.user_data, array.shape, array.dimension_names, ())
        for path, array in changes.new_arrays.items()
    ]
    new_ids = {array.id for array in arrays}
    for id in (changes.updated_arrays.keys() | changes.chunks.keys()) - new_ids:
        node = _base_node(session, id)
        if not isinstance(node, ArrayNode):
            raise _not_in_snapshot(session, id)
        update = changes.updated_arrays.get(id)
        if update is not None:
            # The refs of a grid with other dimensions have no place in the new one.
            manifests_now = node.manifests if len(update.shape) == len(node.shape) else ()
            node = ArrayNode(
                id, node.path, update.user_data, update.shape, update.dimension_names, manifests_now
            )
        arrays.append(node)
    for node in manifests.rebuilt(base, changes, arrays):
        nodes[node.path] = node
    return nodes


def is_at(base: Snapshot, path: str, id: NodeId) -> bool:
    """Tell whether the node at a path is the one with this id."""
    node = base.find_node(path)
    return node is not None and node.id == id


def _base_node(session: EngineSession, id: NodeId) -> Node:
    node = session.base_node(id)
    if node is None:
        raise _not_in_snapshot(session, id)
    return node


def _not_in_snapshot(session: EngineSession, id: NodeId) -> FormatError:
    return FormatError(
        f"snapshot {session.snapshot_id} has no such node as the one with id {id}, which the session changed",
        kind=ErrorKind.INVALID_FILE_FORMAT,
    )


class _Manifests:
    """Builds the manifests of one commit: those of touched arrays, one array after the other."""

    def __init__(self, assets: Assets, config: RepositoryConfig, spec_version: int) -> None:
        self._assets = assets
        self._config = config
        self._spec_version = spec_version
        self.files: list[ManifestFileInfo] = []
        """What the new snapshot has to say of the new manifests."""
        self.held: list[SealedFile] = []
        """New manifests that are still to be written."""
        self.touched: dict[NodeId, Coords] = {}
        """For each array with changed chunks, which they are: for the transaction log."""
        self.of_one_array: set[ManifestId] = set()
        """Old manifests that were read, and that no other array can be using."""
        self._held_bytes = 0

    @cached_property
    def _location_compression(self) -> LocationCompression | None:
        return _location_compression(self._config, self._spec_version)

    def rebuilt(self, base: Snapshot, changes: ChangeSet, arrays: Sequence[ArrayNode]) -> Iterator[ArrayNode]:
        """Yield each array with the manifests that it has after the commit."""
        for first in range(0, len(arrays), _FETCHED_TOGETHER):
            batch = arrays[first : first + _FETCHED_TOGETHER]
            plans = [self._plan(array, changes) for array in batch]
            fetched = self._fetch(base, [ref for plan in plans for ref in plan.to_read])
            for array, plan in zip(batch, plans, strict=True):
                yield replace(array, manifests=self._build(plan, fetched))

    def _plan(self, array: ArrayNode, changes: ChangeSet) -> ArrayPlan:
        num_chunks = tuple(dimension.num_chunks for dimension in array.shape)
        edges = box_edges(self._config, array.path, num_chunks, array.dimension_names)
        table = changes.chunks.get(array.id)
        plan = ArrayPlan(array.id, BoxGrid(edges), array.manifests, table)
        if table is not None:
            self.touched[array.id] = plan.all_touched
        return plan

    def _fetch(self, base: Snapshot, refs: Sequence[ManifestRef]) -> dict[ManifestId, Manifest]:
        """Return manifests by id; on remote storage those that are not cached come side by side."""
        fetched: dict[ManifestId, Manifest] = {}
        loads: dict[ManifestId, Callable[[], Manifest]] = {}
        for ref in refs:
            id = ref.manifest_id
            cached = self._assets.cached_manifest(id)
            if cached is not None:
                fetched[id] = cached
            else:
                size_bytes = base.manifest_file(id).size_bytes
                loads[id] = partial(self._assets.load_manifest, id, size_bytes)
        if self._assets.locality is Locality.REMOTE:
            fetched.update(zip(loads, run_all(list(loads.values())), strict=True))
        else:
            for id, load in loads.items():
                fetched[id] = load()
        self.of_one_array.update(id for id, manifest in fetched.items() if len(manifest.node_ids) == 1)
        return fetched

    def _build(self, plan: ArrayPlan, fetched: Mapping[ManifestId, Manifest]) -> tuple[ManifestRef, ...]:
        refs = list(plan.kept)
        spliced = self._spliced(plan, fetched)
        if spliced is not None:
            refs += spliced
        else:
            for box, columns in build_manifests(plan, fetched):
                refs.append((box, self._new_manifest(plan.node_id, columns)))
        # In the order of the boxes, as the reference writes them.
        refs.sort(key=itemgetter(0))
        return tuple([ref for _box, ref in refs])

    def _spliced(
        self, plan: ArrayPlan, fetched: Mapping[ManifestId, Manifest]
    ) -> list[tuple[int, ManifestRef]] | None:
        """Write the new manifests as changes in the bytes of the old ones, if that is possible."""
        changes = plan.simple_changes()
        if changes is None:
            return None
        # All of them or none: nothing is written before that is clear.
        new: list[tuple[int, ManifestRef, list[Buffer], int]] = []
        for box, edits, old in changes:
            id = ManifestId.random()
            if old is None:
                live = [(coords, ref) for coords, ref in edits if ref is not None]
                if live:
                    pieces = encode_few_refs(id, plan.node_id, live)
                    if pieces is None:
                        return None
                    new.append((box, ManifestRef(id, extents_of(live)), pieces, len(live)))
                continue
            extents = extents_after(old.extents, edits)
            if extents is None:
                return None
            result = splice_manifest(fetched[old.manifest_id], id, plan.node_id, edits)
            if result is None:
                return None
            new.append((box, ManifestRef(id, extents), *result))
        for _box, ref, pieces, num_refs in new:
            self._add(ref.manifest_id, pieces, num_refs)
        return [(box, ref) for box, ref, _pieces, _num_refs in new]

    def _new_manifest(self, node_id: NodeId, columns: RefColumns) -> ManifestRef:
        id = ManifestId.random()
        self._add(id, self._encoded(id, node_id, columns), len(columns))
        return ManifestRef(id, tight_extents(columns.coords))

    def _encoded(self, id: ManifestId, node_id: NodeId, columns: RefColumns) -> list[Buffer]:
        return encode_manifest(
            id,
            [(node_id, columns)],
            spec_version=self._spec_version,
            location_compression=self._location_compression,
        )

    def _add(self, id: ManifestId, pieces: list[Buffer], num_refs: int) -> None:
        file = self._assets.seal_manifest(id, pieces, self._spec_version, num_refs=num_refs)
        self.files.append(ManifestFileInfo(id, file.size_bytes, num_refs))
        if self._assets.locality is Locality.REMOTE:
            self.held.append(file)
            self._held_bytes += file.size_bytes
            if self._held_bytes > _MAX_HELD_BYTES:
                self._assets.write_all(self.held)
                self.held.clear()
                self._held_bytes = 0
        else:
            # Nothing to be won by waiting.
            self._assets.write_all([file])


def _manifest_files(
    base: Snapshot, added: list[ManifestFileInfo], removed: set[ManifestId]
) -> dict[str, Any]:
    """Return what the new snapshot has to say of manifests, as `rewrite_snapshot` is faster with it."""
    if base.num_nodes > _FEW_NODES:
        return {"added_manifest_files": added, "removed_manifest_ids": removed}
    kept = [file for file in base.manifest_files() if file.id not in removed]
    return {"manifest_files": [*kept, *added]}


def _removed_manifests(
    base: Snapshot, nodes: Mapping[str, Node], removed: Sequence[str], manifests: _Manifests
) -> set[ManifestId]:
    """Return the manifests that the base snapshot uses and the new one does not."""
    kept: set[ManifestId] = set()
    dropped: set[ManifestId] = set()
    for path in [*nodes, *removed]:
        before = base.find_node(path)
        if isinstance(before, ArrayNode):
            dropped.update(ref.manifest_id for ref in before.manifests)
    for node in nodes.values():
        if isinstance(node, ArrayNode):
            kept.update(ref.manifest_id for ref in node.manifests)
    dropped -= kept
    if dropped - manifests.of_one_array:
        # A manifest may hold several arrays (nobody writes such, everybody may): another array
        # may still use it.
        touched = {*nodes, *removed}
        for node in base.nodes():
            if isinstance(node, ArrayNode) and node.path not in touched:
                dropped.difference_update(ref.manifest_id for ref in node.manifests)
    return dropped


def _location_compression(config: RepositoryConfig, spec_version: int) -> LocationCompression | None:
    """Return when and how to compress the locations of virtual chunks."""
    if spec_version == 1:
        return None
    settings = config.effective("manifest").effective("virtual_chunk_location_compression")
    return LocationCompression(
        min_num_refs=settings.effective("min_num_chunks"),
        max_training_samples=settings.effective("dictionary_max_training_samples"),
        max_dictionary_bytes=settings.effective("dictionary_max_size_bytes"),
        level=settings.effective("compression_level"),
    )

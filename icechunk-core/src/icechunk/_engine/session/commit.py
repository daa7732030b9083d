"""Turns a session's change set into a new snapshot, and has the history publish it.

Commit, amend and flush differ in what the history makes of the snapshot, and in the transaction log.

Protocol 3.4 and 3.5. Manifests, transaction log and snapshot do not depend on each other's being
there, so they go out together; the history comes last, when all of them are.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING

from icechunk._engine.assets.clock import now_after, time_text
from icechunk._engine.format.ids import INITIAL_SNAPSHOT_ID, SnapshotId
from icechunk._engine.format.repo_info_records import NewSnapshot
from icechunk._engine.format.snapshot import rewrite_snapshot
from icechunk._engine.format.snapshot_records import (
    ArrayNode,
    GroupNode,
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
from icechunk._engine.session.manifest_writing import ManifestWriter
from icechunk._engine.session.rearranged import moved_nodes
from icechunk.abc.storage import Locality
from icechunk.errors import (
    ConflictError,
    ErrorKind,
    FormatError,
    IcechunkError,
    ReadOnlyError,
    RefNotFoundError,
    RepositoryNotFoundError,
    SessionStateError,
)

if TYPE_CHECKING:
    from icechunk._engine.assets.assets import Assets
    from icechunk._engine.format.ids import NodeId
    from icechunk._engine.format.snapshot import Snapshot
    from icechunk._engine.format.snapshot_records import Node
    from icechunk._engine.format.transaction_log import TransactionLog
    from icechunk._engine.format.values import JsonValue
    from icechunk._engine.session.session import EngineSession

# How far the clock of remote storage may be from ours (protocol 3.4, step 6).
_MAX_CLOCK_DIFFERENCE_SECONDS = 600


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
    # From here on Ctrl-C may come when it has been published and nobody here knows yet.
    session.leave_in_doubt(what, id)
    try:
        publish(publication)
    except ConflictError:
        session.settle_doubt()
        raise
    except (ReadOnlyError, RefNotFoundError, RepositoryNotFoundError, SessionStateError) as error:
        session.settle_doubt()
        raise type(error)(f"session error: {error.message}", kind=error.kind) from None
    except BaseException as error:
        # Ctrl-C, or storage that fails for good after its answer was lost: the history knows.
        if not _is_in_the_history(session, id):
            raise
        if not isinstance(error, Exception):
            session.become_read_only(id)
            raise
    return id


def _is_in_the_history(session: EngineSession, id: SnapshotId) -> bool:
    try:
        is_there = session.history.has_commit(session.branch, id)
    except IcechunkError:
        # It cannot be asked either. The session stays writable, and asks again before it tries again.
        return False
    if not is_there:
        session.settle_doubt()
    return is_there


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
    manifests = ManifestWriter(assets, session.config, spec_version)
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
        **manifests.listing(base, nodes, removed),
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


def _changed_nodes(session: EngineSession, base: Snapshot, manifests: ManifestWriter) -> dict[str, Node]:
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

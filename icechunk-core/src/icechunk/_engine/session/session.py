"""A session: one base snapshot, one change set, and what is found and written through them.

The engine's side of `icechunk.Session` and `IcechunkStore`, which are doors to it. Blocking, and
safe to use from many threads; `lifecycle` has the lock, and the rules of who may do what, when.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, TypeAlias

from icechunk._engine.changes import DELETED, ChangeSet
from icechunk._engine.changes.merging import BaseNodes, merge_changes
from icechunk._engine.format.chunk_refs import ChunkRef, InlineRef, NativeRef
from icechunk._engine.session import commit as committing
from icechunk._engine.session.keys import ChunkKey, MetadataKey, V2Key, parse_coords, parse_key
from icechunk._engine.session.kinds import SessionKind
from icechunk._engine.session.lifecycle import SessionLifecycle
from icechunk._engine.session.reading import NOT_LOADED, ArrayEntry, Entry, GroupEntry, NotLoaded
from icechunk.abc.storage import Locality
from icechunk.errors import ErrorKind, InvalidInputError, NodeNotFoundError

if TYPE_CHECKING:
    from icechunk._engine.assets.assets import Assets
    from icechunk._engine.changes.chunk_table import CoordColumns
    from icechunk._engine.format.chunk_refs import RefColumns
    from icechunk._engine.format.ids import SnapshotId
    from icechunk._engine.format.values import JsonValue
    from icechunk._engine.session.history import History
    from icechunk._values.repository_config import RepositoryConfig
    from icechunk.abc.storage import Buffer

_log = logging.getLogger("icechunk.session")

Found: TypeAlias = bytes | ChunkRef | None
"""What is under a key: a metadata document, a chunk ref, or nothing."""

# A bound for programs that ask for ever new keys; what is in the memo can be had again.
_MAX_MEMO = 2**16

# Semantics, section 3: so many that the user should know that all of them are in memory.
_MANY_CHUNK_CHANGES = 50_000_000

_PICKLE_WRITABLE = (
    "You must opt-in to pickle writable sessions in a distributed context using Session.fork(). "
    "A writable session that was copied to another process could not tell this one what it wrote."
)


class EngineSession(SessionLifecycle):
    """What reads and writes go through; see the module's docstring.

    `assets`, `history` and `config` are those of the repository handle that the session comes from.
    After a commit, an amend or a flush the session is read-only, at the new snapshot.

    Parameters
    ----------
    kind
        What the session is for.
    branch
        Where commits go to, if they go anywhere.
    default_metadata
        What the metadata of commits begins with.
    changes
        What the session has changed already: that of a fork that was pickled.
    """

    def __reduce__(self) -> tuple[object, ...]:
        if self.kind in {SessionKind.EDIT, SessionKind.REARRANGE}:
            raise ValueError(_PICKLE_WRITABLE)
        with self._lock:
            changes = None if self.changes.is_empty else self.changes.copy()
        return _unpickled, (self.assets, self.history, self.snapshot_id, self.config, self.kind, changes)

    # -- other sessions ---------------------------------------------------------------------------

    def reading(self, snapshot_id: SnapshotId, changes: ChangeSet | None = None) -> EngineSession:
        """Make a session that reads another snapshot of the repository, with changes on top of it."""
        return EngineSession(
            self.assets,
            self.history,
            snapshot_id,
            config=self.config,
            kind=SessionKind.READ_ONLY,
            changes=changes,
        )

    def scratch(self) -> EngineSession:
        """Make a session for changes to the same snapshot that are not to be committed."""
        return EngineSession(
            self.assets, self.history, self.snapshot_id, config=self.config, kind=SessionKind.FORK
        )

    # -- publishing -------------------------------------------------------------------------------

    def commit(
        self, message: str, metadata: Mapping[str, JsonValue] | None = None, *, allow_empty: bool = False
    ) -> SnapshotId:
        """Write the change set as a new snapshot, and move the branch to it.

        Edits by other threads are refused while this goes on. If it fails, the session stays as it
        was.

        Raises
        ------
        SessionStateError
            The session has no branch, or no changes.
        ConflictError
            Somebody else has committed to the branch.
        """
        with self.publishing():
            id = self.find_landed("commit")
            if id is None:
                id = committing.commit_session(self, message, metadata, allow_empty=allow_empty)
            self.become_read_only(id)
        return id

    def amend(
        self, message: str, metadata: Mapping[str, JsonValue] | None = None, *, allow_empty: bool = False
    ) -> SnapshotId:
        """As `commit`, but the new snapshot takes the place of the branch's tip.

        Raises
        ------
        FormatError
            The repository is of spec version 1.
        SessionStateError
            As for a commit; or the tip is the first snapshot of the repository, or has moved nodes.
        ConflictError
            Somebody else has committed to the branch.
        """
        with self.publishing():
            id = self.find_landed("amend")
            if id is None:
                id = committing.amend_session(self, message, metadata, allow_empty=allow_empty)
            self.become_read_only(id)
        return id

    def flush(self, message: str, metadata: Mapping[str, JsonValue] | None = None) -> SnapshotId:
        """Write the state of the session as a new snapshot that is on no branch.

        Raises
        ------
        IcechunkError
            The session is a fork.
        """
        with self.publishing():
            id = committing.flush_session(self, message, metadata)
            self.become_read_only(id)
        return id

    # -- nodes ------------------------------------------------------------------------------------

    def find_node(self, path: str) -> Entry | None:
        """Return the node at an absolute path, as it is in the session now."""
        changes = self.changes
        return self._loaded_base().find_entry(path, changes)

    def _find_array(self, path: str) -> Entry | None:
        """As `find_node`, and remember an array for the keys of its chunks."""
        memo = self._by_head
        entry = self.find_node(path)
        if isinstance(entry, ArrayEntry):
            with self._lock:
                if memo is self._by_head:
                    memo[path[1:]] = entry
        return entry

    # -- reading ----------------------------------------------------------------------------------

    def find(self, key: str) -> Found | NotLoaded:
        """Return what is under a key: a metadata document, a chunk ref, or nothing.

        Never waits for more than a small local file: `NOT_LOADED` says that it would have to, and
        `load` does. Keys of metadata that exists, and of chunks whose manifest is in memory, take
        one to three microseconds.

        Raises
        ------
        InvalidInputError
            No repository can have such a key, or the path of a chunk key is that of a group.
        """
        head, found, coordinates = key.rpartition("/c/")
        if not found:
            if key[:2] != "c/":
                document = self._documents.get(key, NOT_LOADED)
                return self._find_anew(key) if document is NOT_LOADED else document
            coordinates = key[2:]
        entry = self._by_head.get(head)
        if entry is None:
            return self._find_anew(key)
        try:
            coords = parse_coords(coordinates)
        except ValueError:
            # A typo, or the document of a node that is called `c`.
            return self._find_anew(key)
        return self._find_chunk(entry, coords)

    def load(self, key: str) -> Found:
        """Return what is under a key, with as many reads of storage as it takes."""
        found = self.find(key)
        if found is not NOT_LOADED:
            return found
        self.base()
        parsed = parse_key(key)
        if not isinstance(parsed, ChunkKey):
            found = self._find_anew(key)
            return None if found is NOT_LOADED else found
        entry = self._array_of(parsed)
        if entry is None:
            return None
        found = self._find_chunk(entry, parsed.coords, may_load=True)
        return None if found is NOT_LOADED else found

    def _find_anew(self, key: str) -> Found | NotLoaded:
        """As `find`, for what is not in the memo."""
        parsed = parse_key(key)
        if isinstance(parsed, V2Key):
            return None
        if (
            self._base is None
            and self.assets.locality is Locality.REMOTE
            and self.assets.cached_snapshot(self.snapshot_id) is None
        ):
            return NOT_LOADED
        if isinstance(parsed, MetadataKey):
            memo = self._documents
            node = self.find_node(parsed.path)
            document = None if node is None else node.user_data
            with self._lock:
                if memo is self._documents:
                    if len(memo) >= _MAX_MEMO:
                        memo.clear()
                    memo[key] = document
            return document
        entry = self._array_of(parsed)
        return None if entry is None else self._find_chunk(entry, parsed.coords)

    def _find_chunk(
        self, entry: ArrayEntry, coords: tuple[int, ...], *, may_load: bool = False
    ) -> ChunkRef | NotLoaded | None:
        if not entry.holds(coords):
            return None
        table = entry.table
        if table is not None:
            change = table.find(coords)
            if change is not None:
                return None if change is DELETED else change
        base = entry.base
        return None if base is None else base.find(coords, may_load=may_load)

    def _array_of(self, key: ChunkKey) -> ArrayEntry | None:
        """Return the array that a chunk key belongs to, and remember it."""
        entry = self._find_array(key.path)
        if isinstance(entry, GroupEntry):
            raise not_an_array(entry.path)
        return entry

    # -- writing chunks ---------------------------------------------------------------------------

    def set_chunk(self, key: str, data: Buffer, size_bytes: int) -> bool:
        """Write a chunk, if `key` is one of a chunk. Returns whether it is.

        Small chunks go into the change set, larger ones to storage at once, under a new id.
        """
        head, found, coordinates = key.rpartition("/c/")
        entry = self._by_head.get(head) if found else None
        coords = None
        if entry is not None:
            try:
                coords = parse_coords(coordinates)
            except ValueError:
                # A typo, or the document of a node that is called `c`: parsed below.
                entry = None
        if entry is None or coords is None:
            parsed = parse_key(key)
            if not isinstance(parsed, ChunkKey):
                return False
            head = parsed.path[1:]
            coords = parsed.coords
            entry = self._array_of(parsed)
            if entry is None:
                raise node_not_found(parsed.path)
        if not size_bytes:
            raise InvalidInputError(
                f"zero-length chunk: the payload for coordinates {list(coords)} of the array at "
                f"{entry.path} has length 0",
                kind=ErrorKind.ZERO_LENGTH_CHUNK,
            )
        if not entry.holds(coords):
            raise InvalidInputError(
                f"invalid chunk index: coordinates {list(coords)} are not valid for array at {entry.path}",
                kind=ErrorKind.INVALID_CHUNK_INDEX,
            )
        self.check_editable()
        ref: ChunkRef
        if size_bytes > self.assets.settings.inline_chunk_threshold_bytes:
            ref = NativeRef(self.assets.write_chunk(data), 0, size_bytes)
        else:
            ref = InlineRef(bytes(data))
        self._record(head, entry, coords, ref)
        return True

    def delete_chunk(self, key: ChunkKey) -> None:
        """Delete a chunk. A chunk, array or place in the grid that does not exist is no error."""
        entry = self._find_array(key.path)
        if isinstance(entry, ArrayEntry) and entry.holds(key.coords):
            self._record(key.path[1:], entry, key.coords, None)

    def _record(self, head: str, entry: ArrayEntry, coords: tuple[int, ...], ref: ChunkRef | None) -> None:
        """Put a ref, or a deletion, into the change set."""
        with self._lock:
            self._check_editable()
            table = entry.table
            if table is None or self._by_head.get(head) is not entry:
                # The array's first change, or something else has changed since we looked.
                current = self.find_node(entry.path)
                if not isinstance(current, ArrayEntry) or not current.holds(coords):
                    if ref is None:
                        return
                    raise node_not_found(entry.path)
                table = current.table
                if table is None:
                    table = self.changes.chunk_table(current.id)
                    self._forget_nodes()
            if ref is None:
                table.delete(coords)
            else:
                table.set(coords, ref)
            self._count_chunk_changes(1)

    def set_chunks(self, entry: ArrayEntry, refs: RefColumns, deleted: CoordColumns) -> None:
        """Record many chunks of an array that were set, and many that were deleted, all at once.

        Both in order of coordinates and without duplicates; no place is in both.
        """
        if not len(refs) and not len(deleted):
            return
        with self.editing() as changes:
            current = self.find_node(entry.path)
            if current is None or current.id != entry.id:
                raise node_not_found(entry.path, prefix="session error: ")
            changes.chunk_table(entry.id).add_changes(refs, deleted)
            self._count_chunk_changes(len(refs) + len(deleted))

    def merge(self, others: Sequence[ChangeSet], base: BaseNodes) -> None:
        """Put other change sets over this session's, in their order; see `merge_changes`."""
        with self.editing() as changes:
            merge_changes(changes, others, base)
            self._count_chunk_changes(sum(other.num_chunk_changes for other in others))

    def _count_chunk_changes(self, number: int) -> None:
        before = self._num_chunk_changes
        self._num_chunk_changes = before + number
        if before < _MANY_CHUNK_CHANGES <= self._num_chunk_changes:
            _log.warning(
                "this session has changed %d chunks, which are all in memory; commit more often",
                self._num_chunk_changes,
            )


def _unpickled(
    assets: Assets,
    history: History,
    snapshot_id: SnapshotId,
    config: RepositoryConfig,
    kind: SessionKind,
    changes: ChangeSet | None,
) -> EngineSession:
    return EngineSession(assets, history, snapshot_id, config=config, kind=kind, changes=changes)


def not_an_array(path: str, *, prefix: str = "") -> InvalidInputError:
    """Make the error for chunks of a group."""
    return InvalidInputError(
        f"{prefix}there is not an array at `{path}`, but a group: getting chunk reference",
        kind=ErrorKind.NOT_AN_ARRAY,
    )


def node_not_found(path: str, *, prefix: str = "") -> NodeNotFoundError:
    """Make the error for a path that has no node."""
    return NodeNotFoundError(
        f"{prefix}node not found at `{path}`: existing node not found", kind=ErrorKind.NODE_NOT_FOUND
    )

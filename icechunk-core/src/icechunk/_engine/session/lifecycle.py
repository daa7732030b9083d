"""The life of a session: what it is for, its base snapshot and change set, and who may change them when.

Readers take no lock; whoever changes something holds the session's for a few lines, never around I/O.
"""

from __future__ import annotations

import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from types import MappingProxyType
from typing import TYPE_CHECKING

from icechunk._engine.assets.after_fork import remake_after_fork
from icechunk._engine.changes import ChangeSet
from icechunk._engine.session.kinds import (
    PublishKind,
    SessionKind,
    being_committed,
    edit_refused,
    move_refused,
)
from icechunk._engine.session.preloading import preload
from icechunk._engine.session.reading import ArrayEntry, Base

if TYPE_CHECKING:
    from icechunk._engine.assets.assets import Assets
    from icechunk._engine.changes import Moves
    from icechunk._engine.format.ids import NodeId, SnapshotId
    from icechunk._engine.format.snapshot import Snapshot
    from icechunk._engine.format.snapshot_records import Node
    from icechunk._engine.format.values import JsonValue
    from icechunk._engine.session.history import History
    from icechunk._values.repository_config import RepositoryConfig

_EDITABLE = frozenset({SessionKind.EDIT, SessionKind.FORK})

_MOVES_BRANCH: tuple[PublishKind, ...] = ("commit", "amend")


class SessionLifecycle:
    """What `EngineSession` stands on, which says what the parameters are."""

    def __init__(
        self,
        assets: Assets,
        history: History,
        snapshot_id: SnapshotId,
        *,
        config: RepositoryConfig,
        kind: SessionKind,
        branch: str | None = None,
        default_metadata: Mapping[str, JsonValue] = MappingProxyType({}),
        changes: ChangeSet | None = None,
    ) -> None:
        self.assets = assets
        self.history = history
        self.config = config
        self.kind = kind
        self.snapshot_id = snapshot_id
        self.branch = branch
        self.default_metadata = default_metadata
        self.changes = ChangeSet() if changes is None else changes
        self._can_edit = kind in _EDITABLE
        self._is_committing = False
        self._num_chunk_changes = 0
        # The snapshot of exactly these changes that may be in the history: storage was gone before it could say.
        self._in_doubt: tuple[PublishKind, SnapshotId] | None = None
        self._base: Base | None = None
        # What keys were found to stand for: the array of `head/c/...`, the document under a whole key.
        # Both are replaced, not emptied, when a node changes, and filled under the lock only when
        # nothing has changed since: so nobody finds there what was true before his own write.
        self._by_head: dict[str, ArrayEntry] = {}
        self._documents: dict[str, bytes | None] = {}
        self._lock = threading.Lock()
        remake_after_fork(self)

    def remake_after_fork(self) -> None:
        """Take a new lock in a forked child: the parent's may have been held."""
        self._lock = threading.Lock()

    # -- state ------------------------------------------------------------------------------------

    @property
    def is_read_only(self) -> bool:
        """Whether the session never was, or no longer is, one that can change anything."""
        return self.kind is SessionKind.READ_ONLY

    @property
    def spec_version(self) -> int:
        """The version of the format that the repository is in."""
        return self.history.spec_version

    @property
    def has_uncommitted_changes(self) -> bool:
        """Whether anything was changed, even if it was changed back."""
        return not self.changes.is_empty

    @property
    def is_loaded(self) -> bool:
        """Whether the base snapshot is here, so that nodes are found without I/O."""
        return self._base is not None

    # -- base snapshot ----------------------------------------------------------------------------

    def base(self) -> Snapshot:
        """Return the base snapshot: one GET if it is not cached."""
        return self._loaded_base().snapshot

    def _loaded_base(self) -> Base:
        base = self._base
        if base is None:
            id = self.snapshot_id
            base = Base(self.assets.load_snapshot(id), self.assets)
            with self._lock:
                # Not if the session was committed meanwhile, and has another base.
                if self.snapshot_id == id:
                    self._base = base
            if self.kind is not SessionKind.FORK:
                preload(base.snapshot, self.assets, self.config)
        return base

    def base_node(self, id: NodeId) -> Node | None:
        """Return the node that the base snapshot has under an id."""
        return self._loaded_base().find_node_by_id(id)

    def move_base(self, snapshot_id: SnapshotId, changes: ChangeSet) -> None:
        """Go on from another snapshot, with the changes as they fit it."""
        with self._lock:
            # In this order, as readers take no lock: what was not dropped lies over either base.
            self.changes = changes
            self.snapshot_id = snapshot_id
            self._base = None
            self._forget_nodes()

    def become_read_only(self, snapshot_id: SnapshotId) -> None:
        """Go on as a session that reads a snapshot which has all the changes of this one."""
        with self._lock:
            self.branch = None
            self.kind = SessionKind.READ_ONLY
            self._can_edit = False
            self._in_doubt = None
            # The base before the changes: readers take no lock, and the old changes over the new
            # base are what they saw all along, the old base alone is not.
            self.snapshot_id = snapshot_id
            self._base = None
            self.changes = ChangeSet()
            self._forget_nodes()

    # -- publishing -------------------------------------------------------------------------------

    @contextmanager
    def publishing(self) -> Iterator[None]:
        """Keep everybody from changing anything while the changes are written, or rebased.

        Raises
        ------
        SessionStateError
            Another thread is at it already.
        """
        with self._lock:
            self._check_not_committing()
            self._can_edit = False
            self._is_committing = True
        try:
            yield
        finally:
            # After Ctrl-C, too: a session that did not commit stays usable.
            with self._lock:
                self._is_committing = False
                self._can_edit = self.kind in _EDITABLE and self._in_doubt is None

    def leave_in_doubt(self, what: PublishKind, id: SnapshotId) -> None:
        """Remember a snapshot that is to be published, and may have been, until that is known or something changes."""
        self._in_doubt = what, id

    def settle_doubt(self) -> None:
        """Forget what was left in doubt: it is known that it was not published."""
        self._in_doubt = None

    def find_landed(self, what: PublishKind) -> SnapshotId | None:
        """Return the snapshot that was left in doubt, if it is in the history."""
        if self._in_doubt is None or self._in_doubt[0] != what:
            return None
        id = self._in_doubt[1]
        if self.history.has_commit(self.branch, id):
            return id
        self._in_doubt = None
        return None

    def has_landed(self) -> bool:
        """Whether a commit or amend of these changes that had failed is in the history."""
        return any(self.find_landed(what) is not None for what in _MOVES_BRANCH)

    # -- changing ---------------------------------------------------------------------------------

    @contextmanager
    def editing(self) -> Iterator[ChangeSet]:
        """Hold the lock for a change of nodes, and forget what was known of them.

        Raises
        ------
        ReadOnlyError
            The session is read-only.
        SessionStateError
            It is for moves, or it is being committed.
        """
        with self._lock:
            self._check_editable()
            try:
                yield self.changes
            finally:
                self._forget_nodes()

    @contextmanager
    def moving(self) -> Iterator[Moves]:
        """Hold the lock for a move, and forget what was known of nodes.

        Raises
        ------
        ReadOnlyError
            The session is read-only.
        SessionStateError
            It is not for moves, or it is being committed.
        """
        with self._lock:
            self._check_not_committing()
            if self.kind is not SessionKind.REARRANGE:
                raise move_refused(self.kind)
            self._in_doubt = None
            try:
                yield self.changes.moves
            finally:
                self._forget_nodes()

    def discard_changes(self) -> None:
        """Forget every change. Native chunks that were written stay behind as garbage."""
        if self.is_read_only:
            raise edit_refused(self.kind, prefix="session error: ")
        with self._lock:
            self._check_not_committing()
            self._in_doubt = None
            self._can_edit = self.kind in _EDITABLE
            self.changes = ChangeSet()
            self._num_chunk_changes = 0
            self._forget_nodes()

    def check_editable(self, *, prefix: str = "") -> None:
        """Raise what an edit would raise now, before any work is done for it."""
        if not self._can_edit:
            self._check_editable(prefix)

    def _check_editable(self, prefix: str = "") -> None:
        if self._can_edit:
            return
        self._check_not_committing()
        if self.kind not in _EDITABLE:
            raise edit_refused(self.kind, prefix=prefix)
        # With other changes than those that were left in doubt, it is another commit.
        self._in_doubt = None
        self._can_edit = True

    def _check_not_committing(self) -> None:
        if self._is_committing:
            raise being_committed()

    def _forget_nodes(self) -> None:
        self._by_head = {}
        self._documents = {}

"""`Session`: one snapshot of a repository, and the changes to it until they are committed."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Iterable, Mapping, Sequence
from copy import copy, deepcopy
from typing import TYPE_CHECKING, Any, Self

from icechunk._arguments import chunk_index, flag, mapping, text, whole_number, whole_numbers
from icechunk._async_forms import async_form, run_call
from icechunk._display.blocks import Block
from icechunk._display.html import html
from icechunk._engine.format.values import to_json_object
from icechunk._engine.session import forking, inspecting, moving, rebase as rebasing, reindexing
from icechunk._engine.session.chunks import chunk_coords
from icechunk._engine.session.kinds import SessionKind
from icechunk._engine.session.session import EngineSession
from icechunk._values.enums import ChunkType, SessionMode
from icechunk.solvers.composition import as_solver
from icechunk.store import IcechunkStore, checked_batch_size

if TYPE_CHECKING:
    from icechunk._engine.format.values import JsonValue
    from icechunk.abc.conflicts import ConflictSolver
    from icechunk.config import RepositoryConfig
    from icechunk.snapshots import Diff

__all__ = ["ForkSession", "Session", "SessionMode"]

# A fork counts as read-only here, as with the reference: it has no branch to commit to.
_MODES = {
    SessionKind.READ_ONLY: SessionMode.readonly,
    SessionKind.EDIT: SessionMode.writable,
    SessionKind.REARRANGE: SessionMode.rearrange,
    SessionKind.FORK: SessionMode.readonly,
}

_DEFAULT_TRIES = 1000


class Session:
    """A view of one snapshot, and what was changed in it since.

    Get one from `Repository.readonly_session`, `Repository.writable_session` or
    `Repository.rearrange_session`, and read and write through its `store` with Zarr. Nobody sees the changes until `commit` makes a snapshot of them;
    this session never sees what others commit meanwhile. After a commit it is read-only, at the
    new snapshot.

    A session may be used from several threads. A read-only one copies and pickles; a writable one does
    not, as the copy could not tell the original what it wrote: use `fork` for that.
    """

    _engine: EngineSession

    def __init__(self, session: EngineSession) -> None:
        if not isinstance(session, EngineSession):
            raise TypeError(f"a session is made by a repository, not from an instance of {type(session)}")
        self._engine = session

    # -- what it is -------------------------------------------------------------------------------

    @property
    def read_only(self) -> bool:
        """Whether the session can only read: from the start, or since it was committed or flushed."""
        return self._engine.is_read_only

    @property
    def mode(self) -> SessionMode:
        """What the session may do."""
        return _MODES[self._engine.kind]

    @property
    def snapshot_id(self) -> str:
        """The snapshot that the session is based on."""
        return str(self._engine.snapshot_id)

    @property
    def branch(self) -> str | None:
        """The branch that `commit` goes to; `None` for a read-only session."""
        return self._engine.branch

    @property
    def has_uncommitted_changes(self) -> bool:
        """Whether anything was changed since the snapshot, even if it was changed back."""
        return self._engine.has_uncommitted_changes

    @property
    def config(self) -> RepositoryConfig:
        """A copy of the configuration of the repository that the session comes from."""
        return deepcopy(self._engine.config)

    @property
    def store(self) -> IcechunkStore:
        """The session as a store for Zarr."""
        return IcechunkStore(self._engine)

    # -- changes ----------------------------------------------------------------------------------

    def commit(
        self,
        message: str,
        metadata: Mapping[str, Any] | None = None,
        *,
        rebase_with: ConflictSolver | str | None = None,
        rebase_tries: int = 1000,
        allow_empty: bool = False,
    ) -> str:
        """Write the changes as a new snapshot, and move the branch to it.

        Atomic: everybody sees all of it or nothing. When it has returned, the session is read-only,
        at the new snapshot. When it has raised, the session is as it was, and the branch too.

        Parameters
        ----------
        message
            What the commit is about, for people.
        metadata
            Whatever else is to be known of it: JSON values by name. Tuples become lists, NaN and the
            infinities `None`.
        rebase_with
            If somebody else has committed to the branch meanwhile, `rebase` with this solver, and try
            again. The metadata tells how often that was: ``{"__icechunk": {"rebase_attempts": 0}}``.
        rebase_tries
            How often at most.
        allow_empty
            Commit even if nothing has changed.

        Returns
        -------
        str
            The id of the new snapshot.

        Raises
        ------
        ConflictError
            Somebody else has committed to the branch since this session began.
        RebaseFailedError
            And the solver does not solve the conflicts.
        SessionStateError
            Nothing has changed, or the session is read-only.
        RefNotFoundError
            The branch was deleted meanwhile.
        ReadOnlyError
            The repository's status has become read-only.
        """
        properties = _checked(message, metadata)
        may_be_empty, tries = flag("allow_empty", allow_empty), _checked_tries(rebase_tries)
        if rebase_with is None:
            return str(self._engine.commit(message, properties, allow_empty=may_be_empty))
        return str(
            rebasing.commit_rebasing(
                self._engine,
                message,
                properties,
                solver=as_solver(rebase_with),
                tries=tries,
                open_store=IcechunkStore,
                allow_empty=may_be_empty,
            )
        )

    commit_async = async_form(commit)

    def rebase(self, solver: ConflictSolver | str) -> None:
        """Put the changes on top of what others have committed to the branch since this session began.

        The session is then based on the tip of the branch, so that `commit` succeeds if nobody is
        faster again. It reads what those commits have changed, and asks the solver about each change that does not fit
        together with one of this session. It does nothing if nobody has committed, or if the branch was deleted.

        Nothing can be changed in the session meanwhile. If it raises, the session keeps its changes, and is based on
        the last commit that it could be rebased over.

        Parameters
        ----------
        solver
            Who decides, or the name of one: see `icechunk.conflicts.solver`. `ConflictDetector` solves nothing,
            `BasicConflictSolver` chooses by type; subclasses of `ConflictSolver` look at the data.

        Raises
        ------
        RebaseFailedError
            There are conflicts that the solver does not solve.
        SessionStateError
            The session is read-only; or the log of an expired commit is gone.
        """
        rebasing.rebase(self._engine, as_solver(solver), IcechunkStore)

    rebase_async = async_form(rebase)

    def amend(
        self,
        message: str,
        *,
        metadata: Mapping[str, Any] | None = None,
        allow_empty: bool = False,
    ) -> str:
        """Write the changes as a snapshot that takes the place of the branch's tip.

        The new snapshot has everything that the old one had, and the changes; its parent is that of
        the old one. The old one is on no branch any more, but can still be read by its id until
        garbage is collected. Message and metadata are those given here, and nothing of the old ones.

        Otherwise as `commit`, whose parameters it has.

        Raises
        ------
        ConflictError
            Somebody else has committed to the branch since this session began.
        SessionStateError
            Nothing has changed, or the session is read-only; the tip is the snapshot that the
            repository began with; or it has moved nodes, and this is no rearrange session.
        FormatError
            The repository is of spec version 1.
        RefNotFoundError
            The branch was deleted meanwhile.
        ReadOnlyError
            The repository's status has become read-only.
        """
        properties = _checked(message, metadata)
        return str(self._engine.amend(message, properties, allow_empty=flag("allow_empty", allow_empty)))

    amend_async = async_form(amend)

    def flush(self, message: str, *, metadata: Mapping[str, Any] | None = None) -> str:
        """Write the state of the session as a snapshot that is on no branch.

        The snapshot's parent is the one that the session is based on. It can be read by its id, and a
        branch or a tag can be put on it; until then, collecting garbage removes it. When this has
        returned, the session is read-only, at the new snapshot. Whether anything has changed does not
        matter.

        Parameters
        ----------
        message, metadata
            As for `commit`.

        Returns
        -------
        str
            The id of the new snapshot.

        Raises
        ------
        IcechunkError
            The session is a fork.
        ReadOnlyError
            The repository's status is read-only.
        """
        return str(self._engine.flush(message, _checked(message, metadata)))

    flush_async = async_form(flush)

    def move(self, from_path: str, to_path: str) -> None:
        """Move a group or array, with everything below it, or give it another name.

        Only in a session from `Repository.rearrange_session`. Nothing is copied: nodes keep their ids,
        and chunks stay where they are.

        Parameters
        ----------
        from_path
            The absolute path of a node.
        to_path
            Its new absolute path. Nothing is there yet, and its parent is a group.

        Raises
        ------
        NodeNotFoundError
            There is nothing at `from_path`.
        AlreadyExistsError
            There is something at `to_path`, or below it.
        SessionStateError
            `to_path` is `from_path` or below it, or not in a group; or this is no rearrange session.
        ReadOnlyError
            The session is read-only.
        FormatError
            The repository is of spec version 1.
        """
        moving.move_node(self._engine, text("from_path", from_path), text("to_path", to_path))

    move_async = async_form(move)

    # -- moving chunks ----------------------------------------------------------------------------

    def reindex_array(
        self,
        array_path: str,
        forward: Callable[[list[int]], Sequence[int] | None],
        backward: Callable[[list[int]], Sequence[int] | None] | None = None,
    ) -> None:
        """Give the chunks of an array other places in its chunk grid.

        What a chunk refers to is copied, so no data is read or written. All places mean those before
        this call, so chunks may change places. If two go to one place, the one that comes last in the
        order of indices counts. Chunks that a smaller shape has left outside of the grid stay unseen.

        If it raises, nothing has changed.

        Parameters
        ----------
        array_path
            The absolute path of an array with a regular chunk grid.
        forward
            Called with the index of each chunk that exists, a list of integers. Returns where it is
            copied to, or `None` to leave it where it is.
        backward
            Called with the index of each chunk to whose place none was copied. Returns where its content
            would come from. If that is `None`, or a place without a chunk, the chunk is deleted. Without
            this function they all stay.

        Raises
        ------
        NodeNotFoundError
            There is no such array.
        InvalidInputError
            A place is outside of the array's grid, or has another number of dimensions.
        IcechunkError
            Of kind ``unknown``: the chunk grid is not regular; or a function has raised, or returned
            no index.
        ReadOnlyError
            The session is read-only.
        """
        path = text("array_path", array_path)
        _check_function(forward)
        if backward is not None:
            _check_function(backward)
        reindexing.reindex_array(self._engine, path, forward, backward)

    def shift_array(self, array_path: str, chunk_offset: Iterable[int]) -> None:
        """Move all chunks of an array by some places in its chunk grid.

        Chunks that get outside of the grid are dropped, and places that nothing moves to become empty.
        The shape of the array stays as it is; no data is read or written.

        Parameters
        ----------
        array_path
            The absolute path of an array with a regular chunk grid.
        chunk_offset
            For each dimension, by how many chunks; negative towards the beginning.

        Raises
        ------
        NodeNotFoundError
            There is no such array.
        InvalidInputError
            There is not one offset for each dimension.
        OverflowError
            An offset has more than 64 bits.
        IcechunkError
            Of kind ``unknown``: the chunk grid is not regular.
        ReadOnlyError
            The session is read-only.
        """
        path = text("array_path", array_path)
        offsets = whole_numbers("chunk_offset", chunk_offset, -(2**63), 2**63 - 1)
        reindexing.shift_array(self._engine, path, offsets)

    # -- forks ------------------------------------------------------------------------------------

    def fork(self) -> ForkSession:
        """Make a session for another process, which sees what this one sees now, and can be written to.

        A fork pickles, with its changes, and cannot commit: it comes back to be merged. Meanwhile this
        session stays as it is, and can be forked again.

        If there are changes, they are written as a snapshot that is in no history and that nobody knows
        of. Collecting garbage that is as young as the fork removes it, and with it what the fork can read.

        Raises
        ------
        SessionStateError
            The session is read-only.
        """
        return ForkSession(forking.fork_session(self._engine))

    def merge(self, *others: ForkSession) -> None:
        """Put the changes of forks over those of this session, in the order in which they are given.

        If several have written the same chunk, the last one counts. Nothing of the forks changes. If one
        of them does not fit, those before it stay merged.

        Parameters
        ----------
        others
            Forks of this session, or of other forks of it, however they came here. Another session that
            can be written to is accepted as well, but not into a fork.

        Raises
        ------
        SessionStateError
            Of kind ``merge-failed``: two have created a node at one path, or differently updated one node;
            one has deleted what another has modified; or one has modified what this session does not
            have. Or this is a rearrange session.
        ReadOnlyError
            This session is read-only.
        """
        for other in others:
            if not isinstance(other, Session):
                raise TypeError(f"a session can merge sessions, not an instance of {type(other)}")
        forking.merge_sessions(self._engine, [other._engine for other in others])

    merge_async = async_form(merge)

    # -- changes, and what becomes of them --------------------------------------------------------

    def discard_changes(self) -> None:
        """Forget all changes since the snapshot.

        Raises
        ------
        ReadOnlyError
            The session is read-only.
        """
        self._engine.discard_changes()

    def status(self) -> Diff:
        """Tell what was changed since the snapshot.

        Nodes that were created, updated, deleted and moved, and chunks that were written or deleted. Of
        moved nodes it says where each of them was and where it is now, however it got there.
        """
        return inspecting.status(self._engine)

    # -- questions --------------------------------------------------------------------------------

    def get_node_id(self, path: str) -> str:
        """Return the id of a node, which stays the same for as long as the node exists.

        Parameters
        ----------
        path
            The absolute path of a group or array.

        Raises
        ------
        NodeNotFoundError
            There is no such node.
        """
        return str(inspecting.node_id(self._engine, text("path", path)))

    get_node_id_async = async_form(get_node_id)

    def chunk_type(self, array_path: str, chunk_coordinates: Sequence[int]) -> ChunkType:
        """Tell where the bytes of a chunk are. A chunk outside of the grid is uninitialized.

        Parameters
        ----------
        array_path
            The absolute path of an array.
        chunk_coordinates
            One index for each dimension, in chunks.

        Raises
        ------
        NodeNotFoundError
            There is no such array.
        OverflowError
            An index is negative, or has more than 32 bits.
        """
        path = text("array_path", array_path)
        return inspecting.chunk_type(self._engine, path, chunk_index("chunk_coordinates", chunk_coordinates))

    chunk_type_async = async_form(chunk_type)

    async def chunk_coordinates(
        self, array_path: str, batch_size: int = 1000
    ) -> AsyncIterator[tuple[int, ...]]:
        """Iterate over the indices of all chunks that an array has, each once, in no promised order.

        Parameters
        ----------
        array_path
            The absolute path of an array.
        batch_size
            How many indices are made at a time, without letting other tasks of the event loop go on.

        Raises
        ------
        NodeNotFoundError
            There is no such array.
        """
        path, size = text("array_path", array_path), checked_batch_size(batch_size)
        coords = await run_call(chunk_coords, self._engine, path)
        for start in range(0, len(coords), size):
            for row in coords[start : start + size].tolist():
                yield tuple(row)
            await asyncio.sleep(0)

    # -- identity and looks -----------------------------------------------------------------------

    def __eq__(self, other: object) -> bool:
        """Whether both are the same session: the very same, not an equal one."""
        return isinstance(other, Session) and other._engine is self._engine

    def __hash__(self) -> int:
        return hash((Session, id(self._engine)))

    def __reduce__(self) -> tuple[type[Session], tuple[EngineSession]]:
        return type(self), (self._engine,)

    def __copy__(self) -> Self:
        # By default the copy would go on with the same engine: one session under two names.
        return type(self)(copy(self._engine))

    def _block(self) -> Block:
        fields: list[tuple[str, str | Block]] = [
            ("read_only", str(self.read_only)),
            ("snapshot_id", self.snapshot_id),
        ]
        if not self.read_only:
            fields.append(("branch", str(self.branch)))
            fields.append(("has_uncommitted_changes", str(self.has_uncommitted_changes)))
        return Block("icechunk.session.Session", fields)

    def __repr__(self) -> str:
        return self._block().text()

    def _repr_html_(self) -> str:
        return html(self._block())


class ForkSession(Session):
    """A session for another process, made by `Session.fork`: it pickles, with its changes.

    Everything can be read and written through its `store`. It has no branch, and cannot be committed, amended, flushed
    or rebased; give it to `Session.merge` of the session that it was forked from. Chunks are written to storage by
    whoever writes them; what travels back is where they are, a few bytes for each.
    """


def session_of(engine: EngineSession) -> Session:
    """Return the door to a session, of the class that it is for."""
    return ForkSession(engine) if engine.kind is SessionKind.FORK else Session(engine)


def _checked(message: object, metadata: Mapping[str, Any] | None) -> dict[str, JsonValue]:
    """Check the message and the metadata of a commit, and return the latter as JSON values."""
    text("message", message)
    return {} if metadata is None else to_json_object(mapping("metadata", metadata))


def _checked_tries(tries: int | None) -> int:
    # None is not promised, but the reference takes it.
    return _DEFAULT_TRIES if tries is None else whole_number("rebase_tries", tries, 0, 2**16 - 1)


def _check_function(function: object) -> None:
    if not callable(function):
        raise TypeError(
            f"a function from an index to an index is needed, not an instance of {type(function)}"
        )

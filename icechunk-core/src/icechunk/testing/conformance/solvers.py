"""The rules for conflict solvers as tests: inherit `SolverConformance`, and say which solver.

::

    class TestMySolver(SolverConformance):
        @pytest.fixture
        def solver(self) -> ConflictSolver:
            return MySolver()

Each test is about one rule of `icechunk.abc.conflicts`, named by its number: what breaks one rule fails one test. The
solver meets conflicts of every type, in repositories in memory that the kit makes; it need not solve any.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterator, Mapping
from contextlib import suppress
from enum import IntEnum
from functools import cache, cached_property
from typing import TYPE_CHECKING, Any, NamedTuple, TypeAlias

import numpy as np
import pytest

from icechunk.abc import (
    ConflictSolver,
    ConflictView,
    Fail,
    NodeVersion,
    NodeView,
    Ours,
    Renumber,
    Resolution,
    Theirs,
    Value,
)
from icechunk.conflicts import ConflictType
from icechunk.errors import RebaseFailedError
from icechunk.repository import Repository
from icechunk.storage import in_memory_storage

if TYPE_CHECKING:
    import zarr

    from icechunk.session import Session

__all__ = ["SolverConformance"]

Look: TypeAlias = Callable[[ConflictView], None]
EachConflict: TypeAlias = Callable[[Look], None]

_ANSWERS = (Ours, Theirs, Value, Renumber, Fail)


class SolverConformance:
    """Every rule for conflict solvers. A subclass defines the fixture `solver`, and nothing else."""

    @pytest.fixture
    def solver(self) -> ConflictSolver:
        """Make the solver. To be overridden."""
        raise TypeError(f"{type(self).__name__} must define the fixture `solver`")

    @pytest.fixture
    def each_conflict(self) -> EachConflict:
        """Tell how to look at one conflict after the other, of every type."""
        return look_at_each_conflict

    def test_rule_1_every_conflict_gets_an_answer(
        self, solver: ConflictSolver, each_conflict: EachConflict
    ) -> None:
        """An answer of the right class, and no exception."""

        def look(conflict: ConflictView) -> None:
            assert isinstance(solver.resolve(conflict), _ANSWERS), conflict.conflict_type.name

        each_conflict(look)

    def test_rule_2_the_same_conflict_gets_the_same_answer(
        self, solver: ConflictSolver, each_conflict: EachConflict
    ) -> None:
        """Asked again, also after others."""
        first: list[tuple[ConflictType, object]] = []
        again: list[tuple[ConflictType, object]] = []
        for answers in (first, again):

            def note(conflict: ConflictView, answers: list[tuple[ConflictType, object]] = answers) -> None:
                answers.append((conflict.conflict_type, _answer(solver, conflict)))

            each_conflict(note)
        for (conflict_type, answer), (_, other) in zip(first, again, strict=True):
            assert _same(answer, other), conflict_type.name

    def test_rule_3_what_is_shown_stays_as_it_is(
        self, solver: ConflictSolver, each_conflict: EachConflict
    ) -> None:
        """Neither arrays nor metadata change in place."""

        def look(conflict: ConflictView) -> None:
            shown = _Shown(conflict)
            _answer(solver, shown)
            assert shown.is_unchanged(), conflict.conflict_type.name

        each_conflict(look)

    def test_rule_4_a_type_that_it_does_not_know_fails(
        self, solver: ConflictSolver, each_conflict: EachConflict
    ) -> None:
        """Conflicts of a later version of the library."""

        def look(conflict: ConflictView) -> None:
            assert isinstance(_answer(solver, _OfNewType(conflict), default=Fail("")), Fail)

        each_conflict(look)

    def test_rule_5_values_fit(self, solver: ConflictSolver, each_conflict: EachConflict) -> None:
        """Arrays of the chunk's shape and dtype, documents of the node's kind."""

        def look(conflict: ConflictView) -> None:
            answer = _answer(solver, conflict)
            if isinstance(answer, Renumber):
                assert answer.metadata["node_type"] == "array"
            elif isinstance(answer, Value) and isinstance(answer.value, Mapping):
                assert conflict.chunk is None
                assert answer.value["node_type"] == (conflict.theirs.metadata or {})["node_type"]
            elif isinstance(answer, Value):
                there = conflict.ours.chunk()
                there = conflict.theirs.chunk() if there is None else there
                assert there is not None
                values = np.asarray(answer.value)
                assert values.shape == there.shape
                assert np.can_cast(values.dtype, there.dtype, "same_kind")

        each_conflict(look)

    def test_rule_6_all_chunks_at_once_is_no_other_answer(
        self, solver: ConflictSolver, each_conflict: EachConflict
    ) -> None:
        """`resolve_chunks` agrees with `resolve`."""
        at_once: list[Resolution | None] = [None]

        def look(conflict: ConflictView) -> None:
            if conflict.chunks is not None and conflict.chunk is None:
                at_once[0] = solver.resolve_chunks(conflict)
            elif conflict.chunk is not None and at_once[0] is not None:
                assert type(_answer(solver, conflict)) is type(at_once[0])

        each_conflict(_WithAllChunks(look))


def _answer(
    solver: ConflictSolver, conflict: ConflictView, *, default: Resolution | None = None
) -> Resolution | None:
    """Ask, and leave it to rule 1 if the answer is none."""
    try:
        answer: Any = solver.resolve(conflict)
    except Exception:  # whatever it is, there is a test for it
        return default
    return answer if isinstance(answer, _ANSWERS) else default


def _same(answer: Any, other: Any) -> bool:
    if type(answer) is not type(other):
        return False
    if isinstance(answer, Value):
        if isinstance(answer.value, Mapping):
            return bool(answer.value == other.value)
        return np.array_equal(answer.value, other.value, equal_nan=answer.value.dtype.kind in "fcmM")
    if isinstance(answer, Renumber):
        return (answer.axis, answer.start, answer.offset, answer.metadata) == (
            other.axis,
            other.start,
            other.offset,
            other.metadata,
        )
    return bool(answer == other)


# -- views that notice -------------------------------------------------------------------------------------


class _NoticingVersion:
    """A version of a node that hands out the same objects each time, and remembers what they were."""

    def __init__(self, version: NodeVersion) -> None:
        self._version = version
        self._chunks: dict[tuple[int, ...] | None, tuple[Any, Any]] = {}

    @property
    def exists(self) -> bool:
        return self._version.exists

    @property
    def array(self) -> zarr.Array[Any]:
        return self._version.array

    @cached_property
    def _documents(self) -> tuple[Any, Any]:
        document = self._version.metadata
        return document, copy.deepcopy(document)

    @property
    def metadata(self) -> Mapping[str, Any] | None:
        document: Mapping[str, Any] | None = self._documents[0]
        return document

    def chunk(self, index: tuple[int, ...] | None = None) -> Any:
        if index not in self._chunks:
            values = self._version.chunk(index)
            self._chunks[index] = (None if values is None else values.copy(), values)
        return self._chunks[index][0]

    def is_unchanged(self) -> bool:
        documents = self.__dict__.get("_documents", (None, None))
        return documents[0] == documents[1] and all(
            given is None or given.tobytes() == before.tobytes() for given, before in self._chunks.values()
        )


class _Shown:
    """A conflict that notices what is done to it."""

    def __init__(self, conflict: ConflictView) -> None:
        self.conflict_type = conflict.conflict_type
        self.path = conflict.path
        self.chunk = conflict.chunk
        self.chunks = conflict.chunks
        self.base = _NoticingVersion(conflict.base)
        self.ours = _NoticingVersion(conflict.ours)
        self.theirs = _NoticingVersion(conflict.theirs)
        self._conflict = conflict

    def arrays_of_group(self) -> Iterator[NodeView]:
        yield from self._conflict.arrays_of_group()

    def is_unchanged(self) -> bool:
        return all(version.is_unchanged() for version in (self.base, self.ours, self.theirs))


class _LaterType(IntEnum):
    """A type of conflict that nobody knows yet."""

    Unheard = 9999


class _OfNewType(_Shown):
    """A conflict of a type that nobody knows yet."""

    def __init__(self, conflict: ConflictView) -> None:
        super().__init__(conflict)
        self.conflict_type = _LaterType.Unheard  # type: ignore[assignment]


class _WithAllChunks:
    """A look that wants to see all chunks of an array at once, too."""

    def __init__(self, look: Look) -> None:
        self._look = look

    def __call__(self, conflict: ConflictView) -> None:
        self._look(conflict)


# -- conflicts of every type -------------------------------------------------------------------------------


class _Onlooker(ConflictSolver):
    """Shows each conflict of a rebase to somebody, and solves nothing."""

    def __init__(self, look: Look) -> None:
        self._look = look

    def resolve(self, conflict: ConflictView) -> Resolution:
        self._look(conflict)
        # After a failure, no more chunks of an array would be shown: the last one fails.
        chunks = conflict.chunks
        is_last = chunks is None or conflict.chunk == tuple(chunks[-1].tolist())
        return Fail("") if is_last else Ours()

    def resolve_chunks(self, conflict: ConflictView) -> Resolution | None:
        if isinstance(self._look, _WithAllChunks):
            self._look(conflict)
        return None


class _Scene(NamedTuple):
    """What two sides do. With `moves`, that side does nothing but move nodes."""

    theirs: Callable[[zarr.Group], object] | tuple[str, str]
    ours: Callable[[zarr.Group], object] | tuple[str, str]
    types: frozenset[ConflictType]


def look_at_each_conflict(look: Look) -> None:
    """Race once for each scene, and look at what does not fit together."""
    for number, (scene, session) in enumerate(_races()):
        seen: set[ConflictType] = set()

        def note(conflict: ConflictView, seen: set[ConflictType] = seen) -> None:
            seen.add(conflict.conflict_type)
            look(conflict)

        noting = _WithAllChunks(note) if isinstance(look, _WithAllChunks) else note
        with suppress(RebaseFailedError):
            session.rebase(_Onlooker(noting))
        if seen != scene.types:
            raise RuntimeError(f"scene {number} is about {scene.types}, and was {seen}")


@cache
def _races() -> list[tuple[_Scene, Session]]:
    """Return for each scene the session that comes too late. A rebase that fails can be tried again."""
    repo = Repository.create(in_memory_storage())
    with repo.transaction("main", message="base") as store:
        _make_base(store)
    base = repo.lookup_branch("main")
    races = []
    for number, scene in enumerate(_SCENES):
        branch = f"scene-{number}"
        repo.create_branch(branch, base)
        ours, theirs = _session(repo, branch, scene.ours), _session(repo, branch, scene.theirs)
        theirs.commit("theirs")
        races.append((scene, ours))
    return races


def _session(
    repo: Repository, branch: str, change: Callable[[zarr.Group], object] | tuple[str, str]
) -> Session:
    import zarr

    if isinstance(change, tuple):
        session = repo.rearrange_session(branch)
        session.move(*change)
    else:
        session = repo.writable_session(branch)
        change(zarr.open_group(session.store, mode="r+"))
    return session


def _make_base(store: Any) -> None:
    import zarr

    root = zarr.create_group(store)
    values = np.array([1, 2, 3, np.nan, np.nan, np.nan, np.nan, 8.0])
    root.create_array("a", data=values, chunks=2, fill_value=np.nan, dimension_names=["time"])
    root.create_array("b", data=np.arange(8), chunks=2, dimension_names=["time"])
    group = root.create_group("g")
    group.create_array("c", data=np.arange(12).reshape(3, 4), chunks=(2, 2))


def _append(count: int, value: float) -> Callable[[zarr.Group], object]:
    def change(root: zarr.Group) -> None:
        for name in ("a", "b"):
            root[name].append(np.full(count, value, root[name].dtype))  # type: ignore[union-attr]

    return change


def _set(path: str, value: float, *where: slice) -> Callable[[zarr.Group], object]:
    def change(root: zarr.Group) -> None:
        root[path][where] = value  # type: ignore[index]

    return change


def _note(path: str, value: int) -> Callable[[zarr.Group], object]:
    return lambda root: root[path].attrs.update({"note": value})


def _delete(path: str) -> Callable[[zarr.Group], object]:
    return lambda root: root.__delitem__(path)


def _create(path: str, length: int = 4) -> Callable[[zarr.Group], object]:
    return lambda root: root.create_array(path, shape=length, chunks=2, dtype="i4")


def _resize(path: str, *shape: int) -> Callable[[zarr.Group], object]:
    return lambda root: root[path].resize(shape)  # type: ignore[union-attr]


def _scene(theirs: Any, ours: Any, *types: ConflictType) -> _Scene:
    return _Scene(theirs, ours, frozenset(types))


_T = ConflictType
_SCENES = (
    _scene(_create("n"), _create("n"), _T.NewNodeConflictsWithExistingNode),
    _scene(_create("n"), _create("n/x"), _T.NewNodeConflictsWithExistingNode, _T.NewNodeInInvalidGroup),
    _scene(_note("a", 1), _note("a", 2), _T.ZarrMetadataDoubleUpdate),
    _scene(_note("g", 1), _note("g", 1), _T.ZarrMetadataDoubleUpdate),
    _scene(_append(4, 1), _append(3, 2), _T.ZarrMetadataDoubleUpdate, _T.ChunksUpdatedInUpdatedArray, _T.ChunkDoubleUpdate),
    _scene(_append(3, 1), _append(3, 1), _T.ZarrMetadataDoubleUpdate, _T.ChunksUpdatedInUpdatedArray, _T.ChunkDoubleUpdate),
    _scene(_resize("a", 4), _append(2, 1), _T.ZarrMetadataDoubleUpdate, _T.ChunksUpdatedInUpdatedArray),
    _scene(_delete("a"), _note("a", 1), _T.ZarrMetadataUpdateOfDeletedArray),
    _scene(_delete("g"), _note("g", 1), _T.ZarrMetadataUpdateOfDeletedGroup),
    _scene(_delete("a"), _set("a", 5, slice(2)), _T.ChunksUpdatedInDeletedArray),
    _scene(_note("a", 1), _set("a", 5, slice(2)), _T.ChunksUpdatedInUpdatedArray),
    _scene(_append(2, 5), _set("a", 5, slice(2)), _T.ChunksUpdatedInUpdatedArray),
    _scene(_set("a", 4, slice(1, 5)), _set("a", 5, slice(4, 7)), _T.ChunkDoubleUpdate),
    _scene(_set("a", 4, slice(2)), _set("a", np.nan, slice(2)), _T.ChunkDoubleUpdate),
    _scene(_set("a", np.nan, slice(2)), _set("a", 4, slice(2)), _T.ChunkDoubleUpdate),
    _scene(_set("a", 4, slice(3, 5)), _set("a", 4, slice(3, 5)), _T.ChunkDoubleUpdate),
    _scene(_set("g/c", 4, slice(3), slice(2)), _set("g/c", 5, slice(3), slice(1, 3)), _T.ChunkDoubleUpdate),
    _scene(_set("a", 4, slice(2)), _delete("a"), _T.DeleteOfUpdatedArray),
    _scene(_note("g", 1), _delete("g"), _T.DeleteOfUpdatedGroup),
    _scene(("/a", "/z"), _set("b", 4, slice(2)), _T.MoveOperationCannotBeRebased),
    _scene(_create("g/d"), _delete("g"), _T.DeleteOfGroupWithNewNode),
    _scene(_delete("g"), _create("g/d"), _T.NewNodeInDeletedGroup),
    _scene(_set("b", 4, slice(2)), _resize("b", 6), _T.LayoutUpdateOfUpdatedChunks),
    _scene(_set("b", 4, slice(2)), _resize("b", 10), _T.LayoutUpdateOfUpdatedChunks),
    _scene(_create("z"), ("/a", "/z"), _T.MoveOverNewNode),
    _scene(_delete("a"), ("/a", "/z"), _T.MoveOfDeletedNode),
    _scene(_delete("g"), ("/a", "/g/z"), _T.MoveIntoDeletedGroup),
)  # fmt: skip

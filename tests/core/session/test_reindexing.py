"""`Session.reindex_array` and `Session.shift_array`: chunks get other places, and no data moves."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import zarr
from hypothesis import given, strategies as st
from zarr.core.buffer import cpu
from zarr.core.sync import sync

import icechunk
from icechunk import (
    IcechunkError,
    InvalidInputError,
    NodeNotFoundError,
    ReadOnlyError,
    Repository,
    RepositoryConfig,
    Session,
    SessionStateError,
    in_memory_storage,
)
from icechunk.testing import FaultInjectingStorage
from tests.core.session.helpers import array, log

Refused = Callable[..., Any]


def with_array(
    shape: tuple[int, ...], chunks: dict[tuple[int, ...], int], spec_version: int = 2, **options: Any
) -> Repository:
    """A repository with an array `a` of single cells, some of which have a value."""
    repo = Repository.create(in_memory_storage(), RepositoryConfig(**options), spec_version=spec_version)
    session = repo.writable_session("main")
    values = zarr.create_array(
        session.store, name="a", shape=shape, chunks=(1,) * len(shape), dtype="i4", compressors=None
    )
    for place, value in chunks.items():
        values[place] = value
    session.commit("array")
    return repo


def contents(session: Session, path: str = "a") -> dict[tuple[int, ...], int]:
    """Every chunk that there is, with its value."""
    values = array(session, path)

    async def places() -> list[tuple[int, ...]]:
        return [place async for place in session.chunk_coordinates(f"/{path}")]

    return {place: int(values[place]) for place in sync(places())}


@pytest.fixture
def repo(spec_version: int) -> Repository:
    return with_array((5,), {(0,): 1, (1,): 2, (2,): 3}, spec_version)


@pytest.fixture
def session(repo: Repository) -> Session:
    return repo.writable_session("main")


class TestShift:
    @pytest.mark.parametrize(
        ("offset", "expected"),
        [
            ([1], {1: 1, 2: 2, 3: 3}),
            ([-1], {0: 2, 1: 3}),
            ([2], {2: 1, 3: 2, 4: 3}),
            ([3], {3: 1, 4: 2}),
            ([5], {}),
            ([-10], {}),
            ([2**63 - 1], {}),
            ([0], {0: 1, 1: 2, 2: 3}),
        ],
    )
    def test_chunks_move_and_leave_nothing_behind(
        self, repo: Repository, session: Session, offset: list[int], expected: dict[int, int]
    ) -> None:
        session.shift_array("/a", offset)
        wanted = {(place,): value for place, value in expected.items()}
        assert contents(session) == wanted
        assert session.has_uncommitted_changes
        id = session.commit("shifted")
        assert contents(repo.readonly_session("main")) == wanted
        touched = sorted({(0,), (1,), (2,), *wanted})
        assert log(repo, id)["updated_chunks"] == {session.get_node_id("/a"): [list(p) for p in touched]}

    @pytest.mark.parametrize("offset", [(1,), np.array([1]), {1: "a"}, [np.int64(1)], range(1, 2)])
    def test_offsets_are_any_iterable_of_integers(self, session: Session, offset: Any) -> None:
        session.shift_array("/a", offset)
        assert contents(session) == {(1,): 1, (2,): 2, (3,): 3}

    @pytest.mark.parametrize("offset", [1, None, ["a"], [1.5]])
    def test_nothing_else_is(self, session: Session, offset: Any) -> None:
        with pytest.raises(TypeError):
            session.shift_array("/a", offset)
        assert not session.has_uncommitted_changes

    @pytest.mark.parametrize("offset", [[], [1, 2]])
    def test_there_is_one_for_each_dimension(
        self, session: Session, offset: list[int], refused: Refused
    ) -> None:
        with refused(InvalidInputError, "invalid-chunk-index", "session error: invalid chunk index: "):
            session.shift_array("/a", offset)

    def test_what_the_session_has_changed_moves_too(self, repo: Repository, session: Session) -> None:
        array(session, "a")[4] = 9
        sync(session.store.delete("a/c/1"))
        session.shift_array("/a", [1])
        assert contents(session) == {(1,): 1, (3,): 3}
        array(session, "a")[0] = 7
        session.commit("shifted")
        assert contents(repo.readonly_session("main")) == {(0,): 7, (1,): 1, (3,): 3}

    def test_an_array_without_chunks_has_nothing_to_shift(self) -> None:
        session = with_array((5,), {}).writable_session("main")
        session.shift_array("/a", [1])
        assert not session.has_uncommitted_changes

    def test_an_array_without_dimensions(self) -> None:
        session = with_array((), {(): 7}).writable_session("main")
        session.shift_array("/a", [])
        assert contents(session) == {(): 7}

    def test_native_chunks_are_neither_read_nor_written(self) -> None:
        storage = FaultInjectingStorage(in_memory_storage())
        repo = Repository.create(storage, RepositoryConfig(inline_chunk_threshold_bytes=0))
        session = repo.writable_session("main")
        zarr.create_array(session.store, name="a", shape=100, chunks=1, dtype="i4", fill_value=-1)[:] = range(
            100
        )
        session.commit("array")
        session = repo.writable_session("main")
        storage.faults.forget()
        session.shift_array("/a", [3])
        session.commit("shifted")
        assert [r for r in storage.faults.requests if r.path.startswith("chunks/")] == []
        assert array(repo.readonly_session("main"), "a")[:].tolist() == [-1] * 3 + list(range(97))

    @given(st.data())
    def test_it_is_what_reindexing_both_ways_does(self, data: st.DataObject) -> None:
        ndim = data.draw(st.integers(1, 3))
        shape = tuple(data.draw(st.integers(1, 4)) for _ in range(ndim))
        places = st.tuples(*[st.integers(0, n - 1) for n in shape])
        chunks = data.draw(st.dictionaries(places, st.integers(1, 99), max_size=6))
        later = data.draw(st.dictionaries(places, st.integers(1, 99), max_size=3))
        offset = [data.draw(st.integers(-n - 1, n + 1)) for n in shape]
        repo = with_array(shape, chunks)
        shifted, reindexed = repo.writable_session("main"), repo.writable_session("main")
        for session in (shifted, reindexed):
            for place, value in later.items():
                array(session, "a")[place] = value

        def within(place: list[int]) -> list[int] | None:
            return place if all(0 <= c < n for c, n in zip(place, shape, strict=True)) else None

        shifted.shift_array("/a", offset)
        reindexed.reindex_array(
            "/a",
            lambda place: within([c + o for c, o in zip(place, offset, strict=True)]),
            lambda place: within([c - o for c, o in zip(place, offset, strict=True)]),
        )
        expected = {}
        for place, value in {**chunks, **later}.items():
            target = within([c + o for c, o in zip(place, offset, strict=True)])
            if target is not None:
                expected[tuple(target)] = value
        assert contents(shifted) == contents(reindexed) == expected


class TestReindex:
    def test_chunks_are_copied_and_stay_without_backward(self, session: Session) -> None:
        session.reindex_array("/a", lambda place: [place[0] + 1])
        assert contents(session) == {(0,): 1, (1,): 1, (2,): 2, (3,): 3}

    def test_with_backward_what_has_no_source_is_cleared(self, session: Session) -> None:
        asked: list[list[int]] = []

        def backward(place: list[int]) -> list[int] | None:
            asked.append(place)
            return [place[0] - 1] if place[0] else None

        session.reindex_array("/a", lambda place: [place[0] + 1], backward)
        assert contents(session) == {(1,): 1, (2,): 2, (3,): 3}
        # Only those to which nothing was copied are asked about.
        assert asked == [[0]]

    def test_chunks_change_places(self, session: Session) -> None:
        session.reindex_array("/a", lambda place: (1 - place[0],) if place[0] < 2 else None)
        assert contents(session) == {(0,): 2, (1,): 1, (2,): 3}
        assert session.status().updated_chunks == {"/a": [[0], [1]]}

    def test_of_two_that_go_to_one_place_the_last_counts(self, session: Session) -> None:
        session.reindex_array("/a", lambda place: [4])
        assert contents(session) == {(0,): 1, (1,): 2, (2,): 3, (4,): 3}

    @pytest.mark.parametrize("backward", [lambda place: [4], lambda place: None, lambda place: [77]])
    def test_a_source_without_a_chunk_clears(self, session: Session, backward: Any) -> None:
        session.reindex_array("/a", lambda place: None, backward)
        assert contents(session) == {}

    def test_nothing_moves(self, session: Session) -> None:
        session.reindex_array("/a", lambda place: None)
        session.reindex_array("/a", lambda place: None, lambda place: place)
        assert not session.has_uncommitted_changes

    def test_what_the_functions_get_and_may_return(self, session: Session) -> None:
        def forward(place: list[int]) -> Any:
            assert type(place) is list
            assert type(place[0]) is int
            return np.array([place[0] + 1])

        session.reindex_array(array_path="/a", forward=forward, backward=None)
        assert contents(session) == {(0,): 1, (1,): 1, (2,): 2, (3,): 3}

    @pytest.mark.parametrize(
        ("answer", "name"),
        [
            (lambda place: [place[0] - 1], "OverflowError"),
            (lambda place: [2**33], "OverflowError"),
            (lambda place: 3, "TypeError"),
            (lambda place: "a", "TypeError"),
            (lambda place: [1.0], "TypeError"),
            (lambda place: (c for c in place), "TypeError"),
            (lambda place: 1 / 0, "ZeroDivisionError"),
        ],
    )
    def test_functions_that_fail(self, session: Session, answer: Any, name: str, refused: Refused) -> None:
        for functions in ((answer,), (lambda place: [place[0] + 1], answer)):
            with refused(IcechunkError, "unknown", f"session error: unknown error: {name}: "):
                session.reindex_array("/a", *functions)
        assert not session.has_uncommitted_changes

    @pytest.mark.parametrize("answer", [lambda place: [place[0] + 3], lambda place: [0, 0], lambda place: []])
    def test_places_that_the_array_does_not_have(
        self, session: Session, answer: Any, refused: Refused
    ) -> None:
        with refused(
            InvalidInputError, "invalid-chunk-index", "session error: invalid chunk index: coordinates "
        ):
            session.reindex_array("/a", answer)
        assert not session.has_uncommitted_changes

    def test_chunks_outside_of_a_smaller_shape_are_not_seen(self) -> None:
        session = with_array((5,), {(0,): 1, (2,): 3, (4,): 5}).writable_session("main")
        array(session, "a").resize((3,))
        asked = []
        session.reindex_array("/a", lambda place: asked.append(place))
        assert sorted(asked) == [[0], [2]]

    @pytest.mark.parametrize("wrong", [3, None, "f"])
    def test_functions_are_functions(self, session: Session, wrong: Any) -> None:
        with pytest.raises(TypeError):
            session.reindex_array("/a", wrong)
        if wrong is not None:
            with pytest.raises(TypeError):
                session.reindex_array("/a", lambda place: place, wrong)


either = pytest.mark.parametrize(
    "move",
    [
        lambda session, path: session.shift_array(path, [1]),
        lambda session, path: session.reindex_array(path, lambda place: place),
    ],
    ids=["shift", "reindex"],
)


def test_the_functions_are_asked_before_the_session(repo: Repository, refused: Refused) -> None:
    reader = repo.readonly_session("main")
    with refused(InvalidInputError, "invalid-chunk-index", "session error: invalid chunk index: coordinates"):
        reader.reindex_array("/a", lambda place: [1000])


@either
class TestBoth:
    def test_what_has_no_chunks(self, session: Session, move: Any, refused: Refused) -> None:
        zarr.create_group(session.store, path="g")
        with refused(NodeNotFoundError, "node-not-found", "session error: node not found at `/zz`: existing"):
            move(session, "/zz")
        with refused(InvalidInputError, "not-an-array", "session error: there is not an array at"):
            move(session, "/g")
        with refused(InvalidInputError, "invalid-path", "could not create path from prefix: path must start"):
            move(session, "a")

    def test_who_cannot_write(self, repo: Repository, move: Any, refused: Refused) -> None:
        reader = repo.readonly_session("main")
        with refused(ReadOnlyError, "read-only-session", "session error: Read only sessions cannot modify"):
            move(reader, "/a")
        with refused(NodeNotFoundError, "node-not-found", "session error: node not found"):
            move(reader, "/zz")
        if repo.spec_version == 2:
            with refused(
                SessionStateError, "rearrange-session-only", "session error: This session was created to"
            ):
                move(repo.rearrange_session("main"), "/a")

    def test_a_fork_can(self, session: Session, move: Any) -> None:
        fork = session.fork()
        move(fork, "/a")
        assert fork.has_uncommitted_changes
        session.merge(fork)
        assert contents(session) == contents(fork)

    def test_only_regular_grids_are_moved(self, move: Any, refused: Refused) -> None:
        session = with_array((5,), {}).writable_session("main")
        document = (
            b'{"zarr_format":3,"node_type":"array","shape":[4],"data_type":"int32","fill_value":0,'
            b'"chunk_grid":{"name":"rectilinear","configuration":{"kind":"inline","chunk_shapes":[[1,3]]}},'
            b'"chunk_key_encoding":{"name":"default"},"codecs":[{"name":"bytes","configuration":'
            b'{"endian":"little"}}]}'
        )
        sync(session.store.set("r/zarr.json", cpu.Buffer.from_bytes(document)))
        with refused(
            IcechunkError, "unknown", "session error: cannot shift or reindex chunks of the array at `/r`: "
        ):
            move(session, "/r")


def test_the_way_there_and_back_is_the_identity() -> None:
    places = {(i, j): 10 * i + j + 1 for i in range(6) for j in range(7) if (i * j) % 3}
    session = with_array((6, 7), places).writable_session("main")

    def around(place: list[int]) -> list[int]:
        return [(place[0] + 2) % 6, (place[1] + 5) % 7]

    def back(place: list[int]) -> list[int]:
        return [(place[0] - 2) % 6, (place[1] - 5) % 7]

    session.reindex_array("/a", around, back)
    assert contents(session) == {tuple(around(list(place))): value for place, value in places.items()}
    session.reindex_array("/a", back, around)
    assert contents(session) == places
    assert icechunk.ChunkType.inline == session.chunk_type("/a", (1, 1))

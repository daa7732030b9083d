"""What the answers of a solver do, for each type of conflict: the table of `icechunk.abc.conflicts`."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import pytest
import zarr

import icechunk
from icechunk import ConflictType
from icechunk.abc import ConflictSolver, ConflictView, Fail, Ours, Renumber, Resolution, Theirs, Value

Change = Callable[[zarr.Group], object]
T = ConflictType


class Answering(ConflictSolver):
    """Answers always the same, and remembers what it was asked."""

    def __init__(self, answer: Resolution | Mapping[ConflictType, Resolution]) -> None:
        self.answer = answer
        self.asked: list[tuple[ConflictType, str, tuple[int, ...] | None]] = []

    def resolve(self, conflict: ConflictView) -> Resolution:
        self.asked.append((conflict.conflict_type, conflict.path, conflict.chunk))
        if isinstance(self.answer, Mapping):
            return self.answer.get(conflict.conflict_type, Fail("not expected"))
        return self.answer


def race(repo: icechunk.Repository, theirs: Change, ours: Change) -> icechunk.Session:
    """Return our session, after they have committed."""
    session, other = repo.writable_session("main"), repo.writable_session("main")
    ours(zarr.open_group(session.store, mode="r+"))
    theirs(zarr.open_group(other.store, mode="r+"))
    other.commit("theirs")
    return session


def tip(repo: icechunk.Repository) -> zarr.Group:
    return zarr.open_group(repo.readonly_session("main").store, mode="r")


def described(repo: icechunk.Repository) -> dict[str, Any]:
    """The nodes at the tip, with the attributes of groups and the first numbers of arrays."""
    told: dict[str, Any] = {}
    for path, node in sorted(tip(repo).members(max_depth=None)):
        attributes = dict(node.attrs)
        told[path] = attributes if isinstance(node, zarr.Group) else [*attributes, *node[:3].tolist()]
    return told


def create(path: str, value: int) -> Change:
    return lambda root: root.create_array(path, data=np.full(2, value, "i4"), chunks=2)


def group(path: str, **attributes: Any) -> Change:
    return lambda root: root.create_group(path, attributes=attributes)


def note(path: str, **attributes: Any) -> Change:
    return lambda root: root[path].attrs.update(attributes)


def put(path: str, value: int) -> Change:
    def change(root: zarr.Group) -> None:
        root[path][0:2] = value

    return change


def delete(path: str) -> Change:
    return lambda root: root.__delitem__(path)


def resize(path: str, length: int) -> Change:
    return lambda root: root[path].resize((length,))


def all_of(*changes: Change) -> Change:
    def change(root: zarr.Group) -> None:
        for each in changes:
            each(root)

    return change


BASE = {"a": [0, 1, 2], "b": [-1, -1, -1], "g": {}, "g/c": [1, 1, 1]}
NO_NODE = object()

# theirs, ours, the types that are asked about, what differs from BASE with `Ours` and with `Theirs` (None: no answer)
TABLE: dict[str, tuple[Change, Change, list[ConflictType], dict[str, Any] | None, dict[str, Any] | None]] = {
    "new arrays": (
        create("n", 1), create("n", 2), [T.NewNodeConflictsWithExistingNode],
        {"n": [2, 2]}, {"n": [1, 1]},
    ),
    "new groups": (
        all_of(group("n", theirs=1), create("n/x", 1)), all_of(group("n", ours=1), create("n/y", 2)),
        [T.NewNodeConflictsWithExistingNode],
        {"n": {"ours": 1}, "n/x": [1, 1], "n/y": [2, 2]}, {"n": {"theirs": 1}, "n/x": [1, 1], "n/y": [2, 2]},
    ),
    "new array, new group": (
        create("n", 1), all_of(group("n"), create("n/y", 2)),
        [T.NewNodeConflictsWithExistingNode, T.NewNodeInInvalidGroup],
        {"n": {}, "n/y": [2, 2]}, {"n": [1, 1]},
    ),
    "new group, new array": (
        all_of(group("n"), create("n/y", 1)), create("n", 2),
        [T.NewNodeConflictsWithExistingNode],
        {"n": [2, 2]}, {"n": {}, "n/y": [1, 1]},
    ),
    "attributes of an array": (
        note("a", theirs=1), note("a", ours=1), [T.ZarrMetadataDoubleUpdate],
        {"a": ["ours", 0, 1, 2]}, {"a": ["theirs", 0, 1, 2]},
    ),
    "attributes of a group": (
        note("g", theirs=1), note("g", ours=1), [T.ZarrMetadataDoubleUpdate],
        {"g": {"ours": 1}}, {"g": {"theirs": 1}},
    ),
    "changes of a deleted array": (
        delete("a"), all_of(note("a", ours=1), put("a", 5)),
        [T.ZarrMetadataUpdateOfDeletedArray, T.ChunksUpdatedInDeletedArray],
        None, {"a": NO_NODE},
    ),
    "changes of a deleted group": (
        delete("g"), note("g", ours=1), [T.ZarrMetadataUpdateOfDeletedGroup],
        None, {"g": NO_NODE, "g/c": NO_NODE},
    ),
    "one chunk": (
        put("a", 8), put("a", 9), [T.ChunkDoubleUpdate],
        {"a": [9, 9, 2]}, {"a": [8, 8, 2]},
    ),
    "chunks of a changed array": (
        note("a", theirs=1), put("a", 9), [T.ChunksUpdatedInUpdatedArray],
        {"a": ["theirs", 9, 9, 2]}, {"a": ["theirs", 0, 1, 2]},
    ),
    "a deleted array": (
        put("a", 8), delete("a"), [T.DeleteOfUpdatedArray],
        {"a": NO_NODE}, {"a": [8, 8, 2]},
    ),
    "a replaced array": (
        put("a", 8), all_of(delete("a"), create("a", 9)), [T.DeleteOfUpdatedArray],
        {"a": [9, 9]}, {"a": [8, 8, 2]},
    ),
    "a deleted group": (
        note("g", theirs=1), delete("g"), [T.DeleteOfUpdatedGroup],
        {"g": NO_NODE, "g/c": NO_NODE}, {"g": {"theirs": 1}, "g/c": NO_NODE},
    ),
    "an array in a deleted group": (
        put("g/c", 8), delete("g"), [T.DeleteOfUpdatedArray],
        {"g": NO_NODE, "g/c": NO_NODE}, {"g/c": [8, 8, 1]},
    ),
    "a new array in a deleted group": (
        create("g/n", 1), delete("g"), [T.DeleteOfGroupWithNewNode],
        {"g": NO_NODE, "g/c": NO_NODE}, {"g/c": NO_NODE, "g/n": [1, 1]},
    ),
    "a new group in a replaced group": (
        all_of(group("g/n"), create("g/n/x", 1)), all_of(delete("g"), group("g", ours=1)),
        [T.DeleteOfGroupWithNewNode],
        {"g": {"ours": 1}, "g/c": NO_NODE}, {"g": {"ours": 1}, "g/c": NO_NODE, "g/n": {}, "g/n/x": [1, 1]},
    ),
    "our new group in a deleted group": (
        delete("g"), all_of(group("g/n"), create("g/n/x", 1)), [T.NewNodeInDeletedGroup],
        {"g/c": NO_NODE, "g/n": {}, "g/n/x": [1, 1]}, {"g": NO_NODE, "g/c": NO_NODE},
    ),
    "a smaller array": (
        put("a", 8), resize("a", 3), [T.LayoutUpdateOfUpdatedChunks],
        {"a": [8, 8, 2]}, {"a": [8, 8, 2]},
    ),
}  # fmt: skip


@pytest.mark.parametrize("answer", [Ours(), Theirs()], ids=["ours", "theirs"])
@pytest.mark.parametrize("name", TABLE)
def test_what_an_answer_does(repo: icechunk.Repository, name: str, answer: Resolution) -> None:
    theirs, ours, types, with_ours, with_theirs = TABLE[name]
    expected = with_ours if isinstance(answer, Ours) else with_theirs
    session = race(repo, theirs, ours)
    solver = Answering(answer)
    if expected is None:
        with pytest.raises(icechunk.RebaseFailedError) as failure:
            session.rebase(solver)
        assert failure.value.reasons == [f"Ours is no answer to {each.name}" for each in types]
        return
    # Nothing may be left of what we did.
    session.commit("ours", rebase_with=solver, allow_empty=True)
    assert [asked[0] for asked in solver.asked] == types
    assert described(repo) == {
        path: value for path, value in (BASE | expected).items() if value is not NO_NODE
    }
    if name == "a smaller array":
        assert tip(repo)["a"].shape == ((3,) if isinstance(answer, Ours) else (8,))


def test_a_node_inside_of_our_new_array(repo: icechunk.Repository) -> None:
    async def put_document(session: icechunk.Session) -> None:
        document = {"zarr_format": 3, "node_type": "group", "attributes": {"theirs": 1}}
        buffer = zarr.core.buffer.default_buffer_prototype().buffer.from_bytes(json.dumps(document).encode())
        await session.store.set("n/x/zarr.json", buffer)

    for answer, expected in ((Ours(), [True, False]), (Theirs(), [False, True])):
        session, other = repo.writable_session("main"), repo.writable_session("main")
        create("n", 2)(zarr.open_group(session.store, mode="r+"))
        zarr.core.sync.sync(put_document(other))
        before = repo.lookup_branch("main")
        other.commit("theirs")
        session.commit("ours", rebase_with=Answering(answer), allow_empty=True)
        store = repo.readonly_session("main").store
        keys = ("n/zarr.json", "n/x/zarr.json")
        assert [zarr.core.sync.sync(store.exists(key)) for key in keys] == expected
        repo.reset_branch("main", before)


def test_a_value_is_written_as_the_chunk(repo: icechunk.Repository) -> None:
    session = race(repo, put("a", 8), put("a", 9))
    session.commit("ours", rebase_with=Answering(Value(np.array([70, 71]))))
    assert tip(repo)["a"][:4].tolist() == [70, 71, 2, 3]


def test_a_value_that_is_all_fill_value_leaves_no_chunk(repo: icechunk.Repository) -> None:
    session = race(repo, put("a", 8), put("a", 9))
    session.commit("ours", rebase_with=Answering(Value(np.array([-1, -1]))))
    assert tip(repo)["a"][:4].tolist() == [-1, -1, 2, 3]
    assert repo.readonly_session("main").chunk_type("/a", [0]) == icechunk.ChunkType.uninitialized


def test_a_value_is_a_document_where_documents_conflict(repo: icechunk.Repository) -> None:
    class Merging(ConflictSolver):
        def resolve(self, conflict: ConflictView) -> Resolution:
            ours, theirs = dict(conflict.ours.metadata or {}), conflict.theirs.metadata or {}
            return Value({**ours, "attributes": {**theirs["attributes"], **ours["attributes"]}})

    session = race(
        repo, all_of(note("a", theirs=1), note("g", theirs=1)), all_of(note("a", ours=2), note("g", ours=2))
    )
    session.commit("ours", rebase_with=Merging())
    assert dict(tip(repo)["a"].attrs) == dict(tip(repo)["g"].attrs) == {"theirs": 1, "ours": 2}


@pytest.mark.parametrize(
    ("theirs", "ours", "answer", "reason"),
    [
        (put("a", 8), put("a", 9), Value(np.zeros(3)), "chunk [0]: the value has the shape (3,), the chunk (2,)"),
        (put("a", 8), put("a", 9), Value({"node_type": "array"}), "chunk [0]: Value is no answer to ChunkDoubleUpdate"),
        (note("a", x=1), note("a", x=2), Value({"node_type": "group"}), "a node of the other kind"),
        (note("a", x=1), note("a", x=2), Value(np.zeros(2)), "Value is no answer to ZarrMetadataDoubleUpdate"),
        (note("g", x=1), note("g", x=2), Renumber(0, 0, 0, {}), "Renumber is no answer to ZarrMetadataDoubleUpdate"),
        (put("a", 8), put("a", 9), Fail("never"), "chunk [0]: never"),
    ],
)  # fmt: skip
def test_an_answer_that_does_not_fit_is_a_failure_that_says_so(
    repo: icechunk.Repository, theirs: Change, ours: Change, answer: Resolution, reason: str
) -> None:
    session = race(repo, theirs, ours)
    before = session.snapshot_id
    with pytest.raises(icechunk.RebaseFailedError) as failure:
        session.rebase(Answering(answer))
    [told] = failure.value.reasons
    assert reason in (told or "")
    assert reason in str(failure.value)
    assert session.snapshot_id == before
    assert session.has_uncommitted_changes


def test_all_or_nothing_of_a_commit_is_applied(repo: icechunk.Repository) -> None:
    session = race(repo, all_of(put("a", 8), note("g", x=1)), all_of(put("a", 9), note("g", x=2)))
    before = session.status()
    solver = Answering({T.ChunkDoubleUpdate: Theirs(), T.ZarrMetadataDoubleUpdate: Fail("no idea")})
    with pytest.raises(icechunk.RebaseFailedError) as failure:
        session.rebase(solver)
    assert failure.value.reasons == ["no idea", None]
    assert [conflict.path for conflict in failure.value.conflicts] == ["/g", "/a"]
    # Asked all the same, so that the user learns of everything at once.
    assert [asked[0] for asked in solver.asked] == [T.ZarrMetadataDoubleUpdate, T.ChunkDoubleUpdate]
    assert session.status() == before


def test_what_a_solver_raises_comes_through_and_changes_nothing(repo: icechunk.Repository) -> None:
    class Broken(ConflictSolver):
        def resolve(self, conflict: ConflictView) -> Resolution:
            raise LookupError("lost")

    class Silent(ConflictSolver):
        def resolve(self, conflict: ConflictView) -> Resolution:
            return None  # type: ignore[return-value]

    session = race(repo, put("a", 8), put("a", 9))
    with pytest.raises(LookupError, match="lost"):
        session.rebase(Broken())
    with pytest.raises(TypeError, match="Silent answered None"):
        session.commit("ours", rebase_with=Silent())
    session.commit("ours", rebase_with="basic")
    assert tip(repo)["a"][0] == 9


def test_a_view_shows_three_versions_lazily(repo: icechunk.Repository) -> None:
    views: list[ConflictView] = []

    class Looking(ConflictSolver):
        def resolve(self, conflict: ConflictView) -> Resolution:
            views.append(conflict)
            base, ours, theirs = conflict.base, conflict.ours, conflict.theirs
            if conflict.chunk is not None:
                assert conflict.chunk == (0,)
                assert conflict.chunks is not None
                assert conflict.chunks.tolist() == [[0]]
                for version, value in ((base, [0, 1]), (ours, [9, 9]), (theirs, [8, 8])):
                    found = version.chunk()
                    assert found is not None
                    assert found.tolist() == value
                    assert version.array[:2].tolist() == value
                    assert version.chunk((9,)) is None
                    assert (version.metadata or {})["shape"] == [8]
                assert [view.path for view in conflict.arrays_of_group()] == ["/a", "/b", "/mine", "/n"]
            else:
                assert conflict.chunks is None
                assert not base.exists
                assert base.metadata is None
                assert base.chunk((0,)) is None
                assert ours.chunk((0,)) is not None
                assert theirs.exists
                with pytest.raises(icechunk.NodeNotFoundError):
                    _ = base.array
                with pytest.raises(ValueError, match="which chunk"):
                    ours.chunk()
            return Ours()

    theirs = all_of(put("a", 8), create("n", 1))
    session = race(repo, theirs, all_of(put("a", 9), create("n", 2), create("mine", 3)))
    session.rebase(Looking())
    assert [view.path for view in views] == ["/n", "/a"]


def test_a_solver_of_a_plugin_is_found_by_its_name(repo: icechunk.Repository) -> None:
    from icechunk.abc import NamedSolver
    from icechunk.plugins import registry
    from icechunk.plugins.hookspecs import hookimpl

    class Plugin:
        @hookimpl
        def icechunk_conflict_solvers(self) -> list[NamedSolver]:
            return [NamedSolver(name="seventy", build=lambda options: Answering(Value(np.full(2, 70, "i4"))))]

    registry.register(_PLUGINS.setdefault("seventy", Plugin()), "solver-of-a-test")
    session = race(repo, put("a", 8), put("a", 9))
    session.commit("ours", rebase_with="seventy")
    assert tip(repo)["a"][0] == 70


# The registry keeps plugins for good, and knows them by identity.
_PLUGINS: dict[str, object] = {}

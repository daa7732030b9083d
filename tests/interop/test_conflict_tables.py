"""Every row of the conflict tables (semantics 6), with both implementations.

A row says what they committed, what we did, which conflicts a `ConflictDetector` tells, and whether a
`BasicConflictSolver` solves them. Where ours is stricter on purpose, the row says what the reference does instead, and
docs/adr/0003 why.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import pytest

import icechunk
from icechunk.abc import ConflictView, Fail, Resolution, Theirs
from tests.interop import conflict_programs
from tests.interop.conflict_programs import Commit
from tests.interop.reference import ReferenceError_, Side

BASE: Commit = [
    ("group", "/"),
    ("group", "/g"),
    ("array", "/a"),
    ("write", "/a", 0, 1),
    ("write", "/a", 1, 1),
    ("array", "/g/c"),
    ("write", "/g/c", 0, 1),
]

DETECTOR = ("detector", {})
BASIC = ("basic", {})
OURS = ("basic", {"on_chunk_conflict": "UseOurs"})
THEIRS = ("basic", {"on_chunk_conflict": "UseTheirs"})
FAIL = ("basic", {"on_chunk_conflict": "Fail"})
NO_ARRAYS = ("basic", {"fail_on_delete_of_updated_array": True})
NO_GROUPS = ("basic", {"fail_on_delete_of_updated_group": True})

NAME_TAKEN = "NewNodeConflictsWithExistingNode"
NO_GROUP = "NewNodeInInvalidGroup"
TWO_DOCUMENTS = "ZarrMetadataDoubleUpdate"
ARRAY_GONE = "ZarrMetadataUpdateOfDeletedArray"
GROUP_GONE = "ZarrMetadataUpdateOfDeletedGroup"
TWO_CHUNKS = "ChunkDoubleUpdate"
CHUNKS_GONE = "ChunksUpdatedInDeletedArray"
CHUNKS_OF_NEW_DOCUMENT = "ChunksUpdatedInUpdatedArray"
DELETED_ARRAY = "DeleteOfUpdatedArray"
DELETED_GROUP = "DeleteOfUpdatedGroup"
MOVED = "MoveOperationCannotBeRebased"
THEIR_ORPHAN = "DeleteOfGroupWithNewNode"
OUR_ORPHAN = "NewNodeInDeletedGroup"
LAYOUT = "LayoutUpdateOfUpdatedChunks"

CHANGED = ("change", "/a", {"attributes": {"x": 1}})
GROUP_CHANGED = ("group", "/g", {"x": 1})
RECREATED = [("delete", "/a"), ("array", "/a"), ("write", "/a", 2, 8)]


class Row(NamedTuple):
    """What two sides do, and what comes of it."""

    name: str
    theirs: Commit
    ours: Commit
    conflicts: Sequence[tuple[Any, ...]] = ()
    """Types and paths, for chunks with their indices."""
    solved_by: Sequence[tuple[str, dict[str, Any]]] = ()
    """Solvers that get over the conflicts; all others of `solvers` fail."""
    solvers: Sequence[tuple[str, dict[str, Any]]] = (BASIC,)
    reference: Sequence[tuple[Any, ...]] | None = None
    """What the reference tells, where ours tells more."""
    spec_versions: Sequence[int] = (1, 2)


ROWS = [
    Row("new array, new array", [("array", "/n")], [("array", "/n")], [(NAME_TAKEN, "/n")]),
    Row("new group, new group", [("group", "/n")], [("group", "/n")], [(NAME_TAKEN, "/n")]),
    Row(
        "new array, new group with arrays in it",
        [("array", "/n")],
        [("group", "/n"), ("array", "/n/x"), ("array", "/n/y")],
        [(NAME_TAKEN, "/n"), (NO_GROUP, "/n"), (NO_GROUP, "/n")],
    ),
    Row("new array, array below it", [("array", "/n")], [("array", "/n/x")], [(NO_GROUP, "/n")]),
    Row(
        "group becomes an array, new array in it",
        [("delete", "/g"), ("array", "/g")],
        [("array", "/g/d")],
        [(NO_GROUP, "/g")],
    ),
    Row("array document, array document", [CHANGED], [CHANGED], [(TWO_DOCUMENTS, "/a")]),
    Row("group document, group document", [GROUP_CHANGED], [GROUP_CHANGED], [(TWO_DOCUMENTS, "/g")]),
    Row(
        "two documents, the same two",
        [GROUP_CHANGED, CHANGED],
        [GROUP_CHANGED, CHANGED],
        [(TWO_DOCUMENTS, "/a"), (TWO_DOCUMENTS, "/g")],
    ),
    Row("array deleted, document", [("delete", "/a")], [CHANGED], [(ARRAY_GONE, "/a")]),
    Row("group deleted, document", [("delete", "/g")], [GROUP_CHANGED], [(GROUP_GONE, "/g")]),
    Row("array deleted, chunk", [("delete", "/a")], [("write", "/a", 0, 5)], [(CHUNKS_GONE, "/a")]),
    Row("array replaced, chunk", RECREATED, [("write", "/a", 0, 5)], [(CHUNKS_GONE, "/a")]),
    Row("array replaced, document", RECREATED, [CHANGED], [(ARRAY_GONE, "/a")]),
    Row(
        "array deleted, document and chunk",
        [("delete", "/a")],
        [CHANGED, ("write", "/a", 0, 5)],
        [(ARRAY_GONE, "/a"), (CHUNKS_GONE, "/a")],
    ),
    Row(
        "chunk, the same chunk",
        [("write", "/a", 0, 7), ("write", "/a", 1, 7)],
        [("write", "/a", 1, 5), ("write", "/a", 2, 5)],
        [(TWO_CHUNKS, "/a", [[1]])],
        solved_by=[BASIC, OURS, THEIRS],
        solvers=[BASIC, OURS, THEIRS, FAIL],
    ),
    Row(
        "chunk, the same chunk with the same value",
        [("write", "/a", 1, 7)],
        [("write", "/a", 1, 7)],
        [(TWO_CHUNKS, "/a", [[1]])],
        solved_by=[BASIC],
    ),
    Row(
        "chunk, the same chunk deleted",
        [("write", "/a", 1, 7)],
        [("erase", "/a", 1)],
        [(TWO_CHUNKS, "/a", [[1]])],
        solved_by=[OURS, THEIRS],
        solvers=[OURS, THEIRS],
    ),
    Row(
        "chunk deleted, the same chunk",
        [("erase", "/a", 1)],
        [("write", "/a", 1, 7)],
        [(TWO_CHUNKS, "/a", [[1]])],
        solved_by=[OURS, THEIRS],
        solvers=[OURS, THEIRS],
    ),
    Row(
        "chunks of two arrays",
        [("write", "/a", 2, 7), ("write", "/g/c", 1, 7), ("write", "/g/c", 3, 7)],
        [("write", "/g/c", 3, 5), ("write", "/g/c", 1, 5), ("write", "/a", 2, 5)],
        [(TWO_CHUNKS, "/a", [[2]]), (TWO_CHUNKS, "/g/c", [[1], [3]])],
        solved_by=[OURS, THEIRS],
        solvers=[OURS, THEIRS, FAIL],
    ),
    Row("chunk, another chunk", [("write", "/a", 0, 7)], [("write", "/a", 1, 5)]),
    Row("array document, chunk", [CHANGED], [("write", "/a", 1, 5)], [(CHUNKS_OF_NEW_DOCUMENT, "/a")]),
    Row(
        "array document and chunk, the same chunk",
        [CHANGED, ("write", "/a", 1, 7)],
        [("write", "/a", 1, 5)],
        [(CHUNKS_OF_NEW_DOCUMENT, "/a"), (TWO_CHUNKS, "/a", [[1]])],
    ),
    Row("chunk, attributes", [("write", "/a", 1, 5)], [CHANGED]),
    Row("chunk, dimension names", [("write", "/a", 1, 5)], [("change", "/a", {"dimension_names": ["x"]})]),
    Row(
        "array document, deleted",
        [CHANGED],
        [("delete", "/a")],
        [(DELETED_ARRAY, "/a")],
        solved_by=[BASIC, NO_GROUPS],
        solvers=[BASIC, NO_GROUPS, NO_ARRAYS],
    ),
    Row(
        "chunk, array deleted",
        [("write", "/a", 1, 5)],
        [("delete", "/a")],
        [(DELETED_ARRAY, "/a")],
        solved_by=[BASIC, NO_GROUPS],
        solvers=[BASIC, NO_GROUPS, NO_ARRAYS],
    ),
    Row(
        "group document, deleted",
        [GROUP_CHANGED],
        [("delete", "/g")],
        [(DELETED_GROUP, "/g")],
        solved_by=[BASIC, NO_ARRAYS],
        solvers=[BASIC, NO_GROUPS, NO_ARRAYS],
    ),
    Row(
        "chunk in a group, group deleted",
        [("write", "/g/c", 1, 5)],
        [("delete", "/g")],
        [(DELETED_ARRAY, "/g/c")],
        solved_by=[BASIC, NO_GROUPS],
        solvers=[BASIC, NO_GROUPS, NO_ARRAYS],
    ),
    Row("array deleted, deleted", [("delete", "/a")], [("delete", "/a")]),
    Row("array deleted, replaced", [("delete", "/a")], RECREATED),
    Row("another array's chunk, replaced", [("write", "/g/c", 1, 5)], RECREATED),
    Row("chunk, replaced", [("write", "/a", 1, 5)], RECREATED, [(DELETED_ARRAY, "/a")], solved_by=[BASIC]),
    Row("replaced, replaced", RECREATED, RECREATED, [(DELETED_ARRAY, "/a")], solved_by=[BASIC]),
    Row("replaced, deleted", RECREATED, [("delete", "/a")], [(DELETED_ARRAY, "/a")], solved_by=[BASIC]),
    Row("replaced without chunks, deleted", [("delete", "/a"), ("array", "/a")], [("delete", "/a")]),
    Row("nothing, chunk", [("nothing",)], [("write", "/a", 1, 5)]),
    Row(
        "move, anything", [("move", "/a", "/b")], [("write", "/g/c", 1, 5)], [(MOVED, "")], spec_versions=[2]
    ),
    Row("move, move", [("move", "/a", "/b")], [("move", "/g", "/h")], [(MOVED, "")], spec_versions=[2]),
    Row("chunk, move", [("write", "/a", 1, 5)], [("move", "/a", "/b")], spec_versions=[2]),
    Row("document, move of the group", [GROUP_CHANGED], [("move", "/g", "/h")], spec_versions=[2]),
    Row("another node deleted, move", [("delete", "/g/c")], [("move", "/a", "/g/b")], spec_versions=[2]),
    # Where the reference sees nothing: docs/adr/0003.
    Row(
        "new node, move to its place",
        [("array", "/b")],
        [("move", "/a", "/b")],
        [("MoveOverNewNode", "/b")],
        reference=[],
        spec_versions=[2],
    ),
    Row(
        "group deleted, move into it",
        [("delete", "/g")],
        [("move", "/a", "/g/b")],
        [("MoveIntoDeletedGroup", "/g/b")],
        reference=[],
        spec_versions=[2],
    ),
    Row(
        "new node in a group, group deleted",
        [("array", "/g/d"), ("group", "/g/e"), ("array", "/g/e/f")],
        [("delete", "/g")],
        [(THEIR_ORPHAN, "/g/d"), (THEIR_ORPHAN, "/g/e")],
        reference=[],
    ),
    Row(
        "new node in a group, group replaced",
        [("array", "/g/d")],
        [("delete", "/g"), ("group", "/g")],
        [(THEIR_ORPHAN, "/g/d")],
        reference=[],
    ),
    Row(
        "new node, everything deleted",
        [("array", "/z")],
        [("delete", "/"), ("group", "/")],
        [(THEIR_ORPHAN, "/z")],
        reference=[],
    ),
    Row(
        "group deleted, new node in it",
        [("delete", "/g")],
        [("group", "/g/d"), ("array", "/g/d/e")],
        [(OUR_ORPHAN, "/g/d")],
        reference=[],
    ),
    Row(
        "group replaced, new node in it",
        [("delete", "/g"), ("group", "/g")],
        [("array", "/g/d")],
        [(OUR_ORPHAN, "/g/d")],
        reference=[],
    ),
    Row(
        "new node, array above it",
        [("array", "/n/x")],
        [("array", "/n")],
        [(NO_GROUP, "/n")],
        reference=[],
    ),
    *(
        Row(
            f"chunk, {field}",
            [("write", "/a", 1, 5)],
            [("change", "/a", {field: value})],
            [(LAYOUT, "/a")],
            reference=[],
        )
        for field, value in {
            "shape": [6],
            "chunk_grid": {"name": "regular", "configuration": {"chunk_shape": [4]}},
            "data_type": "uint32",
            "codecs": [{"name": "bytes", "configuration": {"endian": "big"}}],
            "fill_value": 3,
        }.items()
    ),
]


@pytest.fixture
def race(tmp_path: Path) -> Callable[..., Any]:
    """Run one race with one side, in a folder of its own."""

    def run(side: Side, *args: Any) -> dict[str, Any]:
        path = str(tmp_path / f"{side.name}-{len(list(tmp_path.iterdir()))}")
        told = side.call("conflict_programs:race", path, *args)
        return {**told, "path": path}

    return run


@pytest.mark.parametrize(
    ("row", "spec_version"),
    [
        pytest.param(row, version, id=f"{row.name}, v{version}")
        for row in ROWS
        for version in row.spec_versions
    ],
)
def test_a_row_of_the_tables(
    ours: Side, reference: Side, race: Callable[..., Any], row: Row, spec_version: int
) -> None:
    for solver in (DETECTOR, *row.solvers):
        both = []
        for side, other in ((ours, reference), (reference, ours)):
            told = race(side, spec_version, BASE, [row.theirs], row.ours, solver)
            conflicts = row.conflicts if side is ours or row.reference is None else row.reference
            if conflicts and solver not in row.solved_by:
                assert told["error"] == ("RebaseFailedError", "rebase-failed")
                assert _sorted(told["conflicts"]) == _sorted(conflicts)
                assert (told["failed_on"], told["based_on"], told["status_changed"]) == (1, 0, False)
            else:
                assert told.get("error") is told.get("commit_error") is None
                assert told["based_on"] == 1
                assert told["committed"] == told["reopened"]
                assert other.call("conflict_programs:contents_of", told["path"]) == told["committed"]
            both.append(_without_order(told))
        if row.reference is None:
            # Status, session and commit, too.
            assert both[0] == both[1]


def _without_order(told: dict[str, Any]) -> dict[str, Any]:
    """The reference tells conflicts of several nodes in any order, and its ids and folders are its own."""
    return {**told, "path": None, "conflicts": _sorted(told.get("conflicts", []))}


def _sorted(conflicts: Sequence[tuple[Any, ...]]) -> list[tuple[Any, ...]]:
    return sorted((*conflict, None)[:3] if len(conflict) == 2 else tuple(conflict) for conflict in conflicts)


def test_a_moved_node_that_they_deleted_breaks_the_reference_and_is_a_conflict_here(
    ours: Side, reference: Side, race: Callable[..., Any]
) -> None:
    """docs/adr/0003."""
    args = (2, BASE, [[("delete", "/a")]], [("move", "/a", "/b")], DETECTOR)
    assert race(ours, *args)["conflicts"] == [("MoveOfDeletedNode", "/a", None)]
    with pytest.raises(ReferenceError_, match="node not found at `/a`"):
        race(reference, *args)


def test_nodes_that_they_add_to_a_group_move_with_it(
    ours: Side, reference: Side, race: Callable[..., Any]
) -> None:
    args = (2, BASE, [[("array", "/g/d"), ("write", "/g/d", 0, 7)]], [("move", "/g", "/h")], DETECTOR)
    told = [race(side, *args) for side in (ours, reference)]
    assert told[0]["committed"] == told[1]["committed"]
    assert told[0]["committed"]["h/d/c/0"] == [7, 7]


@pytest.mark.parametrize("spec_version", [1, 2])
def test_a_reset_branch_is_a_conflict_here(
    ours: Side, reference: Side, tmp_path: Path, spec_version: int
) -> None:
    """docs/adr/0003."""
    path = str(tmp_path / "ours")
    told = ours.call("conflict_programs:race_with_a_reset", path, spec_version)
    assert told == ("RebaseFailedError", "rebase-failed", [("BaseIsNoAncestor", "", None)])
    path = str(tmp_path / "reference")
    told = reference.call("conflict_programs:race_with_a_reset", path, spec_version)
    assert told == (("StorageError", "object-not-found", []) if spec_version == 1 else None)


THREE_CHUNKS = [[("write", "/a", index, 1)] for index in range(3)]


def session_whose_base_expires(
    reference: Side, path: str, ours: Commit
) -> tuple[icechunk.Session, list[str]]:
    """Begin a session with ours, and let the reference commit three chunks, and the base expire."""
    repo = icechunk.Repository.create(icechunk.local_filesystem_storage(path))
    with repo.transaction("main", message="base") as store:
        conflict_programs.apply(store.session, [("group", "/"), ("array", "/a"), ("array", "/b")])
    session = repo.writable_session("main")
    conflict_programs.apply(session, ours)
    ids, expired = reference.call("conflict_programs:commit_and_expire", path, THREE_CHUNKS)
    assert expired == {session.snapshot_id, *ids[:2]}
    return session, ids


def test_a_base_that_has_expired_is_an_ancestor_as_long_as_the_logs_are_kept(
    reference: Side, tmp_path: Path
) -> None:
    session, ids = session_whose_base_expires(reference, str(tmp_path), [("write", "/b", 0, 5)])
    session.rebase(icechunk.ConflictDetector())
    assert session.snapshot_id == ids[-1]
    session.commit("ours")
    found = reference.call("conflict_programs:contents_of", str(tmp_path))
    assert [found[key] for key in ("a/c/0", "a/c/1", "a/c/2", "b/c/0")] == [[1, 1], [1, 1], [1, 1], [5, 5]]


def test_conflicts_with_what_has_expired_are_told_and_the_session_left_alone(
    reference: Side, tmp_path: Path
) -> None:
    """docs/adr/0003: the reference has an error of its own for it."""
    edits = [("write", "/a", 1, 5), ("write", "/a", 2, 5)]
    session, ids = session_whose_base_expires(reference, str(tmp_path / "ours"), edits)
    before = session.snapshot_id

    class Hesitating(icechunk.ConflictSolver):
        """Gives way to the first, and not to the second."""

        def resolve(self, conflict: ConflictView) -> Resolution:
            return Theirs() if conflict.chunk == (1,) else Fail("no more")

    with pytest.raises(icechunk.RebaseFailedError) as failure:
        session.rebase(Hesitating())
    assert failure.value.snapshot == ids[-1]
    assert failure.value.conflicts == [
        icechunk.Conflict(icechunk.ConflictType.ChunkDoubleUpdate, "/a", [[2]])
    ]
    assert session.snapshot_id == before
    assert session.status().updated_chunks == {"/a": [[1], [2]]}
    session.commit("ours", rebase_with="basic")
    found = reference.call("conflict_programs:contents_of", str(tmp_path / "ours"))
    assert [found[key] for key in ("a/c/0", "a/c/1", "a/c/2")] == [[1, 1], [5, 5], [5, 5]]

    path = str(tmp_path / "reference")
    told = reference.call("conflict_programs:race_with_expiration", path, THREE_CHUNKS, edits)
    assert told == {"error": ("InternalError", "conflicting-path-not-found")}


def test_without_the_log_of_an_expired_commit_nobody_knows_what_to_rebase_over(
    reference: Side, tmp_path: Path
) -> None:
    session, ids = session_whose_base_expires(reference, str(tmp_path), [("write", "/b", 0, 5)])
    (tmp_path / "transactions" / ids[1]).unlink()
    with pytest.raises(icechunk.SessionStateError, match="cannot rebase: transaction log") as failure:
        session.rebase("basic")
    assert failure.value.kind == "rebase-tx-log-pruned"
    assert ids[1] in str(failure.value)
    assert session.has_uncommitted_changes

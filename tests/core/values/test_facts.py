"""Facts about repositories: snapshots, diffs, updates, statuses, conflicts, sums."""

from __future__ import annotations

import copy
import pickle
from datetime import UTC, datetime, timedelta, timezone
from inspect import signature
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

import icechunk
from icechunk._values.enums import ChunkType, RepoAvailability, SessionMode, SpecVersion
from icechunk._values.history import moment
from icechunk._values.records import Named
from icechunk._values.repository_state import FeatureFlag, RepoStatus
from icechunk._values.summaries import ChunkStorageStats, StorageObjectInfo
from icechunk.conflicts import Conflict, ConflictType, VersionSelection
from icechunk.ops import GCSummary, Update, UpdateType
from icechunk.snapshots import Diff, ManifestFileInfo, SnapshotInfo

NOON = datetime(2026, 11, 22, 12, 0, 0, 7, tzinfo=UTC)


class Facts:
    """Stands for a record of the format layer."""

    def __init__(self, **changes: Any) -> None:
        self.id_text = "E5VDB8C9XVBTWNZZZK1G"
        self.parent_text: str | None = None
        self.flushed_at = 1_795_348_800_000_007
        self.message = "first"
        self.metadata: dict[str, Any] = {"a": [1, None]}
        self.__dict__.update(changes)


def update(kind: UpdateType, backup_path: str | None) -> Update:
    return Update._of(SimpleNamespace(kind=kind, updated_at=1_795_348_800_000_007, backup_path=backup_path))


def every_fact() -> list[Any]:
    return [
        SnapshotInfo._of(Facts()),
        ManifestFileInfo._of("X", size_bytes=5, num_chunk_refs=6),
        Diff(new_groups=["/"], updated_chunks={"/a": [[0]]}),
        update(UpdateType.GCRan(), None),
        UpdateType.NewCommit("main", "X"),
        RepoStatus(RepoAvailability.online, NOON),
        FeatureFlag._of(4, "create_tag", default_enabled=True, setting=None),
        GCSummary(bytes_deleted=3, delete_errors=["no"], skipped_phases=["chunks"]),
        ChunkStorageStats(native_bytes=1),
        StorageObjectInfo._of("repo", size_bytes=5, created_at=NOON),
        Conflict(ConflictType.ChunkDoubleUpdate, "/a", [[0, 1]]),
        icechunk.VirtualChunkSpec([0, 1], "s3://a/b", 0, 10),
    ]


@pytest.mark.parametrize("index", range(len(every_fact())))
def test_facts_compare_copy_and_pickle_and_cannot_be_changed(index: int) -> None:
    fact, same = every_fact()[index], every_fact()[index]
    assert fact == same
    assert fact != "something else"
    for twin in (copy.copy(fact), copy.deepcopy(fact), pickle.loads(pickle.dumps(fact))):
        assert twin == fact
    name = next(name for name in dir(fact) if not name.startswith("_"))
    with pytest.raises(AttributeError):
        setattr(fact, name, 1)


@pytest.mark.parametrize("index", range(len(every_fact())))
def test_facts_that_can_be_hashed_there_can_be_hashed(index: int) -> None:
    fact, same = every_fact()[index], every_fact()[index]
    if isinstance(fact, SnapshotInfo | Diff | RepoStatus | GCSummary):
        with pytest.raises(TypeError, match="unhashable"):
            hash(fact)
    else:
        assert len({fact, same}) == 1


def test_an_update_of_any_kind_can_be_hashed() -> None:
    def closed() -> Update:
        return update(UpdateType.RepoStatusChanged(RepoStatus(RepoAvailability.read_only, NOON)), None)

    assert len({closed(), closed(), update(UpdateType.GCRan(), "x")}) == 2


@pytest.mark.parametrize("cls", [SnapshotInfo, ManifestFileInfo, Update, FeatureFlag, StorageObjectInfo])
def test_what_only_the_library_knows_only_the_library_makes(cls: Any) -> None:
    with pytest.raises(TypeError, match="are made by the library"):
        cls()


def test_a_snapshot_tells_its_facts() -> None:
    info = SnapshotInfo._of(Facts(message="first\nof all"))
    assert info.id == "E5VDB8C9XVBTWNZZZK1G"
    assert info.parent_id is None
    assert info.written_at == NOON
    assert info.written_at.tzinfo is UTC
    info.metadata["a"].append("changed")
    assert info.metadata == {"a": [1, None]}
    assert (
        str(info)
        == repr(info)
        == """\
<icechunk.snapshots.SnapshotInfo>
id: E5VDB8C9XVBTWNZZZK1G
parent_id: None
written_at: datetime.datetime(2026,11,22,12,0,0,7, tzinfo=datetime.timezone.utc)
message:
    first
    of all
metadata: {'a': [1, None]}
"""
    )
    assert info != SnapshotInfo._of(Facts(message="second"))


@pytest.mark.parametrize("microseconds", [0, 1, -1, 1_795_348_800_000_007, 2**52 + 1])
def test_moments_are_exact(microseconds: int) -> None:
    assert (moment(microseconds) - moment(0)) // timedelta(microseconds=1) == microseconds


def test_a_diff_shows_what_is_not_empty() -> None:
    diff = Diff(
        new_groups={"/g", "/"},
        new_arrays=["/a"],
        updated_chunks={"/a": np.arange(12, dtype=np.uint32).reshape(12, 1), "/b": [[0, 1]], "/c": []},
        moved_nodes=[("/x", "/y")],
    )
    assert (
        str(diff)
        == repr(diff)
        == """\
Groups created:
    /
    /g

Arrays created:
    /a

Chunks updated:
    /a:
        [0]
        [1]
        [2]
        [3]
        [4]
        [5]
        [6]
        [7]
        [8]
        [9]
        ... 2 more
    /b:
        [0, 1]
    /c:

Nodes moved/renamed:
    /x -> /y

"""
    )
    assert diff.updated_chunks == {"/a": [[i] for i in range(12)], "/b": [[0, 1]], "/c": []}
    assert type(diff.updated_chunks["/a"][0][0]) is int
    assert diff.new_groups == {"/", "/g"}
    assert not diff.is_empty()
    assert Diff().is_empty()
    assert str(Diff()) == ""
    assert "12 chunks" in diff._repr_html_()


def test_updated_chunks_are_sorted_by_path() -> None:
    diff = Diff(updated_chunks={path: [[0]] for path in ("/b", "/a/b", "/a-b", "/A", "/é", "/a")})
    assert list(diff.updated_chunks) == ["/A", "/a", "/a-b", "/a/b", "/b", "/é"]


def mutable_parts(fact: Any) -> list[Any]:
    parts = [getattr(fact, name) for name in dir(fact) if not name.startswith("_")]
    return [part for part in parts if isinstance(part, list | set | dict)]


@pytest.mark.parametrize("index", range(len(every_fact())))
def test_what_a_fact_hands_out_is_a_copy(index: int) -> None:
    fact, same = every_fact()[index], every_fact()[index]
    for part in mutable_parts(fact):
        part.clear() if part else part.add("/x") if isinstance(part, set) else None
    if isinstance(fact, Conflict) and fact.conflicted_chunks:
        fact.conflicted_chunks[0].append(7)
    assert fact == same


def test_sections_of_a_diff_come_in_their_order() -> None:
    names = [
        "deleted_arrays",
        "deleted_groups",
        "updated_arrays",
        "updated_groups",
        "new_arrays",
        "new_groups",
    ]
    diff = Diff(**{name: [f"/{name}"] for name in names})  # type: ignore[arg-type]
    assert [line for line in str(diff).splitlines() if line.endswith(":")] == [
        "Groups created:",
        "Arrays created:",
        "Group definitions updated:",
        "Array definitions updated:",
        "Groups deleted:",
        "Arrays deleted:",
    ]


@pytest.mark.parametrize(
    ("fact", "text"),
    [
        (
            ManifestFileInfo._of("X", size_bytes=447, num_chunk_refs=40),
            "<icechunk.snapshots.ManifestFileInfo>\nid: X\nsize_bytes: 447\nnum_chunk_refs: 40\n",
        ),
        (
            update(UpdateType.TagCreated("t"), "repo.1"),
            (
                '<icechunk.ops.Update>\nkind: icechunk.ops.UpdateType.TagCreated(name="t")\n'
                "updated_at: datetime.datetime(2026,11,22,12,0,0,7, tzinfo=datetime.timezone.utc)\n"
                "backup_path: repo.1\n"
            ),
        ),
        (
            RepoStatus(RepoAvailability.read_only, NOON, 'for "now"'),
            (
                "<icechunk.repository.RepoStatus>\navailability: ReadOnly\n"
                "set_at: datetime.datetime(2026,11,22,12,0,0,7, tzinfo=datetime.timezone.utc)\n"
                'limited_availability_reason: for "now"\n'
            ),
        ),
        (
            FeatureFlag._of(4, "create_tag", default_enabled=True, setting=False),
            (
                "<icechunk.config.FeatureFlag>\nid: 4\nname: create_tag\ndefault_enabled: True\n"
                "setting: False\nenabled: False\n"
            ),
        ),
        (
            ChunkStorageStats(inlined_bytes=520),
            "<icechunk.stats.ChunkStorageStats>\nnative_bytes: 0\nvirtual_bytes: 0\ninlined_bytes: 520\n",
        ),
        (
            StorageObjectInfo._of("repo", size_bytes=5, created_at=NOON),
            (
                "<icechunk.storage.StorageObjectInfo>\nkey: repo\nsize_bytes: 5\n"
                "created_at: datetime.datetime(2026,11,22,12,0,0,7, tzinfo=datetime.timezone.utc)\n"
            ),
        ),
        (
            Conflict(ConflictType.ChunkDoubleUpdate, "/a", [(0, 1), (2, 3)]),
            (
                "<icechunk.conflicts.Conflict>\nconflict_type: ChunkDoubleUpdate\npath: /a\n"
                "conflicted_chunks: [[0, 1], [2, 3]]\n"
            ),
        ),
        (
            GCSummary(),
            (
                "<icechunk.ops.GCSummary>\nbytes_deleted: 0\nchunks_deleted: 0\nmanifests_deleted: 0\n"
                "snapshots_deleted: 0\nattributes_deleted: 0\ntransaction_logs_deleted: 0\n"
                "objects_failed_to_delete: 0\nthrottled_batches: 0\ndelete_errors: []\nskipped_phases: []\n"
            ),
        ),
    ],
    ids=lambda value: type(value).__name__,
)
def test_facts_as_text(fact: Any, text: str) -> None:
    assert repr(fact) == str(fact) == text
    assert '<div class="icechunk-repr">' in fact._repr_html_()


@pytest.mark.parametrize(
    ("kind", "text"),
    [
        (UpdateType.GCRan(), "GCRan()"),
        (UpdateType.NewCommit("main", "X"), 'NewCommit(branch="main", new_snap_id="X")'),
        (
            UpdateType.CommitAmended("main", "X", "Y"),
            'CommitAmended(branch="main", previous_snap_id="X", new_snap_id="Y")',
        ),
        (UpdateType.FeatureFlagChanged(4, None), "FeatureFlagChanged(id=4, new_value=None)"),
        (
            UpdateType.RepoStatusChanged(RepoStatus(RepoAvailability.read_only, NOON, 'x"y')),
            (
                "RepoStatusChanged(status=RepoStatus(availability=ReadOnly, "
                'set_at=2026-11-22T12:00:00.000007Z, limited_availability_reason=Some("x\\"y")))'
            ),
        ),
        (
            UpdateType.RepoStatusChanged(RepoStatus(RepoAvailability.online, NOON)),
            (
                "RepoStatusChanged(status=RepoStatus(availability=Online, "
                "set_at=2026-11-22T12:00:00.000007Z, limited_availability_reason=None))"
            ),
        ),
    ],
    ids=lambda value: type(value).__name__,
)
def test_updates_as_text(kind: UpdateType, text: str) -> None:
    assert repr(kind) == str(kind) == f"icechunk.ops.UpdateType.{text}"
    assert isinstance(kind, UpdateType)


def test_updates_match_as_patterns() -> None:
    match UpdateType.NewCommit("main", "X"):
        case icechunk.ops.UpdateType.NewCommit(branch, new_snap_id):
            assert (branch, new_snap_id) == ("main", "X")
        case _:
            pytest.fail("not recognised")


def test_a_status_is_of_now_and_of_a_time_zone() -> None:
    before = datetime.now(UTC)
    assert before <= RepoStatus(RepoAvailability.online).set_at <= datetime.now(UTC)
    with pytest.raises(TypeError, match="expected a datetime with non-None tzinfo"):
        RepoStatus(RepoAvailability.online, NOON.replace(tzinfo=None))
    elsewhere = NOON.astimezone(timezone(timedelta(hours=5)))
    assert "datetime.datetime(2026,11,22,12,0,0,7" in str(RepoStatus(RepoAvailability.online, elsewhere))


def test_stats_can_be_added() -> None:
    total = ChunkStorageStats(native_bytes=1, virtual_bytes=2, inlined_bytes=4)
    total += ChunkStorageStats(native_bytes=10, virtual_bytes=20, inlined_bytes=40)
    assert total == ChunkStorageStats(native_bytes=11, virtual_bytes=22, inlined_bytes=44)
    assert (total.non_virtual_bytes(), total.total_bytes()) == (55, 77)


@pytest.mark.parametrize(
    ("member", "number", "shown"),
    [
        (SpecVersion.v1, 1, "SpecVersion.v1"),
        (SpecVersion.v2, 2, "SpecVersion.v2 (current)"),
        (ChunkType.native, 1, "ChunkType.native"),
        (SessionMode.rearrange, 2, "SessionMode.rearrange"),
        (RepoAvailability.read_only, 1, "RepoAvailability.read_only"),
        (VersionSelection.UseOurs, 1, "VersionSelection.UseOurs"),
    ],
)
def test_enumerations_are_names_with_numbers(member: Named, number: int, shown: str) -> None:
    assert int(member) == member.value == number
    assert repr(member) == str(member) == f"{member}" == shown
    assert pickle.loads(pickle.dumps(member)) is member
    assert copy.deepcopy(member) is member


ENUMERATIONS: list[type[Named]] = [
    SpecVersion,
    ChunkType,
    SessionMode,
    RepoAvailability,
    ConflictType,
    VersionSelection,
    icechunk.ChecksumAlgorithm,
    icechunk.CompressionAlgorithm,
]


@pytest.mark.parametrize("enumeration", ENUMERATIONS)
def test_members_of_enumerations_are_true_and_equal_to_no_other_member(enumeration: type[Named]) -> None:
    everything = [member for each in ENUMERATIONS for member in each]
    for member in enumeration:
        assert bool(member)
        assert [other for other in everything if member == other or other == member] == [member]
    assert len(set(everything)) == len(everything)


@pytest.mark.parametrize("enumeration", ENUMERATIONS)
def test_members_of_some_enumerations_are_equal_to_their_numbers(enumeration: type[Named]) -> None:
    are_equal = enumeration not in (SessionMode, ConflictType, VersionSelection)
    for member in enumeration:
        for number in (member.value, np.uint8(member.value)):
            assert bool(member == number) is bool(number == member) is are_equal
            assert bool(member != number) is (not are_equal)
            assert (number in {member}) is are_equal
        assert member not in (member.value + 100, member.name, None)


@pytest.mark.parametrize("enumeration", ENUMERATIONS)
def test_only_versions_have_an_order(enumeration: type[Named]) -> None:
    first: Any = next(iter(enumeration))
    if enumeration is SpecVersion:
        assert first <= first.value < 2
    else:
        with pytest.raises(TypeError, match="not supported between"):
            first < first  # noqa: B015, PLR0124


def test_kinds_of_chunks_can_be_found_in_an_array_of_numbers() -> None:
    assert (np.array([0, 1, 3, 1]) == ChunkType.native).tolist() == [False, True, False, True]


def test_versions_are_ordered() -> None:
    assert SpecVersion.v1 < SpecVersion.v2 == SpecVersion.current()


def test_types_of_conflicts_are_phrases_to_people() -> None:
    conflict = ConflictType.ZarrMetadataUpdateOfDeletedArray
    assert (repr(conflict), str(conflict)) == (
        "ZarrMetadataUpdateOfDeletedArray",
        "Zarr metadata update of deleted array",
    )
    # Those from 100 on are ours.
    assert [each.value for each in ConflictType] == [*range(1, 12), *range(100, 107)]
    assert str(signature(ConflictType)) == "(value)"


def test_completion_knows_the_functions_of_an_enumeration() -> None:
    assert {"v1", "v2", "current"} <= set(dir(SpecVersion))


@pytest.mark.parametrize(
    ("make", "arguments", "named"),
    [
        (Conflict, ("x", "/a"), "conflict_type"),
        (Conflict, (6, "/a"), "conflict_type"),
        (Conflict, (ConflictType.ChunkDoubleUpdate, 1), "path"),
        (Conflict, (ConflictType.ChunkDoubleUpdate, "/a", "b"), None),
        (UpdateType.NewCommit, (4, "X"), "branch"),
        (UpdateType.NewCommit, ("main", None), "new_snap_id"),
        (UpdateType.RepoStatusChanged, (4,), "status"),
        (UpdateType.FeatureFlagChanged, (1, 2), "new_value"),
        (icechunk.ConflictError, (1,), "expected_parent"),
        (icechunk.ConflictError, ("X", 1), "actual_parent"),
        (icechunk.RebaseFailedError, ("X", "abc"), "conflicts"),
        (icechunk.RebaseFailedError, (1, []), "snapshot"),
        (icechunk.ManifestSplittingConfig, ("x",), "split_sizes"),
        (icechunk.RepositoryConfig().merge, (None,), "other"),
    ],
)
def test_a_wrong_argument_is_a_type_error_that_names_it(
    make: Any, arguments: tuple[Any, ...], named: str | None
) -> None:
    with pytest.raises(TypeError, match=named):
        make(*arguments)


def test_coordinates_of_conflicts_have_32_bits() -> None:
    with pytest.raises(OverflowError, match="conflicted_chunks"):
        Conflict(ConflictType.ChunkDoubleUpdate, "/a", [[-1]])

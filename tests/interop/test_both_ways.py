"""What one implementation writes, the other reads and continues, in spec versions 1 and 2."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from tests.interop.programs import without_identity
from tests.interop.reference import Side

SidesByName = Callable[[str], Side]

spec_versions = pytest.mark.parametrize("spec_version", [1, 2])
writers_and_readers = pytest.mark.parametrize(
    ("writer", "reader"),
    [("ours", "reference"), ("reference", "ours")],
    ids=["ours-first", "reference-first"],
)


@spec_versions
@writers_and_readers
def test_the_other_side_reads_it_and_both_continue_in_turn(
    side: SidesByName, writer: str, reader: str, spec_version: int, tmp_path: Path
) -> None:
    path = str(tmp_path)
    first, second = side(writer), side(reader)
    first.call("write_everything", path, spec_version)
    seen = first.call("describe", path)
    assert second.call("describe", path) == seen
    for turn, who in [(second, "second"), (first, "first"), (second, "second-again")]:
        turn.call("continue_history", path, who)
        known = list(seen["snapshots"])
        seen = first.call("describe", path, known=known)
        assert second.call("describe", path, known=known) == seen
        assert len(seen["trees"]) == 2


@spec_versions
def test_one_program_gives_the_same_repository_with_both(
    ours: Side, reference: Side, spec_version: int, tmp_path: Path
) -> None:
    descriptions = []
    for side in (ours, reference):
        path = str(tmp_path / side.name)
        side.call("write_everything", path, spec_version)
        side.call("continue_history", path, "the-program")
        descriptions.append(without_identity(reference.call("describe", path)))
    assert descriptions[0] == descriptions[1]


@spec_versions
def test_both_cut_manifests_at_the_same_places(
    ours: Side, reference: Side, spec_version: int, tmp_path: Path
) -> None:
    counts = []
    for side in (ours, reference):
        path = str(tmp_path / side.name)
        side.call("write_everything", path, spec_version)
        description = reference.call("describe", path, trees=False, beyond=True)
        for tag in ("v1.0", "v1.1"):
            files = description["beyond"]["manifest_files"][description["tags"][tag]]
            counts.append((tag, sorted(refs for _, _, refs in files)))
    assert counts[:2] == counts[2:]


@writers_and_readers
def test_a_rectilinear_grid_is_read_by_the_other_side(
    side: SidesByName, writer: str, reader: str, tmp_path: Path
) -> None:
    path = str(tmp_path)
    side(writer).call("write_everything", path, 2)
    side(writer).call("add_rectilinear", path)
    known = list(side(writer).call("describe", path)["snapshots"])[1:]
    side(reader).call("continue_history", path, "the-other")
    assert side(writer).call("describe", path, known=known) == side(reader).call(
        "describe", path, known=known
    )


@spec_versions
@writers_and_readers
def test_a_saved_configuration_is_what_the_other_side_opens_with(
    side: SidesByName, writer: str, reader: str, spec_version: int, tmp_path: Path
) -> None:
    path = str(tmp_path)
    side(writer).call("write_everything", path, spec_version)
    side(reader).call("change_config", path, 33)
    side(writer).call("change_config", path, 44)
    configs = [side(name).call("describe", path, trees=False)["config"] for name in (writer, reader)]
    assert configs[0] == configs[1]
    assert configs[0]["inline_chunk_threshold_bytes"] == 44


@spec_versions
def test_look_ups_fail_with_the_same_class_and_kind(
    ours: Side, reference: Side, spec_version: int, tmp_path: Path
) -> None:
    path = str(tmp_path)
    ours.call("write_everything", path, spec_version)
    found, wanted = ours.call("lookups_that_fail", path), reference.call("lookups_that_fail", path)
    assert {name: kind for name, (_, kind) in found.items()} == {
        name: kind for name, (_, kind) in wanted.items()
    }
    for name, (classes, _) in wanted.items():
        # Ours may be a subclass of what the reference raises.
        assert classes[0] in found[name][0], name


@spec_versions
def test_the_second_of_two_racing_commits_ends_alike(
    ours: Side, reference: Side, spec_version: int, tmp_path: Path
) -> None:
    path = str(tmp_path)
    reference.call("write_everything", path, spec_version)
    outcomes = {side.name: side.call("commit_with_a_stale_session", path) for side in (ours, reference)}
    assert outcomes["ours"] == outcomes["reference"]


def test_every_operation_of_ours_is_in_the_log_that_the_reference_shows(
    ours: Side, reference: Side, tmp_path: Path
) -> None:
    logs = []
    for side in (ours, reference):
        path = str(tmp_path / side.name)
        side.call("write_everything", path, 2)
        description = reference.call("describe", path, trees=False, beyond=True)
        logs.append([entry["kind"].partition("(")[0] for entry in description["beyond"]["ops_log"]])
    assert logs[0] == logs[1]

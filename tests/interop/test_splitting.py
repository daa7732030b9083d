"""Every splitting condition gives the same boxes with both implementations: random ones, on random arrays."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

import icechunk
from icechunk._engine.format.snapshot_records import ArrayNode
from tests.interop import splitting_programs
from tests.interop.reference import Side


def boxes(path: Path) -> list[dict[str, Any]]:
    """For each snapshot, newest first, and each array: the extents of its manifests and their numbers of refs."""
    repo = icechunk.Repository.open(icechunk.local_filesystem_storage(str(path)))
    found = []
    for info in repo.ancestry(branch="main"):
        snapshot = repo.readonly_session(snapshot_id=info.id)._engine.base()
        found.append(
            {
                node.path: sorted(
                    (ref.extents, snapshot.manifest_file(ref.manifest_id).num_chunk_refs)
                    for ref in node.manifests
                )
                for node in snapshot.nodes()
                if isinstance(node, ArrayNode)
            }
        )
    return found


def compare(reference: Side, folder: Path, seed: int, count: int, spec_version: int) -> int:
    """Return how many manifests were compared."""
    splitting_programs.write(str(folder / "ours"), seed, count, spec_version)
    reference.call(
        "splitting_programs:write",
        str(folder / "reference"),
        seed=seed,
        count=count,
        spec_version=spec_version,
    )
    manifests = 0
    for number in range(count):
        wanted = boxes(folder / "reference" / str(number))
        assert boxes(folder / "ours" / str(number)) == wanted, f"seed {seed}, repository {number}"
        manifests += sum(len(refs) for snapshot in wanted for refs in snapshot.values())
    return manifests


@pytest.mark.parametrize("spec_version", [1, 2])
def test_both_split_manifests_into_the_same_boxes(reference: Side, tmp_path: Path, spec_version: int) -> None:
    assert compare(reference, tmp_path, seed=1, count=20, spec_version=spec_version) > 100


@pytest.mark.slow
@pytest.mark.timeout(0)
def test_both_split_manifests_into_the_same_boxes_at_length(reference: Side, tmp_path: Path) -> None:
    assert compare(reference, tmp_path, seed=2, count=500, spec_version=2) > 5000

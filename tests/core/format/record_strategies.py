"""Hypothesis strategies for the records of the format, and the files of the golden repositories."""

from __future__ import annotations

import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
from hypothesis import strategies as st

from icechunk._engine.format.envelope import open_file
from icechunk._engine.format.header import FileType
from icechunk._engine.format.ids import ManifestId, NodeId, SnapshotId
from icechunk._engine.format.repo_info_records import (
    BranchCreated,
    BranchDeleted,
    BranchReset,
    CommitAmended,
    ConfigChanged,
    ExpirationRan,
    FeatureFlagChanged,
    GCRan,
    MetadataChanged,
    NewCommit,
    NewDetachedSnapshot,
    NewSnapshot,
    RepoInitialized,
    RepoMigrated,
    RepoStatusChanged,
    StatusRecord,
    TagCreated,
    TagDeleted,
    UpdateKind,
)
from icechunk._engine.format.snapshot import (
    ArrayNode,
    DimensionShape,
    GroupNode,
    ManifestFileInfo,
    ManifestRef,
    Node,
)
from icechunk.errors import FormatError

GOLDEN = Path(__file__).parents[2] / "interop" / "golden" / "data"

texts = st.text(st.characters(exclude_categories=["Cs"]), max_size=20)
times = st.integers(0, 2**62)
node_ids = st.binary(min_size=8, max_size=8).map(NodeId)
snapshot_ids = st.binary(min_size=12, max_size=12).map(SnapshotId)
manifest_ids = st.binary(min_size=12, max_size=12).map(ManifestId)

# Values by themselves are tested in test_values; here it counts that they get to their places.
metadata = st.dictionaries(texts, st.integers(0, 300) | texts | st.none(), max_size=3)

segments = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="/\0"), min_size=1, max_size=3)
segments |= st.sampled_from(["a", "a-", "a0", "b", "a.b", "é"])
paths = st.lists(segments, max_size=3).map(lambda parts: "/" + "/".join(parts))


def nodes(path: str, spec_version: int) -> st.SearchStrategy[Node]:
    user_data = st.binary(max_size=50)
    return st.one_of(
        st.builds(GroupNode, node_ids, st.just(path), user_data),
        st.integers(0, 4).flatmap(lambda ndim: _arrays(path, ndim, spec_version)),
    )


def _arrays(path: str, ndim: int, spec_version: int) -> st.SearchStrategy[ArrayNode]:
    if spec_version == 1:
        # Number and length of chunks determine each other in version 1.
        shapes = st.builds(
            lambda length, chunk: DimensionShape(length, -(-length // chunk)),
            st.integers(0, 2**40),
            st.integers(2**9, 2**20),
        )
    else:
        shapes = st.builds(DimensionShape, st.integers(0, 2**64 - 1), st.integers(0, 2**32 - 1))
    bounds = st.tuples(st.integers(0, 2**32 - 1), st.integers(0, 2**32 - 1))
    refs = st.builds(ManifestRef, manifest_ids, st.lists(bounds, min_size=ndim, max_size=ndim).map(tuple))
    # An empty name reads as no name.
    names = st.lists(texts.map(lambda text: text or None), min_size=ndim, max_size=ndim).map(tuple)
    return st.builds(
        ArrayNode,
        node_ids,
        st.just(path),
        st.binary(max_size=50),
        st.lists(shapes, min_size=ndim, max_size=ndim).map(tuple),
        st.none() | names,
        st.lists(refs, max_size=3).map(tuple),
    )


@st.composite
def hierarchies(draw: st.DrawFn, spec_version: int) -> dict[str, Node]:
    """Nodes by path, in order of path."""
    chosen = sorted(draw(st.sets(paths, max_size=8)), key=str.encode)
    return {path: draw(nodes(path, spec_version)) for path in chosen}


manifest_files = st.lists(
    st.builds(ManifestFileInfo, manifest_ids, st.integers(0, 2**64 - 1), st.integers(0, 2**32 - 1)),
    max_size=20,
    unique_by=lambda file: file.id,
)

statuses = st.builds(StatusRecord, st.sampled_from([0, 1]), times, st.none() | texts)
update_kinds: st.SearchStrategy[UpdateKind] = st.one_of(
    st.sampled_from([RepoInitialized(), ConfigChanged(), MetadataChanged(), GCRan(), ExpirationRan()]),
    st.builds(RepoMigrated, st.integers(0, 255), st.integers(0, 255)),
    st.builds(TagCreated, texts),
    st.builds(BranchCreated, texts),
    st.builds(TagDeleted, texts, snapshot_ids),
    st.builds(BranchDeleted, texts, snapshot_ids),
    st.builds(BranchReset, texts, snapshot_ids),
    st.builds(NewCommit, texts, snapshot_ids),
    st.builds(CommitAmended, texts, snapshot_ids, snapshot_ids),
    st.builds(NewDetachedSnapshot, snapshot_ids),
    st.builds(FeatureFlagChanged, st.integers(0, 65535), st.none() | st.booleans()),
    st.builds(RepoStatusChanged, statuses),
)


@st.composite
def snapshot_lists(draw: st.DrawFn) -> list[NewSnapshot]:
    """Snapshots of which each has an earlier one as its parent, or none."""
    ids = draw(st.lists(snapshot_ids, min_size=1, max_size=8, unique=True))
    return [
        NewSnapshot(
            id,
            draw(st.none() | st.sampled_from(ids[:number])) if number else None,
            draw(times),
            draw(texts),
            draw(metadata),
            tuple(draw(st.lists(snapshot_ids, max_size=2))),
        )
        for number, id in enumerate(ids)
    ]


@st.composite
def coordinate_columns(draw: st.DrawFn) -> Any:
    """Coordinates of chunks: integers of shape (chunks, dimensions), rows sorted."""
    ndim = draw(st.integers(0, 3))
    rows = draw(st.sets(st.tuples(*[st.integers(0, 2**32 - 1)] * ndim), min_size=1, max_size=6))
    return np.array(sorted(rows), dtype=np.uint32).reshape(len(rows), ndim)


def golden_files(file_type: FileType, folder: str) -> Iterator[tuple[str, int, memoryview]]:
    """Name, spec version and payload of each file of a type that the reference wrote."""
    for archive in sorted(GOLDEN.glob("*.zip")):
        with zipfile.ZipFile(archive) as files:
            for name in files.namelist():
                parts = name.split("/")
                in_folder = folder in parts[:-1] if folder != "repo" else parts[-1].startswith("repo")
                if in_folder and not name.endswith("/"):
                    header, payload = open_file(files.read(name), file_type, name=name)
                    yield f"{archive.stem}/{name}", header.spec_version, payload


def check_names(error: FormatError, name: str) -> None:
    """Assert that an error says which object it is about."""
    assert name in str(error)

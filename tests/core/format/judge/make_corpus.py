"""Make the small files that the mutation loop starts from, with a wheel of the reference implementation.

    REFERENCE_PYTHON make_corpus.py LABEL 1|2

Runs under an interpreter that has the reference (1.1.21, 2.0.0, 2.3.0) and nothing of ours. It makes a few
repositories that are as small and as varied as can be, and adds each metadata file to ``corpus.zip`` beside it,
as ``<file type>-v<spec version>-<label>-<what>``. What is there was made by ``r11 1``, ``r20 2``, ``r23 1`` and
``r23 2``; the script is here to say where it comes from, and to make more.
"""

from __future__ import annotations

import sys
import tempfile
import zipfile
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import zarr

import icechunk as ic

FILE_TYPES = {"snapshots": "snapshot", "manifests": "manifest", "transactions": "transaction_log"}
PREFIX = "s3://a-bucket/winds/"


class Maker:
    """One repository after the other, and the files that each leaves behind."""

    def __init__(self, archive: zipfile.ZipFile, label: str, spec_version: int) -> None:
        self.archive = archive
        self.label = label
        self.spec_version = spec_version

    def create(self, root: Path, config: ic.RepositoryConfig) -> ic.Repository:
        storage = ic.local_filesystem_storage(str(root))
        if ic.__version__.startswith("1."):
            return ic.Repository.create(storage, config)
        return ic.Repository.create(storage, config, spec_version=self.spec_version)

    def keep(self, root: Path, what: str) -> None:
        """Copy what is under `root`, one file name for each different content."""
        found: dict[str, list[Path]] = {}
        for path in sorted(root.rglob("*"), key=lambda p: p.stat().st_mtime_ns):
            relative = path.relative_to(root).as_posix()
            if not path.is_file() or relative.startswith(("chunks/", "overwritten/")):
                continue
            if relative == "repo":
                kind = "repo_info"
            elif relative == "config.yaml":
                kind = "config_yaml"
            elif relative.endswith("ref.json"):
                kind = "ref_json"
            elif relative.split("/")[0] in FILE_TYPES:
                kind = FILE_TYPES[relative.split("/")[0]]
            else:
                continue
            if path.read_bytes() not in [other.read_bytes() for other in found.get(kind, [])]:
                found.setdefault(kind, []).append(path)
        for kind, paths in found.items():
            for number, path in enumerate(paths):
                name = f"{kind}-v{self.spec_version}-{self.label}-{what}{number}"
                # A fixed date, so that making the same again gives the same archive.
                self.archive.writestr(zipfile.ZipInfo(name), path.read_bytes())


def a_config(**manifest: object) -> ic.RepositoryConfig:
    config = ic.RepositoryConfig.default()
    config.inline_chunk_threshold_bytes = 12
    config.set_virtual_chunk_container(
        ic.VirtualChunkContainer(PREFIX, ic.s3_store(region="us-east-1", anonymous=True))
    )
    if manifest:
        config.manifest = ic.ManifestConfig(**manifest)  # type: ignore[arg-type]
    return config


def varied(maker: Maker, root: Path) -> None:
    """Groups, arrays of 0 to 3 dimensions, chunks of every kind, metadata of every kind."""
    repo = maker.create(root, a_config())
    session = repo.writable_session("main")
    store = session.store
    top = zarr.create_group(store, attributes={"title": "winds", "é": [1, 2.5, None]})
    group = top.create_group("navy")
    top.create_group("navy-old")
    for name, shape, chunks, names in [
        ("navy/u", (4, 6), (2, 3), ("time", "y")),
        ("navy/v", (3, 2, 2), (1, 2, 1), None),
        ("time", (5,), (2,), ("time",)),
        ("unnamed", (5, 2), (2, 2), (None, "y")),
        ("scalar", (), (), None),
    ]:
        array = top.create_array(
            name,
            shape=shape,
            chunks=chunks,
            dtype="u1" if len(shape) < 3 else "f8",
            compressors=None,
            filters=None,
            dimension_names=names,
            fill_value=0,
        )
        if name != "unnamed":
            array[...] = np.arange(1, 1 + int(np.prod(shape)), dtype=array.dtype).reshape(shape)
    metadata = {
        "author": "a forecaster",
        "count": 7,
        "big": 2**40,
        "negative": -5,
        "ratio": 0.1,
        "half": 0.5,
        "yes": True,
        "nothing": None,
        "list": [1, "two", 3.0, None, [4, 5]],
        "pair": [1, 2],
        "five": [1, 2, 3, 4, 500],
        "floats": [1.5, 2.5],
        "flags": [True, False],
        "nested": {"a": {"b": []}, "c": {}},
    }
    first = session.commit("The first year", metadata=metadata)

    session = repo.writable_session("main")
    store = session.store
    group = zarr.open_group(store, path="navy")
    group.attrs["corrected"] = True
    del zarr.open_group(store)["navy-old"]
    zarr.create_array(store, name="far", shape=(8, 2), chunks=(1, 1), dtype="u2", compressors=None)
    for number in range(8):
        store.set_virtual_ref(
            f"far/c/{number}/0",
            f"{PREFIX}{number // 3}.nc",
            offset=100 * number,
            length=2,
            checksum=[None, "an-etag", datetime(2024, 5, 6, 7, 8, 9, tzinfo=UTC)][number % 3],
        )
    array = zarr.open_array(store, path="far")
    array[1, 1] = 77  # inline, among virtual ones
    session.commit("Far data", metadata={"ok": 1})

    repo.create_tag("v1", first)
    repo.create_tag("gone", first)
    repo.delete_tag("gone")
    repo.create_branch("try", first)
    session = repo.writable_session("try")
    zarr.open_array(session.store, path="time")[2:4] = 9
    zarr.open_array(session.store, path="navy/u").resize((2, 6))
    session.commit("A try é")
    maker.keep(root, "varied")


def with_history(maker: Maker, root: Path) -> None:
    """What only spec version 2 has: moves, amends, resets, flags, status, metadata, an ops log in pages."""
    config = a_config()
    config.num_updates_per_repo_info_file = 12
    repo = maker.create(root, config)
    session = repo.writable_session("main")
    top = zarr.create_group(session.store)
    top.create_group("a").create_array("x", shape=4, chunks=2, dtype="u1", compressors=None)[:] = 3
    top.create_group("a-b")
    first = session.commit("first")
    session = repo.writable_session("main")
    zarr.open_array(session.store, path="a/x")[0] = 5
    session.amend("amended")
    session = repo.rearrange_session("main")
    session.move("/a", "/k")
    session.move("/a-b", "/k/b")
    second = session.commit("moved")
    repo.create_branch("other", first)
    repo.reset_branch("other", second)
    repo.create_branch("brief", first)
    repo.delete_branch("brief")
    repo.create_tag("t", first)
    repo.delete_tag("t")
    if hasattr(repo, "set_feature_flag"):
        repo.set_feature_flag("move_node", False)
        repo.set_feature_flag("create_tag", True)
    repo.set_metadata({"title": "winds", "list": [1, 2, 3]})
    session = repo.writable_session("other")
    zarr.open_group(session.store, path="k").attrs["a"] = 1
    session.flush("detached") if hasattr(session, "flush") else session.commit("attached")
    if hasattr(repo, "set_status"):
        repo.set_status(
            ic.RepoStatus(ic.RepoAvailability.read_only, limited_availability_reason="moving house")
        )
    maker.keep(root, "history")


def with_a_dictionary(maker: Maker, root: Path) -> None:
    """Virtual locations compressed with a dictionary."""
    compression = ic.ManifestVirtualChunkLocationCompressionConfig(
        min_num_chunks=10, dictionary_max_training_samples=40, dictionary_max_size_bytes=512
    )
    repo = maker.create(root, a_config(virtual_chunk_location_compression=compression))
    session = repo.writable_session("main")
    zarr.create_array(session.store, name="far", shape=30, chunks=1, dtype="u2", compressors=None)
    specs = [
        ic.VirtualChunkSpec(
            [n],
            f"{PREFIX}forecast-{n % 7:02d}-level-{n * n:04d}-of-the-run-{n}.grib2" if n else f"{PREFIX}x",
            n,
            2,
            "tag" if n % 5 == 0 else None,
        )
        for n in range(30)
    ]
    session.store.set_virtual_refs("/far", specs, validate_containers=True)
    session.commit("far")
    maker.keep(root, "dictionary")


def tiny(maker: Maker, root: Path) -> None:
    """Files in which each single byte gets its turn: one array of four chunks, one of each kind."""
    repo = maker.create(root, a_config())
    session = repo.writable_session("main")
    array = zarr.create_array(session.store, name="x", shape=80, chunks=20, dtype="u1", compressors=None)
    array[:20] = 7
    session.store.set_virtual_ref("x/c/1", PREFIX + "1.nc", offset=5, length=20)
    small = zarr.create_array(session.store, name="y", shape=3, chunks=1, dtype="u1", compressors=None)
    small[0] = small[2] = 4
    session.commit("tiny", metadata={"k": "v"})
    maker.keep(root, "tiny")


def main() -> None:
    label, spec_version = sys.argv[1], int(sys.argv[2])
    recipes = [varied, tiny]
    if spec_version == 2:
        recipes += [with_history, with_a_dictionary]
    with zipfile.ZipFile(Path(__file__).parent / "corpus.zip", "a") as archive:
        maker = Maker(archive, label, spec_version)
        for recipe in recipes:
            with tempfile.TemporaryDirectory() as root:
                recipe(maker, Path(root) / "repo")


if __name__ == "__main__":
    main()

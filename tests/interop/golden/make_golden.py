"""Make the golden repositories: files that released versions of the reference implementation wrote.

    python make_golden.py                       make virtual environments with uv, and everything anew
    ICECHUNK_1_1_21=/some/bin/python ICECHUNK_2_0_0=... ICECHUNK_2_3_0=... python make_golden.py

The result is `data/<name>.zip`, the repository's files, and `data/<name>.json`, what is in it as icechunk 2.3.0
reports it (`programs.describe`). Ids and times are different in each run, so the files are made once and
kept; add a repository by naming it on the command line: `python make_golden.py v2-history-2.3.0`.

In the reference's interpreters this file is imported by `_worker.py`, so it must not import anything of ours.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
import zipfile
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

HERE = Path(__file__).resolve().parent
DATA = HERE / "data"
sys.path.insert(0, str(HERE.parent))

NEWEST = "2.3.0"
LIMIT_BYTES = 200_000
# Any fixed moment: the archive is the same for the same files.
ZIP_DATE = (2020, 1, 1, 0, 0, 0)

# name -> the steps that make it: version of the reference and program. A step continues on the folder of the one before.
GOLDEN: dict[str, list[tuple[str, str]]] = {
    "v1-1.1.21": [("1.1.21", "version_1")],
    "v1-2.3.0": [("2.3.0", "version_1")],
    "v1-upgraded-2.0.0": [("1.1.21", "version_1"), ("2.0.0", "upgraded_keeping_old_files")],
    "v1-upgraded-2.3.0": [("1.1.21", "version_1"), ("2.3.0", "upgraded")],
    "v2-history-2.0.0": [("2.0.0", "history")],
    "v2-history-2.3.0": [("2.3.0", "history")],
    "v2-arrays-2.0.0": [("2.0.0", "arrays")],
    "v2-arrays-2.3.0": [("2.3.0", "arrays")],
    "v2-virtual-2.0.0": [("2.0.0", "virtual")],
    "v2-virtual-2.3.0": [("2.3.0", "virtual")],
    "v2-read-only-2.3.0": [("2.3.0", "read_only")],
}


# --- on the outside: environments, archives ----------------------------------------------------------------


def main(names: list[str]) -> None:
    from reference import Reference

    with tempfile.TemporaryDirectory() as work:
        versions = sorted({version for name in names for version, _ in GOLDEN[name]} | {NEWEST})
        pythons = {version: _python_with(version, Path(work)) for version in versions}
        sides = {version: Reference(python) for version, python in pythons.items()}
        for name in names:
            folder = Path(work, name)
            for version, program in GOLDEN[name]:
                reported = sides[version].call(f"golden.make_golden:{program}", str(folder))
                if reported != version:
                    raise SystemExit(f"{pythons[version]} has icechunk {reported}, not {version}")
            contents = sides[NEWEST].call("describe", str(folder), beyond=True)
            archive = DATA / f"{name}.zip"
            DATA.mkdir(exist_ok=True)
            _pack(folder, archive)
            text = json.dumps(contents, indent=1, sort_keys=True, ensure_ascii=False)
            (DATA / f"{name}.json").write_text(text + "\n", encoding="utf-8")
            size = archive.stat().st_size
            print(f"{name}: {size} bytes, {len(contents['snapshots'])} snapshots", flush=True)
            if size > LIMIT_BYTES:
                raise SystemExit(f"{archive} is larger than {LIMIT_BYTES} bytes")
        for side in sides.values():
            side.close()


def _python_with(version: str, work: Path) -> str:
    """An interpreter that has this version of the reference, from the environment or made with uv."""
    named = os.environ.get("ICECHUNK_" + version.replace(".", "_"))
    if named:
        return named
    folder = work / f"icechunk-{version}"
    subprocess.run(["uv", "venv", "--quiet", "--python", "3.12", str(folder)], check=True)
    python = str(folder / "bin" / "python")
    requirements = [f"icechunk=={version}", "zarr>=3.1"]
    subprocess.run(["uv", "pip", "install", "--quiet", "--python", python, *requirements], check=True)
    return python


def _pack(folder: Path, archive: Path) -> None:
    with zipfile.ZipFile(archive, "w", zipfile.ZIP_DEFLATED, compresslevel=9) as packed:
        for path in sorted(path for path in folder.rglob("*") if path.is_file()):
            entry = zipfile.ZipInfo(path.relative_to(folder).as_posix(), ZIP_DATE)
            entry.compress_type = zipfile.ZIP_DEFLATED
            entry.external_attr = 0o644 << 16
            packed.writestr(entry, path.read_bytes())


# --- on the inside: programs for the reference's interpreters ----------------------------------------------


def _storage(path: str) -> Any:
    import icechunk

    return icechunk.local_filesystem_storage(path)


def _version() -> str:
    import icechunk

    return icechunk.__version__


def _split_config(**more: Any) -> Any:
    import icechunk as ic

    return ic.RepositoryConfig(
        inline_chunk_threshold_bytes=128,
        compression=ic.CompressionConfig(algorithm=ic.CompressionAlgorithm.Zstd, level=4),
        manifest=ic.ManifestConfig(
            preload=ic.ManifestPreloadConfig(
                max_total_refs=500,
                preload_if=ic.ManifestPreloadCondition.or_conditions(
                    [
                        ic.ManifestPreloadCondition.name_matches("^time$"),
                        ic.ManifestPreloadCondition.num_refs(None, 10),
                    ]
                ),
            ),
            splitting=ic.ManifestSplittingConfig.from_dict(
                {
                    ic.ManifestSplitCondition.path_matches("/split/.*"): {
                        ic.ManifestSplitDimCondition.Axis(0): 4,
                        ic.ManifestSplitDimCondition.DimensionName("x"): 3,
                    },
                    ic.ManifestSplitCondition.AnyArray(): {ic.ManifestSplitDimCondition.Any(): 100},
                }
            ),
        ),
        **more,
    )


def _fill(store: Any) -> None:
    """Nested groups, attributes, inline and native chunks, split manifests, most dtypes."""
    import numpy as np
    import zarr

    random = np.random.default_rng(7)
    root = zarr.create_group(
        store, attributes={"title": "golden", "list": [1, 2.5, "x", None], "é": {"k": True}}
    )
    root.create_group("a/b/c/d", attributes={"depth": 4})
    root.create_group("a-b")
    data = root.create_group("data")
    data.create_array("time", data=np.arange(30, dtype="i8"), chunks=(10,), dimension_names=("time",))
    data.create_array(
        "wind",
        data=random.normal(size=(30, 16, 4)).astype("f4"),
        chunks=(5, 16, 4),
        dimension_names=("time", "y", None),
        fill_value=float("nan"),
        attributes={"units": "m s-1"},
    )
    data.create_array("scalar", shape=(), dtype="i2")[...] = -5
    data.create_array("empty", shape=(0, 2), chunks=(1, 2), dtype="f8")
    data.create_array("unwritten", shape=(5,), dtype="u1", fill_value=3)
    data.create_array("text", shape=(4,), chunks=(2,), dtype="str")[:] = np.array(
        ["a", "", "ß🧊", "d"], dtype=object
    )
    data.create_array("flags", shape=(9,), chunks=(4,), dtype="bool")[::2] = True
    data.create_array("complex", data=np.array([1 + 2j, 3 - 4j], dtype="c16"))
    data.create_array(
        "sharded", data=np.arange(600, dtype="u2").reshape(20, 30), chunks=(5, 5), shards=(10, 15)
    )
    data.create_array(
        "uncompressed", data=random.integers(0, 9, 900).astype("u1"), chunks=(300,), compressors=None
    )
    split = root.create_group("split")
    split.create_array("grid", shape=(10, 8), chunks=(1, 1), dtype="i4", dimension_names=("y", "x"))[...] = (
        np.arange(80).reshape(10, 8)
    )
    split.create_array("holes", shape=(10, 8), chunks=(1, 1), dtype="i4", dimension_names=("y", "x"))[
        ::3, ::5
    ] = 1


def _container(prefix: str, name: str | None = None) -> Any:
    import icechunk as ic

    store = ic.s3_store(region="us-east-1", anonymous=True)
    if name is None:
        return ic.VirtualChunkContainer(prefix, store)
    return ic.VirtualChunkContainer(prefix, store, name=name)


def _add_virtual(group: Any, name: str, count: int, *, prefix: str, checksums: bool = False) -> None:
    """An array of `count` references into files that do not exist; some chunks are native and inline."""
    import numpy as np

    import icechunk as ic

    array = group.create_array(name, shape=(count * 4,), chunks=(4,), dtype="f8", compressors=None)
    path = array.path
    specs = []
    for i in range(count):
        checksum: dict[str, Any] = {}
        if checksums:
            moment = datetime(2024, 5, 1, 12, 0, i % 60, tzinfo=UTC)
            checksum = {"etag_checksum": f'"{i:032x}"'} if i % 2 else {"last_updated_at_checksum": moment}
        location = f"{prefix}model/run-{i // 100:03d}/field-{i % 100:02d}.nc"
        specs.append(ic.VirtualChunkSpec([i], location, 1024 + 32 * i, 32, **checksum))
    refused = group.store.set_virtual_refs("/" + path, specs)
    if refused:
        raise RuntimeError(f"refused: {refused}")
    if count > 20:
        array[40:44] = np.arange(4)  # an inline one among them


def version_1(path: str) -> str:
    """A spec version 1 repository, by 1.1.21 or by 2.x."""
    import zarr

    import icechunk as ic

    config = _split_config()
    config.set_virtual_chunk_container(_container("s3://golden/"))
    more = {} if _version().startswith("1.") else {"spec_version": 1}
    repo = ic.Repository.create(_storage(path), config=config, **more)
    repo.save_config()
    session = repo.writable_session("main")
    _fill(session.store)
    first = session.commit("fill", metadata={"n": 1, "who": "golden", "deep": {"list": [1, 2, 3]}})
    repo.create_tag("v1", first)
    repo.create_tag("gone", first)
    repo.delete_tag("gone")

    session = repo.writable_session("main")
    root = zarr.open_group(session.store, mode="r+")
    virtual = root.create_group("virtual")
    _add_virtual(virtual, "many", 1100, prefix="s3://golden/")
    _add_virtual(virtual, "few", 12, prefix="s3://golden/", checksums=True)
    session.commit("virtual references")

    session = repo.writable_session("main")
    root = zarr.open_group(session.store, mode="r+")
    root["data/wind"][3] = 0
    root["data/time"].append([30, 31])
    del root["data/complex"]
    del root["a/b"]
    root.attrs["changed"] = 3
    third = session.commit("change and delete")

    repo.create_branch("dev", first)
    session = repo.writable_session("dev")
    zarr.open_group(session.store, mode="r+").create_array("data/flags", shape=3, dtype="i1", overwrite=True)[
        :
    ] = 4
    session.commit("on dev")
    repo.create_branch("dropped", third)
    repo.delete_branch("dropped")
    repo.create_branch("reset", third)
    repo.reset_branch("reset", first)
    return _version()


def _upgrade(path: str, *, keep: bool) -> None:
    import zarr

    import icechunk as ic

    repo = ic.upgrade_icechunk_repository(
        ic.Repository.open(_storage(path)), dry_run=False, delete_unused_v1_files=not keep
    )
    session = repo.writable_session("main")
    root = zarr.open_group(session.store, mode="r+")
    root["data/wind"][0, 0] = 11
    root.create_array("after-upgrade", shape=4, dtype="i4")[:] = 6
    session.commit("after the upgrade", metadata={"after": True})
    session = repo.rearrange_session("main")
    session.move("/data/wind", "/a/wind")
    session.commit("a move in an upgraded repository")
    repo.create_tag("upgraded", repo.lookup_branch("main"))


def upgraded(path: str) -> str:
    """Upgraded to spec version 2: snapshots and manifests of both versions side by side."""
    _upgrade(path, keep=False)
    return _version()


def upgraded_keeping_old_files(path: str) -> str:
    """The same, with the refs and the config file of spec version 1 left where they were."""
    _upgrade(path, keep=True)
    return _version()


def history(path: str) -> str:
    """Moves, amended commits, detached snapshots, expiration, deleted refs, a paged ops log."""
    import zarr

    import icechunk as ic

    config = ic.RepositoryConfig(num_updates_per_repo_info_file=4)
    repo = ic.Repository.create(_storage(path), config=config, spec_version=2)
    with repo.transaction("main", message="fill") as store:
        _fill(store)
    first = repo.lookup_branch("main")
    repo.create_tag("first", first)
    repo.create_branch("old", first)

    session = repo.rearrange_session("main")
    session.move("/data/wind", "/a/b/wind")
    session.move("/a-b", "/a/renamed")
    session.commit("moves")
    session = repo.rearrange_session("main")
    session.move("/a", "/z")
    session.commit("a group moves with all that is in it")

    for number in range(3):
        session = repo.writable_session("main")
        zarr.open_group(session.store, mode="r+")["z/b/wind"][number] = number
        session.commit(f"write {number}", metadata={"number": number})
    session = repo.writable_session("main")
    zarr.open_group(session.store, mode="r+").attrs["amended"] = True
    session.amend("write 2, amended", metadata={"number": 2, "amended": True})
    session = repo.writable_session("main")
    session.commit("nothing", allow_empty=True)
    session = repo.writable_session("main")
    zarr.open_group(session.store, mode="r+").create_array("detached", shape=2, dtype="i1")[:] = 1
    repo.create_tag("detached", session.flush("flushed, on no branch"))

    repo.create_tag("gone", repo.lookup_branch("main"))
    repo.delete_tag("gone")
    repo.create_branch("dropped", first)
    repo.delete_branch("dropped")
    repo.create_branch("reset", repo.lookup_branch("main"))
    repo.reset_branch("reset", first)
    repo.set_metadata({"owner": "golden", "list": [1, 2, 3, 4, 5], "empty": {}})
    repo.update_metadata({"more": 1.1})

    moment = datetime.now(UTC)
    session = repo.writable_session("main")
    zarr.open_group(session.store, mode="r+")["z/b/wind"][5] = 5
    session.commit("after the cutoff")
    expired = repo.expire_snapshots(moment, delete_expired_branches=True)
    if not expired:
        raise RuntimeError("nothing expired")
    session = repo.writable_session("main")
    zarr.open_group(session.store, mode="r+")["data/time"].append([100])
    session.commit("after the expiration")
    return _version()


def arrays(path: str) -> str:
    """What arrays can be: dtypes, grids, split manifests that are partly rewritten, chunks of both sorts."""
    import numpy as np
    import zarr

    import icechunk as ic

    repo = ic.Repository.create(_storage(path), config=_split_config(), spec_version=2)
    repo.save_config()
    with repo.transaction("main", message="fill") as store:
        _fill(store)
    with repo.transaction("main", message="rewrite parts of split arrays") as store:
        root = zarr.open_group(store, mode="r+")
        root["split/grid"][5, 5] = -1
        root["split/holes"].resize((14, 8))
        root["split/holes"][12:, 0] = 2
        root["data/time"].resize((12,))
        root["data/wind"][..., 1] = 4
    with repo.transaction("main", message="more dtypes") as store:
        root = zarr.open_group(store, mode="r+")
        more = root.create_group("dtypes")
        for dtype in ("i1", "i2", "i4", "i8", "u1", "u4", "u8", "f2", "f4", ">f4", "c8", "M8[D]", "m8[s]"):
            name = "type-" + dtype.replace(">", "big-").replace("[", "-").replace("]", "")
            more.create_array(name, shape=(5,), chunks=(2,), dtype=np.dtype(dtype))[:] = np.arange(5).astype(
                dtype
            )
        big = more.create_array("dense", shape=(2000,), chunks=(2,), dtype="u2")
        big[:] = np.arange(2000)
    with repo.transaction("main", message="delete chunks") as store:
        root = zarr.open_group(store, mode="r+")
        root["dtypes/dense"][100:900] = 0  # zarr deletes chunks that are all fill value
        del root["split/grid"]
        root.create_array("split/grid", shape=(3,), dtype="i4")[:] = 7
    if not _version().startswith("2.0"):
        with zarr.config.set({"array.rectilinear_chunks": True}):
            session = repo.writable_session("main")
            grid = zarr.create_array(
                session.store, name="rectilinear", shape=(10, 6), chunks=([1, 3, 6], [2, 4]), dtype="i4"
            )
            grid[...] = np.arange(60).reshape(10, 6)
            session.commit("a rectilinear grid")
    return _version()


def virtual(path: str) -> str:
    """Virtual references: with and without location dictionary, with checksums, relative to a container."""
    import zarr

    import icechunk as ic

    config = ic.RepositoryConfig(inline_chunk_threshold_bytes=128)
    config.set_virtual_chunk_container(_container("s3://golden/"))
    config.set_virtual_chunk_container(_container("s3://named/prefix/", name="named"))
    repo = ic.Repository.create(_storage(path), config=config, spec_version=2)
    repo.save_config()
    session = repo.writable_session("main")
    root = zarr.create_group(session.store)
    _add_virtual(root, "with-dictionary", 1500, prefix="s3://golden/")
    _add_virtual(root, "without-dictionary", 900, prefix="s3://golden/")
    _add_virtual(root, "with-checksums", 60, prefix="s3://golden/", checksums=True)
    _add_virtual(root, "relative", 40, prefix="vcc://named/")
    session.commit("virtual references")
    session = repo.writable_session("main")
    root = zarr.open_group(session.store, mode="r+")
    root["with-dictionary"][400:420] = (
        1  # native and inline chunks over virtual ones: the manifest is rewritten
    )
    root["without-dictionary"].attrs["touched"] = True
    session.commit("overwrite some")
    return _version()


def read_only(path: str) -> str:
    """A repository whose status forbids every write."""
    import zarr

    import icechunk as ic

    repo = ic.Repository.create(_storage(path), spec_version=2)
    with repo.transaction("main", message="one array") as store:
        zarr.create_array(store, name="a", shape=3, dtype="i4")[:] = 1
    repo.create_tag("t", repo.lookup_branch("main"))
    repo.set_status(
        ic.RepoStatus(
            availability=ic.RepoAvailability.read_only,
            limited_availability_reason="archived, kept for reading",
        )
    )
    return _version()


if __name__ == "__main__":
    main(sys.argv[1:] or list(GOLDEN))

"""Programs against the public API, run unchanged with our implementation and with the reference.

Each takes and returns plain values, so that it can run in another interpreter (see `reference.py`). This
module must import with either implementation, and keeps to the part of the API that both have.
"""

from __future__ import annotations

import asyncio
import hashlib
import json
from collections import Counter
from collections.abc import Collection
from typing import Any

import numpy as np
import zarr

import icechunk

COMPRESSION = ("algorithm", "level")
CACHING = (
    "num_snapshot_nodes",
    "num_chunk_refs",
    "num_transaction_changes",
    "num_bytes_attributes",
    "num_bytes_chunks",
)
STORAGE = (
    "unsafe_use_conditional_create",
    "unsafe_use_conditional_update",
    "unsafe_use_metadata",
    "storage_class",
    "metadata_storage_class",
    "chunks_storage_class",
    "minimum_size_for_multipart_upload",
)
CONFIG = (
    "inline_chunk_threshold_bytes",
    "get_partial_values_concurrency",
    "max_concurrent_requests",
    "max_concurrent_decodes",
    "num_updates_per_repo_info_file",
)


def open_repository(path: str) -> icechunk.Repository:
    return icechunk.Repository.open(icechunk.local_filesystem_storage(path))


# --- what is in a repository -------------------------------------------------------------------------------


def describe(
    path: str, *, known: Collection[str] = (), trees: bool = True, beyond: bool = False
) -> dict[str, Any]:
    """Everything that a program can see of a repository, as JSON.

    The nodes of the snapshots `known` are left out, or of all without `trees`. `beyond` adds what only the
    reference can tell so far.
    """
    repo = open_repository(path)
    branches = {name: repo.lookup_branch(name) for name in sorted(repo.list_branches())}
    tags = {name: repo.lookup_tag(name) for name in sorted(repo.list_tags())}
    snapshots: dict[str, dict[str, Any]] = {}
    ancestry = {}
    for label, arguments in [
        *((f"branch {name}", {"branch": name}) for name in branches),
        *((f"tag {name}", {"tag": name}) for name in tags),
    ]:
        infos = list(repo.ancestry(**arguments))
        ancestry[label] = [info.id for info in infos]
        snapshots.update((info.id, _snapshot(info)) for info in infos)
    description = {
        "spec_version": int(icechunk.Repository.fetch_spec_version(icechunk.local_filesystem_storage(path))),
        "branches": branches,
        "tags": tags,
        "config": describe_config(repo.config),
        "ancestry": ancestry,
        "snapshots": snapshots,
        "trees": {
            id_: describe_tree(repo.readonly_session(snapshot_id=id_))
            for id_ in snapshots
            if trees and id_ not in known
        },
    }
    if beyond:
        description["beyond"] = _describe_beyond(repo, sorted(snapshots), description["spec_version"])
    # Through JSON and back, so that both sides of a comparison have its types.
    return json.loads(json.dumps(description))


def _snapshot(info: icechunk.SnapshotInfo) -> dict[str, Any]:
    return {
        "parent": info.parent_id,
        "message": info.message,
        "metadata": info.metadata,
        "written_at": info.written_at.isoformat(),
    }


def describe_config(config: icechunk.RepositoryConfig) -> dict[str, Any]:
    def fields(value: object, names: tuple[str, ...]) -> dict[str, Any] | None:
        return None if value is None else {name: _scalar(getattr(value, name)) for name in names}

    storage = config.storage
    containers = config.virtual_chunk_containers or {}
    return {
        **{name: getattr(config, name) for name in CONFIG},
        "compression": fields(config.compression, COMPRESSION),
        "caching": fields(config.caching, CACHING),
        "storage": storage
        and {
            **(fields(storage, STORAGE) or {}),
            "concurrency": repr(storage.concurrency),
            "retries": repr(storage.retries),
            "timeouts": repr(storage.timeouts),
        },
        "manifest": repr(config.manifest),
        "repo_update_retries": repr(config.repo_update_retries),
        "virtual_chunk_containers": {prefix: repr(containers[prefix]) for prefix in sorted(containers)},
    }


def _scalar(value: object) -> object:
    return value if value is None or type(value) in {bool, int, str} else repr(value)


def describe_tree(session: icechunk.Session) -> dict[str, Any]:
    """Every node of a session: metadata, values, which chunks there are and of which kind."""
    store = session.store
    tree = {}
    for key in sorted(_collect(store.list_prefix(""))):
        if key == "zarr.json" or key.endswith("/zarr.json"):
            tree["/" + key.removesuffix("zarr.json").removesuffix("/")] = _describe_node(session, key)
    return tree


def _describe_node(session: icechunk.Session, key: str) -> dict[str, Any]:
    document = asyncio.run(_get(session.store, key))
    metadata = json.loads(document)
    node = {
        "type": metadata["node_type"],
        "zarr.json": hashlib.sha256(document).hexdigest(),
        "attributes": metadata.get("attributes", {}),
    }
    if metadata["node_type"] == "array":
        node.update(_describe_array(session, key.removesuffix("zarr.json").removesuffix("/")))
    return node


def _describe_array(session: icechunk.Session, path: str) -> dict[str, Any]:
    inner = f"{path}/c" if path else "c"
    keys = [key for key in _collect(session.store.list_prefix(path)) if key.startswith(inner)]
    coordinates = sorted(
        tuple(int(part) for part in key.removeprefix(inner).strip("/").split("/") if part) for key in keys
    )
    with zarr.config.set(_rectilinear()):
        array = zarr.open_array(session.store, path=path, mode="r", zarr_format=3)
        try:
            values = digest(np.asarray(array[...]))
        except icechunk.IcechunkError:
            values = None  # a virtual chunk, of which nobody has the file
        node = {
            "shape": list(array.shape),
            "dtype": str(array.dtype),
            "dimension_names": list(array.metadata.dimension_names or ()),
            "num_chunks": len(coordinates),
            "coordinates": hashlib.sha256(repr(coordinates).encode()).hexdigest(),
            "values": values,
        }
    kinds = (str(session.chunk_type("/" + path, list(index))) for index in coordinates)
    node["chunk_types"] = dict(sorted(Counter(kind.rpartition(".")[2] for kind in kinds).items()))
    if (values is None) != ("virtual" in node["chunk_types"]):
        raise RuntimeError(f"{path}: {node['chunk_types']}, but values are {values}")
    return node


def digest(values: np.ndarray[Any, Any]) -> str:
    """A checksum of an array's values; of their text where they have no fixed size."""
    fixed = values.dtype.kind in "biufcmMV" or values.dtype.kind == "U"
    data = np.ascontiguousarray(values).tobytes() if fixed else repr(values.tolist()).encode()
    return f"{values.dtype.kind} {list(values.shape)} {hashlib.sha256(data).hexdigest()}"


def _describe_beyond(repo: Any, snapshot_ids: list[str], spec_version: int) -> dict[str, Any]:
    beyond: dict[str, Any] = {
        "manifest_files": {
            id_: sorted(
                [file.id, file.size_bytes, file.num_chunk_refs] for file in repo.list_manifest_files(id_)
            )
            for id_ in snapshot_ids
        },
        "virtual_chunk_locations": {
            id_: hashlib.sha256(
                "\n".join(
                    sorted(repo.readonly_session(snapshot_id=id_).all_virtual_chunk_locations())
                ).encode()
            ).hexdigest()
            for id_ in snapshot_ids
        },
    }
    if spec_version >= 2:
        beyond["metadata"] = repo.metadata
        beyond["status"] = repr(repo.status)
        beyond["feature_flags"] = {flag.name: flag.enabled for flag in repo.feature_flags()}
        beyond["ops_log"] = [
            {"kind": repr(u.kind), "updated_at": u.updated_at.isoformat(), "backup": u.backup_path}
            for u in repo.ops_log()
        ]
        beyond["repo_info"] = repo.inspect_repo_info()
    return beyond


def without_identity(description: dict[str, Any]) -> dict[str, Any]:
    """A description without what is random or a clock: two runs of one program give the same."""
    names = {}
    for ids in description["ancestry"].values():
        for distance, id_ in enumerate(reversed(ids)):
            names.setdefault(id_, f"{distance} {description['snapshots'][id_]['message']}")
    return {
        "spec_version": description["spec_version"],
        "config": description["config"],
        "branches": {branch: names[id_] for branch, id_ in description["branches"].items()},
        "tags": {tag: names[id_] for tag, id_ in description["tags"].items()},
        "ancestry": {ref: [names[id_] for id_ in ids] for ref, ids in description["ancestry"].items()},
        "metadata": {names[id_]: snap["metadata"] for id_, snap in description["snapshots"].items()},
        "trees": {names[id_]: tree for id_, tree in description["trees"].items()},
    }


# --- what programs write -----------------------------------------------------------------------------------


def write_everything(path: str, spec_version: int) -> None:
    """A repository that uses what both implementations have: nodes, dtypes, chunks, refs, history."""
    config = icechunk.RepositoryConfig(
        inline_chunk_threshold_bytes=100,
        compression=icechunk.CompressionConfig(algorithm=icechunk.CompressionAlgorithm.Zstd, level=5),
        caching=icechunk.CachingConfig(num_chunk_refs=1000, num_bytes_chunks=10_000),
        manifest=icechunk.ManifestConfig(
            splitting=icechunk.ManifestSplittingConfig.from_dict(
                {
                    icechunk.ManifestSplitCondition.name_matches("split"): {
                        icechunk.ManifestSplitDimCondition.Axis(0): 3,
                        icechunk.ManifestSplitDimCondition.DimensionName("x"): 2,
                    }
                }
            )
        ),
    )
    repo = icechunk.Repository.create(
        icechunk.local_filesystem_storage(path), config=config, spec_version=spec_version
    )

    session = repo.writable_session("main")
    root = zarr.create_group(
        session.store, attributes={"title": "everything", "nested": {"a": [1, 2.5, None]}}
    )
    forecast = root.create_group("forecast", attributes={"source": "Zürich"})
    root.create_group("forecast/member-1/deeply/nested")
    root.create_group("empty")
    add_arrays(forecast)
    first = session.commit("nodes and values", metadata={"author": "a program", "run": 7, "tags": ["x", "y"]})
    repo.create_tag("v1.0", first)
    repo.create_tag("withdrawn", first)

    with repo.transaction("main", message="overwrite, resize and delete") as store:
        root = zarr.open_group(store, mode="r+")
        temperature = root["forecast/temperature"]
        temperature[0:3] = -1.5
        temperature.attrs["units"] = "degree"
        split = root["forecast/split"]
        split.resize((9, 6))
        split[7:] = 5
        del root["empty"]
        del root["forecast/int8"]
    second = repo.lookup_branch("main")

    repo.create_branch("development", first)
    session = repo.writable_session("development")
    root = zarr.open_group(session.store, mode="r+")
    root["forecast/temperature"][10] = 1e9
    root.create_array("forecast/int8", shape=3, dtype="i2", overwrite=True, fill_value=-7)[:2] = [1, 2]
    session.commit("another int8")
    session = repo.writable_session("development")
    session.commit("nothing at all", allow_empty=True)

    repo.create_branch("abandoned", second)
    repo.delete_branch("abandoned")
    repo.create_branch("moved-back", second)
    repo.reset_branch("moved-back", first)
    repo.delete_tag("withdrawn")
    repo.create_tag("v1.1", second)


def add_arrays(group: zarr.Group) -> None:
    """Arrays of every sort of dtype and grid, with inline and native chunks."""
    random = np.random.default_rng(20)
    group.create_array(
        "temperature",
        data=random.normal(size=(40, 20)).astype("f4"),
        chunks=(10, 20),
        dimension_names=("time", "x"),
        attributes={"units": "K", "scale": 0.1, "flags": [True, False, None]},
    )
    group.create_array("split", shape=(7, 6), chunks=(1, 1), dtype="i8", dimension_names=("time", "x"))[
        ...
    ] = np.arange(42).reshape(7, 6)
    group.create_array("sparse", shape=(100, 100), chunks=(10, 10), dtype="u2", fill_value=9)[::50, ::50] = 1
    group.create_array("scalar", shape=(), dtype="f8")[...] = 3.25
    group.create_array("never-written", shape=(4, 4), chunks=(2, 2), dtype="i4", fill_value=42)
    group.create_array("no-elements", shape=(0, 3), chunks=(1, 3), dtype="f4")
    group.create_array("one-element", shape=(1,), dtype="i1")[:] = 1
    group.create_array("half-named", shape=(2, 2), dtype="i4", dimension_names=(None, "y"))[:] = [
        [1, 2],
        [3, 4],
    ]
    group.create_array("sharded", data=np.arange(4096, dtype="i4"), chunks=(64,), shards=(1024,))
    group.create_array(
        "raw", data=random.integers(0, 255, 4000).astype("u1"), chunks=(1000,), compressors=None
    )
    for dtype in (
        "bool",
        "int8",
        "uint64",
        "float16",
        "complex64",
        ">f8",
        "datetime64[s]",
        "timedelta64[ms]",
    ):
        name = dtype.strip(">").partition("[")[0]
        group.create_array(name, shape=(6,), chunks=(4,), dtype=np.dtype(dtype))[:] = np.arange(6).astype(
            dtype
        )
    group.create_array("text", shape=(5,), chunks=(2,), dtype="str")[:] = np.array(
        ["", "a", "ÄÖ", "🧊" * 100, "z"], dtype=object
    )


def add_rectilinear(path: str) -> None:
    """One array with a rectilinear grid, where zarr has that."""
    with zarr.config.set(_rectilinear()):
        session = open_repository(path).writable_session("main")
        array = zarr.create_array(
            session.store, name="rectilinear", shape=(10, 6), chunks=([1, 3, 6], [2, 4]), dtype="i4"
        )
        array[...] = np.arange(60).reshape(10, 6)
        session.commit("a rectilinear grid")


def continue_history(path: str, who: str) -> None:
    """Commit on top of whatever is there, touching each array, on `main` and on a new branch."""
    repo = open_repository(path)
    session = repo.writable_session("main")
    with zarr.config.set(_rectilinear()):
        root = zarr.open_group(session.store, mode="a")
        root.attrs[f"continued by {who}"] = True
        for _, node in sorted(root.members(max_depth=None)):
            node.attrs["continued"] = who
            numbers = isinstance(node, zarr.Array) and node.dtype.kind in "iuf"
            if numbers and all(node.shape) and node.shape:
                node[_first_chunk(node)] = len(who)
        added = root.create_group(f"added/by-{who}")
        added.create_array("inline", data=np.arange(8, dtype="i2"))
        added.create_array("native", data=np.random.default_rng(5).normal(size=3000), chunks=(1000,))
    session.commit(f"continued by {who}", metadata={"who": who, "n": -1})

    branch = f"branch-of-{who}"
    repo.create_branch(branch, repo.lookup_branch("main"))
    session = repo.writable_session(branch)
    del zarr.open_group(session.store, mode="r+")[f"added/by-{who}/native"]
    repo.create_tag(f"tag-of-{who}", session.commit("less again"))


def change_config(path: str, threshold: int) -> None:
    """Open with a changed configuration, and save it."""
    config = open_repository(path).config
    config.inline_chunk_threshold_bytes = threshold
    config.num_updates_per_repo_info_file = 50
    repo = icechunk.Repository.open(icechunk.local_filesystem_storage(path), config=config)
    repo.save_config()


def lookups_that_fail(path: str) -> dict[str, tuple[list[str], str]]:
    """Classes and kind of the error of each look-up of something that is not there."""
    repo = open_repository(path)
    attempts = {
        "branch": lambda: repo.lookup_branch("no-such"),
        "tag": lambda: repo.lookup_tag("no-such"),
        "malformed id": lambda: repo.lookup_snapshot("NOPE"),
        "unknown id": lambda: repo.lookup_snapshot("000G40R40M30E209185G"),
        "tag again": lambda: repo.create_tag("v1.0", repo.lookup_branch("main")),
        "withdrawn tag again": lambda: repo.create_tag("withdrawn", repo.lookup_branch("main")),
        "branch again": lambda: repo.create_branch("main", repo.lookup_branch("main")),
        "delete main": lambda: repo.delete_branch("main"),
        "no changes": lambda: repo.writable_session("main").commit("empty"),
    }
    outcomes = {}
    for name, attempt in attempts.items():
        try:
            attempt()
        except icechunk.IcechunkError as error:
            outcomes[name] = ([base.__name__ for base in type(error).__mro__], str(error.kind))
        else:
            outcomes[name] = ([], "no error")
    return outcomes


def commit_with_a_stale_session(path: str) -> str:
    """The class and the kind that the second of two racing commits ends with."""
    repo = open_repository(path)
    first, second = repo.writable_session("main"), repo.writable_session("main")
    for session in (first, second):
        zarr.open_group(session.store, mode="a").attrs["raced"] = id(session)
    first.commit("first")
    try:
        second.commit("second")
    except icechunk.IcechunkError as error:
        return f"{type(error).__name__} {error.kind}"
    return "no error"


# --- small helpers -----------------------------------------------------------------------------------------


def _first_chunk(array: zarr.Array) -> tuple[slice, ...]:
    """The whole of it, so that nothing has to be read: it may be virtual, and its file is nowhere."""
    grid = array.metadata.to_dict()["chunk_grid"]["configuration"]
    edges = grid.get("chunk_shape") or [
        edge if isinstance(edge, int) else edge[0] for edge in grid["chunk_shapes"]
    ]
    return tuple(slice(0, edge) for edge in edges)


def _rectilinear() -> dict[str, bool]:
    """Zarr's own switch, where there is one."""
    has_switch = zarr.config.get("array.rectilinear_chunks", None) is not None
    return {"array.rectilinear_chunks": True} if has_switch else {}


def _collect(iterator: Any) -> list[str]:
    async def gather() -> list[str]:
        return [item async for item in iterator]

    return asyncio.run(gather())


async def _get(store: Any, key: str) -> bytes:
    from zarr.core.buffer import default_buffer_prototype

    value = await store.get(key, default_buffer_prototype())
    return bytes(value.to_bytes())

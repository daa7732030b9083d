"""Programs about history: diffs, the ops log, metadata, status, flags, and what a closed repository refuses.

Run with both implementations; see `programs.py`. Results are masked: ids and times become numbers, in the
order in which they first appear.
"""

from __future__ import annotations

import asyncio
import json
import random
import re
from collections.abc import Callable
from itertools import combinations
from pathlib import Path
from typing import Any

import numpy as np
import zarr

import icechunk

# The classes that both sides have; ours may raise a subclass of one.
CLASSES = {
    "AlreadyExistsError",
    "ConflictError",
    "FormatError",
    "IcechunkError",
    "InternalError",
    "InvalidInputError",
    "NodeNotFoundError",
    "ReadOnlyError",
    "RebaseFailedError",
    "RefNotFoundError",
    "RepositoryNotFoundError",
    "SessionStateError",
    "SnapshotNotFoundError",
    "StorageError",
    "TypeError",
    "ValueError",
}
UNKNOWN = "ZZZZZZZZZZZZZZZZZZZ0"

_IDENTITY = re.compile(
    r"(?P<backup>repo\.\d{14}\.[0-9A-HJKMNP-TV-Z]{20})"
    r"|(?P<id>\b[0-9A-HJKMNP-TV-Z]{20}\b)"
    r"|(?P<time>datetime\.datetime\([^)]*\)|\d{4}-\d\d-\d\d[ T]\d\d:\d\d:\d\d[.\d]*(?:Z|\+00:00| UTC)?)"
)


class Mask:
    """Replaces what is random or a clock, the same by the same."""

    def __init__(self) -> None:
        self._names: dict[str, str] = {}

    def __call__(self, value: Any) -> Any:
        if isinstance(value, str):
            return _IDENTITY.sub(self._name, value)
        if isinstance(value, dict):
            return {self(key): self(item) for key, item in value.items()}
        if isinstance(value, list | tuple):
            return [self(item) for item in value]
        return value

    def _name(self, match: re.Match[str]) -> str:
        kind = match.lastgroup
        if kind == "time":
            # Two events of one clock tick look alike to one side and not to the other.
            return "<time>"
        return self._names.setdefault(match[0], f"<{kind} {len(self._names)}>")


def outcome(attempt: Callable[[], Any]) -> Any:
    """What `attempt` returns, or the class and kind of what it raises."""
    try:
        return attempt()
    except Exception as error:
        name = next(base.__name__ for base in type(error).__mro__ if base.__name__ in CLASSES)
        kind = getattr(error, "kind", None)
        return f"{name} {kind and str(kind)}"


def create(path: str, spec_version: int, **config: Any) -> icechunk.Repository:
    return icechunk.Repository.create(
        icechunk.local_filesystem_storage(path),
        config=icechunk.RepositoryConfig(**config) if config else None,
        spec_version=spec_version,
    )


def commit(
    repo: icechunk.Repository, message: str, *edits: Callable[[Any], Any], branch: str = "main"
) -> str:
    session = repo.writable_session(branch)
    for edit in edits:
        edit(session.store)
    return session.commit(message, allow_empty=True)


def delete(path: str) -> Callable[[Any], None]:
    return lambda store: asyncio.run(store.delete_dir(path))


def group(path: str, **attributes: Any) -> Callable[[Any], None]:
    def edit(store: Any) -> None:
        zarr.open_group(store, path=path, mode="a").attrs.update(attributes)

    return edit


def array(path: str, shape: tuple[int, ...]) -> Callable[[Any], None]:
    def edit(store: Any) -> None:
        zarr.create_array(store, name=path, shape=shape, chunks=(1,) * len(shape), dtype="i4")

    return edit


def write(path: str, *where: slice) -> Callable[[Any], None]:
    def edit(store: Any) -> None:
        made = zarr.open_array(store, path=path, mode="r+")
        made[where] = np.ones(made[where].shape, dtype="i4")

    return edit


def attributes(path: str, **values: Any) -> Callable[[Any], None]:
    def edit(store: Any) -> None:
        zarr.open_array(store, path=path, mode="r+").attrs.update(values)

    return edit


def _diff(diff: icechunk.Diff) -> dict[str, Any]:
    return {
        "text": str(diff),
        "repr": repr(diff),
        "new": [sorted(diff.new_groups), sorted(diff.new_arrays)],
        "deleted": [sorted(diff.deleted_groups), sorted(diff.deleted_arrays)],
        "updated": [sorted(diff.updated_groups), sorted(diff.updated_arrays)],
        "chunks": dict(sorted(diff.updated_chunks.items())),
        "moved": diff.moved_nodes,
        "empty": diff.is_empty(),
    }


def diffs(path: str, spec_version: int) -> dict[str, Any]:
    """The diff of every two snapshots of a history in which most things happen."""
    repo = create(path, spec_version)
    ids = [repo.lookup_branch("main")]
    for number, edits in enumerate(
        [
            [group("/"), array("g/a", (30,)), write("g/a", slice(3)), array("t", (3,)), write("t", slice(3))],
            [write("g/a", slice(2, 20)), group("g", x=1), attributes("g/a", x=1)],
            [array("tmp", (3,)), write("tmp", slice(3))],
            [delete("tmp"), delete("t"), array("t", (3, 3)), write("t", slice(3), slice(3))],
            [],
            [delete("g")],
            [array("point", ()), write("point")],
            [delete("t"), group("t")],
        ]
    ):
        ids.append(commit(repo, f"commit {number}", *edits))
    repo.create_branch("side", ids[2])
    repo.create_tag("t1", ids[1])
    side = commit(repo, "side", group("side"), branch="side")

    def diff(**selectors: str) -> Any:
        return outcome(lambda: _diff(repo.diff(**selectors)))

    return Mask()(
        {
            "pairs": [diff(from_snapshot_id=a, to_snapshot_id=b) for a, b in combinations(ids, 2)],
            "same": diff(from_snapshot_id=ids[2], to_snapshot_id=ids[2]),
            "backwards": diff(from_snapshot_id=ids[3], to_snapshot_id=ids[2]),
            "no ancestor": diff(from_snapshot_id=ids[3], to_branch="side"),
            "not of main": diff(from_snapshot_id=side, to_branch="main"),
            "tag to branch": diff(from_tag="t1", to_branch="side"),
            "no tag": diff(from_tag="t2", to_branch="side"),
            "no branch": diff(from_tag="t1", to_branch="none"),
            "nothing": diff(),
            "no target": diff(from_tag="t1"),
            "too much": diff(from_tag="t1", from_branch="main", to_branch="main"),
            "malformed": diff(from_snapshot_id="zz", to_branch="main"),
            "unknown origin": diff(from_snapshot_id=UNKNOWN, to_branch="main"),
            "unknown target": diff(from_branch="main", to_snapshot_id=UNKNOWN),
        }
    )


def diffs_of_moves(path: str) -> dict[str, Any]:
    """The diff of every two snapshots of a history of moves, updates, an amended commit and a detached one."""
    repo = create(path, 2)
    ids = [repo.lookup_branch("main")]
    ids.append(
        commit(repo, "nodes", group("g/x"), array("g/a", (30,)), write("g/a", slice(3)), array("g/b", (3,)))
    )
    ids.append(commit(repo, "update", write("g/a", slice(5, 6)), attributes("g/a", x=1)))

    def move(*moves: tuple[str, str]) -> icechunk.Session:
        session = repo.rearrange_session("main")
        for origin, target in moves:
            session.move(origin, target)
        return session

    ids.append(move(("/g/a", "/a"), ("/g/b", "/b")).commit("two moves"))
    ids.append(commit(repo, "after the moves", write("a", slice(7, 8)), delete("b")))
    ids.append(move(("/g", "/h"), ("/a", "/h/a")).commit("more moves"))
    move(("/h/a", "/h/c")).commit("to be amended")
    ids.append(move(("/h/c", "/h/a"), ("/h/x", "/y")).amend("there and back again"))
    session = repo.writable_session("main")
    group("detached")(session.store)
    ids.append(session.flush("detached"))
    return Mask()(
        {
            "pairs": [outcome(_comparison(repo, older, newer)) for older, newer in combinations(ids, 2)],
            "moves": [repo.inspect_transaction_log(id_)["moved_nodes"] for id_ in ids],
        }
    )


def state(path: str, spec_version: int) -> list[Any]:
    """Metadata, status and feature flags, and what goes wrong with them."""
    repo = create(path, spec_version)
    main = repo.lookup_branch("main")

    def flags(which: list[icechunk.FeatureFlag]) -> list[str]:
        return sorted(map(repr, which))

    def all_flags() -> Any:
        return [
            flags(repo.feature_flags()),
            flags(repo.enabled_feature_flags()),
            flags(repo.disabled_feature_flags()),
        ]

    def status(**parts: Any) -> Callable[[], Any]:
        return lambda: repo.set_status(icechunk.RepoStatus(**parts))

    online, read_only = icechunk.RepoAvailability.online, icechunk.RepoAvailability.read_only
    steps: list[Callable[[], Any]] = [
        lambda: repo.metadata,
        lambda: repo.update_metadata({"a": 1, "b": {"x": 1}}),
        lambda: repo.update_metadata({"b": {"y": (2, 2.5)}, "c": None}),
        repo.get_metadata,
        lambda: repo.update_metadata({}),
        lambda: repo.set_metadata({"z": [True], "n": float("nan")}),
        lambda: repo.metadata,
        lambda: repo.set_metadata({1: 2}),
        lambda: repo.set_metadata(None),
        lambda: repo.set_metadata([]),
        lambda: repo.update_metadata({"a": object()}),
        lambda: repo.metadata,
        lambda: repo.set_metadata({}),
        lambda: repo.metadata,
        all_flags,
        lambda: repo.set_feature_flag("no such", True),
        lambda: repo.set_feature_flag("create_tag", 1),
        lambda: repo.set_feature_flag("create_tag", False),
        all_flags,
        lambda: repo.create_tag("t", main),
        lambda: repo.set_feature_flag("create_tag", None),
        lambda: repo.create_tag("t", main),
        lambda: repo.set_feature_flag("delete_tag", False),
        lambda: repo.delete_tag("t"),
        lambda: repo.delete_tag("none"),
        lambda: repo.set_feature_flag("delete_tag", True),
        lambda: repo.delete_tag("t"),
        all_flags,
        lambda: repr(repo.status),
        status(availability=read_only, limited_availability_reason='"why" not'),
        lambda: repr(repo.get_status()),
        status(availability=read_only),
        lambda: str(repo.status),
        status(availability=online, limited_availability_reason="because"),
        lambda: repr(repo.status),
        lambda: repo.set_status(None),
        lambda: [repr(update.kind) for update in repo.ops_log()],
    ]
    return Mask()([outcome(step) for step in steps])


def refused_while_read_only(path: str) -> dict[str, Any]:
    """What each operation that changes something says in a repository that is closed."""
    repo = create(path, 2)
    main = commit(repo, "first", group("/", a=1), group("g"))
    repo.create_tag("t", main)
    repo.create_branch("b", main)
    session = repo.writable_session("main")
    group("/", b=1)(session.store)
    moving = repo.rearrange_session("main")
    moving.move("/g", "/h")
    repo.set_status(
        icechunk.RepoStatus(icechunk.RepoAvailability.read_only, limited_availability_reason="maintenance")
    )
    refused = {
        "writable_session": lambda: repo.writable_session("main"),
        "unknown branch": lambda: repo.writable_session("none"),
        "transaction": lambda: repo.transaction("main", message="x").__enter__(),
        "rearrange_session": lambda: repo.rearrange_session("main"),
        "commit": lambda: session.commit("x"),
        "amend": lambda: session.amend("x"),
        "flush": lambda: session.flush("x"),
        "move": lambda: moving.commit("x"),
        "create_tag": lambda: repo.create_tag("u", main),
        "create_tag again": lambda: repo.create_tag("t", main),
        "delete_tag": lambda: repo.delete_tag("t"),
        "delete no tag": lambda: repo.delete_tag("none"),
        "create_branch": lambda: repo.create_branch("c", main),
        "reset_branch": lambda: repo.reset_branch("b", main),
        "delete_branch": lambda: repo.delete_branch("b"),
        "delete main": lambda: repo.delete_branch("main"),
        "save_config": repo.save_config,
        "set_metadata": lambda: repo.set_metadata({}),
        "update_metadata": lambda: repo.update_metadata({}),
        "set_feature_flag": lambda: repo.set_feature_flag("create_tag", None),
        "no flag": lambda: repo.set_feature_flag("none", None),
    }
    outcomes: dict[str, Any] = {}
    for name, attempt in refused.items():
        try:
            attempt()
        except icechunk.IcechunkError as error:
            outcomes[name] = [outcome(_raiser(error)), str(error).split("\n")[0].partition(";")[0]]
    outcomes["still readable"] = zarr.open_group(repo.readonly_session("main").store, mode="r").attrs.asdict()
    repo.set_status(icechunk.RepoStatus(icechunk.RepoAvailability.online))
    session.commit("now")
    outcomes["kinds"] = [repr(update.kind) for update in repo.ops_log()]
    return Mask()(outcomes)


def _raiser(error: Exception) -> Callable[[], Any]:
    def attempt() -> None:
        raise error

    return attempt


def long_ops_log(path: str, updates_per_file: int) -> list[Any]:
    """The log of 40 operations, kept in pages."""
    repo = create(path, 2, num_updates_per_repo_info_file=updates_per_file)
    main = repo.lookup_branch("main")
    for number in range(10):
        repo.create_tag(f"tag {number}", main)
        repo.create_branch(f"branch/{number}", main)
        repo.set_metadata({"n": number})
        main = commit(repo, f"commit {number}")
    repo.delete_tag("tag 3")
    repo.delete_branch("branch/3")
    repo.reset_branch("branch/4", main)
    return describe_ops_log(path)


def describe_ops_log(path: str) -> list[Any]:
    repo = icechunk.Repository.open(icechunk.local_filesystem_storage(path))
    updates = list(repo.ops_log())
    times = [update.updated_at for update in updates]
    if times != sorted(times, reverse=True):
        raise RuntimeError("not newest first")

    async def again() -> list[str]:
        return [str(update) async for update in repo.ops_log_async()]

    if asyncio.run(again()) != [str(update) for update in updates]:
        raise RuntimeError("the asynchronous log differs")
    return Mask()([[repr(update.kind), update.backup_path, repr(update)] for update in updates])


def resets(path: str, spec_version: int) -> list[Any]:
    """reset_branch with and without its guard."""
    repo = create(path, spec_version)
    root = repo.lookup_branch("main")
    first, second = commit(repo, "first"), commit(repo, "second")
    attempts: list[tuple[str, str, str | None]] = [
        ("main", first, root),
        ("none", first, None),
        ("none", first, root),
        ("main", UNKNOWN, None),
        ("main", UNKNOWN, second),
        ("main", "zz", None),
        ("main", first, "zz"),
        ("main", first, second),
        ("main", first, first),
        ("main", second, None),
    ]
    outcomes = []
    for branch, to, expected in attempts:
        outcomes.append(outcome(_reset(repo, branch, to, expected)))
        outcomes.append([root, first, second].index(repo.lookup_branch("main")))
    return outcomes


def _reset(repo: icechunk.Repository, branch: str, to: str, expected: str | None) -> Callable[[], None]:
    return lambda: repo.reset_branch(branch, to, from_snapshot_id=expected)


def inspect_everything(path: str) -> dict[str, str]:
    """What is reported of each metadata file, as text: names come in the same order, too."""
    repo = icechunk.Repository.open(icechunk.local_filesystem_storage(path))
    reports: dict[str, Any] = {}
    for folder, inspect in [
        ("snapshots", repo.inspect_snapshot),
        ("manifests", repo.inspect_manifest),
        ("transactions", repo.inspect_transaction_log),
    ]:
        for file in sorted((Path(path) / folder).glob("*")):
            reports[f"{folder}/{file.name}"] = outcome(_inspection(inspect, file.name))
    for file in sorted((Path(path) / "snapshots").iterdir()):
        infos = repo.list_manifest_files(file.name)
        reports[f"manifests of {file.name}"] = sorted(map(repr, infos))
    reports["repo"] = outcome(repo.inspect_repo_info)
    for name, inspect in [
        ("snapshot", repo.inspect_snapshot),
        ("manifest", repo.inspect_manifest),
        ("transaction log", repo.inspect_transaction_log),
        ("manifests", repo.list_manifest_files),
    ]:
        reports[f"no {name}"] = outcome(_inspection(inspect, UNKNOWN))
    return {name: json.dumps(report, indent=1) for name, report in reports.items()}


def _inspection(inspect: Callable[[str], Any], id_: str) -> Callable[[], Any]:
    def attempt() -> Any:
        report = inspect(id_)
        if isinstance(report, dict) and "synthetic_composite" in report:
            # Prose, in the words of each.
            report["synthetic_composite"]["note"] = "..."
        return report

    return attempt


def random_history(path: str, spec_version: int, seed: int) -> None:
    """A history in which branches come from anywhere, and go back."""
    chance = random.Random(seed)
    repo = create(path, spec_version)
    ids = [repo.lookup_branch("main")]
    for number in range(chance.choice([5, 40, 130])):
        branch = chance.choice(sorted(repo.list_branches()))
        dice = chance.random()
        if dice < 0.12:
            name, target = chance.choice("abcdefghijk"), chance.choice(ids)
            outcome(_branching(repo, name, target))
        elif dice < 0.2:
            repo.create_tag(f"tag {number}", chance.choice(ids))
        elif dice < 0.23:
            repo.reset_branch(branch, chance.choice(ids))
        else:
            ids.append(commit(repo, f"commit {number}\nx{'y' * number}", branch=branch))


def _branching(repo: icechunk.Repository, name: str, target: str) -> Callable[[], None]:
    return lambda: repo.create_branch(name, target)


def appearance(path: str) -> dict[str, Any]:
    """How everything in a repository looks in a terminal, and what differs in its history."""
    repo = icechunk.Repository.open(icechunk.local_filesystem_storage(path))
    looks: dict[str, Any] = {"repository": [str(repo), repr(repo)]}
    looks["graph"] = [str(repo.ancestry_graph(plain=True)), str(repo.ancestry_graph())]
    for branch in sorted(repo.list_branches()):
        graphs = [repo.ancestry_graph(branch=branch, plain=plain) for plain in (True, False)]
        looks[f"branch {branch}"] = [str(graph) for graph in graphs]
        session = repo.readonly_session(branch)
        looks[f"session of {branch}"] = [str(session), repr(session), str(session.store), repr(session.store)]
        infos = list(repo.ancestry(branch=branch))
        looks[f"infos of {branch}"] = [_without_metadata(repr(info)) for info in infos]
        pairs = [*zip(infos[1:], infos, strict=False), (infos[-1], infos[0])]
        looks[f"diffs of {branch}"] = [
            outcome(_comparison(repo, older.id, newer.id)) for older, newer in pairs[:40]
        ]
        looks[f"manifests of {branch}"] = [
            sorted(map(repr, repo.list_manifest_files(info.id))) for info in infos[:40]
        ]
    for tag in sorted(repo.list_tags()):
        graph = str(repo.ancestry_graph(tag=tag, plain=True))
        # The reference gives the column of a tag a name, which is empty.
        looks[f"tag {tag}"] = graph.replace("(, ", "(").replace(" () ", " ")
    looks["ops log"] = outcome(lambda: [str(update) for update in repo.ops_log()])
    looks["status"] = outcome(lambda: repr(repo.status))
    looks["flags"] = outcome(lambda: sorted(map(repr, repo.feature_flags())))
    looks["config"] = [str(repo.config.storage), repr(repo.config.storage), repr(repo.config.caching)]
    return looks


def _comparison(repo: icechunk.Repository, older: str, newer: str) -> Callable[[], Any]:
    return lambda: _diff(repo.diff(from_snapshot_id=older, to_snapshot_id=newer))


def _without_metadata(text: str) -> str:
    """The reference shows metadata in Rust's notation."""
    return text.partition("\nmetadata: ")[0]

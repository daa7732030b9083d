"""Arguments of the wrong type, or out of range: each door says which one it is, and nothing has happened."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from icechunk import (
    ChunkType,
    ConflictDetector,
    FormatError,
    IcechunkError,
    InvalidInputError,
    Repository,
    Session,
    Storage,
    in_memory_storage,
)

TIP = "1CECHNKREP0F1RSTCMT0"
Arguments = tuple[tuple[Any, ...], dict[str, Any]]


def given(*args: Any, **kwargs: Any) -> Arguments:
    return args, kwargs


# Method, arguments, the parameter that is wrong.
OF_REPOSITORIES: list[tuple[str, Arguments, str]] = [
    ("readonly_session", given(1), "branch"),
    ("readonly_session", given(tag=1), "tag"),
    ("readonly_session", given(snapshot_id=b"x"), "snapshot_id"),
    # The type first: what is wrong is not that there are two.
    ("readonly_session", given("main", tag=2), "tag"),
    ("writable_session", given(1), "branch"),
    ("writable_session", given(None), "branch"),
    ("rearrange_session", given(b"main"), "branch"),
    ("ancestry", given(branch=1), "branch"),
    ("ancestry", given(snapshot_id=["a"]), "snapshot_id"),
    ("ancestry_graph", given(branch=1), "branch"),
    ("ancestry_graph", given(plain=1), "plain"),
    ("ancestry_graph", given(plain=None), "plain"),
    ("diff", given(from_branch=1, to_branch="main"), "from_branch"),
    ("diff", given(from_branch="main", to_tag=1), "to_tag"),
    ("diff", given(from_snapshot_id=b"x", to_branch="main"), "from_snapshot_id"),
    ("lookup_branch", given(1), "branch"),
    ("lookup_tag", given(None), "tag"),
    ("create_branch", given("q", None), "snapshot_id"),
    ("create_branch", given(1, TIP), "branch"),
    ("create_tag", given("q", 3), "snapshot_id"),
    ("create_tag", given(None, "bad"), "tag"),
    ("reset_branch", given("main", 3, from_snapshot_id="bad"), "snapshot_id"),
    ("reset_branch", given("main", TIP, from_snapshot_id=3), "from_snapshot_id"),
    ("delete_branch", given(1), "branch"),
    ("delete_tag", given(1), "tag"),
    ("lookup_snapshot", given(3), "snapshot_id"),
    ("inspect_snapshot", given(b"x"), "snapshot_id"),
    ("inspect_manifest", given(b"x"), "manifest_id"),
    ("inspect_transaction_log", given(b"x"), "snapshot_id"),
    ("list_manifest_files", given(3), "snapshot_id"),
    ("set_feature_flag", given(None, True), "name"),
    ("set_feature_flag", given("move_node", 1), "setting"),
    ("set_status", given(3), "status"),
    ("set_default_commit_metadata", given(3), "metadata"),
    ("reopen", given(3), "config"),
]

OF_SESSIONS: list[tuple[str, Arguments, str]] = [
    ("move", given(1, "/x"), "from_path"),
    ("move", given("/a", None), "to_path"),
    ("get_node_id", given(3), "path"),
    ("chunk_type", given(1, [0]), "array_path"),
    ("chunk_type", given("/a", 3), "chunk_coordinates"),
    ("chunk_type", given("/a", {0}), "chunk_coordinates"),
    ("chunk_type", given("/a", "0"), "chunk_coordinates"),
    ("chunk_type", given("/none", [1.5]), "chunk_coordinates[0]"),
    ("chunk_coordinates", given(1), "array_path"),
    ("reindex_array", given(1, list), "array_path"),
    ("shift_array", given(1, [0]), "array_path"),
    ("shift_array", given("/a", ["x"]), "chunk_offset[0]"),
    ("commit", given(3), "message"),
    ("commit", given("m", [1]), "metadata"),
    *[("commit", given("m", allow_empty=value), "allow_empty") for value in (None, 0, 1, "x", object())],
    ("amend", given("m", allow_empty=1), "allow_empty"),
    ("commit", given("m", allow_empty=True, rebase_tries="x"), "rebase_tries"),
    ("commit", given("m", allow_empty=True, rebase_tries=1.5), "rebase_tries"),
]

OUT_OF_RANGE: list[tuple[str, Arguments]] = [
    ("chunk_type", given("/a", [-1])),
    ("chunk_type", given("/a", [2**32])),
    ("chunk_type", given("/none", np.array([-1]))),
    ("shift_array", given("/a", [2**63])),
    ("shift_array", given("/none", [-(2**63) - 1])),
    ("commit", given("m", allow_empty=True, rebase_tries=-1)),
    ("commit", given("m", allow_empty=True, rebase_tries=2**16)),
]

NO_STORAGES = [None, "/path", 3]


def twins(owner: object, name: str) -> list[Callable[..., Any]]:
    found = [getattr(owner, each, None) for each in (name, f"{name}_async", f"async_{name}")]
    return [each for each in found if each is not None]


async def outcome(answer: Any) -> Any:
    if hasattr(answer, "__aiter__"):
        return [item async for item in answer]
    return await answer if inspect.isawaitable(answer) else answer


def wrong(parameter: str) -> Any:
    def names_it(error: BaseException) -> bool:
        return str(error).startswith(f"{parameter} must be of type ")

    return pytest.raises(TypeError, check=names_it)


@pytest.mark.parametrize(("method", "arguments", "parameter"), OF_REPOSITORIES)
async def test_a_repository_says_what_it_wants(
    repo: Repository, method: str, arguments: Arguments, parameter: str
) -> None:
    args, kwargs = arguments
    for function in twins(repo, method):
        with wrong(parameter):
            await outcome(function(*args, **kwargs))
    assert repo.list_branches() == {"main"}
    assert repo.list_tags() == set()


@pytest.mark.parametrize(("method", "arguments", "parameter"), OF_SESSIONS)
async def test_a_session_says_what_it_wants(
    repo: Repository, method: str, arguments: Arguments, parameter: str
) -> None:
    session = repo.writable_session("main")
    args, kwargs = arguments
    for function in twins(session, method):
        with wrong(parameter):
            await outcome(function(*args, **kwargs))
    assert not session.read_only
    assert not session.has_uncommitted_changes


@pytest.mark.parametrize(("method", "arguments"), OUT_OF_RANGE)
async def test_numbers_that_the_format_has_no_room_for_change_nothing(
    repo: Repository, method: str, arguments: Arguments
) -> None:
    session = repo.writable_session("main")
    args, kwargs = arguments
    for function in twins(session, method):
        with pytest.raises(OverflowError):
            await outcome(function(*args, **kwargs))
    assert not session.read_only
    assert not session.has_uncommitted_changes


@pytest.mark.parametrize("storage", NO_STORAGES)
@pytest.mark.parametrize(
    "method", ["create", "open", "open_or_create", "exists", "fetch_config", "fetch_spec_version"]
)
async def test_whoever_has_no_storage_is_told_how_to_make_one(method: str, storage: Any) -> None:
    for function in twins(Repository, method):
        with wrong("storage") as raised:
            await outcome(function(storage))
        assert "icechunk.local_filesystem_storage(path)" in str(raised.value)


@pytest.mark.parametrize("value", [None, 0, 1, "x"])
@pytest.mark.parametrize("method", ["create", "open_or_create"])
async def test_check_clean_root_is_a_bool(storage: Storage, method: str, value: Any) -> None:
    for function in twins(Repository, method):
        with wrong("check_clean_root"):
            await outcome(function(storage, check_clean_root=value))
    assert not Repository.exists(storage)


@pytest.mark.parametrize("arguments", [given(3), given(prefix=3)])
def test_a_list_of_objects_wants_settings_and_a_prefix(arguments: Arguments) -> None:
    args, kwargs = arguments
    with pytest.raises(TypeError, match=r"^(settings|prefix) must be of type "):
        in_memory_storage().list_objects(*args, **kwargs)


def test_what_is_as_good_is_accepted(repo2: Repository) -> None:
    """Subclasses of str, NumPy's numbers and truth values, and None for the number of tries."""

    class Name(str):
        pass

    session: Session = repo2.writable_session(Name("main"))
    assert session.chunk_type("/a", np.array([0], np.uint8)) is ChunkType.inline
    assert session.chunk_type("/a", (2**32 - 1,)) is ChunkType.uninitialized
    session.shift_array("/a", iter([2**63 - 1]))
    tries: Any = None
    session.commit("m", allow_empty=np.True_, rebase_with=ConflictDetector(), rebase_tries=tries)  # type: ignore[arg-type]
    repo2.set_feature_flag("move_node", np.False_)  # type: ignore[arg-type]
    assert "move_node" in [each.name for each in repo2.disabled_feature_flags()]


@pytest.mark.parametrize(
    "arguments", [{"from_branch": "no"}, {"from_tag": "no"}, {"from_snapshot_id": "0" * 20}]
)
async def test_a_diff_from_nowhere_says_so_as_a_session(repo: Repository, arguments: dict[str, str]) -> None:
    for function in twins(repo, "diff"):
        with pytest.raises(IcechunkError, match=r"^session error: \w+ (id )?not found `") as raised:
            await outcome(function(**arguments, to_branch="main"))
        assert raised.value.kind in {"ref-not-found", "snapshot-not-found", "object-not-found"}


async def test_an_iterator_says_at_once_what_it_needs_no_storage_for(repo: Repository) -> None:
    with wrong("branch"):
        repo.async_ancestry(branch=1)  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="Must provide one of"):
        repo.async_ancestry()
    with pytest.raises(InvalidInputError, match="invalid snapshot id"):
        repo.async_ancestry(snapshot_id="bad")
    if repo.spec_version == 1:
        with pytest.raises(FormatError) as raised:
            repo.ops_log_async()
        assert raised.value.kind == "unsupported-spec-version"
    else:
        assert [each async for each in repo.ops_log_async()]


@pytest.mark.parametrize("prefix", ["..", "/..", "a/..", "a/../g", "nowhere/.."])
@pytest.mark.parametrize(
    ("method", "kind"),
    [
        ("list_dir", "invalid-path"),
        ("is_empty", "invalid-path"),
        ("list_prefix", "bad-key-prefix"),
        ("getsize_prefix", "bad-key-prefix"),
        ("delete_dir", "bad-key-prefix"),
    ],
)
async def test_no_prefix_leads_upwards(repo: Repository, method: str, kind: str, prefix: str) -> None:
    session = repo.writable_session("main")
    with pytest.raises(InvalidInputError) as raised:
        await outcome(getattr(session.store, method)(prefix))
    assert raised.value.kind == kind
    assert not session.has_uncommitted_changes

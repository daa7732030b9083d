"""Every awaitable method beside its blocking one: same parameters, same results, same documentation."""

from __future__ import annotations

import asyncio
import inspect
from collections.abc import Callable, Iterator
from typing import Any

import pytest

import icechunk
from icechunk import Repository, Session

CLASSES = [
    value
    for name in icechunk.__all__
    if inspect.isclass(value := getattr(icechunk, name)) and not issubclass(value, BaseException)
]
# The reference has named them so.
OTHERWISE_NAMED = {"async_ancestry": "ancestry"}


def pairs() -> Iterator[tuple[type, str, str]]:
    """Class, name of the blocking method, name of the awaitable one."""
    for cls in CLASSES:
        for name in dir(cls):
            if name in OTHERWISE_NAMED:
                yield cls, OTHERWISE_NAMED[name], name
            elif name.endswith("_async") and not name.startswith("_"):
                yield cls, name.removesuffix("_async"), name


ALL = sorted(pairs(), key=lambda pair: (pair[0].__qualname__, *pair[1:]))
each = pytest.mark.parametrize(
    ("cls", "blocking", "awaitable"), ALL, ids=[f"{cls.__qualname__}.{name}" for cls, _, name in ALL]
)


def function(cls: type, name: str) -> Callable[..., Any]:
    raw = inspect.getattr_static(cls, name)
    return raw.__func__ if isinstance(raw, classmethod) else raw


@each
def test_parameters_are_the_same(cls: type, blocking: str, awaitable: str) -> None:
    assert inspect.signature(getattr(cls, awaitable)) == inspect.signature(getattr(cls, blocking))
    kinds = [type(inspect.getattr_static(cls, name)) for name in (blocking, awaitable)]
    assert kinds[0] is kinds[1]


@each
def test_types_are_the_same(cls: type, blocking: str, awaitable: str) -> None:
    assert function(cls, awaitable).__annotations__ == function(cls, blocking).__annotations__


@each
def test_the_documentation_is_the_same_and_says_what_awaiting_means(
    cls: type, blocking: str, awaitable: str
) -> None:
    documentation = inspect.getdoc(getattr(cls, blocking))
    assert documentation
    assert (inspect.getdoc(getattr(cls, awaitable)) or "").startswith(documentation)
    assert f"The awaitable form of `{blocking}`" in (inspect.getdoc(getattr(cls, awaitable)) or "")


@each
def test_it_knows_its_name_and_what_it_is(cls: type, blocking: str, awaitable: str) -> None:
    twin = function(cls, awaitable)
    assert twin.__name__ == awaitable
    assert twin.__qualname__.endswith(f".{awaitable}")
    is_iterator = str(function(cls, blocking).__annotations__.get("return")).startswith("Iterator[")
    # An iterator is there at once, and nothing to await.
    assert inspect.iscoroutinefunction(twin) is not is_iterator


def test_what_has_to_ask_storage_can_be_awaited() -> None:
    """All of it; what needs none is listed."""
    in_place = {
        Repository: {"default_commit_metadata", "set_default_commit_metadata", "transaction"},
        Session: {"discard_changes", "status", "fork", "chunk_coordinates", "reindex_array", "shift_array"},
    }
    for cls, alone in in_place.items():
        with_twin = {blocking for of, blocking, _ in ALL if of is cls}
        methods = {
            name for name in dir(cls) if not name.startswith("_") and inspect.isfunction(function(cls, name))
        }
        awaitable = {name for of, _, name in ALL if of is cls}
        assert methods - with_twin - awaitable <= alone, cls


def test_twins_answer_as_their_blocking_methods_do() -> None:
    async def both() -> None:
        repo = await Repository.create_async(icechunk.in_memory_storage())
        session = await repo.writable_session_async("main")
        id = await session.commit_async("first", allow_empty=True)
        await repo.create_tag_async("t", id)
        await repo.set_metadata_async({"a": 1})
        assert await repo.update_metadata_async({"b": 2}) == repo.metadata == {"a": 1, "b": 2}
        assert [info.id async for info in repo.async_ancestry(tag="t")] == [
            info.id for info in repo.ancestry(tag="t")
        ]
        assert [update async for update in repo.ops_log_async()] == list(repo.ops_log())
        assert await repo.diff_async(from_snapshot_id=repo.lookup_snapshot(id).parent_id, to_tag="t") == (
            repo.diff(from_snapshot_id=repo.lookup_snapshot(id).parent_id, to_tag="t")
        )
        for name, arguments in {
            "get_metadata": (),
            "get_status": (),
            "feature_flags": (),
            "enabled_feature_flags": (),
            "disabled_feature_flags": (),
            "inspect_repo_info": (),
            "inspect_snapshot": (id,),
            "inspect_transaction_log": (id,),
            "list_manifest_files": (id,),
            "list_branches": (),
            "lookup_tag": ("t",),
            "lookup_snapshot": (id,),
        }.items():
            assert await getattr(repo, f"{name}_async")(*arguments) == getattr(repo, name)(*arguments), name
        assert str(await repo.ancestry_graph_async()) == str(repo.ancestry_graph())

    asyncio.run(both())

"""The store's rules that Zarr's own tests do not reach: keys, errors, listings, read-only stores."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
import zarr
from zarr.abc.store import OffsetByteRequest, RangeByteRequest, SuffixByteRequest
from zarr.core.buffer import Buffer, cpu, default_buffer_prototype

from icechunk import IcechunkStore, Repository, RepositoryConfig, Session
from icechunk._engine.format.chunk_refs import VirtualRef
from icechunk.errors import (
    AlreadyExistsError,
    ErrorKind,
    IcechunkError,
    InvalidInputError,
    NodeNotFoundError,
    ReadOnlyError,
    SessionStateError,
    StorageError,
)

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

PROTOTYPE = default_buffer_prototype()
GROUP = b'{"zarr_format": 3, "node_type": "group"}'


def buffer(data: bytes) -> Buffer:
    return cpu.Buffer.from_bytes(data)


def array(*shape: int) -> bytes:
    grid = {"name": "regular", "configuration": {"chunk_shape": [1] * len(shape)}}
    return json.dumps({"node_type": "array", "shape": shape, "chunk_grid": grid}).encode()


async def listed(names: AsyncIterator[str]) -> list[str]:
    return sorted([name async for name in names])


async def value(store: IcechunkStore, key: str) -> bytes | None:
    found = await store.get(key, PROTOTYPE)
    return None if found is None else found.to_bytes()


@pytest.fixture
async def store(session: Session) -> IcechunkStore:
    """Return a store with a group, an array of 3 x 2 chunks in it, and a scalar."""
    store = session.store
    await store.set("zarr.json", buffer(GROUP))
    await store.set("g/zarr.json", buffer(GROUP))
    await store.set("g/a/zarr.json", buffer(array(3, 2)))
    await store.set("g/a/c/0/0", buffer(b"small"))
    await store.set("g/a/c/2/1", buffer(bytes(range(250)) * 10))
    await store.set("scalar/zarr.json", buffer(array()))
    await store.set("scalar/c", buffer(b"s"))
    return store


@pytest.fixture(params=["in the session", "committed"])
async def either(request: pytest.FixtureRequest, repository: Repository, store: IcechunkStore) -> Any:
    """Return the same contents, once in the change set, once in the base snapshot."""
    if request.param == "in the session":
        return store
    store.session.commit("fill")
    return repository.writable_session("main").store


# -- keys -----------------------------------------------------------------------------------------


async def test_redundant_slashes_lead_to_the_same_node(either: IcechunkStore) -> None:
    for key in ("g//a/zarr.json", "/g/a/zarr.json", "./g/./a/zarr.json"):
        assert await value(either, key) == array(3, 2)
    for key in ("g//a/c/0/0", "/g/a/c/0/0", "g/a//c/0/0"):
        assert await value(either, key) == b"small"


@pytest.mark.parametrize("key", ["g/a/c/3/0", "g/a/c/0", "g/a/c/0/0/0", "g/a/c", "scalar/c/0", "q/c/0"])
async def test_a_chunk_outside_of_the_grid_is_not_there(either: IcechunkStore, key: str) -> None:
    assert await either.get(key, PROTOTYPE) is None
    assert either.get_sync(key) is None
    assert not await either.exists(key)
    await either.delete(key)
    assert not either.session.has_uncommitted_changes or await value(either, "g/a/c/0/0") == b"small"


@pytest.mark.parametrize("key", [".zgroup", "g/.zattrs", "g/a/.zarray", ".zmetadata"])
async def test_zarr_v2_metadata_never_exists(store: IcechunkStore, key: str) -> None:
    assert await store.get(key, PROTOTYPE) is None
    assert not await store.exists(key)
    with pytest.raises(NodeNotFoundError):
        await store.getsize(key)
    with pytest.raises(SessionStateError, match="Icechunk cannot set Zarr V2 metadata keys") as caught:
        await store.set(key, buffer(b"{}"))
    assert caught.value.kind == ErrorKind.UNIMPLEMENTED
    await store.delete(key)


@pytest.mark.parametrize("key", ["", "foo", "g/a/c/", "g/a/c/x", "g/../zarr.json", "g/a/c/00/0"])
async def test_a_typo_in_a_key_is_an_error(store: IcechunkStore, key: str) -> None:
    for call in (
        store.get(key, PROTOTYPE),
        store.exists(key),
        store.set(key, buffer(b"x")),
        store.delete(key),
        store.getsize(key),
        store.set_if_not_exists(key, buffer(b"x")),
    ):
        with pytest.raises(InvalidInputError, match="invalid zarr key format"):
            await call


async def test_chunks_of_a_group_are_an_error(either: IcechunkStore) -> None:
    for call in (either.get("g/c/0", PROTOTYPE), either.exists("g/c/0"), either.set("g/c/0", buffer(b"x"))):
        with pytest.raises(InvalidInputError, match="there is not an array at") as caught:
            await call
        assert caught.value.kind == ErrorKind.NOT_AN_ARRAY
    await either.delete("g/c/0")


async def test_nodes_may_have_names_that_look_like_keys(store: IcechunkStore) -> None:
    await store.set("g/c/zarr.json", buffer(array(2)))
    await store.set("g/c/c/1", buffer(b"odd"))
    await store.set("g/a/c/zarr.json", buffer(array(1)))
    await store.set("g/a/c/c/0", buffer(b"child"))
    assert await value(store, "g/c/c/1") == b"odd"
    assert await value(store, "g/a/c/c/0") == b"child"
    assert await value(store, "g/a/c/0/0") == b"small"
    assert await listed(store.list_dir("g/a/c")) == ["0", "2", "c", "zarr.json"]
    assert await listed(store.list_dir("g")) == ["a", "c", "zarr.json"]


# -- values ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("key", ["g/a/c/0/0", "g/a/c/2/1", "g/zarr.json"])
async def test_ranges_are_clamped(either: IcechunkStore, key: str) -> None:
    whole = await value(either, key)
    assert whole is not None
    for part, expected in [
        (RangeByteRequest(1, 3), whole[1:3]),
        (RangeByteRequest(2, 10**6), whole[2:]),
        (RangeByteRequest(10**6, 10**6 + 1), b""),
        (OffsetByteRequest(2), whole[2:]),
        (SuffixByteRequest(2), whole[-2:]),
        (SuffixByteRequest(10**6), whole),
        (SuffixByteRequest(0), b""),
    ]:
        found = await either.get(key, PROTOTYPE, part)
        assert found is not None
        assert found.to_bytes() == expected
    for start, stop in [(2, 1), (-1, 3)]:
        with pytest.raises(InvalidInputError) as caught:
            await either.get(key, PROTOTYPE, RangeByteRequest(start, stop))
        assert caught.value.kind == ErrorKind.INVALID_BYTE_RANGE


async def test_partial_values_of_missing_keys_are_none(either: IcechunkStore) -> None:
    found = await either.get_partial_values(
        PROTOTYPE, [("g/a/c/0/0", RangeByteRequest(0, 2)), ("g/a/c/1/1", None), ("nope/zarr.json", None)]
    )
    assert [None if part is None else part.to_bytes() for part in found] == [b"sm", None, None]


async def test_sizes(either: IcechunkStore) -> None:
    assert await either.getsize("g/a/c/2/1") == 2500
    assert await either.getsize("g/a/c/0/0") == 5
    assert await either.getsize("g/zarr.json") == len(GROUP)
    assert await either.getsize_prefix("g") == 2505 + len(GROUP) + len(array(3, 2))
    assert await either.getsize_prefix("g/a/c") == 2505
    assert await either.getsize_prefix("g/a/c/2") == 2500
    assert await either.getsize_prefix("nowhere") == 0


@pytest.mark.parametrize("key", ["nope/zarr.json", "nope/c/0", "g/a/c/1/1", "g/a/c/9/9"])
async def test_the_size_of_a_missing_key_is_an_error_of_both_families(
    either: IcechunkStore, key: str
) -> None:
    with pytest.raises(NodeNotFoundError) as caught:
        await either.getsize(key)
    assert isinstance(caught.value, FileNotFoundError)
    assert key in str(caught.value)


async def test_the_threshold_for_inline_chunks_is_of_encoded_bytes(repository: Repository) -> None:
    for threshold, size, native in [(None, 512, 0), (None, 513, 1), (0, 1, 1), (1000, 1000, 0)]:
        config = RepositoryConfig(inline_chunk_threshold_bytes=threshold)
        store = repository.reopen(config).writable_session("main").store
        await store.set("zarr.json", buffer(array(1)))
        found = {path for path, _ in repository.storage.list_objects(prefix="chunks")}
        await store.set("c/0", buffer(bytes(size)))
        after = {path for path, _ in repository.storage.list_objects(prefix="chunks")}
        assert len(after - found) == native
        assert await value(store, "c/0") == bytes(size)


async def test_a_value_is_not_changed_by_its_giver_afterwards(store: IcechunkStore) -> None:
    for size in (8, 5000):
        data = np.zeros(size, np.uint8)
        await store.set("g/a/c/1/0", cpu.Buffer(data))
        data[:] = 1
        assert await value(store, "g/a/c/1/0") == bytes(size)


# -- setting --------------------------------------------------------------------------------------


async def test_a_chunk_must_have_a_place(store: IcechunkStore) -> None:
    for key in ("g/a/c/3/0", "g/a/c/0", "g/a/c/0/0/0", "g/a/c"):
        with pytest.raises(InvalidInputError, match="invalid chunk index") as caught:
            await store.set(key, buffer(b"x"))
        assert caught.value.kind == ErrorKind.INVALID_CHUNK_INDEX
    with pytest.raises(NodeNotFoundError, match="node not found at `/nope`"):
        await store.set("nope/c/0", buffer(b"x"))
    # An empty chunk is that before it is anything else.
    for key in ("g/a/c/0/0", "g/a/c/3/0"):
        with pytest.raises(InvalidInputError, match="zero-length chunk") as caught:
            await store.set(key, buffer(b""))
        assert caught.value.kind == ErrorKind.ZERO_LENGTH_CHUNK
    with pytest.raises(TypeError, match="`value` must be a Buffer instance"):
        await store.set("g/a/c/0/0", b"x")  # type: ignore[arg-type]


async def test_an_empty_array_has_no_place_for_chunks(store: IcechunkStore) -> None:
    await store.set("e/zarr.json", buffer(array(0)))
    with pytest.raises(InvalidInputError, match="invalid chunk index"):
        await store.set("e/c/0", buffer(b"x"))


async def test_a_group_does_not_become_an_array_nor_the_reverse(either: IcechunkStore) -> None:
    for key, document in (("g/a/zarr.json", GROUP), ("g/zarr.json", array(1))):
        before = await value(either, key)
        with pytest.raises(AlreadyExistsError, match="node already exists at"):
            await either.set(key, buffer(document))
        assert await value(either, key) == before
        # After a deletion it may.
        await either.delete(key)
        await either.set(key, buffer(document))
        assert await value(either, key) == document


async def test_a_value_cannot_be_set_in_part(store: IcechunkStore) -> None:
    with pytest.raises(SessionStateError, match="`set_partial_values` is not implemented"):
        await store.set_partial_values([("g/a/c/0/0", 0, b"x")])


# -- listing and deleting -------------------------------------------------------------------------


async def test_listings(either: IcechunkStore) -> None:
    everything = [
        "g/a/c/0/0",
        "g/a/c/2/1",
        "g/a/zarr.json",
        "g/zarr.json",
        "scalar/c",
        "scalar/zarr.json",
        "zarr.json",
    ]
    assert await listed(either.list()) == everything
    for prefix in ("", "/", "g", "g/", "g/a", "g/a/c", "g/a/c/2", "scalar", "nope", "g/a/c/1"):
        inside = prefix.strip("/")
        expected = [key for key in everything if not inside or key.startswith(f"{inside}/")]
        assert await listed(either.list_prefix(prefix)) == expected
        names = sorted({key.removeprefix(f"{inside}/").split("/")[0] for key in expected})
        assert await listed(either.list_dir(prefix)) == names
        assert await either.is_empty(prefix) == (not expected)
    assert await listed(either.list_dir("g/a/c/0/0")) == []


async def test_an_array_without_chunks_has_no_directory_of_them(either: IcechunkStore) -> None:
    await either.delete("g/a/c/0/0")
    assert await listed(either.list_dir("g/a")) == ["c", "zarr.json"]
    await either.delete("g/a/c/2/1")
    assert await listed(either.list_dir("g/a")) == ["zarr.json"]
    assert await either.is_empty("g/a/c")


async def test_parents_need_not_exist(store: IcechunkStore) -> None:
    await store.set("x/y/z/zarr.json", buffer(GROUP))
    assert await listed(store.list_dir("x")) == ["y"]
    assert not await store.is_empty("x/y")
    assert await listed(store.list_prefix("x")) == ["x/y/z/zarr.json"]
    await store.delete_dir("x")
    assert await store.is_empty("x")


async def test_deleting_a_document_deletes_what_is_below(either: IcechunkStore) -> None:
    await either.set("g/new/zarr.json", buffer(GROUP))
    await either.set("g-sibling/zarr.json", buffer(GROUP))
    await either.delete("g/zarr.json")
    assert await listed(either.list()) == ["g-sibling/zarr.json", "scalar/c", "scalar/zarr.json", "zarr.json"]
    assert await value(either, "g/a/c/0/0") is None
    await either.delete("zarr.json")
    assert await listed(either.list()) == []


@pytest.mark.parametrize(
    ("prefix", "left"),
    [
        ("g/a/c", []),
        ("g/a/c/", []),
        ("g/a/c/0", ["2/1"]),
        ("g/a/c/2/1", ["0/0"]),
        ("g/a/c/7", ["0/0", "2/1"]),
    ],
)
async def test_deleting_a_directory_of_chunks(either: IcechunkStore, prefix: str, left: list[str]) -> None:
    await either.delete_dir(prefix)
    keys = await listed(either.list_prefix("g/a"))
    assert keys == [*(f"g/a/c/{coords}" for coords in left), "g/a/zarr.json"]


async def test_a_directory_that_cannot_be_is_an_error(store: IcechunkStore) -> None:
    with pytest.raises(InvalidInputError, match="bad key prefix") as caught:
        await store.delete_dir("g/..")
    assert caught.value.kind == ErrorKind.BAD_KEY_PREFIX


async def test_deleting_what_is_listed_while_listing(either: IcechunkStore) -> None:
    async for key in either.list():
        await either.delete(key)
    assert await listed(either.list()) == []


async def test_chunks_that_a_smaller_shape_leaves_outside_are_not_there(either: IcechunkStore) -> None:
    await either.set("g/a/zarr.json", buffer(array(2, 2)))
    assert await value(either, "g/a/c/2/1") is None
    assert await listed(either.list_prefix("g/a")) == ["g/a/c/0/0", "g/a/zarr.json"]
    assert await listed(either.list_dir("g/a/c")) == ["0"]


def test_clear(store: IcechunkStore) -> None:
    store.sync_clear()
    assert list(store._sync_iter(store.list())) == []


async def test_a_deleted_array_leaves_what_was_below_it(session: Session) -> None:
    store = session.store
    await store.set("a/zarr.json", buffer(array(3, 2)))
    await store.set("a/b/zarr.json", buffer(GROUP))
    await store.delete("a/zarr.json")
    assert [key async for key in store.list()] == ["a/b/zarr.json"]


# -- read-only ------------------------------------------------------------------------------------


async def test_a_read_only_session_refuses_changes(repository: Repository, store: IcechunkStore) -> None:
    store.session.commit("fill")
    reader = repository.readonly_session("main").store
    for read_only in (reader, store):
        assert read_only.read_only
        for call in (
            read_only.set("zarr.json", buffer(GROUP)),
            read_only.set("g/a/c/0/0", buffer(b"x")),
            read_only.set_if_not_exists("g/a/c/1/1", buffer(b"x")),
            read_only.delete_dir("g"),
        ):
            with pytest.raises(ReadOnlyError, match="cannot write to read-only store") as caught:
                await call
            assert caught.value.kind == ErrorKind.READ_ONLY_STORE
            assert isinstance(caught.value, ValueError)
        for change in (
            read_only.delete("g/a/c/0/0"),
            # Whether there is such a chunk is not asked.
            read_only.delete("g/a/c/1/1"),
            read_only.delete("g/zarr.json"),
            read_only.clear(),
        ):
            with pytest.raises(ReadOnlyError, match="Read only sessions cannot modify") as caught:
                await change
            assert caught.value.kind == ErrorKind.READ_ONLY_SESSION
        await read_only.delete("nope/zarr.json")
        await read_only.delete("g/a/c/9/9")
        await read_only.set_if_not_exists("zarr.json", buffer(GROUP))
        # Saying that it is writable does not make it so.
        with pytest.raises(ReadOnlyError):
            await read_only.with_read_only(False).set("zarr.json", buffer(GROUP))


async def test_a_read_only_store_of_a_writable_session_refuses_changes(store: IcechunkStore) -> None:
    reader = store.with_read_only(True)
    assert reader == store
    for call in (
        reader.set("zarr.json", buffer(GROUP)),
        reader.delete("nope/zarr.json"),
        reader.delete_dir("g"),
        reader.clear(),
    ):
        with pytest.raises(ReadOnlyError, match="cannot write to read-only store"):
            await call
    assert not store.read_only
    assert store.with_read_only(False) == store


# -- the rest -------------------------------------------------------------------------------------


async def test_a_virtual_chunk_names_the_fetcher_that_is_missing(store: IcechunkStore) -> None:
    engine = store._engine
    node = engine.find_node("/g/a")
    assert node is not None
    ref = VirtualRef("s3://bucket/key", 5, 10)
    engine.changes.chunk_table(node.id).set((1, 1), ref)
    with pytest.raises(StorageError, match="no chunk fetcher for `s3`") as caught:
        await store.get("g/a/c/1/1", PROTOTYPE)
    assert caught.value.kind == ErrorKind.VIRTUAL_CHUNK_FETCH
    assert await store.exists("g/a/c/1/1")
    assert await store.getsize("g/a/c/1/1") == 10


def test_a_store_shows_itself(session: Session) -> None:
    expected = f"read_only: False\nsnapshot_id: {session.snapshot_id}\nbranch: main\n"
    assert repr(session.store) == f"<icechunk.IcechunkStore>\n{expected}"
    assert 'class="icechunk-repr"' in session.store._repr_html_()


def test_stores_of_one_session_are_equal(repository: Repository, session: Session) -> None:
    assert session.store == session.store
    assert hash(session.store) == hash(session.store)
    assert session.store != repository.writable_session("main").store
    assert session.store.session == session


def test_a_store_is_made_by_a_session_only() -> None:
    with pytest.raises(TypeError, match=r"made by `Session\.store`"):
        IcechunkStore("somewhere")  # type: ignore[arg-type]


def test_errors_of_a_store_are_icechunks(session: Session) -> None:
    with pytest.raises(IcechunkError):
        session.store.get_sync("foo")


def test_zarr_finds_groups_and_arrays(session: Session) -> None:
    root = zarr.create_group(session.store)
    zarr.create_array(root.create_group("g").store, name="g/a", shape=3, dtype="i4")
    for mode in ("r", "r+"):
        group = zarr.open_group(session.store, mode=mode)
        assert sorted(name for name, _ in group.members(max_depth=None)) == ["g", "g/a"]

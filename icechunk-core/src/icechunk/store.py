"""`IcechunkStore`: a session as a store for Zarr."""

from __future__ import annotations

import asyncio
from copy import copy
from operator import index
from typing import TYPE_CHECKING, Any, Final, Literal, ParamSpec, Self, TypeVar

import numpy as np
from zarr.abc.store import (
    ByteRequest,
    OffsetByteRequest,
    RangeByteRequest,
    Store,
    SuffixByteRequest,
)
from zarr.core.buffer import Buffer, BufferPrototype, cpu, default_buffer_prototype
from zarr.core.sync import SyncMixin

from icechunk._arguments import text
from icechunk._async_forms import run_io
from icechunk._display.blocks import Block
from icechunk._display.html import html
from icechunk._engine.format.chunk_refs import InlineRef, NativeRef, VirtualRef
from icechunk._engine.session import listing, writing
from icechunk._engine.session.chunks import chunk_batches
from icechunk._engine.session.keys import normal_path
from icechunk._engine.session.kinds import NOT_WRITABLE
from icechunk._engine.session.reading import NOT_LOADED
from icechunk._engine.session.session import EngineSession, Found
from icechunk.abc.storage import Locality
from icechunk.errors import (
    ErrorKind,
    InvalidInputError,
    KeyNotFoundError,
    ReadOnlyError,
    SessionStateError,
    StorageError,
)

if TYPE_CHECKING:
    import builtins
    from collections.abc import AsyncIterator, Callable, Iterable, Iterator

    from icechunk._engine.format.chunk_refs import ChunkRef
    from icechunk._engine.session.chunks import ChunkBatch
    from icechunk.session import Session

__all__ = ["IcechunkStore"]

P = ParamSpec("P")
R = TypeVar("R")

# From here on a local write is worth a thread: it then overlaps with the encoding of other chunks.
_LARGE_BYTES: Final = 2**20


class StoreReadOnlyError(ReadOnlyError, ValueError):
    """A write to a read-only store. Zarr expects a `ValueError` of its stores; this is both."""


class IcechunkStore(Store, SyncMixin):
    """A session as a store for Zarr: reads see its base snapshot and its own changes.

    Get one from `Session.store`; it cannot be made in another way. Chunks, groups and arrays of
    Zarr format 3 are what it can hold, nothing else: a key that no such hierarchy has is an
    `InvalidInputError`.

    Safe to use from several threads and event loops. What needs no I/O, or a small local file,
    is done in place; everything else in a thread.
    """

    _engine: EngineSession

    def __init__(
        self, store: EngineSession, read_only: bool | None = None, *args: Any, **kwargs: Any
    ) -> None:
        if not isinstance(store, EngineSession):
            raise TypeError(f"a store is made by `Session.store`, not from an instance of {type(store)}")
        super().__init__(read_only=store.is_read_only if read_only is None else read_only)
        self._engine = store
        self._is_far = store.assets.locality is Locality.REMOTE

    @property
    def session(self) -> Session:
        """The session that this store reads and writes through."""
        # The two doors import each other.
        from icechunk.session import session_of

        return session_of(self._engine)

    @property
    def read_only(self) -> bool:
        """Whether writes are refused: by this store, or by its session, as after a commit."""
        return self._read_only or self._engine.is_read_only

    def with_read_only(self, read_only: bool = False) -> IcechunkStore:
        """Return a store over the same session that refuses writes, or does not."""
        return IcechunkStore(self._engine, read_only=read_only)

    def __eq__(self, value: object) -> bool:
        """Whether both are stores of one session: the very same, not an equal one."""
        return isinstance(value, IcechunkStore) and value._engine is self._engine

    def __hash__(self) -> int:
        return hash((IcechunkStore, id(self._engine)))

    def __copy__(self) -> Self:
        # Of another session, as a copy that was pickled: see `Session`.
        made = type(self).__new__(type(self))
        made.__dict__.update(self.__dict__)
        made._engine = copy(self._engine)
        return made

    def _block(self) -> Block:
        engine = self._engine
        return Block(
            "icechunk.IcechunkStore",
            [
                ("read_only", str(self.read_only)),
                ("snapshot_id", str(engine.snapshot_id)),
                ("branch", str(engine.branch)),
            ],
        )

    def __repr__(self) -> str:
        return self._block().text()

    def __str__(self) -> str:
        return self._block().text()

    def _repr_html_(self) -> str:
        return html(self._block())

    # -- what the store can do ----------------------------------------------------------------------

    @property
    def supports_writes(self) -> bool:
        """True."""
        return True

    @property
    def supports_deletes(self) -> bool:
        """True."""
        return True

    @property
    def supports_listing(self) -> bool:
        """True."""
        return True

    @property
    def supports_partial_writes(self) -> Literal[False]:
        """False: a chunk is written as a whole."""
        return False

    @property
    def supports_consolidated_metadata(self) -> bool:
        """False: all metadata of a snapshot is in one file anyway."""
        return False

    @property
    def _supports_sync_io(self) -> bool:
        # Zarr's fused pipeline asks this. From remote storage it would read chunk after chunk with
        # the synchronous methods; without them it keeps several requests in flight.
        return not self._is_far

    # -- reading ------------------------------------------------------------------------------------

    async def get(
        self, key: str, prototype: BufferPrototype, byte_range: ByteRequest | None = None
    ) -> Buffer | None:
        """Return the value of a key, or a part of it; `None` if the key does not exist.

        One GET for a native chunk, none otherwise, once snapshot and manifest are in the cache. A
        range that ends behind the value is cut off there.

        Raises
        ------
        InvalidInputError
            No repository can have such a key, or the range starts after its end.
        StorageError
            Storage failed, or the chunk is virtual and there is no fetcher for it.
        """
        engine = self._engine
        found = engine.find(key)
        if found is NOT_LOADED:
            found = await self._load(key)
        if found is None:
            return None
        if self._is_far and isinstance(found, NativeRef):
            return await run_io(self._value, found, prototype, byte_range)
        return self._value(found, prototype, byte_range)

    def get_sync(
        self,
        key: str,
        *,
        prototype: BufferPrototype | None = None,
        byte_range: ByteRequest | None = None,
    ) -> Buffer | None:
        """As `get`, blocking."""
        engine = self._engine
        found = engine.find(key)
        if found is NOT_LOADED:
            found = engine.load(key)
        if found is None:
            return None
        if prototype is None:
            prototype = default_buffer_prototype()
        if byte_range is None and type(found) is NativeRef and prototype.buffer is cpu.Buffer:
            # What `_value` does with it, in less time: this is on the path of every chunk read.
            id, start, length = found
            return cpu.Buffer(np.frombuffer(engine.assets.fetch_chunk(id, start, start + length), np.uint8))
        return self._value(found, prototype, byte_range)

    def _value(
        self, found: bytes | ChunkRef, prototype: BufferPrototype, byte_range: ByteRequest | None
    ) -> Buffer:
        data: bytes | memoryview
        if isinstance(found, NativeRef):
            start = found.offset
            if byte_range is None:
                stop = start + found.length
            else:
                first, last = _span(byte_range, found.length)
                stop = start + last
                start += first
            data = self._engine.assets.fetch_chunk(found.chunk_id, start, stop)
        else:
            if isinstance(found, InlineRef):
                data = found.data
            elif isinstance(found, VirtualRef):
                raise _no_fetcher(found)
            else:
                data = found
            if byte_range is not None:
                first, last = _span(byte_range, len(data))
                data = data[first:last]
        buffer = prototype.buffer
        if buffer is cpu.Buffer:
            # What `from_bytes` does, in less time.
            return cpu.Buffer(np.frombuffer(data, np.uint8))
        return buffer.from_bytes(data)

    async def get_partial_values(
        self,
        prototype: BufferPrototype,
        key_ranges: Iterable[tuple[str, ByteRequest | None]],
    ) -> builtins.list[Buffer | None]:
        """Return the values, or parts of them, of several keys, in order; `None` where there is none."""
        if not self._is_far:
            return [await self.get(key, prototype, part) for key, part in key_ranges]
        return await asyncio.gather(*(self.get(key, prototype, part) for key, part in key_ranges))

    async def exists(self, key: str) -> bool:
        """Whether a key has a value."""
        return await self._find(key) is not None

    async def getsize(self, key: str) -> int:
        """Return the size of a value in bytes. Reads no chunk.

        Raises
        ------
        NodeNotFoundError
            There is no such key. The error is a FileNotFoundError, too.
        """
        return _size(key, await self._find(key))

    async def getsize_prefix(self, prefix: str) -> int:
        """Return the total size in bytes of the values in a directory. Reads no chunk.

        Raises
        ------
        InvalidInputError
            `prefix` has ``..`` in it.
        """
        _check_prefix(prefix)
        return await self._run(self._size_within, prefix)

    def _size_within(self, prefix: str) -> int:
        engine = self._engine
        return sum(_size(key, engine.load(key)) for key in listing.keys_within(engine, prefix))

    async def _find(self, key: str) -> Found:
        found = self._engine.find(key)
        return await self._load(key) if found is NOT_LOADED else found

    async def _load(self, key: str) -> Found:
        return await run_io(self._engine.load, key)

    # -- writing ------------------------------------------------------------------------------------

    async def set(self, key: str, value: Buffer) -> None:
        """Set a metadata document or a chunk.

        A chunk that is larger than the threshold for inline chunks is written to storage at once,
        under a new name: one PUT. Everything else stays in memory until the commit.

        Raises
        ------
        InvalidInputError
            No repository can have such a key; the document is no metadata of Zarr format 3; the
            chunk is empty, or outside of the array's grid.
        NodeNotFoundError
            A chunk of an array that does not exist.
        AlreadyExistsError
            The document of a group where an array is, or the reverse.
        ReadOnlyError
            The store or its session is read-only. For Zarr's sake it is a ValueError, too.
        """
        data, size_bytes = self._writable_data(value)
        engine = self._engine
        if self._is_far:
            in_place = engine.is_loaded and size_bytes <= engine.assets.settings.inline_chunk_threshold_bytes
        else:
            in_place = size_bytes < _LARGE_BYTES
        if in_place:
            writing.set_key(engine, key, data, size_bytes)
        else:
            await run_io(writing.set_key, engine, key, data, size_bytes)

    async def _set_many(self, values: Iterable[tuple[str, Buffer]]) -> None:
        # Zarr's sets all of them at once. In threads they come in any order, but an array must be
        # there before its chunks.
        chunks = []
        for key, value in values:
            if key.endswith("zarr.json"):
                await self.set(key, value)
            else:
                chunks.append((key, value))
        await asyncio.gather(*(self.set(key, value) for key, value in chunks))

    def set_sync(self, key: str, value: Buffer) -> None:
        """As `set`, blocking."""
        data, size_bytes = self._writable_data(value)
        writing.set_key(self._engine, key, data, size_bytes)

    async def set_if_not_exists(self, key: str, value: Buffer) -> None:
        """Set a key that has no value yet; one that has keeps it."""
        if await self._find(key) is None:
            await self.set(key, value)

    async def set_partial_values(
        self, key_start_values: Iterable[tuple[str, int, bytes | bytearray | memoryview]]
    ) -> None:
        """Raise an error: a chunk cannot be changed in part."""
        raise SessionStateError(
            "store method `set_partial_values` is not implemented by Icechunk",
            kind=ErrorKind.UNIMPLEMENTED,
        )

    async def delete(self, key: str) -> None:
        """Delete a chunk, or a node and everything below it. A key that does not exist is no error.

        Raises
        ------
        InvalidInputError
            No repository can have such a key.
        ReadOnlyError
            The store is read-only; or its session is, and the deletion would be a change: of a node
            that exists, or of a chunk that lies in the grid of its array.
        """
        await self._run(self.delete_sync, key)

    def delete_sync(self, key: str) -> None:
        """As `delete`, blocking."""
        if not self._engine.is_read_only:
            self._check_writable()
        # A read-only session refuses by itself, if there is anything to record.
        writing.delete_key(self._engine, key)

    async def delete_dir(self, prefix: str) -> None:
        """Delete a node with everything below it, or the chunks in a directory of an array's chunks.

        Raises
        ------
        ReadOnlyError
            The store or its session is read-only.
        """
        self._check_writable()
        await self._run(writing.delete_directory, self._engine, prefix)

    async def clear(self) -> None:
        """Delete everything.

        Raises
        ------
        ReadOnlyError
            The store is read-only; or its session is, and there is something to delete.
        """
        await self._run(self.sync_clear)

    def sync_clear(self) -> None:
        """As `clear`, blocking."""
        engine = self._engine
        if engine.is_read_only:
            if not listing.is_empty(engine, ""):
                raise ReadOnlyError(NOT_WRITABLE, kind=ErrorKind.READ_ONLY_SESSION)
            return
        self._check_writable()
        writing.delete_everything(engine)

    def _check_writable(self) -> None:
        if self._read_only or self._engine.is_read_only:
            raise StoreReadOnlyError(
                "cannot write to read-only store: store was opened in read-only mode and does not "
                "support writing",
                kind=ErrorKind.READ_ONLY_STORE,
            )

    def _writable_data(self, value: Buffer) -> tuple[memoryview, int]:
        """Return the bytes of a value, without a copy, if they may be written."""
        self._check_writable()
        if not isinstance(value, Buffer):
            raise TypeError(
                f"IcechunkStore.set(): `value` must be a Buffer instance. Got an instance of {type(value)} "
                "instead."
            )
        data = memoryview(value.as_numpy_array())
        return data, data.nbytes

    # -- all chunks ---------------------------------------------------------------------------------

    def array_chunk_iterator(self, array_path: str, batch_size: int = 100_000) -> ChunkIterator:
        """Iterate over all chunks of an array, in batches. Reads no chunk.

        Parameters
        ----------
        array_path
            The path of an array, with or without a slash in front. If there is no array, the iterator is
            empty.
        batch_size
            The most chunks in one batch.

        Returns
        -------
        ChunkIterator
            Yields, with `for` as well as with `async for`, tuples of

            * coordinates in the chunk grid: uint32 of shape (number of chunks, number of dimensions);
            * kinds: uint8, 1 for native, 2 for virtual, 3 for inline chunks;
            * for each chunk the location of a virtual one, the id of a native one, or an empty string;
            * offsets and lengths in bytes: uint64;
            * a dict with the content of the inline chunks, by their row in this batch.
        """
        path = text("array_path", array_path)
        return ChunkIterator(chunk_batches(self._engine, path, checked_batch_size(batch_size)))

    # -- listing ------------------------------------------------------------------------------------

    async def list(self) -> AsyncIterator[str]:
        """Iterate over all keys."""
        async for key in self.list_prefix(""):
            yield key

    async def list_prefix(self, prefix: str) -> AsyncIterator[str]:
        """Iterate over the keys in a directory and below.

        `prefix` is the path of a node, of nothing but the parent of nodes, or of a directory of
        chunks, with or without a slash behind; a string that keys just happen to begin with yields
        nothing.

        Raises
        ------
        InvalidInputError
            `prefix` has ``..`` in it.
        """
        _check_prefix(prefix)
        engine = self._engine
        if self._is_far:
            for key in await run_io(lambda: [*listing.keys_within(engine, prefix)]):
                yield key
        else:
            for key in listing.keys_within(engine, prefix):
                yield key

    async def list_dir(self, prefix: str) -> AsyncIterator[str]:
        """Iterate over the names that are directly in a directory.

        Raises
        ------
        InvalidInputError
            `prefix` has ``..`` in it.
        """
        _check_directory(prefix)
        for name in await self._run(listing.names_in, self._engine, prefix):
            yield name

    async def is_empty(self, prefix: str) -> bool:
        """Whether there is nothing in a directory.

        Raises
        ------
        InvalidInputError
            `prefix` has ``..`` in it.
        """
        _check_directory(prefix)
        return await self._run(listing.is_empty, self._engine, prefix)

    async def _run(self, function: Callable[P, R], *args: P.args, **kwargs: P.kwargs) -> R:
        """Do what may read snapshots and manifests: in place if they are near, else in a thread."""
        if self._is_far:
            return await run_io(function, *args, **kwargs)
        return function(*args, **kwargs)


class ChunkIterator:
    """Batches of chunks of an array, for `for` and `async for`; see `IcechunkStore.array_chunk_iterator`."""

    def __init__(self, batches: Iterator[ChunkBatch]) -> None:
        self._batches = batches

    def __iter__(self) -> ChunkIterator:
        return self

    def __next__(self) -> ChunkBatch:
        return next(self._batches)

    def __aiter__(self) -> ChunkIterator:
        return self

    async def __anext__(self) -> ChunkBatch:
        batch = await run_io(next, self._batches, None)
        if batch is None:
            raise StopAsyncIteration
        return batch

    async def aclose(self) -> None:
        """Yield nothing more."""
        self._batches = iter(())


def checked_batch_size(batch_size: int) -> int:
    """Check how many items somebody wants at a time."""
    size = index(batch_size)
    if size < 1:
        raise ValueError(f"batch_size is at least 1, not {size}")
    return size


def _check_prefix(prefix: str) -> None:
    """Refuse a prefix that leads upwards: no key begins like that."""
    if normal_path(prefix) is None:
        raise InvalidInputError(
            f"bad key prefix ({prefix}): Cannot convert to a path, as it has `..` in it",
            kind=ErrorKind.BAD_KEY_PREFIX,
        )


def _check_directory(prefix: str) -> None:
    """As `_check_prefix`, with the kind that the reference has for questions about one directory."""
    if normal_path(prefix) is None:
        raise InvalidInputError(
            f"could not create path from prefix: `{prefix}` has `..` in it", kind=ErrorKind.INVALID_PATH
        )


def _span(byte_range: ByteRequest, size: int) -> tuple[int, int]:
    """Return the first byte of a range of a value, and the one after its last."""
    if isinstance(byte_range, RangeByteRequest):
        start, stop = byte_range.start, byte_range.end
        if not 0 <= start <= stop:
            raise InvalidInputError(
                f"byte range Bounded({start}..{stop}) is none: it must not be negative, nor end before "
                "it starts",
                kind=ErrorKind.INVALID_BYTE_RANGE,
            )
        return min(start, size), min(stop, size)
    if isinstance(byte_range, OffsetByteRequest):
        return min(max(0, byte_range.offset), size), size
    if isinstance(byte_range, SuffixByteRequest):
        return max(0, size - max(0, byte_range.suffix)), size
    raise TypeError(f"Unexpected byte_range, got {byte_range}.")


def _size(key: str, found: Found) -> int:
    if found is None:
        raise KeyNotFoundError(f"key not found at `{key}`", kind=ErrorKind.NODE_NOT_FOUND)
    if isinstance(found, bytes):
        return len(found)
    if isinstance(found, InlineRef):
        return len(found.data)
    return found.length


def _no_fetcher(ref: VirtualRef) -> StorageError:
    scheme = ref.location.partition(":")[0]
    return StorageError(
        f"error fetching virtual reference: `{ref.location}` is outside of the repository, and there is "
        f"no chunk fetcher for `{scheme}` in this version of the library",
        kind=ErrorKind.VIRTUAL_CHUNK_FETCH,
    )

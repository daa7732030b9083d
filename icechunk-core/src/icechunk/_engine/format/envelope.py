"""The envelope of every metadata file: a header, then a compressed payload.

Spec v2, "Binary File Format". Files come from anybody, so a payload is never given more memory than a
file of its size can deserve.
"""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING, Final, TypeAlias

import zstandard

from icechunk._engine.format.header import (
    DEFAULT_WRITER,
    HEADER_SIZE_BYTES,
    FileHeader,
    FileType,
    check_file_type,
    invalid_file,
)

if TYPE_CHECKING:
    from collections.abc import Iterable

Buffer: TypeAlias = bytes | bytearray | memoryview

# FlatBuffers end here.
MAX_PAYLOAD_BYTES: Final = 2**31 - 1

# What a small file may grow to, and by how much a large one. Identifiers are random bytes, so real files
# shrink 3 to 100 times; a zstd bomb grows 30,000 times.
SMALL_PAYLOAD_BYTES: Final = 64 * 2**20
MAX_EXPANSION: Final = 1024

# From four bytes zstd makes a block of 128 KiB at most.
_MOST_OUTPUT_OF_ONE_BYTE: Final = 2**15

# Payloads in pieces that are smaller than this are joined first: one call, and a copy that costs nothing.
_JOIN_BELOW_BYTES: Final = 2**18

# Contexts cost more than the work on a small file, and serve one thread at a time.
_contexts = threading.local()

# One repository uses one or two.
_LEVELS_AT_ONCE: Final = 4


def open_file(data: Buffer, file_type: FileType, *, name: str) -> tuple[FileHeader, memoryview]:
    """Check the header of a file and decompress its payload.

    Parameters
    ----------
    data
        The whole file.
    file_type
        What the file must hold.
    name
        The object's path, for messages.

    Raises
    ------
    FormatError
        No Icechunk file, of another type, of a newer version, damaged, cut off, or a bomb.
    """
    view = memoryview(data)
    if view.ndim != 1 or view.itemsize != 1:
        view = view.cast("B")
    header = FileHeader.decode(view, name=name)
    check_file_type(header, file_type, name=name)
    return header, decompress(view[HEADER_SIZE_BYTES:], name=name)


def decompress(data: memoryview, *, name: str) -> memoryview:
    """Decompress one or several zstd frames, with or without their content size, within bounds.

    Raises
    ------
    FormatError
        `data` is damaged, cut off, or would grow beyond what a file of its size can hold.
    """
    limit = min(MAX_PAYLOAD_BYTES, max(SMALL_PAYLOAD_BYTES, MAX_EXPANSION * len(data)))
    try:
        size = zstandard.frame_content_size(data)
    except zstandard.ZstdError as error:
        raise invalid_file(name, f"no zstd frame behind the header ({error})") from error
    if size > limit:
        raise invalid_file(
            name, f"{len(data)} bytes claim to decompress to {size}, at most {limit} are allowed"
        )
    if size > 0:
        try:
            return memoryview(_decompressor().decompress(data, allow_extra_data=False))
        except zstandard.ZstdError:
            # Damaged, or more than one frame. Which of the two, the slower way finds out.
            pass
    return _decompress_frames(data, limit, name)


def _decompress_frames(data: memoryview, limit: int, name: str) -> memoryview:
    # A bytearray, because growing one moves pages and does not copy them.
    payload = bytearray()
    # The window of a frame may be as large as its content, not larger than all that we would accept.
    decompressor = zstandard.ZstdDecompressor(max_window_size=max(limit, 2**27))
    position = 0
    while position < len(data):
        frame = decompressor.decompressobj()
        while not frame.eof:
            if position >= len(data):
                raise invalid_file(name, "the compressed payload is cut off")
            # So little at once that even a bomb cannot overshoot the limit by much.
            end = position + max(64, (limit - len(payload)) // _MOST_OUTPUT_OF_ONE_BYTE)
            try:
                payload += frame.decompress(data[position:end])
            except (zstandard.ZstdError, MemoryError) as error:
                raise invalid_file(name, f"the compressed payload is damaged ({error})") from error
            if len(payload) > limit:
                raise invalid_file(name, f"{len(data)} bytes decompress to more than the allowed {limit}")
            position = min(end, len(data))
        position -= len(frame.unused_data)
    return memoryview(payload).toreadonly()


def seal_file(
    pieces: Buffer | Iterable[Buffer],
    file_type: FileType,
    spec_version: int,
    *,
    level: int = 3,
    writer: str | None = None,
) -> bytes:
    """Return a file: header, and the payload `pieces` in one zstd frame with content size.

    Large pieces are not joined first, so the payload is never in memory twice.
    """
    header = FileHeader(
        writer=DEFAULT_WRITER if writer is None else writer, spec_version=spec_version, file_type=file_type
    ).encode()
    if not isinstance(pieces, bytes | bytearray | memoryview):
        pieces = list(pieces)
        total = sum(map(len, pieces))
        if total >= _JOIN_BELOW_BYTES:
            frame = _compressor(level).compressobj(size=total)
            compressed = [header]
            compressed.extend(frame.compress(piece) for piece in pieces)
            compressed.append(frame.flush())
            return b"".join(compressed)
        pieces = b"".join(pieces)
    return header + _compressor(level).compress(pieces)


def _decompressor() -> zstandard.ZstdDecompressor:
    found: zstandard.ZstdDecompressor | None = getattr(_contexts, "decompressor", None)
    if found is None:
        found = _contexts.decompressor = zstandard.ZstdDecompressor()
    return found


def _compressor(level: int) -> zstandard.ZstdCompressor:
    # More than there is means as much as there is, as for the reference.
    level = min(level, zstandard.MAX_COMPRESSION_LEVEL)
    compressors: dict[int, zstandard.ZstdCompressor] | None = getattr(_contexts, "compressors", None)
    if compressors is None:
        compressors = _contexts.compressors = {}
    found = compressors.get(level)
    if found is None:
        if len(compressors) >= _LEVELS_AT_ONCE:
            compressors.clear()
        found = compressors[level] = zstandard.ZstdCompressor(level=level)
    return found

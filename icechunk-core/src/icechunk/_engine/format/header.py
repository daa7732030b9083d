"""The 39 bytes in front of every metadata file, and the error for files that are not valid.

Spec v2, "Binary File Format".
"""

from __future__ import annotations

import struct
from dataclasses import dataclass
from enum import IntEnum
from typing import Final

from icechunk._version import CLIENT_NAME
from icechunk.errors import ErrorKind, FormatError

MAGIC: Final = "ICE🧊CHUNK".encode()
MAX_SPEC_VERSION: Final = 2
DEFAULT_WRITER: Final = CLIENT_NAME

_LAYOUT: Final = struct.Struct("<12s24sBBB")  # magic, writer, spec version, file type, compression
HEADER_SIZE_BYTES: Final = _LAYOUT.size


class FileType(IntEnum):
    """What a file holds. Attributes and chunk are reserved and never used."""

    SNAPSHOT = 1
    MANIFEST = 2
    ATTRIBUTES = 3
    TRANSACTION_LOG = 4
    CHUNK = 5
    REPO_INFO = 6

    @property
    def title(self) -> str:
        """The name in messages: `RepoInfo`."""
        return self.name.title().replace("_", "")


class Compression(IntEnum):
    """How the payload is compressed. Icechunk reads and writes zstd only."""

    NONE = 0
    ZSTD = 1


def invalid_file(name: str, problem: str) -> FormatError:
    """Return the error that says what is wrong with the content of the object `name`."""
    return FormatError(
        f"Invalid Icechunk metadata file: `{name}`: {problem}",
        kind=ErrorKind.INVALID_FILE_FORMAT,
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class FileHeader:
    """Who wrote a file, by which version of the specification, and what it holds."""

    writer: str
    spec_version: int
    file_type: FileType
    compression: Compression = Compression.ZSTD

    def encode(self) -> bytes:
        """Return the header's bytes. A long writer's name is cut to 24 bytes."""
        writer = self.writer.encode()[:24].decode(errors="ignore").encode().ljust(24)
        return _LAYOUT.pack(MAGIC, writer, self.spec_version, self.file_type, self.compression)

    @classmethod
    def decode(cls, buffer: memoryview | bytes, *, name: str) -> FileHeader:
        """Read a header from the start of `buffer`, which may be longer.

        Raises
        ------
        FormatError
            `buffer` is too short, is no Icechunk file, or is of a newer spec version.
        """
        if len(buffer) < HEADER_SIZE_BYTES:
            raise _unreadable(
                f"invalid icechunk header size, got {len(buffer)} bytes, "
                f"expected at least {HEADER_SIZE_BYTES}",
                name,
            )
        # Files by the same writer begin with the same bytes, and some works read thousands.
        start = bytes(buffer[:HEADER_SIZE_BYTES])
        known = _decoded.get(start)
        if known is not None:
            return known
        magic, writer, spec_version, type_code, compression = _LAYOUT.unpack(start)
        if magic != MAGIC:
            raise _unreadable("invalid magic numbers in file", name)
        if not 1 <= spec_version <= MAX_SPEC_VERSION:
            raise FormatError(
                f"this repository uses Icechunk format version {spec_version}, but this library "
                f"only supports up to version {MAX_SPEC_VERSION}. Please upgrade the icechunk "
                f"library (found in `{name}`)",
                kind=ErrorKind.UNSUPPORTED_SPEC_VERSION,
            )
        try:
            file_type = FileType(type_code)
        except ValueError:
            problem = f"Icechunk encountered an unknown file type code {type_code}"
            raise _unreadable(problem, name) from None
        if compression != Compression.ZSTD:
            raise _unreadable("Icechunk cannot read file, invalid compression algorithm", name)
        header = cls(
            writer=writer.decode(errors="replace").rstrip(" \0"),
            spec_version=spec_version,
            file_type=file_type,
        )
        if len(_decoded) < _REMEMBERED:
            _decoded[start] = header
        return header


_decoded: dict[bytes, FileHeader] = {}
_REMEMBERED: Final = 64


def check_file_type(header: FileHeader, expected: FileType, *, name: str) -> None:
    """Raise FormatError unless the file holds what is expected."""
    if header.file_type != expected:
        raise _unreadable(
            f"Icechunk cannot read this file type, expected {expected.title} got {header.file_type.value}",
            name,
        )


def _unreadable(problem: str, name: str) -> FormatError:
    # Programs match the leading words; the object's name follows.
    return FormatError(f"{problem}: `{name}`", kind=ErrorKind.INVALID_FILE_FORMAT)

"""Identifiers: random bytes, written as Crockford base 32 text.

Spec v2, "Identifiers". The text keeps the order of the bytes, so sorting either way agrees.
"""

from __future__ import annotations

import os
import re
from typing import TYPE_CHECKING, ClassVar, Final, Self

import numpy as np

from icechunk.errors import ErrorKind, FormatError, InvalidInputError

ALPHABET: Final = "0123456789ABCDEFGHJKMNPQRSTVWXYZ"

if TYPE_CHECKING:
    from icechunk._engine.format.arrays import ByteColumn

_LETTERS: Final = np.frombuffer(ALPHABET.encode(), np.uint8)
_BIT_VALUES: Final = np.array([16, 8, 4, 2, 1], np.uint8)

# Ten bits at a time: half the look-ups of one character at a time, and still a small table.
_PAIRS: Final = tuple(first + second for first in ALPHABET for second in ALPHABET)

# `int(text, 32)` knows 0-9 and a-v; Crockford leaves out letters that look like digits, and reads them as those.
_TO_BASE_32: Final = str.maketrans(
    ALPHABET + ALPHABET.lower() + "ILOilo",
    "0123456789abcdefghijklmnopqrstuv" * 2 + "110110",
)
_TEXT: Final = re.compile("[0-9A-TV-Za-tv-z]*", re.ASCII)


class _Id(bytes):
    """What all identifiers share. The constructor takes the raw bytes and does not check them."""

    __slots__ = ()

    size_bytes: ClassVar[int]
    text_length: ClassVar[int]
    _kind: ClassVar[str]

    @classmethod
    def random(cls) -> Self:
        """Make an identifier that nobody has used."""
        return cls(os.urandom(cls.size_bytes))

    @classmethod
    def parse(cls, text: str) -> Self:
        """Read the text form, in upper or lower case.

        Raises
        ------
        FormatError
            `text` is no identifier of this kind. For a `SnapshotId`, which users type, it is an
            InvalidInputError.
        """
        if len(text) != cls.text_length or _TEXT.fullmatch(text) is None:
            raise cls._not_an_id(text)
        # The reference ignores the bits that only pad the last character; so do we.
        padding = 5 * cls.text_length - 8 * cls.size_bytes
        number = int(text.translate(_TO_BASE_32), 32) >> padding
        return cls(number.to_bytes(cls.size_bytes, "big"))

    @classmethod
    def _not_an_id(cls, text: str) -> Exception:
        return FormatError(f"invalid {cls._kind} id: `{text}`", kind=ErrorKind.INVALID_FILE_FORMAT)

    def __repr__(self) -> str:
        return f"{type(self).__name__}({str(self)!r})"


class ObjectId12(_Id):
    """The name of an object: a snapshot (and its transaction log), a manifest or a chunk."""

    __slots__ = ()

    size_bytes = 12
    text_length = 20
    _kind = "object"

    def __str__(self) -> str:
        # Written out, and in parts that fit one digit of Python's integers: this is on the path of
        # every native chunk. base64 with a translation takes twice as long.
        number = int.from_bytes(self, "big")
        a = number >> 66
        b = number >> 36 & 0x3FFFFFFF
        c = number >> 6 & 0x3FFFFFFF
        pairs = _PAIRS
        return (
            f"{pairs[a >> 20]}{pairs[a >> 10 & 1023]}{pairs[a & 1023]}"
            f"{pairs[b >> 20]}{pairs[b >> 10 & 1023]}{pairs[b & 1023]}"
            f"{pairs[c >> 20]}{pairs[c >> 10 & 1023]}{pairs[c & 1023]}"
            f"{pairs[(number & 63) << 4]}"
        )


class SnapshotId(ObjectId12):
    """The name of a snapshot, and of its transaction log."""

    __slots__ = ()

    _kind = "snapshot"

    @classmethod
    def _not_an_id(cls, text: str) -> Exception:
        return InvalidInputError(f"invalid snapshot id: `{text}`", kind=ErrorKind.INVALID_SNAPSHOT_ID)


class ManifestId(ObjectId12):
    """The name of a manifest."""

    __slots__ = ()

    _kind = "manifest"


class ChunkId(ObjectId12):
    """The name of a native chunk."""

    __slots__ = ()

    _kind = "chunk"


class NodeId(_Id):
    """The identity of a group or an array, kept through updates and moves."""

    __slots__ = ()

    size_bytes = 8
    text_length = 13
    _kind = "node"

    def __str__(self) -> str:
        number = int.from_bytes(self, "big") << 1
        pairs = _PAIRS
        return (
            f"{pairs[number >> 55]}{pairs[number >> 45 & 1023]}{pairs[number >> 35 & 1023]}"
            f"{pairs[number >> 25 & 1023]}{pairs[number >> 15 & 1023]}{pairs[number >> 5 & 1023]}"
            f"{ALPHABET[number & 31]}"
        )


INITIAL_SNAPSHOT_ID: Final = SnapshotId.parse("1CECHNKREP0F1RSTCMT0")
"""The first snapshot of every repository."""


def texts_of(ids: ByteColumn) -> list[str]:
    """Return the text of many identifiers, of shape (n, bytes of each); a fifth of the time of one by one."""
    bits = np.unpackbits(ids, axis=1)
    digits = -(-bits.shape[1] // 5)
    padded = np.zeros((len(ids), digits * 5), np.uint8)
    padded[:, : bits.shape[1]] = bits
    letters = _LETTERS[padded.reshape(len(ids), digits, 5) @ _BIT_VALUES]
    texts: list[str] = letters.view(f"S{digits}").ravel().astype(f"U{digits}").tolist()
    return texts

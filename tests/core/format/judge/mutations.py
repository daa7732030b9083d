"""The corpus of real files, and one mutated file for each number: the same seed gives the same files.

Most files are changed after decompression and sealed again, as a mutated frame nearly always fails its own
checks and would test zstd instead of us.
"""

from __future__ import annotations

import random
import zipfile
from dataclasses import dataclass
from pathlib import Path

import zstandard

from tests.core.format.judge.records import FILE_TYPES, HEADER_BYTES, open_envelope

CORPUS = Path(__file__).parent / "corpus.zip"
TEXT_KINDS = ("ref_json", "config_yaml")
PLAIN_WORDS = (0, 1, 2, 3, 4, 8, 0x7FFF_FFFF, 0x8000_0000, 0xFFFF_FFFF, 0xFFFF_FFFC)
PIECES_OF_TEXT = (
    b"!",
    b"!s3 ",
    b"&a ",
    b"*a",
    b"<<: ",
    b": ",
    b"- ",
    b"{",
    b"}",
    b"[",
    b"]",
    b"\n",
    b"\t",
    b"null",
    b"~",
    b"1e999",
    b".nan",
    b"0o17",
    b"2001-01-01",
    b"\xff",
    b"\x00",
    b"'",
    b'"',
    b"|",
    b"?",
    b"%",
    b"@",
)


@dataclass(frozen=True, slots=True)
class Original:
    """One real file: what it is, and what is in its envelope (text kinds have none)."""

    name: str
    kind: str
    spec_version: int
    data: bytes
    payload: bytes

    @classmethod
    def of(cls, name: str, data: bytes) -> Original:
        kind, version = name.split("-")[:2]
        payload = open_envelope(data, kind)[2] if kind in FILE_TYPES else data
        return cls(name, kind, int(version[1:]), data, payload)


@dataclass(frozen=True, slots=True)
class Mutant:
    """A file to decode, where it comes from, and what was done to it."""

    kind: str
    spec_version: int
    origin: str
    data: bytes
    changes: tuple[str, ...]


def load_corpus(path: Path = CORPUS) -> list[Original]:
    with zipfile.ZipFile(path) as archive:
        return [Original.of(name, archive.read(name)) for name in archive.namelist()]


class Mutator:
    """Makes mutant number `n`; each file type and spec version gets the same share of the numbers."""

    def __init__(self, originals: list[Original], seed: int) -> None:
        self.seed = seed
        groups: dict[tuple[str, int], list[Original]] = {}
        for original in originals:
            groups.setdefault((original.kind, original.spec_version), []).append(original)
        # Texts are short, and mostly somebody else's parser: a fifth of the share of the others.
        self.groups = [
            g for key, g in sorted(groups.items()) for _ in range(1 if key[0] in TEXT_KINDS else 5)
        ]
        self.compressor = zstandard.ZstdCompressor(level=1)
        self.streaming = zstandard.ZstdCompressor(level=1, write_content_size=False)

    def mutant(self, number: int) -> Mutant:
        rng = random.Random(f"{self.seed}/{number}")
        original = rng.choice(rng.choice(self.groups))
        if original.kind in TEXT_KINDS:
            data, changes = mutate_text(original.payload, rng)
        elif rng.random() < 0.1:
            data, changes = mutate(original.data, rng)
            changes = ["sealed", *changes]
        else:
            payload, changes = mutate(original.payload, rng)
            header = original.data[:HEADER_BYTES]
            if rng.random() < 0.02:
                # A v1 file that says it is v2, and the reverse.
                header = header[:36] + bytes([3 - header[36]]) + header[37:]
                changes = ["other spec version", *changes]
            data = header + self.seal(payload, rng)
        return Mutant(original.kind, original.spec_version, original.name, data, tuple(changes))

    def seal(self, payload: bytes, rng: random.Random) -> bytes:
        form = rng.random()
        if form < 0.9:
            return self.compressor.compress(payload)
        if form < 0.95:
            return self.streaming.compress(payload)
        middle = rng.randrange(len(payload) + 1)
        return self.streaming.compress(payload[:middle]) + self.streaming.compress(payload[middle:])


def mutate(data: bytes, rng: random.Random) -> tuple[bytes, list[str]]:
    """One to four changes, mostly one: the first mistake found hides the next."""
    out = bytearray(data)
    changes = []
    for _ in range(rng.choice((1, 1, 1, 1, 2, 2, 3, 4))):
        if not out:
            break
        changes.append(rng.choice(_CHANGES)(out, rng))
    return bytes(out), changes


def _bit(out: bytearray, rng: random.Random) -> str:
    at, bit = rng.randrange(len(out)), rng.randrange(8)
    out[at] ^= 1 << bit
    return f"bit {bit} of byte {at} flipped"


def _byte(out: bytearray, rng: random.Random) -> str:
    at = rng.randrange(len(out))
    out[at] = rng.choice((0, 1, 2, 4, 127, 128, 255, rng.randrange(256)))
    return f"byte {at} = {out[at]}"


def _place(out: bytearray, width: int, rng: random.Random) -> int:
    """Where a word lies: aligned mostly, as the real ones are."""
    at = rng.randrange(len(out))
    if rng.random() < 0.85:
        at -= at % min(width, 4)
    return max(0, min(at, len(out) - width))


def _word(out: bytearray, rng: random.Random) -> str:
    width = rng.choice((2, 2, 4, 4, 4, 4, 8))
    at = _place(out, width, rng)
    limit = 1 << 8 * width
    choice = rng.randrange(5)
    if choice == 0:
        value = rng.choice(PLAIN_WORDS)
    elif choice == 1:  # an offset to somewhere in the file
        value = rng.randrange(len(out) + 8)
    elif choice == 2:  # an offset from here to somewhere in the file
        value = rng.randrange(len(out) + 8) - at
    elif choice == 3:  # a little more or less than what was there
        old = int.from_bytes(out[at : at + width], "little")
        value = old + rng.choice((-8, -4, -2, -1, 1, 2, 4, 8))
    else:
        value = rng.randrange(limit) if rng.random() < 0.3 else limit - 1
    out[at : at + width] = (value % limit).to_bytes(width, "little")[: len(out) - at]
    return f"{width} bytes at {at} = {value % limit}"


def _slice(out: bytearray, rng: random.Random) -> tuple[int, int]:
    size = rng.choice((1, 2, 4, 4, 8, 8, 12, 16, 24, rng.randrange(1, 200)))
    at = rng.randrange(len(out))
    if rng.random() < 0.7:
        at -= at % 4
    return at, min(size, len(out) - at)


def _remove(out: bytearray, rng: random.Random) -> str:
    at, size = _slice(out, rng)
    del out[at : at + size]
    return f"{size} bytes at {at} removed"


def _double(out: bytearray, rng: random.Random) -> str:
    at, size = _slice(out, rng)
    out[at:at] = out[at : at + size]
    return f"{size} bytes at {at} doubled"


def _copy(out: bytearray, rng: random.Random) -> str:
    at, size = _slice(out, rng)
    to = rng.randrange(len(out))
    to -= to % 4
    size = min(size, len(out) - to)
    out[to : to + size] = out[at : at + size]
    return f"{size} bytes at {at} copied over {to}"


def _swap(out: bytearray, rng: random.Random) -> str:
    """Two words change places: tables out of order, an offset that belongs to another field."""
    width = rng.choice((4, 8, 12))
    a, b = _place(out, width, rng), _place(out, width, rng)
    one, other = bytes(out[a : a + width]), bytes(out[b : b + width])
    if len(one) == len(other) == width:
        out[a : a + width], out[b : b + width] = other, one
    return f"{width} bytes at {a} and {b} swapped"


def _truncate(out: bytearray, rng: random.Random) -> str:
    size = rng.randrange(len(out)) if rng.random() < 0.5 else max(0, len(out) - rng.randrange(1, 17))
    del out[size:]
    return f"cut to {size} bytes"


def _extend(out: bytearray, rng: random.Random) -> str:
    more = rng.choice((bytes(rng.randrange(1, 40)), rng.randbytes(rng.randrange(1, 40))))
    out += more
    return f"{len(more)} bytes more"


_CHANGES = (_bit, _bit, _byte, _word, _word, _word, _word, _remove, _double, _copy, _swap, _truncate, _extend)


def mutate_text(data: bytes, rng: random.Random) -> tuple[bytes, list[str]]:
    out = bytearray(data)
    changes = []
    for _ in range(rng.choice((1, 1, 2, 3))):
        if not out:
            break
        if rng.random() < 0.5:
            at, piece = rng.randrange(len(out)), rng.choice(PIECES_OF_TEXT)
            end = at + rng.choice((0, 0, 1, len(piece)))
            out[at:end] = piece
            changes.append(f"{piece!r} at {at}")
        else:
            changes.append(rng.choice((_bit, _byte, _remove, _double, _copy, _truncate))(out, rng))
    return bytes(out), changes

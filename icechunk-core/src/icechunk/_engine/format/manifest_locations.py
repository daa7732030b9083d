"""Locations of virtual chunks that are compressed one by one with a dictionary of the manifest.

Spec v2, "Virtual chunk location compression".
"""

from __future__ import annotations

import threading
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, Self

import numpy as np
import zstandard

from icechunk._engine.format.byte_strings import ByteStrings
from icechunk._engine.format.header import invalid_file

if TYPE_CHECKING:
    from collections.abc import Sequence

    from icechunk._engine.format.arrays import AnyColumn, BoolColumn, ByteColumn, Positions

# The reference reads no longer ones, so nobody can have written them.
MAX_LOCATION_BYTES: Final = 1024


@dataclass(frozen=True, slots=True, kw_only=True)
class LocationCompression:
    """Whether and how locations are compressed when a manifest is written.

    Locations that refs share are stored once, which saves more than compression does. So it is done only
    where most refs have a location of their own, and their text is long (`min_text_bytes`): otherwise the
    file gets larger, and every look-up pays for it.
    """

    min_num_refs: int = 1000
    min_text_bytes: int = 40_000_000
    max_training_samples: int = 100
    max_dictionary_bytes: int = 2048
    level: int = 3


class LocationDictionary:
    """Decompresses locations. Safe for use from several threads.

    Parameters
    ----------
    dictionary
        What the manifest has; None for frames without a dictionary.
    name
        The manifest's path, for messages.
    """

    def __init__(self, dictionary: bytes | None, *, name: str) -> None:
        self.content = dictionary
        self._name = name
        self._lock = threading.Lock()
        self._decompressor: zstandard.ZstdDecompressor | None = None

    def decompress(self, frame: memoryview | bytes) -> bytes:
        """Return one location.

        Raises
        ------
        FormatError
            It is damaged, or too long.
        """
        try:
            # zstd trusts the size that the frame claims, and would get that much memory.
            if zstandard.frame_content_size(frame) > MAX_LOCATION_BYTES:
                raise self._error(f"is longer than {MAX_LOCATION_BYTES} bytes")
            with self._lock:
                if self._decompressor is None:
                    self._decompressor = self._new_decompressor()
                return self._decompressor.decompress(
                    frame, max_output_size=MAX_LOCATION_BYTES, allow_extra_data=False
                )
        except (zstandard.ZstdError, MemoryError) as error:
            raise self._error(f"cannot be decompressed ({error})") from error

    def decompress_all(self, data: ByteColumn, starts: Positions, lengths: Positions) -> ByteStrings:
        """Return many locations, each a frame of `lengths[i]` bytes at `starts[i]` in `data`."""
        view = memoryview(data)
        return ByteStrings.of(
            self.decompress(view[start : start + length])
            for start, length in zip(starts.tolist(), lengths.tolist(), strict=True)
        )

    def _new_decompressor(self) -> zstandard.ZstdDecompressor:
        if self.content is None:
            return zstandard.ZstdDecompressor()
        return zstandard.ZstdDecompressor(dict_data=zstandard.ZstdCompressionDict(self.content))

    def _error(self, problem: str) -> Exception:
        return invalid_file(self._name, f"a compressed location {problem}")


class MaybeCompressedStrings(ByteStrings):
    """Locations as they lie in a manifest, some of them compressed: decompressed when asked for."""

    __slots__ = ("compressed", "dictionary")

    def __init__(
        self,
        data: ByteColumn,
        starts: Positions,
        lengths: Positions,
        *,
        compressed: BoolColumn,
        dictionary: LocationDictionary,
        name: str,
    ) -> None:
        super().__init__(data, starts, lengths, name=name)
        self.compressed = compressed
        self.dictionary = dictionary

    def __getitem__(self, index: int | slice) -> bytes | Self:  # type: ignore[override]
        found = super().__getitem__(index)
        if isinstance(found, bytes) and self.compressed[index]:
            return self.dictionary.decompress(found)
        return found

    def plain(self) -> ByteStrings:
        """Return the same strings, decompressed."""
        rows = np.flatnonzero(self.compressed)
        unpacked = self.dictionary.decompress_all(self.data, self.starts[rows], self.lengths[rows])
        if len(rows) == len(self):
            return unpacked
        # Mixed: the unpacked strings first, the others behind them.
        rest = ~self.compressed
        others = ByteStrings(self.data, self.starts[rest], self.lengths[rest]).compact()
        starts, lengths = np.empty(len(self), np.int64), np.empty(len(self), np.int64)
        starts[rows], lengths[rows] = unpacked.starts, unpacked.lengths
        starts[rest], lengths[rest] = others.starts + len(unpacked.data), others.lengths
        return ByteStrings(np.concatenate([unpacked.data, others.data]), starts, lengths, name=self.name)

    def compact(self) -> Self:
        """Return the same strings, compressed as they are, in a buffer that holds nothing else."""
        inner = ByteStrings(self.data, self.starts, self.lengths).compact()
        return type(self)(
            inner.data,
            inner.starts,
            inner.lengths,
            compressed=self.compressed,
            dictionary=self.dictionary,
            name=self.name,
        )

    def joined(self, parts: Sequence[ByteStrings]) -> Self | None:
        """Return the strings of all parts, compressed as they are; None if they have several dictionaries."""
        compressed = []
        for part in parts:
            if not isinstance(part, MaybeCompressedStrings):
                compressed.append(np.zeros(len(part), np.bool_))
            elif part.dictionary is self.dictionary or not part.compressed.any():
                compressed.append(part.compressed)
            else:
                return None
        compact = [ByteStrings(part.data, part.starts, part.lengths).compact() for part in parts]
        lengths = np.concatenate([part.lengths for part in compact])
        return type(self)(
            np.concatenate([part.data for part in compact]),
            np.cumsum(lengths) - lengths,
            lengths,
            compressed=np.concatenate(compressed),
            dictionary=self.dictionary,
            name=self.name,
        )

    def _selected(self, rows: slice | AnyColumn) -> Self:
        return type(self)(
            self.data,
            self.starts[rows],
            self.lengths[rows],
            compressed=self.compressed[rows],
            dictionary=self.dictionary,
            name=self.name,
        )


def compress_locations(
    locations: ByteStrings, num_refs: int, config: LocationCompression
) -> tuple[bytes, ByteStrings, BoolColumn] | None:
    """Train a dictionary and compress distinct locations, where that is worth it.

    Returns
    -------
    tuple or None
        The dictionary, all strings, and which of them are compressed; None to leave all as they are.
    """
    if num_refs < config.min_num_refs or 2 * len(locations) <= num_refs:
        return None
    locations = locations.plain()
    if int(locations.lengths.sum()) <= config.min_text_bytes:
        return None
    # Evenly spread instead of drawn at random: the same refs make the same file.
    count = min(len(locations), config.max_training_samples)
    picked = np.linspace(0, len(locations) - 1, count).astype(np.int64)
    samples: list[bytes | bytearray | memoryview] = [locations[row] for row in picked.tolist()]
    if 2 * sum(len(sample) < 8 for sample in samples) >= len(samples):
        return None
    total = sum(map(len, samples))
    if total < config.max_dictionary_bytes:
        samples *= config.max_dictionary_bytes // total + 2
    try:
        dictionary = zstandard.train_dictionary(config.max_dictionary_bytes, samples)
    except zstandard.ZstdError:
        return None  # too little, or too little alike
    # Longer ones could not be read back.
    fits = locations.lengths <= MAX_LOCATION_BYTES
    compressor = zstandard.ZstdCompressor(
        level=min(config.level, zstandard.MAX_COMPRESSION_LEVEL), dict_data=dictionary
    )
    compress = compressor.compress
    texts = [compress(text) if fit else text for text, fit in zip(locations, fits.tolist(), strict=True)]
    return dictionary.as_bytes(), ByteStrings.of(texts), fits

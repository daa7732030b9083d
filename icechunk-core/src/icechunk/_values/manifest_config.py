"""How manifests are written and read: loaded ahead, split, and their locations compressed."""

from __future__ import annotations

from typing import TYPE_CHECKING

from icechunk._values.checks import instance, integer, required, unsigned
from icechunk._values.conditions import (
    ManifestPreloadCondition,
    ManifestSplitCondition,
    ManifestSplitDimCondition,
)
from icechunk._values.settings import Field, Settings

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping
    from typing import Any

__all__ = [
    "ManifestConfig",
    "ManifestPreloadConfig",
    "ManifestSplittingConfig",
    "ManifestVirtualChunkLocationCompressionConfig",
    "SplitSizes",
]

if TYPE_CHECKING:
    #: Rules, in order: which arrays, and for them, which dimensions are cut into how many chunks a piece.
    SplitSizes = list[tuple[ManifestSplitCondition, list[tuple[ManifestSplitDimCondition, int]]]]

_u16 = unsigned(16)
_u32 = unsigned(32)
_array_condition = required(instance(ManifestSplitCondition))
_dimension_condition = required(instance(ManifestSplitDimCondition))
_num_chunks = required(_u32)


class ManifestPreloadConfig(Settings):
    """Which manifests are loaded ahead when a session is opened.

    Parameters
    ----------
    max_total_refs
        How many chunk refs to load at most, in all.
    preload_if
        What a manifest must fulfil. Unset, small arrays that are named like coordinates.
    max_arrays_to_scan
        How many arrays of a snapshot are looked at.
    """

    __slots__ = ()
    __module__ = "icechunk.config"

    max_total_refs = Field(_u32, default=10_000)
    preload_if = Field(instance(ManifestPreloadCondition))
    max_arrays_to_scan = Field(_u32, default=50)

    def __init__(
        self,
        max_total_refs: int | None = None,
        preload_if: ManifestPreloadCondition | None = None,
        max_arrays_to_scan: int | None = None,
    ) -> None:
        self.max_total_refs = max_total_refs
        self.preload_if = preload_if
        self.max_arrays_to_scan = max_arrays_to_scan


def _split_sizes(_name: str, value: Any) -> SplitSizes | None:
    if value is None:
        return None
    if isinstance(value, str):
        raise TypeError("split_sizes must be a sequence of rules, got str")
    return [
        (
            _array_condition("condition", condition),
            [
                (_dimension_condition("dimension", dimension), _num_chunks("num_chunks", size))
                for dimension, size in sizes
            ],
        )
        for condition, sizes in value
    ]


def _copied(rules: SplitSizes | None) -> SplitSizes | None:
    return None if rules is None else [(condition, list(sizes)) for condition, sizes in rules]


class ManifestSplittingConfig(Settings):
    """How the refs of large arrays are distributed over several manifests.

    Parameters
    ----------
    split_sizes
        For each condition on arrays, a list of conditions on dimensions with a number of chunks. An
        array is cut by every rule that matches it, in order, and a dimension by the first that fits.
    """

    __slots__ = ()
    __module__ = "icechunk.config"

    split_sizes = Field(_split_sizes, copied=_copied)

    def __init__(
        self,
        split_sizes: Iterable[tuple[ManifestSplitCondition, Iterable[tuple[ManifestSplitDimCondition, int]]]]
        | None = None,
    ) -> None:
        self.split_sizes = _split_sizes("split_sizes", split_sizes)

    @staticmethod
    def from_dict(
        split_sizes: Mapping[ManifestSplitCondition, Mapping[ManifestSplitDimCondition, int]],
    ) -> ManifestSplittingConfig:
        """Make the settings from nested dicts. The order of their items is the order of the rules."""
        return ManifestSplittingConfig(
            [(condition, list(sizes.items())) for condition, sizes in split_sizes.items()]
        )

    def to_dict(
        config: ManifestSplittingConfig,  # noqa: N805  # the API that we follow calls it so
    ) -> dict[ManifestSplitCondition, dict[ManifestSplitDimCondition, int]]:
        """Give the rules as nested dicts. Of two rules with one condition, the last is left."""
        return {condition: dict(sizes) for condition, sizes in config.split_sizes or ()}

    def __deepcopy__(self, _memo: object) -> ManifestSplittingConfig:
        # The check copies the lists, and what is in them is immutable.
        return ManifestSplittingConfig(self.split_sizes)


class ManifestVirtualChunkLocationCompressionConfig(Settings):
    """When and how the locations of virtual chunks are compressed with a dictionary.

    Parameters
    ----------
    min_num_chunks
        Manifests with fewer virtual chunks keep their locations as they are.
    dictionary_max_training_samples, dictionary_max_size_bytes
        From how many locations the dictionary is made, and how large it may become.
    compression_level
        Zstandard's level.
    """

    __slots__ = ()
    __module__ = "icechunk.config"

    min_num_chunks = Field(_u16, default=1000)
    dictionary_max_training_samples = Field(_u16, default=100)
    dictionary_max_size_bytes = Field(_u32, default=2048)
    compression_level = Field(integer(-(2**31), 2**31 - 1), default=3)

    def __init__(
        self,
        min_num_chunks: int | None = None,
        *,
        dictionary_max_training_samples: int | None = None,
        dictionary_max_size_bytes: int | None = None,
        compression_level: int | None = None,
    ) -> None:
        self.min_num_chunks = min_num_chunks
        self.dictionary_max_training_samples = dictionary_max_training_samples
        self.dictionary_max_size_bytes = dictionary_max_size_bytes
        self.compression_level = compression_level


def _one_manifest_an_array() -> ManifestSplittingConfig:
    everything = [(ManifestSplitDimCondition.any(), 2**32 - 1)]
    return ManifestSplittingConfig([(ManifestSplitCondition.path_matches(".*"), everything)])


class ManifestConfig(Settings):
    """How manifests are written and read."""

    __slots__ = ()
    __module__ = "icechunk.config"

    preload = Field(instance(ManifestPreloadConfig), default=ManifestPreloadConfig)
    splitting = Field(instance(ManifestSplittingConfig), default=_one_manifest_an_array)
    virtual_chunk_location_compression = Field(
        instance(ManifestVirtualChunkLocationCompressionConfig),
        default=ManifestVirtualChunkLocationCompressionConfig,
        merges=True,
    )
    max_concurrent_manifest_fetches_during_commit = Field(_u16, default=1)

    def __init__(
        self,
        preload: ManifestPreloadConfig | None = None,
        splitting: ManifestSplittingConfig | None = None,
        virtual_chunk_location_compression: ManifestVirtualChunkLocationCompressionConfig | None = None,
        max_concurrent_manifest_fetches_during_commit: int | None = None,
    ) -> None:
        self.preload = preload
        self.splitting = splitting
        self.virtual_chunk_location_compression = virtual_chunk_location_compression
        self.max_concurrent_manifest_fetches_during_commit = max_concurrent_manifest_fetches_during_commit

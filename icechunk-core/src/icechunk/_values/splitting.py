"""Where the manifests of an array are cut: from the rules of a configuration to edges in chunk space.

Spec v2, "Manifest splitting". For each rule whose condition fits the array, in order, each axis that no
rule has decided yet takes the first of the rule's dimension conditions that fits it. Axes that nothing
decides stay whole.
"""

from __future__ import annotations

import re
from functools import lru_cache
from typing import TYPE_CHECKING

from icechunk._values.conditions import (
    ManifestSplitCondition,
    ManifestSplitDimCondition,
    SplitAnd,
    SplitAnyArray,
    SplitAnyDimension,
    SplitAxis,
    SplitDimensionName,
    SplitNameMatches,
    SplitOr,
    SplitPathMatches,
)

if TYPE_CHECKING:
    from collections.abc import Sequence

    from icechunk._values.repository_config import RepositoryConfig

__all__ = ["box_edges", "is_found", "matches_array", "matches_dimension"]

# Expressions are of the syntax of Rust's regex crate. What can be translated is: names of groups, and the
# end of the text.
_RUST_GROUP = r"\(\?<(?=[A-Za-z_])"
_RUST_END = r"\\z"
# What only one of the two languages has (looking around, back references; operations on sets of characters)
# matches nothing, like every invalid expression.
_NOT_IN_RUST = r"\\[1-9Z]|\(\?(?:<?[=!]|P=|>|\(|#)|\{,"
_NOT_IN_PYTHON = r"(?<!\\)\[(?:\\.|[^\]\\])*?(?:\[|--|&&|~~|\|\|)"


def box_edges(
    config: RepositoryConfig,
    path: str,
    num_chunks: Sequence[int],
    dimension_names: Sequence[str | None] | None,
) -> tuple[tuple[int, ...], ...]:
    """Say where the manifests of an array are cut.

    Parameters
    ----------
    config
        Whose rules to follow.
    path
        The array's.
    num_chunks
        How many chunks there are along each axis.
    dimension_names
        The names of the axes, those that have one.

    Returns
    -------
    tuple[tuple[int, ...], ...]
        For each axis, ascending edges from 0 to its number of chunks. Two that follow each other are a
        half-open range of chunks; the product of the ranges of all axes are the boxes, each of which has a
        manifest of its own.
    """
    manifest = config.manifest
    splitting = None if manifest is None else manifest.splitting
    rules = None if splitting is None else splitting.split_sizes
    if not rules:
        return tuple([(0, count) for count in num_chunks])
    names = dimension_names or [None] * len(num_chunks)
    sizes: dict[int, int] = {}
    for condition, dimensions in rules:
        if len(sizes) == len(num_chunks):
            break
        if not matches_array(condition, path):
            continue
        for axis, name in enumerate(names):
            if axis not in sizes:
                for dimension, size in dimensions:
                    if matches_dimension(dimension, axis, name):
                        sizes[axis] = size
                        break
    return tuple([_edges(count, sizes.get(axis, count)) for axis, count in enumerate(num_chunks)])


def _edges(count: int, size: int) -> tuple[int, ...]:
    # The reference crashes on a size of 0. Not to cut comes nearest to what can be meant.
    if size == 0 or size >= count:
        return (0, count)
    return (*range(0, count, size), count)


def matches_array(condition: ManifestSplitCondition, path: str) -> bool:
    """Whether a condition fits the array at a path."""
    match condition:
        case SplitAnyArray():
            return True
        case SplitOr():
            return any(matches_array(each, path) for each in condition.conditions)
        case SplitAnd():
            return all(matches_array(each, path) for each in condition.conditions)
        case SplitPathMatches():
            return is_found(condition.regex, path)
        case SplitNameMatches():
            return is_found(condition.regex, path.rpartition("/")[2])
    return False


def matches_dimension(condition: ManifestSplitDimCondition, axis: int, name: str | None) -> bool:
    """Whether a condition fits an axis with a number and possibly a name."""
    match condition:
        case SplitAnyDimension():
            return True
        case SplitAxis():
            return condition.number == axis
        case SplitDimensionName():
            return name is not None and is_found(condition.regex, name)
    return False


def is_found(regex: str, text: str) -> bool:
    """Whether an expression, in the syntax of Rust, is found in a text. An invalid one is found nowhere."""
    compiled = _compiled(regex)
    return compiled is not None and compiled.search(text) is not None


@lru_cache(maxsize=256)
def _compiled(regex: str) -> re.Pattern[str] | None:
    """Compile an expression; None, which matches nothing, if it is invalid."""
    if re.search(_NOT_IN_RUST, regex) or re.search(_NOT_IN_PYTHON, regex):
        return None
    try:
        return re.compile(re.sub(_RUST_END, r"\\Z", re.sub(_RUST_GROUP, "(?P<", regex)))
    except (re.error, RecursionError, OverflowError):
        return None

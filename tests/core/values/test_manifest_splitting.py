"""Where manifests are cut. The boxes are those that the reference makes."""

from __future__ import annotations

import pytest
from hypothesis import given, settings, strategies as st

from icechunk._values.splitting import box_edges, matches_array, matches_dimension
from icechunk.config import (
    ManifestConfig,
    ManifestSplitCondition,
    ManifestSplitDimCondition,
    ManifestSplittingConfig,
    RepositoryConfig,
)
from tests.core.values.value_strategies import splittings

S, D = ManifestSplitCondition, ManifestSplitDimCondition


def config(rules: dict[ManifestSplitCondition, dict[ManifestSplitDimCondition, int]]) -> RepositoryConfig:
    return RepositoryConfig(manifest=ManifestConfig(splitting=ManifestSplittingConfig.from_dict(rules)))


@pytest.mark.parametrize(
    ("rules", "names", "expected"),
    [
        ({}, None, ((0, 10), (0, 6))),
        ({S.AnyArray(): {D.Any(): 4}}, None, ((0, 4, 8, 10), (0, 4, 6))),
        ({S.AnyArray(): {D.Axis(0): 3}}, None, ((0, 3, 6, 9, 10), (0, 6))),
        ({S.AnyArray(): {D.Any(): 9, D.Axis(0): 2}}, None, ((0, 9, 10), (0, 6))),
        (
            {S.path_matches("a$"): {D.DimensionName("^y$"): 2}, S.AnyArray(): {D.Any(): 5}},
            ["x", "y"],
            ((0, 5, 10), (0, 2, 4, 6)),
        ),
        ({S.path_matches("[a"): {D.Any(): 4}}, None, ((0, 10), (0, 6))),
        ({S.AnyArray(): {D.DimensionName(""): 4}}, ["x", None], ((0, 4, 8, 10), (0, 6))),
        ({S.AnyArray(): {D.Axis(9): 4}}, None, ((0, 10), (0, 6))),
        ({S.or_conditions([]): {D.Any(): 4}}, None, ((0, 10), (0, 6))),
        ({S.and_conditions([]): {D.Any(): 4}}, None, ((0, 4, 8, 10), (0, 4, 6))),
        ({S.AnyArray(): {D.Any(): 0}}, None, ((0, 10), (0, 6))),
        ({S.AnyArray(): {D.Any(): 2**32 - 1}}, None, ((0, 10), (0, 6))),
    ],
)
def test_an_array_of_ten_by_six_chunks(
    rules: dict[ManifestSplitCondition, dict[ManifestSplitDimCondition, int]],
    names: list[str | None] | None,
    expected: tuple[tuple[int, ...], ...],
) -> None:
    assert box_edges(config(rules), "/g/a", (10, 6), names) == expected


def test_without_rules_nothing_is_cut() -> None:
    assert box_edges(RepositoryConfig(), "/a", (10, 0), None) == ((0, 10), (0, 0))
    assert box_edges(RepositoryConfig(), "/a", (), None) == ()


@pytest.mark.parametrize(
    ("regex", "found"),
    [
        ("a$", True),
        ("^a", False),
        ("^/g", True),
        ("(?<n>a)", True),
        ("(?P<n>a)", True),
        ("(?i)A", True),
        (r"a\z", True),
        (r"\A/", True),
        (r"[^/]+$", True),
        (r"a|b", True),
        ("(?=a)", False),
        ("(?<=g)/a", False),
        (r"(/)g\1a", False),
        (r"a\Z", False),
        ("(?#c)a", False),
        ("[a", False),
        ("x{,2}", False),
        ("*", False),
    ],
)
def test_expressions_are_those_of_rust(regex: str, found: bool) -> None:
    assert matches_array(S.path_matches(regex), "/g/a") is found


@pytest.mark.parametrize("regex", ["[[:alpha:]]", "[a&&b]", "[a--b]", "[a~~b]", r"\pL", r"\u{61}"])
def test_what_python_cannot_express_matches_nothing(regex: str) -> None:
    assert not matches_array(S.path_matches(regex), "/g/a")


def test_a_name_is_the_last_part_of_a_path() -> None:
    assert matches_array(S.name_matches("^b$"), "/a/b")
    assert not matches_array(S.name_matches("a"), "/a/b")
    assert matches_array(S.name_matches("^$"), "/")


def test_only_an_axis_with_a_name_has_a_matching_name() -> None:
    assert matches_dimension(D.DimensionName("x"), 0, "lax")
    assert not matches_dimension(D.DimensionName(""), 0, None)
    assert matches_dimension(D.Axis(1), 1, None)


@settings(max_examples=60, deadline=None)
@given(splittings, st.lists(st.integers(0, 50), max_size=4))
def test_edges_cover_the_array_without_overlap(
    splitting: ManifestSplittingConfig, num_chunks: list[int]
) -> None:
    rules = RepositoryConfig(manifest=ManifestConfig(splitting=splitting))
    edges = box_edges(rules, "/a", num_chunks, None)
    for axis, count in zip(edges, num_chunks, strict=True):
        assert (axis[0], axis[-1]) == (0, count)
        assert count == 0 or list(axis) == sorted(set(axis))


def test_rules_are_changed_by_assigning_them_only() -> None:
    rules = [(S.AnyArray(), [(D.Any(), 4)])]
    splitting = ManifestSplittingConfig(rules)
    for seen in (rules, splitting.split_sizes or []):
        seen[0][1].append((D.Axis(0), 2))
        seen.append((S.path_matches("a"), []))
    assert splitting.split_sizes == [(S.AnyArray(), [(D.Any(), 4)])]
    splitting.split_sizes = [(S.AnyArray(), [])]
    assert splitting.split_sizes == [(S.AnyArray(), [])]

"""Names of branches and tags that users choose, as files of spec version 1."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

import icechunk
from tests.interop.reference import Side

NAMES = [
    "é日",
    "a#1",
    "50%",
    "[z]",
    "<q>",
    "a~b",
    "a b",
    "x=1+2",
    'quo"te',
    "back`tick",
    "tab\tbed",
    "main.2",
]


@pytest.mark.parametrize(("writer", "reader"), [("ours", "reference"), ("reference", "ours")])
def test_each_finds_what_the_other_has_named(
    side: Callable[[str], Side], writer: str, reader: str, tmp_path: Path
) -> None:
    side(writer).call("name_programs:create", str(tmp_path / "other"), NAMES)
    found = side(reader).call("name_programs:use", str(tmp_path / "other"), NAMES)
    side(reader).call("name_programs:create", str(tmp_path / "own"), NAMES)
    assert found == side(reader).call("name_programs:use", str(tmp_path / "own"), NAMES)
    assert [answer[0] for answer in found.values()] == ["2"] * len(NAMES)
    assert [answer[2:] for answer in found.values()] == [
        ["branch-update-conflict", "tag-already-exists", "tag-already-exists"]
    ] * len(NAMES)
    # Decision 0001, 6: listed as they were given.
    repo = icechunk.Repository.open(icechunk.local_filesystem_storage(str(tmp_path / "other")))
    assert repo.list_branches() == {"main", *NAMES}
    assert repo.list_tags() == set(NAMES)

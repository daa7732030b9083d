"""Pictures of histories: what does not need the reference to judge."""

from __future__ import annotations

from typing import Any
from xml.etree import ElementTree as ET

import pytest

import icechunk
from icechunk import AncestryGraph, Repository
from icechunk._display.graph_layout import Commit, lay_out


def commit(repo: Repository, message: str, branch: str = "main") -> str:
    return repo.writable_session(branch).commit(message, allow_empty=True)


@pytest.fixture(params=[2, 1], ids=["spec 2", "spec 1"])
def repo(request: pytest.FixtureRequest) -> Repository:
    return Repository.create(icechunk.in_memory_storage(), spec_version=request.param)


def rows(graph: AncestryGraph) -> list[str]:
    return str(graph).splitlines()


def elements(graph: AncestryGraph) -> list[ET.Element]:
    return list(ET.fromstring(graph._repr_svg_()))


def test_a_graph_is_made_by_a_repository() -> None:
    with pytest.raises(TypeError, match="made by the library"):
        AncestryGraph()


def test_branches_stand_side_by_side(repo: Repository) -> None:
    first = commit(repo, "first")
    repo.create_branch("side", first)
    repo.create_tag("v1", first)
    other = commit(repo, "other", "side")
    last = commit(repo, "last")
    assert rows(repo.ancestry_graph(plain=True)) == [
        f"●   {last[:8]} (main) last",
        "│   ",
        f"│ ● {other[:8]} (side) other",
        "│ │ ",
        f"●─╯ {first[:8]} (v1) first",
        "│   ",
        "●   1CECHNKR Repository initialized",
    ]


def test_the_column_of_a_tag_or_a_snapshot_has_no_name(repo: Repository) -> None:
    first = commit(repo, "first")
    repo.create_tag("v1", first)
    commit(repo, "second")
    expected = [f"● {first[:8]} (v1) first", "│ ", "● 1CECHNKR Repository initialized"]
    assert rows(repo.ancestry_graph(tag="v1", plain=True)) == expected
    assert rows(repo.ancestry_graph(snapshot_id=first, plain=True)) == expected


def test_colours_are_the_only_difference_to_the_plain_form(repo: Repository) -> None:
    repo.create_branch("side", commit(repo, "first"))
    commit(repo, "other", "side")
    coloured = str(repo.ancestry_graph())
    assert "\x1b[38;2;183;228;0m●\x1b[0m" in coloured
    while "\x1b" in coloured:
        before, _, rest = coloured.partition("\x1b[")
        coloured = before + rest.partition("m")[2]
    assert coloured == str(repo.ancestry_graph(plain=True))


@pytest.mark.parametrize(
    ("message", "title"),
    [
        ("one\ntwo", "one"),
        ("\r\ntwo", ""),
        ("x" * 60, "x" * 60),
        ("x" * 61, "x" * 57 + "..."),
        ("é" * 61, "é" * 57 + "..."),
        ("a\tb", "a\tb"),
        ("\x1b[2Jgone\x07", "\ufffd[2Jgone\ufffd"),
        ("\u202eright to left", "\ufffdright to left"),
    ],
)
def test_of_a_message_the_first_line_is_shown_without_what_terminals_obey(
    repo: Repository, message: str, title: str
) -> None:
    id = commit(repo, message)
    graph = repo.ancestry_graph(plain=True)
    assert rows(graph)[0] == f"● {id[:8]} (main) {title}"
    texts = [element.text for element in elements(graph) if element.tag.endswith("text")]
    assert texts[:2] == [id[:8], "main"]
    assert title.replace("\t", " ") in {texts[2], ""}


def test_names_and_messages_are_no_markup(repo: Repository) -> None:
    name = '<b>&"'
    repo.create_branch(name, commit(repo, "<script>"))
    commit(repo, "</svg>&amp;", name)
    texts = {element.text for element in elements(repo.ancestry_graph()) if element.tag.endswith("text")}
    assert texts >= {"<script>", "</svg>&amp;", name}


def test_of_a_long_history_the_newest_are_shown(repo: Repository) -> None:
    repo.create_branch("old", commit(repo, "first"))
    commit(repo, "on old", "old")
    for number in range(110):
        commit(repo, f"commit {number}")
    graph = repo.ancestry_graph(plain=True)
    assert rows(graph)[-1] == "  ... (showing 100 of 113 snapshots)"
    assert len(rows(graph)) == 200
    drawn = elements(graph)
    assert sum(element.tag.endswith("circle") for element in drawn) == 100
    assert drawn[-1].text == "... (showing 100 of 113 snapshots)"


def test_what_has_no_commits_is_empty() -> None:
    graph = AncestryGraph._of(lay_out([], {}), plain=True)
    assert str(graph) == "(empty history)\n"
    assert [element.text for element in elements(graph)] == ["(empty history)"]


@pytest.mark.parametrize("num_columns", range(1, 9))
def test_every_line_of_a_picture_is_inside_of_it(num_columns: int) -> None:
    columns = [
        (
            column,
            [
                Commit(f"{column}-{row}", f"{column}-{row - 1}" if row else "0-0", 100 * row + column, "m")
                for row in reversed(range(30))
            ],
        )
        for column in range(num_columns)
    ]
    columns[0][1][-1] = columns[0][1][-1]._replace(parent_id=None)
    graph = AncestryGraph._of(lay_out(columns, {}), plain=True)
    root = ET.fromstring(graph._repr_svg_())
    width, height = float(root.attrib["width"]), float(root.attrib["height"])
    for element in root:
        places: dict[str, Any] = dict(element.attrib)
        for x in ("x", "x1", "x2", "cx"):
            assert 0 <= float(places.get(x, 0)) <= width
        for y in ("y", "y1", "y2", "cy"):
            assert 0 <= float(places.get(y, 0)) <= height

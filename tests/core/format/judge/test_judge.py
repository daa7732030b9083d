"""The judge against the stock readers, ours against the judge, and a short run of the mutation loop.

The long run is by hand: ``python -m tests.core.format.judge --count 1000000``.
"""

from __future__ import annotations

import math
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgpack
import pytest
from flatbuffers import flexbuffers
from hypothesis import given, strategies as st

from tests.core.format.judge import records
from tests.core.format.judge.comparison import examine
from tests.core.format.judge.flat import Budget, Rejected
from tests.core.format.judge.hostile import cases
from tests.core.format.judge.loop import Report, Run, run
from tests.core.format.judge.misbehaviour import DEEDS, KIND
from tests.core.format.judge.mutations import Original, load_corpus
from tests.core.format.judge.own_files import rewritten
from tests.core.format.judge.values import read_flexbuffers, read_msgpack

GOLDEN = Path(__file__).parents[3] / "interop" / "golden" / "data"

CORPUS = load_corpus()
# Within what the stock writer of FlexBuffers can do: signed integers, no huge floats, keys in ASCII.
json_values = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**63), 2**63 - 1) | st.floats(-1e30, 1e30) | st.text(),
    lambda inner: (
        st.lists(inner, max_size=6) | st.dictionaries(st.text("abc", min_size=1), inner, max_size=5)
    ),
    max_leaves=20,
)


def plain(answer: Any) -> Any:
    """All that the judge reads, as one value."""
    if callable(answer):
        return plain(answer())
    if isinstance(answer, dict):
        return {key: plain(value) for key, value in answer.items()}
    if isinstance(answer, (list, tuple)):
        return [plain(value) for value in answer]
    return answer


def judged(kind: str, data: bytes) -> Any:
    if kind == "ref_json":
        return records.ref_json(data)
    if kind == "config_yaml":
        return records.config_yaml(data)
    _, spec_version, payload = records.open_envelope(data, kind)
    if kind == "snapshot":
        return plain(records.snapshot(payload, spec_version))
    return plain(getattr(records, kind)(payload))


# -- the judge itself


@given(json_values)
def test_the_judge_reads_flexbuffers_as_the_stock_reader_does(value: Any) -> None:
    document = bytes(flexbuffers.Dumps(value))
    assert read_flexbuffers(document, Budget()) == value


@given(json_values)
def test_the_judge_reads_messagepack(value: Any) -> None:
    assert read_msgpack(msgpack.packb(value)) == value


def test_the_judge_rejects_what_lies_outside_of_the_buffer() -> None:
    with pytest.raises(Rejected):
        read_flexbuffers(b"\x09\x28\x01", Budget())
    with pytest.raises(Rejected):
        records.manifest(b"\xff\xff\xff\x7fIchk")["id"]()


def test_the_corpus_has_every_file_type_in_both_versions() -> None:
    there = {(o.kind, o.spec_version) for o in CORPUS}
    assert there == {
        *((kind, version) for kind in ("snapshot", "manifest", "transaction_log") for version in (1, 2)),
        ("repo_info", 2),
        ("ref_json", 1),
        ("config_yaml", 1),
    }


def test_the_judge_reads_what_the_corpus_was_made_of() -> None:
    by_name = {o.name: o for o in CORPUS}
    for label in ("v1-r11", "v1-r23", "v2-r20", "v2-r23"):
        whole = judged("snapshot", by_name[f"snapshot-{label}-varied1"].data)
        assert whole["message"] == "The first year"
        assert whole["metadata"]["nested"] == {"a": {"b": []}, "c": {}}
        assert [node["path"] for node in whole["nodes"]] == [
            *("/", "/navy", "/navy-old", "/navy/u", "/navy/v", "/scalar", "/time", "/unnamed")
        ]
        assert {n["path"]: n.get("shape") for n in whole["nodes"]}["/navy/v"] == [[3, 3], [2, 1], [2, 2]]


# -- ours against it


@pytest.mark.parametrize("original", CORPUS, ids=lambda o: o.name)
def test_ours_reads_in_a_file_of_the_reference_what_the_judge_reads(original: Original) -> None:
    verdict = examine(original.kind, original.data)
    assert (verdict.problems, verdict.outcome) == ([], "values")


@pytest.mark.parametrize("original", CORPUS, ids=lambda o: o.name)
def test_the_judge_reads_in_what_we_write_what_the_reference_wrote(original: Original) -> None:
    for data in rewritten(original.kind, original.data).values():
        assert without_nan(judged(original.kind, data)) == without_nan(judged(original.kind, original.data))
        verdict = examine(original.kind, data)
        assert (verdict.problems, verdict.outcome) == ([], "values")


def without_nan(value: Any) -> Any:
    if isinstance(value, dict):
        return {k: without_nan(v) for k, v in value.items()}
    if isinstance(value, list):
        return [without_nan(v) for v in value]
    return None if isinstance(value, float) and math.isnan(value) else value


def golden_files() -> Iterator[tuple[str, str, bytes]]:
    folders = {"snapshots": "snapshot", "manifests": "manifest", "transactions": "transaction_log"}
    for archive in sorted(GOLDEN.glob("*.zip")):
        with zipfile.ZipFile(archive) as opened:
            for name in sorted(opened.namelist()):
                parts = name.split("/")
                kind = folders.get(parts[-2]) if len(parts) > 1 else None
                if kind is None:
                    kind = {"repo": "repo_info", "config.yaml": "config_yaml", "ref.json": "ref_json"}.get(
                        parts[-1]
                    )
                if kind is None and parts[-2:-1] == ["overwritten"] and parts[-1].startswith("repo."):
                    kind = "repo_info"
                if kind is not None and not name.endswith("/"):
                    yield f"{archive.stem}: {name}", kind, opened.read(name)


def test_ours_reads_in_the_golden_repositories_what_the_judge_reads() -> None:
    count = 0
    for name, kind, data in golden_files():
        verdict = examine(kind, data)
        assert verdict.problems == [], name
        assert verdict.outcome in {"values", "undecided"}, name
        count += 1
    assert count > 50


# -- the loop


def assert_held(report: Report) -> None:
    told = [f"--seed {f.seed} --only {f.number}: {f.what}\n    {f.detail}" for f in report.findings[:10]]
    assert not told, "\n".join(told)


def test_the_loop_notices_whatever_goes_wrong() -> None:
    report = run(Run(seed=0, count=len(DEEDS), kinds=(KIND,)), processes=1)
    found = {DEEDS[f.number]: f.what for f in report.findings}
    assert found.keys() == {*DEEDS} - {"refuse", "answer"}
    assert "IndexError in misbehaviour.py" in found["raise"]
    assert found["lie"] == "misbehaviour: deed differs"
    assert found["crash"] == "the process died (signal 9)"
    assert "MemoryError" in found["take memory"]
    assert found["take time"] == "misbehaviour: more than a second"
    assert "does not name the object" in found["forget the name"]


def test_mutated_files_give_a_format_error_or_what_the_judge_reads() -> None:
    report = run(Run(seed=20_260, count=3_000))
    assert_held(report)
    outcomes = report.outcomes
    assert sum(outcomes.values()) == 3_000
    # Not because nothing is read, nor because nothing is broken.
    for kind in ("snapshot", "manifest", "transaction_log"):
        for version in (1, 2):
            label = f"{kind}-v{version}"
            assert outcomes[f"{label} values"] > 20
            assert outcomes[f"{label} refused"] + outcomes[f"{label} partly"] > 20


def test_files_made_to_hurt_give_a_format_error_or_what_the_judge_reads() -> None:
    report = run(Run(seed=0, count=len(cases()), kinds=("hostile",)), processes=1)
    assert_held(report)


def test_the_loop_makes_the_same_files_again() -> None:
    one, other = (Run(seed=5, count=1).mutator() for _ in range(2))
    assert [one.mutant(n) for n in range(50)] == [other.mutant(n) for n in range(50)]

"""Random programs end alike with both implementations. `python -m tests.interop.machine` runs more of them."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.interop.machine.pair import Divergence, Pair
from tests.interop.machine.replaying import replay, smallest, without_looks
from tests.interop.machine.running import run_programs
from tests.interop.reference import VARIABLE, reference_python

PROGRAMS = 10


@pytest.fixture(scope="module")
def pair() -> Iterator[Pair]:
    python = reference_python()
    if python is None:
        pytest.skip(f"{VARIABLE} names no interpreter; `tox -e interop` makes one")
    pair = Pair(python)
    yield pair
    pair.close()


@pytest.mark.parametrize("seed", range(5))
def test_a_random_program_ends_alike_with_both(pair: Pair, seed: int) -> None:
    before = pair.num_programs
    run_programs(pair, programs=PROGRAMS, seed=seed)
    assert pair.num_programs - before >= PROGRAMS


def test_a_divergence_is_found_and_made_small(pair: Pair) -> None:
    config = {"inline_threshold": 16}
    program = [
        {"do": "create", "spec_version": 2, "config": config},
        {"do": "create_branch", "name": "dev", "snapshot": "s0"},
        {"do": "open", "slot": "0", "kind": "writable", "branch": "main"},
        {"do": "set", "slot": "0", "key": "zarr.json", "document": {"zarr_format": 3, "node_type": "group"}},
        {"do": "delete", "slot": "0", "key": "a/c/0"},
        # Decision 0001, 2: the reference takes this for chunk 0.
        {"do": "set_chunk", "slot": "0", "key": "a/c/+0", "size": 1, "value": 1},
    ]
    with pytest.raises(Divergence) as caught:
        replay(pair, program)
    trace = without_looks(smallest(pair, caught.value).trace)
    assert [command["do"] for command in trace] == ["create", "open", "set_chunk"]

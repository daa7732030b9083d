"""What is refused because of its type or range is refused by both, with the same class and kind."""

from __future__ import annotations

from typing import Any

import pytest

from tests.interop import argument_programs
from tests.interop.reference import Side


@pytest.mark.parametrize(
    ("program", "args"),
    [
        ("names", (1,)),
        ("names", (2,)),
        ("paths", (1,)),
        ("paths", (2,)),
        ("places", ()),
        ("flags", ()),
        ("listings", ()),
        ("at_the_call", (1,)),
        ("at_the_call", (2,)),
    ],
)
def test_both_refuse_the_same_arguments(reference: Side, program: str, args: tuple[Any, ...]) -> None:
    ours = getattr(argument_programs, program)(*args)
    theirs = reference.call(f"argument_programs:{program}", *args)
    assert {step: without_text(outcome) for step, outcome in ours.items()} == {
        step: without_text(outcome) for step, outcome in theirs.items()
    }


@pytest.mark.parametrize("spec_version", [1, 2])
def test_both_copy_the_same_sessions(reference: Side, spec_version: int) -> None:
    ours = argument_programs.copies(spec_version)
    assert ours == reference.call("argument_programs:copies", spec_version)


@pytest.mark.parametrize("spec_version", [1, 2])
def test_both_say_that_a_diff_is_the_business_of_sessions(reference: Side, spec_version: int) -> None:
    ours = argument_programs.diffs(spec_version)
    theirs = reference.call("argument_programs:diffs", spec_version)
    assert ours.keys() == theirs.keys()
    for step, (error, kind, message) in ours.items():
        # A subclass that is ours.
        known = "StorageError" if error == "ObjectNotFoundError" else error
        # The beginning of a message is interface, its end is not.
        assert [known, kind, message[:28]] == [*theirs[step][:2], theirs[step][2][:28]], step


def without_text(outcome: Any) -> Any:
    """What is said of an argument is each one's own; the class and the kind are not."""
    return outcome[:2] if isinstance(outcome, list) and len(outcome) == 3 else outcome

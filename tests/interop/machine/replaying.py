"""Programs as lists of commands: run one again, and find the smallest that still shows a divergence.

Hypothesis shrinks the choices that made a program, and gives up after some hundred tries; the commands themselves can be left out
one by one, whatever they were drawn from. A command that has lost what it needs fails alike on both sides.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from hypothesis.errors import UnsatisfiedAssumption

from tests.interop.machine.pair import LOOKS, Divergence, Pair

Command = dict[str, Any]
SILENT: Callable[[object], None] = lambda _: None  # noqa: E731


def replay(pair: Pair, program: list[Command], *, tell: Callable[[object], None] = SILENT) -> None:
    """Run a program, and look at everything after each command.

    Raises
    ------
    Divergence
        The two sides do not answer alike.
    """
    slots: set[str] = set()
    snapshots = ["s0"]
    for command in program:
        tell(command)
        arguments = dict(command)
        do = arguments.pop("do")
        if do == "create":
            pair.begin(**arguments)
        elif do == "swap":
            slots.clear()
            pair.swap()
        else:
            answer = pair.both(do, **arguments)
            tell(answer)
            slots |= {arguments["slot"]} if do == "open" and "ok" in answer else set()
            slots |= {arguments["into"]} if do == "fork" and "ok" in answer else set()
            slots -= {arguments["slot"]} if do == "close" else {answer.get("closed")}
            snapshots += [arguments["label"]] if "label" in arguments and "ok" in answer else []
        pair.both("look_at_history")
        for slot in sorted(slots):
            pair.both("look_at_session", slot=slot)
    for label in snapshots:
        pair.both("look_at_snapshot", snapshot=label)
    pair.look_at_folders()


def smallest(pair: Pair, divergence: Divergence) -> Divergence:
    """Leave out what is not needed for a divergence, and return that of what remains.

    What differs stays the same: leaving out a command may well bring out another difference.
    """
    first, *rest = without_looks(divergence.trace)
    size = len(rest)
    while size:
        start = 0
        while start < len(rest):
            shorter = rest[:start] + rest[start + size :]
            found = _divergence(pair, [first, *shorter])
            if found is None or found.signature != divergence.signature:
                start += size
            else:
                # What came after the place where the sides parted is not needed either.
                divergence = found
                rest = without_looks(found.trace)[1:]
        size //= 2
    return divergence


def without_looks(trace: list[Command]) -> list[Command]:
    return [command for command in trace if command["do"] not in LOOKS]


def _divergence(pair: Pair, program: list[Command]) -> Divergence | None:
    try:
        replay(pair, program)
    except Divergence as divergence:
        return divergence
    except UnsatisfiedAssumption:
        # It ends in a difference that is meant.
        pass
    return None

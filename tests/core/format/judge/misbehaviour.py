"""What the loop must notice, done on purpose: a judge that never finds anything proves nothing."""

from __future__ import annotations

import os
import signal
from typing import TYPE_CHECKING

from icechunk._engine.format.header import invalid_file
from tests.core.format.judge.mutations import Mutant

if TYPE_CHECKING:
    from tests.core.format.judge.ours import Asking

KIND = "misbehaviour"
DEEDS = ["refuse", "answer", "raise", "lie", "crash", "take memory", "take time", "forget the name", "answer"]


def misbehave(ours: Asking, data: bytes) -> str:
    deed = data.decode()
    if deed == "refuse":
        raise invalid_file("the/mutant", "it is refused")
    if deed == "forget the name":
        raise invalid_file("something", "it is refused")
    if deed == "raise":
        raise IndexError("no such item")
    if deed == "crash":
        os.kill(os.getpid(), signal.SIGKILL)
    if deed == "take memory":
        ours.ask("memory", lambda: bytearray(3 * 2**29))
    while deed == "take time":
        pass
    return "a lie" if deed == "lie" else "the truth"


class Misbehaviour:
    """Stands in for a `Mutator` in the loop."""

    def mutant(self, number: int) -> Mutant:
        return Mutant(KIND, 2, "on purpose", DEEDS[number].encode(), ())

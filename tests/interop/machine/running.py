"""Running the machine: how many programs, from which seed."""

from __future__ import annotations

from hypothesis import HealthCheck, Phase, Verbosity, seed as seeded, settings
from hypothesis.stateful import run_state_machine_as_test

from tests.interop.machine import state
from tests.interop.machine.machine import Machine
from tests.interop.machine.pair import Divergence, Pair
from tests.interop.machine.replaying import smallest


def run_programs(pair: Pair, *, programs: int, seed: int, steps: int = 30) -> None:
    """Run random programs; the same for the same numbers and the same version of hypothesis.

    Raises
    ------
    Divergence
        With a program from which nothing can be left out.
    """

    @seeded(seed)
    class Seeded(Machine):
        pass

    state.PAIR[:] = [pair]
    try:
        run_state_machine_as_test(
            Seeded,
            settings=settings(
                max_examples=programs,
                stateful_step_count=steps,
                deadline=None,
                database=None,
                derandomize=False,
                print_blob=False,
                verbosity=Verbosity.quiet,
                report_multiple_bugs=False,
                # Shrinking is ours: see `replaying`.
                phases=[Phase.generate],
                suppress_health_check=list(HealthCheck),
            ),
        )
    except Divergence as divergence:
        counts = pair.num_programs, pair.num_commands
        found = smallest(pair, divergence)
        pair.num_programs, pair.num_commands = counts
        raise found from None
    finally:
        state.PAIR.clear()

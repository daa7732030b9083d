"""Run many random programs, or one again.

    python -m tests.interop.machine --programs 500 --seed 7
    python -m tests.interop.machine --replay program.jsonl

`ICECHUNK_REFERENCE_PYTHON` names the interpreter that has the reference implementation.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from pathlib import Path

from tests.interop.machine.pair import Divergence, Pair
from tests.interop.machine.replaying import replay
from tests.interop.machine.running import run_programs
from tests.interop.reference import VARIABLE, reference_python


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.interop.machine", description=__doc__)
    parser.add_argument("--programs", type=int, default=100)
    parser.add_argument("--steps", type=int, default=30)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--replay", type=Path)
    arguments = parser.parse_args()
    python = reference_python()
    if python is None:
        parser.error(f"{VARIABLE} names no interpreter")
    pair = Pair(python)
    begin = time.perf_counter()
    try:
        if arguments.replay is not None:
            program = arguments.replay.read_text(encoding="utf-8").splitlines()
            replay(pair, [json.loads(line) for line in program], tell=print)
        else:
            run_programs(pair, programs=arguments.programs, steps=arguments.steps, seed=arguments.seed)
    except Divergence as divergence:
        print(divergence)
        return 1
    finally:
        seconds = time.perf_counter() - begin
        print(
            f"{pair.num_programs} programs, {pair.num_commands} commands, {seconds:.0f} s, seed {arguments.seed}"
        )
        print(f"deliberate differences met: {pair.differences}")
        for do in sorted({do for do, _ in pair.outcomes}):
            kinds = [f"{kind} {n}" for (done, kind), n in pair.outcomes.most_common() if done == do]
            print(f"  {do}: {', '.join(kinds)}")
        pair.close()
    return 0


if __name__ == "__main__":
    sys.exit(main())

"""Decode mutated files, and see that each gives a FormatError or what the judge reads.

    python -m tests.core.format.judge --count 1000000 --processes 2 --seed 7
    python -m tests.core.format.judge --seed 7 --only 123456          one file, with its story

Each file is decoded in a child process with limits: 1 GiB of address space above what the imports took, 1 s of
CPU time. The same seed makes the same files. Exits 1 when there was anything else than a FormatError or the
judge's values, and prints how each such file can be had again.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from collections import Counter
from pathlib import Path

from tests.core.format.judge.loop import Report, Run, run


def main() -> int:
    parser = argparse.ArgumentParser(
        prog="python -m tests.core.format.judge", description=__doc__.split("\n")[0]
    )
    parser.add_argument("--count", type=int, default=20_000, help="how many files")
    parser.add_argument("--first", type=int, default=0, help="the number of the first one")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--processes", type=int, default=2)
    parser.add_argument("--kinds", nargs="*", default=[], help="only these file types, e.g. manifest")
    parser.add_argument("--keep", type=Path, help="a folder for the files that gave anything else")
    parser.add_argument("--only", type=int, help="decode one file here, without limits")
    options = parser.parse_args()
    plan = Run(seed=options.seed, first=options.first, count=options.count, kinds=tuple(options.kinds))
    if options.only is not None:
        return show(plan, options.only, options.keep)

    started = time.monotonic()
    report = run(plan, processes=options.processes, progress=print_progress)
    seconds = time.monotonic() - started
    print_report(report, seconds)
    for finding in report.findings:
        if options.keep:
            options.keep.mkdir(parents=True, exist_ok=True)
            mutant = plan.mutator().mutant(finding.number)
            (options.keep / f"{mutant.kind}-v{mutant.spec_version}-{finding.number}").write_bytes(mutant.data)
    return 1 if report.findings else 0


def show(plan: Run, number: int, keep: Path | None) -> int:
    from tests.core.format.judge.comparison import examine

    mutant = plan.mutator().mutant(number)
    print(f"{mutant.origin}: {', '.join(mutant.changes)}")
    if keep:
        keep.mkdir(parents=True, exist_ok=True)
        (keep / f"{mutant.kind}-v{mutant.spec_version}-{number}").write_bytes(mutant.data)
    verdict = examine(mutant.kind, mutant.data)
    print(json.dumps(verdict.as_dict(), indent=2, default=str))
    return 1 if verdict.problems else 0


def print_progress(done: int, count: int, findings: int, seconds: float) -> None:
    rate = done / seconds if seconds else 0
    print(
        f"{done:,} of {count:,} files, {rate:,.0f} a second, {findings} findings", file=sys.stderr, flush=True
    )


def print_report(report: Report, seconds: float) -> None:
    total = sum(report.outcomes.values())
    print(f"{total:,} files in {seconds:,.0f} s, {total / max(seconds, 1e-9):,.0f} a second")
    kinds = sorted({key.rsplit(" ", 1)[0] for key in report.outcomes})
    columns = ["refused", "partly", "values", "undecided", "finding"]
    print(f"{'':24}" + "".join(f"{name:>12}" for name in columns))
    for kind in kinds:
        print(f"{kind:24}" + "".join(f"{report.outcomes[f'{kind} {name}']:>12,}" for name in columns))
    print(f"slowest: {report.slowest_seconds * 1e3:.0f} ms (file {report.slowest_number})")
    for what, count in Counter(f.what for f in report.findings).most_common():
        first = next(f for f in report.findings if f.what == what)
        print(f"\n{count} x {what}\n    first: --seed {first.seed} --only {first.number}\n    {first.detail}")


if __name__ == "__main__":
    sys.exit(main())

"""Run the workloads in turn under two interpreters, ours and the reference's, and compare.

    python benchmarks/run.py --ours PYTHON --reference PYTHON [--rounds 4] [workload ...]

Each round runs every script once under each interpreter, one right after the other and in changing order, so that
a slow minute of the machine hits both. A figure is the median of the rounds (of each round: the median of its
repeats); a ratio is ours / reference, with the least and the greatest of the rounds beside it. Without
``--reference`` ours alone is measured. Keep the machine quiet meanwhile.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

HERE = Path(__file__).parent
# Where the pipeline of codecs makes a difference.
BOTH_PIPELINES = {"raw_chunks_16k", "inline_chunks", "raw_chunks_8m"}
WORKLOADS = [
    "raw_chunks_16k",
    "inline_chunks",
    "raw_chunks_8m",
    "get_and_exists",
    "hierarchy",
    "small_commits",
    "open_repository",
    "import_time",
    "refs_encode_decode",
]
# Longer, or of a dependency that not every environment has: by name only.
MORE_WORKLOADS = ["forks", "growth", "history", "to_icechunk"]

# What is installed comes compiled, what is in a work tree is compiled once: not each time that it is imported.
ENVIRONMENT = {k: v for k, v in os.environ.items() if k != "PYTHONDONTWRITEBYTECODE"}

# The ratios that we promise; see the README beside this file.
BARS = {
    ("raw_chunks_16k", "default", "read"): 0.3,
    ("raw_chunks_16k", "fused", "read"): 0.12,
    ("raw_chunks_16k", "default", "write"): 0.9,
    ("raw_chunks_16k", "fused", "write"): 0.5,
    ("inline_chunks", "default", "read"): 0.75,
    ("inline_chunks", "fused", "read"): 0.3,
    ("inline_chunks", "default", "write"): 0.8,
    ("inline_chunks", "fused", "write"): 0.55,
    ("raw_chunks_8m", "default", "read"): 0.4,
    ("raw_chunks_8m", "fused", "read"): 0.4,
    ("raw_chunks_8m", "default", "write"): 1.3,
    ("raw_chunks_8m", "fused", "write"): 0.8,
    ("get_and_exists", "default", "get, 16 KiB"): 0.3,
    ("get_and_exists", "default", "get, inline"): 0.3,
    ("get_and_exists", "default", "get, zarr.json"): 0.3,
    ("get_and_exists", "default", "get, missing"): 0.3,
    ("get_and_exists", "default", "exists"): 0.3,
    ("hierarchy", "default", "all"): 1.0,
    ("small_commits", "default", "commits"): 1.0,
    ("open_repository", "default", "open"): 0.7,
    ("forks", "default", "inline: unpickle, merge, commit"): 1.0,
    ("forks", "default", "native: unpickle, merge, commit"): 1.0,
}
PEAK_BAR = 1.0
IMPORT_BAR_MS = 30
# A phase `floor of X` has what a plain store takes under our interpreter beside the reference's X. Several are told
# apart by what is in parentheses.
FLOOR = "floor of "
# A bar missed by less counts as held where a profile and a list of what was tried say why.
TOLERANCE = 1.15


@dataclass
class Side:
    """What one interpreter gave, a result for each round."""

    results: list[dict[str, Any]] = field(default_factory=list)

    def rounds(self, phase: str, key: str) -> list[float]:
        return [statistics.median(r["phases"][phase][key]) for r in self.results]

    def figure(self, phase: str, key: str) -> float:
        return statistics.median(self.rounds(phase, key))

    def total(self, key: str) -> float:
        return statistics.median(r[key] for r in self.results)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("workloads", nargs="*", default=WORKLOADS, metavar="workload")
    parser.add_argument("--ours", default=sys.executable)
    parser.add_argument("--reference")
    parser.add_argument("--rounds", type=int, default=4)
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--scale", type=float, default=1.0)
    parser.add_argument("--folder", type=Path, help="on the disk to measure; a temporary folder by default")
    parser.add_argument("--pipelines", nargs="+", default=["default", "fused"])
    parser.add_argument("--json", type=Path, help="keep all figures in this file")
    options = parser.parse_args()
    for name in options.workloads:
        if name not in WORKLOADS + MORE_WORKLOADS:
            parser.error(f"no workload {name!r}; there are {', '.join(WORKLOADS + MORE_WORKLOADS)}")

    kept: dict[str, Any] = {}
    missed = 0
    # Deleted at the end, all of it: see `harness.empty_files`.
    with tempfile.TemporaryDirectory(dir=options.folder, prefix="icechunk-bench-") as folder:
        for name in options.workloads:
            for pipeline in options.pipelines if name in BOTH_PIPELINES else ["default"]:
                sides = measure(name, pipeline, options, folder)
                kept[f"{name}, {pipeline}"] = {who: side.results for who, side in sides.items()}
                missed += show(name, pipeline, sides)
    if options.json:
        options.json.write_text(json.dumps(kept, indent=1))
    if options.reference:
        print(f"\n{missed} bars missed" if missed else "\nall bars held")
    return 1 if missed else 0


def measure(name: str, pipeline: str, options: argparse.Namespace, folder: str) -> dict[str, Side]:
    interpreters = {"ours": options.ours}
    if options.reference:
        interpreters["reference"] = options.reference
    sides = {who: Side() for who in interpreters}
    for number in range(options.rounds):
        order = list(interpreters)
        if number % 2:
            order.reverse()
        for who in order:
            command = [interpreters[who], str(HERE / f"{name}.py")]
            command += [
                "--repeats",
                str(options.repeats),
                "--pipeline",
                pipeline,
                "--scale",
                str(options.scale),
                "--folder",
                folder,
                "--keep",
            ]
            done = subprocess.run(command, env=ENVIRONMENT, capture_output=True, text=True, check=False)
            if done.returncode:
                sys.exit(f"{' '.join(command)} failed:\n{done.stderr[-3000:]}")
            sides[who].results.append(json.loads(done.stdout.strip().splitlines()[-1]))
    return sides


def show(name: str, pipeline: str, sides: dict[str, Side]) -> int:
    """Print the table of one workload; return the number of bars missed."""
    ours, theirs = sides["ours"], sides.get("reference")
    compared = theirs is not None and all(r["phases"] for r in theirs.results)
    print(f"\n{name}, {pipeline} pipeline")
    for key, value in ours.results[-1]["notes"].items():
        print(f"  {key}: {value:,}" if isinstance(value, int) else f"  {key}: {value}")
    if not ours.results[-1]["phases"]:
        return 0
    missed = 0
    head = f"  {'':32}{'ours':>12}"
    if compared:
        head += f"{'reference':>12}{'wall':>8}{'(range)':>14}{'CPU':>8}{'peak MB':>18}{'ratio':>7}"
    else:
        head += f"{'CPU':>12}{'peak MB':>10}{'growth MB':>11}"
    print(head)
    for phase in ours.results[0]["phases"]:
        wall = ours.figure(phase, "wall")
        line = f"  {phase:32}{wall * 1e3:>9.2f} ms"
        peak, growth = ours.figure(phase, "peak"), ours.figure(phase, "growth")
        if not compared or theirs is None:
            cpu = ours.figure(phase, "cpu")
            print(line + f"{cpu * 1e3:>9.2f} ms{peak / 1e6:>10.1f}{growth / 1e6:>11.1f}")
            continue
        other = phase.removeprefix(FLOOR).partition(" (")[0] if phase.startswith(FLOOR) else phase
        pairs = zip(ours.rounds(phase, "wall"), theirs.rounds(other, "wall"), strict=True)
        ratios = [a / b for a, b in pairs]
        ratio = wall / theirs.figure(other, "wall")
        cpu_ratio = ours.figure(phase, "cpu") / theirs.figure(other, "cpu")
        their_peak = theirs.figure(other, "peak") if phase == other else 0
        line += f"{theirs.figure(other, 'wall') * 1e3:>9.2f} ms{ratio:>8.2f}"
        line += f"{f'{min(ratios):.2f}-{max(ratios):.2f}':>14}{cpu_ratio:>8.2f}"
        if their_peak:
            line += f"{f'{peak / 1e6:.1f} / {their_peak / 1e6:.1f}':>18}{peak / their_peak:>7.2f}"
        bars = []
        if (name, pipeline, phase) in BARS:
            bars.append(("bar", ratio, BARS[name, pipeline, phase]))
        if their_peak:
            bars.append(("peak", peak / their_peak, PEAK_BAR))
        if phase.startswith("import icechunk"):
            bars.append(("bar", wall * 1e3, IMPORT_BAR_MS))
        for label, found, bar in bars:
            if label == "bar" or round(found, 2) > bar:
                line += f"   {label} {bar}: {verdict(found, bar)}"
            missed += round(found, 2) > bar
        print(line)
    if ours.total("files"):
        line = f"  written: {ours.total('files'):,.0f} files, {ours.total('bytes'):,.0f} bytes"
        if compared and theirs is not None:
            line += f"; reference {theirs.total('files'):,.0f} files, {theirs.total('bytes'):,.0f} bytes"
        print(line)
    return missed


def verdict(found: float, bar: float) -> str:
    if round(found, 2) <= bar:
        return "held"
    return "missed by less than 15 %" if found <= bar * TOLERANCE else "MISSED"


if __name__ == "__main__":
    sys.exit(main())

"""The mutation loop: children with limits decode one mutant after the other, and the parent watches them."""

from __future__ import annotations

import json
import mmap
import os
import resource
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tests.core.format.judge.hostile import Hostile
from tests.core.format.judge.misbehaviour import KIND, Misbehaviour
from tests.core.format.judge.mutations import Mutator, load_corpus
from tests.core.format.judge.own_files import own_files

MEMORY_BYTES = 2**30
CPU_SECONDS = 1.0
# A child that has not moved on for so long hangs in C code, where no signal reaches it.
STUCK_SECONDS = 60.0


@dataclass(frozen=True, slots=True)
class Run:
    """Which files."""

    seed: int
    count: int
    first: int = 0
    kinds: tuple[str, ...] = ()

    def mutator(self) -> Mutator | Hostile | Misbehaviour:
        if self.kinds == ("hostile",):
            return Hostile()
        if self.kinds == (KIND,):
            return Misbehaviour()
        originals = [*load_corpus(), *own_files()]
        return Mutator([o for o in originals if not self.kinds or o.kind in self.kinds], self.seed)


@dataclass(frozen=True, slots=True)
class Finding:
    """A file that gave neither a FormatError nor the judge's values."""

    seed: int
    number: int
    what: str
    detail: str


@dataclass(slots=True)
class Report:
    """What came of all files. Outcomes are counted by ``<file type>-v<spec version> <outcome>``."""

    outcomes: Counter[str] = field(default_factory=Counter)
    findings: list[Finding] = field(default_factory=list)
    slowest_seconds: float = 0.0
    slowest_number: int = -1

    def add(self, line: dict[str, Any], seed: int) -> None:
        if "outcomes" in line:
            self.outcomes.update(line["outcomes"])
            if line["slowest"][0] > self.slowest_seconds:
                self.slowest_seconds, self.slowest_number = line["slowest"]
        else:
            self.found(Finding(seed, line["number"], line["what"], line["detail"]))

    def found(self, finding: Finding) -> None:
        # At once: a long run may not come to its end.
        print(f"{finding.what}: --seed {finding.seed} --only {finding.number}", file=sys.stderr, flush=True)
        self.findings.append(finding)


def run(
    plan: Run, *, processes: int = 2, progress: Callable[[int, int, int, float], None] | None = None
) -> Report:
    """Decode all files of `plan` in `processes` children, and start a new child where one died."""
    report = Report()
    lock = threading.Lock()
    lanes = [_Lane(plan, lane, processes, report, lock) for lane in range(processes)]
    threads = [threading.Thread(target=lane.watch) for lane in lanes]
    started = time.monotonic()
    for thread in threads:
        thread.start()
    told = started
    for thread in threads:
        while thread.is_alive():
            thread.join(0.2)
            if progress and time.monotonic() - told > 20:
                told = time.monotonic()
                done = sum(lane.done() for lane in lanes)
                progress(done, plan.count, len(report.findings), told - started)
    for lane in lanes:
        if lane.broken is not None:
            raise lane.broken
    return report


class _Lane:
    """One child at a time, with every `step`-th file."""

    def __init__(self, plan: Run, lane: int, step: int, report: Report, lock: threading.Lock) -> None:
        self.plan, self.step, self.report, self.lock = plan, step, report, lock
        self.next = plan.first + lane
        self.begin = self.next
        self.end = plan.first + plan.count
        self.broken: Exception | None = None

    def done(self) -> int:
        return (self.next - self.begin) // self.step

    def watch(self) -> None:
        try:
            while self.next < self.end:
                self.one_child()
        except Exception as error:
            self.broken = error

    def one_child(self) -> None:
        with tempfile.TemporaryFile() as file, tempfile.TemporaryFile() as errors:
            # The child writes the number that it is at; the parent reads it, also after a crash.
            file.write(self.next.to_bytes(8, "little"))
            file.flush()
            child = subprocess.Popen(
                [
                    sys.executable,
                    "-c",
                    "from tests.core.format.judge.loop import child_main; child_main()",
                    json.dumps(
                        [self.plan.seed, self.next, self.end, self.step, self.plan.kinds, file.fileno()]
                    ),
                ],
                stdout=subprocess.PIPE,
                stderr=errors,
                text=True,
                pass_fds=[file.fileno()],
                env={**os.environ, "PYTHONPATH": os.pathsep.join(p for p in sys.path if p)},
            )
            killer = threading.Thread(target=self.kill_when_stuck, args=(child, file.fileno()), daemon=True)
            killer.start()
            assert child.stdout is not None
            finished = False
            for line in child.stdout:
                message = json.loads(line)
                finished = finished or message.get("finished", False)
                with self.lock:
                    self.report.add(message, self.plan.seed)
            child.stdout.close()
            status = child.wait()
            killer.join()
            at = _number_in(file.fileno())
            if finished and status == 0:
                self.next = self.end
                return
            errors.seek(0)
            detail = errors.read()[-2000:].decode(errors="replace")
            if at < 0:
                raise RuntimeError(f"a child could not start: {detail}")
            what = f"the process died (signal {-status})" if status < 0 else f"the process ended ({status})"
            with self.lock:
                self.report.found(Finding(self.plan.seed, at, what, detail))
            self.next = at + self.step

    def kill_when_stuck(self, child: subprocess.Popen[str], descriptor: int) -> None:
        seen, since = -2, time.monotonic()
        while child.poll() is None:
            try:
                at = _number_in(descriptor)
            except OSError:
                return
            if at != seen:
                seen, since = at, time.monotonic()
                self.next = max(self.next, at)
            # Starting (imports on a busy machine) may take longer than a file.
            elif time.monotonic() - since > STUCK_SECONDS * (1 if at >= 0 else 6):
                child.kill()
                return
            time.sleep(0.5)


def _number_in(descriptor: int) -> int:
    return int.from_bytes(os.pread(descriptor, 8, 0), "little", signed=True)


# -- the child


class TooSlow(BaseException):
    """The second is over. No `Exception`, so that nothing on the way catches it."""


def child_main() -> None:
    """Decode files, and say what came of them, one JSON document a line."""
    seed, first, end, step, kinds, descriptor = json.loads(sys.argv[1])
    position = mmap.mmap(descriptor, 8)
    position[:] = (-1).to_bytes(8, "little", signed=True)
    from tests.core.format.judge.comparison import examine

    mutator = Run(seed=seed, first=first, count=end - first, kinds=tuple(kinds)).mutator()
    warm = mutator.mutant(first)
    examine(warm.kind, warm.data)  # imports that happen at first use
    limit_memory()
    limit = CpuLimit()
    outcomes: Counter[str] = Counter()
    slowest = (0.0, -1)

    def say(message: dict[str, Any]) -> None:
        sys.stdout.write(json.dumps(message, default=repr) + "\n")
        sys.stdout.flush()

    for count, number in enumerate(range(first, end, step)):
        position[:] = number.to_bytes(8, "little")
        mutant = mutator.mutant(number)
        label = f"{mutant.kind}-v{mutant.spec_version}"
        verdict = examine(mutant.kind, mutant.data, limit)
        if limit.is_over():
            # A machine that others share may count their time as ours. What is slow is slow again.
            verdict = examine(mutant.kind, mutant.data, limit)
        outcomes[f"{label} {verdict.outcome}"] += 1
        if limit.seconds > slowest[0]:
            slowest = (limit.seconds, number)
        for what, detail in verdict.problems:
            say({"number": number, "what": f"{mutant.kind}: {what}", "detail": detail[:2000]})
        if count % 1000 == 999:
            say({"outcomes": outcomes, "slowest": slowest})
            outcomes = Counter()
    say({"outcomes": outcomes, "slowest": slowest, "finished": True})


def limit_memory() -> None:
    """From here on, 1 GiB of address space and no more."""
    pages = int(Path("/proc/self/statm").read_text().split()[0])
    most = pages * resource.getpagesize() + MEMORY_BYTES
    resource.setrlimit(resource.RLIMIT_AS, (most, most))


class CpuLimit:
    """A context that ends in `TooSlow` when it took more than a second of this process's CPU time."""

    def __init__(self) -> None:
        self.seconds = self.started = 0.0
        signal.signal(signal.SIGPROF, self.ring)

    def ring(self, *_: object) -> None:
        # The kernel counts for its timers in ticks, roughly, and too much on a busy machine; so the timer only
        # ends what would go on, and the precise clock decides.
        if time.process_time() - self.started > CPU_SECONDS:
            raise TooSlow
        signal.setitimer(signal.ITIMER_PROF, CPU_SECONDS / 10)

    def is_over(self) -> bool:
        """Whether the last block took too long."""
        return self.seconds > CPU_SECONDS

    def __enter__(self) -> None:
        self.started = time.process_time()
        signal.setitimer(signal.ITIMER_PROF, CPU_SECONDS)

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        signal.setitimer(signal.ITIMER_PROF, 0)
        self.seconds = time.process_time() - self.started
        if kind is None and self.seconds > CPU_SECONDS:
            raise TooSlow

"""What `import icechunk` adds to `import zarr`, third parties included (``-X importtime``, ten times).

A library can put off its imports until they are needed; so the time until the first repository can be opened is
beside it, measured by the clock.
"""

from __future__ import annotations

import re
import subprocess
import sys

from harness import Bench, main

LINE = re.compile(r"import time:\s+\d+ \|\s+(\d+) \| icechunk$", re.MULTILINE)


FIRST_USE = """
import time, zarr
begin = time.perf_counter()
import icechunk
icechunk.Repository.create(icechunk.in_memory_storage()).writable_session("main").store
print(time.perf_counter() - begin)
"""


def seconds_to_import() -> float:
    return (
        float(LINE.findall(python("-X", "importtime", "-c", "import zarr; import icechunk").stderr)[-1])
        * 1e-6
    )


def seconds_to_first_use() -> float:
    return float(python("-c", FIRST_USE).stdout)


def python(*arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run([sys.executable, *arguments], check=True, capture_output=True, text=True)


def run(bench: Bench) -> None:
    for label, measure in (
        ("import icechunk, after zarr", seconds_to_import),
        ("import, and a first session", seconds_to_first_use),
    ):
        figures: dict[str, list[float]] = {"wall": [], "cpu": [], "peak": [], "growth": []}
        measure()
        for _ in range(bench.size(10)):
            seconds = measure()
            # One thread, no I/O to speak of: what it takes is CPU time.
            for key, value in (("wall", seconds), ("cpu", seconds), ("peak", 0.0), ("growth", 0.0)):
                figures[key].append(value)
        bench.phases[label] = figures


if __name__ == "__main__":
    main(run)

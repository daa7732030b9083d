"""What `import icechunk` adds to `import zarr`, third parties included (``-X importtime``, ten times)."""

from __future__ import annotations

import re
import subprocess
import sys

from harness import Bench, main

LINE = re.compile(r"import time:\s+\d+ \|\s+(\d+) \| icechunk$", re.MULTILINE)


def run(bench: Bench) -> None:
    figures: dict[str, list[float]] = {"wall": [], "cpu": [], "peak": [], "growth": []}
    for number in range(-1, bench.size(10)):
        found = subprocess.run(
            [sys.executable, "-X", "importtime", "-c", "import zarr; import icechunk"],
            check=True,
            capture_output=True,
            text=True,
        )
        seconds = float(LINE.findall(found.stderr)[-1]) * 1e-6
        if number >= 0:
            # One thread, no I/O to speak of: what it takes is CPU time.
            for key, value in (("wall", seconds), ("cpu", seconds), ("peak", 0.0), ("growth", 0.0)):
                figures[key].append(value)
    bench.phases["import icechunk, after zarr"] = figures


if __name__ == "__main__":
    main(run)

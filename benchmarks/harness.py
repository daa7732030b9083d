"""What every benchmark script shares: folders, phases, and figures of time, memory and files.

A script runs unchanged under an interpreter with this project and under one with the reference implementation, so
nothing here or there uses more than the public API. Figures go to stdout as one JSON document; ``run.py`` runs
the scripts in turn and compares.
"""

from __future__ import annotations

import argparse
import contextlib
import ctypes
import gc
import json
import os
import shutil
import statistics
import sys
import tempfile
import time
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

PIPELINES = {
    "default": None,
    "fused": "zarr.core.codec_pipeline.FusedCodecPipeline",
}

KEPT = Path(tempfile.gettempdir()) / "icechunk-benchmark-repositories"


class Bench:
    """One run of one script: `repeats` rounds after a warm-up, each in a new folder."""

    def __init__(self, folder: Path, repeats: int, scale: float) -> None:
        self.folder = folder
        self.number_of_repeats = repeats
        self.scale = scale
        self.warming_up = True
        self.phases: dict[str, dict[str, list[float]]] = {}
        self.written: list[tuple[int, int]] = []
        self.notes: dict[str, Any] = {}
        self.here = folder

    def size(self, full: int) -> int:
        """The full size of a workload, or less when a smaller scale was asked for."""
        return max(1, round(full * self.scale))

    def repeats(self) -> Iterator[int]:
        """Count the rounds, -1 being the warm-up; each finds `path()` empty."""
        for number in range(-1, self.number_of_repeats):
            self.warming_up = number < 0
            self.here = Path(tempfile.mkdtemp(dir=self.folder))
            yield number
            written = files_and_bytes(self.here)
            if not self.warming_up and written[0]:
                self.written.append(written)
            empty_files(self.here)

    def path(self, name: str = "repo") -> str:
        return str(self.here / name)

    def storage(self, name: str = "repo") -> Any:
        import icechunk

        return icechunk.local_filesystem_storage(self.path(name))

    def copy_of(self, name: str, make: Callable[[Any], None]) -> Any:
        """Copy a repository that `make` fills, and return the storage of the copy.

        It is made once, by whoever comes first, and kept in the system's temporary folder: delete it there to
        have it made anew.
        """
        import icechunk

        KEPT.mkdir(exist_ok=True)
        kept = KEPT / name
        if not kept.exists():
            with tempfile.TemporaryDirectory(prefix=f"{name}-", dir=KEPT) as folder:
                making = Path(folder) / "repo"
                make(icechunk.Repository.create(icechunk.local_filesystem_storage(str(making))))
                making.rename(kept)
        copy = Path(self.path(name))
        shutil.copytree(kept, copy, ignore=lambda folder, _names: ["chunks"] if folder == str(kept) else [])
        # Shared: nobody changes a chunk, and there may be very many.
        if (kept / "chunks").exists():
            (copy / "chunks").symlink_to(kept / "chunks")
        return self.storage(name)

    @contextlib.contextmanager
    def phase(self, name: str) -> Iterator[None]:
        """Measure what happens inside; wall and CPU seconds, and the peak of memory in bytes."""
        gc.collect()
        before = start_peak_memory()
        cpu, wall = time.process_time(), time.perf_counter()
        yield
        wall, cpu = time.perf_counter() - wall, time.process_time() - cpu
        self._note(name, wall, cpu, before)

    @contextlib.contextmanager
    def parts(self, name: str) -> Iterator[Callable[[], contextlib.AbstractContextManager[None]]]:
        """As `phase`, but time is only what passes inside of the contexts that the given function makes."""
        gc.collect()
        before = start_peak_memory()
        cpu = wall = 0.0

        @contextlib.contextmanager
        def part() -> Iterator[None]:
            nonlocal cpu, wall
            cpu -= time.process_time()
            wall -= time.perf_counter()
            yield
            wall += time.perf_counter()
            cpu += time.process_time()

        yield part
        self._note(name, wall, cpu, before)

    def _note(self, name: str, wall: float, cpu: float, before: int) -> None:
        peak = peak_memory()
        if self.warming_up:
            return
        figures = self.phases.setdefault(name, {"wall": [], "cpu": [], "peak": [], "growth": []})
        for key, value in (("wall", wall), ("cpu", cpu), ("peak", peak), ("growth", peak - before)):
            figures[key].append(value)

    def result(self) -> dict[str, Any]:
        files = statistics.median(f for f, _ in self.written) if self.written else 0
        size = statistics.median(b for _, b in self.written) if self.written else 0
        return {"phases": self.phases, "files": files, "bytes": size, "notes": self.notes}


def main(run: Callable[[Bench], None]) -> None:
    """Parse the command line of a script, run it, and print what it measured."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--pipeline", choices=list(PIPELINES), default="default")
    parser.add_argument("--scale", type=float, default=1.0, help="a part of the full size, to try a script")
    parser.add_argument(
        "--folder", type=Path, default=None, help="where to write; a temporary folder by default"
    )
    parser.add_argument("--keep", action="store_true", help="leave the (empty) files, for run.py to delete")
    options = parser.parse_args()
    # Whose warnings they are does not matter here, and printing them takes time.
    warnings.simplefilter("ignore")
    use_pipeline(options.pipeline)
    folder = tempfile.mkdtemp(dir=options.folder, prefix="icechunk-bench-")
    try:
        bench = Bench(Path(folder), options.repeats, options.scale)
        run(bench)
    finally:
        if not options.keep:
            shutil.rmtree(folder)
    json.dump(bench.result(), sys.stdout)
    sys.stdout.write("\n")


def use_pipeline(name: str) -> None:
    path = PIPELINES[name]
    if path is not None:
        import zarr
        import zarr.core.codec_pipeline

        if not hasattr(zarr.core.codec_pipeline, path.rpartition(".")[2]):
            sys.exit(f"zarr {zarr.__version__} has no {path}")
        zarr.config.set({"codec_pipeline.path": path})


def files_and_bytes(folder: Path) -> tuple[int, int]:
    files = size = 0
    for where, _, names in os.walk(folder):
        for name in names:
            files += 1
            size += os.stat(os.path.join(where, name)).st_size
    return files, size


def empty_files(folder: Path) -> None:
    """Give back the space of all files, but delete none.

    After some thousand deletions ext4 takes 0.7 ms to make a file where it takes 0.02 otherwise, more than all that is to
    be measured: it does not use an inode again for some minutes after its file was deleted, and walks past all of those.
    """
    for where, _, names in os.walk(folder):
        for name in names:
            os.truncate(os.path.join(where, name), 0)


def start_peak_memory() -> int:
    """Forget the peak so far (Linux); return what is in use now.

    What was freed is given back first: whether an earlier phase left 32 MB of it on the heap is chance.
    """
    with contextlib.suppress(OSError, AttributeError):
        ctypes.CDLL(None).malloc_trim(0)
    with contextlib.suppress(OSError):
        Path("/proc/self/clear_refs").write_text("5")
    return _status_bytes("VmRSS")


def peak_memory() -> int:
    return _status_bytes("VmHWM")


def _status_bytes(key: str) -> int:
    try:
        for line in Path("/proc/self/status").read_text().splitlines():
            if line.startswith(key):
                return int(line.split()[1]) * 1024
    except OSError:
        pass
    import resource  # not on Windows, which has no /proc either

    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024

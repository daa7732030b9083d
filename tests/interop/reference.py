"""Run programs with the reference implementation, which lives in an interpreter of its own.

`Reference.call("describe", path)` runs `programs.describe(path)` there, in a process that stays, and `Ours` has
the same method. So a test says `for side in (ours, reference)`, and both run the same lines.
"""

from __future__ import annotations

import importlib
import os
import pickle
import struct
import subprocess
import sys
from pathlib import Path
from types import TracebackType
from typing import IO, Any, Protocol, Self

HERE = Path(__file__).parent
VARIABLE = "ICECHUNK_REFERENCE_PYTHON"
LENGTH = struct.Struct("<Q")


class ReferenceError_(Exception):
    """A program that raised in the other interpreter; the text is the traceback there."""

    def __init__(self, name: str, kind: str | None, text: str) -> None:
        super().__init__(text)
        self.name = name
        self.kind = kind


class Side(Protocol):
    """An implementation that programs run with."""

    name: str

    def call(self, program: str, *args: Any, **kwargs: Any) -> Any:
        """Run a function of `programs`, or of another module of this folder: `module:function`."""
        ...


class Ours:
    """Programs run in this process, with the installed `icechunk`."""

    name = "ours"

    def call(self, program: str, *args: Any, **kwargs: Any) -> Any:
        module, _, function = program.rpartition(":")
        programs = importlib.import_module(f"tests.interop.{module or 'programs'}")
        return getattr(programs, function)(*args, **kwargs)


class Reference:
    """Programs run in a process with another interpreter, which is started at the first call."""

    name = "reference"

    def __init__(self, python: str) -> None:
        self._python = python
        self._process: subprocess.Popen[bytes] | None = None

    def call(self, program: str, *args: Any, **kwargs: Any) -> Any:
        process = self._running()
        assert process.stdin is not None
        assert process.stdout is not None
        send(process.stdin, (program, args, kwargs))
        outcome, value = receive(process.stdout)
        if outcome == "error":
            raise ReferenceError_(*value)
        return value

    def close(self) -> None:
        if self._process is not None:
            self._process.communicate()
            self._process = None

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _running(self) -> subprocess.Popen[bytes]:
        if self._process is None:
            # Nothing of ours may be importable there: it has the same name.
            environment = {k: v for k, v in os.environ.items() if not k.startswith(("PYTHON", "COV"))}
            environment["ICECHUNK_NO_LOGS"] = "1"
            self._process = subprocess.Popen(
                [self._python, str(HERE / "_worker.py")],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=subprocess.DEVNULL,
                env=environment,
            )
        return self._process


def send(stream: IO[bytes], value: object) -> None:
    # Protocol 5 is known to every interpreter that we meet.
    data = pickle.dumps(value, protocol=5)
    stream.write(LENGTH.pack(len(data)) + data)
    stream.flush()


def receive(stream: IO[bytes]) -> Any:
    header = stream.read(LENGTH.size)
    if len(header) < LENGTH.size:
        raise EOFError("the other interpreter ended")
    return pickle.loads(stream.read(LENGTH.unpack(header)[0]))


def reference_python() -> str | None:
    """The interpreter that has the reference, from the environment."""
    return os.environ.get(VARIABLE) or None


if __name__ == "__main__":  # python reference.py describe PATH: look at a repository by hand
    from pprint import pprint

    python = reference_python()
    if python is None:
        raise SystemExit(f"{VARIABLE} does not name an interpreter")
    with Reference(python) as reference:
        pprint(reference.call(sys.argv[1], *sys.argv[2:]), width=140)

"""Both implementations under one command, and where their answers part."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import tempfile
from collections import Counter
from pathlib import Path
from typing import Any

from hypothesis import reject

from tests.interop.machine.differences import Difference, Occasion, find_difference, finds_more
from tests.interop.machine.driver import Answer, Command, Driver

# Storage in memory, where the machine has it: both sides must open it, so it is a folder.
FAST = Path("/dev/shm")
# The text of an error is ours.
NOT_COMPARED = ("text",)


class Divergence(AssertionError):
    """The two sides did not answer alike."""

    def __init__(self, command: Command, ours: Answer, theirs: Answer, trace: list[Command]) -> None:
        self.trace = trace
        parts = _parts("", ours, theirs)
        self.signature = command["do"], [part.partition("\n")[0].split("/")[:3] for part in parts]
        """What the sides differ in, roughly: two divergences with one are probably one."""
        super().__init__(
            f"\n{json.dumps(command)}\n"
            + "\n".join(parts)
            + "\nthe program, for --replay:\n"
            + "".join(json.dumps(command) + "\n" for command in trace if command["do"] not in LOOKS)
        )


LOOKS = {"look_at_session", "look_at_history", "look_at_snapshot", "look_at_folder"}


class ReferenceProcess:
    """The reference's interpreter, which stays for many programs."""

    def __init__(self, python: str) -> None:
        # Nothing of ours may be importable there: it has the same name.
        environment = {k: v for k, v in os.environ.items() if not k.startswith(("PYTHON", "COV"))}
        environment["ICECHUNK_NO_LOGS"] = "1"
        self._process = subprocess.Popen(
            [python, str(Path(__file__).with_name("driver.py"))],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            env=environment,
            text=True,
        )

    def send(self, command: Command) -> None:
        assert self._process.stdin is not None
        self._process.stdin.write(json.dumps(command) + "\n")
        self._process.stdin.flush()

    def receive(self) -> Answer:
        assert self._process.stdout is not None
        line = self._process.stdout.readline()
        if not line:
            raise RuntimeError(f"the reference's process ended with {self._process.wait()}")
        answer: Answer = json.loads(line)
        return answer

    def run(self, command: Command) -> Answer:
        self.send(command)
        return self.receive()

    def close(self) -> None:
        self._process.communicate()


class Pair:
    """A repository of each implementation, driven by the same commands."""

    def __init__(self, python: str) -> None:
        self._ours = Driver()
        self._reference = ReferenceProcess(python)
        folder = FAST if FAST.is_dir() and os.access(FAST, os.W_OK) else None
        self._folder = Path(tempfile.mkdtemp(prefix="icechunk-machine-", dir=folder))
        self.num_programs = 0
        self.num_commands = 0
        self.differences: dict[str, int] = {}
        self.outcomes: Counter[tuple[str, str]] = Counter()
        """How often each command was done, and with which kind of error."""
        self.trace: list[Command] = []
        self.has_ended = False
        """Whether the histories are different on purpose, so that nothing more can be compared."""
        self._seen: dict[str, Answer] = {}
        self._done: dict[str, str] = {}

    def begin(self, **arguments: Any) -> None:
        """Start a program with two empty repositories."""
        self.trace = []
        self.has_ended = False
        self._seen.clear()
        self.num_programs += 1
        self._wipe()
        command = {"do": "create", **arguments}
        self.trace.append(command)
        ours, theirs = (
            side.run({**command, "path": str(self._folder / name)})
            for name, side in (("ours", self._ours), ("reference", self._reference))
        )
        self._compare(command, ours, theirs)

    def both(self, do: str, **arguments: Any) -> Answer:
        """Let both sides do it, and return what both answered.

        Where they differ on purpose, the difference says how to go on.
        """
        command = {"do": do, **{name: value for name, value in arguments.items() if value is not None}}
        self.trace.append(command)
        self.num_commands += 1
        if "slot" in command and do not in LOOKS:
            self._done[command["slot"]] = do
        if command.get("solver") and do == "commit":
            # What ours refuses must not become history there.
            ours = _plain(self._ours.run(command))
            if finds_more(ours):
                command = {"do": "rebase", "slot": command["slot"], "solver": command["solver"]}
            theirs = self._reference.run(command)
        else:
            self._reference.send(command)
            ours = _plain(self._ours.run(command))
            theirs = self._reference.receive()
        return self._compare(command, ours, theirs)

    def swap(self) -> None:
        """Let each go on with the other's repository. Sessions are closed."""
        self.trace.append({"do": "swap"})
        ours, theirs = self._ours.run({"do": "hand_over"}), self._reference.run({"do": "hand_over"})
        adopted = (
            _plain(self._ours.run({"do": "adopt", **theirs["ok"]})),
            self._reference.run({"do": "adopt", **ours["ok"]}),
        )
        self._compare(self.trace[-1], *adopted)

    def look_at_folders(self) -> None:
        """Let each describe both repositories, to the letter."""
        for name in ("ours", "reference"):
            answer = self.both("look_at_folder", path=str(self._folder / name))
            assert "ok" in answer, answer

    def close(self) -> None:
        self._ours.close()
        self._reference.close()
        shutil.rmtree(self._folder, ignore_errors=True)

    def _wipe(self) -> None:
        for side in (self._ours, self._reference):
            side.run({"do": "forget"})
        for path in self._folder.iterdir():
            shutil.rmtree(path)

    def _compare(self, command: Command, ours: Answer, theirs: Answer) -> Answer:
        error = ours.get("error", {})
        self.outcomes[command["do"], "ok" if "ok" in ours else error["kind"] or error["class"]] += 1
        if _comparable(ours) == _comparable(theirs):
            if command["do"] == "look_at_session" and "ok" in ours:
                self._seen[command["slot"]] = ours["ok"]
            if "error" in ours and "slot" in command and command["do"] not in LOOKS:
                self._done[command["slot"]] = f"refused {command['do']}"
            return ours
        seen = self._seen.get(command.get("slot", ""), {})
        previous = self._done.get(command.get("slot", ""), "")
        occasion = Occasion(command=command, ours=ours, theirs=theirs, seen=seen, previous=previous)
        difference = find_difference(occasion)
        if difference is None:
            # Nothing more can be compared, at the end of the program either.
            self.has_ended = True
            raise Divergence(command, ours, theirs, self.trace)
        return self._go_on(difference, command, ours)

    def _go_on(self, difference: Difference, command: Command, ours: Answer) -> Answer:
        self.differences[difference.name] = self.differences.get(difference.name, 0) + 1
        if difference.parts == "nothing":
            return ours
        if difference.parts == "histories":
            self.has_ended = True
            reject()
        # The two sessions have different changes: that is the end of them.
        for side in (self._ours, self._reference):
            side.run({"do": "close", "slot": command["slot"]})
        return {"closed": command["slot"]}


def _plain(answer: Answer) -> Answer:
    plain: Answer = json.loads(json.dumps(answer))
    return plain


def _comparable(answer: Answer) -> Answer:
    if "error" not in answer:
        return answer
    return {"error": {k: v for k, v in answer["error"].items() if k not in NOT_COMPARED}}


def _parts(where: str, ours: Any, theirs: Any) -> list[str]:
    """Name the places where two answers differ."""
    if isinstance(ours, dict) and isinstance(theirs, dict):
        lines = []
        for name in sorted({*ours, *theirs}):
            if ours.get(name) != theirs.get(name) or (name in ours) != (name in theirs):
                lines += _parts(f"{where}/{name}", ours.get(name), theirs.get(name))
        return lines
    return [f"  {where or '.'}\n    ours:      {json.dumps(ours)}\n    reference: {json.dumps(theirs)}"]

"""The process that `reference.Reference` talks to. It runs in the reference's interpreter."""

from __future__ import annotations

import importlib
import os
import sys
import traceback
from pathlib import Path


def main() -> None:
    sys.path.insert(0, str(Path(__file__).resolve().parent))
    from reference import receive, send

    # The pipe keeps a descriptor of its own: what a program prints must not end up in it.
    answers = os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)
    questions = sys.stdin.buffer
    while True:
        try:
            program, args, kwargs = receive(questions)
        except EOFError:
            return
        module, _, function = program.rpartition(":")
        try:
            value = getattr(importlib.import_module(module or "programs"), function)(*args, **kwargs)
            send(answers, ("ok", value))
        except Exception as error:  # whatever it is, the caller is told
            kind = getattr(error, "kind", None)
            send(answers, ("error", (type(error).__name__, kind and str(kind), traceback.format_exc())))


if __name__ == "__main__":
    main()

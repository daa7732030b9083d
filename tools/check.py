"""Set up and run every test, on a machine with nothing but Python 3.11 or newer.

    python3 tools/check.py                  everything
    python3 tools/check.py -e lint,py311    some environments; the rest of the line goes to tox

tox and what it needs go into `.tox/launcher`. An environment whose interpreter is not here is left out,
with one line that says how to get it; with CI=true that is a failure.
"""

from __future__ import annotations

import os
import subprocess
import sys
import venv
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
LAUNCHER = ROOT / ".tox" / "launcher"
REQUIREMENTS = ["tox>=4.30", "tox-uv>=1.20"]

# The environments of tox.ini, in the order in which they say something, with the interpreters of which each
# needs one. None: whatever runs this script.
ENVIRONMENTS: dict[str, tuple[str, ...] | None] = {
    "lint": None,
    "layers": None,
    "type": ("3.13",),
    "core": None,
    "plugin": None,
    "packaging": None,
    "lowest": ("3.11",),
    "py311": ("3.11",),
    "py312": ("3.12",),
    "py313": ("3.13",),
    # The reference implementation has no wheels for 3.11.
    "interop": ("3.13", "3.12"),
}


def main(arguments: list[str]) -> int:
    """Run tox over all environments that this machine has an interpreter for."""
    if sys.version_info < (3, 11):  # noqa: UP036  (run by hand, with whatever `python3` is)
        print(f"Python 3.11 or newer is needed; this is {sys.version.split()[0]}.", file=sys.stderr)
        return 1
    bin_dir = _launcher()
    environment = {**os.environ, "UV_PYTHON_DOWNLOADS": "never"}
    tox = [str(bin_dir / "tox")]
    if any(a == "-e" or a.startswith("-e") for a in arguments):
        return subprocess.run([*tox, "run", *arguments], cwd=ROOT, env=environment, check=False).returncode

    present = {
        version: found
        for version in ("3.11", "3.12", "3.13")
        if (found := _find_interpreter(bin_dir, version)) is not None
    }
    names, missing = [], {}
    for name, needs in ENVIRONMENTS.items():
        chosen = next((version for version in needs if version in present), None) if needs else ""
        if chosen is None and needs:
            missing[name] = needs
            continue
        names.append(name)
        if name == "interop" and chosen:
            environment["ICECHUNK_INTEROP_PYTHON"] = "py" + chosen.replace(".", "")
    notice = _notice(missing)
    strict = os.environ.get("CI", "").lower() in {"1", "true"}
    if notice and strict:
        print(notice.replace("Skipped", "CI=true, and cannot run"), file=sys.stderr)
        return 1

    jobs = str(min(os.cpu_count() or 1, 4))
    run = ["run-parallel", "--parallel", jobs, "--parallel-no-spinner", "-e", ",".join(names)]
    skip = ["--skip-missing-interpreters", "false" if strict else "config"]
    status = subprocess.run(
        [*tox, *run, *skip, *arguments], cwd=ROOT, env=environment, check=False
    ).returncode
    if notice:
        print(notice)
    return status


def _launcher() -> Path:
    """Make the virtual environment that tox lives in, if it is not there; the folder of its programs."""
    bin_dir = LAUNCHER / ("Scripts" if os.name == "nt" else "bin")
    marker = LAUNCHER / "requirements.txt"
    wanted = "\n".join([*REQUIREMENTS, sys.version])
    if not marker.is_file() or marker.read_text(encoding="utf-8") != wanted:
        print(f"Setting up tox in {LAUNCHER.relative_to(ROOT)} ...", flush=True)
        venv.create(LAUNCHER, with_pip=True, clear=True, symlinks=os.name != "nt")
        install = ["-m", "pip", "install", "--quiet", "--disable-pip-version-check", *REQUIREMENTS]
        subprocess.run([str(bin_dir / "python"), *install], check=True)
        marker.write_text(wanted, encoding="utf-8")
    return bin_dir


def _find_interpreter(bin_dir: Path, version: str) -> str | None:
    """Ask uv, which is who tox will ask."""
    found = subprocess.run(
        [str(bin_dir / "uv"), "python", "find", "--no-project", "--no-python-downloads", "--system", version],
        capture_output=True,
        text=True,
        check=False,
    )
    return found.stdout.strip() if found.returncode == 0 else None


def _notice(missing: dict[str, tuple[str, ...]]) -> str:
    if not missing:
        return ""
    names = ", ".join(f"{name} (Python {' or '.join(needs)})" for name, needs in missing.items())
    wanted = " ".join(sorted({needs[0] for needs in missing.values()}))
    return f"Skipped for want of an interpreter: {names}. Get it with `uv python install {wanted}`, or put it on the PATH."


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1:]))

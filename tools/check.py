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

# The environments of tox.ini, in the order in which they say something. Those that are named below need an
# interpreter of one version, or one that is new enough; for the others, any will do.
ENVIRONMENTS = (
    "lint", "layers", "type", "core", "plugin", "lowest", "py311", "py312", "py313", "packaging", "interop"
)  # fmt: skip
EXACTLY = {"type": "3.13", "lowest": "3.11", "py311": "3.11", "py312": "3.12", "py313": "3.13"}
# The reference implementation has no wheels for 3.11.
SINCE = {"interop": "3.12"}


def main(arguments: list[str]) -> int:
    """Run tox over all environments that this machine has an interpreter for."""
    if sys.version_info < (3, 11):  # noqa: UP036  (run by hand, with whatever `python3` is)
        print(f"Python 3.11 or newer is needed; this is {sys.version.split()[0]}.", file=sys.stderr)
        return 1
    bin_dir = _launcher()
    # uv takes the interpreter that runs this, too; and it is to find interpreters, not to download them.
    path = os.pathsep.join([os.environ.get("PATH", os.defpath), str(Path(sys.executable).resolve().parent)])
    environment = {**os.environ, "PATH": path, "UV_PYTHON_DOWNLOADS": "never"}
    # uv has certificates of its own; those of the machine are the ones that work behind a company's proxy.
    environment.setdefault("UV_SYSTEM_CERTS", "true")
    environment.pop("VIRTUAL_ENV", None)
    tox = [str(bin_dir / "tox")]
    if any(a == "-e" or a.startswith("-e") for a in arguments):
        return subprocess.run([*tox, "run", *arguments], cwd=ROOT, env=environment, check=False).returncode

    present = {_running(), *(v for v in set(EXACTLY.values()) if _has_interpreter(bin_dir, v, environment))}
    newest = max(present, key=_as_tuple)
    environment["ICECHUNK_NEWEST_PYTHON"] = f"py{newest.replace('.', '')}"
    missing = {name: version for name, version in EXACTLY.items() if version not in present}
    missing |= {name: version for name, version in SINCE.items() if _as_tuple(newest) < _as_tuple(version)}
    notice = _notice(missing)
    strict = os.environ.get("CI", "").lower() in {"1", "true"}
    if notice and strict:
        print(notice.replace("Skipped", "CI=true, and cannot run"), file=sys.stderr)
        return 1

    names = [name for name in ENVIRONMENTS if name not in missing]
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


def _has_interpreter(bin_dir: Path, version: str, environment: dict[str, str]) -> bool:
    """Ask uv, which is who tox will ask."""
    command = [str(bin_dir / "uv"), "python", "find", "--no-project", version]
    return subprocess.run(command, capture_output=True, env=environment, check=False).returncode == 0


def _running() -> str:
    return f"{sys.version_info.major}.{sys.version_info.minor}"


def _as_tuple(version: str) -> tuple[int, ...]:
    return tuple(int(part) for part in version.split("."))


def _notice(missing: dict[str, str]) -> str:
    if not missing:
        return ""
    names = ", ".join(f"{name} (Python {version})" for name, version in missing.items())
    wanted = " ".join(sorted(set(missing.values())))
    return f"Skipped for want of an interpreter: {names}. Get it with `uv python install {wanted}`, or put it on the PATH."


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1:]))

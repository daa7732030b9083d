"""Keep the versions of all distributions, and the pins between them, in lock step.

    python tools/release.py check           are they all the same?
    python tools/release.py bump 0.2.0      write a new one everywhere

The cloud distributions are named in the extras of icechunk-core from the start; where a folder of that name
exists, it takes part.
"""

from __future__ import annotations

import re
import sys
import tomllib
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
CORE = "icechunk-core"
DISTRIBUTIONS = (CORE, "icechunk-s3", "icechunk-gcs", "icechunk-azure", "icechunk-xarray")
VERSION_MODULE = Path(CORE, "src", "icechunk", "_version.py")

VERSION = re.compile(r"\d+\.\d+\.\d+(?:(?:a|b|rc)\d+)?")
# What is rewritten, and nothing else: the line of the module, `version =` of a sibling, a pin on a sibling.
MODULE_LINE = re.compile(rf'^(__version__: Final = ")({VERSION.pattern})(")$', re.MULTILINE)
PROJECT_LINE = re.compile(rf'^(version = ")({VERSION.pattern})(")$', re.MULTILINE)
PIN = re.compile(rf"((?:{'|'.join(DISTRIBUTIONS)})(?:\[[\w,]+\])?==)({VERSION.pattern})(?=[\"'])")
# Any mention of a sibling as a requirement, pinned or not.
MENTION = re.compile(rf"^(?:{'|'.join(DISTRIBUTIONS)})\b")


def versions(root: Path = ROOT) -> dict[str, str]:
    """Every place that says a version, and what it says.

    Raises
    ------
    SystemExit
        A sibling is required without an exact pin, or a file says no version where it has to.
    """
    found: dict[str, str] = {}
    module = MODULE_LINE.search((root / VERSION_MODULE).read_text(encoding="utf-8"))
    if module is None:
        raise SystemExit(f'{VERSION_MODULE}: no line `__version__: Final = "..."`')
    found[str(VERSION_MODULE)] = module[2]
    for path in _projects(root):
        text = path.read_text(encoding="utf-8")
        project = tomllib.loads(text)["project"]
        name = str(path.relative_to(root))
        if "version" in project:
            found[f"{name}: version"] = project["version"]
        elif "version" not in project.get("dynamic", ()):
            raise SystemExit(f"{name}: no version")
        for requirement in _requirements(project):
            if MENTION.match(requirement) is None:
                continue
            # The requirement in the quotes of the TOML file, as `bump` will meet it.
            pin = PIN.fullmatch(requirement) or PIN.match(f'{requirement}"')
            if pin is None:
                raise SystemExit(f"{name}: `{requirement}` has to be pinned with ==")
            found[f"{name}: {requirement}"] = pin[2]
    return found


def check(root: Path = ROOT) -> None:
    """End with a message if two places disagree."""
    found = versions(root)
    if len(set(found.values())) > 1:
        raise SystemExit("versions differ:\n" + "\n".join(f"  {v}  {where}" for where, v in found.items()))


def bump(version: str, root: Path = ROOT) -> None:
    """Write `version` in every place, or in none."""
    if VERSION.fullmatch(version) is None:
        raise SystemExit(f"`{version}` is no version like 1.2.3 or 1.2.3rc1")
    check(root)
    replacement = rf"\g<1>{version}"
    module = root / VERSION_MODULE
    texts = {module: MODULE_LINE.sub(replacement + r"\g<3>", module.read_text(encoding="utf-8"))}
    for path in _projects(root):
        text = PROJECT_LINE.sub(replacement + r"\g<3>", path.read_text(encoding="utf-8"))
        texts[path] = PIN.sub(replacement, text)
    for path, text in texts.items():
        path.write_text(text, encoding="utf-8")
    check(root)


def _projects(root: Path) -> list[Path]:
    return [path for name in DISTRIBUTIONS if (path := root / name / "pyproject.toml").is_file()]


def _requirements(project: dict[str, object]) -> list[str]:
    dependencies = project.get("dependencies", [])
    extras = project.get("optional-dependencies", {})
    assert isinstance(dependencies, list)
    assert isinstance(extras, dict)
    return [*dependencies, *(requirement for extra in extras.values() for requirement in extra)]


def main(arguments: list[str]) -> None:
    """Run the command line."""
    match arguments:
        case ["check"]:
            check()
            print(next(iter(versions().values())))
        case ["bump", version]:
            bump(version)
            print(f"{version} is written. Next: towncrier build --version {version}, commit, tag v{version}.")
        case _:
            raise SystemExit(__doc__)


if __name__ == "__main__":
    main(sys.argv[1:])

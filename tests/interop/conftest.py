"""Both implementations, and the golden repositories."""

from __future__ import annotations

import json
import zipfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.interop.reference import VARIABLE, Ours, Reference, Side, reference_python

GOLDEN = Path(__file__).parent / "golden" / "data"
# The one whose status refuses every write has tests of its own.
READ_ONLY = "v2-read-only-2.3.0"


@pytest.fixture(scope="session")
def reference() -> Iterator[Side]:
    """The reference implementation, in its own interpreter."""
    python = reference_python()
    if python is None:
        pytest.skip(f"{VARIABLE} names no interpreter; `tox -e interop` makes one")
    with Reference(python) as side:
        yield side


@pytest.fixture(scope="session")
def ours() -> Side:
    """Our implementation, in this process."""
    return Ours()


@pytest.fixture(scope="session")
def side(reference: Side, ours: Side) -> Callable[[str], Side]:
    """A side by its name."""
    return {"ours": ours, "reference": reference}.__getitem__


@pytest.fixture
def unpack_golden(tmp_path: Path) -> Callable[[str], str]:
    """Unpack a golden repository, and say where."""

    def unpack(name: str) -> str:
        folder = tmp_path / name
        with zipfile.ZipFile(GOLDEN / f"{name}.zip") as archive:
            archive.extractall(folder)
        return str(folder)

    return unpack


def golden_names() -> list[str]:
    return sorted(path.stem for path in GOLDEN.glob("*.zip"))


def golden_contents(name: str) -> dict[str, Any]:
    return json.loads((GOLDEN / f"{name}.json").read_text(encoding="utf-8"))

"""True in an environment that has icechunk-core and nothing else of ours (tox environment `core`).

Not collected by name, because it is false everywhere else: the environment names this file.
"""

from __future__ import annotations

import importlib.util
import subprocess
import sys
from importlib.metadata import distributions, requires, version

import pytest

VENDORS = ("boto3", "botocore", "google.cloud", "azure", "xarray", "dask", "distributed", "fsspec", "pandas")


@pytest.mark.parametrize("module", VENDORS)
def test_it_is_not_installed(module: str) -> None:
    with pytest.raises(ModuleNotFoundError):
        importlib.import_module(module)


def test_icechunk_core_is_all_there_is_of_ours() -> None:
    ours = {d.name for d in distributions() if d.name.replace("_", "-").startswith("icechunk")}
    assert ours == {"icechunk-core"}


def test_the_whole_public_api_imports() -> None:
    program = (
        "import icechunk\n"
        "for name in icechunk.__all__: getattr(icechunk, name)\n"
        f"assert icechunk.__version__ == {version('icechunk-core')!r}\n"
    )
    subprocess.run([sys.executable, "-W", "error", "-c", program], check=True)


def test_every_module_imports() -> None:
    program = (
        "import importlib, pkgutil, icechunk\n"
        # The kit needs pytest, which its users have; the doors and the command line do something at import.
        "skip = ('icechunk.testing', 'icechunk.xarray', 'icechunk.plugins.__main__')\n"
        "for info in pkgutil.walk_packages(icechunk.__path__, 'icechunk.'):\n"
        "    if not info.name.startswith(skip): importlib.import_module(info.name)\n"
    )
    subprocess.run([sys.executable, "-c", program], check=True)


def test_what_it_requires_is_what_is_written_down() -> None:
    required = {
        requirement.partition(">")[0].partition(";")[0].strip().replace("-", "_")
        for requirement in requires("icechunk-core") or ()
        if "extra ==" not in requirement
    }
    allowed = {
        "numpy",
        "pluggy",
        "pyyaml",
        "typing_extensions",
        "zarr",
        "zstandard",
    }
    assert required == allowed


@pytest.mark.parametrize(
    ("extra", "use"),
    [
        ("xarray", "import icechunk.xarray as door; door.to_icechunk(None, None)"),
        ("s3", "import icechunk; icechunk.s3_storage(bucket='b', prefix='p', region='us-east-1')"),
    ],
)
def test_what_is_missing_says_what_to_install(extra: str, use: str) -> None:
    done = subprocess.run([sys.executable, "-c", use], capture_output=True, text=True, check=False)
    assert done.returncode == 1
    assert done.stderr.strip().endswith(f"pip install 'icechunk-core[{extra}]'")
    assert "MissingPluginError" in done.stderr

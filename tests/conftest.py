"""What every test has: how long hypothesis searches, and the markers that a folder implies."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings

# No deadline: machines that run tests are busy, and a slow example is no wrong one.
settings.register_profile("default", deadline=None, suppress_health_check=[HealthCheck.too_slow])
# The same examples in every run, so that a red run is about the change under test.
settings.register_profile("ci", settings.get_profile("default"), derandomize=True, print_blob=True)
# For the environments that make sure of what another one has searched.
settings.register_profile("quick", settings.get_profile("ci"), max_examples=20)
# By hand, before a release: HYPOTHESIS_PROFILE=long.
settings.register_profile("long", settings.get_profile("default"), max_examples=5000)
settings.load_profile(os.environ.get("HYPOTHESIS_PROFILE", "ci" if os.environ.get("CI") else "default"))

TESTS = Path(__file__).parent
MARKED_FOLDERS = {"interop": pytest.mark.interop, "packaging": pytest.mark.packaging}


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Mark the tests of `tests/interop` and `tests/packaging`."""
    for item in items:
        if item.path.is_relative_to(TESTS):
            mark = MARKED_FOLDERS.get(item.path.relative_to(TESTS).parts[0])
            if mark is not None:
                item.add_marker(mark)

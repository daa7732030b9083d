"""Test classes to inherit: one for each interface of `icechunk.abc`. They need pytest."""

from __future__ import annotations

import pytest

# So that a failing `assert` of the kits tells as much as one in the inheriting tests.
pytest.register_assert_rewrite("icechunk.testing.conformance.storage", "icechunk.testing.conformance.solvers")

from icechunk.testing.conformance.solvers import SolverConformance  # noqa: E402
from icechunk.testing.conformance.storage import StorageConformance  # noqa: E402

__all__ = ["SolverConformance", "StorageConformance"]

"""For the tests of those who build on Icechunk: slow storage, failing storage, and `conformance` kits.

Nothing in the library imports this package, and it needs no test framework; the kits in
`icechunk.testing.conformance` need pytest.
"""

from __future__ import annotations

from icechunk.testing.faults import FaultInjectingBackend, FaultInjectingStorage, Faults, Request
from icechunk.testing.latency import LatencyStorage

__all__ = ["FaultInjectingBackend", "FaultInjectingStorage", "Faults", "LatencyStorage", "Request"]

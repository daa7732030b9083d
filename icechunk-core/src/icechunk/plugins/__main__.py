"""``python -m icechunk.plugins``: print who provides what."""

from __future__ import annotations

import sys

from icechunk.plugins.registry import report

sys.stdout.write(report() + "\n")

"""What this distribution contributes to Icechunk."""

from __future__ import annotations

from icechunk.abc.providers import Integration
from icechunk.plugins.hookspecs import hookimpl


@hookimpl
def icechunk_integrations() -> list[Integration]:
    """Contribute what stands behind ``icechunk.xarray``."""
    return [Integration(name="xarray", module="icechunk_xarray.writing")]

"""Writes Xarray objects into a session: the door to the distribution ``icechunk-xarray``.

Importing this module raises `MissingPluginError`, which is an `ImportError`, if that is not installed.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING

from icechunk.plugins import registry

if TYPE_CHECKING:
    from icechunk_xarray.writing import to_icechunk
else:
    to_icechunk = import_module(registry.integration("xarray").module).to_icechunk

__all__ = ["to_icechunk"]

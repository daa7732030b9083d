"""What core contributes itself, and what it knows to recommend: names only, nothing is imported."""

from __future__ import annotations

from types import MappingProxyType

__all__ = ["BUILTIN_PLUGINS", "EXTRA_OF_KIND", "EXTRA_OF_SCHEME"]

BUILTIN_PLUGINS = MappingProxyType(
    {"core-storage": "icechunk.backends.plugin", "core-solvers": "icechunk.solvers.plugin"}
)
"""Core's own plugins, by name: modules with the same hooks as anybody's."""

EXTRA_OF_KIND = MappingProxyType(
    {
        "s3": "s3",
        "r2": "s3",
        "tigris": "s3",
        "hf": "s3",
        "gcs": "gcs",
        "azure": "azure",
        "http": "all",
        "redirect": "all",
    }
)
"""Which extra of ``icechunk-core`` brings a kind of storage."""

EXTRA_OF_SCHEME = MappingProxyType(
    {
        "s3": "s3",
        "r2": "s3",
        "tigris": "s3",
        "hf": "s3",
        "gs": "gcs",
        "gcs": "gcs",
        "az": "azure",
        "azure": "azure",
        "abfs": "azure",
        "abfss": "azure",
        "http": "all",
        "https": "all",
    }
)
"""Which extra of ``icechunk-core`` brings a URL scheme."""

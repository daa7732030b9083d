"""The records that plugins contribute: frozen values that say what there is, and how to make it.

A hook returns them once; from then on the library calls what is in the record, never the hook.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from icechunk._values.storage_settings import StorageSettings
    from icechunk.abc.conflicts import ConflictSolver
    from icechunk.abc.credentials import CredentialSource
    from icechunk.abc.fetching import ChunkFetcher
    from icechunk.abc.locations import Location
    from icechunk.abc.storage import StorageBackend

__all__ = ["CredentialProvider", "FetcherProvider", "Integration", "NamedSolver", "StorageProvider"]


@dataclass(frozen=True, slots=True, kw_only=True)
class StorageProvider:
    """A kind of storage that repositories can live in."""

    kind: str
    """The `Location.kind` that this provider connects to: a short word in lower case."""

    connect: Callable[[Location, StorageSettings], StorageBackend]
    """Make a backend. Called in each process that uses the location, for each repository that is
    opened in it; import the vendor's SDK here. The settings are the repository's, over
    `default_settings`; a field that is ``None`` means the backend's own choice."""

    schemes: Mapping[str, Callable[[str, Mapping[str, Any]], Location]] | None = None
    """For each URL scheme, without ``://``, how to make a `Location` of a URL and the caller's keyword
    arguments. Makes ``icechunk.storage_from_url`` work. Refuse arguments that have no meaning here."""

    default_settings: Callable[[Location], StorageSettings] | None = None
    """The settings that are in force where neither the user nor the repository says otherwise."""

    describe: Callable[[Location], Sequence[tuple[str, object]]] | None = None
    """What the `Storage`'s repr shows, as names and values: first ``("type", "...")``. Without it:
    kind, root and options. No secrets."""


@dataclass(frozen=True, slots=True, kw_only=True)
class CredentialProvider:
    """A way to come by credentials, reached as ``icechunk.credentials.provided(name, **options)``."""

    name: str
    """What users call it."""

    handles: Sequence[str]
    """The kinds of storage for which it has credentials."""

    resolve: Callable[[Mapping[str, Any]], CredentialSource]
    """Make a source of the user's options. Called in each process that uses it, without I/O."""


@dataclass(frozen=True, slots=True, kw_only=True)
class NamedSolver:
    """A conflict solver, reached as ``icechunk.conflicts.solver(name, **options)``."""

    name: str
    """What users call it."""

    build: Callable[[Mapping[str, Any]], ConflictSolver]
    """Make the solver of the user's options; refuse options that have no meaning."""


@dataclass(frozen=True, slots=True, kw_only=True)
class FetcherProvider:
    """A way to read virtual chunks from locations of some URL schemes."""

    schemes: Sequence[str]
    """URL schemes, without ``://``."""

    connect: Callable[[Any, Any], ChunkFetcher]
    """Make a fetcher for a `~icechunk.virtual.VirtualChunkContainer` and its credentials (or ``None``)."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Integration:
    """What stands behind a door of core, such as ``icechunk.xarray``."""

    name: str
    """Which door: ``xarray`` or ``dask``."""

    module: str
    """The module whose public names the door shows. Imported when the door is first opened."""

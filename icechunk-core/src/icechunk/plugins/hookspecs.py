"""The hooks of the plugin API: whoever reads this file can write a plugin.

A plugin is a module (or any object) with functions of the names below, each marked with `hookimpl`::

    # my_storage/plugin.py
    from icechunk.abc import Location, StorageProvider
    from icechunk.plugins.hookspecs import hookimpl

    @hookimpl
    def icechunk_storage_providers():
        return [StorageProvider(kind="mine", connect=connect)]

and an entry point of the group ``icechunk`` that names it, in its distribution's metadata::

    [project.entry-points.icechunk]
    my-storage = "my_storage.plugin"

The entry point's name is the plugin's name: in messages, and in ``ICECHUNK_DISABLED_PLUGINS``.

**When.** Nothing is loaded by ``import icechunk``. At the first need of anything that a plugin could
provide, all entry points are loaded, one by one, and each hook is called once in the process. So keep
the module cheap: no SDK, no network, no xarray at import. Import those where the work begins, in
``connect``.

**What goes wrong.** A plugin that fails to import, or whose hook raises, is put aside: the others work, and
it is named, with the reason, as soon as something is asked for that nobody provides. A function whose
name begins with ``icechunk_`` and is no hook (a spelling mistake), or a hook that returns anything but
its records, puts the plugin aside in the same way. Two plugins that provide the same thing (kind,
name, scheme) are an error that names both, for whoever asks for that thing; everything else works.
``ICECHUNK_DISABLED_PLUGINS=a,b`` switches plugins off by name; ``ICECHUNK_DEBUG_PLUGINS=1`` tells on
standard error what is loaded, and shows the tracebacks of what fails; ``python -m icechunk.plugins``
prints who provides what.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import pluggy

if TYPE_CHECKING:
    from collections.abc import Iterable

    from icechunk.abc.providers import (
        CredentialProvider,
        FetcherProvider,
        Integration,
        NamedSolver,
        StorageProvider,
    )

__all__ = [
    "ENTRY_POINT_GROUP",
    "hookimpl",
    "hookspec",
    "icechunk_chunk_fetchers",
    "icechunk_conflict_solvers",
    "icechunk_credential_providers",
    "icechunk_integrations",
    "icechunk_storage_providers",
]

ENTRY_POINT_GROUP = "icechunk"

hookspec = pluggy.HookspecMarker("icechunk")
hookimpl = pluggy.HookimplMarker("icechunk")
"""Marks a function of a plugin as the implementation of the hook of its name."""


@hookspec
def icechunk_storage_providers() -> Iterable[StorageProvider]:  # type: ignore[empty-body]
    """Contribute the kinds of storage that a repository can live in.

    Called once in a process, when the first storage is used. Keep it cheap: build the client in
    ``connect``, and import the vendor's SDK there too. ``connect`` may be slow, and is called for each
    repository that is opened; the backend that it returns follows the contract of
    `icechunk.abc.storage`.

    Returns
    -------
    Iterable[StorageProvider]
        One for each kind. Two installed plugins with the same ``kind``, or with the same URL scheme,
        are an error that names both; the user can switch one off with ``ICECHUNK_DISABLED_PLUGINS``.
    """


@hookspec
def icechunk_credential_providers() -> Iterable[CredentialProvider]:  # type: ignore[empty-body]
    """Contribute ways to come by credentials.

    Called once in a process, when credentials are first asked for by name. ``resolve`` is called for
    each storage that uses them, and does no I/O; the source that it returns may be slow when it
    refreshes, is asked before requests from any thread, and keeps what is still good.

    Returns
    -------
    Iterable[CredentialProvider]
        One for each name. The same name from two plugins is an error that names both.
    """


@hookspec
def icechunk_conflict_solvers() -> Iterable[NamedSolver]:  # type: ignore[empty-body]
    """Contribute conflict solvers that users can name.

    Called once in a process, when a solver is first asked for by name. ``build`` is called for each
    such request and is cheap; the solver decides during a rebase, once for each conflict, and may read
    the chunks that it is shown. It follows the rules of `icechunk.abc.conflicts`, which
    `icechunk.testing.conformance.SolverConformance` tests.

    Returns
    -------
    Iterable[NamedSolver]
        One for each name. The same name from two plugins is an error that names both.
    """


@hookspec
def icechunk_chunk_fetchers() -> Iterable[FetcherProvider]:  # type: ignore[empty-body]
    """Contribute ways to read virtual chunks.

    Called once in a process, when a virtual chunk is first read. ``connect`` is called once for each
    virtual chunk container of an open repository; import the vendor's SDK there. The fetcher that it
    returns reads chunks from several threads.

    Returns
    -------
    Iterable[FetcherProvider]
        One for each way. The same URL scheme from two plugins is an error that names both.
    """


@hookspec
def icechunk_integrations() -> Iterable[Integration]:  # type: ignore[empty-body]
    """Contribute what stands behind the doors ``icechunk.xarray`` and ``icechunk.dask``.

    Called once in a process, when a door is first opened. The module named in the record is imported
    then, and only then.

    Returns
    -------
    Iterable[Integration]
        One for each door. The same name from two plugins is an error that names both.
    """

"""Finds plugins, calls their hooks once, and hands out what they brought.

Each function below answers from tables that are filled at the first need, in each process once. What
core itself contributes goes through the same hooks, and the same checks, as what is installed.

An answer is a record, or a `PluginError` that says which of these it is:

missing
    Nobody provides it; for what we publish ourselves, the message ends in the ``pip install``.
broken
    Nobody provides it, but some plugin was put aside because it could not be loaded: the message
    names the plugin, its distribution and the reason.
misspelt
    The same, because of a function that looks like a hook and is none.
clashing
    Two plugins provide it: the message names both, and how to switch one off.
disabled
    Nobody provides it, and ``ICECHUNK_DISABLED_PLUGINS`` switches a plugin off that may: it is named.

With ``ICECHUNK_DEBUG_PLUGINS=1`` every step is traced on standard error, tracebacks included.
"""

from __future__ import annotations

import os
import sys
import threading
import traceback
from dataclasses import dataclass, field
from functools import partial
from importlib import import_module
from typing import TYPE_CHECKING, Any, Generic, TypeVar
from urllib.parse import urlsplit

from icechunk.abc.providers import (
    CredentialProvider,
    FetcherProvider,
    Integration,
    NamedSolver,
    StorageProvider,
)
from icechunk.errors import ErrorKind, InvalidInputError, MissingPluginError, PluginError
from icechunk.plugins.builtin import BUILTIN_PLUGINS, EXTRA_OF_KIND, EXTRA_OF_SCHEME

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
    from importlib.metadata import EntryPoint

    from icechunk._values.storage_settings import StorageSettings
    from icechunk.abc.locations import Location
    from icechunk.abc.storage import StorageBackend

__all__ = [
    "Registry",
    "connect",
    "credential_provider",
    "fetcher_provider",
    "integration",
    "location_from_url",
    "register",
    "report",
    "solver",
    "storage_provider",
]

Record = TypeVar("Record")

_HOOK_PREFIX = "icechunk_"


# -- what the rest of the library asks ---------------------------------------------------------------------


def connect(location: Location, settings: StorageSettings | None = None) -> StorageBackend:
    """Make a backend for `location`. No I/O is promised, and none is excluded.

    Parameters
    ----------
    location
        Where.
    settings
        The settings in force, the provider's defaults included; ``None`` means just those.

    Raises
    ------
    PluginError
        No plugin, or more than one, provides storage of this kind.
    """
    provider = storage_provider(location.kind)
    return provider.connect(location, default_settings(location) if settings is None else settings)


def default_settings(location: Location) -> StorageSettings:
    """Tell the settings that storage at `location` has if nobody says otherwise."""
    # Not at the top: `icechunk.plugins` is imported by plugins, which need no settings for that.
    from icechunk._values.storage_settings import StorageSettings

    provider = storage_provider(location.kind)
    return StorageSettings() if provider.default_settings is None else provider.default_settings(location)


def storage_provider(kind: str) -> StorageProvider:
    """Look up the provider of a kind of storage."""
    return _registry.storage_provider(kind)


def location_from_url(url: str, settings: Mapping[str, Any]) -> Location:
    """Make a location of a URL, by the plugin that knows its scheme, with that plugin's own `settings`."""
    return _registry.location_from_url(url, settings)


def credential_provider(name: str) -> CredentialProvider:
    """Look up a provider of credentials."""
    return _registry.credential_provider(name)


def solver(name: str) -> NamedSolver:
    """Look up a conflict solver."""
    return _registry.solver(name)


def fetcher_provider(scheme: str) -> FetcherProvider:
    """Look up the fetcher of virtual chunks for a URL scheme."""
    return _registry.fetcher_provider(scheme)


def integration(name: str) -> Integration:
    """Look up what stands behind a door of core."""
    return _registry.integration(name)


def register(plugin: object, name: str) -> None:
    """Add a plugin that no entry point names, such as one made in a test or a notebook.

    It is loaded like the others, and like them cannot be removed; the same one may be added again.
    """
    _registry.register(plugin, name)


def report() -> str:
    """Tell in a table which plugin provides what, and which were put aside and why."""
    return _registry.report()


# -- how it is done ----------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class _Origin:
    """Where a plugin comes from, for messages."""

    name: str
    distribution: str | None

    def __str__(self) -> str:
        return f"`{self.name}` ({self.distribution or 'registered by the program'})"


@dataclass(slots=True)
class _Table(Generic[Record]):
    """What plugins contributed through one hook, by what users ask for."""

    what: str
    records: dict[str, list[tuple[Record, _Origin]]] = field(default_factory=dict)

    def add(self, key: str, record: Record, origin: _Origin) -> None:
        self.records.setdefault(key, []).append((record, origin))


class _Tables:
    """Everything that is there."""

    def __init__(self) -> None:
        self.storage: _Table[StorageProvider] = _Table("storage of kind")
        self.storage_schemes: _Table[StorageProvider] = _Table("storage for URLs of scheme")
        self.credentials: _Table[CredentialProvider] = _Table("credentials called")
        self.solvers: _Table[NamedSolver] = _Table("a conflict solver called")
        self.fetchers: _Table[FetcherProvider] = _Table("a fetcher of virtual chunks for URLs of scheme")
        self.integrations: _Table[Integration] = _Table("the integration with")

    def all(self) -> tuple[_Table[Any], ...]:
        return (
            self.storage,
            self.storage_schemes,
            self.credentials,
            self.solvers,
            self.fetchers,
            self.integrations,
        )

    def take_storage(self, record: StorageProvider, origin: _Origin) -> None:
        self.storage.add(record.kind, record, origin)
        for scheme in record.schemes or ():
            self.storage_schemes.add(scheme, record, origin)

    def take_credentials(self, record: CredentialProvider, origin: _Origin) -> None:
        self.credentials.add(record.name, record, origin)

    def take_solver(self, record: NamedSolver, origin: _Origin) -> None:
        self.solvers.add(record.name, record, origin)

    def take_fetcher(self, record: FetcherProvider, origin: _Origin) -> None:
        for scheme in record.schemes:
            self.fetchers.add(scheme, record, origin)

    def take_integration(self, record: Integration, origin: _Origin) -> None:
        self.integrations.add(record.name, record, origin)

    def hooks(self) -> dict[str, tuple[type, Callable[[Any, _Origin], None]]]:
        """Tell for each hook what it returns, and where that goes."""
        return {
            "icechunk_storage_providers": (StorageProvider, self.take_storage),
            "icechunk_credential_providers": (CredentialProvider, self.take_credentials),
            "icechunk_conflict_solvers": (NamedSolver, self.take_solver),
            "icechunk_chunk_fetchers": (FetcherProvider, self.take_fetcher),
            "icechunk_integrations": (Integration, self.take_integration),
        }


class Registry:
    """The plugins of one process.

    Parameters
    ----------
    entry_points
        Finds the installed plugins; called once. Default: those of the group ``icechunk``.
    environment
        Where ``ICECHUNK_DISABLED_PLUGINS`` and ``ICECHUNK_DEBUG_PLUGINS`` are read, at the first need.
    """

    def __init__(
        self,
        entry_points: Callable[[], Iterable[EntryPoint]] | None = None,
        environment: Mapping[str, str] | None = None,
    ) -> None:
        self._entry_points = _installed_entry_points if entry_points is None else entry_points
        self._environment = os.environ if environment is None else environment
        self._lock = threading.RLock()
        self._registered: dict[str, object] = {}
        self._loaded: _Tables | None = None
        self._loading = _Tables()
        self._manager: Any = None
        self._put_aside: list[tuple[_Origin, str]] = []
        self._disabled: list[str] = []

    # -- questions --------------------------------------------------------------------------------------

    def storage_provider(self, kind: str) -> StorageProvider:
        """Look up the provider of a kind of storage."""
        return self._lookup(self._tables().storage, kind, EXTRA_OF_KIND.get(kind))

    def location_from_url(self, url: str, settings: Mapping[str, Any]) -> Location:
        """Make a location of a URL."""
        scheme = urlsplit(url).scheme.lower() if "://" in url else ""
        if not scheme:
            raise InvalidInputError(
                f"cannot parse url `{url}`: expected `scheme://...`; known schemes: "
                f"{', '.join(sorted(self._tables().storage_schemes.records))}",
                kind=ErrorKind.CANNOT_PARSE_URL,
            )
        provider = self._lookup(self._tables().storage_schemes, scheme, EXTRA_OF_SCHEME.get(scheme))
        return (provider.schemes or {})[scheme](url, settings)

    def credential_provider(self, name: str) -> CredentialProvider:
        """Look up a provider of credentials."""
        return self._lookup(self._tables().credentials, name, None)

    def solver(self, name: str) -> NamedSolver:
        """Look up a conflict solver."""
        return self._lookup(self._tables().solvers, name, None)

    def fetcher_provider(self, scheme: str) -> FetcherProvider:
        """Look up the fetcher for a URL scheme."""
        return self._lookup(self._tables().fetchers, scheme, EXTRA_OF_SCHEME.get(scheme))

    def integration(self, name: str) -> Integration:
        """Look up what stands behind a door of core."""
        return self._lookup(self._tables().integrations, name, name)

    def report(self) -> str:
        """Tell which plugin provides what."""
        lines = []
        for table in self._tables().all():
            for key, providers in sorted(table.records.items()):
                clash = "  <- clash" if len(providers) > 1 else ""
                by = ", ".join(str(origin) for _, origin in providers)
                lines.append(f"{table.what} `{key}`: {by}{clash}")
        lines += [f"put aside: {origin}: {reason}" for origin, reason in self._put_aside]
        lines += [f"disabled: `{name}`" for name in self._disabled]
        return "\n".join(lines)

    def _lookup(self, table: _Table[Record], key: str, extra: str | None) -> Record:
        providers = table.records.get(key, [])
        if len(providers) == 1:
            return providers[0][0]
        if providers:
            all_of_them = " and ".join(str(origin) for _, origin in providers)
            switch = " or ".join(origin.name for _, origin in providers)
            raise PluginError(
                f"{len(providers)} plugins provide {table.what} `{key}`: {all_of_them}; "
                f"keep one, and switch off the others with ICECHUNK_DISABLED_PLUGINS={switch}"
            )
        raise self._absence(table, key, extra)

    def _absence(self, table: _Table[Any], key: str, extra: str | None) -> PluginError:
        message = f"no plugin provides {table.what} `{key}`"
        error: type[PluginError] = MissingPluginError
        if table.records:
            message += f" (there is: {', '.join(sorted(table.records))})"
        if self._disabled:
            message += f"; disabled by ICECHUNK_DISABLED_PLUGINS: {', '.join(self._disabled)}"
        if self._put_aside:
            reasons = "; ".join(f"plugin {origin}: {reason}" for origin, reason in self._put_aside)
            message += f"; put aside, because they cannot be loaded: {reasons}"
            if extra is None:
                error = PluginError
        if extra is not None:
            message += f"; to install it: pip install 'icechunk-core[{extra}]'"
        return error(message)

    # -- loading ----------------------------------------------------------------------------------------

    def register(self, plugin: object, name: str) -> None:
        """Add a plugin that no entry point names."""
        with self._lock:
            if name in self._registered:
                if self._registered[name] is plugin:
                    return
                raise PluginError(
                    f"two plugins are called `{name}`: {self._registered[name]!r} and {plugin!r}"
                )
            self._registered[name] = plugin
            if self._loaded is not None:
                self._add(_Origin(name, None), partial(_itself, plugin))

    def _tables(self) -> _Tables:
        if self._loaded is None:
            with self._lock:
                if self._loaded is None:
                    self._load()
                    self._loaded = self._loading
        return self._loaded

    def _load(self) -> None:
        # Not at the top: `import icechunk` is not to pay for it.
        import pluggy

        from icechunk.plugins import hookspecs

        manager = self._manager = pluggy.PluginManager("icechunk")
        if self._environment.get("ICECHUNK_DEBUG_PLUGINS", "") not in {"", "0"}:
            manager.trace.root.setwriter(_write_trace)
            manager.enable_tracing()
        manager.add_hookspecs(hookspecs)
        unwanted = {
            name.strip() for name in self._environment.get("ICECHUNK_DISABLED_PLUGINS", "").split(",")
        } - {""}
        for origin, load in self._candidates():
            if origin.name in unwanted:
                self._trace(f"disabled: {origin}")
                self._disabled.append(origin.name)
            else:
                self._add(origin, load)

    def _candidates(self) -> Iterator[tuple[_Origin, Callable[[], object]]]:
        for name, module in BUILTIN_PLUGINS.items():
            yield _Origin(name, "icechunk-core"), partial(import_module, module)
        for entry_point in self._entry_points():
            distribution = entry_point.dist
            described = f"{distribution.name} {distribution.version}" if distribution is not None else None
            yield _Origin(entry_point.name, described), entry_point.load
        for name, plugin in self._registered.items():
            yield _Origin(name, None), partial(_itself, plugin)

    def _add(self, origin: _Origin, load: Callable[[], object]) -> None:
        """Load one plugin and take what it brings, all or nothing."""
        self._trace(f"loading: {origin}")
        try:
            plugin = load()
            _refuse_misspelt_hooks(plugin)
            contributions = self._contributions(plugin, f"{origin.name} of {origin.distribution}")
        # Whatever a stranger's module raises: it is recorded, and the others go on.
        except Exception as failure:
            self._trace(f"put aside: {origin}: {failure}\n{traceback.format_exc()}")
            self._put_aside.append((origin, _reason(failure)))
            return
        for take, record in contributions:
            take(record, origin)

    def _contributions(self, plugin: object, name: str) -> list[tuple[Callable[[Any, _Origin], None], Any]]:
        manager = self._manager
        others = manager.get_plugins()
        manager.register(plugin, name=name)
        contributions: list[Any] = []
        try:
            for hook, (kind, take) in self._loading.hooks().items():
                # One plugin at a time, so that what one raises is not held against another.
                for records in manager.subset_hook_caller(hook, remove_plugins=others)():
                    for record in records:
                        if not isinstance(record, kind):
                            raise TypeError(f"`{hook}` returned {record!r}, expected a `{kind.__name__}`")
                        contributions.append((take, record))
        except BaseException:
            manager.unregister(plugin)
            raise
        return contributions

    def _trace(self, message: str) -> None:
        if self._manager is not None:
            self._manager.trace(message)


def _installed_entry_points() -> Sequence[EntryPoint]:
    # Not at the top: a slow import, for something that is needed once.
    from importlib.metadata import entry_points

    from icechunk.plugins.hookspecs import ENTRY_POINT_GROUP

    return tuple(entry_points(group=ENTRY_POINT_GROUP))


def _itself(plugin: object) -> object:
    return plugin


def _refuse_misspelt_hooks(plugin: object) -> None:
    known = _Tables().hooks()
    for name in dir(plugin):
        if not name.startswith(_HOOK_PREFIX):
            continue
        function = getattr(plugin, name)
        marked = hasattr(function, "icechunk_impl")
        if name not in known and (marked or callable(function)):
            # Not at the top: only mistakes need it.
            from difflib import get_close_matches

            near = get_close_matches(name, known, n=1, cutoff=0)
            raise PluginError(f"`{name}` is no hook of icechunk; did you mean `{near[0]}`?")
        if name in known and not marked:
            raise PluginError(f"`{name}` lacks the decorator `icechunk.plugins.hookspecs.hookimpl`")


def _reason(failure: Exception) -> str:
    return str(failure) if isinstance(failure, PluginError) else f"{type(failure).__name__}: {failure}"


def _write_trace(text: str) -> None:
    sys.stderr.write(text)


_registry = Registry()

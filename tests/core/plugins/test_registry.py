"""The plugin registry: what is found, and the six ways in which it is not."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable, Iterable, Mapping
from importlib.metadata import EntryPoint
from types import ModuleType
from typing import Any

import pytest

from icechunk.abc import (
    CredentialProvider,
    FetcherProvider,
    Integration,
    Location,
    NamedSolver,
    Secret,
    StorageProvider,
    make_storage,
)
from icechunk.errors import ErrorKind, IcechunkError, InvalidInputError, MissingPluginError, PluginError
from icechunk.plugins import hookspecs, registry
from icechunk.plugins.hookspecs import hookimpl
from icechunk.plugins.registry import Registry
from icechunk.storage import Storage, s3_storage, storage_from_url


class Distribution:
    """As much of one as messages need."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.version = "1.0"


class Installed:
    """An entry point of some distribution."""

    def __init__(self, name: str, load: Callable[[], object]) -> None:
        self.name = name
        self.dist = Distribution(f"dist-of-{name}")
        self.load = load


def plugin(**functions: Callable[..., Any]) -> ModuleType:
    module = ModuleType("plugin")
    for name, function in functions.items():
        setattr(module, name, function)
    return module


def storage_plugin(*providers: StorageProvider) -> ModuleType:
    @hookimpl
    def icechunk_storage_providers() -> Iterable[StorageProvider]:
        return providers

    return plugin(icechunk_storage_providers=icechunk_storage_providers)


def provider(kind: str, **more: Any) -> StorageProvider:
    return StorageProvider(kind=kind, connect=lambda location, settings: None, **more)  # type: ignore[arg-type,return-value]


def with_plugins(environment: Mapping[str, str] | None = None, **plugins: object) -> Registry:
    def load(found: object) -> object:
        if isinstance(found, Exception):
            raise found
        return found

    entry_points: list[Any] = [
        Installed(name, lambda found=found: load(found)) for name, found in plugins.items()
    ]
    return Registry(lambda: entry_points, environment or {})


# -- what is found -------------------------------------------------------------------------------------------


def test_core_comes_through_the_same_hooks() -> None:
    kinds = with_plugins().report()
    assert "storage of kind `local`: `core-storage` (icechunk-core)" in kinds
    assert "storage of kind `memory`: `core-storage` (icechunk-core)" in kinds


def test_every_hook_is_taken() -> None:
    @hookimpl
    def icechunk_storage_providers() -> Iterable[StorageProvider]:
        return [provider("mine", schemes={"mine": lambda url, settings: Location("mine", url, settings)})]

    @hookimpl
    def icechunk_credential_providers() -> Iterable[CredentialProvider]:
        return [CredentialProvider(name="vault", handles=["s3"], resolve=lambda options: None)]  # type: ignore[arg-type,return-value]

    @hookimpl
    def icechunk_conflict_solvers() -> Iterable[NamedSolver]:
        return [NamedSolver(name="mean", build=lambda options: None)]  # type: ignore[arg-type,return-value]

    @hookimpl
    def icechunk_chunk_fetchers() -> Iterable[FetcherProvider]:
        return [FetcherProvider(schemes=["ftp", "ftps"], connect=lambda container, credentials: None)]  # type: ignore[arg-type,return-value]

    @hookimpl
    def icechunk_integrations() -> Iterable[Integration]:
        return [Integration(name="xarray", module="somebody.xarray")]

    functions = (
        icechunk_storage_providers,
        icechunk_credential_providers,
        icechunk_conflict_solvers,
        icechunk_chunk_fetchers,
        icechunk_integrations,
    )
    found = with_plugins(mine=plugin(**{function.__name__: function for function in functions}))
    assert found.storage_provider("mine").kind == "mine"
    assert found.location_from_url("mine://x", {"a": 1}) == Location("mine", "mine://x", {"a": 1})
    assert found.credential_provider("vault").handles == ["s3"]
    assert found.solver("mean").name == "mean"
    assert found.fetcher_provider("ftps").schemes == ["ftp", "ftps"]
    assert found.integration("xarray").module == "somebody.xarray"


def test_every_hook_is_documented_and_tested() -> None:
    hooks = [name for name in dir(hookspecs) if name.startswith("icechunk_")]
    assert len(hooks) == 5
    for hook in hooks:
        text = getattr(hookspecs, hook).__doc__
        for word in ("Called once", "Returns", "same" if "storage" not in hook else "error"):
            assert word in text


def test_hooks_are_called_once() -> None:
    calls = []

    @hookimpl
    def icechunk_storage_providers() -> Iterable[StorageProvider]:
        calls.append(1)
        return [provider("mine")]

    found = with_plugins(mine=plugin(icechunk_storage_providers=icechunk_storage_providers))
    assert not calls
    for _ in range(3):
        found.storage_provider("mine")
    assert calls == [1]


def test_a_plugin_can_be_registered_by_the_program_at_any_time() -> None:
    found = with_plugins()
    before, after = storage_plugin(provider("before")), storage_plugin(provider("after"))
    found.register(before, "before")
    found.storage_provider("before")
    found.register(after, "after")
    found.register(after, "after")
    found.storage_provider("after")
    assert "put aside" not in found.report()
    with pytest.raises(PluginError, match="two plugins are called `after`"):
        found.register(before, "after")


def test_an_installed_entry_point_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    module = storage_plugin(provider("mine"))
    monkeypatch.setitem(sys.modules, "some_installed_plugin", module)
    entry_point = EntryPoint(name="mine", value="some_installed_plugin", group="icechunk")
    assert Registry(lambda: [entry_point], {}).storage_provider("mine").kind == "mine"


# -- the six errors ------------------------------------------------------------------------------------------


def test_missing_what_we_publish_ends_in_the_way_to_install_it() -> None:
    found = with_plugins()
    for kind, extra in (("s3", "s3"), ("tigris", "s3"), ("gcs", "gcs"), ("azure", "azure")):
        with pytest.raises(MissingPluginError) as info:
            found.storage_provider(kind)
        assert str(info.value).endswith(f"pip install 'icechunk-core[{extra}]'")
        assert isinstance(info.value, ImportError)
    with pytest.raises(MissingPluginError, match=r"pip install 'icechunk-core\[gcs\]'$"):
        found.location_from_url("gs://bucket/prefix", {})
    with pytest.raises(MissingPluginError, match=r"pip install 'icechunk-core\[xarray\]'$"):
        found.integration("xarray")
    with pytest.raises(MissingPluginError, match="no plugin provides storage of kind `mine`"):
        found.storage_provider("mine")


def test_a_broken_plugin_is_named_when_something_is_missing_and_the_others_work() -> None:
    found = with_plugins(
        broken=ImportError("No module named 'vendor'"), good=storage_plugin(provider("good"))
    )
    assert found.storage_provider("good").kind == "good"
    assert found.storage_provider("local").kind == "local"
    with pytest.raises(PluginError) as info:
        found.storage_provider("mine")
    assert "`broken` (dist-of-broken 1.0): ImportError: No module named 'vendor'" in str(info.value)
    assert not isinstance(info.value, MissingPluginError)
    assert info.value.kind == ErrorKind.UNIMPLEMENTED


def test_a_plugin_is_broken_too_if_its_hook_is() -> None:
    @hookimpl
    def icechunk_storage_providers() -> Iterable[StorageProvider]:
        raise RuntimeError("no luck today")

    @hookimpl
    def icechunk_integrations() -> list[str]:
        return ["xarray"]

    found = with_plugins(
        raises=plugin(icechunk_storage_providers=icechunk_storage_providers),
        lies=plugin(icechunk_integrations=icechunk_integrations),
        good=storage_plugin(provider("good")),
    )
    assert found.storage_provider("good").kind == "good"
    with pytest.raises(PluginError) as info:
        found.storage_provider("mine")
    assert "RuntimeError: no luck today" in str(info.value)
    assert "`icechunk_integrations` returned 'xarray', expected a `Integration`" in str(info.value)


def test_a_broken_plugin_of_ours_is_named_beside_the_way_to_install_it() -> None:
    found = with_plugins(s3=ImportError("botocore is too old"))
    with pytest.raises(MissingPluginError) as info:
        found.storage_provider("s3")
    assert "botocore is too old" in str(info.value)
    assert str(info.value).endswith("pip install 'icechunk-core[s3]'")


def test_clashing_plugins_are_both_named_and_everything_else_works() -> None:
    found = with_plugins(
        first=storage_plugin(provider("mine"), provider("first")),
        second=storage_plugin(provider("mine"), provider("second")),
        greedy=storage_plugin(provider("local")),
    )
    assert found.storage_provider("first").kind == "first"
    assert found.storage_provider("second").kind == "second"
    with pytest.raises(PluginError) as info:
        found.storage_provider("mine")
    assert "`first` (dist-of-first 1.0) and `second` (dist-of-second 1.0)" in str(info.value)
    assert "ICECHUNK_DISABLED_PLUGINS=first or second" in str(info.value)
    with pytest.raises(PluginError, match=r"`core-storage` \(icechunk-core\) and `greedy`"):
        found.storage_provider("local")


def test_a_misspelt_hook_is_an_error_that_knows_the_right_name() -> None:
    @hookimpl
    def icechunk_storage_provider() -> Iterable[StorageProvider]:
        return [provider("mine")]

    found = with_plugins(mine=plugin(icechunk_storage_provider=icechunk_storage_provider))
    with pytest.raises(PluginError) as info:
        found.storage_provider("mine")
    assert "`mine` (dist-of-mine 1.0)" in str(info.value)
    assert "`icechunk_storage_provider` is no hook" in str(info.value)
    assert "did you mean `icechunk_storage_providers`?" in str(info.value)


def test_a_hook_without_its_decorator_is_an_error() -> None:
    def icechunk_storage_providers() -> Iterable[StorageProvider]:
        return [provider("mine")]

    found = with_plugins(mine=plugin(icechunk_storage_providers=icechunk_storage_providers))
    with pytest.raises(PluginError, match="lacks the decorator"):
        found.storage_provider("mine")


def test_a_disabled_plugin_is_not_loaded_and_named_when_something_is_missing() -> None:
    plugins: dict[str, object] = {
        "first": storage_plugin(provider("mine")),
        "second": storage_plugin(provider("mine")),
        "slow": AssertionError("loaded all the same"),
    }
    found = with_plugins({"ICECHUNK_DISABLED_PLUGINS": " second, slow,"}, **plugins)
    assert found.storage_provider("mine").kind == "mine"
    with pytest.raises(MissingPluginError, match="disabled by ICECHUNK_DISABLED_PLUGINS: second, slow"):
        found.storage_provider("theirs")
    assert "put aside" not in found.report()


def test_loading_is_traced_on_demand(capsys: pytest.CaptureFixture[str]) -> None:
    plugins: dict[str, object] = {"broken": ImportError("No module named 'vendor'")}
    with_plugins({"ICECHUNK_DEBUG_PLUGINS": "1"}, **plugins).storage_provider("local")
    traced = capsys.readouterr().err
    assert "loading: `core-storage` (icechunk-core)" in traced
    assert "icechunk_storage_providers [hook]" in traced
    assert "put aside: `broken` (dist-of-broken 1.0)" in traced
    assert "Traceback (most recent call last):" in traced
    with_plugins({"ICECHUNK_DEBUG_PLUGINS": "0"}, **plugins).storage_provider("local")
    assert capsys.readouterr().err == ""


def test_who_provides_what_can_be_printed() -> None:
    found = with_plugins(
        {"ICECHUNK_DISABLED_PLUGINS": "off"},
        first=storage_plugin(provider("mine")),
        second=storage_plugin(provider("mine")),
        broken=ImportError("No module named 'vendor'"),
        off=storage_plugin(provider("off")),
    )
    lines = found.report().splitlines()
    both = "`first` (dist-of-first 1.0), `second` (dist-of-second 1.0)"
    assert f"storage of kind `mine`: {both}  <- clash" in lines
    assert "put aside: `broken` (dist-of-broken 1.0): ImportError: No module named 'vendor'" in lines
    assert "disabled: `off`" in lines
    printed = subprocess.run(
        [sys.executable, "-m", "icechunk.plugins"], capture_output=True, text=True, check=True, timeout=60
    ).stdout
    assert "storage of kind `local`" in printed


# -- what users meet -----------------------------------------------------------------------------------------


def test_s3_without_its_plugin_says_so_at_the_call() -> None:
    with pytest.raises(MissingPluginError, match=r"pip install 'icechunk-core\[s3\]'$"):
        s3_storage(bucket="b", prefix="p", secret_access_key="hidden")


def test_a_plugins_storage_is_a_storage_like_any_other(monkeypatch: pytest.MonkeyPatch) -> None:
    location = Location("mine", "/x.db", {"timeout": 3, "password": Secret("hunter2")})
    storage = make_storage(location)
    assert isinstance(storage, Storage)
    assert storage == make_storage(Location("mine", "/x.db", {"password": Secret("hunter2"), "timeout": 3}))
    assert storage != make_storage(Location("mine", "/x.db", {"timeout": 3, "password": Secret("*")}))
    for text in (repr(storage), str(storage), storage._repr_html_(), repr(location)):
        assert "hunter2" not in text
    # Its plugin is not there: it shows itself all the same.
    assert repr(storage) == "<icechunk.Storage>\ntype: mine\npath: /x.db\ntimeout: 3\npassword: ***\n"
    with pytest.raises(MissingPluginError):
        storage.list_objects()
    monkeypatch.setattr(
        registry,
        "_registry",
        with_plugins(mine=storage_plugin(provider("mine", describe=lambda location: [("type", "Mine")]))),
    )
    assert repr(storage) == "<icechunk.Storage>\ntype: Mine\n"


def test_urls_make_storage() -> None:
    assert storage_from_url("file:///some/folder%20of%20mine", durable=True).location.root == (
        "/some/folder of mine"
    )
    assert storage_from_url("memory://") != storage_from_url("memory://")
    for url in ("some/folder", "file://elsewhere/x", "file:///", "memory://x", "://"):
        with pytest.raises(InvalidInputError) as info:
            storage_from_url(url)
        assert info.value.kind == ErrorKind.CANNOT_PARSE_URL
    with pytest.raises(TypeError, match="colour"):
        storage_from_url("file:///x", colour="red")


def test_importing_looks_for_no_plugin() -> None:
    code = (
        "import sys\n"
        "import icechunk.storage\n"
        "storage = icechunk.storage.local_filesystem_storage('x')\n"
        "assert 'pluggy' not in sys.modules\n"
        "assert 'icechunk.backends.local' not in sys.modules\n"
        "print('fine')"
    )
    run = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=False, timeout=60
    )
    assert run.stdout == "fine\n", run.stderr


def test_plugin_errors_are_ours() -> None:
    assert issubclass(PluginError, IcechunkError)

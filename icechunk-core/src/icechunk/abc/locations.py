"""Where a repository lives: a plain value that travels, and the public `Storage` made from it."""

from __future__ import annotations

from dataclasses import dataclass, field
from importlib import import_module
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, cast

if TYPE_CHECKING:
    from collections.abc import Mapping

    from icechunk.storage import Storage

__all__ = ["Location", "make_storage"]


@dataclass(frozen=True, slots=True, repr=False)
class Location:
    """The address of one repository, in terms of the plugin that can reach it.

    Frozen, comparable, hashable and picklable. Credentials are options wrapped in
    `~icechunk.abc.Secret`, which no text shows.

    Parameters
    ----------
    kind
        Which kind of storage: the `~icechunk.abc.StorageProvider` of this kind connects to it.
    root
        The place: a path, a URL, a bucket with a prefix. Not secret.
    options
        Whatever else the provider needs, by name. Values must pickle and compare.
    """

    kind: str
    root: str
    options: Mapping[str, Any] = field(default_factory=dict, hash=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "options", MappingProxyType(dict(self.options)))

    def __reduce__(self) -> tuple[type[Location], tuple[str, str, dict[str, Any]]]:
        # A read-only view of a dict does not pickle.
        return Location, (self.kind, self.root, dict(self.options))

    def __repr__(self) -> str:
        options = "".join(f", {name}={value!r}" for name, value in self.options.items())
        return f"Location({self.kind!r}, {self.root!r}{options})"


def make_storage(location: Location) -> Storage:
    """Make the public `Storage` of a location: what a plugin's own constructor returns.

    No I/O, and no plugin is looked up: that happens when the storage is first used.
    """
    # By name, because `Storage` is a door and lies above this layer; plugin authors should find all
    # that they need in one place all the same.
    return cast("Storage", import_module("icechunk.storage").Storage._from_location(location))

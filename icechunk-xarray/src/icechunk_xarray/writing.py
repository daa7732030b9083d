"""Writes Xarray objects into a session."""

from __future__ import annotations

from collections.abc import Hashable, Mapping
from typing import TYPE_CHECKING, Any, Literal

import xarray as xr

from icechunk.store import IcechunkStore

if TYPE_CHECKING:
    from icechunk.session import Session

__all__ = ["to_icechunk"]


def to_icechunk(
    obj: xr.DataArray | xr.Dataset,
    session: Session,
    *,
    group: str | None = None,
    mode: Literal["w", "w-", "a", "a-", "r+"] | None = None,
    safe_chunks: bool = True,
    align_chunks: bool = False,
    append_dim: Hashable | None = None,
    region: Mapping[str, slice | Literal["auto"]] | Literal["auto"] | None = None,
    encoding: Mapping[str, Any] | None = None,
    chunkmanager_store_kwargs: dict[str, Any] | None = None,
) -> None:
    """Write a Dataset or DataArray into a session, to be committed with it.

    What is written, and when it is an error, is what `xarray.Dataset.to_zarr` says of the same
    arguments; the group has no consolidated metadata, which Icechunk does not need. Nothing is committed:
    call `Session.commit`, or `Session.discard_changes` after an error half way.

    Data in memory is written from the calling thread. Data in Dask arrays is computed, and written, by
    the scheduler that is in force, and must be one whose workers are threads of this process: a
    writable session does not travel to other processes.

    Parameters
    ----------
    obj
        What to write. A DataArray without a name, or with that of one of its coordinates, becomes the
        variable ``__xarray_dataarray_variable__``.
    session
        A writable session.
    group
        The path of the group to write to, made if it is not there; default: the root.
    mode
        ``"w"``: replace what is there. ``"w-"``: create, an error if there is something. ``"a"``:
        replace variables that are there, add others. ``"a-"``: the same, but change only variables
        that have the dimension `append_dim`. ``"r+"``: change values of variables that are there,
        nothing else. Default: ``"a"`` with `append_dim`, ``"r+"`` with `region`, else ``"w-"``.
    safe_chunks
        Refuse to write Dask chunks of which several would change one Zarr chunk.
    align_chunks
        Rechunk Dask arrays to fit the Zarr chunks.
    append_dim
        Append along this dimension to the variables that have it.
    region
        Write into this part of existing variables: a slice for each dimension, or ``"auto"``, which
        finds it by comparing coordinates.
    encoding
        For each variable its encoding: ``{"wind": {"chunks": (12, 73, 144), "dtype": "f4"}}``.
    chunkmanager_store_kwargs
        Handed to the chunk manager's ``store``, for instance `dask.array.store`.

    Raises
    ------
    TypeError
        `obj` or `session` is something else.
    ValueError
        `session` is read-only, or the arguments do not fit together or to what is there.
    FileExistsError
        There is something, and `mode` is ``"w-"``.
    """
    store = _checked(obj, session)
    obj.to_zarr(
        store,
        group=group,
        mode=mode,
        encoding=encoding,
        append_dim=append_dim,
        region=region,
        safe_chunks=safe_chunks,
        align_chunks=align_chunks,
        chunkmanager_store_kwargs=chunkmanager_store_kwargs,
        # A snapshot is as good as consolidated metadata, and never out of date.
        consolidated=False,
        # Whatever `zarr.config` says: Icechunk holds nothing else.
        zarr_format=3,
    )


def _checked(obj: object, session: object) -> IcechunkStore:
    """Return the session's store; the arguments may be anything that a caller hands in."""
    if not isinstance(obj, (xr.Dataset, xr.DataArray)):
        hint = "; write each of its datasets to its group" if isinstance(obj, xr.DataTree) else ""
        raise TypeError(f"cannot write a {type(obj).__name__}, expected a Dataset or a DataArray{hint}")
    store = getattr(session, "store", None)
    if not isinstance(store, IcechunkStore):
        raise TypeError(f"cannot write into a {type(session).__name__}, expected an icechunk Session")
    return store

"""Five years of monthly winds in a repository: a commit a year, a tag, a correction on a branch, a look back.

    python examples/quickstart/quickstart.py [FOLDER]

Everything below `main` is what you would write yourself.
"""

from __future__ import annotations

import sys
from collections import Counter
from pathlib import Path

import numpy as np
import xarray as xr

import icechunk
from icechunk.xarray import to_icechunk

WINDS = Path(__file__).parent / "winds.npz"


def main() -> int:
    folder = Path(sys.argv[1] if len(sys.argv) > 1 else "quickstart-repository")
    if folder.exists():
        print(f"{folder} is already there. Remove it, or name another folder:", file=sys.stderr)
        print(f"    {Path(sys.executable).name} {sys.argv[0]} FOLDER", file=sys.stderr)
        return 1
    storage = icechunk.local_filesystem_storage(folder)
    tell_the_story(storage)
    print(f"\nThe files are in {folder.resolve()}:")
    show_files(storage)
    return 0


def tell_the_story(storage: icechunk.Storage) -> icechunk.Repository:
    """The whole life of a small repository, in any storage."""
    winds = load_winds()
    print(f"Monthly winds over the tropical Pacific: {dict(winds.sizes)}\n")

    # -- a year at a time, a commit each ------------------------------------------------------------

    repo = icechunk.Repository.create(storage)
    for year, part in winds.groupby("time.year"):
        session = repo.writable_session("main")
        if year == 1982:
            # A chunk holds a year of one variable.
            encoding = {name: {"chunks": (12, *part[name].shape[1:])} for name in part}
            to_icechunk(part, session, encoding=encoding)
        else:
            to_icechunk(part, session, append_dim="time")
        snapshot = session.commit(f"Add the winds of {year}", metadata={"months": part.sizes["time"]})
        print(f"{year} is snapshot {snapshot}")

    # -- a release is a tag: a name that never moves -------------------------------------------------

    repo.create_tag("v1", repo.lookup_branch("main"))
    print("\nThat is release v1.\n")

    # -- a correction, on a branch: readers of main see nothing of it --------------------------------

    repo.create_branch("better-times", repo.lookup_branch("main"))
    session = repo.writable_session("better-times")
    months = winds.time.values.astype("M8[M]")
    starts, ends = months.astype("M8[h]"), (months + np.timedelta64(1, "M")).astype("M8[h]")
    middles = starts + (ends - starts) // 2
    to_icechunk(winds[["time"]].assign_coords(time=middles.astype("M8[ns]")), session, mode="a")
    session.commit("Stamp each month with its middle, the source's stamps drift")

    # -- compare what is on the branch with what is on main ------------------------------------------

    before, after = read(repo, branch="main"), read(repo, branch="better-times")
    for label, data in (("main", before), ("better-times", after)):
        print(f"{label + ':':14} the last month is stamped {data.time.values[-1]:.16}")
    changed = [name for name in before.variables if not before[name].variable.equals(after[name].variable)]
    print(f"What differs between the two: {', '.join(changed)}\n")

    # Content with it? Then main becomes what the branch is.
    repo.reset_branch("main", repo.lookup_branch("better-times"))
    repo.create_tag("v2", repo.lookup_branch("main"))
    repo.delete_branch("better-times")

    # -- travel back in time ---------------------------------------------------------------------------

    history = list(repo.ancestry(branch="main"))
    oldest = history[-2]  # the very first snapshot is that of an empty repository
    for label, data in (
        ("now", read(repo, branch="main")),
        ("release v1", read(repo, tag="v1")),
        ("after the first commit", read(repo, snapshot_id=oldest.id)),
        ("as of that moment", read(repo, branch="main", as_of=oldest.written_at)),
    ):
        print(f"{label + ':':24} {data.sizes['time']:3} months, the last {data.time.values[-1]:.16}")

    # -- and use it: the wind in late 1982 came from the other side ------------------------------------

    pacific = read(repo, tag="v2").uwnd.sel(lat=slice(-5, 5), lon=slice(160, 200))
    autumn = pacific.sel(time=pacific.time.dt.month >= 10).mean(["lat", "lon"]).groupby("time.year").mean()
    print("\nWind from the west at the equator, 160°E to 160°W, October to December, in m/s:")
    for year, speed in zip(autumn.year.values, autumn.values, strict=True):
        print(f"    {year} {speed:5.1f}" + ("   El Niño" if speed > 0 else ""))

    # -- the history ---------------------------------------------------------------------------------

    names = {repo.lookup_tag(tag): tag for tag in repo.list_tags()}
    print("\nThe history of main:")
    for info in history:
        tag = f"   <- {names[info.id]}" if info.id in names else ""
        print(f"    {info.id}  {info.written_at:%Y-%m-%d %H:%M:%S}  {info.message}{tag}")
    return repo


def load_winds() -> xr.Dataset:
    """The winds, from the small file beside this one; README.md says where they come from."""
    with np.load(WINDS) as file:
        dims = ("time", "lat", "lon")
        return xr.Dataset(
            {
                "uwnd": (dims, file["uwnd"], {"long_name": "zonal wind", "units": "m s-1"}),
                "vwnd": (dims, file["vwnd"], {"long_name": "meridional wind", "units": "m s-1"}),
            },
            coords={
                "time": file["time"],
                "lat": ("lat", file["lat"], {"units": "degrees_north"}),
                "lon": ("lon", file["lon"], {"units": "degrees_east"}),
            },
            attrs={"title": "Monthly winds of the US Navy (FNOC) over the tropical Pacific"},
        )


def read(repo: icechunk.Repository, **version: object) -> xr.Dataset:
    """The data of a branch, a tag, a snapshot or a moment."""
    session = repo.readonly_session(**version)
    return xr.open_zarr(session.store, consolidated=False, chunks=None)


def show_files(storage: icechunk.Storage) -> None:
    """How many objects there are of which kind, and how large they are."""
    count: Counter[str] = Counter()
    size: Counter[str] = Counter()
    for name, size_bytes in storage.list_objects():
        folder = name.partition("/")[0] + ("/" if "/" in name else "")
        count[folder] += 1
        size[folder] += size_bytes
    for folder in sorted(count):
        print(f"    {folder:14} {count[folder]:3} files {size[folder]:10,} bytes")


if __name__ == "__main__":
    sys.exit(main())

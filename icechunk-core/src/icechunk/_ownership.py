"""Notice that the distribution `icechunk` of PyPI is installed in the same environment.

Both bring the import package `icechunk`, so the one that was installed last has overwritten files of the other, and
uninstalling one deletes files of both. What is left may even import, and fail later in strange ways.

The check runs from two places. `icechunk/__init__.py` is ours when ours came last. When the other came last,
that file is theirs, but it imports `icechunk.credentials` in every release since 1.0, and there ours
is still found: a package comes before a module of the same name. That is why `credentials` is a package.
"""

from __future__ import annotations

from importlib.metadata import PackageNotFoundError, version


def refuse_second_owner() -> None:
    """Raise an error that says how to repair the environment, if it has two owners of `icechunk`.

    Raises
    ------
    ImportError
        The distribution `icechunk` is installed beside `icechunk-core`.
    """
    try:
        # One look at the names in each folder of sys.path, which importlib.metadata keeps.
        other = version("icechunk")
    except PackageNotFoundError:
        return
    raise ImportError(
        f"icechunk-core and icechunk {other} are both installed in this environment; they have the same import "
        "package and overwrite each other's files. To keep icechunk-core:\n"
        "    python -m pip uninstall --yes icechunk\n"
        "    python -m pip install --force-reinstall --no-deps icechunk-core\n"
        "To keep icechunk instead, uninstall icechunk-core first and then reinstall icechunk.",
        name="icechunk",
    )

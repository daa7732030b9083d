"""The ops log, read across all its pages: the newest is in `repo`, older ones in its backups.

Format section 8.1. Each page is a whole repo info, of which only the updates are looked at.
"""

from __future__ import annotations

from functools import partial
from itertools import count, repeat
from typing import TYPE_CHECKING, Any, NamedTuple

from icechunk._engine.format import repo_info_records as records
from icechunk._engine.format.envelope import open_file
from icechunk._engine.format.header import FileType
from icechunk._engine.format.layout import backup_path
from icechunk._engine.format.repo_info import decode_updates
from icechunk._engine.repository.state import public_status
from icechunk._values.enums import SpecVersion
from icechunk._values.updates import UpdateType
from icechunk.errors import ErrorKind, FormatError, ObjectNotFoundError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from icechunk._engine.format.repo_info_updates import UpdateColumns, UpdateList
    from icechunk.abc.storage import StorageBackend


class LoggedUpdate(NamedTuple):
    """An entry of the log, decoded when it is asked for something: a log can be long."""

    updates: UpdateColumns
    row: int
    name_of_page: str | None
    """The backup that `updates` were read from; None if that is `repo` itself."""
    updated_at: int
    """When, in microseconds since the epoch."""

    @property
    def kind(self) -> UpdateType:
        """What was done."""
        return _public(self.updates.kind(self.row))

    @property
    def backup_path(self) -> str | None:
        """The bare name of the backup in which this entry is the newest.

        None for the newest entry of all, and for those that an upgrade made.
        """
        # The head of a page does not know the page's own name.
        path = self.updates.backup_path(self.row)
        return self.name_of_page if path is None and not self.row else path


# Around the named tuple's own `__new__`, which takes three times as long.
_entry: Callable[[tuple[UpdateColumns, int, str | None, int]], LoggedUpdate] = partial(
    tuple.__new__, LoggedUpdate
)


def read_ops_log(updates: UpdateList, backend: StorageBackend) -> Iterator[LoggedUpdate]:
    """Yield what was done to a repository, newest first: one GET for each page after the first.

    `updates`: those that `repo` holds. A page that is gone ends the log.

    Raises
    ------
    FormatError
        While iterating: a page is damaged, or the pages run in a circle.
    """
    name: str | None = None
    seen: set[str] = set()
    while True:
        columns = updates.columns
        # In one go, as there may be very many.
        yield from map(_entry, zip(repeat(columns), count(), repeat(name), columns.updated_at))
        name = updates.before
        if name is None:
            return
        if name in seen:
            raise FormatError(
                f"the ops log goes round in a circle at backup `{name}`", kind=ErrorKind.INVALID_FILE_FORMAT
            )
        seen.add(name)
        path = backup_path(name)
        try:
            data = backend.fetch(path).data
        except ObjectNotFoundError:
            return
        _header, payload = open_file(data, FileType.REPO_INFO, name=path)
        # Compact, as the rest of an old page is larger than what is read of it, and of no use.
        updates = decode_updates(payload, name=path).compact()


def _public(kind: records.UpdateKind) -> UpdateType:
    """Return an update as users see it: the class of the same name, with readable contents."""
    if isinstance(kind, records.NewCommit):  # nearly all of them
        return UpdateType.NewCommit(kind.branch, str(kind.new_snap_id))
    match kind:
        case records.RepoMigrated(before, after):
            return UpdateType.RepoMigrated(SpecVersion(before), SpecVersion(after))
        case records.RepoStatusChanged(status):
            return UpdateType.RepoStatusChanged(public_status(status))
        case records.FeatureFlagChanged(id, value):
            return UpdateType.FeatureFlagChanged(id, value)
    # The rest is made of names, and of ids that `str` makes readable.
    public: Any = getattr(UpdateType, type(kind).__name__)
    made: UpdateType = public(*(str(getattr(kind, name)) for name in public.__slots__))
    return made

"""The `repo` object of spec 2: read through a validated cache, changed by compare-and-set.

Protocol 2. Every change is a pure function of the repo info that it replaces, run again on fresh
state when somebody else was faster.
"""

from __future__ import annotations

import logging
import random
import time
from collections.abc import Callable
from functools import partial
from typing import TYPE_CHECKING, Any, NamedTuple

from icechunk._engine.assets.assets import Assets, file_metadata
from icechunk._engine.assets.clock import now_after, time_text
from icechunk._engine.assets.fanout import run_all
from icechunk._engine.format.envelope import open_file, seal_file
from icechunk._engine.format.header import FileType
from icechunk._engine.format.ids import ObjectId12
from icechunk._engine.format.layout import REPO_PATH, backup_name, backup_path
from icechunk._engine.format.repo_info import RepoInfo
from icechunk._engine.format.repo_info_records import ONLINE, StatusRecord
from icechunk._engine.repository.ops_log import read_ops_log
from icechunk._engine.repository.ref_errors import repository_not_found
from icechunk.abc.storage import (
    NOT_YET_CREATED,
    UNCHANGED,
    Landed,
    LostRace,
    ObjectKind,
    PutOutcome,
    Version,
)
from icechunk.errors import ConflictError, ErrorKind, ObjectNotFoundError, ReadOnlyError

if TYPE_CHECKING:
    from icechunk._values.effective import EffectiveSettings

_log = logging.getLogger("icechunk.repository")

SPEC_VERSION = 2

# Losers of a race try again at once so many times; only then do they begin to wait.
_IMMEDIATE_RETRIES = 5


class Change(NamedTuple):
    """What an update knows while it computes the new repo info."""

    info: RepoInfo
    """The repo info that is being replaced."""
    updated_at: int
    backup_name: str


class _Known(NamedTuple):
    info: RepoInfo
    version: Version
    updated_at: int


class RepoFile:
    """The repo info of one repository, on the storage of `assets`. Safe from several threads."""

    def __init__(self, assets: Assets) -> None:
        self._assets = assets
        # Replaced as a whole, never changed: no lock is needed, and the worst that a race does
        # is to keep the older of two, which the next read finds out.
        self._known: _Known | None = None

    def __reduce__(self) -> tuple[type[RepoFile], tuple[Assets]]:
        return RepoFile, (self._assets,)

    def over(self, assets: Assets) -> RepoFile:
        """Return the same file over other assets, with what is known of it."""
        other = RepoFile(assets)
        other._known = self._known
        return other

    def load(self) -> RepoInfo:
        """Return the repo info as it is now: one conditional GET (on local storage a stat).

        Raises
        ------
        RepositoryNotFoundError
            There is none.
        """
        return self._revalidated().info

    def look(self) -> object:
        """Read the repo info, for an update that begins later: its `seen`."""
        return self._revalidated()

    def _revalidated(self) -> _Known:
        known = self._known
        try:
            fetched = self._assets.backend.get(REPO_PATH, unless=None if known is None else known.version)
            if fetched is UNCHANGED:
                if known is not None:
                    return known
                # The backend breaks its contract: ask again, without a condition.
                fetched = self._assets.backend.fetch(REPO_PATH)
        except ObjectNotFoundError:
            raise repository_not_found() from None
        return self._remember(fetched.data, fetched.version)

    def remember(self, data: bytes | memoryview, version: Version | None) -> RepoInfo:
        """Decode and keep what somebody else has just read of `repo`."""
        return self._remember(data, version).info

    def _remember(self, data: bytes | memoryview, version: Version | None) -> _Known:
        _header, payload = open_file(data, FileType.REPO_INFO, name=REPO_PATH)
        info = RepoInfo.decode(payload, name=REPO_PATH)
        known = _Known(info, version or Version(""), info.latest_updates[0].updated_at)
        self._known = known
        return known

    def create(self, info: RepoInfo) -> PutOutcome:
        """Write the first repo info, if there is none."""
        data = self._sealed(info)
        outcome = self._assets.backend.put(
            REPO_PATH,
            data,
            expected=NOT_YET_CREATED,
            kind=ObjectKind.REF,
            user_metadata=file_metadata(FileType.REPO_INFO, SPEC_VERSION),
        )
        if isinstance(outcome, Landed) and outcome.version is not None:
            self._known = _Known(info, outcome.version, info.latest_updates[0].updated_at)
        return outcome

    def update(
        self,
        change: Callable[[Change], RepoInfo],
        *,
        even_if_read_only: bool = False,
        seen: object = None,
        check: Callable[[], None] | None = None,
    ) -> RepoInfo:
        """Replace the repo info by what `change` makes of it, and return the new one.

        `change` is called once for each attempt, with the repo info that this attempt is about
        to replace; what it raises ends the update. `seen` is what `look` has returned a moment
        ago: the first attempt does not read anew. `check` is called once, before `repo` is
        written, beside the backup of the old one.

        When an answer is lost, the ops log tells what became of the attempt: each attempt makes
        a backup under a name of its own, and the log keeps the names of those that counted.

        Raises
        ------
        ReadOnlyError
            The repository's status is not online.
        ConflictError
            Too many others were faster.
        """
        settings = self._assets.settings
        unresolved: dict[str, int] = {}
        losses = 0
        known = seen if isinstance(seen, _Known) else None
        while True:
            # On storage that needs a lock this is it, held from the read to the write, so that
            # writers queue up instead of losing. The clock is read inside: one after another.
            with self._assets.backend.exclusive(REPO_PATH):
                if known is None:
                    known = self._revalidated()
                if unresolved and self._has_landed(known.info, unresolved):
                    return known.info
                if not even_if_read_only:
                    check_online(known.info.status)
                updated_at = now_after(known.updated_at)
                name = backup_name(REPO_PATH, updated_at // 1000, str(ObjectId12.random()))
                info = change(Change(known.info, updated_at, name))
                outcome = self._replaced(known.version, info, backup_path(name), check)
                check = None
            if isinstance(outcome, Landed):
                if outcome.version is not None:
                    self._known = _Known(info, outcome.version, updated_at)
                if _log.isEnabledFor(logging.INFO):
                    _log.info("%s in %s", info.latest_updates[0].kind, self._assets.location)
                return info
            if isinstance(outcome, LostRace):
                _log.debug("somebody else has updated `repo` meanwhile; trying again")
            else:
                _log.warning("storage did not answer whether `repo` was written; looking whether it was")
                unresolved[name] = updated_at
            losses += 1
            if losses > settings.repo_update_max_tries:
                raise ConflictError(
                    message=f"repository cannot be updated after {settings.repo_update_max_tries} attempts, "
                    "too many concurrent changes",
                    kind=ErrorKind.UPDATE_ATTEMPTS_EXHAUSTED,
                )
            wait_after(losses, settings)
            known = None

    def _replaced(
        self, expected: Version, info: RepoInfo, backup: str, check: Callable[[], None] | None
    ) -> PutOutcome:
        backend = self._assets.backend
        options: dict[str, Any] = {
            "expected": expected,
            "kind": ObjectKind.REF,
            "user_metadata": file_metadata(FileType.REPO_INFO, SPEC_VERSION),
        }
        if check is None:
            return backend.replace(REPO_PATH, self._sealed(info), backup=backup, **options)
        # The two steps of which a replacement consists, so that the check saves a round trip.
        copy: Callable[[], object] = partial(backend.copy, REPO_PATH, backup, expected=expected)
        if isinstance(run_all([copy, check])[0], LostRace):
            return LostRace()
        return backend.put(REPO_PATH, self._sealed(info), **options)

    def _sealed(self, info: RepoInfo) -> bytes:
        level = self._assets.settings.compression_level
        return seal_file(info.encode(), FileType.REPO_INFO, SPEC_VERSION, level=level)

    def _has_landed(self, info: RepoInfo, attempts: dict[str, int]) -> bool:
        """Tell whether one of our attempts, by backup name and time, is in the log of `info`.

        The entry that an attempt made is the newest; its backup is named by the one before it.
        """
        oldest = min(attempts.values())
        for update in read_ops_log(info.latest_updates, self._assets.backend):
            if update.backup_path in attempts:
                return True
            if update.updated_at < oldest:
                return False
        return False


def check_online(status: StatusRecord, action: str = "") -> None:
    """Refuse to write to a repository whose status is not online.

    Raises
    ------
    ReadOnlyError
        The status is read-only. `action` says what could not be done, if anything special.
    """
    if status.availability == ONLINE:
        return
    reason = status.limited_availability_reason
    raise ReadOnlyError(
        "the repository status is read-only: "
        + (f"{action}; " if action else "")
        + f"Repo status is ReadOnly, set at {time_text(status.set_at)}, "
        + ("reason: None" if reason is None else f'reason: Some("{reason}")'),
        kind=ErrorKind.READ_ONLY_REPOSITORY,
    )


def wait_after(losses: int, settings: EffectiveSettings) -> None:
    """Give the others time, after so many races were lost. The first few times, none."""
    if losses <= _IMMEDIATE_RETRIES:
        return
    doublings = min(losses - _IMMEDIATE_RETRIES - 1, 30)
    limit_ms = min(
        settings.repo_update_initial_backoff_ms * 2**doublings,
        settings.repo_update_max_backoff_ms,
    )
    # Anything up to the limit: equal waits would meet again.
    time.sleep(random.uniform(0, limit_ms) / 1000)

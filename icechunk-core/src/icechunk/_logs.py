"""Logging: the library logs to `icechunk` and below, through the standard `logging` module.

Programs that configure `logging` need nothing of this. For others, and for scripts that were written for
the reference implementation, there are its functions and its environment variables.
"""

from __future__ import annotations

import logging
import os
import threading
from typing import Final

__all__ = ["initialize_logs", "set_logs_filter", "shutdown_telemetry"]

ROOT: Final = "icechunk"

TRACE: Final = 5
"""The level of what not even a bug report needs, below `logging.DEBUG`."""

_OFF = logging.CRITICAL + 10
_LEVELS: Final = {
    "off": _OFF,
    "error": logging.ERROR,
    "warn": logging.WARNING,
    "info": logging.INFO,
    "debug": logging.DEBUG,
    "trace": TRACE,
    **dict(
        zip("012345", (_OFF, logging.ERROR, logging.WARNING, logging.INFO, logging.DEBUG, TRACE), strict=True)
    ),
}

_DEFAULT_FILTER = "warn"
_FORMAT = "%(asctime)s %(levelname)s %(name)s: %(message)s"

_log = logging.getLogger(ROOT)


class _State:
    """What this module has done to `logging`, so that it can be undone."""

    def __init__(self) -> None:
        self.lock = threading.Lock()
        self.handler: logging.Handler | None = None
        self.filtered: set[str] = set()


_state = _State()


def initialize_logs() -> None:
    """Write the library's log to standard error, unless `logging` is configured to do something with it.

    Which of it, the environment variable ``ICECHUNK_LOG`` says as `set_logs_filter` does; without it, warnings
    and errors. With ``ICECHUNK_NO_LOGS`` in the environment this does nothing. Nor does it a second time.
    """
    if os.environ.get("ICECHUNK_NO_LOGS"):
        return
    with _state.lock:
        if _state.handler is not None:
            return
        if not _log.hasHandlers():
            _state.handler = logging.StreamHandler()
            _state.handler.setFormatter(logging.Formatter(_FORMAT))
            _log.addHandler(_state.handler)
    set_logs_filter(None)


def set_logs_filter(log_filter_directive: str | None) -> None:
    """Say how much of the log is wanted. Replaces what was said before.

    Parameters
    ----------
    log_filter_directive
        Directives with commas between them. A level (``off``, ``error``, ``warn``, ``info``, ``debug``,
        ``trace``) is for the whole library, ``name=level`` for one logger (``icechunk.session``; a part may
        also be separated by ``::``), and a name alone wants everything of that logger. What cannot be
        understood is ignored, with a warning in the log. None is what the environment variable
        ``ICECHUNK_LOG`` says, or else ``warn``.
    """
    if log_filter_directive is None:
        log_filter_directive = os.environ.get("ICECHUNK_LOG") or _DEFAULT_FILTER
    if not isinstance(log_filter_directive, str):
        raise TypeError(f"a filter is a str or None, not an instance of {type(log_filter_directive)}")
    levels, ignored = _parsed(log_filter_directive)
    with _state.lock:
        for name in _state.filtered - levels.keys():
            logging.getLogger(name).setLevel(logging.NOTSET)
        _state.filtered = set(levels)
        for name, level in levels.items():
            logging.getLogger(name).setLevel(level)
    for directive in ignored:
        _log.warning(
            "ignoring the directive `%s` of a log filter: expected `level`, `name` or `name=level`", directive
        )


def shutdown_telemetry() -> None:
    """Flush what `initialize_logs` has set up, and take it down. Nothing else is sent anywhere."""
    with _state.lock:
        handler, _state.handler = _state.handler, None
    if handler is not None:
        handler.flush()
        _log.removeHandler(handler)
        handler.close()


def _parsed(text: str) -> tuple[dict[str, int], list[str]]:
    """Return the level of each logger, and the directives that say nothing."""
    levels: dict[str, int] = {ROOT: _LEVELS[_DEFAULT_FILTER]}
    ignored = []
    for part in text.split(","):
        directive = part.strip()
        name, equals, level = directive.partition("=")
        if not directive:
            continue
        if not equals and name.lower() in _LEVELS:
            levels[ROOT] = _LEVELS[name.lower()]
        elif not equals:
            levels[_logger_name(name)] = TRACE
        elif name and level.strip().lower() in _LEVELS:
            levels[_logger_name(name.strip())] = _LEVELS[level.strip().lower()]
        else:
            ignored.append(directive)
    return levels, ignored


def _logger_name(target: str) -> str:
    """`icechunk::session` and `icechunk_session` are parts of the library."""
    name = target.replace("::", ".")
    return name.replace("icechunk_", "icechunk.", 1) if name.startswith("icechunk_") else name

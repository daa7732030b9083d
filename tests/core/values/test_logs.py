"""`initialize_logs` and `set_logs_filter`, which map onto the standard `logging`."""

from __future__ import annotations

import logging
import os
import subprocess
import sys
from collections.abc import Iterator

import pytest

import icechunk
from icechunk import _logs

NAMES = ("icechunk", "icechunk.session", "icechunk.storage", "botocore")


@pytest.fixture(autouse=True)
def as_it_was(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.delenv("ICECHUNK_LOG", raising=False)
    monkeypatch.delenv("ICECHUNK_NO_LOGS", raising=False)
    yield
    icechunk.shutdown_telemetry()
    for name in NAMES:
        logging.getLogger(name).setLevel(logging.NOTSET)


def levels() -> list[int]:
    return [logging.getLogger(name).level for name in NAMES]


@pytest.mark.parametrize(
    ("directive", "expected"),
    [
        (None, [30, 0, 0, 0]),
        ("", [30, 0, 0, 0]),
        ("info", [20, 0, 0, 0]),
        ("INFO", [20, 0, 0, 0]),
        ("off", [60, 0, 0, 0]),
        ("error", [40, 0, 0, 0]),
        ("4", [10, 0, 0, 0]),
        ("trace", [5, 0, 0, 0]),
        ("icechunk=debug", [10, 0, 0, 0]),
        ("icechunk.session=debug", [30, 10, 0, 0]),
        ("icechunk::session=debug, info", [20, 10, 0, 0]),
        ("icechunk_storage=off,botocore=info", [30, 0, 60, 20]),
        ("icechunk.session", [30, 5, 0, 0]),
    ],
)
def test_a_filter_sets_the_levels_of_loggers(directive: str | None, expected: list[int]) -> None:
    icechunk.set_logs_filter("icechunk.storage=trace")
    icechunk.set_logs_filter(directive)
    assert levels() == expected


def test_what_cannot_be_understood_is_ignored_and_said(caplog: pytest.LogCaptureFixture) -> None:
    icechunk.set_logs_filter("icechunk.session=loud, info, a=b=c, =debug")
    assert levels() == [20, 0, 0, 0]
    assert [record.args for record in caplog.records] == [
        ("icechunk.session=loud",),
        ("a=b=c",),
        ("=debug",),
    ]


def test_a_filter_is_a_text() -> None:
    with pytest.raises(TypeError, match="a filter is a str or None"):
        icechunk.set_logs_filter(3)  # type: ignore[arg-type]


def test_the_environment_has_the_default(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ICECHUNK_LOG", "debug")
    icechunk.set_logs_filter(None)
    assert levels()[0] == logging.DEBUG


def run(code: str, **environment: str) -> str:
    done = subprocess.run(
        [sys.executable, "-c", code],
        env={**os.environ, **environment},
        capture_output=True,
        text=True,
        check=True,
    )
    return done.stderr


HELLO = "import icechunk, logging; {}; logging.getLogger('icechunk.session').{}('hello')"


def test_logs_go_to_standard_error_once_and_on_request() -> None:
    twice = "icechunk.initialize_logs(); icechunk.initialize_logs()"
    written = run(HELLO.format(twice, "warning"))
    assert written.count("hello") == 1
    assert "WARNING icechunk.session: hello" in written
    assert run(HELLO.format(twice, "info")) == ""
    assert "INFO icechunk.session: hello" in run(HELLO.format(twice, "info"), ICECHUNK_LOG="info")
    assert run(HELLO.format("pass", "info"), ICECHUNK_LOG="info") == ""


def test_a_program_that_has_configured_logging_is_left_to_itself() -> None:
    own = "logging.basicConfig(format='own %(message)s'); icechunk.initialize_logs()"
    assert run(HELLO.format(own, "warning")) == "own hello\n"


def test_it_can_be_switched_off_and_taken_down() -> None:
    down = "icechunk.initialize_logs(); icechunk.shutdown_telemetry()"
    assert "icechunk.session" not in run(HELLO.format(down, "warning"))
    nothing = HELLO.format("icechunk.initialize_logs()", "info")
    assert run(nothing, ICECHUNK_NO_LOGS="1", ICECHUNK_LOG="info") == ""
    assert _logs._state.handler is None

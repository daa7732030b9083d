"""The exception tree: who is whose child, what an error says of itself, and that it travels."""

from __future__ import annotations

import copy
import copyreg
import pickle

import pytest
from tblib import pickling_support

from icechunk import errors
from icechunk.errors import (
    ConflictError,
    ErrorKind,
    FormatError,
    IcechunkError,
    InvalidInputError,
    KeyNotFoundError,
    MissingPluginError,
    NodeNotFoundError,
    NotFoundError,
    ObjectNotFoundError,
    PluginError,
    RebaseFailedError,
    StorageError,
)

SIMPLE = [
    cls
    for cls in (getattr(errors, name) for name in errors.__all__)
    if issubclass(cls, IcechunkError) and not issubclass(cls, ConflictError)
]


@pytest.mark.parametrize("cls", SIMPLE)
def test_an_error_knows_its_message_and_kind(cls: type[IcechunkError]) -> None:
    error = cls("no luck", kind=ErrorKind.IO)
    assert (error.message, error.kind, str(error)) == ("no luck", "io", "no luck")
    assert repr(error) == f'{cls.__module__}.{cls.__name__}(message="no luck", kind="io")'
    assert cls("no luck", "anything").kind == "anything"


@pytest.mark.parametrize("cls", SIMPLE)
def test_a_kind_that_is_not_given_is_unknown_unless_the_class_knows_better(
    cls: type[IcechunkError],
) -> None:
    expected = {
        KeyNotFoundError: "key-not-found",
        ObjectNotFoundError: "object-not-found",
        PluginError: "unimplemented",
        MissingPluginError: "unimplemented",
    }
    assert cls("no luck").kind == expected.get(cls, "unknown")


every_error = pytest.mark.parametrize(
    "error",
    [
        *(cls("no luck", kind=ErrorKind.IO) for cls in SIMPLE),
        *(cls("no luck") for cls in SIMPLE),
        ConflictError("A", "B"),
        ConflictError(message="lost", kind=ErrorKind.CONFIG_UPDATED),
        RebaseFailedError(snapshot="S", conflicts=[]),
    ],
    ids=repr,
)


@every_error
def test_an_error_survives_pickling_and_copying(error: IcechunkError) -> None:
    for twin in (pickle.loads(pickle.dumps(error)), copy.copy(error)):
        assert type(twin) is type(error)
        assert (str(twin), repr(twin)) == (str(error), repr(error))
        assert twin.__dict__ == error.__dict__


@every_error
def test_an_error_travels_with_its_traceback(error: IcechunkError) -> None:
    # As in Dask's clusters, which take exceptions apart themselves.
    pickling_support.install(error)
    try:
        twin = pickle.loads(pickle.dumps(error))
    finally:
        copyreg.dispatch_table.pop(type(error))
    assert (type(twin), repr(twin), twin.__dict__) == (type(error), repr(error), error.__dict__)


def test_a_missing_key_is_a_missing_node_and_a_missing_file() -> None:
    error = KeyNotFoundError("key not found `a/c/0`")
    for cls in (NodeNotFoundError, NotFoundError, KeyError, FileNotFoundError):
        assert isinstance(error, cls)
    assert str(error) == "key not found `a/c/0`"


def test_standard_categories() -> None:
    assert issubclass(NotFoundError, KeyError)
    assert issubclass(InvalidInputError, ValueError)
    assert issubclass(MissingPluginError, ImportError)
    assert issubclass(ObjectNotFoundError, StorageError)
    assert issubclass(RebaseFailedError, ConflictError)
    assert not issubclass(FormatError, ValueError)


def test_a_commit_conflict_names_both_parents() -> None:
    error = ConflictError("A")
    assert error.message == 'Failed to commit, expected parent: Some("A"), actual parent: None'
    assert (error.expected_parent, error.actual_parent) == ("A", None)
    assert error.kind == ErrorKind.COMMIT_CONFLICT
    assert repr(error) == "icechunk.ConflictError(expected_parent=A, actual_parent=None)"


def test_a_failed_rebase_counts_its_conflicts() -> None:
    error = RebaseFailedError("S", [])
    assert error.message == "Rebase failed on snapshot S: 0 conflicts found"
    assert error.kind == ErrorKind.REBASE_FAILED
    assert repr(error) == 'icechunk.RebaseFailedError(snapshot="S", conflicts=[])'


def test_there_are_exactly_the_hundred_kinds_of_the_reference() -> None:
    assert len(ErrorKind) == 100
    assert all(kind.name == kind.value.upper().replace("-", "_") for kind in ErrorKind)

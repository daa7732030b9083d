"""Credentials: which way to log in is chosen, and that nothing ever shows a secret."""

from __future__ import annotations

import pickle
from datetime import UTC, datetime
from typing import Any

import pytest

from icechunk import credentials
from icechunk._values.attribution import Attribution
from icechunk.credentials import (
    AzureCredentials,
    AzureRefreshableCredential,
    AzureStaticCredentials,
    Credentials,
    GcsBearerCredential,
    GcsCredentials,
    GcsStaticCredentials,
    HttpAccess,
    LocalFileSystemAccess,
    S3Credentials,
    S3StaticCredentials,
    azure_credentials,
    azure_static_credentials,
    containers_credentials,
    gcs_credentials,
    gcs_static_credentials,
    s3_credentials,
    s3_refreshable_credentials,
)

SECRET = "wJalrXUtnFEMI"
LATER = datetime(2030, 1, 1, tzinfo=UTC)


def fresh_keys() -> S3StaticCredentials:
    return S3StaticCredentials("AKIAIOSFODNN7", SECRET, SECRET, LATER)


def fresh_token() -> GcsBearerCredential:
    return GcsBearerCredential(SECRET, expires_after=LATER)


def fresh_key() -> AzureRefreshableCredential:
    return AzureRefreshableCredential.AccessKey(SECRET, LATER)


KEYS = {"access_key_id": "AKIAIOSFODNN7", "secret_access_key": SECRET}


@pytest.mark.parametrize(
    ("function", "given", "expected"),
    [
        (s3_credentials, {}, S3Credentials.FromEnv),
        (s3_credentials, {"from_env": True}, S3Credentials.FromEnv),
        (s3_credentials, {"anonymous": True}, S3Credentials.Anonymous),
        (s3_credentials, {**KEYS, "session_token": SECRET}, S3Credentials.Static),
        (s3_credentials, {"get_credentials": fresh_keys}, S3Credentials.Refreshable),
        (gcs_credentials, {}, GcsCredentials.FromEnv),
        (gcs_credentials, {"anonymous": True, "bearer_token": SECRET}, GcsCredentials.Anonymous),
        (gcs_credentials, {"service_account_file": SECRET}, GcsCredentials.Static),
        (gcs_credentials, {"get_credentials": fresh_token}, GcsCredentials.Refreshable),
        (gcs_credentials, {"get_credentials": fresh_token, "bearer_token": SECRET}, GcsCredentials.Static),
        (gcs_credentials, {"get_credentials": fresh_token, "from_env": True}, GcsCredentials.FromEnv),
        (azure_credentials, {}, AzureCredentials.FromEnv),
        (azure_credentials, {"anonymous": True, "access_key": SECRET}, AzureCredentials.Anonymous),
        (azure_credentials, {"sas_token": SECRET}, AzureCredentials.Static),
        (azure_credentials, {"get_credentials": fresh_key}, AzureCredentials.Refreshable),
        (
            azure_credentials,
            {"get_credentials": fresh_key, "access_key": SECRET},
            AzureCredentials.Refreshable,
        ),
        (gcs_static_credentials, {"service_account_file": SECRET}, GcsStaticCredentials.ServiceAccount),
        (gcs_static_credentials, {"service_account_key": SECRET}, GcsStaticCredentials.ServiceAccountKey),
        (
            gcs_static_credentials,
            {"application_credentials": SECRET, "bearer_token": SECRET},
            GcsStaticCredentials.ApplicationCredentials,
        ),
        (gcs_static_credentials, {"bearer_token": SECRET}, GcsStaticCredentials.BearerToken),
        (azure_static_credentials, {"access_key": SECRET}, AzureStaticCredentials.AccessKey),
        (azure_static_credentials, {"sas_token": SECRET}, AzureStaticCredentials.SasToken),
        (azure_static_credentials, {"bearer_token": SECRET}, AzureStaticCredentials.BearerToken),
    ],
)
def test_the_way_to_log_in_is_chosen(function: Any, given: dict[str, Any], expected: type) -> None:
    chosen = function(**given)
    assert type(chosen) is expected
    assert chosen == function(**given)
    assert pickle.loads(pickle.dumps(chosen)) == chosen
    assert SECRET not in repr(chosen) + str(chosen)


@pytest.mark.parametrize(
    ("function", "given"),
    [
        (s3_credentials, {"access_key_id": SECRET}),
        (s3_credentials, {"session_token": SECRET}),
        (s3_credentials, {**KEYS, "from_env": True}),
        (s3_credentials, {"anonymous": True, "from_env": True}),
        (s3_credentials, {"anonymous": True, "get_credentials": fresh_keys}),
        (gcs_credentials, {"from_env": True, "bearer_token": SECRET}),
        (gcs_static_credentials, {}),
        (azure_credentials, {"from_env": True, "access_key": SECRET}),
        (azure_credentials, {"access_key": SECRET, "sas_token": SECRET}),
        (azure_static_credentials, {}),
        (azure_static_credentials, {"access_key": SECRET, "sas_token": SECRET}),
    ],
)
def test_contradictions_are_refused_without_a_secret(function: Any, given: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match="Conflicting arguments to") as caught:
        function(**given)
    assert SECRET not in str(caught.value)


def test_a_function_travels_with_what_it_has_made() -> None:
    alone = s3_refreshable_credentials(fresh_keys)
    scattered = s3_refreshable_credentials(fresh_keys, scatter_initial_credentials=True)
    assert alone.current is None
    assert scattered.current == fresh_keys()
    assert pickle.loads(alone.pickled_function) is fresh_keys
    assert SECRET not in repr(scattered)


def test_keys_show_their_beginning_only() -> None:
    assert repr(fresh_keys()) == (
        "<icechunk.credentials.S3StaticCredentials>\naccess_key_id: AKIA****\nsecret_access_key: ****\n"
        "session_token: ****\nexpires_after: "
        "datetime.datetime(2030,1,1,0,0,0,0, tzinfo=datetime.timezone.utc)\n"
    )
    assert SECRET not in fresh_keys()._repr_html_()


@pytest.mark.parametrize("value", [fresh_token(), fresh_key(), fresh_keys()])
def test_temporary_credentials_compare_pickle_and_keep_silent(value: Any) -> None:
    assert pickle.loads(pickle.dumps(value)) == value
    assert SECRET not in repr(value) + str(value)
    assert value.expires_after == LATER


def test_containers_take_what_the_functions_return() -> None:
    s3, gcs = credentials.s3_from_env_credentials(), credentials.gcs_anonymous_credentials()
    azure = azure_credentials(access_key=SECRET)
    prepared = containers_credentials(
        {"a": s3, "b": gcs, "c": azure, "d": LocalFileSystemAccess, "e": HttpAccess, "f": None}
    )
    assert prepared == {
        "a": Credentials.S3(s3),
        "b": Credentials.Gcs(gcs),
        "c": Credentials.Azure(azure),
        "d": Credentials.LocalFileSystemAccess(),
        "e": Credentials.HttpAccess(),
        "f": None,
    }
    assert containers_credentials(prepared) == prepared
    with pytest.raises(ValueError, match="Unknown credential type"):
        containers_credentials({"a": fresh_keys()})


def test_a_token_without_a_time_zone_is_refused() -> None:
    with pytest.raises(TypeError, match="expected a datetime with non-None tzinfo"):
        GcsBearerCredential(SECRET, expires_after=LATER.replace(tzinfo=None))


@pytest.mark.parametrize("value", ["a", "a/1.0", "!#$%&'*+-.^_`|~", "x" * 128])
def test_attributions_that_fit_into_a_header(value: str) -> None:
    attribution = Attribution(client=value, workload="any words: really!", principal=None)
    assert attribution.client == value
    assert pickle.loads(pickle.dumps(attribution)) == attribution


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"client": "a b"}, "attribution `client` must be `name` or `name/version` in token characters"),
        ({"client": ""}, "attribution `client` must be"),
        ({"client": "a/b/c"}, "attribution `client` must be"),
        ({"client": "x" * 129}, "attribution `client` is longer than 128 bytes"),
        ({"workload": "a(b"}, r"attribution `workload` contains the forbidden character '\('"),
        ({"principal": "é"}, "attribution `principal` contains the forbidden character 'é'"),
        ({"principal": "a\nb"}, "attribution `principal` contains the forbidden character"),
    ],
)
def test_attributions_that_do_not(given: dict[str, str], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        Attribution(**given)


def test_an_attribution_as_text() -> None:
    attribution = Attribution(client="a/1", workload="w")
    assert repr(attribution) == (
        'icechunk.Attribution(\n    client="a/1",\n    workload="w",\n    principal=None,\n)'
    )
    assert str(attribution) == '<icechunk.Attribution>\nclient: "a/1"\nworkload: "w"\nprincipal: None\n'


def test_credentials_can_be_hashed_also_while_they_change() -> None:
    keys = fresh_keys()
    for make in (lambda: keys, fresh_token, fresh_key, lambda: Credentials.S3(S3Credentials.Static(keys))):
        assert len({make(), make()}) == 1
    known = {keys}
    keys.session_token = None
    assert keys in known
    assert fresh_keys() not in known

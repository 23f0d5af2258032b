"""Liveness and readiness: what is not reachable is named."""

import pytest
from django.db import connection
from django.test import Client
from pytest_django import Settings

from tests.processes import worker

ABSENT_BROKER = "redis+socket:///does/not/exist.sock"


def test_healthz_depends_on_nothing(client: Client, settings: Settings) -> None:
    settings.CELERY_BROKER_URL = ABSENT_BROKER
    response = client.get("/healthz")  # and no database access, which pytest-django would refuse
    assert (response.status_code, response.json()) == (200, {"status": "ok"})
    assert "no-store" in response["Cache-Control"]


@pytest.mark.django_db
def test_readyz_names_the_missing_worker(client: Client) -> None:
    response = client.get("/readyz")
    assert response.status_code == 503
    assert response["Retry-After"] == "5"
    assert response.json() == {
        "status": "unavailable",
        "checks": {"database": "ok", "broker": "ok", "worker": "no worker answered within 1 s"},
    }


@pytest.mark.django_db
def test_readyz_names_the_missing_broker(client: Client, settings: Settings) -> None:
    settings.CELERY_BROKER_URL = ABSENT_BROKER
    response = client.get("/readyz")
    assert response.status_code == 503
    assert response.json()["checks"] == {
        "database": "ok",
        "broker": "the broker does not answer",
        "worker": "not asked: the broker does not answer",
    }


@pytest.mark.django_db(transaction=True)
def test_readyz_names_the_missing_database_and_no_address(client: Client, monkeypatch: pytest.MonkeyPatch) -> None:
    connection.close()
    with monkeypatch.context() as patch:
        patch.setitem(connection.settings_dict, "HOST", "/does/not/exist")
        response = client.get("/readyz")
    assert response.status_code == 503
    assert response.json()["checks"]["database"] == "the database does not answer"
    assert b"exist" not in response.content


@pytest.mark.system
@pytest.mark.django_db(transaction=True)
def test_readyz_is_ok_once_a_worker_answers(client: Client) -> None:
    with worker():
        statuses = [client.get("/readyz").status_code]
        while statuses[-1] != 200 and len(statuses) < 30:  # each failure has waited a second for the worker
            statuses.append(client.get("/readyz").status_code)
        response = client.get("/readyz")
    assert (response.status_code, response.json()) == (
        200,
        {"status": "ok", "checks": {"database": "ok", "broker": "ok", "worker": "ok"}},
    )


@pytest.mark.parametrize("path", ["/healthz", "/readyz"])
def test_only_reading_is_allowed(client: Client, path: str) -> None:
    assert client.post(path).status_code == 405

"""Webhooks: who is told what, signatures, retries, workers that race or die, the API and the back office."""

import base64
import hashlib
import hmac
import json
import logging
import socket
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta
from decimal import Decimal
from uuid import UUID, uuid4

import pytest
from django.contrib.auth.models import Permission, User
from django.db import connection, transaction
from django.db.models.functions import Now
from django.urls import include, path
from drf_spectacular.drainage import GENERATOR_STATS
from drf_spectacular.generators import SchemaGenerator
from drf_spectacular.validation import validate_schema
from pytest_httpserver import HTTPServer
from werkzeug import Request, Response

from pim.jobs import runner
from pim.net import private_hosts
from pim.webhooks import deliveries, signing
from pim.webhooks.events import emit
from pim.webhooks.models import Event, WebhookDelivery, WebhookEndpoint
from tests.back_office import client_of, page, post, superuser
from tests.make import api_client, make_api_key
from tests.processes import worker

API = "/api/v1/webhooks"
ADMIN = "/admin/webhooks/webhookendpoint/"
DELIVERIES_ADMIN = "/admin/webhooks/webhookdelivery/"


@pytest.fixture(autouse=True)
def _the_local_receiver_is_opened(settings):
    settings.ALLOW_PRIVATE_HOSTS = private_hosts(["localhost"])


class Receiver:
    """Another system: keeps what it gets and answers with `answers` in turn, the last one for good."""

    def __init__(self, server: HTTPServer) -> None:
        self.url = server.url_for("/hook/token-canary")
        self.got: list[Request] = []
        self.answers: list[Response] = [Response("thanks")]
        server.expect_request("/hook/token-canary").respond_with_handler(self._answer)

    def _answer(self, request: Request) -> Response:
        request.get_data()
        self.got.append(request)
        return self.answers.pop(0) if len(self.answers) > 1 else self.answers[0]


@pytest.fixture
def receiver(httpserver: HTTPServer) -> Receiver:
    return Receiver(httpserver)


def make_endpoint(url: str = "https://203.0.113.9/hook", **fields) -> WebhookEndpoint:
    return WebhookEndpoint.objects.create(**{"url": url, "secret": signing.new_secret()} | fields)


def tell(event: Event = Event.IMPORT_COMPLETED, data: dict | None = None, **options) -> list[WebhookDelivery]:
    """The deliveries of a new event."""
    before = set(WebhookDelivery.objects.values_list("pk", flat=True))
    with transaction.atomic():
        emit(event, data or {"job": {"id": "1"}}, **options)
    return list(WebhookDelivery.objects.exclude(pk__in=before).order_by("created_at", "id"))


def make_delivery(endpoint: WebhookEndpoint) -> WebhookDelivery:
    (delivery,) = tell()
    assert delivery.endpoint == endpoint
    return delivery


def attempt(delivery: WebhookDelivery) -> WebhookDelivery:
    deliveries.deliver(delivery.pk)
    delivery.refresh_from_db()
    return delivery


def make_due(delivery: WebhookDelivery) -> None:
    WebhookDelivery.objects.filter(pk=delivery.pk).update(next_attempt_at=Now() - timedelta(seconds=1))


def expected_signature(secret: str, request: Request) -> str:
    """By the words of the specification, with nothing of ours."""
    key = base64.b64decode(secret.split("_", 1)[1])
    signed = f"{request.headers['webhook-id']}.{request.headers['webhook-timestamp']}.{request.get_data(as_text=True)}"
    return "v1," + base64.b64encode(hmac.new(key, signed.encode(), hashlib.sha256).digest()).decode()


# --- signatures -----------------------------------------------------------------------------------------------------


def test_the_signature_of_the_specifications_example():
    assert (
        signing.signature(
            message_id="msg_p5jXN8AQM9LWM0D4loKWxJek",
            timestamp=1614265330,
            body=b'{"test": 2432232314}',
            secrets=["whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"],
        )
        == "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE="
    )


def test_a_secret_is_random_and_has_the_specified_form():
    one, other = signing.new_secret(), signing.new_secret()
    assert one != other
    assert one.startswith("whsec_")
    assert len(base64.b64decode(one.removeprefix("whsec_"), validate=True)) == 32


@pytest.mark.django_db
def test_a_message_is_sent_signed_and_written_down(receiver, caplog):
    endpoint = make_endpoint(receiver.url)
    job = uuid4()
    with caplog.at_level(logging.DEBUG):
        (delivery,) = tell(data={"job": {"id": job, "name": "Été", "price": Decimal("1.50")}})
        attempt(delivery)
    (request,) = receiver.got
    assert request.method == "POST"
    assert request.headers["Content-Type"] == "application/json"
    assert request.headers["User-Agent"] == "pim-webhooks/1.0"
    assert abs(int(request.headers["webhook-timestamp"]) - time.time()) < 60
    assert request.headers["webhook-id"] == delivery.message_id
    assert request.headers["webhook-signature"] == expected_signature(endpoint.secret, request)
    body = json.loads(request.get_data())
    assert body.keys() == {"type", "timestamp", "data"}
    assert body["type"] == "import.completed"
    assert body["timestamp"].endswith("Z")
    assert body["data"] == {"job": {"id": str(job), "name": "Été", "price": "1.50"}}
    assert (delivery.status, delivery.attempts, delivery.next_attempt_at) == ("delivered", 1, None)
    assert (delivery.status_code, delivery.error, delivery.response) == (200, "", "thanks")
    assert delivery.duration_ms is not None
    assert endpoint.secret not in caplog.text
    assert "token-canary" not in caplog.text.replace("hook/token-canary HTTP/1.1", "")  # the server's own log
    deliveries.deliver(delivery.pk)
    assert len(receiver.got) == 1


@pytest.mark.django_db
def test_after_a_rotation_both_secrets_sign_for_a_day(receiver):
    endpoint = make_endpoint(receiver.url)
    old = endpoint.secret
    new = signing.rotate_secret(endpoint)
    assert new != old
    attempt(make_delivery(endpoint))
    first = receiver.got[0]
    assert first.headers["webhook-signature"].split(" ") == [
        expected_signature(new, first),
        expected_signature(old, first),
    ]
    endpoint.refresh_from_db()
    overlap = endpoint.previous_secret_until - endpoint.updated_at
    assert overlap == timedelta(hours=24)
    WebhookEndpoint.objects.update(previous_secret_until=Now() - timedelta(seconds=1))
    attempt(make_delivery(endpoint))
    assert receiver.got[1].headers["webhook-signature"] == expected_signature(new, receiver.got[1])


@pytest.mark.django_db
def test_a_callback_is_signed_with_the_secret_of_its_origin(receiver):
    (delivery,) = tell(callback_url=receiver.url)
    attempt(delivery)
    client = api_client()
    secret = client.post(f"{API}/callback-secret", {"url": receiver.url + "?other=path"}).json()["secret"]
    assert receiver.got[0].headers["webhook-signature"] == expected_signature(secret, receiver.got[0])
    assert (delivery.status, delivery.endpoint, delivery.callback_url) == ("delivered", None, receiver.url)
    others = [
        client.post(f"{API}/callback-secret", {"url": url}).json()["secret"]
        for url in ("https://8.8.8.8/", "http://8.8.8.8/", "https://8.8.8.8:8443/", "https://8.8.4.4/")
    ]
    assert len({secret, *others}) == 5
    same = [
        client.post(f"{API}/callback-secret", {"url": url}).json()["secret"]
        for url in ("https://8.8.8.8:443/x", "HTTPS://8.8.8.8?y")
    ]
    assert set(same) == {others[0]}


# --- events ---------------------------------------------------------------------------------------------------------


@pytest.mark.django_db
def test_an_event_goes_to_those_that_want_it_under_one_message_id():
    every = make_endpoint(description="all")
    chosen = make_endpoint(events=["import.completed", "import.failed"])
    make_endpoint(events=["code2asin.completed"])
    make_endpoint(is_active=False)
    found = tell(callback_url="https://8.8.8.8/callback")
    assert {(one.endpoint_id, one.callback_url) for one in found} == {
        (every.pk, ""),
        (chosen.pk, ""),
        (None, "https://8.8.8.8/callback"),
    }
    assert len({one.message_id for one in found}) == 1
    assert {(one.status, one.attempts) for one in found} == {("pending", 0)}
    assert [one.endpoint_id for one in tell(Event.CODE2ASIN_FAILED)] == [every.pk]


@pytest.mark.django_db(transaction=True)
def test_an_event_is_told_with_its_transaction_or_not_at_all():
    make_endpoint()
    with pytest.raises(RuntimeError, match="transaction"):
        emit(Event.IMPORT_FAILED, {})

    def rolled_back() -> None:
        with transaction.atomic():
            emit(Event.IMPORT_FAILED, {})
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        rolled_back()
    assert not WebhookDelivery.objects.exists()


@pytest.mark.django_db(transaction=True)
def test_an_endpoint_that_is_deleted_meanwhile_does_not_disturb_what_is_told():
    endpoint = make_endpoint()

    def delete() -> None:
        deliveries.delete_endpoint(endpoint.pk)
        connection.close()

    other = threading.Thread(target=delete)
    with transaction.atomic():
        emit(Event.IMPORT_FAILED, {})
        other.start()
        other.join(0.3)
        assert other.is_alive()  # it waits for the transaction
    other.join()
    assert not WebhookEndpoint.objects.exists()
    assert not WebhookDelivery.objects.exists()


# --- failures -------------------------------------------------------------------------------------------------------


def minutes_until(delivery: WebhookDelivery) -> int:
    with connection.cursor() as cursor:
        cursor.execute("SELECT round(extract(epoch FROM %s::timestamptz - now()) / 60)", [delivery.next_attempt_at])
        return int(cursor.fetchone()[0])


@pytest.mark.django_db
@pytest.mark.parametrize("status", [302, 400, 404, 500, 503])
def test_what_is_not_accepted_is_sent_again_on_the_schedule_and_then_failed(receiver, status, httpserver):
    receiver.answers = [Response("no", status=status, headers={"Location": httpserver.url_for("/elsewhere")})]
    endpoint = make_endpoint(receiver.url)
    delivery = make_delivery(endpoint)
    waits = []
    for _ in range(10):
        attempt(delivery)
        assert (delivery.status_code, delivery.error) == (status, f"The receiver answered {status}.")
        if delivery.status != "pending":
            break
        waits.append(minutes_until(delivery))
        deliveries.deliver(delivery.pk)  # not yet due
        make_due(delivery)
    assert waits == [1, 5, 15, 60, 240]
    assert (delivery.status, delivery.attempts, delivery.next_attempt_at) == ("failed", 6, None)
    assert len(receiver.got) == 6
    assert {request.headers["webhook-id"] for request in receiver.got} == {delivery.message_id}
    assert len({request.get_data() for request in receiver.got}) == 1
    assert [request.path for request, _ in httpserver.log] == ["/hook/token-canary"] * 6
    shown = api_client().get(f"{API}/{endpoint.pk}").json()
    assert (shown["last_delivery_status"], shown["is_active"]) == ("failed", True)


@pytest.mark.django_db
def test_a_retry_that_is_accepted_ends_it(receiver):
    receiver.answers = [Response("", status=500), Response("", status=204)]
    delivery = make_delivery(make_endpoint(receiver.url))
    attempt(delivery)
    make_due(delivery)
    attempt(delivery)
    assert (delivery.status, delivery.attempts, delivery.status_code, delivery.error) == ("delivered", 2, 204, "")


@pytest.mark.django_db
@pytest.mark.parametrize(("asked", "minutes"), [("600", 10), ("5", 1), ("999999", 1440), ("soon", 1), ("-5", 1)])
def test_the_receiver_may_ask_for_a_longer_wait(receiver, asked, minutes):
    receiver.answers = [Response("", status=503, headers={"Retry-After": asked})]
    assert minutes_until(attempt(make_delivery(make_endpoint(receiver.url)))) == minutes


@pytest.mark.django_db
def test_gone_switches_the_endpoint_off(receiver):
    receiver.answers = [Response("", status=410)]
    endpoint = make_endpoint(receiver.url)
    first, second = make_delivery(endpoint), make_delivery(endpoint)
    attempt(first)
    assert (first.status, first.attempts, first.status_code) == ("failed", 1, 410)
    endpoint.refresh_from_db()
    assert (endpoint.is_active, endpoint.disabled_reason) == (False, "The receiver answered 410 (gone).")
    attempt(second)
    assert (second.status, second.status_code, second.error) == ("failed", None, "The webhook is switched off.")
    assert len(receiver.got) == 1
    assert tell() == []
    answer = api_client().patch(f"{API}/{endpoint.pk}", {"is_active": True}).json()
    assert (answer["is_active"], answer["disabled_reason"]) == (True, "")


@pytest.mark.django_db
def test_a_callback_that_is_gone_is_not_tried_again(receiver):
    receiver.answers = [Response("", status=410)]
    (delivery,) = tell(callback_url=receiver.url)
    attempt(delivery)
    assert (delivery.status, delivery.attempts) == ("failed", 1)


@contextmanager
def peer(*pieces: bytes, pause: float) -> Iterator[str]:
    """A receiver that sends one piece after the other, `pause` seconds apart, and then nothing for a second."""
    with socket.create_server(("127.0.0.1", 0)) as listener:

        def serve() -> None:
            client, _ = listener.accept()
            with client:
                client.recv(65536)
                try:
                    for piece in pieces:
                        client.sendall(piece)
                        time.sleep(pause)
                    client.settimeout(1)
                    while client.recv(65536):  # the rest of the request
                        pass
                except OSError:
                    pass

        thread = threading.Thread(target=serve)
        thread.start()
        yield f"http://localhost:{listener.getsockname()[1]}/token-canary"
        thread.join()


OK = b"HTTP/1.1 200 OK\r\n"


@pytest.mark.django_db
@pytest.mark.parametrize(
    "pieces",
    [(), (OK,), (OK, *[b"X-Drop: 1\r\n"] * 60)],
    ids=["silent", "silent after the status", "dripping headers"],
)
def test_a_receiver_that_takes_too_long_is_tried_again(monkeypatch, pieces):
    monkeypatch.setattr(deliveries, "ANSWER_TIMEOUT_S", 0.3)
    with peer(*pieces, pause=0.05) as url:
        delivery = attempt(make_delivery(make_endpoint(url)))
    assert (delivery.status, delivery.status_code) == ("pending", None)
    assert delivery.error == "No complete answer in time."
    assert minutes_until(delivery) == 1


@pytest.mark.django_db
def test_a_body_that_drips_does_not_hold_the_worker_and_what_came_is_kept(monkeypatch):
    monkeypatch.setattr(deliveries, "ANSWER_TIMEOUT_S", 0.3)
    with peer(OK + b"Content-Length: 1000\r\n\r\n", *[b"x"] * 60, pause=0.05) as url:
        delivery = attempt(make_delivery(make_endpoint(url)))
    assert (delivery.status, delivery.status_code) == ("delivered", 200)
    assert 1 <= len(delivery.response) < 60
    assert set(delivery.response) == {"x"}


@pytest.mark.django_db
def test_of_a_huge_answer_the_start_is_kept(receiver):
    def endless() -> Iterator[bytes]:
        for _ in range(100_000):
            yield b"\x00\xff" * 32768

    receiver.answers = [Response(endless())]
    delivery = attempt(make_delivery(make_endpoint(receiver.url)))
    assert delivery.status == "delivered"
    assert delivery.response == "\ufffd" * 2048


@pytest.mark.django_db
def test_a_private_address_is_never_connected_to_and_the_log_says_why(receiver, httpserver):
    with socket.create_server(("127.0.0.1", 0)) as listener:
        listener.settimeout(0.2)
        address = f"http://127.0.0.1:{listener.getsockname()[1]}/token-canary"
        delivery = attempt(make_delivery(make_endpoint(address)))
        assert (delivery.status, delivery.status_code) == ("pending", None)
        assert "127.0.0.1 is not at a public address" in delivery.error
        assert "token-canary" not in delivery.error
        receiver.answers = [Response("", status=307, headers={"Location": address})]
        second = attempt(next(one for one in tell(callback_url=receiver.url) if one.callback_url))
        assert (second.status, second.status_code) == ("pending", 307)
        with pytest.raises(TimeoutError):
            listener.accept()


# --- workers --------------------------------------------------------------------------------------------------------


@pytest.mark.django_db(transaction=True)
def test_of_workers_that_race_one_sends(receiver):
    delivery = make_delivery(make_endpoint(receiver.url))
    barrier = threading.Barrier(8)

    def work() -> None:
        barrier.wait()
        deliveries.deliver(delivery.pk)
        connection.close()

    threads = [threading.Thread(target=work) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    delivery.refresh_from_db()
    assert len(receiver.got) == 1
    assert (delivery.status, delivery.attempts) == ("delivered", 1)


@pytest.mark.django_db(transaction=True)
def test_a_worker_that_comes_back_late_does_not_overwrite_the_attempt_that_followed(httpserver: HTTPServer):
    delivery = make_delivery(make_endpoint(httpserver.url_for("/slow")))

    def meanwhile(_request: Request) -> Response:
        # the lease ran out and another worker began
        WebhookDelivery.objects.filter(pk=delivery.pk).update(attempts=2, attempted_at=Now())
        connection.close()
        return Response("", status=500)

    httpserver.expect_request("/slow").respond_with_handler(meanwhile)
    attempt(delivery)
    assert (delivery.status, delivery.attempts, delivery.status_code, delivery.error) == ("pending", 2, None, "")


@pytest.mark.django_db
def test_a_delivery_that_loses_every_worker_fails_unsent(receiver):
    delivery = make_delivery(make_endpoint(receiver.url))
    WebhookDelivery.objects.filter(pk=delivery.pk).update(attempts=6)
    attempt(delivery)
    assert (delivery.status, delivery.error) == ("failed", "The last attempt was lost: its worker died.")
    assert receiver.got == []


@pytest.mark.django_db
def test_the_sweep_rings_for_what_is_due(monkeypatch):
    endpoint = make_endpoint()
    due, lost, waiting, done = (make_delivery(endpoint) for _ in range(4))
    make_due(due)
    WebhookDelivery.objects.filter(pk=lost.pk).update(
        attempts=1, attempted_at=Now() - timedelta(minutes=3), next_attempt_at=Now() - timedelta(minutes=1)
    )
    WebhookDelivery.objects.filter(pk=waiting.pk).update(next_attempt_at=Now() + timedelta(minutes=1))
    WebhookDelivery.objects.filter(pk=done.pk).update(status="delivered", next_attempt_at=None)
    rung: list[UUID] = []
    monkeypatch.setattr(runner, "ring", lambda model, row_id: rung.append(row_id))
    assert deliveries.sweep() == 2
    assert rung == [lost.pk, due.pk]


@pytest.mark.system
@pytest.mark.django_db(transaction=True)
def test_a_message_whose_worker_is_killed_is_sent_by_the_next(httpserver: HTTPServer):
    """Through the real broker: the event rings the first worker, the sweep the second one."""
    reached, release = threading.Event(), threading.Event()
    ids: list[str] = []

    def hold_the_first(request: Request) -> Response:
        ids.append(request.headers["webhook-id"])
        if len(ids) == 1:
            reached.set()
            release.wait(30)
        return Response("thanks")

    httpserver.expect_request("/hook").respond_with_handler(hold_the_first)
    environment = {"PIM_ALLOW_PRIVATE_HOSTS": "localhost"}
    delivery = make_delivery(make_endpoint(httpserver.url_for("/hook")))
    with worker("webhooks", **environment) as first:
        assert reached.wait(30)
        first.kill()
    release.set()
    delivery.refresh_from_db()
    assert (delivery.status, delivery.attempts) == ("pending", 1)
    assert deliveries.sweep() == 0  # it may still be under way
    make_due(delivery)
    assert deliveries.sweep() == 1
    with worker("webhooks", **environment):
        deadline = time.monotonic() + 30
        while delivery.status == "pending" and time.monotonic() < deadline:
            time.sleep(0.1)
            delivery.refresh_from_db()
    assert (delivery.status, delivery.attempts, delivery.response) == ("delivered", 2, "thanks")
    assert ids == [delivery.message_id] * 2


# --- the API --------------------------------------------------------------------------------------------------------


@pytest.mark.django_db
def test_a_webhook_is_created_changed_and_deleted():
    client = api_client()
    answer = client.post(
        API, {"url": "https://8.8.8.8/hook", "events": ["import.failed", "import.completed"], "secret": "mine"}
    )
    created = answer.json()
    assert answer.status_code == 201
    endpoint = WebhookEndpoint.objects.get()
    assert created.pop("secret") == endpoint.secret != "mine"
    assert created.pop("warnings") == ["Unknown, ignored: secret"]
    assert created.pop("created_at") == created.pop("updated_at")
    assert created == {
        "id": str(endpoint.pk),
        "url": "https://8.8.8.8/hook",
        "description": "",
        "events": ["import.completed", "import.failed"],
        "is_active": True,
        "disabled_reason": "",
        "last_delivery_status": None,
        "last_delivery_at": None,
        "created_by": "test",
    }
    one = f"{API}/{endpoint.pk}"
    changed = client.patch(one, {"events": [], "description": "ERP", "is_active": False}).json()
    assert (changed["events"], changed["description"], changed["is_active"]) == ([], "ERP", False)
    assert changed["updated_at"] > changed["created_at"]
    assert changed["url"] == "https://8.8.8.8/hook"
    assert client.get(one).json() == {name: value for name, value in changed.items() if name != "warnings"}
    assert client.get(API).json()["items"] == [client.get(one).json()]
    make_delivery(make_endpoint())
    gone = client.delete(one)
    assert (gone.status_code, gone.json()) == (200, {})
    assert client.get(one).status_code == 404
    assert client.delete(one).status_code == 404
    assert WebhookDelivery.objects.count() == 1


@pytest.mark.django_db
@pytest.mark.parametrize(
    ("body", "field"),
    [
        ({}, "url"),
        ({"url": "https://10.0.0.1/"}, "url"),
        ({"url": "ftp://8.8.8.8/"}, "url"),
        ({"url": "https://user:password@8.8.8.8/"}, "url"),
        ({"url": "https://8.8.8.8/" + "x" * 2000}, "url"),
        ({"url": "https://8.8.8.8/", "events": ["import.started"]}, "events[0]"),
        ({"url": "https://8.8.8.8/", "events": "import.failed"}, "events"),
        ({"url": "https://8.8.8.8/", "events": None}, "events"),
        ({"url": "https://8.8.8.8/", "is_active": "maybe"}, "is_active"),
        ({"url": "https://8.8.8.8/", "description": "x" * 201}, "description"),
    ],
)
def test_a_webhook_that_makes_no_sense_is_refused(body, field):
    answer = api_client().post(API, body)
    assert answer.status_code == 422, answer.json()
    assert [error["field"] for error in answer.json()["errors"]] == [field]
    assert not WebhookEndpoint.objects.exists()


@pytest.mark.django_db
def test_scopes_are_those_of_imports():
    endpoint = make_endpoint()
    (delivery,) = tell()
    WebhookDelivery.objects.update(status="failed", next_attempt_at=None)
    one = f"{API}/{endpoint.pk}"
    reads = [API, one, f"{one}/deliveries", f"{API}/deliveries"]
    writes = [
        ("post", API, {"url": "https://8.8.8.8/"}),
        ("patch", one, {"description": "x"}),
        ("post", f"{one}/rotate-secret", None),
        ("post", f"{one}/test", None),
        ("post", f"{API}/callback-secret", {"url": "https://8.8.8.8/"}),
        ("post", f"{API}/deliveries/{delivery.pk}/resend", None),
        ("delete", one, None),
    ]
    before = WebhookEndpoint.objects.values().get()
    reader, writer = api_client(make_api_key("imports:read")), api_client(make_api_key("imports:write"))
    assert [reader.get(address).status_code for address in reads] == [200] * 4
    assert [writer.get(address).status_code for address in reads] == [403] * 4
    assert [getattr(reader, method)(address, body).status_code for method, address, body in writes] == [403] * 7
    assert WebhookEndpoint.objects.values().get() == before
    assert WebhookDelivery.objects.get().status == "failed"
    assert [api_client("none").get(address).status_code for address in reads] == [401] * 4


@pytest.mark.django_db
def test_the_secret_is_shown_by_what_makes_it_and_nowhere_else(receiver):
    client = api_client()
    first = client.post(API, {"url": receiver.url}).json()
    one = f"{API}/{first['id']}"
    second = client.post(f"{one}/rotate-secret").json()["secret"]
    assert second == WebhookEndpoint.objects.get().secret != first["secret"]
    attempt(tell()[0])
    answers = [
        client.get(API),
        client.get(one),
        client.patch(one, {"description": "x"}),
        client.post(f"{one}/test"),
        client.get(f"{one}/deliveries"),
        client.get(f"{API}/deliveries"),
    ]
    everything = "".join(answer.content.decode() for answer in answers)
    staff = superuser()
    everything += page(staff, ADMIN) + page(staff, f"{ADMIN}{first['id']}/change/") + page(staff, DELIVERIES_ADMIN)
    everything += page(staff, f"{DELIVERIES_ADMIN}{WebhookDelivery.objects.last().pk}/change/")
    assert "whsec_" not in everything
    assert first["secret"][6:] not in everything
    assert second[6:] not in everything


@pytest.mark.django_db
def test_a_ping_is_sent_at_once_and_its_result_is_the_answer(receiver):
    endpoint = make_endpoint(receiver.url, is_active=False, events=["import.failed"])
    client = api_client()
    answer = client.post(f"{API}/{endpoint.pk}/test")
    assert answer.status_code == 200
    result = answer.json()
    (request,) = receiver.got
    assert request.headers["webhook-signature"] == expected_signature(endpoint.secret, request)
    assert json.loads(request.get_data())["type"] == "ping"
    assert json.loads(request.get_data())["data"] == {"webhook_id": str(endpoint.pk)}
    assert (result["event"], result["status"], result["status_code"]) == ("ping", "delivered", 200)
    receiver.answers = [Response("no", status=500)]
    result = client.post(f"{API}/{endpoint.pk}/test").json()
    assert (result["status"], result["status_code"], result["response"]) == ("failed", 500, "no")
    assert (result["attempts"], result["next_attempt_at"]) == (1, None)


@pytest.mark.django_db
def test_the_log_says_what_was_sent_and_what_came_of_it(receiver):
    endpoint, other = make_endpoint(receiver.url), make_endpoint()
    receiver.answers = [Response("no", status=500), Response("thanks")]
    first = next(one for one in tell(Event.IMPORT_FAILED, {"job": {"id": "7"}}) if one.endpoint == endpoint)
    attempt(first)
    tell(Event.IMPORT_COMPLETED, callback_url="https://8.8.8.8/callback")
    client = api_client()
    log = client.get(f"{API}/{endpoint.pk}/deliveries").json()
    assert [one["event"] for one in log["items"]] == ["import.completed", "import.failed"]
    assert log["meta"]["total"] == 2
    entry = log["items"][1]
    assert entry["payload"]["data"] == {"job": {"id": "7"}}
    assert entry["duration_ms"] >= 0
    assert entry["next_attempt_at"] > entry["attempted_at"] >= entry["created_at"]
    assert {name: entry[name] for name in ("id", "webhook_id", "message_id", "status", "attempts", "callback_url")} == {
        "id": str(first.pk),
        "webhook_id": str(endpoint.pk),
        "message_id": first.message_id,
        "status": "pending",
        "attempts": 1,
        "callback_url": "",
    }
    assert (entry["status_code"], entry["error"], entry["response"]) == (500, "The receiver answered 500.", "no")
    assert client.get(f"{API}/{endpoint.pk}/deliveries?event=import.failed").json()["meta"]["total"] == 1
    assert client.get(f"{API}/{endpoint.pk}/deliveries?status=delivered").json()["meta"]["total"] == 0
    assert client.get(f"{API}/{endpoint.pk}/deliveries?status=lost").status_code == 422
    everything = client.get(f"{API}/deliveries").json()["items"]
    assert [one["webhook_id"] for one in everything].count(str(other.pk)) == 2
    assert [one["callback_url"] for one in everything if one["webhook_id"] is None] == ["https://8.8.8.8/callback"]
    assert client.get(f"{API}/{uuid4()}/deliveries").status_code == 404


@pytest.mark.django_db
def test_a_finished_message_is_sent_again_under_its_id(receiver):
    delivery = attempt(make_delivery(make_endpoint(receiver.url)))
    client = api_client()
    again = client.post(f"{API}/deliveries/{delivery.pk}/resend")
    assert again.status_code == 200
    assert (again.json()["status"], again.json()["attempts"]) == ("pending", 0)
    refused = client.post(f"{API}/deliveries/{delivery.pk}/resend")
    assert (refused.status_code, refused.json()["code"]) == (409, "illegal_state")
    attempt(delivery)
    assert (delivery.status, delivery.attempts) == ("delivered", 1)
    first, second = receiver.got
    assert first.headers["webhook-id"] == second.headers["webhook-id"]
    assert first.get_data() == second.get_data()
    ping = deliveries.ping(delivery.endpoint)
    assert client.post(f"{API}/deliveries/{ping.pk}/resend").status_code == 409


def test_the_routes_are_described():
    GENERATOR_STATS.reset()
    document = SchemaGenerator(patterns=[path("api/v1/", include("pim.webhooks.urls"))]).get_schema(public=True)
    assert not GENERATOR_STATS, GENERATOR_STATS.emit_summary()
    validate_schema(document)
    assert {route: sorted(operations) for route, operations in document["paths"].items()} == {
        "/api/v1/webhooks": ["get", "post"],
        "/api/v1/webhooks/callback-secret": ["post"],
        "/api/v1/webhooks/deliveries": ["get"],
        "/api/v1/webhooks/deliveries/{id}/resend": ["post"],
        "/api/v1/webhooks/{id}": ["delete", "get", "patch"],
        "/api/v1/webhooks/{id}/deliveries": ["get"],
        "/api/v1/webhooks/{id}/rotate-secret": ["post"],
        "/api/v1/webhooks/{id}/test": ["post"],
    }


# --- the back office ------------------------------------------------------------------------------------------------


@pytest.mark.django_db
def test_the_back_office_adds_a_webhook_and_shows_its_secret_once():
    staff = superuser()
    form = {"url": "https://8.8.8.8/hook", "description": "ERP", "events": ["import.failed"], "is_active": "on"}
    answer = staff.post(f"{ADMIN}add/", form)
    endpoint = WebhookEndpoint.objects.get()
    assert endpoint.secret in answer.content.decode()
    assert "no-store" in answer["Cache-Control"]
    assert (endpoint.url, endpoint.events, endpoint.created_by) == ("https://8.8.8.8/hook", ["import.failed"], "alice")
    secret = endpoint.secret
    change = f"{ADMIN}{endpoint.pk}/change/"
    WebhookEndpoint.objects.update(is_active=False, disabled_reason="The receiver answered 410 (gone).")
    assert "The receiver answered 410 (gone)." in page(staff, change)
    staff.post(change, form | {"events": [], "url": "https://8.8.8.8/other"})
    endpoint.refresh_from_db()
    assert (endpoint.url, endpoint.events, endpoint.is_active) == ("https://8.8.8.8/other", [], True)
    assert (endpoint.disabled_reason, endpoint.secret) == ("", secret)
    refused = staff.post(change, form | {"url": "https://10.0.0.1/"})
    assert "not at a public address" in refused.content.decode()
    rotated = staff.post(f"{ADMIN}{endpoint.pk}/rotate/")
    endpoint.refresh_from_db()
    assert endpoint.secret != secret
    assert endpoint.secret in rotated.content.decode()


@pytest.mark.django_db
def test_the_back_office_tests_resends_and_deletes(receiver):
    staff = superuser()
    endpoint = make_endpoint(receiver.url)
    (message,) = post(staff, f"{ADMIN}{endpoint.pk}/test/")
    assert message.startswith("The receiver answered 200 after ")
    receiver.answers = [Response("", status=500)]
    assert post(staff, f"{ADMIN}{endpoint.pk}/test/") == ["The test failed: The receiver answered 500."]
    receiver.answers = [Response("")]
    delivery = attempt(make_delivery(endpoint))
    text = page(staff, f"{DELIVERIES_ADMIN}{delivery.pk}/change/")
    assert "import.completed" in text
    assert delivery.message_id in text
    assert post(
        staff,
        DELIVERIES_ADMIN,
        {"action": "resend_selected", "_selected_action": [one.pk for one in WebhookDelivery.objects.all()]},
    ) == [
        "1 message is sent again.",
        "2 messages are still on their way or tests, and were left alone.",
    ]
    delivery.refresh_from_db()
    assert delivery.status == "pending"
    assert "failed" in page(staff, f"{DELIVERIES_ADMIN}?endpoint__id__exact={endpoint.pk}")
    assert "last delivery" in page(staff, ADMIN).lower()
    post(staff, f"{ADMIN}{endpoint.pk}/delete/", {"post": "yes"})
    assert not WebhookEndpoint.objects.exists()
    assert not WebhookDelivery.objects.exists()


@pytest.mark.django_db
def test_who_may_only_look_changes_nothing():
    viewer = User.objects.create_user("viewer", is_staff=True)
    viewer.user_permissions.add(*Permission.objects.filter(codename__startswith="view_webhook"))
    endpoint = make_endpoint()
    delivery = make_delivery(endpoint)
    WebhookDelivery.objects.update(status="failed", next_attempt_at=None)
    client = client_of(viewer)
    text = page(client, f"{ADMIN}{endpoint.pk}/change/")
    assert "Send a test message" not in text
    for action in ("test", "rotate"):
        assert client.post(f"{ADMIN}{endpoint.pk}/{action}/").status_code == 403
        assert superuser_get(f"{ADMIN}{endpoint.pk}/{action}/") == 405
    post(client, DELIVERIES_ADMIN, {"action": "resend_selected", "_selected_action": [delivery.pk]})
    delivery.refresh_from_db()
    assert delivery.status == "failed"
    assert WebhookEndpoint.objects.get().secret == endpoint.secret


def superuser_get(address: str) -> int:
    user, _ = User.objects.get_or_create(username="root", is_staff=True, is_superuser=True)
    return client_of(user).get(address).status_code

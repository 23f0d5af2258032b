"""The rate limit of API keys: exact across processes, said in headers, and no harm when the broker is away."""

import logging
import multiprocessing
import os
import subprocess
import sys
from uuid import uuid4

import pytest
import redis
from django.conf import settings as django_settings

from pim.api import throttling
from pim.api.rates import Rate, read_rate
from pim.api.throttling import Limiter, redis_url
from pim.apikeys.models import Scope
from tests.make import api_client, make_api_key
from tests.processes import ROOT

MINUTE = Rate(requests=100, seconds=60, burst=100)
PRODUCTS = "/api/v1/products"
EXT = "/api/v1/ext/products"


def limiter() -> Limiter:
    return Limiter(django_settings.CELERY_BROKER_URL)


def server() -> redis.Redis:
    return redis.Redis.from_url(redis_url(django_settings.CELERY_BROKER_URL))


def turn_back(key: str, seconds: float) -> None:
    """As if the bucket's period had begun so much earlier."""
    with server() as client:
        since = int(client.hget(f"pim:rate:{key}", "since"))
        client.hset(f"pim:rate:{key}", "since", since - round(seconds * 1_000_000))


@pytest.mark.parametrize(
    ("text", "rate"),
    [
        ("100/s", Rate(100, 1, 200)),
        ("100", Rate(100, 1, 200)),
        (" 100/Min ", Rate(100, 60, 100)),
        ("5/minute", Rate(5, 60, 5)),
        ("7/hour", Rate(7, 3600, 7)),
        ("9/day", Rate(9, 86_400, 9)),
        ("off", None),
        ("0", None),
    ],
)
def test_rates_as_settings_write_them(text, rate):
    assert read_rate(text) == rate


@pytest.mark.parametrize("text", ["", "-1", "100/fortnight", "1.5/s", "many", "/s", "100/"])
def test_other_texts_are_no_rates(text):
    with pytest.raises(ValueError, match="is not a rate such as"):
        read_rate(text)


def call(url: str, key: str, count: int, passed: "multiprocessing.Queue[int]") -> None:
    mine = Limiter(url)
    decisions = [mine.take(key, MINUTE) for _ in range(count)]
    passed.put(sum(decision.allowed for decision in decisions if decision))


def test_sixteen_processes_pass_exactly_the_limit():
    key, other = str(uuid4()), str(uuid4())
    context = multiprocessing.get_context("fork")
    passed = context.Queue()
    callers = [
        context.Process(target=call, args=(django_settings.CELERY_BROKER_URL, key, 100, passed)) for _ in range(16)
    ]
    for caller in callers:
        caller.start()
    counts = [passed.get(timeout=60) for _ in callers]
    for caller in callers:
        caller.join()
    assert sum(counts) == 100
    decision = limiter().take(other, MINUTE)
    assert (decision.allowed, decision.remaining) == (True, 99)
    refused = limiter().take(key, MINUTE)
    assert (refused.allowed, refused.limit, refused.remaining) == (False, 100, 0)
    assert 50 < refused.reset <= 60


def test_the_bucket_fills_by_whole_periods_up_to_its_size():
    key, rate, mine = str(uuid4()), Rate(requests=2, seconds=60, burst=4), limiter()
    assert [mine.take(key, rate).allowed for _ in range(6)] == [True] * 4 + [False] * 2
    turn_back(key, 59)
    assert not mine.take(key, rate).allowed
    turn_back(key, 1)
    assert [mine.take(key, rate).allowed for _ in range(3)] == [True, True, False]
    turn_back(key, 600)
    assert [mine.take(key, rate).allowed for _ in range(5)] == [True] * 4 + [False]


def test_a_clock_that_is_set_back_starts_a_new_period():
    key, rate, mine = str(uuid4()), Rate(requests=1, seconds=60, burst=1), limiter()
    assert mine.take(key, rate).allowed
    turn_back(key, -7200)
    refused = mine.take(key, rate)
    assert not refused.allowed
    assert refused.reset <= 60


def test_buckets_do_not_outlive_their_use():
    key = str(uuid4())
    limiter().take(key, MINUTE)
    with server() as client:
        assert 59_000 < client.pttl(f"pim:rate:{key}") <= 60_001


def test_a_server_that_is_away_lets_pass_and_is_logged_once(monkeypatch, caplog):
    absent = Limiter("redis+socket:///does/not/exist.sock")
    with caplog.at_level(logging.WARNING, throttling.__name__):
        assert absent.take("key", MINUTE) is None
        monkeypatch.setattr(throttling, "PAUSE_AFTER_FAILURE", -1.0)
        absent._asks_again = 0.0
        assert absent.take("key", MINUTE) is None
    assert len(caplog.records) == 1
    assert "without a rate limit" in caplog.text


def test_after_a_failure_nobody_waits_for_the_server_for_a_while():
    absent = Limiter("redis+socket:///does/not/exist.sock")
    absent.take("key", MINUTE)
    absent._take = None  # would fail if it was called
    assert absent.take("key", MINUTE) is None


def test_addresses_of_brokers():
    assert redis_url("redis://host:6379/3") == "redis://host:6379/3"
    assert redis_url("redis+socket:///a%20b/c.sock?virtual_host=2") == "unix:///a b/c.sock?db=2"
    assert redis_url("redis+socket:///c.sock") == "unix:///c.sock?db=0"
    with pytest.raises(ValueError, match="amqp"):
        redis_url("amqp://host")


@pytest.mark.django_db
def test_every_answer_tells_the_state_of_the_bucket(settings):
    settings.RATE_LIMIT = Rate(requests=3, seconds=60, burst=3)
    client = api_client()
    answers = [client.get(PRODUCTS), client.get(f"{EXT}/123"), client.post(PRODUCTS, {})]
    assert [answer.status_code for answer in answers] == [200, 404, 422]
    assert [answer["X-RateLimit-Remaining"] for answer in answers] == ["2", "1", "0"]
    assert {answer["X-RateLimit-Limit"] for answer in answers} == {"3"}
    assert all(0 < int(answer["X-RateLimit-Reset"]) <= 60 for answer in answers)
    assert "X-RateLimit-Limit" not in api_client("wrong").get(PRODUCTS)


@pytest.mark.django_db
def test_429_has_the_shape_of_its_surface(settings):
    settings.RATE_LIMIT = Rate(requests=1, seconds=60, burst=1)
    client = api_client()
    assert client.get(PRODUCTS).status_code == 200
    plain = client.get(PRODUCTS)
    assert plain.status_code == 429
    assert plain.json()["code"] == "throttled"
    assert 0 < int(plain["Retry-After"]) <= 60
    wrapped = client.get(f"{EXT}/delta?since=2026-01-01")
    assert wrapped.status_code == 429
    assert wrapped["X-RateLimit-Remaining"] == "0"
    assert int(wrapped["Retry-After"]) > 0
    body = wrapped.json()
    assert (body["success"], body["data"], body["meta"]["updated_at"]) == (False, None, "2026-01-01")
    assert body["error_details"][0]["code"] == "throttled"
    assert api_client().get(PRODUCTS).status_code == 200


@pytest.mark.django_db
def test_a_refused_write_changes_nothing(settings):
    settings.RATE_LIMIT = Rate(requests=1, seconds=3600, burst=2)
    client = api_client(make_api_key(Scope.EXT_READ, Scope.EXT_WRITE))
    for number in range(2):
        assert client.get(EXT).status_code == 200, number
    assert client.post(EXT, {"ean": "96385074", "name": "Pen"}).status_code == 429
    settings.RATE_LIMIT = None
    assert client.get(f"{EXT}/96385074").status_code == 404


@pytest.mark.django_db
def test_without_the_server_the_api_answers(settings):
    settings.RATE_LIMIT = Rate(requests=1, seconds=60, burst=1)
    settings.CELERY_BROKER_URL = "redis+socket:///does/not/exist.sock"
    client = api_client()
    assert [client.get(PRODUCTS).status_code for _ in range(3)] == [200] * 3
    settings.CELERY_BROKER_URL = "amqp://host"
    assert [client.get(PRODUCTS).status_code for _ in range(3)] == [200] * 3


def test_a_bad_setting_stops_the_start():
    environment = os.environ | {"PIM_RATE_LIMIT": "fast", "DJANGO_SETTINGS_MODULE": "pim.settings"}
    command = [sys.executable, "-c", "import django; django.setup()"]
    done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode != 0
    assert "PIM_RATE_LIMIT: 'fast' is not a rate such as 100/s" in done.stderr

"""The shared limiter against a real PostgreSQL: one pace for all processes, and what the provider's answers change."""

import multiprocessing
import time
from datetime import timedelta
from multiprocessing.queues import Queue

import pytest
from django.db import connection, connections, transaction
from django.db.models import F
from django.utils import timezone

from code2asin.limiter import HORIZON_S, PACE, Limiter, bucket_key
from code2asin.models import RateBucket
from pim.jobs.errors import RetryableError

pytestmark = pytest.mark.django_db

KEY = "test:credential:search"


class Paused(Exception):
    pass


def no_pause() -> None:
    pass


def bucket() -> RateBucket:
    return RateBucket.objects.get(key=KEY)


def set_bucket(**values: object) -> None:
    RateBucket.objects.update_or_create(key=KEY, defaults={"rate": 2.0, **values})


def age(minutes: float) -> None:
    RateBucket.objects.filter(key=KEY).update(rate_set_at=F("rate_set_at") - timedelta(minutes=minutes))


def database_epoch() -> float:
    with connection.cursor() as cursor:
        cursor.execute("SELECT extract(epoch FROM clock_timestamp())::float8")
        return float(cursor.fetchone()[0])


# --- reservations ---


def test_the_first_slot_is_free_and_creates_the_bucket() -> None:
    assert Limiter(KEY, default_rate=2.0).reserve() == 0
    assert bucket().rate == 2.0


def test_slots_follow_one_another_at_98_percent_of_the_rate() -> None:
    set_bucket(tat=database_epoch() + 0.2, rate=5.0)
    before = bucket().tat
    limiter = Limiter(KEY, default_rate=2.0)
    waits = [limiter.reserve() for _ in range(3)]
    assert bucket().tat - before == pytest.approx(3 / (5.0 * PACE), abs=1e-5)
    assert all(wait is not None and 0 <= wait < HORIZON_S for wait in waits)


def test_nothing_is_reserved_beyond_the_horizon() -> None:
    set_bucket(tat=database_epoch() + 60)
    before = bucket().tat
    assert Limiter(KEY, default_rate=2.0).reserve() is None
    assert bucket().tat == before


def test_an_idle_bucket_saves_nothing_up() -> None:
    set_bucket(tat=database_epoch() - 3600)
    limiter = Limiter(KEY, default_rate=2.0)
    assert limiter.reserve() == 0
    assert (limiter.reserve() or 0) > 0.3


def test_buckets_do_not_share_a_pace() -> None:
    set_bucket(tat=database_epoch() + 60)
    assert Limiter("test:other:search", default_rate=2.0).reserve() == 0


def test_no_slot_in_time_is_a_rate_limit_error() -> None:
    set_bucket(tat=database_epoch() + 60)
    with pytest.raises(RetryableError, match="no free slot within 0 seconds") as error:
        Limiter(KEY, default_rate=2.0).acquire(pause_check=no_pause, max_wait_s=0)
    assert error.value.category == "api_rate_limit"


def test_a_pause_ends_the_wait() -> None:
    set_bucket(tat=database_epoch() + 60)
    calls = []

    def pause() -> None:
        calls.append(1)
        if len(calls) == 2:
            raise Paused

    with pytest.raises(Paused):
        Limiter(KEY, default_rate=2.0).acquire(pause_check=pause)


@pytest.mark.django_db(transaction=True)
def test_a_reservation_inside_a_transaction_is_refused() -> None:
    with pytest.raises(RuntimeError, match="durable"), transaction.atomic():
        Limiter(KEY, default_rate=2.0).reserve()
    assert not RateBucket.objects.exists()


# --- what answers change ---


def test_an_announced_rate_holds_at_once_and_is_kept() -> None:
    limiter = Limiter(KEY, default_rate=2.0)
    limiter.reserve()
    limiter.answered(5.0)
    assert bucket().rate == 5.0
    limiter.answered(None)
    assert bucket().rate == 5.0
    Limiter(KEY, default_rate=2.0).reserve()
    assert bucket().rate == 5.0
    limiter.answered(0.5)
    assert bucket().rate == 0.5


def test_a_refusal_makes_everybody_skip_a_slot() -> None:
    set_bucket(tat=0)
    Limiter(KEY, default_rate=2.0).throttled()
    assert bucket().tat == pytest.approx(database_epoch() + 0.5, abs=0.2)
    assert (bucket().rate, bucket().throttled_in_row) == (2.0, 1)


def test_the_third_refusal_in_a_row_halves_the_rate() -> None:
    set_bucket()
    limiter = Limiter(KEY, default_rate=2.0)
    rates = []
    for _ in range(6):
        limiter.throttled()
        rates.append(bucket().rate)
    assert rates == [2.0, 2.0, 1.0, 1.0, 1.0, 0.5]


def test_an_answer_in_between_starts_the_count_again() -> None:
    set_bucket()
    limiter = Limiter(KEY, default_rate=2.0)
    for _ in range(3):
        limiter.throttled()
        limiter.throttled()
        limiter.answered(2.0)
    assert (bucket().rate, bucket().throttled_in_row) == (2.0, 0)


@pytest.mark.parametrize(("rate", "floor"), [(0.15, 0.1), (0.1, 0.1), (0.033, 0.033)])
def test_halving_stops_at_the_floor(rate: float, floor: float) -> None:
    set_bucket(rate=rate, throttled_in_row=2)
    Limiter(KEY, default_rate=rate).throttled()
    assert bucket().rate == floor


@pytest.mark.parametrize("announced", [2.0, None])
def test_a_halved_rate_grows_back_by_5_percent_a_minute(announced: float | None) -> None:
    set_bucket(throttled_in_row=2)
    limiter = Limiter(KEY, default_rate=2.0)
    limiter.throttled()
    limiter.answered(announced)
    assert bucket().rate == pytest.approx(1.0, abs=0.001)
    age(minutes=1)
    limiter.answered(announced)
    assert bucket().rate == pytest.approx(1.05, abs=0.001)
    age(minutes=30)
    limiter.answered(announced)
    assert (bucket().rate, bucket().throttled_in_row) == (2.0, 0)


def test_three_more_refusals_halve_a_halved_rate_again() -> None:
    set_bucket(throttled_in_row=2)
    limiter = Limiter(KEY, default_rate=2.0)
    limiter.throttled()
    limiter.answered(2.0)
    for _ in range(3):
        limiter.throttled()
    assert bucket().rate == pytest.approx(0.5, abs=0.001)


def test_scattered_refusals_do_not_halve_a_halved_rate_again() -> None:
    set_bucket(throttled_in_row=2)
    limiter = Limiter(KEY, default_rate=2.0)
    limiter.throttled()
    for _ in range(4):
        limiter.answered(2.0)
        limiter.throttled()
    assert bucket().rate == pytest.approx(1.0, abs=0.001)


def test_recovery_is_counted_from_the_halving() -> None:
    set_bucket(throttled_in_row=2, rate_set_at=timezone.now() - timedelta(days=1))
    limiter = Limiter(KEY, default_rate=2.0)
    limiter.throttled()
    limiter.answered(2.0)
    assert bucket().rate == pytest.approx(1.0, abs=0.001)


# --- keys ---


def test_the_key_tells_credentials_apart_without_revealing_them() -> None:
    one, other = (bucket_key("sp_api", "search", "client-id", secret) for secret in ("s3cret", "other"))
    assert one != other
    assert one.startswith("sp_api:")
    assert one.endswith(":search")
    assert "s3cret" not in one
    assert bucket_key("sp_api", "search", "ab", "c") != bucket_key("sp_api", "search", "a", "bc")


# --- many processes ---

RATE, SECONDS, PROCESSES = 20.0, 3.0, 4


def take_slots(started: float, grants: "Queue[list[float]]") -> None:
    """Runs in a process of its own: takes slots until the time is over, reports when it got them."""
    limiter = Limiter(KEY, default_rate=RATE)
    times = []
    while time.monotonic() < started + SECONDS:
        limiter.acquire(pause_check=no_pause)
        times.append(time.monotonic())
    connections.close_all()
    grants.put(times)


@pytest.mark.django_db(transaction=True)
def test_four_processes_together_stay_within_the_rate() -> None:
    connections.close_all()  # a connection must not be shared with children
    context = multiprocessing.get_context("fork")
    grants: Queue[list[float]] = context.Queue()
    started = time.monotonic()
    workers = [context.Process(target=take_slots, args=(started, grants)) for _ in range(PROCESSES)]
    for worker in workers:
        worker.start()
    times = sorted(moment for _ in workers for moment in grants.get(timeout=60))
    for worker in workers:
        worker.join()
    elapsed = times[-1] - started
    assert len(times) <= RATE * elapsed + 1
    # and the slots were used, not lost between the processes
    assert len(times) >= 0.5 * RATE * SECONDS

"""One rate limiter for all workers: a PostgreSQL row per provider, credential and operation, paced by GCRA.

Reservations use the database's clock, so workers need not agree on the time. Rules and figures: docs/matching.md.
"""

import hashlib
import random
import time
from collections.abc import Callable
from typing import Any

from django.db import connection, transaction

from pim.jobs.errors import RetryableError

PACE = 0.98  # of the allowed rate: leaves room for jitter on the way
HORIZON_S = 1.5  # no reservation further ahead: the rate may change before its turn comes
RETRY_S = (0.15, 0.45)  # random wait before asking again when the horizon is full
HALVE_AFTER = 3  # consecutive refusals
FLOOR_RATE = 0.1  # requests per second below which halving stops
RECOVERY_PER_MINUTE = 1.05

_RESERVE = """
WITH clock AS MATERIALIZED (SELECT extract(epoch FROM clock_timestamp())::float8 AS now)
INSERT INTO code2asin_ratebucket AS bucket (key, tat, rate, throttled_in_row)
SELECT %(key)s, now + 1 / (%(rate)s * %(pace)s), %(rate)s, 0 FROM clock
ON CONFLICT (key) DO UPDATE
   SET tat = GREATEST(bucket.tat, (SELECT now FROM clock)) + 1 / (bucket.rate * %(pace)s)
 WHERE bucket.tat < (SELECT now FROM clock) + %(horizon)s
RETURNING GREATEST(0, bucket.tat - 1 / (bucket.rate * %(pace)s) - extract(epoch FROM clock_timestamp())::float8)
"""

# Below HALVE_AFTER refusals in a row the provider's word is the rate; from there on the rate has been halved and
# grows back towards it.
_ANSWERED = """
UPDATE code2asin_ratebucket AS bucket
   SET rate = CASE WHEN halved AND regrown < target THEN regrown ELSE target END,
       throttled_in_row = CASE WHEN halved AND regrown < target THEN %(halve_after)s ELSE 0 END,
       rate_set_at = clock_timestamp()
  FROM (SELECT key,
               throttled_in_row >= %(halve_after)s AS halved,
               COALESCE(%(seen)s, CASE WHEN throttled_in_row >= %(halve_after)s THEN %(rate)s ELSE rate END) AS target,
               rate * power(%(recovery)s, extract(epoch FROM clock_timestamp() - rate_set_at)::float8 / 60) AS regrown
          FROM code2asin_ratebucket
         WHERE key = %(key)s AND (throttled_in_row > 0 OR rate <> COALESCE(%(seen)s, rate))  -- else nothing to note
           FOR UPDATE) AS state
 WHERE bucket.key = state.key
"""

_THROTTLED = """
UPDATE code2asin_ratebucket AS bucket
   SET rate = next_rate,
       throttled_in_row = throttled_in_row + 1,
       rate_set_at = CASE WHEN next_rate < rate THEN clock_timestamp() ELSE rate_set_at END,
       tat = GREATEST(tat, extract(epoch FROM clock_timestamp())::float8 + 1 / next_rate)
  FROM (SELECT key AS locked,
               CASE WHEN (throttled_in_row + 1) %% %(halve_after)s = 0
                    THEN LEAST(rate, GREATEST(%(floor)s, rate / 2)) ELSE rate END AS next_rate
          FROM code2asin_ratebucket WHERE key = %(key)s FOR UPDATE) AS state
 WHERE bucket.key = state.locked
"""


def bucket_key(provider: str, operation: str, *credentials: str) -> str:
    """The key of a bucket; credentials enter as a fingerprint that does not reveal them."""
    fingerprint = hashlib.sha256("\0".join(credentials).encode()).hexdigest()[:16]
    return f"{provider}:{fingerprint}:{operation}"


class Limiter:
    """Paces the calls of all processes that share `key`.

    default_rate: requests per second until the provider says otherwise; later the last seen rate is kept.
    Every method commits at once and raises RuntimeError inside an open transaction, where a reservation would
    block all other workers until that transaction ends.
    """

    def __init__(self, key: str, *, default_rate: float) -> None:
        self.key = key
        self.default_rate = default_rate

    def reserve(self) -> float | None:
        """Take the next slot: seconds to wait for it, None when every slot within the horizon is taken."""
        row = self._execute(_RESERVE, horizon=HORIZON_S, pace=PACE)
        return None if row is None else float(row[0])

    def acquire(self, *, pause_check: Callable[[], None], max_wait_s: float = 30.0) -> None:
        """Wait for a slot; pause_check is called before and after every wait and may raise.

        Raises RetryableError (api_rate_limit) when no slot came up within max_wait_s.
        """
        until = time.monotonic() + max_wait_s
        pause_check()
        while (wait := self.reserve()) is None:
            if time.monotonic() >= until:
                raise RetryableError(
                    f"no free slot within {max_wait_s:g} seconds: other work uses the whole quota",
                    category="api_rate_limit",
                )
            time.sleep(random.uniform(*RETRY_S))
            pause_check()
        time.sleep(wait)
        pause_check()

    def answered(self, rate: float | None) -> None:
        """Record an answer that was not a refusal; rate is the requests per second it announced, None when it did not.

        An announced rate holds at once, except after a halving: then the rate grows by 5 % a minute up to it.
        """
        self._execute(_ANSWERED, seen=rate, halve_after=HALVE_AFTER, recovery=RECOVERY_PER_MINUTE)

    def throttled(self) -> None:
        """Record a refusal (429): everybody skips one slot, and each third refusal in a row halves the rate."""
        self._execute(_THROTTLED, halve_after=HALVE_AFTER, floor=FLOOR_RATE)

    def _execute(self, sql: str, **parameters: float | None) -> tuple[Any, ...] | None:
        with transaction.atomic(durable=True), connection.cursor() as cursor:
            cursor.execute(sql, {"key": self.key, "rate": self.default_rate, **parameters})
            row: tuple[Any, ...] | None = cursor.fetchone() if cursor.description else None
            return row

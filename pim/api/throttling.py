"""The limit of requests per API key, exact however many processes serve: one script in the broker's server.

The broker is asked because it is there and decides atomically. When it is not (away, slow, or of another kind than
Redis), requests pass: a limit that stops paying clients because a cache is down does more harm than none.
"""

import logging
import math
import time
from dataclasses import dataclass
from functools import cache
from typing import Any, Final
from urllib.parse import parse_qs, unquote, urlsplit

import redis
from django.conf import settings
from django.http import HttpRequest, HttpResponseBase
from redis.backoff import NoBackoff
from redis.retry import Retry
from rest_framework.request import Request
from rest_framework.throttling import BaseThrottle

from pim.api.rates import Rate

logger = logging.getLogger(__name__)

# Seconds. A request waits at most this long for the decision, and after a failure nobody asks for a while.
TIMEOUT: Final = 0.25
PAUSE_AFTER_FAILURE: Final = 5.0
LOG_EVERY: Final = 60.0

# KEYS[1]: hash of `tokens` and `since` (microseconds of the server's clock, so the clocks of clients do not matter).
# ARGV: burst, requests, period in microseconds. Returns allowed, tokens left, microseconds until more come.
# The key expires when the bucket is full again; the next request then starts a new period.
_TAKE = """
local burst, requests, period = tonumber(ARGV[1]), tonumber(ARGV[2]), tonumber(ARGV[3])
local clock = redis.call('TIME')
local now = clock[1] * 1000000 + clock[2]
local state = redis.call('HMGET', KEYS[1], 'tokens', 'since')
local tokens, since = tonumber(state[1]), tonumber(state[2])
if not tokens or since > now then
  tokens, since = tokens or burst, now
end
local periods = math.floor((now - since) / period)
tokens = math.min(burst, tokens + periods * requests)
since = since + periods * period
local allowed = 0
if tokens > 0 then
  allowed, tokens = 1, tokens - 1
end
local full = math.ceil((burst - tokens) / requests) * period - (now - since)
redis.call('HSET', KEYS[1], 'tokens', tokens, 'since', string.format('%.0f', since))
redis.call('PEXPIRE', KEYS[1], math.ceil(full / 1000))
return {allowed, tokens, since + period - now}
"""


@dataclass(frozen=True, slots=True)
class Decision:
    """limit: the size of the bucket. remaining: requests left in it. reset: seconds until more are added."""

    allowed: bool
    limit: int
    remaining: int
    reset: float


class Limiter:
    """Takes requests out of the buckets of one server."""

    def __init__(self, broker_url: str) -> None:
        self._client = redis.Redis.from_url(redis_url(broker_url), **_CONNECTION)
        self._take = self._client.register_script(_TAKE)
        self._asks_again = 0.0
        self._logs_again = 0.0

    def take(self, key: str, rate: Rate) -> Decision | None:
        """One request of `key`; None when the server does not decide, which is logged once a minute."""
        if time.monotonic() < self._asks_again:
            return None
        arguments = (rate.burst, rate.requests, rate.seconds * 1_000_000)
        try:
            allowed, remaining, reset = self._take(keys=[f"pim:rate:{key}"], args=arguments)
        except redis.RedisError as error:
            self._failed(error)
            return None
        return Decision(bool(allowed), rate.burst, remaining, reset / 1_000_000)

    def _failed(self, error: Exception) -> None:
        now = time.monotonic()
        self._asks_again = now + PAUSE_AFTER_FAILURE
        if now >= self._logs_again:
            self._logs_again = now + LOG_EVERY
            logger.warning("Requests pass without a rate limit, for the broker does not answer: %s", error)


class KeyThrottle(BaseThrottle):
    """DRF's hook: holds API keys to `settings.RATE_LIMIT`; members of staff in a session are not limited."""

    _decision: Decision

    def allow_request(self, request: Request, view: Any) -> bool:
        key: Any = request.auth
        rate: Rate | None = settings.RATE_LIMIT
        if key is None or rate is None:
            return True
        limiter = _limiter(settings.CELERY_BROKER_URL)
        decision = limiter.take(str(key.pk), rate) if limiter else None
        if decision is None:
            return True
        self._decision = decision
        request._request.rate_decision = decision  # type: ignore[attr-defined]
        return decision.allowed

    def wait(self) -> float:
        return self._decision.reset


def add_rate_headers(request: HttpRequest, response: HttpResponseBase) -> None:
    """`X-RateLimit-*` of the decision about this request, if there was one."""
    decision: Decision | None = getattr(request, "rate_decision", None)
    if decision is not None:
        response["X-RateLimit-Limit"] = str(decision.limit)
        response["X-RateLimit-Remaining"] = str(decision.remaining)
        response["X-RateLimit-Reset"] = str(math.ceil(decision.reset))


def redis_url(broker_url: str) -> str:
    """The broker's address as redis-py writes it; raises ValueError when the broker is no Redis-protocol server."""
    parts = urlsplit(broker_url)
    if parts.scheme in ("redis", "rediss"):
        return broker_url
    if parts.scheme == "redis+socket":
        database = parse_qs(parts.query).get("virtual_host", ["0"])[0].lstrip("/")
        return f"unix://{unquote(parts.path)}?db={database}"
    raise ValueError(f"a broker of the kind {parts.scheme} cannot count requests")


_CONNECTION: Final[dict[str, Any]] = {
    "socket_timeout": TIMEOUT,
    "socket_connect_timeout": TIMEOUT,
    "retry": Retry(NoBackoff(), 1),  # a pooled connection may be older than the server
}


@cache
def _limiter(broker_url: str) -> Limiter | None:
    try:
        return Limiter(broker_url)
    except ValueError as error:
        logger.warning("There is no rate limit: %s", error)
        return None

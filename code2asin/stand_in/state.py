"""What the stand-in remembers between calls: tokens, rate buckets, switches and counters. Thread-safe."""

import secrets
import threading
from collections import Counter, deque
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field, fields, replace
from enum import StrEnum
from typing import Any


class Operation(StrEnum):
    SEARCH = "searchCatalogItems"
    GET_ITEM = "getCatalogItem"
    PRICING = "getCompetitiveSummary"


class Refusal(StrEnum):
    """Why a call is not answered."""

    ACCESS = "access"
    QUOTA = "quota"
    FAILURE = "failure"


@dataclass(frozen=True, kw_only=True)
class Behaviour:
    """The switches; each can be changed while the stand-in runs.

    rate, burst: calls per second and bucket size of each catalogue operation, per client id.
    token_lifetime: seconds, for tokens issued from now on.
    client_secret, refresh_token: the only accepted values; "" accepts any.
    delay: seconds added to every API answer.
    rejected_codes: identifiers that make the whole search a 400.
    throttle_next, fail_next, truncate_next: how many of the next calls get 429, `fail_status`, half a JSON document.
    """

    rate: float = 2.0
    burst: int = 2
    pricing_rate: float = 0.033
    pricing_burst: int = 1
    token_lifetime: int = 3600
    client_secret: str = ""
    refresh_token: str = ""
    deny_access: bool = False
    rate_header: bool = True
    next_token: bool = True
    delay: float = 0.0
    rejected_codes: tuple[str, ...] = ()
    throttle_next: int = 0
    fail_next: int = 0
    fail_status: int = 503
    truncate_next: int = 0

    def changed(self, changes: dict[str, Any]) -> "Behaviour":
        """A copy with these fields; raises ValueError naming an unknown field or a value of the wrong type."""
        kinds = {entry.name: type(entry.default) for entry in fields(self)}
        checked: dict[str, Any] = {}
        for name, value in changes.items():
            if name not in kinds:
                raise ValueError(f"unknown switch {name!r}; known: {', '.join(kinds)}")
            checked[name] = _typed(name, value, kinds[name])
        return replace(self, **checked)

    def limits(self, operation: Operation) -> tuple[float, int]:
        """Calls per second and bucket size."""
        if operation is Operation.PRICING:
            return self.pricing_rate, self.pricing_burst
        return self.rate, self.burst


def _typed(name: str, value: object, kind: type) -> object:
    if kind is float and type(value) is int:
        return float(value)
    if kind is tuple and isinstance(value, list):
        return tuple(value)
    if type(value) is not kind:
        raise ValueError(f"{name}: expected {kind.__name__}, got {value!r}")
    return value


@dataclass(frozen=True, kw_only=True)
class Stats:
    """Counters since the start.

    codes, distinct_codes: identifiers in answered searches.
    max_per_second: most API calls that arrived within one second.
    longest_throttle_run: most 429s in a row for one client and operation.
    """

    ok: int
    throttled: int
    errors: int
    calls: dict[str, int]
    tokens_issued: int
    codes: int
    distinct_codes: int
    images: int
    max_per_second: int
    longest_throttle_run: int


@dataclass(slots=True)
class _Bucket:
    level: float
    at: float

    def take(self, now: float, rate: float, burst: int) -> bool:
        self.level = min(burst, self.level + (now - self.at) * rate)
        self.at = now
        # the tolerance absorbs float rounding: a call exactly 1/rate after the last one is within quota
        if self.level < 1 - 1e-9:
            return False
        self.level -= 1
        return True


@dataclass(slots=True)
class _Counters:
    statuses: Counter[int] = field(default_factory=Counter)
    calls: Counter[str] = field(default_factory=Counter)
    codes: Counter[str] = field(default_factory=Counter)
    tokens: int = 0
    images: int = 0
    arrivals: deque[float] = field(default_factory=deque)
    busiest_second: int = 0
    throttle_runs: Counter[tuple[str, Operation]] = field(default_factory=Counter)
    longest_throttle_run: int = 0


class State:
    def __init__(self, behaviour: Behaviour, clock: Callable[[], float]) -> None:
        self.behaviour = behaviour
        self._clock = clock
        self._lock = threading.Lock()
        self._tokens: dict[str, tuple[str, float]] = {}
        self._buckets: dict[tuple[str, Operation], _Bucket] = {}
        self._counters = _Counters()

    def change(self, changes: dict[str, Any]) -> None:
        with self._lock:
            self.behaviour = self.behaviour.changed(changes)

    def revoke_tokens(self) -> None:
        with self._lock:
            self._tokens.clear()

    def issue_token(self, client_id: str) -> str:
        token = f"Atza|{secrets.token_urlsafe(48)}"
        with self._lock:
            self._tokens[token] = (client_id, self._clock() + self.behaviour.token_lifetime)
            self._counters.tokens += 1
        return token

    def admit(self, token: str, operation: Operation) -> Refusal | None:
        """Check the token, then the quota, then the switches that make a call fail. A refused call costs no quota."""
        with self._lock:
            now = self._clock()
            self._count_arrival(now, operation)
            client_id, expires = self._tokens.get(token, ("", now))
            if expires <= now or self.behaviour.deny_access:
                return Refusal.ACCESS
            key = (client_id, operation)
            if self._spend("throttle_next") or not self._within_quota(key, now):
                run = self._counters.throttle_runs[key] = self._counters.throttle_runs[key] + 1
                self._counters.longest_throttle_run = max(self._counters.longest_throttle_run, run)
                return Refusal.QUOTA
            self._counters.throttle_runs[key] = 0
            return Refusal.FAILURE if self._spend("fail_next") else None

    def truncates(self) -> bool:
        """True when this answer is one of the next `truncate_next`."""
        with self._lock:
            return self._spend("truncate_next")

    def record(self, status: int) -> None:
        with self._lock:
            self._counters.statuses[status] += 1

    def record_codes(self, codes: Iterable[str]) -> None:
        with self._lock:
            self._counters.codes.update(codes)

    def record_image(self) -> None:
        with self._lock:
            self._counters.images += 1

    def stats(self) -> Stats:
        with self._lock:
            counters = self._counters
            return Stats(
                ok=counters.statuses[200],
                throttled=counters.statuses[429],
                errors=counters.statuses.total() - counters.statuses[200] - counters.statuses[429],
                calls=dict(counters.calls),
                tokens_issued=counters.tokens,
                codes=counters.codes.total(),
                distinct_codes=len(counters.codes),
                images=counters.images,
                max_per_second=counters.busiest_second,
                longest_throttle_run=counters.longest_throttle_run,
            )

    def reset_stats(self) -> None:
        with self._lock:
            self._counters = _Counters()

    def _count_arrival(self, now: float, operation: Operation) -> None:
        counters = self._counters
        counters.calls[operation] += 1
        counters.arrivals.append(now)
        while counters.arrivals[0] <= now - 1:
            counters.arrivals.popleft()
        counters.busiest_second = max(counters.busiest_second, len(counters.arrivals))

    def _within_quota(self, key: tuple[str, Operation], now: float) -> bool:
        rate, burst = self.behaviour.limits(key[1])
        bucket = self._buckets.setdefault(key, _Bucket(burst, now))
        return bucket.take(now, rate, burst)

    def _spend(self, switch: str) -> bool:
        left: int = getattr(self.behaviour, switch)
        if left <= 0:
            return False
        self.behaviour = self.behaviour.changed({switch: left - 1})
        return True

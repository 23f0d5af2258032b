"""How many requests a client may make, as the settings write it."""

import re
from dataclasses import dataclass

_RATE = re.compile(r"(\d{1,9})(?:/(s|sec|second|min|minute|h|hour|day))?")
_SECONDS = {"s": 1, "min": 60, "h": 3600, "day": 86_400}
_UNITS = {"sec": "s", "second": "s", "minute": "min", "hour": "h"}


@dataclass(frozen=True, slots=True)
class Rate:
    """A bucket of `burst` requests to which each `seconds` that pass add `requests`."""

    requests: int
    seconds: int
    burst: int


def read_rate(text: str) -> Rate | None:
    """`100/s`, `100/min`, `5000/hour`, `10000/day`, or a number alone, which is per second; None for `off` and 0.

    A limit per second may be saved up for one second (burst of twice the number); the others are exact.
    Raises ValueError for anything else.
    """
    word = text.strip().lower()
    if word == "off":
        return None
    parts = _RATE.fullmatch(word)
    if parts is None:
        raise ValueError(f"{text!r} is not a rate such as 100/s, 100/min, 5000/hour or off")
    requests = int(parts[1])
    unit = parts[2] or "s"
    seconds = _SECONDS[_UNITS.get(unit, unit)]
    return Rate(requests, seconds, requests * 2 if seconds == 1 else requests) if requests else None

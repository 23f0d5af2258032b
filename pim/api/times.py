"""Points in time as clients write them."""

import re
from datetime import UTC, date, datetime

_DECODED_PLUS = re.compile(r" (?=\d\d:?\d\d$)")


def parse_time(text: str) -> datetime:
    """ISO 8601 in UTC: with offset, without (UTC is meant), or a date alone (its first moment).

    A `+` that a form decoder turned into a blank is read as a plus. Raises ValueError for anything else.
    """
    text = text.strip()
    if len(text) <= 10:
        day = date.fromisoformat(text)
        return datetime(day.year, day.month, day.day, tzinfo=UTC)
    if "T" in text.upper():
        text = _DECODED_PLUS.sub("+", text)
    try:
        moment = datetime.fromisoformat(text)
        return moment.replace(tzinfo=UTC) if moment.tzinfo is None else moment.astimezone(UTC)
    except OverflowError:
        raise ValueError(f"{text} is out of range") from None

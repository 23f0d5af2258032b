"""When a failed attempt is tried again. The delays are columns in the database, never broker countdowns."""

from datetime import timedelta

from django.conf import settings

from pim.jobs.errors import Category, RetryableError

# Units (minutes by default) before retries 1 to 5.
SCHEDULE = (1, 5, 15, 60, 240)
MAX_RETRIES = len(SCHEDULE)
# An unknown failure is retried with caution only.
LIMITS: dict[Category, int] = {"network": 5, "api_rate_limit": 5, "unknown": 2, "invalid_data": 0}


def delay(error: RetryableError, *, attempt: int) -> timedelta | None:
    """How long to wait after `attempt` earlier retries, None when the retries are used up."""
    if attempt >= LIMITS[error.category]:
        return None
    wait: timedelta = SCHEDULE[attempt] * settings.JOB_RETRY_UNIT
    return max(wait, timedelta(seconds=error.retry_after or 0))

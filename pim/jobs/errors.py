"""Expected failures of a job, each with a category and a word on whether trying again can help."""

from typing import ClassVar, Literal

Category = Literal["network", "api_rate_limit", "invalid_data", "unknown"]


class JobError(Exception):
    """Base of expected failures; `category` selects the retry rule, the message is shown to the user."""

    retryable: ClassVar[bool] = False

    def __init__(self, message: str, *, category: Category) -> None:
        super().__init__(message)
        self.category: Category = category


class RetryableError(JobError):
    """Trying again later can succeed. retry_after: seconds the other side asked to wait, None when it did not say."""

    retryable = True

    def __init__(self, message: str, *, category: Category, retry_after: float | None = None) -> None:
        super().__init__(message, category=category)
        self.retry_after = retry_after


class PermanentError(JobError):
    """Trying again cannot help; a person must change something first."""

"""The answers to requests that may come again."""

from django.db import models
from django.db.models.functions import Now

from pim.ids import uuid7


class IdempotentAnswer(models.Model):
    """What one caller's `Idempotency-Key` was answered; written by the transaction that did the work.

    caller: the API key or member of staff. fingerprint: SHA-256 of the request. body: as it was sent.
    """

    id = models.UUIDField(primary_key=True, default=uuid7, editable=False)
    caller = models.CharField(max_length=200)
    key = models.CharField(max_length=255)
    fingerprint = models.CharField(max_length=64)
    status = models.SmallIntegerField()
    headers = models.JSONField()
    body = models.TextField()
    created_at = models.DateTimeField(db_default=Now())

    class Meta:
        constraints = (models.UniqueConstraint(fields=["caller", "key"], name="api_idempotent_answer_key"),)
        indexes = (models.Index(name="api_idempotent_answer_age", fields=["created_at"]),)

    def __str__(self) -> str:
        return f"{self.caller} {self.key}"

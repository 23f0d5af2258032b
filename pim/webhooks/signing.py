"""Secrets and signatures as the Standard Webhooks specification 1.0 has them (standardwebhooks.com)."""

import base64
import hmac
import secrets
from collections.abc import Iterable
from datetime import timedelta
from hashlib import sha256
from urllib.parse import urlsplit

from django.db import transaction
from django.db.models.functions import Now
from django.utils import timezone

from pim import fields
from pim.webhooks.models import WebhookEndpoint

PREFIX = "whsec_"
SECRET_BYTES = 32  # the specification allows 24 to 64
ROTATION_OVERLAP = timedelta(hours=24)


def new_secret() -> str:
    return _text(secrets.token_bytes(SECRET_BYTES))


def rotate_secret(endpoint: WebhookEndpoint) -> str:
    """Give the endpoint a new secret and return it; the one before signs beside it for another 24 hours."""
    secret = new_secret()
    with transaction.atomic():
        before = WebhookEndpoint.objects.select_for_update().get(pk=endpoint.pk).secret
        WebhookEndpoint.objects.filter(pk=endpoint.pk).update(
            secret=secret,
            previous_secret=before,
            previous_secret_until=Now() + ROTATION_OVERLAP,
            updated_at=Now(),
        )
    return secret


def endpoint_secrets(endpoint: WebhookEndpoint) -> list[str]:
    """What signs for the endpoint now, the newest first."""
    until = endpoint.previous_secret_until
    if endpoint.previous_secret is None or until is None or until <= timezone.now():
        return [endpoint.secret]
    return [endpoint.secret, endpoint.previous_secret]


def callback_secrets(url: str) -> list[str]:
    """What signs for callback URLs of this scheme, host and port: nothing is stored, one secret comes from each key.

    Receivers of different hosts cannot forge messages for one another. When PIM_ENCRYPTION_KEYS gets a new first key,
    the secret of the old one goes on signing beside it until that key is removed.
    """
    parts = urlsplit(url)
    port = parts.port or {"http": 80, "https": 443}[parts.scheme]
    origin = f"{parts.scheme}://{(parts.hostname or '').lower()}:{port}"
    return [_text(derived) for derived in fields.derive("webhook callback " + origin)]


def signature(*, message_id: str, timestamp: int, body: bytes, secrets: Iterable[str]) -> str:
    """The `webhook-signature` header: one signature for each secret. timestamp: seconds since the epoch."""
    signed = b"%b.%d.%b" % (message_id.encode(), timestamp, body)
    digests = [hmac.digest(base64.b64decode(secret.removeprefix(PREFIX)), signed, sha256) for secret in secrets]
    return " ".join(f"v1,{base64.b64encode(digest).decode()}" for digest in digests)


def _text(key: bytes) -> str:
    return PREFIX + base64.b64encode(key).decode()

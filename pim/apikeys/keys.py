"""Make, verify and revoke API keys: `pm_live_<8 id>_<40 secret><6 checksum>`, base62.

The checksum lets secret scanners and this module dismiss what cannot be a key without asking the database. Stored is
an HMAC-SHA256 under a numbered pepper, so a stolen database alone verifies no guess.
"""

import hmac
import re
import secrets
import string
import zlib
from collections.abc import Iterable
from datetime import datetime, timedelta
from functools import cache
from hashlib import sha256
from uuid import UUID

from django.conf import settings
from django.core.exceptions import ImproperlyConfigured
from django.db.models import Q
from django.db.models.functions import Now
from django.utils import timezone

from pim.apikeys.models import ApiKey, Scope
from pim.env import env, generated_secret

LAST_USED_RESOLUTION = timedelta(minutes=1)

_BASE62 = string.digits + string.ascii_uppercase + string.ascii_lowercase
_FORMAT = re.compile(r"(pm_live_([0-9A-Za-z]{8})_[0-9A-Za-z]{40})([0-9A-Za-z]{6})")
_PEPPER = re.compile(r"(\d{1,9}):(\S{16,})")
_GENERATED_PEPPER = "0"  # the number of the pepper that is made on first use


def create_key(
    *, name: str, scopes: Iterable[str], expires_at: datetime | None = None, created_by: str = ""
) -> tuple[ApiKey, str]:
    """A new key and its secret, which is not stored and cannot be shown again.

    Raises ValueError for an unknown or missing scope, an unusable name, or an expiry in the past.
    """
    chosen = set(scopes)
    if unknown := chosen - set(Scope.values):
        raise ValueError(f"Unknown scope {', '.join(sorted(unknown))}. Valid scopes: {', '.join(Scope.values)}.")
    if not chosen:
        raise ValueError(f"A key needs at least one scope. Valid scopes: {', '.join(Scope.values)}.")
    if not 1 <= len(name.strip()) <= 100:
        raise ValueError("The name of a key has 1 to 100 characters.")
    if expires_at is not None and expires_at <= timezone.now():
        raise ValueError("The expiry of a key lies in the future.")
    public_id = _random(8)
    body = f"pm_live_{public_id}_{_random(40)}"
    secret = body + checksum(body)
    pepper_id, pepper = newest_pepper()
    key = ApiKey.objects.create(
        name=name.strip(),
        public_id=public_id,
        digest=_digest(secret, pepper),
        pepper_id=pepper_id,
        scopes=[scope for scope in Scope.values if scope in chosen],
        expires_at=expires_at,
        created_by=created_by,
    )
    return key, secret


def verify(secret: str) -> ApiKey | None:
    """The usable key with this secret; None when it is malformed, unknown, altered, expired or revoked."""
    parts = _FORMAT.fullmatch(secret)
    if parts is None or checksum(parts[1]) != parts[3]:
        return None
    key = ApiKey.objects.filter(public_id=parts[2]).first()
    if key is None:
        return None
    pepper = peppers().get(key.pepper_id)
    if pepper is None or not hmac.compare_digest(_digest(secret, pepper), key.digest):
        return None
    now = timezone.now()
    if key.revoked_at is not None or (key.expires_at is not None and key.expires_at <= now):
        return None
    if key.last_used_at is None or key.last_used_at < now - LAST_USED_RESOLUTION:
        _record_use(key, secret)
    return key


def revoke_key(key_id: UUID) -> bool:
    """Make a key useless from the next request on, for good; False when it was revoked before or does not exist."""
    return bool(ApiKey.objects.filter(pk=key_id, revoked_at=None).update(revoked_at=Now()))


def _record_use(key: ApiKey, secret: str) -> None:
    """Note the time, once a minute however many requests race; move the digest to the newest pepper on the way."""
    pepper_id, pepper = newest_pepper()
    changes = {} if key.pepper_id == pepper_id else {"pepper_id": pepper_id, "digest": _digest(secret, pepper)}
    due = Q(last_used_at=None) | Q(last_used_at__lt=Now() - LAST_USED_RESOLUTION)
    ApiKey.objects.filter(due, pk=key.pk).update(last_used_at=Now(), **changes)


@cache
def peppers() -> dict[str, str]:
    """Every pepper by number: those of PIM_API_KEY_PEPPERS (`1:secret,2:secret`), else the generated number 0.

    The generated one stays valid beside the configured ones, so configuring peppers invalidates no key.
    Raises ImproperlyConfigured for an entry of another form.
    """
    configured = env("PIM_API_KEY_PEPPERS")
    found = {}
    for entry in configured.split(",") if configured else ():
        parts = _PEPPER.fullmatch(entry.strip())
        if parts is None or parts[1] in found or parts[1] == _GENERATED_PEPPER:
            raise ImproperlyConfigured(
                "PIM_API_KEY_PEPPERS must look like 1:secret,2:secret: numbers from 1, each once, and secrets of at"
                " least 16 characters without blanks."
            )
        found[parts[1]] = parts[2]
    if not found or (settings.DATA_DIR / "secrets" / "api_key_pepper").exists():
        found[_GENERATED_PEPPER] = generated_secret(settings.DATA_DIR, "api_key_pepper")
    return found


def newest_pepper() -> tuple[str, str]:
    """Number and value of the pepper for new digests: the highest number."""
    return max(peppers().items(), key=lambda item: int(item[0]))


def checksum(body: str) -> str:
    """CRC-32 of the key's body as six base62 digits."""
    number = zlib.crc32(body.encode("ascii"))
    digits = ""
    for _position in range(6):
        number, digit = divmod(number, 62)
        digits = _BASE62[digit] + digits
    return digits


def _digest(secret: str, pepper: str) -> str:
    return hmac.new(pepper.encode(), secret.encode("ascii"), sha256).hexdigest()


def _random(length: int) -> str:
    return "".join(secrets.choice(_BASE62) for _position in range(length))

"""Who calls the API: an API key in `Authorization: Bearer` or in `X-API-Key`, on every route."""

from dataclasses import dataclass

from django.utils.translation import gettext as _
from rest_framework.authentication import BaseAuthentication, get_authorization_header
from rest_framework.exceptions import AuthenticationFailed
from rest_framework.request import Request

from pim.apikeys import keys
from pim.apikeys.models import ApiKey


@dataclass(frozen=True, slots=True)
class KeyPrincipal:
    """`request.user` when a key calls. pk: of the key."""

    pk: str
    name: str
    is_authenticated: bool = True
    is_active: bool = True
    is_staff: bool = False

    def __str__(self) -> str:
        return self.name


class ApiKeyAuthentication(BaseAuthentication):
    """Sets `request.user` to a KeyPrincipal and `request.auth` to the ApiKey; a request without a key passes by."""

    def authenticate(self, request: Request) -> tuple[KeyPrincipal, ApiKey] | None:
        presented = {secret for secret in (_bearer(request), request.headers.get("X-API-Key")) if secret is not None}
        if not presented:
            return None
        key = keys.verify(presented.pop()) if len(presented) == 1 else None
        if key is None:
            raise AuthenticationFailed(_("A valid API key is required."))
        return KeyPrincipal(str(key.pk), key.name), key

    def authenticate_header(self, request: Request) -> str:
        return 'Bearer realm="api"'


def _bearer(request: Request) -> str | None:
    scheme, _blank, credentials = get_authorization_header(request).decode("latin-1").partition(" ")
    return credentials.strip() if scheme.lower() == "bearer" else None

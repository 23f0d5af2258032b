"""API keys of external clients."""

from django.apps import AppConfig
from django.utils.translation import gettext_lazy as _


class ApiKeysConfig(AppConfig):
    name = "pim.apikeys"
    label = "apikeys"
    verbose_name = _("API keys")

"""API keys of external clients."""

from importlib import import_module

from django.apps import AppConfig
from django.utils.translation import gettext_lazy as _


class ApiKeysConfig(AppConfig):
    name = "pim.apikeys"
    label = "apikeys"
    verbose_name = _("API keys")

    def ready(self) -> None:
        keys = import_module("pim.apikeys.keys")  # it needs the models, which are loaded only now
        keys.peppers()  # a bad PIM_API_KEY_PEPPERS stops the start, not the first request

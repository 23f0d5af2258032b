"""Webhooks: signed messages to other systems when something has happened."""

from importlib import import_module

from django.apps import AppConfig
from django.utils.translation import gettext_lazy as _


class WebhooksConfig(AppConfig):
    name = "pim.webhooks"
    label = "webhooks"
    verbose_name = _("Webhooks")

    def ready(self) -> None:
        fields = import_module("pim.fields")
        fields.keys()  # a bad PIM_ENCRYPTION_KEYS stops the start, not the first delivery

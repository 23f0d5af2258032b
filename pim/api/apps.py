"""The app of what all APIs share; its only table is that of idempotency keys."""

from django.apps import AppConfig


class ApiConfig(AppConfig):
    name = "pim.api"
    label = "api"

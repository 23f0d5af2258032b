"""Makes the project package an app, for its commands, templates and translations."""

from django.apps import AppConfig


class PimConfig(AppConfig):
    name = "pim"
    label = "pim"
    verbose_name = "PIM"

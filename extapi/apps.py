"""The external API: the catalogue for ERPs and scripts, every answer in one envelope."""

from importlib import import_module

from django.apps import AppConfig

PREFIX = "/api/v1/ext"


class ExtApiConfig(AppConfig):
    name = "extapi"

    def ready(self) -> None:
        envelope = import_module("extapi.envelope")  # it needs DRF, which needs the apps
        errors = import_module("pim.api.errors")
        errors.register_error_shape(PREFIX, envelope.error_body)

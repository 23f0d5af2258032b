"""EAN/UPC to Amazon ASIN matching."""

from django.apps import AppConfig
from django.utils.translation import gettext_lazy as _


class Code2AsinConfig(AppConfig):
    name = "code2asin"
    verbose_name = _("Code2ASIN")

"""`manage.py rotate_encryption`: every encrypted value anew under the first of PIM_ENCRYPTION_KEYS."""

from typing import Any

from django.apps import apps
from django.core.management.base import BaseCommand, CommandError
from django.db import models
from django.db.models.functions import Cast

from pim import fields


class Command(BaseCommand):
    help = (
        "Encrypts stored credentials anew under the first key of PIM_ENCRYPTION_KEYS, after which the other keys can"
        " be removed. Safe to repeat, and while the system runs."
    )

    def handle(self, *args: Any, **options: Any) -> None:
        for model in apps.get_models():
            for field in model._meta.local_concrete_fields:
                if isinstance(field, fields.EncryptedTextField):
                    self.stdout.write(f"{model._meta.label}.{field.name}: {rotate(model, field.name)} encrypted anew")


def rotate(model: type[models.Model], name: str) -> int:
    """Re-encrypts what is not under the first key; returns how many values. Raises CommandError naming the row."""
    current = f"{fields.MARKER}:{next(iter(fields.keys()))}:"
    # A cast shows the stored form; conditions on the field itself are refused.
    stored = model._default_manager.annotate(stored_form=Cast(name, models.TextField()))
    old = stored.exclude(stored_form__startswith=current).exclude(**{f"{name}__isnull": True})
    changed = 0
    for key, value in old.values_list("pk", "stored_form").iterator():
        try:
            text = fields.decrypt(value)
        except fields.DecryptionError as error:
            raise CommandError(f"{model._meta.label} {key}, {name}: {error}") from error
        # Only if nobody has written it meanwhile.
        changed += stored.filter(pk=key, stored_form=value).update(**{name: text})
    return changed

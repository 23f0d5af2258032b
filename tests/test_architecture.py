"""Foreign keys point down the layers only; import contracts cannot see them."""

from django.apps import apps

# From the bottom up; an app may point to itself and to what stands before it.
LAYERS = (
    "contenttypes",
    "auth",
    "sessions",
    "admin",
    "django_celery_beat",
    "api",
    "apikeys",
    "webhooks",
    "catalog",
    ("imports", "code2asin"),
)


def test_foreign_keys_point_down():
    height = {
        label: position
        for position, labels in enumerate(LAYERS)
        for label in ((labels,) if isinstance(labels, str) else labels)
    }
    assert {config.label for config in apps.get_app_configs() if list(config.get_models())} == set(height)
    wrong = [
        f"{model._meta.label}.{field.name} -> {field.related_model._meta.label}"
        for model in apps.get_models(include_auto_created=True)
        for field in model._meta.get_fields()
        if field.many_to_one
        and field.concrete
        and field.related_model
        and field.related_model._meta.app_label != model._meta.app_label
        and height[field.related_model._meta.app_label] >= height[model._meta.app_label]
    ]
    assert wrong == []


def test_no_lower_app_sees_relations_of_a_higher_one():
    catalog = apps.get_app_config("catalog")
    visible = [
        relation.get_accessor_name()
        for model in catalog.get_models()
        for relation in model._meta.related_objects
        if relation.related_model._meta.app_label != "catalog"
    ]
    assert visible == []

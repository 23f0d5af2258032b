"""The shapes of the external API for the OpenAPI document; the answers themselves are made by `queries` and `views`."""

from typing import Any

from drf_spectacular.utils import extend_schema_field
from rest_framework import serializers

from catalog.serializers import ProductChangeSerializer, ProductSerializer
from extapi.queries import COLUMNS
from extapi.writing import WRITABLE
from pim.api.schema import FieldErrorSerializer
from pim.apikeys.models import Scope


class ExtProductSerializer(ProductSerializer):
    """A product. A deleted one has `deleted` true, `is_active` false and the status `archived`."""

    title = serializers.CharField(source="name", read_only=True)
    deleted = serializers.BooleanField(read_only=True)

    class Meta(ProductSerializer.Meta):
        fields = tuple(COLUMNS)
        read_only_fields = tuple(COLUMNS)


class ReadProductSerializer(ExtProductSerializer):
    """A product, or those of its keys that the request names in `fields`."""

    def get_fields(self) -> dict[str, serializers.Field[Any, Any, Any, Any]]:
        fields = super().get_fields()
        for field in fields.values():
            field.read_only = field.required = False  # what is read-only counts as always there
        return fields


class ChangedProductSerializer(ReadProductSerializer):
    """A product as it is now. `removed`: its record is gone, and only `id`, `ean` and its state are told."""

    removed = serializers.BooleanField(required=False)

    class Meta(ExtProductSerializer.Meta):
        fields = (*COLUMNS, "removed")


class ExtProductChangeSerializer(ProductChangeSerializer):
    """The writable fields; absent or null leaves a field as it is. `title` is another name of `name`."""

    def get_fields(self) -> dict[str, serializers.Field[Any, Any, Any, Any]]:
        fields = {name: field for name, field in super().get_fields().items() if name in WRITABLE}
        for name, field in fields.items():
            field.allow_null = name not in self.required_names
        title = serializers.CharField(required=False, max_length=255, allow_null=True, help_text="The same as `name`.")
        return {**fields, "title": title}


class ExtProductUpsertSerializer(ExtProductChangeSerializer):
    """A product to create or change; a new one needs a `name`."""

    required_names = ("ean",)


class ExtProductReplaceSerializer(ExtProductChangeSerializer):
    """All writable fields; what is absent or null is emptied."""

    required_names = ("name",)


class BatchSerializer(serializers.Serializer[Any]):
    products = ExtProductUpsertSerializer(many=True, help_text="At most 500.")


class StatusSerializer(serializers.Serializer[Any]):
    status = serializers.ChoiceField(["ok"])
    version = serializers.CharField()
    api_key_name = serializers.CharField()
    api_key_scopes = serializers.ListField(child=serializers.ChoiceField(Scope.choices))
    timestamp = serializers.DateTimeField()


class UpsertedSerializer(serializers.Serializer[Any]):
    created = serializers.BooleanField(help_text="True also when a deleted product came back.")
    ean = serializers.CharField()
    id = serializers.UUIDField()
    product = ExtProductSerializer()


class BatchItemSerializer(serializers.Serializer[Any]):
    """What became of one product."""

    index = serializers.IntegerField(help_text="Position in `products`, from 0.")
    ean = serializers.CharField(help_text="Normalised; as sent when it is no EAN.")
    status = serializers.ChoiceField(["created", "updated", "error"])
    id = serializers.UUIDField(allow_null=True)
    error = serializers.CharField(allow_null=True)
    error_details = FieldErrorSerializer(many=True)
    warnings = serializers.ListField(child=serializers.CharField())


class BatchResultSerializer(serializers.Serializer[Any]):
    total = serializers.IntegerField()
    created = serializers.IntegerField()
    updated = serializers.IntegerField(help_text="Products that existed, whether or not anything differed.")
    errors = serializers.IntegerField()  # type: ignore[assignment]
    results = BatchItemSerializer(many=True)


class MetaSerializer(serializers.Serializer[Any]):
    total = serializers.IntegerField()
    page = serializers.IntegerField()
    page_size = serializers.IntegerField()
    updated_at = serializers.CharField(
        help_text="Of lists: the `since` to carry on from. Of errors: the `since` of the request, as it was given."
    )


class EnvelopeSerializer(serializers.Serializer[Any]):
    success = serializers.ChoiceField([True])
    meta = MetaSerializer()
    errors = serializers.ListField(child=serializers.CharField(), help_text="Of the items of a batch.")  # type: ignore[assignment]
    warnings = serializers.ListField(
        child=serializers.CharField(), required=False, help_text="What was ignored or looks wrong."
    )


class StatusEnvelopeSerializer(EnvelopeSerializer):
    data = StatusSerializer()  # type: ignore[assignment]


class ProductEnvelopeSerializer(EnvelopeSerializer):
    data = ExtProductSerializer()  # type: ignore[assignment]


class ReadEnvelopeSerializer(EnvelopeSerializer):
    data = ReadProductSerializer()  # type: ignore[assignment]


class ProductListEnvelopeSerializer(EnvelopeSerializer):
    data = ReadProductSerializer(many=True)  # type: ignore[assignment]


class DeltaEnvelopeSerializer(EnvelopeSerializer):
    data = ChangedProductSerializer(many=True)  # type: ignore[assignment]


class UpsertEnvelopeSerializer(EnvelopeSerializer):
    data = UpsertedSerializer()  # type: ignore[assignment]


class BatchEnvelopeSerializer(EnvelopeSerializer):
    data = BatchResultSerializer()  # type: ignore[assignment]


@extend_schema_field({"type": "null"})
class NothingField(serializers.JSONField):
    """Always null."""


class ErrorEnvelopeSerializer(serializers.Serializer[Any]):
    """The envelope of every failure."""

    success = serializers.ChoiceField([False])
    data = NothingField()  # type: ignore[assignment]
    meta = MetaSerializer()
    errors = serializers.ListField(child=serializers.CharField())  # type: ignore[assignment]
    error_details = FieldErrorSerializer(many=True)
    request_id = serializers.CharField()

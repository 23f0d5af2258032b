"""The shapes of the catalogue's answers and requests.

Products leave as plain dicts (`product_json`) and enter through `catalog.payload`, one by one or by the thousand;
their serializers here describe both for the OpenAPI document.
"""

from collections.abc import Iterable, Mapping
from decimal import Decimal
from typing import Any

from django.utils.translation import gettext as _
from rest_framework import serializers

from catalog.bulk import Item
from catalog.fields import FIELDS, FieldSpec
from catalog.models import Brand, Category, Product, Supplier
from pim.api.schema import FieldErrorSerializer

# Key of the answer -> where it comes from.
PRODUCT_COLUMNS = {
    "id": "id",
    "ean": "ean",
    "name": "name",
    "barcode": "barcode",
    "price": "price",
    "cost_price": "cost_price",
    "weight": "weight",
    "width": "width",
    "height": "height",
    "depth": "depth",
    "unit_of_measure": "unit_of_measure",
    "description": "description",
    "short_description": "short_description",
    "reference": "reference",
    "asin": "asin",
    "upc": "upc",
    "gtin": "gtin",
    "external_id": "external_id",
    "url_slug": "url_slug",
    "image_url": "image_url",
    "status": "status",
    "is_active": "status",
    "brand_id": "brand_id",
    "brand_name": "brand__name",
    "supplier_id": "supplier_id",
    "supplier_code": "supplier__code",
    "category_id": "category_id",
    "created_at": "created_at",
    "updated_at": "updated_at",
}


def product_json(row: Mapping[str, Any], names: Iterable[str] = PRODUCT_COLUMNS) -> dict[str, Any]:
    """A product as the API shows it, from a `values()` row with the columns of PRODUCT_COLUMNS."""
    result = {}
    for name in names:
        value = row[PRODUCT_COLUMNS[name]]
        if name == "is_active":
            value = value == Product.Status.ACTIVE
        elif isinstance(value, Decimal):
            value = float(value)
        result[name] = value
    return result


class ProductSerializer(serializers.ModelSerializer[Product]):
    """A product."""

    brand_name = serializers.CharField(source="brand.name", default=None, read_only=True, allow_null=True)
    supplier_code = serializers.CharField(source="supplier.code", default=None, read_only=True, allow_null=True)
    is_active = serializers.BooleanField(read_only=True, help_text="True when the status is `active`.")
    brand_id = serializers.UUIDField(read_only=True, allow_null=True)
    supplier_id = serializers.UUIDField(read_only=True, allow_null=True)
    category_id = serializers.UUIDField(read_only=True, allow_null=True)

    class Meta:
        model = Product
        fields = tuple(PRODUCT_COLUMNS)
        read_only_fields = tuple(PRODUCT_COLUMNS)


class WrittenProductSerializer(ProductSerializer):
    """A product after a change, with what was ignored or looks wrong."""

    warnings = serializers.ListField(child=serializers.CharField(), read_only=True)

    class Meta(ProductSerializer.Meta):
        fields = (*PRODUCT_COLUMNS, "warnings")


class ProductChangeSerializer(serializers.Serializer[Any]):
    """The writable fields of a product; `sku` and `title` are other names of `reference` and `name`."""

    required_names: tuple[str, ...] = ()

    def get_fields(self) -> dict[str, serializers.Field[Any, Any, Any, Any]]:
        fields = {spec.name: _described(spec, spec.name in self.required_names) for spec in FIELDS.values()}
        del fields["category"]
        fields["category_id"] = serializers.UUIDField(required=False, allow_null=True)
        return fields


class ProductCreateSerializer(ProductChangeSerializer):
    """A new product."""

    required_names = ("ean", "name")


class BulkItemChangeSerializer(ProductChangeSerializer):
    """The product with this EAN, and the fields to change in it."""

    required_names = ("ean",)


def _described(spec: FieldSpec, required: bool) -> serializers.Field[Any, Any, Any, Any]:
    common: dict[str, Any] = {"required": required, "allow_null": spec.nullable}
    match spec.kind:
        case "decimal":
            digits = len(str(int(spec.maximum))) + spec.decimals
            return serializers.DecimalField(
                max_digits=digits,
                decimal_places=spec.decimals,
                min_value=Decimal(0),
                max_value=spec.maximum,
                help_text=f"In {spec.unit}." if spec.unit else None,
                **common,
            )
        case "status":
            return serializers.ChoiceField(choices=Product.Status.choices, **common)
        case "boolean":
            return serializers.BooleanField(help_text="The same as status `active` or `inactive`.", **common)
        case "ean":
            return serializers.CharField(help_text="8, 12, 13 or 14 digits; stored as EAN-8 or EAN-13.", **common)
        case "digits":
            return serializers.RegexField(f"^[0-9]{{{spec.lengths[0]},{spec.lengths[-1]}}}$", **common)
        case "asin":
            return serializers.RegexField("^[A-Z0-9]{10}$", **common)
        case "url":
            return serializers.URLField(max_length=spec.max_length, **common)
        case _:
            empty_allowed = spec.name not in ("name", "brand_name", "supplier_code")
            return serializers.CharField(max_length=spec.max_length, allow_blank=empty_allowed, **common)


class BulkItemSerializer(serializers.Serializer[Any]):
    """What became of one item of a bulk request."""

    index = serializers.IntegerField(help_text="Position in `products`, from 0.")
    ean = serializers.CharField(allow_null=True)
    status = serializers.ChoiceField(choices=["created", "updated", "skipped", "error"])
    id = serializers.UUIDField(allow_null=True)
    errors = FieldErrorSerializer(many=True)  # type: ignore[assignment]
    warnings = serializers.ListField(child=serializers.CharField())


def bulk_item_json(item: Item) -> dict[str, Any]:
    return {
        "index": item.index,
        "ean": item.ean,
        "status": item.status,
        "id": item.id,
        "errors": [error.as_json() for error in item.errors],
        "warnings": item.warnings,
    }


class BulkAnswerSerializer(serializers.Serializer[Any]):
    skipped = serializers.IntegerField()
    errors = serializers.IntegerField()  # type: ignore[assignment]
    dry_run = serializers.BooleanField()
    results = BulkItemSerializer(many=True)
    warnings = serializers.ListField(child=serializers.CharField())


class BulkCreateAnswerSerializer(BulkAnswerSerializer):
    created = serializers.IntegerField()


class BulkUpdateAnswerSerializer(BulkAnswerSerializer):
    updated = serializers.IntegerField()


class BulkOptionsSerializer(serializers.Serializer[Any]):
    dry_run = serializers.BooleanField(default=False, help_text="Validate and report without writing.")
    atomic = serializers.BooleanField(default=False, help_text="Write nothing when one item has an error.")


class BulkCreateSerializer(BulkOptionsSerializer):
    products = ProductCreateSerializer(many=True, help_text="At most 1,000.")
    supplier_code = serializers.CharField(
        required=False, allow_null=True, max_length=100, help_text="For products that name no supplier."
    )
    skip_duplicates = serializers.BooleanField(default=False, help_text="A taken EAN is skipped instead of an error.")


class BulkUpdateSerializer(BulkOptionsSerializer):
    products = BulkItemChangeSerializer(many=True, help_text="At most 1,000.")
    skip_not_found = serializers.BooleanField(default=False, help_text="An unknown EAN is skipped instead of an error.")


class SupplierSerializer(serializers.ModelSerializer[Supplier]):
    class Meta:
        model = Supplier
        fields = ("id", "code", "name", "created_at", "updated_at")
        read_only_fields = ("created_at", "updated_at")


class BrandSerializer(serializers.ModelSerializer[Brand]):
    class Meta:
        model = Brand
        fields = ("id", "name", "created_at", "updated_at")
        read_only_fields = ("created_at", "updated_at")


class CategorySerializer(serializers.ModelSerializer[Category]):
    parent_id = serializers.PrimaryKeyRelatedField(
        source="parent", queryset=Category.objects.all(), required=False, allow_null=True, default=None
    )

    class Meta:
        model = Category
        fields = ("id", "name", "parent_id", "created_at", "updated_at")
        read_only_fields = ("created_at", "updated_at")

    def validate_parent_id(self, parent: Category | None) -> Category | None:
        ancestor = parent
        while ancestor is not None:
            if ancestor == self.instance:
                raise serializers.ValidationError(_("A category cannot stand below itself."))
            ancestor = ancestor.parent
        return parent

"""The writable product fields: kind, limits and nullability, one table for imports, REST and bulk checks."""

from dataclasses import dataclass
from decimal import Decimal
from enum import Enum
from typing import Final, Literal

Kind = Literal["ean", "text", "decimal", "status", "boolean", "digits", "asin", "slug", "url"]


class Keep(Enum):
    """The type of KEEP, a value that is not a value: leave what the product has."""

    KEEP = "keep"


KEEP: Final = Keep.KEEP

STATUSES: Final = ("active", "inactive", "archived")

# A status for "not active": archived products stay archived, all others become inactive.
DEACTIVATE: Final = "deactivate"


@dataclass(frozen=True, slots=True)
class FieldSpec:
    """What one field takes.

    max_length: characters of a text. lengths: the allowed numbers of digits of a code.
    maximum and decimals: of a number; the minimum is always 0. unit: of a measure, as stored.
    """

    name: str
    kind: Kind
    nullable: bool = True
    max_length: int = 0
    lengths: tuple[int, ...] = ()
    maximum: Decimal = Decimal(0)
    decimals: int = 0
    unit: str | None = None


MAX_PRICE: Final = Decimal("999999.99")
MAX_MEASURE: Final = Decimal("99999.99")

FIELDS: Final[dict[str, FieldSpec]] = {
    spec.name: spec
    for spec in (
        FieldSpec("ean", "ean", nullable=False, lengths=(8, 13)),
        FieldSpec("name", "text", nullable=False, max_length=255),
        FieldSpec("barcode", "text", max_length=64),
        FieldSpec("price", "decimal", maximum=MAX_PRICE, decimals=2),
        FieldSpec("cost_price", "decimal", maximum=MAX_PRICE, decimals=2),
        FieldSpec("weight", "decimal", maximum=MAX_MEASURE, decimals=3, unit="kg"),
        FieldSpec("width", "decimal", maximum=MAX_MEASURE, decimals=2, unit="cm"),
        FieldSpec("height", "decimal", maximum=MAX_MEASURE, decimals=2, unit="cm"),
        FieldSpec("depth", "decimal", maximum=MAX_MEASURE, decimals=2, unit="cm"),
        FieldSpec("status", "status", nullable=False),
        FieldSpec("is_active", "boolean", nullable=False),
        FieldSpec("brand_name", "text", max_length=255),
        FieldSpec("category", "text", max_length=255),
        FieldSpec("supplier_code", "text", max_length=100),
        FieldSpec("description", "text", max_length=200_000),
        FieldSpec("short_description", "text", max_length=2000),
        FieldSpec("reference", "text", max_length=100),
        FieldSpec("asin", "asin", max_length=10),
        FieldSpec("upc", "digits", lengths=(12,)),
        FieldSpec("gtin", "digits", lengths=(8, 9, 10, 11, 12, 13, 14)),
        FieldSpec("unit_of_measure", "text", max_length=20),
        FieldSpec("external_id", "text", max_length=100),
        FieldSpec("url_slug", "slug", max_length=255),
        FieldSpec("image_url", "url", max_length=2000),
    )
}

# What a person may lock against imports.
LOCKABLE: Final = (*(name for name in FIELDS if name not in ("ean", "is_active", "category")), "category_id")

# other names the public interfaces use for the same field
ALIASES: Final = {"sku": "reference", "title": "name", "brand": "brand_name"}

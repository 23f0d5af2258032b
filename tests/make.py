"""Plain helpers that make what tests need; whatever is not named gets a sensible value."""

from datetime import datetime
from itertools import count
from typing import Any

from rest_framework.test import APIClient

from catalog.identifiers import check_digit
from catalog.models import Brand, Category, Product, Supplier
from pim.apikeys.keys import create_key
from pim.apikeys.models import Scope

_numbers = count(1)


def make_ean() -> str:
    """An EAN-13 with a right check digit that no earlier call returned."""
    body = f"376{next(_numbers):09}"
    return body + check_digit(body)


def make_supplier(code: str = "KIMEX", **fields: Any) -> Supplier:
    return Supplier.objects.create(code=code, **fields)


def make_brand(name: str = "Kimex", **fields: Any) -> Brand:
    return Brand.objects.create(name=name, **fields)


def make_category(name: str = "Supports", **fields: Any) -> Category:
    return Category.objects.create(name=name, **fields)


def make_product(**fields: Any) -> Product:
    """A live product; `ean` is generated, `barcode` is the EAN."""
    ean = fields.setdefault("ean", make_ean())
    fields = {"name": f"Product {ean}", "barcode": ean} | fields
    product = Product.objects.create(**fields)
    product.refresh_from_db()
    return product


def make_api_key(*scopes: str, name: str = "test", expires_at: datetime | None = None) -> str:
    """The secret of a new key; with every scope when none is named."""
    _key, secret = create_key(name=name, scopes=scopes or Scope.values, expires_at=expires_at, created_by="tests")
    return secret


class ApiClient(APIClient):
    """Sends JSON unless told otherwise."""

    default_format = "json"


def api_client(secret: str | None = None) -> ApiClient:
    """A client with this key; with a new key of every scope when none is given."""
    client = ApiClient()
    client.credentials(HTTP_AUTHORIZATION=f"Bearer {secret or make_api_key()}")
    return client

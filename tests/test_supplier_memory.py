"""What a supplier repeats does not overwrite what people changed; locked fields are left alone."""

import pytest

from catalog.editing import edit_product
from catalog.fields import KEEP
from catalog.models import Product, ProductRevision, SupplierRecord
from catalog.provenance import Provenance
from catalog.upsert import Row, upsert_products
from tests.make import make_supplier

pytestmark = pytest.mark.django_db

A, B = "3017620422003", "4006381333931"
FEED = Provenance(ProductRevision.Source.IMPORT, "feed")
STAFF = Provenance(ProductRevision.Source.ADMIN, "alice")


@pytest.fixture
def acme():
    return make_supplier("ACME")


def feed(supplier, *rows, fields=("name", "price", "brand_name"), **options):
    numbered = [Row(i, ean, values) for i, (ean, *values) in enumerate(rows, start=1)]
    outcomes = upsert_products(fields=fields, rows=numbered, provenance=FEED, supplier_id=supplier.id, **options)
    return [outcome.result.value for _number, outcome in sorted(outcomes.items())]


def edit(ean, **values):
    edit_product(product_id=Product.objects.get(ean=ean).id, values=values, provenance=STAFF)


def shown(ean=A):
    product = Product.objects.select_related("brand").get(ean=ean)
    return product.name, None if product.price is None else str(product.price), product.brand and product.brand.name


def test_a_repeated_value_does_not_overwrite_a_manual_edit(acme):
    assert feed(acme, (A, "Spread", "3.50", "Acme")) == ["created"]
    edit(A, name="Spread 400 g", price=None)
    assert feed(acme, (A, "Spread", "3.50", "Acme")) == ["unchanged"]
    assert shown() == ("Spread 400 g", None, "Acme")


def test_a_new_value_of_the_supplier_is_taken_and_the_other_edits_stay(acme):
    feed(acme, (A, "Spread", "3.50", "Acme"))
    edit(A, name="Spread 400 g", price=None)
    assert feed(acme, (A, "Spread", "3.60", "Acme")) == ["updated"]
    assert shown() == ("Spread 400 g", "3.60", "Acme")
    # and the name yields as soon as the supplier has another one
    assert feed(acme, (A, "Hazelnut spread", "3.60", "Acme")) == ["updated"]
    assert shown() == ("Hazelnut spread", "3.60", "Acme")


def test_the_same_number_written_otherwise_is_the_same_value(acme):
    feed(acme, (A, "Spread", "3.50", "Acme"))
    edit(A, price=9)
    assert feed(acme, (A, "Spread", "3.5", "ACME")) == ["unchanged"]
    assert shown() == ("Spread", "9.00", "Acme")


def test_each_supplier_has_his_own_memory(acme):
    other = make_supplier("OTHER")
    feed(acme, (A, "Spread", "3.50", "Acme"))
    assert feed(other, (A, "Pâte à tartiner", "3.40", "Acme")) == ["updated"]
    edit(A, name="By hand")
    assert feed(acme, (A, "Spread", "3.50", "Acme")) == ["unchanged"]
    assert feed(other, (A, "Pâte à tartiner", "3.30", "Acme")) == ["updated"]
    assert shown() == ("By hand", "3.30", "Acme")


def test_cleared_and_kept_cells_are_remembered_as_what_they_are(acme):
    feed(acme, (A, "Spread", None, "Acme"), (B, "Pen", "1", KEEP))
    edit(A, price=5)
    assert feed(acme, (A, "Spread", None, "Acme")) == ["unchanged"]
    assert shown(A) == ("Spread", "5.00", "Acme")
    assert set(SupplierRecord.objects.get(product__ean=B).values) == {"name", "price"}
    # a value that was never sent before is new
    edit(B, brand_id=None)
    assert feed(acme, (B, "Pen", "1", "Pens")) == ["updated"]
    assert shown(B) == ("Pen", "1.00", "Pens")


def test_locked_fields_are_left_alone_even_when_the_supplier_changes_them(acme):
    feed(acme, (A, "Spread", "3.50", "Acme"))
    Product.objects.update(locked_fields=["name", "brand_name"])
    assert feed(acme, (A, "New", "3.70", "Other")) == ["updated"]
    assert shown() == ("Spread", "3.70", "Acme")
    assert feed(acme, (A, "Newer", "3.70", "Other")) == ["unchanged"]


def test_a_repeated_row_writes_nothing_at_all(acme):
    feed(acme, (A, "Spread", "3.50", "Acme"), (B, "Pen", None, KEEP))
    before = (
        list(Product.objects.order_by("ean").values()),
        list(SupplierRecord.objects.order_by("product_id").values()),
        ProductRevision.objects.count(),
    )
    versions = row_versions()
    assert feed(acme, (B, "Pen", None, KEEP), (A, "Spread", "3.50", "Acme")) == ["unchanged", "unchanged"]
    assert before == (
        list(Product.objects.order_by("ean").values()),
        list(SupplierRecord.objects.order_by("product_id").values()),
        ProductRevision.objects.count(),
    )
    assert row_versions() == versions


def row_versions():
    from django.db import connection

    with connection.cursor() as cursor:
        cursor.execute("SELECT ctid, xmin FROM catalog_supplierrecord UNION ALL SELECT ctid, xmin FROM catalog_product")
        return sorted(map(str, cursor.fetchall()))


def test_a_deleted_product_comes_back_with_a_repeated_row_and_keeps_the_edits(acme):
    feed(acme, (A, "Spread", "3.50", "Acme"))
    edit(A, name="By hand")
    Product.objects.update(deleted_at="2026-01-01T00:00:00Z")
    assert feed(acme, (A, "Spread", "3.50", "Acme")) == ["restored"]
    assert shown() == ("By hand", "3.50", "Acme")


def test_a_dry_run_remembers_nothing(acme):
    feed(acme, (A, "Spread", "3.50", "Acme"))
    assert feed(acme, (A, "Spread", "4", "Acme"), (B, "Pen", "1", "X"), dry_run=True) == ["updated", "created"]
    assert SupplierRecord.objects.count() == 1
    assert feed(acme, (A, "Spread", "4", "Acme")) == ["updated"]

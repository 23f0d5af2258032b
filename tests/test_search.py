"""One search over name and codes, served by one index."""

import pytest
from django.db import connection

from catalog.models import Product
from tests.make import make_product

pytestmark = pytest.mark.django_db


@pytest.mark.parametrize("text", ["tartiner", "PÂTE", "20422003", "0420-é", "BAR-7", "ref-9", "17620422"])
def test_any_part_of_the_name_or_of_a_code_finds_the_product(text):
    found = make_product(ean="3017620422003", name="Pâte à tartiner 0420-É", barcode="bar-77", reference="REF-99")
    make_product(ean="4006381333931", name="Stylo")
    assert list(Product.objects.search(text)) == [found]


def test_a_upc_finds_the_product_whether_or_not_it_is_part_of_the_ean():
    part = make_product(ean="0017046610124", upc="017046610124")
    other = make_product(ean="4006381333931", upc="029156150346")
    assert list(Product.objects.search("017046610124")) == [part]
    assert list(Product.objects.search("029156150346")) == [other]


def test_the_index_serves_the_search():
    """The query's expression and the index's must be the same, or every search reads the whole table."""
    with connection.cursor() as cursor:
        cursor.execute("SET LOCAL enable_seqscan = off")
    assert "catalog_product_search" in Product.objects.search("tartiner").explain()

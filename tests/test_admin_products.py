"""Products in the back office: edits that leave history, soft deletion, search, and what products point to."""

import re
from decimal import Decimal
from typing import Any

import pytest
from django.contrib.admin.models import LogEntry
from django.test import Client

from catalog.models import Category, Product, ProductRevision, Supplier
from tests.back_office import IMPORTS, PRODUCTS, SCRIPT, import_of, page, post, superuser
from tests.make import make_brand, make_category, make_product, make_supplier

pytestmark = pytest.mark.django_db


@pytest.fixture
def staff() -> Client:
    return superuser()


def form_of(client: Client, product: Product) -> dict[str, Any]:
    """What a browser would post from the product's page when nothing is touched."""
    form = client.get(f"{PRODUCTS}{product.pk}/change/").context["adminform"].form
    data = {}
    for field in form:
        value = field.value()
        data[field.html_name] = "" if value is None else value
        data[field.html_initial_name] = "" if field.initial is None else field.initial
    return data


def new_product(**fields: str) -> dict[str, str]:
    return {"ean": "3017620422003", "name": "Pâte à tartiner", "status": "active"} | fields


class TestProducts:
    def test_an_edit_saves_only_what_was_changed_and_leaves_a_revision(self, staff: Client) -> None:
        product = make_product(price=Decimal("9.90"), description="one\ntwo", brand=make_brand())
        data = form_of(staff, product)
        Product.objects.filter(pk=product.pk).update(price=Decimal("5.00"))  # an import, while the page was open

        post(staff, f"{PRODUCTS}{product.pk}/change/", data | {"name": "New name", "weight": "0.250"})

        product.refresh_from_db()
        assert (product.name, product.price, product.weight) == ("New name", Decimal("5.00"), Decimal("0.250"))
        assert product.description == "one\ntwo"
        revision = ProductRevision.objects.get()
        assert (revision.source, revision.actor, revision.action) == ("admin", "alice", "updated")
        assert (revision.old, revision.new) == (
            {"name": f"Product {product.ean}", "weight": None},
            {"name": "New name", "weight": 0.25},
        )

    def test_saving_without_a_change_leaves_nothing(self, staff: Client) -> None:
        product = make_product(description="one\r\ntwo  ", brand=make_brand(), supplier=make_supplier())
        post(staff, f"{PRODUCTS}{product.pk}/change/", form_of(staff, product))

        assert not ProductRevision.objects.exists()
        assert Product.objects.values_list("updated_at", "description").get() == (product.updated_at, "one\r\ntwo  ")

    def test_a_locked_field_is_left_alone_by_imports(self, staff: Client) -> None:
        product = make_product(ean="3017620422003", name="By hand", price="1.00")
        post(
            staff,
            f"{PRODUCTS}{product.pk}/change/",
            form_of(staff, product) | {"locked_fields": ["name", "brand_name"]},
        )
        assert import_of("ean,name,brand,price\n3017620422003,From the feed,Acme,2\n").products_updated == 1
        product.refresh_from_db()
        assert (product.name, product.brand, str(product.price)) == ("By hand", None, "2.00")
        revision = ProductRevision.objects.filter(product=product).earliest("id")
        assert (revision.old, revision.new) == ({"locked_fields": []}, {"locked_fields": ["name", "brand_name"]})

    def test_adding(self, staff: Client) -> None:
        supplier = make_supplier()
        post(staff, f"{PRODUCTS}add/", new_product(supplier=str(supplier.pk), price="3.50", asin="B000000001"))

        product = Product.objects.get()
        assert (product.ean, product.barcode, product.name) == ("3017620422003", "3017620422003", "Pâte à tartiner")
        assert (product.supplier, product.price, product.asin) == (supplier, Decimal("3.50"), "B000000001")
        revision = ProductRevision.objects.get()
        assert (revision.product_id, revision.action, revision.source, revision.actor) == (
            product.pk,
            "created",
            "admin",
            "alice",
        )
        entry = LogEntry.objects.get()
        assert (entry.object_id, entry.is_addition()) == (str(product.pk), True)

    @pytest.mark.parametrize(
        ("fields", "field", "message"),
        [
            ({"ean": "30176204220"}, "ean", "EAN format invalid (expected 13 digits), got 11"),
            ({"ean": "4006381333931"}, "ean", "A product with this EAN exists."),
            ({"name": ""}, "name", "This field is required."),
            ({"price": "-1"}, "price", "Ensure this value is greater than or equal to 0."),
            ({"price": "1000000"}, "price", "Ensure that there are no more than 6 digits before the decimal point."),
            ({"weight": "99999.995"}, "weight", "Ensure this value is less than or equal to 99999.99."),
            ({"asin": "b00"}, "asin", "An ASIN is ten capital letters and digits."),
            ({"upc": "123"}, "upc", "Digits only, this many: 12."),
            ({"image_url": "javascript:alert(1)"}, "image_url", "The address must begin with http:// or https://."),
        ],
    )
    def test_bad_values_are_refused_at_their_field(
        self, staff: Client, fields: dict[str, str], field: str, message: str
    ) -> None:
        make_product(ean="4006381333931")
        answer = staff.post(f"{PRODUCTS}add/", new_product(**fields))

        assert answer.status_code == 200
        assert answer.context["adminform"].form.errors[field][0] == message
        assert Product.objects.count() == 1
        assert not ProductRevision.objects.exists()

    def test_a_wrong_check_digit_is_a_warning(self, staff: Client) -> None:
        shown = post(staff, f"{PRODUCTS}add/", new_product(ean="3760000000001"))
        assert "EAN check digit is wrong (expected 0, found 1)" in shown
        assert Product.objects.get().ean == "3760000000001"

    def test_a_wrong_check_digit_is_an_error_where_it_is_configured(self, staff: Client, settings: Any) -> None:
        settings.EAN_CHECK = "reject"
        staff.post(f"{PRODUCTS}add/", new_product(ean="3760000000001"))
        assert not Product.objects.exists()

    def test_deleting_hides_and_adding_again_brings_back(self, staff: Client) -> None:
        product = make_product(ean="3017620422003", name="Old")
        assert product.name in page(staff, PRODUCTS)
        post(staff, f"{PRODUCTS}{product.pk}/delete/", {"post": "yes"})

        product.refresh_from_db()
        assert product.deleted_at is not None
        assert ProductRevision.objects.values_list("action", "source", "actor").get() == ("deleted", "admin", "alice")
        assert ">3017620422003<" not in page(staff, PRODUCTS)
        assert ">3017620422003<" in page(staff, f"{PRODUCTS}?deleted=yes")
        assert 'name="_save"' not in page(staff, f"{PRODUCTS}{product.pk}/change/")
        assert staff.post(f"{PRODUCTS}{product.pk}/change/", new_product(name="No")).status_code == 403

        shown = post(staff, f"{PRODUCTS}add/", new_product(name="New"))
        product.refresh_from_db()
        assert (product.deleted_at, product.name) == (None, "New")
        assert "This EAN had been deleted: the product is back, with its history." in shown
        assert ProductRevision.objects.order_by("-id").first().action == "restored"

    def test_deleting_and_restoring_several(self, staff: Client) -> None:
        products = [make_product() for _ in range(3)]
        chosen = {"_selected_action": [str(p.pk) for p in products[:2]]}
        post(staff, PRODUCTS, {"action": "delete_selected", "post": "yes"} | chosen)
        assert set(Product.objects.live()) == {products[2]}
        assert ProductRevision.objects.filter(action="deleted", actor="alice").count() == 2

        shown = post(staff, f"{PRODUCTS}?deleted=yes", {"action": "restore_selected"} | chosen)
        assert shown == ["2 products are back."]
        assert Product.objects.live().count() == 3
        assert ProductRevision.objects.filter(action="restored", actor="alice").count() == 2

    def test_search_and_filters(self, staff: Client) -> None:
        acme = make_supplier("ACME")
        lamp = make_product(name="Lampe de bureau", reference="REF-42", supplier=acme, asin="B000000001")
        desk = make_product(name="Bureau en chêne", status="inactive")

        def found(query: str) -> set[str]:
            return {p.name for p in staff.get(f"{PRODUCTS}?{query}").context["cl"].result_list}

        assert found("q=BUREAU") == {lamp.name, desk.name}
        assert found("q=bureau+ref-42") == {lamp.name}
        assert found(f"q={desk.ean[2:]}") == {desk.name}
        assert found("status__exact=inactive") == {desk.name}
        assert found("asin=yes") == {lamp.name}
        assert found("asin=no") == {desk.name}
        assert found(f"supplier__id__exact={acme.pk}") == {lamp.name}
        assert 'href="https://www.amazon.fr/dp/B000000001"' in page(staff, PRODUCTS)

    def test_history_shows_who_what_and_through_what(self, staff: Client) -> None:
        job = import_of("ean;name;brand\n3017620422003;First;Acme\n")
        product = Product.objects.get()
        post(staff, f"{PRODUCTS}{product.pk}/change/", form_of(staff, product) | {"name": f"Second {SCRIPT}"})
        shown = page(staff, f"{PRODUCTS}{product.pk}/change/")

        assert f'<a href="{IMPORTS}{job.pk}/change/">import job</a>' in shown
        assert "<del>First</del>" in shown
        assert "<ins>Acme</ins>" in shown
        assert "<ins>Second &lt;script&gt;" in shown
        assert SCRIPT not in shown

    def test_history_pages(self, staff: Client) -> None:
        product = make_product()
        ProductRevision.objects.bulk_create(
            ProductRevision(
                product=product, action="updated", source="api", actor="erp", old={"price": i}, new={"price": i + 1}
            )
            for i in range(40)
        )
        first = page(staff, f"{PRODUCTS}{product.pk}/change/")
        assert (first.count("<del>"), "<ins>40</ins>" in first) == (30, True)
        older = page(staff, f"{PRODUCTS}{product.pk}/change/" + re.search(r"\?before=\d+", first)[0])
        assert (older.count("<del>"), "<del>0</del>" in older) == (10, True)


class TestReferences:
    def test_counts_link_to_the_products(self, staff: Client) -> None:
        supplier = make_supplier("ACME")
        for deleted_at in (None, None, "2026-01-01T00:00Z"):
            make_product(supplier=supplier, deleted_at=deleted_at)
        assert f'<a href="{PRODUCTS}?supplier__id__exact={supplier.pk}">2</a>' in page(
            staff, "/admin/catalog/supplier/"
        )

    def test_what_products_use_cannot_be_deleted(self, staff: Client) -> None:
        used, unused = make_supplier("USED"), make_supplier("UNUSED")
        make_product(supplier=used)
        assert staff.post(f"/admin/catalog/supplier/{used.pk}/delete/", {"post": "yes"}).status_code == 403
        post(staff, f"/admin/catalog/supplier/{unused.pk}/delete/", {"post": "yes"})
        assert set(Supplier.objects.all()) == {used}

    def test_a_category_cannot_stand_below_itself(self, staff: Client) -> None:
        top = make_category("Top")
        below = make_category("Below", parent=top)
        answer = staff.post(f"/admin/catalog/category/{top.pk}/change/", {"name": "Top", "parent": str(below.pk)})
        assert answer.context["adminform"].form.errors == {"parent": ["A category cannot stand below itself."]}
        assert Category.objects.get(name="Top").parent is None

"""The one write path: every outcome, its revision, concurrency, and a constant number of statements."""

import threading
from decimal import Decimal
from uuid import uuid4

import pytest
from django.db import connection, transaction
from django.test.utils import CaptureQueriesContext

from catalog.fields import DEACTIVATE, KEEP
from catalog.models import Brand, Product, ProductRevision
from catalog.provenance import Provenance
from catalog.upsert import Mode, Outcome, Result, Row, upsert_products

BY = Provenance(ProductRevision.Source.API, "test")
A, B, C = "3017620422003", "4006381333931", "96385074"


def write(fields, *rows, **options):
    numbered = [Row(i, ean, values) for i, (ean, *values) in enumerate(rows, start=1)]
    outcomes = upsert_products(fields=fields, rows=numbered, provenance=BY, **options)
    return {number: outcome.result for number, outcome in sorted(outcomes.items())}


@pytest.mark.django_db
def test_creates_then_leaves_unchanged_then_updates_only_what_differs():
    fields = ["name", "price", "brand_name"]
    assert write(fields, (A, "Spread", "3.50", "Acme"), (B, "Pen", None, "ACME")) == {1: "created", 2: "created"}
    spread = Product.objects.get(ean=A)
    assert (spread.name, spread.price, spread.brand.name, spread.barcode, spread.status) == (
        "Spread",
        Decimal("3.50"),
        "ACME",
        A,
        "active",
    )
    assert Brand.objects.count() == 1
    before = spread.updated_at
    assert write(fields, (A, "Spread", "3.5", "acme"), (B, "Pen", None, "Acme")) == {1: "unchanged", 2: "unchanged"}
    assert ProductRevision.objects.count() == 2
    assert write(fields, (A, "Spread", "3.60", "Acme"), (B, "Pen", None, "Acme")) == {1: "updated", 2: "unchanged"}
    spread.refresh_from_db()
    assert spread.price == Decimal("3.60")
    assert spread.updated_at > before
    revision = ProductRevision.objects.latest("id")
    assert (revision.product_id, revision.action, revision.old, revision.new) == (
        spread.id,
        "updated",
        {"price": 3.5},
        {"price": 3.6},
    )
    assert (revision.source, revision.actor, revision.source_id, revision.row_number) == ("api", "test", None, None)


@pytest.mark.django_db
def test_revision_of_a_creation_holds_every_value_given_and_the_row_of_the_job():
    job = uuid4()
    upsert_products(
        fields=["name", "weight", "description"],
        rows=[Row(42, A, ["Spread", "0.4", None])],
        provenance=Provenance(ProductRevision.Source.IMPORT, "feed", job),
    )
    revision = ProductRevision.objects.get()
    assert (revision.action, revision.old, revision.new) == (
        "created",
        None,
        {"ean": A, "name": "Spread", "weight": 0.4},
    )
    assert (revision.source, revision.source_id, revision.row_number) == ("import", job, 42)


@pytest.mark.django_db
def test_keep_leaves_a_value_and_none_clears_it():
    write(["name", "price", "reference"], (A, "Spread", "3.50", "R1"), (B, "Pen", "1", "R2"))
    assert write(["price", "reference"], (A, KEEP, None), (B, None, KEEP)) == {1: "updated", 2: "updated"}
    assert list(Product.objects.order_by("ean").values_list("price", "reference")) == [
        (Decimal("3.50"), None),
        (None, "R2"),
    ]


@pytest.mark.django_db
@pytest.mark.parametrize("text", ["a\tb", "a\nb\r\nc", "back\\slash \\t", "\\N", "\\.", "é—😀", "'; DROP TABLE x --"])
def test_any_text_arrives_as_it_is(text):
    write(["name", "description"], (A, text, text), (B, "Pen", None), (C, "Other", "plain"))
    assert list(Product.objects.order_by("ean").values_list("name", "description")) == [
        (text, text),
        ("Pen", None),
        ("Other", "plain"),
    ]
    assert write(["name", "description"], (A, text, text), (B, "Pen", None)) == {1: "unchanged", 2: "unchanged"}


@pytest.mark.django_db
def test_a_deleted_product_comes_back_even_when_nothing_is_given():
    write(["name"], (A, "Spread"))
    Product.objects.update(deleted_at="2026-01-01T00:00:00Z")
    assert write(["price"], (A, KEEP)) == {1: "restored"}
    assert Product.objects.get().deleted_at is None


@pytest.mark.django_db
def test_a_new_product_without_a_name_is_not_written():
    assert write(["name", "price"], (A, KEEP, "1"), (B, "Pen", "1")) == {1: "nameless", 2: "created"}
    assert write(["price"], (A, "1")) == {1: "nameless"}
    assert Product.objects.count() == 1


@pytest.mark.django_db
def test_a_deleted_product_comes_back_under_its_id_and_keeps_what_is_not_given():
    write(["name", "asin", "status"], (A, "Spread", "B00KWB94LS", "archived"))
    old = Product.objects.get(ean=A)
    Product.objects.filter(pk=old.pk).update(deleted_at=old.created_at)
    assert write(["name"], (A, "Spread again")) == {1: "restored"}
    new = Product.objects.get(ean=A)
    assert (new.id, new.name, new.asin, new.status, new.deleted_at) == (
        old.id,
        "Spread again",
        "B00KWB94LS",
        "active",
        None,
    )
    assert ProductRevision.objects.latest("id").action == "restored"


@pytest.mark.django_db
def test_create_leaves_live_products_alone_and_restores_deleted_ones():
    write(["name"], (A, "Spread"), (B, "Pen"))
    Product.objects.filter(ean=B).update(deleted_at=Product.objects.get(ean=B).created_at)
    result = upsert_products(
        fields=["name"],
        rows=[Row(1, A, ["X"]), Row(2, B, ["Pen 2"]), Row(3, C, ["New"])],
        provenance=BY,
        mode=Mode.CREATE,
    )
    assert result[1] == Outcome(Result.EXISTS, Product.objects.get(ean=A).id)
    assert (result[2].result, result[3].result) == (Result.RESTORED, Result.CREATED)
    assert list(Product.objects.order_by("ean").values_list("name", flat=True)) == ["Spread", "Pen 2", "New"]


@pytest.mark.django_db
def test_update_reports_unknown_and_deleted_products_and_writes_nothing_for_them():
    write(["name"], (A, "Spread"), (B, "Pen"))
    Product.objects.filter(ean=B).update(deleted_at=Product.objects.get(ean=B).created_at)
    assert write(["name"], (A, "S"), (B, "P"), (C, "N"), mode=Mode.UPDATE) == {1: "updated", 2: "missing", 3: "missing"}
    assert list(Product.objects.order_by("ean").values_list("name", flat=True)) == ["S", "Pen"]


@pytest.mark.django_db
def test_deactivating_leaves_an_archived_product_archived():
    write(["name", "status"], (A, "Spread", "active"), (B, "Pen", "archived"))
    assert write(["status"], (A, DEACTIVATE), (B, DEACTIVATE)) == {1: "updated", 2: "unchanged"}
    assert list(Product.objects.order_by("ean").values_list("status", flat=True)) == ["inactive", "archived"]


@pytest.mark.django_db
def test_dry_run_tells_the_same_and_writes_nothing():
    write(["name"], (A, "Spread"), (B, "Pen"))
    fields = ["name", "brand_name"]
    rows = [(A, "Spread", KEEP), (B, "Pen", "New brand"), (C, "New", "Other")]
    revisions = ProductRevision.objects.count()
    assert write(fields, *rows, dry_run=True) == {1: "unchanged", 2: "updated", 3: "created"}
    assert (Product.objects.count(), Brand.objects.count(), ProductRevision.objects.count()) == (2, 0, revisions)
    assert write(fields, *rows) == {1: "unchanged", 2: "updated", 3: "created"}


@pytest.mark.django_db
def test_a_repeated_ean_and_an_unknown_field_are_the_callers_mistakes():
    with pytest.raises(ValueError, match="twice"):
        write(["name"], (A, "X"), (A, "Y"))
    with pytest.raises(ValueError, match="unknown fields: id"):
        write(["id"], (A, "X"))


@pytest.mark.django_db
def test_the_number_of_statements_does_not_depend_on_the_number_of_rows():
    def statements(count, offset):
        rows = [(f"{offset + i:013}", f"Product {i}", f"Brand {offset + i}") for i in range(count)]
        with CaptureQueriesContext(connection) as queries:
            write(["name", "brand_name"], *rows)
        return len(queries)

    assert statements(1000, 10_000) == statements(3, 50_000)


@pytest.mark.django_db(transaction=True)
def test_writers_that_create_the_same_products_at_once_all_succeed():
    """Both see no such product; the one that comes second merges into what the first has committed."""
    eans = [f"{1_000_000 + i:013}" for i in range(300)]
    failures: list[BaseException] = []
    barrier = threading.Barrier(4)

    def writer(number: int) -> None:
        try:
            barrier.wait()
            for turn in range(5):
                order = eans if number % 2 else eans[::-1]
                rows = [Row(i, ean, [f"by {number}.{turn}", f"brand {i % 7}"]) for i, ean in enumerate(order)]
                upsert_products(fields=["name", "brand_name"], rows=rows, provenance=BY)
        except BaseException as error:
            failures.append(error)
        finally:
            connection.close()

    threads = [threading.Thread(target=writer, args=(n,)) for n in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert failures == []
    assert Product.objects.count() == 300
    assert Brand.objects.count() == 7
    # Every change is in the history: the last revision of each product holds the name it has.
    last = {r.product_id: r.new["name"] for r in ProductRevision.objects.order_by("id") if "name" in r.new}
    assert last == dict(Product.objects.values_list("id", "name"))


@pytest.mark.django_db(transaction=True)
def test_old_values_in_a_revision_are_those_that_were_replaced_even_by_a_concurrent_writer():
    write(["name"], (A, "one"))
    done = threading.Event()

    def late() -> None:
        write(["name"], (A, "three"))
        connection.close()
        done.set()

    with transaction.atomic():
        write(["name"], (A, "two"))
        thread = threading.Thread(target=late)
        thread.start()
        assert not done.wait(0.3)
    thread.join()
    assert list(ProductRevision.objects.order_by("id").values_list("old", "new")) == [
        (None, {"ean": A, "name": "one"}),
        ({"name": "one"}, {"name": "two"}),
        ({"name": "two"}, {"name": "three"}),
    ]

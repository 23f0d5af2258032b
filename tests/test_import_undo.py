"""Undo: what an import wrote is taken back, what others changed since is left alone and named."""

import re
from decimal import Decimal

import pytest
from django.db import connection, transaction
from django.test.utils import CaptureQueriesContext

from catalog.editing import delete_product, edit_product
from catalog.models import Brand, Product, ProductRevision, SupplierRecord
from catalog.provenance import Provenance
from imports import lifecycle, tasks, undo
from imports.models import ImportJob, ImportLog, ImportUndo, ListedProduct
from imports.pipeline import Pipeline
from pim.jobs import runner
from pim.jobs.states import IllegalMove
from tests.importing import counts, import_file, start, take_back, work
from tests.make import make_product

pytestmark = pytest.mark.django_db

SPREAD, PEN, TAPE = "3017620422003", "4006381333931", "96385074"
ALICE = Provenance(ProductRevision.Source.ADMIN, "alice")


def catalogue() -> list[dict[str, object]]:
    """Everything about every product but the time of its last change."""
    return [{k: v for k, v in row.items() if k != "updated_at"} for row in Product.objects.order_by("ean").values()]


def edit(ean: str, **values: object) -> None:
    edit_product(product_id=Product.objects.get(ean=ean).pk, values=values, provenance=ALICE)


def conflicts(job: ImportJob) -> list[tuple[str | None, str | None, str]]:
    lines = ImportLog.objects.filter(job=job, level="warning", message__startswith="Undo left").order_by(
        "field", "value"
    )
    return list(lines.values_list("field", "value", "message"))


def test_old_values_come_back_and_created_products_go():
    import_file(f"ean,name,price,brand,weight\n{SPREAD},Spread,3.50,Acme,0.4\n{PEN},Pen,1,Acme,\n")
    before = catalogue()
    job = import_file(
        f"ean,name,price,brand,weight\n{SPREAD},Spread 400 g,3.60,Other,0.4\n{PEN},Pen,1,Acme,\n{TAPE},Tape,2,Acme,1\n"
    )
    assert counts(job) == (3, 1, 1, 1, 0)
    done = take_back(job)
    assert (done.status, done.total, done.cursor, done.undone, done.conflicts) == ("completed", 2, 2, 2, 0)
    live, removed = [p for p in catalogue() if p["deleted_at"] is None], Product.objects.get(ean=TAPE)
    assert live == before
    assert (removed.name, removed.deleted_at is not None) == ("Tape", True)
    spread = Product.objects.get(ean=SPREAD)
    revisions = ProductRevision.objects.filter(product__in=[spread, removed]).order_by("-id")[:2]
    told = {r.product_id: (r.action, r.source, r.source_id, r.actor, r.row_number, r.old, r.new) for r in revisions}
    acme, other = (str(Brand.objects.get(name=name).pk) for name in ("Acme", "Other"))
    assert told == {
        spread.pk: (
            "updated",
            "import",
            job.pk,
            "boss",
            None,
            {"name": "Spread 400 g", "price": 3.6, "brand_id": other},
            {"name": "Spread", "price": 3.5, "brand_id": acme},
        ),
        removed.pk: ("deleted", "import", job.pk, "boss", None, {"deleted": False}, {"deleted": True}),
    }
    assert ImportLog.objects.latest("id").message == "Undone: 2 products put back, 0 with changes that were left alone"
    assert not ListedProduct.objects.exists()
    job.refresh_from_db()
    assert (job.status, counts(job)) == ("completed", (3, 1, 1, 1, 0))


def test_what_changed_after_the_import_is_left_alone_and_named():
    import_file(f"ean,name,price\n{SPREAD},Spread,3.50\n{PEN},Pen,1\n")
    job = import_file(f"ean,name,price\n{SPREAD},Spread 400 g,3.60\n{PEN},Pencil,1\n{TAPE},Tape,2\n")
    edit(SPREAD, price=Decimal("9"))
    edit(TAPE, name="Adhesive tape")
    delete_product(product_id=Product.objects.get(ean=PEN).pk, provenance=ALICE)
    done = take_back(job)
    assert (done.status, done.undone, done.conflicts) == ("completed", 1, 3)
    assert [(p.ean, p.name, str(p.price), p.deleted_at is None) for p in Product.objects.order_by("name")] == [
        (TAPE, "Adhesive tape", "2.00", True),
        (PEN, "Pencil", "1.00", False),
        (SPREAD, "Spread", "9.00", True),
    ]
    assert [(field, value) for field, value, _ in conflicts(job)] == [
        ("price", "9.00"),
        ("product", PEN),
        ("product", TAPE),
    ]
    pattern = r"Undo left this (value|product) alone \(EAN \d+\): changed after the import by alice on \d{4}-\d\d-\d\d "
    assert all(re.match(pattern, message) for _field, _value, message in conflicts(job))


def test_a_change_that_left_no_revision_is_no_less_a_conflict():
    import_file(f"ean,name\n{SPREAD},Spread\n")
    job = import_file(f"ean,name\n{SPREAD},Paste\n")
    Product.objects.update(name="By SQL")
    done = take_back(job)
    assert (done.undone, done.conflicts) == (0, 1)
    assert Product.objects.get().name == "By SQL"
    assert "it changed after the import" in conflicts(job)[0][2]


def test_imports_on_top_of_each_other_are_taken_back_from_the_top():
    first = import_file(f"ean,name,price\n{SPREAD},One,1\n")
    second = import_file(f"ean,name,price\n{SPREAD},Two,1\n{PEN},Pen,1\n")
    assert take_back(second).undone == 2
    assert Product.objects.get(ean=SPREAD).name == "One"
    done = take_back(first)
    assert (done.undone, done.conflicts) == (1, 0)
    assert not Product.objects.live().exists()


def test_the_lower_one_cannot_be_taken_back_while_the_upper_one_stands():
    first = import_file(f"ean,name,price\n{SPREAD},One,1\n")
    import_file(f"ean,name,price\n{SPREAD},Two,1\n", supplier="OTHER")
    before = catalogue()
    done = take_back(first)
    assert (done.undone, done.conflicts, catalogue()) == (0, 1, before)


def test_a_restored_product_is_deleted_again_with_its_old_values():
    old = make_product(ean=SPREAD, name="Spread", status="archived")
    delete_product(product_id=old.pk, provenance=ALICE)
    job = import_file(f"ean,name\n{SPREAD},Paste\n")
    back = Product.objects.get()
    assert (back.status, back.name, back.deleted_at) == ("active", "Paste", None)
    assert take_back(job).undone == 1
    again = Product.objects.get()
    assert (again.status, again.name, again.deleted_at is not None) == ("archived", "Spread", True)


def test_after_an_undo_the_same_file_does_the_same_again():
    import_file(f"ean,name,price\n{SPREAD},Spread,1\n")
    content = f"ean,name,price\n{SPREAD},Paste,2\n{PEN},Pen,1\n"
    job = import_file(content)
    take_back(job)
    again = import_file(content)
    assert counts(again) == (2, 1, 1, 0, 0)
    assert list(Product.objects.live().order_by("name").values_list("name", flat=True)) == ["Paste", "Pen"]


def test_what_a_supplier_sent_is_remembered_where_his_change_was_not_taken_back():
    import_file(f"ean,name,price\n{SPREAD},Spread,1\n")
    job = import_file(f"ean,name,price\n{SPREAD},Paste,2\n")
    edit(SPREAD, price=Decimal("9"))
    take_back(job)
    assert SupplierRecord.objects.get().values == {"price": 2, "supplier_id": str(job.supplier_id)}
    import_file(f"ean,name,price\n{SPREAD},Paste,2\n")
    assert (Product.objects.get().name, Product.objects.get().price) == ("Paste", Decimal("9"))


def test_a_brand_that_is_gone_cannot_come_back():
    import_file(f"ean,name,brand\n{SPREAD},Spread,Acme\n")
    job = import_file(f"ean,name,brand\n{SPREAD},Paste,Other\n")
    Brand.objects.get(name="Acme").delete()
    done = take_back(job)
    assert (done.undone, done.conflicts) == (1, 1)
    product = Product.objects.get()
    assert (product.name, product.brand.name) == ("Spread", "Other")
    assert "its earlier value no longer exists" in conflicts(job)[0][2]


def test_of_two_rows_of_one_product_the_value_before_both_comes_back():
    import_file(f"ean,name,price\n{SPREAD},Spread,1\n")
    # the second row has no name, so the first is not superseded
    job = import_file(f"ean,name,price\n{SPREAD},Paste,2\n{SPREAD},,3\n")
    assert ProductRevision.objects.filter(source_id=job.pk).count() == 2
    done = take_back(job)
    assert (done.total, done.undone) == (1, 1)
    assert (Product.objects.get().name, Product.objects.get().price) == ("Spread", 1)


def test_a_cancelled_job_is_undone_as_far_as_it_came(monkeypatch):
    monkeypatch.setattr(ImportJob, "default_batch_size", 1)
    job = start(f"ean,name\n{SPREAD},A\n{PEN},B\n{TAPE},C\n")
    with Pipeline() as pipeline:
        steps = iter(range(100))
        runner.run_slice(ImportJob, job.pk, pipeline.step, should_stop=lambda: next(steps) == 3)
    job.refresh_from_db()
    lifecycle.control(job, "cancel")
    assert (job.status, job.products_created) == ("cancelled", 2)
    assert take_back(job).undone == 2
    assert not Product.objects.live().exists()
    with pytest.raises(IllegalMove, match="undone"):
        lifecycle.control(job, "retry")


@pytest.mark.parametrize("status", ["analyzing", "pending", "ready", "processing", "paused", "failed"])
def test_other_jobs_are_not_undone(status):
    job = start(f"ean,name\n{SPREAD},A\n")
    ImportJob.objects.filter(pk=job.pk).update(status=status)
    with pytest.raises(IllegalMove, match=f"Cannot undo a job whose status is {status}"):
        lifecycle.undo(job, requested_by="boss")
    assert not ImportUndo.objects.exists()


def test_asking_again_changes_nothing():
    job = import_file(f"ean,name\n{SPREAD},A\n")
    assert lifecycle.undo(job, requested_by="boss") is True
    assert lifecycle.undo(job, requested_by="other") is False
    take_back(job)
    before = (catalogue(), ProductRevision.objects.count(), list(ImportUndo.objects.values()))
    assert lifecycle.undo(job, requested_by="other") is False
    take_back(job)
    assert (catalogue(), ProductRevision.objects.count(), list(ImportUndo.objects.values())) == before


def test_an_undo_that_failed_is_taken_up_where_it_was():
    job = import_file(f"ean,name\n{SPREAD},A\n")
    lifecycle.undo(job, requested_by="boss")
    ImportUndo.objects.update(status="failed", attempt=2)
    assert lifecycle.undo(job, requested_by="boss") is True
    done = take_back(job)
    assert (done.status, done.undone) == ("completed", 1)


@pytest.mark.django_db(transaction=True)
def test_an_undo_that_is_killed_between_and_within_batches_ends_like_an_undisturbed_one(monkeypatch):
    monkeypatch.setattr(ImportUndo, "default_batch_size", 7)
    rows = [f"{3000000000000 + i:013}" for i in range(36)]
    import_file("ean,name\n" + "".join(f"{ean},Old {i}\n" for i, ean in enumerate(rows[:18])))
    before = [p for p in catalogue() if p["deleted_at"] is None]
    job = import_file("ean,name\n" + "".join(f"{ean},New {i}\n" for i, ean in enumerate(rows)))
    lifecycle.undo(job, requested_by="boss")
    found = ImportUndo.objects.get()

    class Death(BaseException):
        pass

    deaths = 0

    def deadly(current: ImportUndo, lease: runner.Lease) -> None:
        nonlocal deaths
        if current.cursor % 14 == 7 and deaths < 3:
            deaths += 1
            with transaction.atomic():
                undo._batch(current, current.total or 0, lease)
                raise Death  # before the commit
        undo.step(current, lease)

    while found.status != "completed":
        try:
            runner.run_slice(ImportUndo, found.pk, deadly)
        except Death:
            ImportUndo.objects.update(lease_until=None)  # the lease has run out
        found.refresh_from_db()
    assert deaths == 3
    assert (found.total, found.cursor, found.undone, found.conflicts) == (36, 36, 36, 0)
    assert [p for p in catalogue() if p["deleted_at"] is None] == before
    assert ProductRevision.objects.filter(actor="boss").count() == 36


def test_the_number_of_statements_grows_with_the_batches_only():
    def statements(rows: int, offset: int) -> int:
        content = "ean,name\n" + "".join(f"{offset + i:013},P{i}\n" for i in range(rows))
        job = import_file(content)
        with CaptureQueriesContext(connection) as queries:
            assert take_back(job).undone == rows
        return len(queries)

    assert statements(1000, 10_000) == statements(3, 90_000)


def test_the_doorbell_of_an_undo_works_on_the_undo_alone():
    job = import_file(f"ean,name\n{SPREAD},A\n")
    lifecycle.undo(job, requested_by="boss")
    found = ImportUndo.objects.get()
    assert ImportUndo.task_name == tasks.undo.name
    tasks.run(str(found.pk))
    tasks.undo(str(job.pk))
    work(job)
    assert (job.status, Product.objects.live().count()) == ("completed", 1)
    for _turn in range(2):
        tasks.undo(str(found.pk))
    found.refresh_from_db()
    assert (found.status, found.undone, Product.objects.live().count()) == ("completed", 1, 0)

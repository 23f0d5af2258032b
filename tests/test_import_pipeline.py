"""From file to catalogue through the job engine: exact accounts, exact repeats, nothing half-written."""

import csv
import io
import re
from decimal import Decimal

import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext

from catalog.models import Brand, Product, ProductRevision
from imports import lifecycle
from imports.models import ImportJob, ImportLog
from imports.pipeline import Pipeline
from pim.jobs import runner
from pim.jobs.states import TERMINAL, IllegalMove
from tests.importing import counts, problems, start, work
from tests.shared_data import shared_data


@pytest.mark.django_db
def test_a_file_becomes_products_and_every_row_has_a_fate():
    job = work(
        start(
            "EAN,Titre,Marque,Prix\n"
            '3017620422003,Pâte à tartiner,Acme,"3,50"\n'
            "123ABC7890,Mauvais code,Acme,1\n"
            "4006381333931,Stylo,acme,abc\n"
            "96385074,,Acme,2\n"
            "3760000000001,Produit exemple,Autre,29.99\n"
        )
    )
    assert (job.status, job.error_summary) == (
        "completed",
        "1 row failed EAN validation; 1 row failed name validation; 1 row failed price validation",
    )
    assert counts(job) == (5, 2, 0, 0, 3)
    assert problems(job) == [(3, "ean", "123ABC7890"), (4, "price", "abc"), (5, "name", None)]
    assert ImportLog.objects.get(job=job, row_number=3).message == "EAN format invalid (expected 13 digits)"
    # the example EAN of the API's documentation has a wrong check digit: a warning, no refusal
    assert problems(job, "warning") == [(6, "ean", "3760000000001")]
    product = Product.objects.get(ean="3017620422003")
    assert (product.name, product.price, product.brand.name, product.supplier.code) == (
        "Pâte à tartiner",
        Decimal("3.50"),
        "Acme",
        "ACME",
    )
    assert Brand.objects.count() == 2  # refused rows create nothing
    revision = ProductRevision.objects.get(product=product)
    assert (revision.source, revision.source_id, revision.row_number, revision.actor) == ("import", job.pk, 2, "test")


@pytest.mark.django_db
def test_the_same_file_again_changes_nothing():
    content = "ean,name,price\n3017620422003,Spread,3.5\n4006381333931,Pen,1\n"
    work(start(content))
    before = list(Product.objects.order_by("ean").values())
    again = work(start(content))
    assert counts(again) == (2, 0, 0, 2, 0)
    assert list(Product.objects.order_by("ean").values()) == before
    assert ProductRevision.objects.count() == 2


@pytest.mark.django_db
@pytest.mark.parametrize("batch", [1, 2, 1000])
def test_of_a_repeated_ean_the_last_acceptable_row_wins_whatever_the_batches(batch, monkeypatch):
    monkeypatch.setattr(ImportJob, "default_batch_size", batch)
    content = (
        "ean,name,price\n"
        "3017620422003,first,1\n"
        "4006381333931,Pen,1\n"
        "3017620422003,second,2\n"
        "3017620422003,third,abc\n"
        "3017620422003,,4\n"
    )
    job = work(start(content))
    assert counts(job) == (5, 2, 1, 1, 1)
    assert problems(job, "warning") == [(2, "ean", None)]
    # row 5 is refused for its price; row 6 has no name to win with, so it only adds its price
    assert Product.objects.get(ean="3017620422003").name == "second"
    assert Product.objects.get(ean="3017620422003").price == 4


@pytest.mark.django_db
def test_a_dry_run_writes_nothing_until_it_is_confirmed():
    work(start("ean,name\n4006381333931,Pen\n"))
    content = "ean,name,brand\n3017620422003,Spread,Acme\n4006381333931,Pencil,Acme\nx,y,z\n"
    job = work(start(content, dry_run=True))
    assert (job.status, counts(job)) == ("ready", (3, 1, 1, 0, 1))
    assert list(Product.objects.values_list("name", flat=True)) == ["Pen"]
    assert Brand.objects.count() == 0
    assert lifecycle.control(job, "resume") is True
    work(job)
    assert (job.status, counts(job)) == ("completed", (3, 1, 1, 0, 1))
    assert set(Product.objects.values_list("name", flat=True)) == {"Pencil", "Spread"}
    assert problems(job) == [(4, "ean", "x")]


@pytest.mark.django_db
def test_a_pause_holds_and_a_resumed_job_goes_on_where_it_was(monkeypatch):
    monkeypatch.setattr(ImportJob, "default_batch_size", 1)
    job = start("ean,name\n3017620422003,A\n4006381333931,B\n96385074,C\n")
    with Pipeline() as pipeline:
        calls = iter(range(100))
        # analysis, begin, first batch; then stop
        runner.run_slice(ImportJob, job.pk, pipeline.step, should_stop=lambda: next(calls) == 2)
    job.refresh_from_db()
    assert (job.status, job.cursor) == ("processing", 1)
    lifecycle.control(job, "pause")
    work(job)
    assert (job.status, job.cursor, Product.objects.count()) == ("paused", 1, 1)
    assert lifecycle.control(job, "pause") is False
    lifecycle.control(job, "resume")
    work(job)
    assert (job.status, counts(job)) == ("completed", (3, 3, 0, 0, 0))


@pytest.mark.django_db
def test_a_batch_that_was_under_way_when_the_job_was_cancelled_leaves_no_trace(monkeypatch):
    monkeypatch.setattr(ImportJob, "default_batch_size", 1)
    job = start("ean,name\n3017620422003,A\n123,B\n4006381333931,C\n")
    with Pipeline() as pipeline:

        def step(current: ImportJob, lease: runner.Lease) -> None:
            if current.cursor == 2:
                lifecycle.control(ImportJob.objects.get(pk=job.pk), "cancel")
            pipeline.step(current, lease)

        runner.run_slice(ImportJob, job.pk, step)
    job.refresh_from_db()
    assert (job.status, job.cursor, counts(job)) == ("cancelled", 2, (3, 1, 0, 0, 1))
    assert list(Product.objects.values_list("name", flat=True)) == ["A"]
    with pytest.raises(IllegalMove, match="Cannot resume a job whose status is cancelled"):
        lifecycle.control(job, "resume")


@pytest.mark.django_db
@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("", "empty"),
        ("ean,name\n", "no rows"),
        ("colour,size\nred,L\n", "No column holds the EAN. Columns found: colour, size"),
        (b"PK\x03\x04" + b"\0" * 100, "ZIP|zip|XLSX|spreadsheet"),
    ],
)
def test_a_file_that_cannot_be_imported_fails_before_anything_is_written(content, message):
    job = work(start(content))
    assert (job.status, job.error_class) == ("failed", "invalid_data")
    assert re.search(message, job.error_summary), job.error_summary
    assert Product.objects.count() == 0


@pytest.mark.django_db
def test_a_row_that_stops_its_worker_again_and_again_is_stepped_over(monkeypatch):
    """The worker dies (here: the slice ends without a word) each time it reaches the row."""
    monkeypatch.setattr(ImportJob, "default_batch_size", 64)
    rows = "".join(f"{3000000000000 + i:013},Product {i}\n" for i in range(40))
    job = start("ean,name\n" + rows)

    class Death(BaseException):
        pass

    class Deadly(Pipeline):
        def _batch(self, job: ImportJob, lease: runner.Lease) -> None:
            if not lease.poisoned and job.cursor <= 20 < job.cursor + lease.batch_size:
                raise Death
            super()._batch(job, lease)

    deaths = 0
    while job.status not in TERMINAL and deaths < 30:
        try:
            with Deadly() as pipeline:
                runner.run_slice(ImportJob, job.pk, pipeline.step)
        except Death:
            deaths += 1
            ImportJob.objects.filter(pk=job.pk).update(lease_until=None)  # the lease has run out
        job.refresh_from_db()
    assert (job.status, counts(job)) == ("completed", (40, 39, 0, 0, 1))
    assert problems(job) == [(22, "row", None)]


@pytest.mark.django_db
def test_the_french_open_food_facts_file_imports_with_exactly_its_fourteen_bad_codes():
    """And a second time with no row changed."""
    source = shared_data("data", "catalog", "off_fr_utf16le_semicolon.csv")
    rows = list(csv.reader(io.StringIO(source.read_text(encoding="utf-16"), newline=""), delimiter=";"))
    out = io.StringIO()
    csv.writer(out).writerows(rows)
    job = work(start(out.getvalue(), name="off.csv", supplier="OFF"))
    assert (job.status, job.total_rows, job.failed_rows, job.successful_rows) == ("completed", 6774, 14, 6760)
    assert job.error_summary == "14 rows failed EAN validation"
    by_row = {number: value for number, _field, value in problems(job)}
    assert len(by_row) == 14
    assert all(rows[number - 1][0] == value for number, value in by_row.items())
    again = work(start(out.getvalue(), name="off.csv", supplier="OFF"))
    assert counts(again) == (6774, 0, 0, 6760, 14)


@pytest.mark.django_db
def test_the_number_of_statements_of_an_import_grows_with_its_batches_only(monkeypatch):
    def statements(rows: int) -> int:
        content = "ean,name,brand\n" + "".join(f"{rows:05}{i:08},P{i},B{rows}-{i}\n" for i in range(rows))
        job = start(content)
        with CaptureQueriesContext(connection) as queries:
            work(job)
        return len(queries)

    assert statements(2000) == statements(3)

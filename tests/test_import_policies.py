"""What a job may be told: products missing from the file, empty cells, constants, saved mappings, other options."""

import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext

from catalog.models import Product, ProductRevision
from imports import lifecycle
from imports.models import ImportJob, ImportLog, ListedProduct, SupplierMapping
from imports.pipeline import Pipeline
from pim.jobs import runner
from pim.jobs.states import IllegalMove
from tests.importing import counts, import_file, start, take_back, work
from tests.make import make_product, make_supplier

pytestmark = pytest.mark.django_db


def ean(number: int) -> str:
    return f"{3000000000000 + number:013}"


def feed(numbers: range, *, header: str = "ean,name") -> str:
    return header + "\n" + "".join(f"{ean(i)},P{i}\n" for i in numbers)


def statuses() -> dict[str, str]:
    return dict(Product.objects.order_by("ean").values_list("ean", "status"))


class TestMissing:
    def test_by_default_products_missing_from_the_file_are_left_alone(self):
        import_file(feed(range(10)))
        job = import_file(feed(range(1)))
        assert (job.status, job.products_deactivated, set(statuses().values())) == ("completed", 0, {"active"})

    @pytest.mark.parametrize(("policy", "status"), [("deactivate", "inactive"), ("archive", "archived")])
    @pytest.mark.parametrize("batch", [1, 1000])
    def test_they_are_deactivated_or_archived_with_a_revision_and_a_line_in_the_log(
        self, policy, status, batch, monkeypatch
    ):
        import_file(feed(range(10)))
        other = make_product(supplier=make_supplier("OTHER"))
        monkeypatch.setattr(ImportJob, "default_batch_size", batch)
        # one row is refused: its product is in the file all the same
        content = feed(range(7)) + f"{ean(7)},{'x' * 300}\n"
        job = import_file(content, missing=policy)
        assert (job.status, counts(job), job.products_deactivated) == ("completed", (8, 0, 0, 7, 1), 2)
        expected = dict.fromkeys(map(ean, range(8)), "active") | {ean(8): status, ean(9): status, other.ean: "active"}
        assert statuses() == expected
        revisions = ProductRevision.objects.filter(source_id=job.pk).order_by("product__ean")
        assert [(r.action, r.row_number, r.old, r.new) for r in revisions] == [
            ("updated", None, {"status": "active"}, {"status": status})
        ] * 2
        lines = ImportLog.objects.filter(job=job, level="info", field="status").order_by("value")
        assert [line.value for line in lines] == [ean(8), ean(9)]
        assert not ListedProduct.objects.exists()

    def test_deleted_inactive_and_locked_products_are_none_of_its_business(self):
        import_file(feed(range(10)))
        Product.objects.filter(ean=ean(7)).update(status="inactive")
        Product.objects.filter(ean=ean(8)).update(deleted_at="2026-01-01T00:00:00Z")
        Product.objects.filter(ean=ean(9)).update(locked_fields=["status"])
        job = import_file(feed(range(7)), missing="deactivate", max_missing_percent=0)
        assert (job.status, job.products_deactivated) == ("completed", 0)

    def test_a_file_that_leaves_out_too_much_fails_before_anything_is_written(self):
        import_file(feed(range(10)))
        before = list(Product.objects.order_by("ean").values())
        content = feed(range(7)).replace(",P", ",Q")
        job = import_file(content, missing="archive")
        assert (job.status, job.error_class) == ("failed", "invalid_data")
        assert job.error_summary == (
            "The file leaves out 3 of the supplier's 10 products (30%) that would be archived; at most 20 % are "
            "allowed. Nothing was written. If the file is complete, import it again with a higher max_missing_percent."
        )
        assert list(Product.objects.order_by("ean").values()) == before
        assert not ListedProduct.objects.exists()
        job = import_file(content, missing="archive", max_missing_percent=30)
        assert (job.status, job.products_updated, job.products_deactivated) == ("completed", 7, 3)

    def test_a_dry_run_counts_them_and_writes_nothing_until_it_is_confirmed(self):
        import_file(feed(range(10)))
        job = import_file(feed(range(8)), missing="deactivate", dry_run=True)
        assert (job.status, job.products_deactivated, set(statuses().values())) == ("ready", 2, {"active"})
        lifecycle.control(job, "confirm")
        # meanwhile one of them went to another supplier
        Product.objects.filter(ean=ean(9)).update(supplier=make_supplier("OTHER"))
        work(job)
        assert (job.status, job.products_deactivated) == ("completed", 1)
        assert [code for code, status in statuses().items() if status == "inactive"] == [ean(8)]

    def test_it_goes_on_where_it_was_after_a_pause_and_a_death(self, monkeypatch):
        import_file(feed(range(20)))
        monkeypatch.setattr(ImportJob, "default_batch_size", 2)
        job = start(feed(range(16)), missing="deactivate")

        class Death(BaseException):
            pass

        def until(missing_done: int, error: type[BaseException] | None) -> None:
            with Pipeline() as pipeline:

                def step(current: ImportJob, lease: runner.Lease) -> None:
                    if current.missing_done == missing_done and current.cursor == 16:
                        if error:
                            raise error
                        lifecycle.control(ImportJob.objects.get(pk=job.pk), "pause")
                    pipeline.step(current, lease)

                runner.run_slice(ImportJob, job.pk, step)

        with pytest.raises(Death):
            until(0, Death)
        ImportJob.objects.update(lease_until=None)
        until(2, None)
        job.refresh_from_db()
        assert (job.status, job.missing_done, list(statuses().values()).count("inactive")) == ("paused", 2, 2)
        lifecycle.control(job, "resume")
        work(job)
        assert (job.status, job.products_deactivated) == ("completed", 4)
        assert ProductRevision.objects.filter(source_id=job.pk).count() == 4

    def test_undo_brings_them_back(self):
        import_file(feed(range(10)))
        job = import_file(feed(range(8)), missing="archive")
        assert take_back(job).undone == 2
        assert set(statuses().values()) == {"active"}

    def test_the_number_of_statements_grows_with_the_batches_only(self):
        def statements(products: int, supplier: str, offset: int) -> int:
            import_file(feed(range(offset, offset + products)), supplier=supplier)
            job = start(feed(range(offset, offset + 1)), supplier=supplier, missing="archive", max_missing_percent=100)
            with CaptureQueriesContext(connection) as queries:
                work(job)
            assert job.products_deactivated == products - 1
            return len(queries)

        assert statements(500, "A", 0) == statements(3, "B", 1000)


class TestValues:
    CODE = "3017620422003"

    def product(self) -> Product:
        return Product.objects.select_related("brand").get()

    def test_empty_cells_keep_or_clear(self):
        import_file(f"ean,name,price\n{self.CODE},Spread,3\n")
        assert counts(import_file(f"ean,name,price\n{self.CODE},Spread,\n"))[3] == 1
        assert counts(import_file(f"ean,name,price\n{self.CODE},,\n", empty_cells="clear")) == (1, 0, 1, 0, 0)
        assert (self.product().name, self.product().price) == ("Spread", None)

    def test_constants_and_defaults_fill_in(self):
        job = import_file(
            f"ean,name,marque\n{self.CODE},Spread,\n4006381333931,Pen,Bic\n",
            constants={"unit_of_measure": "pc", "price": "2.50"},
            defaults={"brand_name": "No name"},
        )
        assert counts(job) == (2, 2, 0, 0, 0)
        assert list(Product.objects.order_by("name").values_list("brand__name", "unit_of_measure", "price")) == [
            ("Bic", "pc", 2.5),
            ("No name", "pc", 2.5),
        ]

    def test_a_constant_that_cannot_be_read_fails_the_job(self):
        job = import_file(f"ean,name\n{self.CODE},Spread\n", constants={"price": "cheap"})
        assert (job.status, job.error_class, Product.objects.count()) == ("failed", "invalid_data", 0)
        assert "price" in job.error_summary

    def test_a_decimal_mark_settles_what_is_ambiguous(self):
        content = f"ean;name;price\n{self.CODE};Spread;1.213\n"
        assert import_file(content).failed_rows == 1
        import_file(content, decimal_mark=",")
        assert self.product().price == 1213


class TestSavedMapping:
    FILE = "Code,Nom article,Tarif public\n3017620422003,Spread,3.5\n"
    MAPPING = {"Code": "ean", "Tarif public": "name"}

    def test_it_is_used_for_the_suppliers_next_files(self):
        import_file(self.FILE, mapping=self.MAPPING, constants={"price": "1"}, save_mapping=True)
        again = start(self.FILE, supplier="acme")
        assert (again.mapping, again.constants) == (self.MAPPING, {"price": "1"})
        assert start(self.FILE, supplier="OTHER").mapping == {}

    def test_a_job_may_say_otherwise_without_changing_it(self):
        import_file(self.FILE, mapping=self.MAPPING, save_mapping=True)
        assert start(self.FILE, mapping={}).mapping == {}
        assert start(self.FILE, mapping={"Code": "ean"}).mapping == {"Code": "ean"}
        assert SupplierMapping.objects.get().mapping == self.MAPPING

    def test_it_is_not_saved_unless_asked_for(self):
        import_file(self.FILE, mapping=self.MAPPING)
        assert not SupplierMapping.objects.exists()


class TestChangedOptions:
    FILE = "Code;Nom;Tarif\n3017620422003;Spread;3,5\n4006381333931;Pen;abc\n"

    def test_a_ready_job_is_checked_again(self):
        job = import_file(self.FILE, dry_run=True, mapping={"Code": "ean", "Nom": "name"})
        assert (job.status, counts(job)) == ("ready", (2, 2, 0, 0, 0))
        lifecycle.change_options(job, mapping={"Code": "ean", "Nom": "name", "Tarif": "price"})
        assert (job.status, job.total_rows, job.products_created) == ("analyzing", None, 0)
        work(job)
        assert (job.status, counts(job), job.dry_run) == ("ready", (2, 1, 0, 0, 1), True)
        assert ImportLog.objects.filter(job=job, level="info").count() == 1
        lifecycle.control(job, "confirm")
        work(job)
        assert (job.status, counts(job)) == ("completed", (2, 1, 0, 0, 1))

    def test_a_job_whose_columns_could_not_be_mapped_gets_another_chance(self):
        job = import_file("Artikel;Nom\n3017620422003;Spread\n")
        assert job.status == "failed"
        lifecycle.change_options(job, mapping={"Artikel": "ean", "Nom": "name"})
        work(job)
        assert (job.status, job.error_summary, counts(job)) == ("completed", "", (1, 1, 0, 0, 0))

    @pytest.mark.parametrize("status", ["analyzing", "pending", "processing", "paused", "completed", "cancelled"])
    def test_in_no_other_status(self, status):
        job = start(self.FILE)
        ImportJob.objects.filter(pk=job.pk).update(status=status)
        before = ImportJob.objects.values().get()
        with pytest.raises(IllegalMove, match=status):
            lifecycle.change_options(job, mapping={"Code": "ean"})
        assert ImportJob.objects.values().get() == before

    def test_a_failed_job_that_wrote_rows_is_not_changed(self):
        job = start(self.FILE)
        ImportJob.objects.filter(pk=job.pk).update(status="failed", cursor=1)
        with pytest.raises(IllegalMove, match="failed"):
            lifecycle.change_options(job, mapping={"Code": "ean"})


class TestRetry:
    def test_a_cancelled_job_goes_on_after_its_last_checkpoint(self, monkeypatch):
        monkeypatch.setattr(ImportJob, "default_batch_size", 1)
        job = start(feed(range(4)) + "12,bad\n")
        with Pipeline() as pipeline:
            steps = iter(range(100))
            runner.run_slice(ImportJob, job.pk, pipeline.step, should_stop=lambda: next(steps) == 3)
        job.refresh_from_db()
        lifecycle.control(job, "cancel")
        assert (job.cursor, job.completed_at is None) == (2, False)
        assert lifecycle.control(job, "retry") is True
        assert (job.status, job.completed_at) == ("pending", None)
        assert lifecycle.control(job, "retry") is False
        work(job)
        assert (job.status, counts(job)) == ("completed", (5, 4, 0, 0, 1))
        assert ProductRevision.objects.count() == 4

    def test_a_failed_analysis_is_done_again(self):
        job = import_file("colour\nred\n")
        assert job.status == "failed"
        lifecycle.control(job, "retry")
        assert (job.status, job.error_summary, job.error_class) == ("analyzing", "", "")
        work(job)
        assert job.status == "failed"

    def test_a_dry_run_stays_one(self):
        job = start(feed(range(2)), dry_run=True)
        lifecycle.control(job, "cancel")
        lifecycle.control(job, "retry")
        work(job)
        assert (job.status, Product.objects.count()) == ("ready", 0)

    def test_a_completed_job_is_not_retried(self):
        job = import_file(feed(range(2)))
        with pytest.raises(IllegalMove, match="completed"):
            lifecycle.control(job, "retry")


def test_the_share_of_wrong_check_digits_is_counted_by_length():
    content = "ean,name\n3017620422003,a\n4006381333931,b\n4006381333932,c\n96385074,d\n96385075,e\n12,f\n"
    expected = {"8": {"rows": 2, "wrong": 1}, "13": {"rows": 3, "wrong": 1}}
    assert import_file(content).check_digits == expected
    assert import_file(content, ean_check="off").check_digits == expected
    refusing = import_file(content, ean_check="reject")
    assert (refusing.check_digits, refusing.failed_rows) == (expected, 3)

"""Matching jobs worked off against the local stand-in: outcomes, products, log, failures, pauses, statements."""

import csv
import threading
from collections.abc import Iterator
from typing import Any

import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext
from pytest_django import Settings

from catalog.identifiers import check_digit, normalise
from catalog.models import Brand, Product, ProductRevision
from code2asin import lifecycle, tasks
from code2asin.models import Code2AsinJob, Code2AsinLog, MatchResult
from code2asin.processing import Matching
from code2asin.stand_in.catalogue import Catalogue, Item, catalogue_from_pairs
from code2asin.stand_in.server import Running, running
from pim.jobs import runner
from pim.jobs.states import Status
from tests.shared_data import shared_data


def ean(number: int) -> str:
    body = f"376000{number:06}"
    return body + check_digit(body)


def upc(number: int) -> str:
    body = f"72000{number:06}"
    return body + check_digit(body)


def asin(number: int) -> str:
    return f"B{number:09}"


def item(number: int, **fields: Any) -> Item:
    defaults = {"asin": asin(number), "title": f"Lampe de bureau {number}", "gtins": (ean(number),), "brand": "Lumo"}
    return Item(**(defaults | fields))


def product(number: int, **fields: Any) -> Product:
    brand, _created = Brand.objects.get_or_create(name="Lumo")
    defaults = {"ean": ean(number), "name": f"Lampe de bureau {number}", "brand": brand}
    return Product.objects.create(**(defaults | fields))


NUMBERS = range(1, 41)
RIVAL = asin(900)
ITEMS = [
    *(item(number) for number in NUMBERS if number not in (3, 4)),
    item(4, title="Lampe de bureau 4, lot de 6", pack=6),
    item(900, title="Lampe de bureau 2", gtins=(ean(2),)),  # as good as item 2
]


def configure(settings: Settings, service: Running) -> None:
    settings.AMAZON_SP_API_ENDPOINT = service.url
    settings.AMAZON_LWA_TOKEN_URL = service.token_url
    settings.AMAZON_CLIENT_ID = "client"
    settings.AMAZON_CLIENT_SECRET = "secret"
    settings.AMAZON_REFRESH_TOKEN = "Atzr|refresh"


@pytest.fixture
def amazon(settings: Settings) -> Iterator[Running]:
    with running(Catalogue(ITEMS), rate=500.0, burst=500) as service:
        configure(settings, service)
        yield service


def new_job(**values: Any) -> Code2AsinJob:
    defaults: dict[str, Any] = {"name": "Lamps", "product_filter": {}, "actor": "tester"}
    return lifecycle.create_job(**(defaults | values))


def run(job: Code2AsinJob) -> Code2AsinJob:
    """Start a pending job, then work on it until nothing is due."""
    if job.status == Status.PENDING:
        lifecycle.control(job, "start")
    while True:
        before = job.lease_epoch
        runner.run_slice(Code2AsinJob, job.pk, Matching().step)
        job.refresh_from_db()
        if job.lease_epoch == before or job.status not in Code2AsinJob.claimable:
            return job


def counters(job: Code2AsinJob) -> tuple[str, int, int, int, int]:
    return job.status, job.total_codes, job.matched, job.ambiguous, job.unmatched


def outcome(code: str) -> tuple[Any, ...]:
    result = MatchResult.objects.get(code=code)
    return result.status, result.match_type, result.asin, result.confidence, result.error_class


@pytest.mark.django_db
class TestOutcomes:
    def test_every_code_gets_exactly_one_status(self, amazon: Running) -> None:
        alone, twins, unknown, pack = (product(number) for number in (1, 2, 3, 4))
        in_store = product(5, ean="2000000000008")
        wrong_digit = product(6, ean=ean(7)[:-1] + str((int(ean(7)[-1]) + 1) % 10))

        job = run(new_job())

        assert counters(job) == ("completed", 6, 1, 2, 3)
        assert job.cursor == 6
        assert outcome(alone.ean) == ("matched", "exact", asin(1), 0.99, "")
        assert outcome(twins.ean) == ("ambiguous", "exact", asin(2), 0.8, "")
        assert outcome(pack.ean) == ("ambiguous", "exact", asin(4), 0.5, "")
        assert outcome(unknown.ean) == ("unmatched", None, None, None, "invalid_data")
        assert outcome(in_store.ean) == ("unmatched", None, None, None, "invalid_data")
        assert outcome(wrong_digit.ean) == ("unmatched", None, None, None, "invalid_data")
        assert MatchResult.objects.exclude(matched_at=None).get().code == alone.ean
        asins = dict(Product.objects.values_list("ean", "asin"))
        assert {code: a for code, a in asins.items() if a} == {alone.ean: asin(1)}

    def test_a_match_is_written_with_its_revision_and_its_time(self, amazon: Running) -> None:
        lamp = product(1)
        job = run(new_job(name="Q" * 255))

        lamp.refresh_from_db()
        revision = ProductRevision.objects.get()
        result = MatchResult.objects.get()
        assert lamp.asin == asin(1)
        assert (revision.product_id, revision.source, revision.actor, revision.source_id) == (
            lamp.pk,
            "match",
            "tester",
            job.pk,
        )
        assert (revision.old, revision.new) == ({"asin": None}, {"asin": asin(1)})
        assert result.matched_at is not None
        assert result.title == "Lampe de bureau 1"

    def test_all_candidates_are_kept_best_first_with_their_reasons(self, amazon: Running) -> None:
        lamp = product(2)
        run(new_job())

        first, second = MatchResult.objects.get(product=lamp).candidates
        assert (first["asin"], second["asin"]) == (asin(2), RIVAL)
        assert first["score"] == second["score"] == 0.8
        assert first["brand"] == "Lumo"
        assert f"EAN {lamp.ean} is listed by Amazon for this item: +0.92" in first["reasons"]
        assert "2 candidates are equally good: capped at 0.80" in first["reasons"]
        assert first["features"]["pack_ours"] == 1

    def test_the_log_has_a_line_for_each_code_and_one_for_the_end(self, amazon: Running) -> None:
        products = {number: product(number) for number in (1, 2, 3)}
        run(new_job())

        lines = {log.input_code: log for log in Code2AsinLog.objects.all()}
        matched, ambiguous, unmatched = (lines[ean(number)] for number in (1, 2, 3))
        assert [log.level for log in (matched, ambiguous, unmatched)] == ["info", "warning", "error"]
        assert matched.message == f"{ean(1)} is {asin(1)}: score 0.99 reaches the threshold 0.85"
        assert (matched.previous_asin, matched.new_asin, matched.change_reason) == (None, asin(1), "initial")
        assert (matched.product_id, matched.code_type, matched.confidence_score) == (products[1].pk, "EAN", 0.99)
        assert matched.processing_time_ms is not None
        assert ambiguous.message.startswith(f"{ean(2)} may be {asin(2)}: 2 candidates are equally good")
        assert (ambiguous.new_asin, ambiguous.change_reason) == (None, None)
        assert unmatched.message == f"No ASIN found for EAN {ean(3)} after 3 attempts"
        assert lines[None].message == "Completed: 1 matched, 1 to review, 1 unmatched"
        assert Code2AsinLog.objects.count() == 4

    def test_a_product_that_has_another_asin_waits_for_a_person(self, amazon: Running) -> None:
        lamp = product(1, asin="B0OTHER001")
        run(new_job())

        lamp.refresh_from_db()
        assert lamp.asin == "B0OTHER001"
        assert outcome(lamp.ean) == ("ambiguous", "exact", asin(1), 0.99, "")
        assert MatchResult.objects.get().reason == "the product already has ASIN B0OTHER001: a person must choose"
        assert not ProductRevision.objects.exists()

    def test_a_product_that_has_this_asin_is_confirmed_and_not_written(self, amazon: Running) -> None:
        lamp = product(1, asin=asin(1))
        run(new_job())

        log = Code2AsinLog.objects.get(input_code=lamp.ean)
        assert outcome(lamp.ean)[0] == "matched"
        assert (log.previous_asin, log.new_asin, log.change_reason) == (asin(1), asin(1), "confirmed")
        assert not ProductRevision.objects.exists()

    def test_without_auto_match_a_person_decides_everything(self, amazon: Running) -> None:
        lamp = product(1)
        job = run(new_job(auto_match=False))

        lamp.refresh_from_db()
        assert counters(job) == ("completed", 1, 0, 1, 0)
        assert lamp.asin is None

    @pytest.mark.parametrize(("threshold", "status"), [("0.92", "matched"), ("0.921", "ambiguous")])
    def test_the_threshold_itself_is_enough(self, amazon: Running, threshold: str, status: str) -> None:
        # 0.92: the code is listed, and nothing else is known (a title with similarity from 50 to 79 changes nothing)
        product(1, name="Lampe 3 kg de chantier", brand=None)
        run(new_job(confidence_threshold=threshold))

        assert outcome(ean(1))[0] == status

    def test_a_product_deleted_meanwhile_is_not_matched(self, amazon: Running) -> None:
        lamp = product(1)
        job = new_job()
        lifecycle.control(job, "start")
        lease = runner.claim(Code2AsinJob, job.pk)
        assert lease is not None
        Matching().step(job, lease)  # stages
        Product.objects.update(deleted_at=lamp.created_at)
        lease.release()

        job = run(job)

        assert counters(job) == ("completed", 1, 0, 0, 1)
        assert MatchResult.objects.get().reason == f"{lamp.ean}: The product was deleted while the job ran"
        assert Product.objects.get().asin is None


@pytest.mark.django_db
class TestWholeJobs:
    def test_a_mixed_catalogue_gets_no_wrong_match_in_few_calls(self, settings: Settings) -> None:
        """Of 1,000 codes 10 % are missing, 5 % have two items, 3 % are listed as UPC, 2 % are not listed."""
        first, twice, as_upc, unlisted = 100, range(100, 150), range(150, 180), range(180, 200)
        upcs = {number: upc(number) for number in as_upc}
        items = []
        for number in range(first, 1000):
            listed: dict[str, Any] = {"gtins": (upcs[number],)} if number in upcs else {}
            if number in unlisted:
                listed = {"gtins": (), "unlisted_gtins": (ean(number),)}
            items.append(item(number, **listed))
            if number in twice:
                items.append(item(number, asin=asin(number + 5000)))
        Product.objects.bulk_create(
            Product(ean=f"0{upcs[n]}" if n in upcs else ean(n), name=f"Lampe de bureau {n}", reference=str(n))
            for n in range(1000)
        )
        with running(Catalogue(items), rate=2000.0, burst=2000) as service:
            configure(settings, service)
            job = run(new_job())
            calls = service.stats().ok

        assert counters(job) == ("completed", 1000, 830, 70, 100)
        found = dict(Product.objects.exclude(asin=None).values_list("reference", "asin"))
        assert found == {str(number): asin(number) for number in (*as_upc, *range(200, 1000))}
        assert calls <= 1.15 * (1000 / 20 + len(unlisted))  # full batches, and one call for each unlisted code

    @pytest.mark.parametrize(
        ("file", "code", "creator", "count"),
        [
            ("ean_asin_books_goodbooks.csv", "ean13", "authors", 9277),
            ("ean_asin_music_musicbrainz.csv", "barcode", "artist", 23),
        ],
    )
    def test_real_books_and_records_are_all_matched_by_code_and_none_wrongly(
        self, settings: Settings, file: str, code: str, creator: str, count: int
    ) -> None:
        with shared_data("data", "match", file).open(encoding="utf-8", newline="") as source:
            truth = [(row[code], row["asin"], row["title"], row[creator]) for row in csv.DictReader(source)]
        asins = {normalise(barcode).ean: asin for barcode, asin, _title, _creator in truth}
        Product.objects.bulk_create(
            Product(ean=normalise(barcode).ean, name=title[:255]) for barcode, _asin, title, _creator in truth
        )
        with running(catalogue_from_pairs(truth), rate=2000.0, burst=2000) as service:
            configure(settings, service)
            job = run(new_job())

        assert counters(job) == ("completed", count, count, 0, 0)
        assert dict(Product.objects.values_list("ean", "asin")) == asins

    def test_the_task_that_the_job_rings_for_works_on_it(self, amazon: Running) -> None:
        product(1)
        job = new_job()
        lifecycle.control(job, "start")
        assert tasks.run.name == Code2AsinJob.task_name
        tasks.run(str(job.pk))
        job.refresh_from_db()
        assert counters(job) == ("completed", 1, 1, 0, 0)


@pytest.mark.django_db
class TestSelection:
    def test_the_filter_selects_live_products_in_ean_order(self, amazon: Running) -> None:
        for number in (7, 3, 9, 1):
            product(number)
        product(5, status="archived")
        product(6, deleted_at="2026-01-01T00:00:00Z")
        job = new_job(product_filter={"is_active": True})
        assert job.total_codes == 4

        job = run(job)

        rows = list(MatchResult.objects.order_by("position"))
        assert [(row.position, row.code) for row in rows] == [(1, ean(1)), (2, ean(3)), (3, ean(7)), (4, ean(9))]
        assert sorted(row.pk for row in rows) == [row.pk for row in rows]
        assert {(row.pk.version, row.pk.variant) for row in rows} == {(7, "specified in RFC 4122")}

    def test_the_selection_is_fixed_when_the_job_starts(self, amazon: Running) -> None:
        product(1)
        job = new_job()
        product(7)
        job = run(job)
        assert counters(job) == ("completed", 2, 2, 0, 0)

        product(8)
        run(job)
        assert MatchResult.objects.count() == 2

    def test_an_empty_selection_completes_and_says_so(self) -> None:
        job = run(new_job())

        assert counters(job) == ("completed", 0, 0, 0, 0)
        assert [(log.level, log.message) for log in job.logs.all()] == [
            ("warning", "No product matches the filter of this job: there is nothing to look up")
        ]


@pytest.mark.django_db
class TestFailures:
    def test_missing_credentials_fail_the_job_and_name_the_settings(self, settings: Settings) -> None:
        settings.AMAZON_CLIENT_ID = settings.AMAZON_CLIENT_SECRET = settings.AMAZON_REFRESH_TOKEN = ""
        product(1)
        job = run(new_job())

        assert counters(job) == ("failed", 1, 0, 0, 0)
        assert "AMAZON_CLIENT_ID" in job.error_summary
        assert MatchResult.objects.get().status == "pending"

    def test_another_marketplace_than_the_jobs_is_refused(self, amazon: Running, settings: Settings) -> None:
        product(1)
        job = new_job()
        settings.AMAZON_MARKETPLACE_ID = "A1PA6795UKMFR9"
        job = run(job)

        assert job.status == "failed"
        assert job.error_summary == (
            "The job was made for marketplace A13V1IB3VIYZZH, but A1PA6795UKMFR9 is set up; "
            "set it back or create a new job"
        )
        assert amazon.stats().codes == 0

    def test_a_failure_on_the_way_waits_for_its_retry_and_loses_nothing(self, amazon: Running) -> None:
        product(1)
        amazon.set(throttle_next=50)
        job = run(new_job())

        assert (job.status, job.attempt, job.error_class) == ("processing", 1, "api_rate_limit")
        assert job.error_summary
        assert MatchResult.objects.get().status == "pending"

        amazon.set(throttle_next=0)
        assert run(job).attempt == 1  # it is not due yet
        lifecycle.control(job, "pause")
        lifecycle.control(job, "resume")
        job = run(job)

        assert counters(job) == ("completed", 1, 1, 0, 0)
        assert (job.attempt, job.error_class, job.error_summary) == (0, "", "")

    def test_a_code_that_kills_its_worker_is_stepped_over(self, amazon: Running) -> None:
        for number in (1, 7):
            product(number)
        job = new_job()
        lifecycle.control(job, "start")
        lease = runner.claim(Code2AsinJob, job.pk)
        assert lease is not None
        Matching().step(job, lease)  # stages
        lease.release()
        Code2AsinJob.objects.update(claims_at_cursor=runner.DEATHS_BEFORE_ISOLATION, batch_size=1)

        job = run(job)

        assert counters(job) == ("completed", 2, 1, 0, 1)
        assert outcome(ean(1)) == ("unmatched", None, None, None, "unknown")
        assert outcome(ean(7))[0] == "matched"
        assert amazon.stats().codes == 1


@pytest.mark.django_db
class TestRetry:
    def test_only_unfinished_codes_and_passing_failures_are_done_again(self, amazon: Running) -> None:
        for number in (1, 3, 7, 8):
            product(number)
        job = run(new_job())
        assert counters(job) == ("completed", 4, 3, 0, 1)
        # as if the job had failed with code 8 not reached and code 7 lost to the network
        MatchResult.objects.filter(code=ean(8)).update(status="pending", asin=None)
        MatchResult.objects.filter(code=ean(7)).update(status="unmatched", asin=None, error_class="network")
        Code2AsinJob.objects.update(status="failed", matched=1, unmatched=2, cursor=3, error_summary="gone")
        before = amazon.stats().codes
        matched_at = MatchResult.objects.get(code=ean(1)).matched_at
        job.refresh_from_db()

        lifecycle.control(job, "retry")
        assert (job.status, job.retry_count, job.error_summary, job.completed_at) == ("processing", 1, "", None)
        assert (counters(job), job.cursor) == (("processing", 4, 1, 0, 1), 2)
        job = run(job)

        assert (counters(job), job.cursor) == (("completed", 4, 3, 0, 1), 4)
        assert amazon.stats().codes - before == 2
        assert MatchResult.objects.get(code=ean(1)).matched_at == matched_at


@pytest.mark.django_db
class TestStatements:
    def test_a_batch_costs_the_same_whatever_its_size(self, amazon: Running) -> None:
        def statements(numbers: range) -> int:
            for number in numbers:
                product(number)
            job = new_job(product_filter={"has_asin": False})
            lifecycle.control(job, "start")
            lease = runner.claim(Code2AsinJob, job.pk)
            assert lease is not None
            Matching().step(job, lease)
            job.refresh_from_db()
            with CaptureQueriesContext(connection) as queries:
                Matching().step(job, lease)
            job.refresh_from_db()
            assert job.matched == len(numbers)
            return len(queries)

        statements(range(5, 6))  # fetches the access token
        assert statements(range(6, 7)) == statements(range(11, 31))


@pytest.mark.django_db(transaction=True)
class TestPause:
    def test_a_pause_during_a_look_up_rolls_the_batch_back_and_resuming_finishes_it(self, amazon: Running) -> None:
        for number in NUMBERS:
            product(number)
        job = new_job()
        lifecycle.control(job, "start")
        runner.run_slice(Code2AsinJob, job.pk, Matching().step, should_stop=lambda: True)  # stages
        amazon.set(delay=0.3)
        calls = amazon.stats().ok

        worker = threading.Thread(target=in_thread, args=(runner.run_slice, Code2AsinJob, job.pk, Matching().step))
        worker.start()
        while amazon.stats().ok == calls:
            pass
        lifecycle.control(job, "pause")
        log_lines = Code2AsinLog.objects.count()
        worker.join()

        job.refresh_from_db()
        assert counters(job) == ("paused", 40, 0, 0, 0)
        assert amazon.stats().ok == calls + 1  # the second call was not made
        assert set(MatchResult.objects.values_list("status", flat=True)) == {"pending"}
        assert Code2AsinLog.objects.count() == log_lines
        assert not Product.objects.exclude(asin=None).exists()

        amazon.set(delay=0.0)
        lifecycle.control(job, "resume")
        assert counters(run(job)) == ("completed", 40, 37, 2, 1)
        assert Code2AsinLog.objects.exclude(input_code=None).count() == 40

    def test_of_twenty_simultaneous_starts_one_starts_the_job(self) -> None:
        job = new_job()
        barrier = threading.Barrier(20)
        started: list[bool] = []

        def start() -> None:
            mine = Code2AsinJob.objects.get(pk=job.pk)
            barrier.wait()
            started.append(lifecycle.control(mine, "start"))

        threads = [threading.Thread(target=in_thread, args=(start,)) for _ in range(20)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()

        assert sorted(started) == [False] * 19 + [True]


def in_thread(function: Any, *arguments: Any) -> None:
    """Run in a thread of a test and give its database connection back."""
    try:
        function(*arguments)
    finally:
        connection.close()

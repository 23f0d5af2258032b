"""Results as files, and the command that matches from the command line."""

import csv
import io
import json
import os
import signal
import threading
from collections.abc import Iterator
from typing import Any

import openpyxl
import pytest
from django.core.management import CommandError, call_command
from pytest_django import Settings

from catalog.models import Product, Supplier
from code2asin import exports
from code2asin.exports import COLUMNS
from code2asin.models import Code2AsinJob, MatchResult
from code2asin.stand_in.catalogue import Catalogue, Item
from code2asin.stand_in.server import Running, running
from tests.matching import BASE, FIRST, Api, job_with

pytestmark = pytest.mark.django_db


@pytest.fixture
def api() -> Api:
    return Api()


def export(api: Api, job: Code2AsinJob, **parameters: Any) -> tuple[int, str, str, bytes]:
    """Status, media type, disposition and content; asked for with GET and POST, which must agree."""
    address = f"{BASE}/export/results/{job.pk}"
    answers = []
    for method in ("GET", "POST"):
        answer = api.client.generic(method, address, QUERY_STRING="&".join(f"{k}={v}" for k, v in parameters.items()))
        content = answer.getvalue()
        answers.append((answer.status_code, answer["Content-Type"], answer.get("Content-Disposition", ""), content))
    if "excel" not in parameters.values() and answers[0][0] == 200:
        assert answers[0] == answers[1]
    return answers[1]


def csv_rows(content: bytes) -> list[dict[str, str]]:
    return list(csv.DictReader(io.StringIO(content.decode(), newline="")))


class TestExports:
    def test_csv_is_the_default(self, api: Api) -> None:
        job, made = job_with("matched", "ambiguous", "unmatched")
        status, media_type, disposition, content = export(api, job)

        assert (status, media_type) == (200, "text/csv; charset=utf-8")
        assert disposition == f'attachment; filename="code2asin_results_{job.pk}.csv"'
        rows = csv_rows(content)
        assert list(rows[0]) == list(COLUMNS)
        assert [(row["product_ean"], row["status"], row["asin"]) for row in rows] == [
            (made[0].code, "matched", FIRST),
            (made[1].code, "ambiguous", FIRST),
            (made[2].code, "unmatched", ""),
        ]
        assert rows[0] == {
            "product_ean": made[0].code,
            "product_id": str(made[0].product_id),
            "product_name": "Lampe 1",
            "asin": FIRST,
            "confidence": "0.8",
            "status": "matched",
            "match_type": "exact",
            "amazon_title": f"Title of {FIRST}",
            "matched_at": "2026-05-14T09:05:30Z",
            "review": "",
            "reviewed_by": "",
            "reviewed_at": "",
            "error_class": "",
            "reason": "",
        }

    def test_unmatched_codes_can_be_left_out(self, api: Api) -> None:
        job, _made = job_with("matched", "ambiguous", "unmatched")
        content = export(api, job, include_unmatched="false")[3]
        assert [row["status"] for row in csv_rows(content)] == ["matched", "ambiguous"]

    def test_json_is_an_array_of_objects_with_the_columns_of_the_csv(self, api: Api) -> None:
        job, made = job_with("matched", "unmatched")
        status, media_type, disposition, content = export(api, job, format="json")

        assert (status, media_type) == (200, "application/json")
        assert disposition.endswith('.json"')
        first, second = json.loads(content)
        assert list(first) == list(COLUMNS)
        assert (first["product_id"], first["confidence"], first["matched_at"]) == (
            str(made[0].product_id),
            0.8,
            "2026-05-14T09:05:30Z",
        )
        assert (second["asin"], second["matched_at"]) == (None, None)

    def test_excel(self, api: Api) -> None:
        job, made = job_with("matched", "unmatched")
        status, media_type, disposition, content = export(api, job, format="excel")

        assert (status, media_type) == (200, "application/vnd.openxmlformats-officedocument.spreadsheetml.sheet")
        assert disposition.endswith('.xlsx"')
        header, first, _second = openpyxl.load_workbook(io.BytesIO(content)).active.iter_rows(values_only=True)
        assert header == tuple(COLUMNS)
        assert first[:5] == (made[0].code, str(made[0].product_id), "Lampe 1", FIRST, 0.8)

    def test_more_rows_than_a_sheet_holds_are_refused_not_cut(self, api: Api, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(exports, "EXCEL_MAX_ROWS", 2)
        assert export(api, job_with("matched", "matched")[0], format="excel")[0] == 200
        assert export(api, job_with("matched", "matched", "matched")[0], format="excel")[0] == 422

    def test_text_that_looks_like_a_formula_is_defused_except_in_json(self, api: Api) -> None:
        job, _made = job_with("matched")
        evil = '=HYPERLINK("http://x")'
        Product.objects.update(name=evil)
        MatchResult.objects.update(title="@SUM(1)\x07")

        row = csv_rows(export(api, job)[3])[0]
        assert (row["product_name"], row["amazon_title"]) == ("'" + evil, "'@SUM(1)\x07")
        workbook = openpyxl.load_workbook(io.BytesIO(export(api, job, format="excel")[3]))
        _header, cells = workbook.active.iter_rows()
        assert (cells[2].value, cells[2].data_type, cells[7].value) == ("'" + evil, "s", "'@SUM(1)\ufffd")
        assert json.loads(export(api, job, format="json")[3])[0]["product_name"] == evil

    @pytest.mark.parametrize("format", ["csv", "json", "excel"])
    def test_a_job_without_results(self, api: Api, format: str) -> None:
        job, _made = job_with()
        status, _type, _disposition, content = export(api, job, format=format)
        assert status == 200
        match format:
            case "csv":
                assert content == (",".join(COLUMNS) + "\r\n").encode()
            case "json":
                assert json.loads(content) == []
            case "excel":
                assert openpyxl.load_workbook(io.BytesIO(content)).active.max_row == 1

    @pytest.mark.parametrize("state", ["pending", "processing", "paused", "failed", "cancelled"])
    def test_a_job_that_is_not_completed_needs_partial(self, api: Api, state: str) -> None:
        job, _made = job_with("matched", status=state)
        MatchResult.objects.create(job=job, position=2, code="3760000000099")
        assert export(api, job)[0] == 409
        status, _type, _disposition, content = export(api, job, partial="true")
        assert (status, len(csv_rows(content))) == (200, 1)

    @pytest.mark.parametrize("parameters", [{"format": "xml"}, {"include_unmatched": "perhaps"}, {"partial": "2"}])
    def test_refused_options(self, api: Api, parameters: dict[str, str]) -> None:
        job, _made = job_with("matched")
        assert export(api, job, **parameters)[0] == 422


@pytest.fixture
def amazon(settings: Settings) -> Iterator[Running]:
    items = [
        Item(asin=f"B{number:09}", title=f"Lampe {number}", gtins=(code,)) for number, code in enumerate(EANS, start=1)
    ]
    with running(Catalogue(items), rate=500.0, burst=500) as service:
        settings.AMAZON_SP_API_ENDPOINT = service.url
        settings.AMAZON_LWA_TOKEN_URL = service.token_url
        settings.AMAZON_CLIENT_ID = settings.AMAZON_CLIENT_SECRET = settings.AMAZON_REFRESH_TOKEN = "x"
        yield service


EANS = ("3017620422003", "4006381333931", "5901234123457")


def match(*arguments: str) -> str:
    out = io.StringIO()
    call_command("match_asins", *arguments, stdout=out, stderr=io.StringIO())
    return out.getvalue()


class TestCommand:
    def test_it_matches_one_suppliers_products_and_sums_up(self, amazon: Running) -> None:
        ours, other = Supplier.objects.create(code="ACME"), Supplier.objects.create(code="OTHER")
        Product.objects.create(ean=EANS[0], name="Lampe 1", supplier=ours)
        Product.objects.create(ean="9780201379624", name="Buch", supplier=ours)
        Product.objects.create(ean=EANS[1], name="Lampe 2", supplier=other)

        out = match("--supplier", "acme", "--threshold", "0.9")

        job = Code2AsinJob.objects.get()
        assert out.splitlines()[-1] == (f"Job {job.pk} is completed: 2 codes, 1 matched, 0 ambiguous, 1 unmatched.")
        assert (job.supplier, float(job.confidence_threshold), job.auto_match) == (ours, 0.9, True)
        assert dict(Product.objects.exclude(asin=None).values_list("ean", "asin")) == {EANS[0]: "B000000001"}

    def test_without_auto_match(self, amazon: Running) -> None:
        Product.objects.create(ean=EANS[0], name="Lampe 1")
        assert "0 matched, 1 ambiguous, 0 unmatched" in match("--no-auto-match")
        assert Product.objects.get().asin is None

    def test_a_failed_job_exits_with_2_and_the_reason(self, settings: Settings) -> None:
        settings.AMAZON_CLIENT_ID = settings.AMAZON_CLIENT_SECRET = settings.AMAZON_REFRESH_TOKEN = ""
        Product.objects.create(ean=EANS[0], name="Lampe 1")
        with pytest.raises(CommandError, match="AMAZON_CLIENT_ID") as failure:
            match()
        assert failure.value.returncode == 2
        assert Code2AsinJob.objects.get().status == "failed"

    @pytest.mark.parametrize(
        ("arguments", "message"),
        [
            (("--supplier", "NOBODY"), "no supplier with the code 'NOBODY'"),
            (("--threshold", "85"), "'85' is not a number from 0 to 1"),
            (("--resume", "01a21346-6dbe-7000-8000-86209d961162"), "There is no job"),
        ],
    )
    def test_bad_arguments_create_nothing(self, arguments: tuple[str, ...], message: str) -> None:
        with pytest.raises(CommandError, match=message):
            match(*arguments)
        assert not Code2AsinJob.objects.exists()

    @pytest.mark.django_db(transaction=True)
    def test_ctrl_c_pauses_and_the_job_can_be_resumed(self, amazon: Running) -> None:
        for code in EANS:
            Product.objects.create(ean=code, name="Lampe")
        amazon.set(delay=0.5)

        def press_when_asked() -> None:
            while not amazon.stats().tokens_issued:
                pass
            os.kill(os.getpid(), signal.SIGINT)

        presser = threading.Thread(target=press_when_asked)
        presser.start()
        with pytest.raises(CommandError) as stop:
            match()
        presser.join()

        job = Code2AsinJob.objects.get()
        assert (job.status, stop.value.returncode) == ("paused", 130)
        assert str(stop.value) == f"Paused. Go on with: manage.py match_asins --resume {job.pk}"
        assert "is completed: 3 codes" in match("--resume", str(job.pk))
        assert signal.getsignal(signal.SIGINT) is signal.default_int_handler

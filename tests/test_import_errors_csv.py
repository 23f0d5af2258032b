"""The refused rows as a file: original columns and reasons, safe in a spreadsheet, ready to be imported again."""

import csv
import gzip
import io
import json
import tracemalloc

import pytest
from openpyxl import Workbook

from catalog.models import Product
from imports.models import ImportJob
from imports.refused import refused_rows
from tests.importing import counts, import_file, start
from tests.make import api_client, make_api_key

pytestmark = pytest.mark.django_db

HEADER = ["EAN", "Titre", "Prix", "row_number", "errors"]


def text_of(job: ImportJob) -> str:
    return b"".join(refused_rows(job)).decode("utf-8-sig")


def table_of(job: ImportJob) -> list[list[str]]:
    return list(csv.reader(io.StringIO(text_of(job), newline="")))


def test_it_holds_the_refused_rows_alone_with_every_reason():
    job = import_file(
        "EAN,Titre,Prix\n"
        "3017620422003,Spread,3.50\n"
        "123ABC7890,Mauvais,abc\n"
        '4006381333931,"a, ""b""\nc",-1\n'
        "96385074,,2\n"
    )
    assert table_of(job) == [
        HEADER,
        [
            *("123ABC7890", "Mauvais", "abc", "3"),
            "ean: EAN format invalid (expected 13 digits); price: is not a number",
        ],
        ["4006381333931", 'a, "b"\nc', "'-1", "4", "price: must be between 0 and 999999.99 (read as -1)"],
        ["96385074", "", "2", "5", "name: A new product needs a name: map a column to name and fill it"],
    ]


def test_corrected_it_is_imported_as_if_the_rows_had_been_right():
    content = 'EAN,Titre,Prix\n3017620422003,"=HYPERLINK(""x"")",x\n4006381333931,\'=quoted,x\n96385074,@home,x\n'
    job = import_file(content)
    assert job.failed_rows == 3
    corrected = text_of(job).replace(",x,", ",5,")
    again = import_file(corrected.encode("utf-8-sig"), name="feed-errors.csv")
    assert (again.status, counts(again)) == ("completed", (3, 3, 0, 0, 0))
    straight = import_file(content.replace(",x\n", ",5\n"), supplier="OTHER")
    # the names are what they would have been: nothing but the supplier is new
    assert straight.products_updated == 3
    assert set(Product.objects.values_list("name", flat=True)) == {'=HYPERLINK("x")', "=quoted", "@home"}
    assert import_file(corrected.encode("utf-8-sig"), supplier="OTHER").products_unchanged == 3


def test_rows_with_too_many_cells_lose_nothing():
    job = import_file("EAN,Titre,Prix\n3017620422003,A,1,2,3\n4006381333931,Pen,1\n")
    (_header, row) = table_of(job)
    assert row[:4] == ["3017620422003", "A", "1", "2"]
    assert row[4].endswith("cells beyond the last column: 2 | 3")


def test_columns_of_the_file_keep_their_names():
    job = import_file("EAN,name,errors,row_number\n12,A,1,2\n")
    assert table_of(job)[0] == ["EAN", "name", "errors", "row_number", "row_number_", "errors_"]


def test_a_file_without_a_header_gets_one():
    mapping = {"column_1": "ean", "column_2": "name"}
    job = import_file("12345;Pen\n3017620422003;Spread\n", has_header=False, mapping=mapping)
    assert (job.status, job.failed_rows) == ("completed", 1)
    assert table_of(job) == [
        ["column_1", "column_2", "row_number", "errors"],
        ["12345", "Pen", "1", "ean: EAN format invalid (expected 13 digits), got 5"],
    ]


def xlsx(*rows: list[object]) -> bytes:
    book, out = Workbook(), io.BytesIO()
    for row in rows:
        book.active.append(row)
    book.save(out)
    return out.getvalue()


RECORDS = [{"EAN": "12", "Titre": "Bad", "Prix": "1"}, {"EAN": "3017620422003", "Titre": "Spread", "Prix": "3.5"}]
XML = (
    "<items>"
    + "".join("<item>" + "".join(f"<{k}>{v}</{k}>" for k, v in record.items()) + "</item>" for record in RECORDS)
    + "</items>"
)


@pytest.mark.parametrize(
    ("name", "content", "row"),
    [
        ("feed.tsv", "EAN\tTitre\tPrix\n12\tBad\t1\n3017620422003\tSpread\t3.5\n", "2"),
        ("feed.csv.gz", gzip.compress(b"EAN,Titre,Prix\n12,Bad,1\n3017620422003,Spread,3.5\n"), "2"),
        ("feed.xlsx", xlsx(["EAN", "Titre", "Prix"], ["12", "Bad", "1"], ["3017620422003", "Spread", 3.5]), "2"),
        ("feed.json", json.dumps(RECORDS), "1"),
        ("feed.ndjson", "\n".join(map(json.dumps, RECORDS)), "1"),
        ("feed.xml", XML, "1"),
    ],
    ids=["tsv", "gzip", "xlsx", "json", "ndjson", "xml"],
)
def test_every_kind_of_file_is_imported_and_has_one(name, content, row):
    job = import_file(content, name=name)
    assert (job.status, counts(job)) == ("completed", (2, 1, 0, 0, 1)), job.error_summary
    assert table_of(job) == [
        HEADER,
        ["12", "Bad", "1", row, "ean: EAN format invalid (expected 13 digits), got 2"],
    ]


def test_a_dry_run_has_one_too():
    job = import_file("EAN,Titre,Prix\n12,Bad,1\n", dry_run=True)
    assert (job.status, len(table_of(job))) == ("ready", 2)


def test_without_refused_rows_there_is_a_header_alone():
    assert table_of(start("EAN,Titre,Prix\n3017620422003,Spread,3.5\n")) == [HEADER]


def test_it_is_an_attachment_named_after_the_file():
    job = import_file("EAN,Titre,Prix\n12,Bad,1\n", name="catalogue d'été.csv")
    client = api_client(make_api_key("imports:read"))
    answer = client.get(f"/api/v1/imports/jobs/{job.pk}/errors.csv")
    assert (answer.status_code, answer["Content-Type"]) == (200, "text/csv; charset=utf-8")
    assert answer["Content-Disposition"] == "attachment; filename*=utf-8''catalogue%20d%27%C3%A9t%C3%A9-errors.csv"
    assert b"".join(answer.streaming_content).decode("utf-8-sig") == text_of(job)


def test_a_file_that_cannot_be_read_has_none():
    job = import_file("")
    client = api_client(make_api_key("imports:read"))
    answer = client.get(f"/api/v1/imports/jobs/{job.pk}/errors.csv")
    assert (answer.status_code, answer.json()["errors"][0]["message"]) == (422, "The file is empty")


def test_a_hundred_times_the_rows_do_not_take_more_memory():
    def peak(rows: int) -> int:
        job = import_file("EAN,Titre,Prix\n" + "".join(f"12,{'x' * 200} {i},1\n" for i in range(rows)))
        assert job.failed_rows == rows
        tracemalloc.start()
        size = sum(len(chunk) for chunk in refused_rows(job))
        _now, most = tracemalloc.get_traced_memory()
        tracemalloc.stop()
        assert size > rows * 200
        return most

    small, large = peak(2_000), peak(20_000)
    assert large < small * 2 + 2**20


def test_values_that_have_no_column_are_named():
    """A key that first comes up deep in a JSON file, after the columns are settled."""
    records = [{"EAN": f"{3000000000000 + i:013}", "Titre": f"P{i}"} for i in range(1_500)]
    job = import_file("\n".join(map(json.dumps, [*records, {"EAN": "12", "Couleur": "rouge"}])), name="feed.ndjson")
    assert (job.status, job.failed_rows) == ("completed", 1)
    (_header, row) = table_of(job)
    assert row[:3] == ["12", "", "1501"]
    assert row[3].endswith("; values without a column: Couleur=rouge")

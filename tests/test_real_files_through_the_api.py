"""Real supplier files and hostile ones, uploaded and worked off: exact counts, or a refusal that leaves nothing behind.

The counts follow from the files themselves, read with the standard library, not from what the product makes of them.
"""

import csv
import json
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import pytest
from django.core.files.uploadedfile import SimpleUploadedFile
from django.db import transaction
from rest_framework.test import APIClient

from catalog.models import Brand, Category, Product, ProductRevision
from imports.models import ImportJob, ImportLog
from imports.pipeline import Pipeline
from pim.jobs import runner
from pim.tabular import TableError, open_table
from tests.make import api_client, make_api_key
from tests.shared_data import shared_data

pytestmark = pytest.mark.django_db

JOBS = "/api/v1/imports/jobs"


@pytest.fixture
def client() -> APIClient:
    return api_client(make_api_key("imports:read", "imports:write"))


def upload(client: APIClient, path: Path, *, name: str = "", **form: Any) -> tuple[int, dict[str, Any]]:
    """Upload the file and work the job off. Returns the status of the upload and the job at its end, or the refusal."""
    return upload_content(client, path.read_bytes(), name=name or path.name, **form)


def upload_content(client: APIClient, content: bytes, *, name: str, **form: Any) -> tuple[int, dict[str, Any]]:
    file = SimpleUploadedFile(name, content)
    texts = {key: json.dumps(value) if isinstance(value, dict) else value for key, value in form.items()}
    answer = client.post(JOBS, {"file": file, "supplier_code": "REAL"} | texts, format="multipart")
    if answer.status_code != 201:
        return answer.status_code, answer.json()
    job_id = answer.json()["id"]
    with Pipeline() as pipeline:
        runner.run_slice(ImportJob, job_id, pipeline.step)
    return 201, client.get(f"{JOBS}/{job_id}").json()


@dataclass(frozen=True)
class Feed:
    """A supplier's file and what an import into an empty catalogue makes of it.

    refused: rows by the message of their error, up to its first variable part. unchanged: rows that a later one of
    the same EAN supersedes. codes: by length, how many codes are taken and how many of them have a wrong check digit.
    """

    file: str
    rows: int
    created: int
    refused: dict[str, int] = field(default_factory=dict)
    unchanged: int = 0
    warnings: int = 0
    codes: dict[str, tuple[int, int]] = field(default_factory=dict)
    detected: dict[str, Any] = field(default_factory=dict)
    form: dict[str, Any] = field(default_factory=dict)


INVALID = "EAN format invalid (expected 13 digits)"
MISSING = "EAN is missing"
MANGLED = f"{INVALID}: a spreadsheet has rounded this code to scientific notation"

FEEDS = [
    # 6,384 codes of 13 digits (53 wrong), 372 of 8 (37 wrong), 3 of 12 (all wrong), one of 14 that begins with a zero;
    # the other 14 have 6, 7, 14 or 15 digits
    Feed(
        "off_fr_utf16le_semicolon.csv",
        rows=6774,
        created=6760,
        refused={INVALID: 14},
        warnings=93,
        codes={"8": (372, 37), "13": (6388, 56)},
        detected={"encoding": "utf-16-le", "delimiter": ";", "header": True},
    ),
    Feed(
        "bdpm_cip13_latin1_noheader.tsv",
        rows=10042,
        created=10042,
        codes={"13": (10042, 0)},
        detected={"encoding": "iso8859-1", "delimiter": "\t", "header": False},
        form={
            "mapping": {"column_7": "ean", "column_3": "name", "column_10": "price"},
            "encoding": "latin-1",
            "delimiter": "\t",
            "header": "false",
        },
    ),
    # one of 12 digits and 6 of 13 have a wrong check digit
    Feed(
        "supplier_guenzburger_2424rows_407cols.xlsx",
        rows=2424,
        created=2424,
        warnings=7,
        codes={"13": (2424, 7)},
        detected={"format": "xlsx"},
    ),
    Feed(
        "bmecat12_kstools_doctype_internal_subset.xml",
        rows=1,
        created=1,
        codes={"13": (1, 0)},
        detected={"record_path": "BMECAT/T_NEW_CATALOG/ARTICLE"},
    ),
    Feed(
        "bmecat2005_weidmueller_1351590000.xml",
        rows=1,
        created=1,
        codes={"13": (1, 0)},
        detected={"record_path": "BMECAT/T_NEW_CATALOG/PRODUCT"},
    ),
    Feed(
        "bmecat2005_weidmueller_8965490000.xml",
        rows=1,
        created=1,
        codes={"13": (1, 0)},
        form={"mapping": {"PRODUCT_DETAILS/EAN": "ean", "PRODUCT_DETAILS/DESCRIPTION_SHORT[deu]": "name"}},
    ),
    # of the 1,243 GTINs six stand twice and one four times
    Feed(
        "importpc_google_shopping_rss.xml",
        rows=1255,
        created=1234,
        refused={MISSING: 12},
        unchanged=9,
        warnings=9,
        codes={"13": (1243, 0)},
        detected={"record_path": "rss/channel/item"},
        form={"record_path": "rss/channel/item"},
    ),
    # of the five codes that are not mangled four lack zeros that the check digit proves; the fifth has 9 digits
    Feed(
        "goodbooks10k_mangled_isbn13.csv",
        rows=10000,
        created=4,
        refused={MANGLED: 9410, MISSING: 585, INVALID: 1},
        warnings=4,
        codes={"13": (4, 0)},
        form={"mapping": {"isbn13": "ean", "title": "name"}},
    ),
    Feed(
        "icecat_product_8806088281285_fr.xml",
        rows=1,
        created=1,
        codes={"13": (1, 0)},
        form={"mapping": {"EANCode/@EAN": "ean", "@Title": "name"}, "record_path": "ICECAT-interface/Product"},
    ),
    Feed(
        "icecat_product_8806088281285_en.xml",
        rows=1,
        created=1,
        codes={"13": (1, 0)},
        form={"mapping": {"EANCode/@EAN": "ean", "@Title": "name"}},
    ),
    # numbers that are no EANs: six of 8 digits, none of which has a right check digit, and four of 9
    Feed(
        "open_icecat_smartphones.ndjson",
        rows=10,
        created=6,
        refused={INVALID: 4},
        warnings=6,
        codes={"8": (6, 6)},
        form={"mapping": {"id": "ean", "title": "name"}},
    ),
    Feed(
        "magento2_configurable_products.csv",
        rows=1994,
        created=0,
        refused={INVALID: 1994},
        form={"mapping": {"sku": "ean", "name": "name"}},
    ),
    Feed("shopify_products_packt.csv", rows=21, created=0, refused={MISSING: 21}),
    Feed("prestashop14_products_import.csv", rows=2, created=0, refused={MISSING: 2}, detected={"delimiter": ";"}),
]


def test_every_file_of_the_catalogue_is_here() -> None:
    assert {feed.file for feed in FEEDS} == {path.name for path in shared_data("data", "catalog").iterdir()}


@pytest.mark.parametrize("feed", FEEDS, ids=lambda feed: feed.file)
def test_a_supplier_file_imports_with_exact_counts(client: APIClient, feed: Feed) -> None:
    code, job = upload(client, shared_data("data", "catalog", feed.file), **feed.form)
    assert (code, job["status"]) == (201, "completed"), job
    refused = sum(feed.refused.values())
    expected = {
        "total_rows": feed.rows,
        "processed_rows": feed.rows,
        "successful_rows": feed.rows - refused,
        "failed_rows": refused,
        "products_created": feed.created,
        "products_updated": 0,
        "products_unchanged": feed.unchanged,
        "warnings": feed.warnings,
    }
    assert {name: job[name] for name in expected} == expected
    assert {size: (found["rows"], found["wrong"]) for size, found in job["check_digits"].items()} == feed.codes
    assert {name: job["detected"][name] for name in feed.detected} == feed.detected
    assert refusals(job["id"], feed.refused) == feed.refused
    assert job["error_summary"] == (f"{refused} rows failed EAN validation" if refused else None)
    assert Product.objects.count() == feed.created
    assert ImportLog.objects.filter(job=job["id"], level="warning", row_number__isnull=False).count() == feed.warnings


def refusals(job_id: str, messages: dict[str, int]) -> dict[str, int]:
    """Error lines by the longest of the messages that they begin with; others stand for themselves."""
    lines = ImportLog.objects.filter(job_id=job_id, level="error").values_list("message", flat=True)
    starts = sorted(messages, key=len, reverse=True)
    return Counter(next((start for start in starts if line.startswith(start)), line) for line in lines)


@pytest.mark.parametrize(
    "name", ["bdpm_cip13_latin1_noheader.tsv", "magento2_configurable_products.csv", "open_icecat_smartphones.ndjson"]
)
def test_a_file_whose_code_column_has_no_telling_name_asks_for_a_mapping(client: APIClient, name: str) -> None:
    code, job = upload(client, shared_data("data", "catalog", name))
    assert (code, job["status"]) == (201, "failed")
    assert job["error_summary"].startswith("No column holds the EAN. Columns found: ")
    assert_nothing_written(job)


def open_food_facts(path: Path) -> dict[str, tuple[str, ...]]:
    with path.open(encoding="utf-16", newline="") as file:
        rows = list(csv.DictReader(file, delimiter=";"))
    return {row["code"]: (row["product_name"].strip(),) for row in rows if len(row["code"]) in (8, 13)}


def medicines(path: Path) -> dict[str, tuple[str, ...]]:
    with path.open(encoding="latin-1", newline="") as file:
        rows = list(csv.reader(file, delimiter="\t"))
    # of several commas the last one is the decimal mark
    prices = {row[6]: ".".join(row[9].rsplit(",", 1)).replace(",", "") for row in rows}
    return {row[6]: (row[2].strip(), prices[row[6]] or "None") for row in rows}


def shopping_feed(path: Path) -> dict[str, tuple[str, ...]]:
    items = ElementTree.parse(path).getroot().iterfind("channel/item")
    google = "{http://base.google.com/ns/1.0}"
    texts = ({name: item.findtext(google + name, "").strip() for name in ("gtin", "title", "price")} for item in items)
    return {  # the last item of an EAN wins
        text["gtin"]: (text["title"], f"{float(text['price'].removesuffix(' CZK')):.2f}")
        for text in texts
        if text["gtin"]
    }


@pytest.mark.parametrize(
    ("name", "parse", "fields"),
    [
        ("off_fr_utf16le_semicolon.csv", open_food_facts, ("name",)),
        ("bdpm_cip13_latin1_noheader.tsv", medicines, ("name", "price")),
        ("importpc_google_shopping_rss.xml", shopping_feed, ("name", "price")),
    ],
    ids=["open_food_facts", "medicines", "shopping_feed"],
)
def test_texts_and_prices_arrive_as_they_stand_in_the_file(
    client: APIClient, name: str, parse: Callable[[Path], dict[str, tuple[str, ...]]], fields: tuple[str, ...]
) -> None:
    (feed,) = (feed for feed in FEEDS if feed.file == name)
    path = shared_data("data", "catalog", name)
    upload(client, path, **feed.form)
    stored = {ean: tuple(map(str, values)) for ean, *values in Product.objects.values_list("ean", *fields)}
    expected = parse(path)
    assert len(expected) > 1000
    assert {ean: (text, stored.get(ean)) for ean, text in expected.items() if stored.get(ean) != text} == {}


@contextmanager
def by_itself(path: Path) -> Iterator[None]:
    """A catalogue as before for each file; what goes wrong names the file."""
    try:
        with transaction.atomic():
            yield
            transaction.set_rollback(True)
    except BaseException as error:
        error.add_note(f"while importing {path.parent.name}/{path.name}")
        raise


def assert_nothing_written(job: dict[str, Any]) -> None:
    counters = ("processed_rows", "successful_rows", "failed_rows", "products_created", "products_updated", "warnings")
    assert {name: job[name] for name in counters} == dict.fromkeys(counters, 0)
    for model in (Product, ProductRevision, Brand, Category):
        assert not model.objects.exists(), model
    assert not ImportLog.objects.filter(job=job["id"], row_number__isnull=False).exists()


def assert_sound_end(code: int, told: dict[str, Any]) -> str:
    """That the upload was refused in the API's words or its job has ended with accounts that add up. Returns which."""
    if code != 201:
        assert 400 <= code < 500
        assert told.keys() == {"detail", "code", "errors", "request_id"}
        assert told["detail"]
        assert not ImportJob.objects.exists()
        return "not accepted"
    if told["status"] == "failed":
        assert told["error_summary"]
        assert_nothing_written(told)
        return "failed"
    assert told["status"] == "completed", told
    assert told["successful_rows"] + told["failed_rows"] == told["total_rows"] == told["processed_rows"] > 0
    assert told["products_created"] + told["products_unchanged"] == told["successful_rows"]
    assert told["products_created"] == Product.objects.count()
    refused = ImportLog.objects.filter(job=told["id"], level="error").values("row_number").distinct()
    assert refused.count() == told["failed_rows"]
    assert bool(told["error_summary"]) == bool(told["failed_rows"])
    return "completed"


def first_columns(path: Path) -> dict[str, str]:
    """A mapping that lets the rows of any file be tried: its first column as the EAN, the next one as the name."""
    with suppress(TableError), open_table(path) as table:
        return dict(zip(table.columns, ("ean", "name"), strict=False))
    return {}


REFUSED_JSON = {
    "n_": ("The file is not valid JSON: ", "The file is not well-formed XML: ", "The file is empty"),
    "y_": ("The JSON file is not a list of objects, ",),
}


def torture(*folder: str) -> list[Path]:
    return [path for path in sorted(shared_data("data", "torture", *folder).rglob("*")) if path.is_file()]


@pytest.mark.parametrize(
    ("folder", "as_it_is", "with_a_mapping"),
    [
        ("csv", {"failed": 78, "not accepted": 1}, {"completed": 55, "failed": 5}),
        ("xlsx", {"completed": 5, "failed": 52}, {"completed": 34, "failed": 5}),
        ("xml", {"failed": 49, "not accepted": 1}, {"completed": 1}),
        ("json", {"failed": 148, "not accepted": 1}, {"completed": 3}),
    ],
    ids=["csv", "xlsx", "xml", "json"],
)
def test_hostile_files_end_in_a_clear_outcome(
    client: APIClient, folder: str, as_it_is: dict[str, int], with_a_mapping: dict[str, int]
) -> None:
    """Each file as it is, then, where its columns can be read at all, with a mapping that lets its rows be tried.

    As they are, most fail for want of an EAN column; an empty file is not accepted.
    """
    plain: Counter[str] = Counter()
    mapped: Counter[str] = Counter()
    for path in torture(folder):
        # pieces of XML documents have endings that are refused by name, see below
        name = f"{path.name}.xml" if path.suffix in (".ent", ".dtd") else path.name
        with by_itself(path):
            plain[assert_sound_end(*upload(client, path, name=name))] += 1
        if mapping := first_columns(path):
            with by_itself(path):
                end = assert_sound_end(*upload(client, path, name=name, mapping=mapping, defaults={"name": "unnamed"}))
                mapped[end] += 1
    assert (plain, mapped) == (as_it_is, with_a_mapping)


def test_pieces_of_xml_documents_are_refused_by_name(client: APIClient) -> None:
    pieces = [path for path in torture("xml") if path.suffix in (".ent", ".dtd")]
    assert len(pieces) == 17
    for path in pieces:
        with by_itself(path):
            code, told = upload(client, path)
            assert code == 415
            assert_sound_end(code, told)


def test_what_is_not_json_never_imports_and_what_is_json_is_never_called_malformed(client: APIClient) -> None:
    ends: Counter[tuple[str, str]] = Counter()
    for path in torture("json", "JSONTestSuite"):
        kind = path.name[:2]
        with by_itself(path):
            code, told = upload(client, path, mapping=first_columns(path), defaults={"name": "unnamed"})
            end = assert_sound_end(code, told)
            ends[kind, end] += 1
            if end == "failed" and kind != "i_":
                assert told["error_summary"].startswith(REFUSED_JSON[kind])
    # the three are objects with one or two members; a list of numbers, say, is JSON but holds no rows
    assert ends == {
        ("y_", "completed"): 3,
        ("y_", "failed"): 37,
        ("n_", "failed"): 91,
        ("n_", "not accepted"): 1,
        ("i_", "failed"): 17,
    }


def test_json_of_the_suite_within_a_record(client: APIClient) -> None:
    """Each document as the value of a field: what is JSON imports its record, what is not refuses the file."""
    ends: Counter[tuple[str, str]] = Counter()
    for path in torture("json", "JSONTestSuite"):
        kind = path.name[:2]
        if kind != "i_":
            record = b'[{"ean": "3017620422003", "name": "Spread", "inner": %s}]' % path.read_bytes()
            with by_itself(path):
                code, told = upload_content(client, record, name="record.json")
                end = assert_sound_end(code, told)
                ends[kind, end] += 1
                assert end != "failed" or told["error_summary"].startswith("The file is not valid JSON: ")
                assert list(Product.objects.values_list("ean", "name")) == [("3017620422003", "Spread")] * (
                    kind == "y_"
                )
    assert ends == {("y_", "completed"): 40, ("n_", "failed"): 92}

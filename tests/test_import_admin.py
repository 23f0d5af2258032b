"""Imports in the back office: options of the form, differences of a dry run, refused rows, undo."""

import pytest
from django.contrib.admin.models import LogEntry
from django.contrib.auth.models import Permission, User
from django.core.files.uploadedfile import SimpleUploadedFile

from catalog.models import Product
from imports import lifecycle
from imports.models import ImportJob, ImportUndo, RowDifference, SupplierMapping
from tests.back_office import IMPORTS, SCRIPT, client_of, page, post, superuser
from tests.importing import import_file, take_back

pytestmark = pytest.mark.django_db

FEED = "ean;name;price\n3017620422003;Spread;1\n4006381333931;Pen;x\n"


@pytest.fixture
def staff():
    return superuser()


def upload(staff, **fields):
    data = {"file": SimpleUploadedFile("feed.csv", FEED.encode()), "supplier_code": "ACME", "ean_check": "warn"}
    return staff.post(f"{IMPORTS}add/", data | fields)


def test_every_option_of_the_form_reaches_the_job(staff):
    options = {"sheet": "Tarif", "record_path": "rss/item", "decimal_mark": ",", "empty_cells": "clear"}
    more = {"missing": "archive", "max_missing_percent": "5"}
    upload(
        staff,
        **options,
        **more,
        mapping="ean = ean\nname = name",
        constants="brand = Acme = Co\n",
        defaults="unit_of_measure = pc",
        save_mapping="on",
    )
    job = ImportJob.objects.get()
    assert {name: getattr(job, name) for name in options} == options
    assert (job.missing, job.max_missing_percent) == ("archive", 5)
    assert (job.constants, job.defaults) == ({"brand_name": "Acme = Co"}, {"unit_of_measure": "pc"})
    assert SupplierMapping.objects.get().mapping == {"ean": "ean", "name": "name"}
    upload(staff)
    assert ImportJob.objects.latest("created_at").mapping == {"ean": "ean", "name": "name"}


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"constants": "brand"}, "Line 1 is not of the form: field = value."),
        ({"constants": "brand = A\nean = 1"}, "Line 2: there is no field “ean”."),
        ({"defaults": "colour = red"}, "Line 1: there is no field “colour”."),
        ({"missing": "delete"}, "Select a valid choice. delete is not one of the available choices."),
        ({"max_missing_percent": "101"}, "Ensure this value is less than or equal to 100."),
    ],
)
def test_a_bad_option_is_refused(staff, fields, message):
    (field,) = fields
    assert upload(staff, **fields).context["adminform"].form.errors[field] == [message]
    assert not ImportJob.objects.exists()


def test_a_dry_run_shows_its_differences(staff, monkeypatch):
    monkeypatch.setattr("imports.admin.DIFFERENCES_PER_PAGE", 1)
    import_file("ean;name\n3017620422003;Old name\n")
    job = import_file(f"ean;name\n3017620422003;{SCRIPT}\n4006381333931;Pen\n", dry_run=True)
    address = f"{IMPORTS}{job.pk}/change/?tab=diff"
    first = page(staff, address)
    assert "name: Old name → &lt;script&gt;" in first
    assert "4006381333931" not in first
    assert "4006381333931" in page(staff, f"{address}&after={RowDifference.objects.earliest('id').pk}")
    assert "Old name" not in page(staff, f"{address}&change=created")
    assert "No row of this kind." in page(staff, f"{address}&change=refused")
    assert staff.get(f"{address}&change=odd").status_code == 404
    lifecycle.control(job, "confirm")
    assert "Differences" not in page(staff, f"{IMPORTS}{job.pk}/change/")


def test_refused_rows_can_be_fetched_from_the_page(staff):
    job = import_file(FEED)
    address = f"/api/v1/imports/jobs/{job.pk}/errors.csv"
    assert address in page(staff, f"{IMPORTS}{job.pk}/change/")
    assert b"Pen" in b"".join(staff.get(address).streaming_content)
    faultless = import_file("ean;name\n96385074;Cup\n")
    assert "errors.csv" not in page(staff, f"{IMPORTS}{faultless.pk}/change/")


def test_an_undo_is_asked_for_on_the_page_and_seen_there(staff):
    job = import_file(FEED)
    address = f"{IMPORTS}{job.pk}/change/"
    assert f"{IMPORTS}{job.pk}/undo/" in page(staff, address)
    assert post(staff, f"{IMPORTS}{job.pk}/undo/") == ["The import is being taken back."]
    running = page(staff, address)
    assert ("data-running" in running, f"{job.pk}/undo/" in running) == (True, False)
    take_back(job)
    tiles = {tile.label: tile.value for tile in staff.get(address).context["tiles"]}
    assert (tiles["Undone"], tiles["Left alone"]) == ("1", "0")
    assert "data-running" not in page(staff, address)
    assert not Product.objects.live().exists()
    assert [entry.change_message for entry in LogEntry.objects.all()] == ["Undo the import"]


def test_only_finished_imports_offer_it(staff):
    job = import_file(FEED, dry_run=True)
    assert "/undo/" not in page(staff, f"{IMPORTS}{job.pk}/change/")
    assert post(staff, f"{IMPORTS}{job.pk}/undo/") == ["Undo is not possible: the job is ready. Nothing was changed."]
    assert staff.get(f"{IMPORTS}{job.pk}/undo/").status_code == 405
    assert not ImportUndo.objects.exists()


def test_who_may_only_look_cannot_undo():
    job = import_file(FEED)
    viewer = User.objects.create_user("viewer", is_staff=True)
    viewer.user_permissions.add(Permission.objects.get(codename="view_importjob"))
    client = client_of(viewer)
    assert "/undo/" not in page(client, f"{IMPORTS}{job.pk}/change/")
    assert client.post(f"{IMPORTS}{job.pk}/undo/").status_code == 403
    assert not ImportUndo.objects.exists()


def test_a_cancelled_import_that_was_undone_offers_no_retry(staff):
    job = import_file(FEED, dry_run=True)
    lifecycle.control(job, "cancel")
    assert "move/retry/" in page(staff, f"{IMPORTS}{job.pk}/change/")
    take_back(job)
    assert "move/retry/" not in page(staff, f"{IMPORTS}{job.pk}/change/")

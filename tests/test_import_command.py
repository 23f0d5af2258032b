"""`manage.py import_file`: options, summary and exit status."""

import pytest
from django.core.management import CommandError, call_command

from catalog.models import Product
from imports.models import ImportJob

pytestmark = pytest.mark.django_db


@pytest.fixture
def feed(tmp_path):
    path = tmp_path / "feed.csv"
    path.write_text("Code;Nom;Tarif\n3017620422003;Spread;1.213\n4006381333932;Pen;\n")
    return path


def test_it_imports_and_tells_what_became_of_the_rows(feed, capsys):
    call_command("import_file", str(feed), supplier="ACME", mapping={"Code": "ean", "Nom": "name"})
    out = capsys.readouterr().out
    assert "2 rows: created 2, updated 0, unchanged 0, refused 0; warnings 1" in out
    assert "13-digit codes: 1 of 2 have a wrong check digit (50.0%)" in out
    assert Product.objects.count() == 2


def test_a_refused_row_is_shown_and_makes_the_exit_status_1(feed, capsys):
    with pytest.raises(SystemExit) as stopped:
        call_command("import_file", str(feed), supplier="ACME", ean_check="reject")
    assert stopped.value.code == 1
    out = capsys.readouterr().out
    assert "row 2, price: ambiguous" in out
    assert "row 3, ean: EAN check digit is wrong" in out


def test_every_option_reaches_the_job(feed, capsys):
    call_command(
        *("import_file", str(feed), "--supplier=ACME", "--dry-run", "--decimal-mark=,", "--empty-cells=clear"),
        *("--missing=archive", "--max-missing-percent=7", '--constants={"brand_name": "Acme"}', "--save-mapping"),
        *('--defaults={"price": "5"}', "--delimiter=;", "--encoding=utf-8", "--sheet=S", "--record-path=a/b"),
    )
    job = ImportJob.objects.latest("created_at")
    assert (job.status, job.decimal_mark, job.empty_cells, job.missing) == ("ready", ",", "clear", "archive")
    assert (job.max_missing_percent, job.constants, job.defaults) == (7, {"brand_name": "Acme"}, {"price": "5"})
    assert (job.sheet, job.record_path, job.delimiter, job.encoding) == ("S", "a/b", ";", "utf-8")
    assert "missing from the file: would be archived 0 products" in capsys.readouterr().out


def test_a_failed_job_makes_the_exit_status_2(tmp_path):
    path = tmp_path / "feed.csv"
    path.write_text("colour\nred\n")
    with pytest.raises(CommandError, match="The import failed: No column holds the EAN") as failed:
        call_command("import_file", str(path), supplier="ACME")
    assert failed.value.returncode == 2


def test_a_file_of_another_kind_is_refused(tmp_path):
    path = tmp_path / "feed.pdf"
    path.write_bytes(b"%PDF")
    with pytest.raises(CommandError, match="must end in"):
        call_command("import_file", str(path), supplier="ACME")
    assert not ImportJob.objects.exists()

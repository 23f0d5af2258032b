"""Files that cannot be resumed at a byte are parsed once; their rows are then read from anywhere."""

import json
from pathlib import Path
from typing import Any

import pytest
from django.core.files.storage import default_storage

from catalog.models import Product
from imports import lifecycle
from imports.models import ImportJob, ImportLog
from imports.pipeline import Pipeline
from imports.source import open_source
from imports.staging import Stage, StagedTable
from pim.jobs import runner
from pim.tabular import FlawedRow, UnreadableRow, open_table
from tests.importing import counts, import_file, problems, start, work

ROWS = [{"ean": f"{3000000000000 + i:013}", "name": f"Größe {i}\n\u2028"} for i in range(9)]


def directory(job: ImportJob) -> list[str]:
    return sorted(path.name for path in Path(default_storage.path(f"imports/{job.pk}")).iterdir())


def test_every_kind_of_row_comes_back_as_it_was(tmp_path):
    path = tmp_path / "feed.csv"
    path.write_text("ean,name\n1,a\n")
    flawed = FlawedRow(["1", "x"], unreadable={1: "no"}, unknown={"colour": "red"})
    with open_table(path) as table, Stage(table) as stage:
        for number, cells in ((2, ["1", 'a "ü"\n\ud800']), (3, UnreadableRow("broken")), (5, flawed)):
            stage.add(number, cells)
        name = stage.save(default_storage, "imports/test/rows.jsonl")
    with default_storage.open(name) as file:
        staged = StagedTable(file)
        (first, second, third) = staged
        assert (staged.columns, staged.detected) == (table.columns, table.detected)
        assert first == (2, ["1", 'a "ü"\n\ud800'])
        assert (second[0], type(second[1]), second[1].reason) == (3, UnreadableRow, "broken")
        assert (third, type(third[1]), third[1].unreadable, third[1].unknown) == (
            *((5, ["1", "x"]), FlawedRow),
            *({1: "no"}, {"colour": "red"}),
        )
        assert list(StagedTable(file, resume=staged.position)) == []
    default_storage.delete(name)


@pytest.mark.django_db(transaction=True)
def test_a_json_file_is_parsed_once_and_goes_on_where_it_was(monkeypatch):
    opened = []
    monkeypatch.setattr(
        "imports.source.open_table", lambda *args, **options: opened.append(1) or open_table(*args, **options)
    )
    monkeypatch.setattr(ImportJob, "default_batch_size", 2)
    content = json.dumps([*ROWS, {"ean": "12", "name": "bad"}, {**ROWS[0], "name": "again"}])
    job = start(content, name="feed.json")
    while job.status in job.claimable:
        with Pipeline() as pipeline:  # each slice one step: as many times opened as there are batches
            runner.run_slice(ImportJob, job.pk, pipeline.step, should_stop=lambda: True)
        job.refresh_from_db()
        if job.status == "processing":
            assert directory(job) == ["rows-1.jsonl", "source.json"]
    assert (job.status, counts(job), len(opened)) == ("completed", (11, 9, 0, 1, 1), 1)
    assert problems(job) == [(10, "ean", "12")]
    assert (job.staged, directory(job)) == ("", ["source.json"])
    assert set(Product.objects.values_list("name", flat=True)) == {"again", *(f"Größe {i}" for i in range(1, 9))}


@pytest.mark.django_db(transaction=True)
def test_an_analysis_that_fails_or_is_disturbed_leaves_nothing(monkeypatch):
    job = import_file("{}", name="feed.json")
    assert (job.status, directory(job)) == ("failed", ["source.json"])
    import_file(json.dumps(ROWS), name="feed.json")
    job = import_file(json.dumps(ROWS[:1]), name="feed.json", missing="archive")
    assert ("leaves out 8" in job.error_summary, directory(job)) == (True, ["source.json"])
    job = start(json.dumps(ROWS), name="feed.json")
    save = Stage.save

    def cancelled(self: Stage, *args: Any) -> str:
        lifecycle.control(ImportJob.objects.get(pk=job.pk), "cancel")
        return save(self, *args)

    monkeypatch.setattr(Stage, "save", cancelled)
    work(job)
    assert (job.status, job.total_rows, directory(job)) == ("cancelled", None, ["source.json"])
    assert not ImportLog.objects.filter(job=job).exists()


@pytest.mark.django_db(transaction=True)
def test_other_options_read_the_file_itself_again():
    nested = json.dumps({"a": ROWS[:1], "b": ROWS[:3]})
    job = import_file(nested, name="feed.json", record_path="a", dry_run=True)
    assert (job.status, job.total_rows) == ("ready", 1)
    lifecycle.change_options(job, record_path="b")
    assert directory(job) == ["source.json"]
    work(job)
    assert (job.status, job.total_rows, directory(job)) == ("ready", 3, ["rows-2.jsonl", "source.json"])
    with open_source(job) as source:
        assert isinstance(source.table, StagedTable)

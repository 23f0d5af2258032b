"""The memory of an import is the same whatever the number of its rows."""

import subprocess
import sys
from pathlib import Path

import pytest
from django.core.files import File

from catalog.models import Product, ProductRevision
from imports import lifecycle
from imports.models import ImportJob, ImportLog
from pim.jobs.states import Status
from tests.feed import write_feed
from tests.processes import ROOT, environment


def start(path: Path) -> ImportJob:
    with path.open("rb") as file:
        return lifecycle.create_import(
            file=File(file, name=path.name), file_name=path.name, supplier_code="ACME", created_by="test"
        )


@pytest.mark.django_db(transaction=True)
def test_the_memory_of_an_import_does_not_grow_with_its_rows(tmp_path):
    """Peak memory (MB) of a process that imports 5,000 and then 60,000 rows."""

    def peak(rows: int) -> float:
        feed = tmp_path / f"{rows}.csv"
        write_feed(feed, rows)
        job = start(feed)
        script = (
            "import django; django.setup()\n"
            "from imports.models import ImportJob; from imports.pipeline import Pipeline; from pim.jobs import runner\n"
            f"job = ImportJob.objects.get(pk='{job.pk}')\n"
            "while job.status in ImportJob.claimable:\n"
            "    with Pipeline() as pipeline: runner.run_slice(ImportJob, job.pk, pipeline.step)\n"
            "    job.refresh_from_db()\n"
            # not ru_maxrss, which a child inherits from its parent
            "print(next(line.split()[1] for line in open('/proc/self/status') if line.startswith('VmHWM')))\n"
        )
        run = subprocess.run(
            [sys.executable, "-c", script], cwd=ROOT, env=environment(), capture_output=True, text=True, check=False
        )
        assert run.returncode == 0, run.stderr
        job.refresh_from_db()
        assert (job.status, job.total_rows) == (Status.COMPLETED, rows)
        return int(run.stdout) / 1024

    small, large = peak(5_000), peak(60_000)
    assert large < 150
    assert large - small < 30
    assert ImportLog.objects.exists()
    assert Product.objects.count() == ProductRevision.objects.filter(action="created").count()

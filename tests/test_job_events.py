"""A job that ends is told once, in the transaction that ends it."""

import io

import pytest
from django.core.files import File

from imports import lifecycle
from imports.models import ImportJob
from imports.pipeline import Pipeline
from pim.jobs import runner
from pim.webhooks import signing
from pim.webhooks.models import WebhookDelivery, WebhookEndpoint

GOOD, BAD = b"ean;name\n4006381333931;x\n", b"name\nfoo\n"


@pytest.mark.django_db(transaction=True)
@pytest.mark.parametrize(
    ("content", "cancelled", "event"),
    [(GOOD, False, "import.completed"), (BAD, False, "import.failed"), (GOOD, True, "import.cancelled")],
)
def test_the_end_of_an_import_is_told_once(content, cancelled, event):
    WebhookEndpoint.objects.create(url="https://203.0.113.9/", secret=signing.new_secret())
    file = File(io.BytesIO(content), name="a.csv")
    job = lifecycle.create_import(file=file, file_name="a.csv", supplier_code="A", created_by="test")
    if cancelled:
        lifecycle.control(job, "cancel")
        lifecycle.control(job, "cancel")
    for _ in range(6):
        with Pipeline() as pipeline:
            runner.run_slice(ImportJob, job.pk, pipeline.step)
    job.refresh_from_db()
    delivery = WebhookDelivery.objects.get()
    assert delivery.event == event
    told = delivery.payload["data"]["job"]
    assert (told["id"], told["status"], told["products_created"]) == (str(job.pk), job.status, job.products_created)


@pytest.mark.django_db(transaction=True)
def test_the_callback_address_of_a_job_is_told_too():
    file = File(io.BytesIO(GOOD), name="a.csv")
    job = lifecycle.create_import(
        file=file, file_name="a.csv", supplier_code="A", created_by="test", callback_url="https://203.0.113.9/done"
    )
    while not ImportJob.objects.filter(pk=job.pk, status="completed").exists():
        with Pipeline() as pipeline:
            runner.run_slice(ImportJob, job.pk, pipeline.step)
    delivery = WebhookDelivery.objects.get()
    assert (delivery.callback_url, delivery.endpoint_id, delivery.event) == (
        "https://203.0.113.9/done",
        None,
        "import.completed",
    )

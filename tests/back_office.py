"""What the tests of the back office share: signed-in clients, pages, and what a browser would post."""

import io
from typing import Any

from django.contrib.auth.models import Group, User
from django.test import Client

from imports import lifecycle
from imports.models import ImportJob
from imports.pipeline import Pipeline
from pim.jobs import runner

PRODUCTS = "/admin/catalog/product/"
IMPORTS = "/admin/imports/importjob/"
JOBS = "/admin/code2asin/code2asinjob/"
REVIEW = "/admin/code2asin/review/"
KEYS = "/admin/apikeys/apikey/"
SCRIPT = "<script>alert('x')</script>"


def superuser() -> Client:
    return client_of(User.objects.create_superuser("alice", password="a"))


def client_of(user: User) -> Client:
    client = Client()
    client.force_login(user)
    return client


def reviewer(name: str = "claire") -> Client:
    user = User.objects.create_user(name, is_staff=True)
    user.groups.add(Group.objects.get(name="ASIN reviewer"))
    return client_of(user)


def page(client: Client, path: str) -> str:
    answer = client.get(path)
    assert answer.status_code == 200, (path, answer.status_code)
    return answer.content.decode()


def post(client: Client, path: str, data: Any = None) -> list[str]:
    """Post, follow the redirect, and return the messages shown there."""
    answer = client.post(path, data or {}, follow=True)
    assert answer.status_code == 200, (path, answer.status_code)
    return [str(message) for message in answer.context["messages"]]


def import_of(content: str, **options: Any) -> ImportJob:
    job = lifecycle.create_import(
        file=io.BytesIO(content.encode()), file_name="feed.csv", supplier_code="ACME", created_by="test", **options
    )
    with Pipeline() as pipeline:
        runner.run_slice(ImportJob, job.pk, pipeline.step)
    job.refresh_from_db()
    return job

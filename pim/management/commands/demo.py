"""`manage.py demo`: the main job from nothing, on bundled data and the local stand-in for Amazon."""

import os
import socket
import sys
import time
from pathlib import Path
from typing import Any

import requests
from django.conf import settings
from django.core.management.base import BaseCommand
from django.db import connection
from django.urls import reverse

from code2asin.demo.generate import CATALOGUE_FILE, FEED_FILE, write_demo
from code2asin.models import Code2AsinJob, MatchResult
from imports.models import ImportJob
from pim.apikeys.keys import create_key
from pim.apikeys.models import Scope
from pim.embedded.process import ChildSpec
from pim.embedded.supervisor import Supervisor, print_line
from pim.jobs.states import TERMINAL
from pim.management.commands.up import make_first_admin, migrate, supervisor
from pim.net import http_session

SUPPLIER = "DEMO"
KEY_NAME = "Demo"
JOB_NAME = "Demo: EAN to ASIN"
# The stand-in's quota: ten times Amazon's usual one, so that the demo takes seconds.
STAND_IN_RATE = 20
CREDENTIALS = {
    "AMAZON_CLIENT_ID": "demo-client",
    "AMAZON_CLIENT_SECRET": "demo-secret",
    "AMAZON_REFRESH_TOKEN": "Atzr|demo",
}


class Command(BaseCommand):
    help = "Runs the whole system with demonstration data: imports a supplier's feed, matches its EANs to ASINs."
    requires_system_checks: list[str] = []  # the database may not run yet

    def handle(self, *args: Any, **options: Any) -> None:
        directory = settings.DATA_DIR / "demo"
        stand_in = f"http://127.0.0.1:{stand_in_port(directory)}"
        os.environ |= CREDENTIALS | {
            "AMAZON_SP_API_ENDPOINT": stand_in,
            "AMAZON_LWA_TOKEN_URL": f"{stand_in}/auth/o2/token",
        }
        if not (directory / FEED_FILE).exists():
            write_demo(directory, image_base_url=stand_in)
        self.system = supervisor(prepare=self.prepare, extra=[stand_in_process(stand_in, directory / CATALOGUE_FILE)])
        status = self.system.run(lambda: self.play(self.system, directory / FEED_FILE))
        if status != 0:
            sys.exit(status)

    def prepare(self) -> None:
        migrate()
        self.admin = make_first_admin()
        # The secret of an earlier start cannot be shown again, so each start that still has work to do makes its own.
        self.secret = None if finished() else create_key(name=KEY_NAME, scopes=Scope.values, created_by="demo")[1]
        connection.close()

    def play(self, system: Supervisor, feed: Path) -> None:
        """The main job through the API, as a client would do it; skips what an earlier start has done."""
        if self.secret is not None:
            client = Client(system.address, self.secret)
            if not ImportJob.objects.filter(supplier__code=SUPPLIER).exists():
                client.import_feed(feed)
            if not Code2AsinJob.objects.filter(name=JOB_NAME).exists():
                client.match()
        for line in self.summary(system.address):
            print_line("demo", line)
        connection.close()

    def summary(self, address: str) -> list[str]:
        imported = ImportJob.objects.filter(supplier__code=SUPPLIER).latest("created_at")
        matched = Code2AsinJob.objects.filter(name=JOB_NAME).latest("created_at")
        waiting = MatchResult.objects.filter(status=MatchResult.Status.AMBIGUOUS).count()
        admin = f"{address}{reverse('admin:index')}"
        lines = [
            "=" * 88,
            f"Import {imported.status}: {imported.total_rows} rows, {imported.products_created} products created, "
            f"{imported.failed_rows} rows refused, {imported.warnings} warnings",
            f"Match  {matched.status}: {matched.total_codes} codes, {matched.matched} matched, "
            f"{matched.ambiguous} ambiguous, {matched.unmatched} unmatched",
            "",
            f"Back office   {admin}",
        ]
        if self.admin is not None:
            lines.append(f"  user        {self.admin.username}")
            lines.append(f"  password    {self.admin.password or '(DJANGO_SUPERUSER_PASSWORD)'}   (shown once)")
        lines.append(f"Review queue  {address}{reverse('admin:code2asin_review_changelist')}   ({waiting} waiting)")
        if self.secret is not None:
            lines += [
                f"API key       {self.secret}   (shown once)",
                f'  try         curl -H "X-API-Key: {self.secret}" "{address}/api/v1/products?limit=2"',
            ]
        return [*lines, f"API docs      {address}/api/v1/docs", "Ctrl-C stops everything.", "=" * 88]


class Client:
    """The few calls of the demonstration."""

    def __init__(self, address: str, secret: str) -> None:
        self._base = f"{address}/api/v1"
        self._session = http_session()
        self._session.headers["X-API-Key"] = secret

    def import_feed(self, feed: Path) -> None:
        with feed.open("rb") as file:
            job = self._call("POST", "/imports/jobs", data={"supplier_code": SUPPLIER}, files={"file": file})
        self._watch(f"/imports/jobs/{job['id']}", "importing")

    def match(self) -> None:
        body = {"name": JOB_NAME, "product_filter": {"supplier_code": SUPPLIER}}
        job = self._call("POST", "/code2asin/jobs", json=body)
        self._call("POST", f"/code2asin/jobs/{job['id']}/start")
        self._watch(f"/code2asin/jobs/{job['id']}", "matching")

    def _watch(self, path: str, what: str) -> None:
        shown = None
        while True:
            job = self._call("GET", path)
            if job["progress"] != shown:
                shown = job["progress"]
                print_line("demo", f"{what}: {job['status']} {shown or 0:.0%}")
            if job["status"] in TERMINAL:
                return
            time.sleep(0.5)

    def _call(self, method: str, path: str, **body: Any) -> dict[str, Any]:
        response = self._session.request(method, self._base + path, **body)
        if response.status_code >= 400:
            raise requests.HTTPError(f"{method} {path}: {response.status_code} {response.text[:500]}")
        answer: dict[str, Any] = response.json()
        return answer


def finished() -> bool:
    return (
        ImportJob.objects.filter(supplier__code=SUPPLIER).exists()
        and Code2AsinJob.objects.filter(name=JOB_NAME).exists()
    )


def stand_in_port(directory: Path) -> int:
    """A free port, the same at every start: the feed's image addresses name it."""
    file = directory / "stand_in_port"
    if file.exists():
        return int(file.read_text())
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
    directory.mkdir(parents=True, exist_ok=True)
    file.write_text(str(port))
    return port


def stand_in_process(url: str, catalogue: Path) -> ChildSpec:
    command = [sys.executable, "manage.py", "amazon_stand_in", "--port", url.rsplit(":", 1)[1]]
    options = ["--catalogue", str(catalogue), "--rate", str(STAND_IN_RATE), "--burst", str(STAND_IN_RATE)]
    return ChildSpec(name="amazon", command=command + options, cwd=settings.BASE_DIR)

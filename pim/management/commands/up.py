"""`manage.py up`: the whole system in the foreground."""

import os
import secrets
import signal
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

from django.conf import settings
from django.contrib.auth import get_user_model
from django.core.management import call_command
from django.core.management.base import BaseCommand, CommandError
from django.db import OperationalError, connection
from django.db.migrations.executor import MigrationExecutor

from pim.embedded.postgres import Postgres
from pim.embedded.process import ChildSpec
from pim.embedded.supervisor import NAME, Supervisor, bracketed, print_line
from pim.embedded.valkey import Valkey
from pim.env import env, env_int

WORKER_QUEUES = "celery,imports,code2asin,webhooks"
BEAT_ARGUMENTS = ("celery", "--app", "pim", "--quiet", "beat", "--loglevel", "INFO", "--pidfile", "")


@dataclass(frozen=True)
class FirstAdmin:
    """The admin account made by this start. password: None when it came from the environment."""

    username: str
    password: str | None


class Command(BaseCommand):
    help = "Runs the whole system: embedded services where no URL is given, migrations, web server, worker, beat."
    requires_system_checks: list[str] = []  # the database may not run yet

    def handle(self, *args: Any, **options: Any) -> None:
        status = supervisor(prepare=self.prepare).run()
        if status != 0:
            sys.exit(status)

    def prepare(self) -> None:
        if os.geteuid() == 0:
            print_line(NAME, "running as root, and so do web, worker and beat; an ordinary user is safer")
        migrate()
        admin = make_first_admin()
        if admin is not None and admin.password is not None:
            print_line(NAME, f"first admin account: {admin.username}, password (shown once): {admin.password}")


def supervisor(*, prepare: Callable[[], None], extra: Sequence[ChildSpec] = ()) -> Supervisor:
    """The supervisor of this configuration; `extra` children run beside web, worker and beat.

    prepare is called when the services run and nothing else does; it must migrate.
    """
    host = env("PIM_HOST") or "127.0.0.1"
    port = env_int("PIM_PORT", 8000, minimum=1, maximum=65535)
    processes = env_int("PIM_WORKERS", 2, minimum=1)
    environment = {
        "PIM_DATA_DIR": str(settings.DATA_DIR),
        "DJANGO_SETTINGS_MODULE": "pim.settings",
        "PYTHONUNBUFFERED": "1",
        # Celery's warning is about pickle, which is switched off; `up` has its own line.
        "PYTHONWARNINGS": "ignore:You're running the worker with superuser privileges",
    }
    children = [
        ChildSpec(
            name=name,
            command=[sys.executable, "-m", *arguments],
            env=environment,
            cwd=settings.BASE_DIR,
            death_signal=death_signal,
        )
        for name, arguments, death_signal in (
            ("web", web_arguments(host=host, port=port), signal.SIGTERM),
            ("worker", worker_arguments(processes=processes), signal.SIGKILL),  # an orderly end waits for its tasks
            ("beat", BEAT_ARGUMENTS, signal.SIGKILL),
        )
    ]
    headers = {"X-Forwarded-Proto": "https"} if settings.SECURE_SSL_REDIRECT else {}
    if "*" not in settings.ALLOWED_HOSTS:
        headers["Host"] = settings.ALLOWED_HOSTS[0].removeprefix(".")
    services: list[type[Postgres] | type[Valkey]] = []
    if env("DATABASE_URL") is None:
        services.append(Postgres)
    if env("CELERY_BROKER_URL") is None:
        services.append(Valkey)
    return Supervisor(
        data_dir=settings.DATA_DIR,
        host=host,
        port=port,
        services=services,
        prepare=partial(_prepare, prepare),
        children=[*extra, *children],
        headers=headers,
    )


def _prepare(prepare: Callable[[], None]) -> None:
    try:
        prepare()
    finally:
        connection.close()  # the supervisor itself needs the database no more


def web_arguments(*, host: str, port: int) -> list[str]:
    """Two processes of four threads: bounded, so that the database is never asked for more connections than it has."""
    return [
        *("gunicorn", "pim.wsgi:application", "--bind", f"{bracketed(host)}:{port}", "--no-control-socket"),
        *("--worker-class", "gthread", "--workers", "2", "--threads", "4", "--graceful-timeout", "30"),
    ]


def worker_arguments(*, processes: int) -> list[str]:
    return [
        *("celery", "--app", "pim", "--quiet", "worker", "--loglevel", "INFO", "--concurrency", str(processes)),
        *("--queues", WORKER_QUEUES, "--without-gossip", "--without-mingle"),
    ]


def migrate() -> None:
    """Applies migrations, quickly when there are none."""
    try:
        executor = MigrationExecutor(connection)
    except OperationalError as error:
        raise CommandError(f"The database cannot be reached: {error}") from error
    plan = executor.migration_plan(executor.loader.graph.leaf_nodes())
    if plan:
        print_line(NAME, f"applying {len(plan)} database migrations")
        call_command("migrate", interactive=False, verbosity=0)


def make_first_admin() -> FirstAdmin | None:
    """Makes the account of DJANGO_SUPERUSER_* where no superuser exists; None where one does."""
    users = get_user_model()._default_manager
    if users.filter(is_superuser=True).exists():
        return None
    username = env("DJANGO_SUPERUSER_USERNAME") or "admin"
    given = env("DJANGO_SUPERUSER_PASSWORD")
    password = given or secrets.token_urlsafe(12)
    users.create_superuser(username, env("DJANGO_SUPERUSER_EMAIL") or "", password)
    return FirstAdmin(username=username, password=None if given else password)

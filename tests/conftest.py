"""The services of a test run: a throwaway PostgreSQL cluster and broker, started once by the process that runs pytest.

PIM_TEST_DATABASE_URL and PIM_TEST_BROKER_URL name external services to use instead. pytest-xdist workers inherit the
addresses by environment; each has a test database, a broker database number and a data directory of its own.
"""

import os
import shutil
import tempfile
from contextlib import ExitStack
from pathlib import Path

import django
import pytest

from pim.embedded.postgres import Postgres
from pim.embedded.valkey import Valkey

# A throwaway cluster need not survive a crash of the machine.
UNSAFE_BUT_FAST = {
    "fsync": "off",
    "full_page_writes": "off",
    "synchronous_commit": "off",
    "shared_buffers": "128MB",
    "max_connections": "100",
}

services = pytest.StashKey[ExitStack]()


def pytest_configure(config: pytest.Config) -> None:
    """Runs before pytest-django sets Django up, which reads the environment made here."""
    worker = os.environ.get("PYTEST_XDIST_WORKER")
    if worker is None:
        config.stash[services] = start_services()
    else:
        number = int(worker.removeprefix("gw"))
        os.environ["CELERY_BROKER_URL"] = broker_database(os.environ["CELERY_BROKER_URL"], number + 1)
        os.environ["PIM_DATA_DIR"] = str(Path(os.environ["PIM_DATA_DIR"]) / worker)
    os.environ["DJANGO_SETTINGS_MODULE"] = "pim.settings"
    django.setup()
    # pytest-django would load the settings of an xdist worker that inherits this name before the lines above ran there.
    del os.environ["DJANGO_SETTINGS_MODULE"]


def pytest_unconfigure(config: pytest.Config) -> None:
    running = config.stash.get(services, None)
    if running is not None:
        running.close()


def start_services() -> ExitStack:
    """Starts what no external address is given for and points the environment at it; closing the stack undoes it."""
    with ExitStack() as stack:
        directory = Path(tempfile.mkdtemp(prefix="pim-test-"))
        stack.callback(shutil.rmtree, directory, ignore_errors=True)
        directory.chmod(0o711)  # as root the database server runs as another user
        environment = {
            "PIM_DATA_DIR": str(directory),
            "PIM_SECRET_KEY": "only-for-tests-" + "0" * 40,
            "PIM_RATE_LIMIT": "off",
        }
        if database_url := os.environ.get("PIM_TEST_DATABASE_URL"):
            environment["DATABASE_URL"] = database_url
        else:
            postgres = Postgres(directory, settings=UNSAFE_BUT_FAST)
            stack.callback(shutil.rmtree, postgres.home, ignore_errors=True)
            environment["DATABASE_URL"] = stack.enter_context(postgres).url
        if broker_url := os.environ.get("PIM_TEST_BROKER_URL"):
            environment["CELERY_BROKER_URL"] = broker_url
        else:
            environment["CELERY_BROKER_URL"] = stack.enter_context(Valkey(directory)).url
        os.environ.update(environment)
        return stack.pop_all()


def broker_database(url: str, number: int) -> str:
    """The same server, another numbered database: parallel test processes must not take each other's messages."""
    if url.startswith("redis+socket://"):
        return f"{url}?virtual_host={number}"
    return f"{url.rstrip('/')}/{number}"

"""Real worker processes against the test's database and broker."""

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from urllib.parse import quote

from django.db import connection

ROOT = Path(__file__).resolve().parents[1]


def database_url() -> str:
    """The address of the database that this test process uses."""
    settings = connection.settings_dict
    return (
        f"postgresql://{quote(settings['USER'])}:{quote(settings['PASSWORD'])}@/{quote(settings['NAME'])}"
        f"?host={quote(settings['HOST'], safe='')}&port={settings['PORT'] or 5432}"
    )


def environment(**extra: str) -> dict[str, str]:
    return os.environ | {"DATABASE_URL": database_url(), "DJANGO_SETTINGS_MODULE": "pim.settings"} | extra


class Worker:
    """A Celery worker with one pool process, in a process group of its own."""

    def __init__(self, queues: str, **extra: str) -> None:
        command = [sys.executable, "-m", "celery", "-A", "pim", "worker", "-c", "1", "-Q", queues, "-l", "WARNING"]
        self.process = subprocess.Popen(command, cwd=ROOT, env=environment(**extra), start_new_session=True)

    def kill(self) -> None:
        """SIGKILL to the worker and its pool process at once."""
        os.killpg(self.process.pid, signal.SIGKILL)
        self.process.wait()

    def stop(self) -> None:
        if self.process.poll() is None:
            self.process.terminate()
            try:
                self.process.wait(20)
            except subprocess.TimeoutExpired:
                self.kill()


@contextmanager
def worker(queues: str = "celery,imports,code2asin,webhooks", **extra: str) -> Iterator[Worker]:
    running = Worker(queues, **extra)
    try:
        yield running
    finally:
        running.stop()

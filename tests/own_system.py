"""A database server, a broker and workers of a test's own, to be stopped, killed and restarted at will."""

import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from signal import SIGQUIT
from typing import Any

import psycopg
import redis

from pim.embedded.postgres import Postgres
from pim.embedded.valkey import Valkey, socket_path
from tests.processes import ROOT

SHORT = {"PIM_JOB_LEASE_SECONDS": "3", "PIM_JOB_SLICE_SECONDS": "5", "PIM_JOB_SWEEP_SECONDS": "1"}


class System:
    """Talks to its database in plain SQL, so that nothing of the tested process's state is trusted."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self.postgres = Postgres(directory)
        self.valkey = Valkey(directory)
        self._processes: list[subprocess.Popen[bytes]] = []

    def start(self) -> None:
        self.postgres.start()
        self.valkey.start()
        self.manage("migrate", "-v", "0")

    def stop(self) -> None:
        for process in self._processes:
            if process.poll() is None:
                os.killpg(process.pid, 9)
                process.wait()
        self.valkey.stop()
        self.postgres.stop()

    @property
    def environment(self) -> dict[str, str]:
        return (
            os.environ
            | SHORT
            | {
                "DATABASE_URL": self.postgres.url,
                "CELERY_BROKER_URL": self.valkey.url,
                "PIM_DATA_DIR": str(self.directory),
                "DJANGO_SETTINGS_MODULE": "pim.settings",
                "PIM_LOG_LEVEL": "ERROR",
            }
        )

    def manage(self, *arguments: str) -> str:
        command = [sys.executable, "manage.py", *arguments]
        done = subprocess.run(command, cwd=ROOT, env=self.environment, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stderr
        return done.stdout

    def python(self, script: str, *arguments: str) -> str:
        """Run a few lines with Django set up; what they print."""
        command = [sys.executable, "-c", f"import sys, django; django.setup()\n{script}", *arguments]
        done = subprocess.run(command, cwd=ROOT, env=self.environment, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stderr
        return done.stdout.strip()

    def celery(self, *arguments: str) -> subprocess.Popen[bytes]:
        """A worker or beat in a process group of its own."""
        command = [sys.executable, "-m", "celery", "-A", "pim", "--quiet", *arguments]
        process = subprocess.Popen(
            command,
            cwd=ROOT,
            env=self.environment,
            start_new_session=True,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        self._processes.append(process)
        return process

    def worker(self, concurrency: int = 2) -> subprocess.Popen[bytes]:
        options = ("--without-gossip", "--without-mingle", "-l", "ERROR")
        return self.celery("worker", "-c", str(concurrency), "-Q", "celery,imports,code2asin,webhooks", *options)

    def beat(self) -> subprocess.Popen[bytes]:
        return self.celery("beat", "-l", "ERROR", "--pidfile", "", "--max-interval", "1")

    def sql(self, query: str, *parameters: Any) -> list[tuple[Any, ...]]:
        """Rows of a query in a connection of its own; tries again while the server restarts."""
        for _attempt in range(100):
            try:
                with psycopg.connect(self.postgres.url, autocommit=True) as connection:
                    cursor = connection.execute(query, parameters or None)
                    return cursor.fetchall() if cursor.description else []
            except psycopg.OperationalError:
                time.sleep(0.1)
        raise AssertionError("the database does not come back")

    def restart_database(self) -> None:
        """An immediate shutdown, as a crash, and a start with recovery."""
        assert self.postgres.child is not None
        self.postgres.child.send_signal(SIGQUIT)
        while not self.postgres.child.ended():
            time.sleep(0.05)
        self.postgres.stop()
        self.postgres.start()

    def flush_broker(self) -> None:
        redis.Redis(unix_socket_path=str(socket_path(self.directory))).flushall()


@contextmanager
def own_system() -> Iterator[System]:
    # Not below pytest's own directory, which is closed to the user that the database server runs as.
    directory = Path(tempfile.mkdtemp(prefix="pim-own-"))
    directory.chmod(0o711)
    system = System(directory)
    try:
        system.start()
        yield system
    finally:
        system.stop()
        shutil.rmtree(system.postgres.home, ignore_errors=True)
        shutil.rmtree(directory, ignore_errors=True)

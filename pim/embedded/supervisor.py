"""The whole system in one foreground process: services first, then the children that are kept alive."""

import fcntl
import http.client
import os
import signal
import socket
import sys
import threading
import time
import traceback
import urllib.error
import urllib.request
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from types import FrameType

from pim.embedded.postgres import Postgres
from pim.embedded.process import Child, ChildSpec, EmbeddedError, LineSink
from pim.embedded.valkey import Valkey

NAME = "up"
POLL = 0.2  # seconds between two looks at the children
REPORT = 15.0  # seconds between two lines about what is not ready
FIRST_BACKOFF, LONGEST_BACKOFF = 1.0, 30.0  # seconds before a dead child is started again, doubled each time
STABLE_AFTER = 60.0  # seconds of life after which the back-off starts afresh
MAX_DEATHS = 5  # so many deaths of one child ...
DEATH_WINDOW = 60.0  # ... within so many seconds end everything
GRACE = 60.0  # seconds a child may take to finish what it does; a slice of a job takes 20
ORPHAN_WAIT = 75.0  # seconds to wait for what a killed predecessor left behind: its grace and some more

Service = Postgres | Valkey


class StopRequestedError(BaseException):
    """Raised in the main thread by SIGINT, SIGTERM and SIGHUP."""


@dataclass
class _Kept:
    """A child that is restarted when it dies."""

    spec: ChildSpec
    child: Child | None = None
    started_at: float = 0.0
    restart_at: float = 0.0
    backoff: float = 0.0
    deaths: deque[float] = field(default_factory=lambda: deque(maxlen=MAX_DEATHS))


class Supervisor:
    """Starts and keeps a system; lives in the main thread.

    services: started in this order before all else, stopped in reverse; the loss of one ends everything.
    prepare: called when the services are up and nothing else is: migrations and first accounts.
    children: started together, restarted when they die; one is the web server on host and port.
    The system is ready when /readyz of the web child, asked with `headers`, answers 200.
    """

    def __init__(
        self,
        *,
        data_dir: Path,
        host: str,
        port: int,
        services: Sequence[type[Service]],
        prepare: Callable[[], None],
        children: Sequence[ChildSpec],
        headers: Mapping[str, str] | None = None,
        log: LineSink | None = None,
    ) -> None:
        self._data_dir = data_dir
        self._host = host
        self._port = port
        self._service_types = services
        self._prepare = prepare
        self._kept = [_Kept(spec) for spec in children]
        self._headers = dict(headers or {})
        self._log = log or print_line
        self._services: list[Service] = []
        self._lock: int | None = None
        self._stopping = False
        self._kill_now = False

    @property
    def address(self) -> str:
        """The address of the web server as a browser on this machine reaches it."""
        host = {"0.0.0.0": "127.0.0.1", "::": "::1", "": "127.0.0.1"}.get(self._host, self._host)
        return f"http://{bracketed(host)}:{self._port}"

    def run(self, job: Callable[[], None] | None = None) -> int:
        """start, run_until_stopped and stop; returns the exit status: 0 when asked to stop, else 1."""
        try:
            self.start()
            return self.run_until_stopped(job)
        except StopRequestedError:
            return 0
        except EmbeddedError as error:
            self._log(NAME, f"stopping: {error}")
            return 1
        finally:
            self.stop()

    def start(self) -> None:
        """Starts everything and returns when it is ready. Raises EmbeddedError when it cannot become so."""
        self._handle_signals()
        check_port_is_free(self._host, self._port)
        self._data_dir.mkdir(parents=True, exist_ok=True)
        self._lock = hold_lock(self._data_dir / "up.lock", log=self._log)
        for service_type in self._service_types:
            service = service_type(self._data_dir, on_line=self._log, keep_fds=[self._lock])
            self._services.append(service)
            service.start()
        self._prepare()
        for kept in self._kept:
            self._spawn(kept)
        next_report = time.monotonic() + REPORT
        while (reason := self._why_not_ready()) is not None:
            self._look_after_children()
            if time.monotonic() > next_report:
                next_report += REPORT
                self._log(NAME, f"not ready yet: {reason}")
            time.sleep(POLL)
        self._log(NAME, f"ready: {self.address}/admin/ (Ctrl-C stops everything)")

    def run_until_stopped(self, job: Callable[[], None] | None = None) -> int:
        """Keeps the children alive until a signal asks to stop. `job` runs beside it in a thread; its failure ends all.

        Raises EmbeddedError when a service is lost or a child keeps dying.
        """
        failed = threading.Event()
        if job is not None:
            threading.Thread(target=self._run_job, args=(job, failed), name="job", daemon=True).start()
        try:
            while not failed.is_set():
                self._look_after_children()
                time.sleep(POLL)
        except StopRequestedError:
            return 0
        return 1

    def stop(self) -> None:
        """Stops web, worker and beat together, then the services. A second signal meanwhile kills what still runs."""
        self._stopping = True
        running = [kept.child for kept in self._kept if kept.child is not None]
        if running:
            self._log(NAME, "stopping " + ", ".join(child.name for child in running))
        for child in running:
            child.send_signal(child.spec.stop_signal)
        deadline = time.monotonic() + GRACE
        while running := [child for child in running if not child.ended()]:
            if self._kill_now or time.monotonic() > deadline:
                for child in running:
                    self._log(NAME, f"killing {child.name}")
                    child.kill()
            time.sleep(0.05)
        for kept in self._kept:
            kept.child = None
        while self._services:
            self._services.pop().stop()
        if self._lock is not None:
            os.close(self._lock)
            self._lock = None
            self._log(NAME, "stopped")

    def _run_job(self, job: Callable[[], None], failed: threading.Event) -> None:
        try:
            job()
        except Exception:
            if not self._stopping:  # what it needs is being stopped: no failure of its own
                for line in traceback.format_exc().splitlines():
                    self._log(NAME, line)
                failed.set()

    def _handle_signals(self) -> None:
        for signum in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
            signal.signal(signum, self._on_signal)

    def _on_signal(self, signum: int, frame: FrameType | None) -> None:
        if self._stopping:
            self._kill_now = True
            return
        self._stopping = True
        raise StopRequestedError

    def _spawn(self, kept: _Kept) -> None:
        assert self._lock is not None
        kept.child = Child(kept.spec, on_line=self._log, keep_fds=[self._lock])
        kept.started_at = time.monotonic()

    def _look_after_children(self) -> None:
        for service in self._services:
            if service.child is not None and service.child.ended():
                raise EmbeddedError(f"{service.child.name} ended with {service.child.describe_end()}")
        for kept in self._kept:
            if kept.child is not None and kept.child.ended():
                self._note_death(kept, kept.child)
            elif kept.child is None and time.monotonic() >= kept.restart_at:
                self._spawn(kept)

    def _note_death(self, kept: _Kept, child: Child) -> None:
        now = time.monotonic()
        kept.child = None
        kept.deaths.append(now)
        end = f"{child.name} ended with {child.describe_end()}"
        if len(kept.deaths) == MAX_DEATHS and now - kept.deaths[0] <= DEATH_WINDOW:
            raise EmbeddedError(f"{end}, for the {MAX_DEATHS}th time within {DEATH_WINDOW:.0f} s")
        was_stable = now - kept.started_at >= STABLE_AFTER
        kept.backoff = FIRST_BACKOFF if was_stable else min(max(kept.backoff * 2, FIRST_BACKOFF), LONGEST_BACKOFF)
        kept.restart_at = now + kept.backoff
        self._log(NAME, f"{end}; restarting it in {kept.backoff:g} s")

    def _why_not_ready(self) -> str | None:
        """What /readyz says is missing; None when nothing is."""
        request = urllib.request.Request(f"{self.address}/readyz", headers=self._headers)  # noqa: S310 (our own http URL)
        opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
        try:
            with opener.open(request, timeout=10):
                return None
        except urllib.error.HTTPError as error:
            return f"{error} {error.read(500).decode(errors='replace')}"
        except (OSError, http.client.HTTPException) as error:
            return str(error)


def check_port_is_free(host: str, port: int) -> None:
    """Raises EmbeddedError when the web server could not listen there."""
    try:
        family, kind, protocol, _, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
        with socket.socket(family, kind, protocol) as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            probe.bind(address)
    except OSError as error:
        raise EmbeddedError(
            f"Cannot listen on {bracketed(host)}:{port}: {error.strerror or error}. "
            "Stop what uses the port, or set PIM_PORT or PIM_HOST."
        ) from error


def hold_lock(path: Path, *, log: LineSink) -> int:
    """Takes the lock of a data directory and returns its file descriptor; closing it gives the lock back.

    Every child inherits the descriptor, so the lock is free only when nothing of a predecessor runs any more.
    What a killed predecessor left is shutting down and is waited for. Raises EmbeddedError when the predecessor lives.
    """
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT, 0o600)
    deadline = time.monotonic() + ORPHAN_WAIT
    announced = False
    while True:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            holder = path.read_text(encoding="ascii")
            if _is_alive(holder) or time.monotonic() > deadline:
                os.close(descriptor)
                raise EmbeddedError(
                    f"{path.parent} is in use by another system (started by pid {holder}). "
                    "Stop it, or set PIM_DATA_DIR and PIM_PORT to run a second one."
                ) from None
            if not announced:
                log(NAME, "waiting for processes of a killed predecessor to end")
                announced = True
            time.sleep(POLL)
        else:
            os.ftruncate(descriptor, 0)
            os.pwrite(descriptor, str(os.getpid()).encode("ascii"), 0)
            return descriptor


def print_line(name: str, line: str) -> None:
    """Writes a log line with time and name of the child. When nobody reads any more, the system goes on silently."""
    text = f"{time.strftime('%H:%M:%S')} {name:<8} | {line}\n"
    try:
        with _output:
            sys.stdout.write(text)
            sys.stdout.flush()
    except OSError:
        pass


_output = threading.RLock()  # reentrant: a signal may interrupt the main thread while it holds the lock


def bracketed(host: str) -> str:
    """An IPv6 address in brackets, as addresses with a port are written."""
    return f"[{host}]" if ":" in host else host


def _is_alive(pid: str) -> bool:
    try:
        os.kill(int(pid), 0)
    except (ValueError, ProcessLookupError):
        return False
    except PermissionError:
        return True
    return True

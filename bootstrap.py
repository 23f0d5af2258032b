#!/usr/bin/env python3
"""Runs the product from a bare checkout: makes .venv, installs the locked requirements, runs a command.

Usage: python3 bootstrap.py COMMAND [ARGUMENT ...]. Needs Python 3.11 or newer and nothing else; `make` calls it.
"""

import fcntl
import hashlib
import importlib.util
import json
import os
import shutil
import subprocess
import sys
import tempfile
import venv
from pathlib import Path

ROOT = Path(__file__).resolve().parent
VENV = ROOT / ".venv"
PYTHON = str(VENV / "bin" / "python")
INSTALLED = VENV / "installed.json"  # {lock file: its SHA-256 when it was installed}

EMBEDDED, DEV = "requirements-embedded.lock", "requirements-dev.lock"  # DEV holds all of EMBEDDED

MANAGE = [PYTHON, "manage.py"]
PRODUCTION = {"PIM_HTTPS": "true", "PIM_ALLOWED_HOSTS": "pim.example.com", "PIM_SECRET_KEY": "0123456789abcdef" * 4}
CHECKS = [
    ("format", [PYTHON, "-m", "ruff", "format", "--check", "."], {}),
    ("lint", [PYTHON, "-m", "ruff", "check", "."], {}),
    ("types", [PYTHON, "-m", "mypy"], {}),
    ("import contracts", [str(VENV / "bin" / "lint-imports")], {}),
    # without a running database Django warns that it cannot look at its history
    ("migrations", [*MANAGE, "makemigrations", "--check", "--dry-run"], {"PYTHONWARNINGS": "ignore::RuntimeWarning"}),
    ("deployment", [*MANAGE, "check", "--deploy", "--fail-level", "WARNING"], PRODUCTION),
    ("OpenAPI", [*MANAGE, "spectacular", "--validate", "--fail-on-warn", "--file", os.devnull], {}),
]


def main(arguments: list[str]) -> int:
    if sys.version_info < (3, 11):
        return fail(f"Python 3.11 or newer is needed, this is {sys.version.split()[0]}; try PYTHON=python3.11.")
    if not arguments:
        return fail(f"{__doc__}\nCommands: test, check, bench, lock, or any of manage.py: up, demo, ...")
    os.chdir(ROOT)
    command, *rest = arguments
    install(DEV if command in ("test", "check", "bench", "lock") else EMBEDDED)
    if command == "check":
        return check()
    if command == "lock":
        return lock()
    run = {
        "test": [PYTHON, "-m", "pytest", "-n", "2", "--dist", "loadgroup"],
        "bench": [PYTHON, "-m", "tests.bench"],
    }.get(command, [*MANAGE, command])
    os.execv(run[0], [*run, *rest])


def install(lock_file: str) -> None:
    """Installs what the lock names into .venv, unless exactly that was done before."""
    directory = os.open(ROOT, os.O_RDONLY)
    fcntl.flock(directory, fcntl.LOCK_EX)  # two commands started at once must not install over each other
    try:
        if not (VENV / "bin" / "python").exists():
            print(f"Making {VENV}", flush=True)
            venv.create(VENV, clear=VENV.exists(), symlinks=True, with_pip=False)
        state = json.loads(INSTALLED.read_text()) if INSTALLED.exists() else {}
        current = {name: hashlib.sha256((ROOT / name).read_bytes()).hexdigest() for name in (EMBEDDED, DEV)}
        if state.get(DEV) == current[DEV] or state.get(lock_file) == current[lock_file]:
            return
        print(f"Installing {lock_file}", flush=True)
        subprocess.run(
            [*installer(), "--require-hashes", "-r", lock_file], check=True, env=os.environ | {"PIP_USER": "0"}
        )
        INSTALLED.write_text(json.dumps({lock_file: current[lock_file]}))
    except subprocess.CalledProcessError as error:
        sys.exit(fail(f"The installation failed with exit status {error.returncode}; see above."))
    finally:
        os.close(directory)


def installer() -> list[str]:
    """The command that installs into .venv: this Python's own pip, else one made by ensurepip, else uv."""
    options = ["--quiet", "--disable-pip-version-check", "--no-input"]
    if importlib.util.find_spec("pip"):
        return [sys.executable, "-m", "pip", "--python", PYTHON, "install", *options]
    if (
        importlib.util.find_spec("ensurepip")
        and subprocess.run([PYTHON, "-m", "ensurepip"], check=False).returncode == 0
    ):
        return [PYTHON, "-m", "pip", "install", *options]
    if uv := shutil.which("uv"):
        return [uv, "pip", "install", "--quiet", "--python", PYTHON]
    sys.exit(fail("This Python has no pip. Install it (Debian and Ubuntu: apt-get install python3-pip), or uv."))


def check() -> int:
    """Runs every check, however many fail; 1 if any did."""
    failed = []
    with tempfile.TemporaryDirectory() as data_dir:  # settings write generated secrets there
        for name, command, environment in CHECKS:
            print(f"== {name}", flush=True)
            if subprocess.run(
                command, check=False, env=os.environ | {"PIM_DATA_DIR": data_dir} | environment
            ).returncode:
                failed.append(name)
    print(f"failed: {', '.join(failed)}" if failed else "all checks passed")
    return 1 if failed else 0


def lock() -> int:
    """Rewrites the locks from the requirements: exact versions and hashes for every platform."""
    sources = ["requirements.txt", "requirements-embedded.txt", "requirements-dev.txt"]
    for count, name in enumerate(("requirements.lock", EMBEDDED, DEV), start=1):
        options = ["--universal", "--python-version", "3.11", "--generate-hashes", "--quiet"]
        hidden = ["--no-emit-index-url", "--no-emit-find-links", "--custom-compile-command", "make lock"]
        command = [PYTHON, "-m", "uv", "pip", "compile", *options, *hidden, "--output-file", name, *sources[:count]]
        subprocess.run(command, check=True)
    return 0


def fail(message: str) -> int:
    print(message, file=sys.stderr)
    return 2


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))

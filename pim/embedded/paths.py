"""Where the embedded services keep their files, and the user they run as."""

import hashlib
import os
import pwd
import stat
from pathlib import Path

from pim.embedded.process import EmbeddedError, Owner

# sun_path holds 108 bytes on Linux and 104 on macOS, with the final NUL.
LONGEST_SOCKET_PATH = 103


def socket_dir(preferred: Path, socket_name: str) -> Path:
    """`preferred`, or a short stand-in under /tmp where the path of the socket would be too long for the kernel."""
    if len(os.fsencode(preferred / socket_name)) <= LONGEST_SOCKET_PATH:
        return preferred
    return Path("/tmp") / f"pim-{os.geteuid()}-{short_hash(preferred)}"


def short_hash(path: Path) -> str:
    return hashlib.sha256(os.fsencode(path)).hexdigest()[:16]


def unprivileged_owner() -> Owner | None:
    """`nobody` when this process is root, since PostgreSQL refuses to run as root; else None."""
    if os.geteuid() != 0:
        return None
    try:
        entry = pwd.getpwnam("nobody")
    except KeyError as error:
        raise EmbeddedError(
            "PostgreSQL does not run as root and there is no user `nobody` to run it as; run as an ordinary user."
        ) from error
    return Owner(uid=entry.pw_uid, gid=entry.pw_gid)


def reachable_by_others(path: Path) -> bool:
    """Whether any user may pass through `path` and all its parents, as far as they exist."""
    for directory in (path, *path.parents):
        try:
            mode = directory.stat().st_mode
        except FileNotFoundError:
            continue
        if not mode & stat.S_IXOTH:
            return False
    return True


def make_private_dir(path: Path, owner: Owner | None) -> None:
    """Makes `path` a directory with mode 0700 that belongs to `owner` (None: this process's user).

    Raises EmbeddedError where it exists as something else or belongs to another user, as anybody could arrange in /tmp.
    """
    uid = owner.uid if owner else os.geteuid()
    try:
        path.mkdir(mode=0o700)
    except FileExistsError:
        pass
    else:
        if owner:
            os.chown(path, owner.uid, owner.gid)
    status = path.lstat()
    if not stat.S_ISDIR(status.st_mode):
        raise EmbeddedError(f"{path} is in the way: it must be a directory.")
    if status.st_uid != uid:
        raise EmbeddedError(
            f"{path} belongs to user {_user_name(status.st_uid)}, but this process would use it as {_user_name(uid)}. "
            "Start as the user who started first, or choose another PIM_DATA_DIR."
        )
    path.chmod(0o700)


def _user_name(uid: int) -> str:
    try:
        return pwd.getpwuid(uid).pw_name
    except KeyError:
        return str(uid)

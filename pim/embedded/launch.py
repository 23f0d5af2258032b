"""Runs a command that dies with its parent: `launch.py PARENT_PID SIGNAL UID:GID|- COMMAND...`.

A file of its own, run by a bare interpreter, because code between fork and exec is unsafe in a process with threads.
"""

import ctypes
import os
import sys

PR_SET_PDEATHSIG = 1


def main(argv: list[str]) -> None:
    parent, death_signal, owner, *command = argv
    if owner != "-":
        uid, gid = map(int, owner.split(":"))
        os.setgroups([])
        os.setgid(gid)
        os.setuid(uid)
    # After the change of user, which clears it. Systems without prctl (macOS) rely on the supervisor's own stop.
    if sys.platform == "linux" and ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, int(death_signal)) != 0:
        sys.exit("launch.py: prctl(PR_SET_PDEATHSIG) failed")
    if os.getppid() != int(parent):
        return  # the parent died before prctl
    try:
        os.execv(command[0], command)
    except OSError as error:
        sys.exit(f"{command[0]} cannot be run: {error.strerror}")


if __name__ == "__main__":
    main(sys.argv[1:])

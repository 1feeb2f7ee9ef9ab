"""Runs a command that dies with the process that started it: `python -m loadtests.leash COMMAND ARGUMENT...`

The kernel kills the command when its starter is gone, however that went: a load must not outlive the run it belongs to.
"""

from __future__ import annotations

import ctypes
import os
import signal
import sys

_PR_SET_PDEATHSIG = 1
STARTER = "GYM_LOAD_STARTER"
"""Variable with the pid of the starter, so that one that is gone already is noticed."""


def main() -> None:
    """Becomes the command. Ends at once when the starter is gone."""
    libc = ctypes.CDLL(None, use_errno=True)
    libc.prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
    if os.getppid() != int(os.environ.get(STARTER, os.getppid())):
        sys.exit(1)
    os.execvp(sys.argv[1], sys.argv[1:])  # noqa: S606  a list, as everywhere; exec so that the pid stays


if __name__ == "__main__":
    main()

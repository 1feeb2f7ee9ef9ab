"""Makes sure that a watchdog is at work for a leases directory: one, known by the lock it holds.

The kernel drops the lock when the watchdog dies, however it dies, so that nobody is taken for one that is not there.
"""

from __future__ import annotations

import fcntl
import os
import subprocess
import sys
from pathlib import Path

from chaos.errors import NotGuarded

LOCK = "watchdog.lock"
LOG = "watchdog.log"
START_TIMEOUT_S = 20.0


def ensure(leases: Path) -> None:
    """A watchdog is at work for `leases` on return, and will look at every lease that is there now.

    Raises NotGuarded when none could be started.
    """
    try:
        lock = acquire(leases)
    except OSError as error:
        raise NotGuarded(f"{leases} cannot be locked ({error}), so nothing was done.") from error
    if lock is None:
        return
    os.close(lock)
    with (leases / LOG).open("ab") as log:
        command = [sys.executable, "-m", "chaos.watchdog", "--leases", str(leases.absolute())]
        try:
            # It detaches itself once it holds the lock, so its first process ends as soon as the watch has begun.
            started = subprocess.run(
                command,
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                stderr=log,
                start_new_session=True,
                env=environment(),
                timeout=START_TIMEOUT_S,
                check=False,
            )
        except (OSError, subprocess.TimeoutExpired) as error:
            raise NotGuarded(f"The watchdog did not start ({error}), so nothing was done.") from error
    if started.returncode != 0:
        raise NotGuarded(f"The watchdog did not start, so nothing was done; {leases / LOG} says why.")


def acquire(leases: Path) -> int | None:
    """The watchdog's lock, as a descriptor that holds it until it is closed everywhere; None when somebody has it."""
    descriptor = os.open(leases / LOCK, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        os.close(descriptor)
        return None
    return descriptor


def environment() -> dict[str, str]:
    """This process's environment, in which `python -m chaos...` finds the code that runs here, installed or not."""
    root = str(Path(__file__).parent.parent)
    inherited = os.environ.get("PYTHONPATH")
    return os.environ | {"PYTHONPATH": f"{root}{os.pathsep}{inherited}" if inherited else root}

"""The leash: a load does not outlive whoever started it."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

from loadtests.leash import STARTER

Until = Callable[[Callable[[], bool]], None]

START = """
import os, subprocess, sys, time
child = subprocess.Popen([sys.executable, "-m", "loadtests.leash", sys.executable, "-c",
    "import time, sys; print('up', flush=True); time.sleep(60)"], stdout=subprocess.PIPE,
    env=os.environ | {"GYM_LOAD_STARTER": str(os.getpid())})
child.stdout.readline()
print(child.pid, flush=True)
time.sleep(60)
"""


def running(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


def test_load_dies_with_a_starter_that_is_killed(until: Until) -> None:
    """SIGKILL leaves the starter no chance to clean up; the kernel does."""
    starter = subprocess.Popen([sys.executable, "-c", START], stdout=subprocess.PIPE)
    assert starter.stdout is not None
    child = int(starter.stdout.readline())
    assert running(child)
    starter.send_signal(signal.SIGKILL)
    starter.wait()
    starter.stdout.close()
    until(lambda: not running(child))


def test_load_whose_starter_is_gone_already_never_begins() -> None:
    """It was killed between starting the leash and the leash asking for its protection."""
    command = [sys.executable, "-m", "loadtests.leash", sys.executable, "-c", "print('begun')"]
    ended = subprocess.run(command, env=os.environ | {STARTER: "1"}, capture_output=True, check=False)
    assert (ended.returncode, ended.stdout) == (1, b"")


def test_the_command_keeps_its_exit_code() -> None:
    """The leash becomes the command."""
    command = [sys.executable, "-m", "loadtests.leash", sys.executable, "-c", "raise SystemExit(7)"]
    assert subprocess.run(command, check=False).returncode == 7

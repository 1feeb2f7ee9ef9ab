"""The service's processes among themselves: ending together, finding each other, saying who they are."""

from __future__ import annotations

import contextlib
import ctypes
import gc
import os
import signal
import sys
from collections.abc import Iterator
from pathlib import Path

PARENT = "GYM_SUPERVISOR"
"""Environment variable that tells a child the pid of the supervisor that started it."""

_PR_SET_PDEATHSIG = 1


def end_with_parent() -> None:
    """From now on the kernel kills this process when its parent dies, however the parent dies."""
    ctypes.CDLL(None, use_errno=True).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
    parent = os.environ.get(PARENT)
    if parent is not None and int(parent) != os.getppid():  # it died before we asked
        os._exit(1)


@contextlib.contextmanager
def short_path(path: Path) -> Iterator[str]:
    """A name for `path` that fits in a Unix socket address however deep the path is.

    The kernel allows 107 bytes; through a descriptor of the directory any depth fits.
    """
    directory = os.open(path.parent, os.O_PATH | os.O_DIRECTORY)
    try:
        yield f"/proc/self/fd/{directory}/{path.name}"
    finally:
        os.close(directory)


def say(sentence: str) -> None:
    """One plain sentence on standard error: what a person who started this must read."""
    sys.stderr.write(f"gymkhana: {sentence}\n")
    sys.stderr.flush()


def settle_memory() -> None:
    """What was imported and set up is never looked through again by the garbage collector, and it looks less often.

    A full collection over everything that the libraries hold takes a tenth of a second, in which nothing is answered.
    """
    gc.collect()
    gc.freeze()
    gc.set_threshold(20_000, 20, 50)

"""The Docker there is: why there is none, and its command line."""

from __future__ import annotations

import os
import shutil
import subprocess
import time
from collections.abc import Callable, Mapping

ANSWERS_WITHIN_S = 20.0
COMMAND_TIMEOUT_S = 570.0


def absence() -> str | None:
    """Why nothing can be run in containers here, as a sentence; None when a Docker answers."""
    if shutil.which("docker") is None:
        return "No Docker here: there is no program docker in PATH; install Debian's docker.io, or Docker itself."
    try:
        done = _run(("docker", "version", "--format", "{{.Server.Version}}"), ANSWERS_WITHIN_S)
    except subprocess.TimeoutExpired:
        return f"No Docker answers here within {ANSWERS_WITHIN_S:.0f} s; start its daemon, or look at its log."
    if done.returncode == 0:
        return None
    said = (done.stderr.strip() or done.stdout.strip() or "it did not say why").splitlines()[-1]
    return f"No Docker answers here: {said}"


def docker(*words: str, **more: str) -> str:
    """What `docker WORDS` printed, with `more` in its environment. Fails the test when it does not end with 0."""
    return _said(("docker", *words), more)


def compose_command() -> tuple[str, ...] | None:
    """How Compose is typed here: Docker's plugin, else the program of its own; None when there is neither."""
    if _run(("docker", "compose", "version"), ANSWERS_WITHIN_S).returncode == 0:
        return ("docker", "compose")
    return ("docker-compose",) if shutil.which("docker-compose") else None


def wait_until(condition: Callable[[], bool], what: str, timeout_s: float = 60.0) -> None:
    """The condition holds. Fails the test when it does not in time."""
    end_t = time.monotonic() + timeout_s
    while not condition():
        assert time.monotonic() < end_t, f"not in {timeout_s:.0f} s: {what}"
        time.sleep(0.05)


def _said(command: tuple[str, ...], more: Mapping[str, str]) -> str:
    done = _run(command, COMMAND_TIMEOUT_S, more)
    assert done.returncode == 0, f"`{' '.join(command)}` ended with {done.returncode}: {done.stderr[-2000:]}"
    return done.stdout.strip()


def _run(
    command: tuple[str, ...], timeout_s: float, more: Mapping[str, str] | None = None
) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        command,
        env={**os.environ, **(more or {})},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=timeout_s,
        check=False,
    )

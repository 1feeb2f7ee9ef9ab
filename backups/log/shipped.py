"""Asking the process that ships the log: one line of JSON there, one back, over its Unix socket.

{"ship": true}                     -> {"generation": …, "index": …} once all that was committed before is durable, and
                                      the generation has a backup, so that it can be restored; or {"error": sentence}
{"ship": true, "unbased": true}    -> the same without waiting for the backup
{"status": true}                   -> how it stands
"""

from __future__ import annotations

import os
import socket
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import msgspec

from backups.backup import LogPosition
from backups.errors import BackupError

TIMEOUT_S = 30.0


class Asked(msgspec.Struct):
    """A request."""

    ship: bool = False
    unbased: bool = False
    status: bool = False


def log_span(socket_path: Path, *, timeout_s: float = TIMEOUT_S) -> Callable[[], LogPosition | None]:
    """What `run_backup` takes as `log`: where the shipped log stands, all that is committed being in it.

    Without a process that ships (first asked) there is no log, and the backup is one of its own. Later on its silence raises
    a BackupError.
    """
    asked = False

    def position() -> LogPosition | None:
        nonlocal asked
        if not asked and not socket_path.exists():
            return None
        asked = True
        answer = ask(socket_path, Asked(ship=True, unbased=True), timeout_s=timeout_s)
        return str(answer["generation"]), int(answer["index"])

    return position


def ask(socket_path: Path, request: Asked, *, timeout_s: float = TIMEOUT_S) -> dict[str, Any]:
    """The answer. Raises a BackupError with the sentence of an error, or when there is no answer in time."""
    try:
        with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as connection:
            connection.settimeout(timeout_s)
            with short_path(socket_path) as short:
                connection.connect(short)
            connection.sendall(msgspec.json.encode(request) + b"\n")
            with connection.makefile("rb") as lines:
                line = lines.readline()
    except OSError as error:
        raise BackupError(f"The process that ships the log does not answer at {socket_path}: {error}.") from error
    if not line:
        raise BackupError(f"The process that ships the log at {socket_path} ended before it answered.")
    answer: dict[str, Any] = msgspec.json.decode(line)
    if "error" in answer:
        raise BackupError(str(answer["error"]))
    return answer


@contextmanager
def short_path(path: Path) -> Iterator[str]:
    """A name for `path` that fits in the 107 bytes of a Unix socket address, however deep the path is."""
    directory = os.open(path.parent, os.O_PATH | os.O_DIRECTORY)
    try:
        yield f"/proc/self/fd/{directory}/{path.name}"
    finally:
        os.close(directory)

"""The writer's line to the process that ships the database's log: one line of JSON there, one back, over its Unix socket.

{"ship": true}  ->  {"generation": …, "index": …}   once everything committed before the request is durable elsewhere
                    {"error": sentence}             when that is not so; the commit stands all the same
"""

from __future__ import annotations

import contextlib
import socket
from pathlib import Path
from typing import BinaryIO

import msgspec

from system import processes

_REQUEST = b'{"ship": true}\n'


class NotShipped(Exception):
    """It is not known that the commits so far are durable elsewhere; the sentence says why."""


class _Answer(msgspec.Struct):
    generation: str = ""
    index: int = -1
    error: str = ""


class Shipping:
    """The line, opened when it is first needed and again after it broke. One request at a time."""

    def __init__(self, path: Path, timeout_s: float) -> None:
        self._path = path
        self._timeout_s = timeout_s
        self._connection: socket.socket | None = None
        self._lines: BinaryIO | None = None

    def wait(self) -> None:
        """Returns once everything committed before the call is durable elsewhere. Raises NotShipped."""
        try:
            line = self._ask()
        except OSError as error:
            self.close()
            raise NotShipped(f"The process that ships the log does not answer at {self._path}: {error}.") from error
        if not line.endswith(b"\n"):
            self.close()
            raise NotShipped("The process that ships the log ended before it answered.")
        try:
            answer = msgspec.json.decode(line, type=_Answer)
        except msgspec.MsgspecError as error:
            self.close()
            raise NotShipped(f"The process that ships the log answered with something else: {error}.") from error
        if answer.error or answer.index < 0:
            raise NotShipped(answer.error or "The process that ships the log did not say how far it is.")

    def close(self) -> None:
        """Lets go of the line. An answer that comes late is not taken for that of a later request."""
        for end in (self._lines, self._connection):
            if end is not None:
                with contextlib.suppress(OSError):
                    end.close()
        self._lines = self._connection = None

    def _ask(self) -> bytes:
        if self._connection is None or self._lines is None:
            self._open()
        assert self._connection is not None
        assert self._lines is not None
        self._connection.sendall(_REQUEST)
        return self._lines.readline()

    def _open(self) -> None:
        self._connection = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self._connection.settimeout(self._timeout_s)
        with processes.short_path(self._path) as short:
            self._connection.connect(short)
        self._lines = self._connection.makefile("rb")

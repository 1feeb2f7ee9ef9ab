"""The ledger: one JSON line before a write is sent, and one per answer. Every load tool and the canary write this format.

    {"k":"clock","run":"R","tool":"locust","mono":1.0,"wall":1700000000.0,"pid":1}                     first line
    {"k":"invoke","op":"R.17.3","flow":"join","user":17,"t":12.34}                                     before a write
    {"k":"done","op":"R.17.3","flow":"join","user":17,"t":12.34,"d":0.004,"status":201,"outcome":"ok",
     "write":true,"digest":"..","seq":123,"err":null,"db":1.2,"lag":0.3}                               every answer
    {"k":"user","user":17,"t":12.3,"up":true}                                                          a user began or ended
    {"k":"end","invoked":1,"done":1,"t":13.0,"dropped":0}                                              last line

`t` is the start in monotonic seconds, `d` the duration in seconds, `db` the database's share in milliseconds, `lag` how many
milliseconds later than intended the request was begun; `dropped` requests never were. A tool that cannot read the monotonic
clock writes `tw` (wall seconds) instead of `t`; the reader converts it with the clock line. A line is one `write` to a file
opened for appending, so a killed generator loses nothing it had said.
"""

from __future__ import annotations

import math
import os
import time
from collections.abc import Mapping
from pathlib import Path
from types import TracebackType
from typing import Literal, Self

import msgspec

from loadtests.errors import LedgerError

Outcome = Literal["ok", "refused", "unknown"]

IN_PROGRESS = "operation-in-progress"
"""Problem code of a 409 that says: this operation is running right now. It may yet be applied."""


class _Line(msgspec.Struct, frozen=True, kw_only=True, tag_field="k"):
    """What every line is: frozen, and told from the others by its field `k`."""


class _Timed(_Line, frozen=True, kw_only=True):
    """A line with an instant. `t` is not a number until the reader has converted `tw`; no reader hands that out."""

    t: float = math.nan
    tw: float | msgspec.UnsetType = msgspec.UNSET


class Clock(_Line, frozen=True, kw_only=True, tag="clock"):
    """Who writes this file, and the same instant on both clocks."""

    run: str
    tool: str
    mono: float
    wall: float
    pid: int


class Invoke(_Timed, frozen=True, kw_only=True, tag="invoke"):
    """A write is about to be sent."""

    op: str
    flow: str
    user: int


class Done(_Timed, frozen=True, kw_only=True, tag="done"):
    """A request has ended. `status` is 0 when no response came; `op` is None for a read."""

    op: str | None
    flow: str
    user: int
    d: float
    status: int
    outcome: Outcome
    write: bool
    digest: str | None = None
    seq: int | None = None
    err: str | None = None
    db: float | None = None
    lag: float | None = None
    verified: bool | msgspec.UnsetType | None = msgspec.UNSET


class User(_Timed, frozen=True, kw_only=True, tag="user"):
    """A virtual user began (`up`) or ended."""

    user: int
    up: bool


class End(_Timed, frozen=True, kw_only=True, tag="end"):
    """The writer has finished, having written this many invoke and done lines; `dropped` arrivals found nobody free."""

    invoked: int
    done: int
    dropped: int = 0


Line = Clock | Invoke | Done | User | End

_encode = msgspec.json.Encoder().encode


def outcome(
    status: int, headers: Mapping[str, object], sent: bool = True, *, complete: bool = True, code: str | None = None
) -> Outcome:
    """What became of a request that ended with `status` (0 when no response came).

    *ok* is acknowledged: a 2xx whose body was read whole (`complete`). *refused* is certainly not applied: a 4xx, a 503 with
    `Outcome: not-applied`, a connection refused before a byte left (`sent` is False). *unknown* is everything else.
    `headers` is keyed in lower case; `code` is the problem code of the body, where one was read.
    """
    if status == 0:
        return "unknown" if sent else "refused"
    if 200 <= status < 300:
        return "ok" if complete else "unknown"
    if status == 503:
        return "refused" if headers.get("outcome") == "not-applied" else "unknown"
    if status == 408 or (status == 409 and code == IN_PROGRESS):
        return "unknown"
    return "refused" if 400 <= status < 500 else "unknown"


class LedgerWriter:
    """Appends lines to `path`, each with one system call; the clock line is written at once.

    Lines are counted before they are written: a line that could not be written shows as counts that differ. Raises
    LedgerError when a line does not fit on the disk whole.
    """

    def __init__(self, path: Path, run: str, tool: str) -> None:
        self._path = path
        self._file = _open(path)
        self._invoked = self._done = 0
        self.write(clock_line(run, tool))

    def write(self, line: Line) -> None:
        """The line is in the file, whole, when this returns."""
        if isinstance(line, Invoke):
            self._invoked += 1
        elif isinstance(line, Done):
            self._done += 1
        _append(self._file, line, self._path)

    def user(self, number: int, *, up: bool) -> None:
        """The virtual user `number` begins or ends now."""
        self.write(User(user=number, t=time.monotonic(), up=up))

    def end(self, dropped: int = 0) -> None:
        """The last line, with the counts that let a reader see a ledger cut short."""
        self.write(End(invoked=self._invoked, done=self._done, t=time.monotonic(), dropped=dropped))

    def close(self) -> None:
        """Everything written is on the disk, and the file is closed."""
        os.fsync(self._file)
        os.close(self._file)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


def clock_line(run: str, tool: str) -> Clock:
    """The first line of a ledger that this process writes now."""
    return Clock(run=run, tool=tool, mono=time.monotonic(), wall=time.time(), pid=os.getpid())


def append(path: Path, *lines: Line) -> None:
    """The lines stand at the end of the ledger at `path`, for a tool that cannot write them itself."""
    file = _open(path)
    try:
        for line in lines:
            _append(file, line, path)
        os.fsync(file)
    finally:
        os.close(file)


def _open(path: Path) -> int:
    try:
        return os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o644)
    except OSError as error:
        raise LedgerError(f"The ledger {path} cannot be opened ({error.strerror}); check its directory.") from error


def _append(file: int, line: Line, path: Path) -> None:
    data = _encode(line) + b"\n"
    try:
        written = os.write(file, data)
    except OSError as error:
        raise LedgerError(f"The ledger {path} cannot be written ({error.strerror}); free its disk.") from error
    if written != len(data):
        raise LedgerError(f"The ledger {path} took only a part of a line; free its disk.")

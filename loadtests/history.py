"""Reading ledgers back: the history of a run, on one clock, and whether it is whole.

A torn last line, a line that is not of the format, an end line that is missing or counts other lines than there are, a
clock that jumped: none stops the reader, and each makes the history *cut short*, because a write may have been acknowledged
in what is missing, or at another time.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

import msgspec

from loadtests.errors import LedgerError
from loadtests.ledger import Clock, Done, End, Invoke, Line, Outcome, User

CLOCK_JUMP_S = 15.0
"""Answers further out of order than this were not held up by a busy machine: the clock was set."""

_decoder: msgspec.json.Decoder[Line] = msgspec.json.Decoder(Line)


@dataclass(frozen=True, slots=True)
class Write:
    """One write from its invoke to its end. `acked_t` is when the answer had been read; None when none came."""

    op: str
    flow: str
    user: int
    invoked_t: float
    acked_t: float | None
    outcome: Outcome
    status: int
    digest: str | None
    seq: int | None


@dataclass(frozen=True, slots=True)
class History:
    """Everything the ledgers say, in the order it was written. `cut_short` is why it is not whole; empty when it is."""

    clocks: tuple[Clock, ...]
    invokes: tuple[Invoke, ...]
    dones: tuple[Done, ...]
    users: tuple[User, ...]
    cut_short: str
    dropped: int = 0

    def writes(self) -> tuple[Write, ...]:
        """Every write by its invoke line; one without a done line is unknown."""
        ends = {done.op: done for done in self.dones if done.write}
        return tuple(_write(invoke, ends.get(invoke.op)) for invoke in self.invokes)


def read_history(*paths: Path) -> History:
    """The history in the ledgers at `paths`. Raises LedgerError when one is missing, or says nothing usable about time."""
    clocks: list[Clock] = []
    invokes: list[Invoke] = []
    dones: list[Done] = []
    users: list[User] = []
    flaws: list[str] = []
    dropped = 0
    for path in paths:
        try:
            lines, bad = decode(path.read_bytes())
        except OSError as error:
            raise LedgerError(
                f"The ledger {path} cannot be read ({error.strerror}); name a run that has one."
            ) from error
        by_wall = any(not isinstance(line, Clock) and line.tw is not msgspec.UNSET for line in lines)
        lines = on_monotonic_clock(lines, path)
        flaws += flaws_of(lines, bad, path)
        if by_wall and (off_s := _jump_s(lines)):
            flaws.append(f"{path.name} is out of order by {off_s:.1f} s, so the clock jumped")
        for line in lines:
            match line:
                case Done():
                    dones.append(line)
                case Invoke():
                    invokes.append(line)
                case User():
                    users.append(line)
                case Clock():
                    clocks.append(line)
                case End():
                    dropped += line.dropped
    flaws += [
        f"{op} was invoked {times} times" for op, times in Counter(one.op for one in invokes).items() if times > 1
    ]
    return History(tuple(clocks), tuple(invokes), tuple(dones), tuple(users), "; ".join(flaws[:3]), dropped)


def decode(data: bytes) -> tuple[list[Line], int]:
    """The lines of `data`, and how many are torn or not of the format."""
    whole, _, torn = data.rpartition(b"\n")
    try:
        return _decoder.decode_lines(whole), 1 if torn else 0
    except (msgspec.DecodeError, UnicodeDecodeError):
        lines = [line for raw in whole.split(b"\n") if (line := _decoded(raw)) is not None]
        return lines, whole.count(b"\n") + 1 - len(lines) + (1 if torn else 0)


def on_monotonic_clock(lines: Sequence[Line], path: Path) -> list[Line]:
    """The lines with `t` set in all of them. Raises LedgerError when one cannot be placed in time."""
    clock = next((line for line in lines if isinstance(line, Clock)), None)
    placed: list[Line] = []
    for line in lines:
        if not isinstance(line, Clock) and line.t != line.t:
            if line.tw is msgspec.UNSET or clock is None:
                raise LedgerError(
                    f"The ledger {path} has a line without an instant, or no clock line; it cannot be used."
                )
            line = msgspec.structs.replace(line, t=line.tw - clock.wall + clock.mono, tw=msgspec.UNSET)
        placed.append(line)
    return placed


class Tail:
    """Follows a ledger that is being written. It need not exist yet."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._offset = 0
        self._clock: tuple[Line, ...] = ()

    def poll(self) -> list[Line]:
        """The lines completed since the last call, on the monotonic clock."""
        try:
            with self._path.open("rb") as file:
                file.seek(self._offset)
                data = file.read()
        except FileNotFoundError:
            return []
        data = data[: data.rfind(b"\n") + 1]
        self._offset += len(data)
        lines, _ = decode(data)
        placed = on_monotonic_clock([*self._clock, *lines], self._path)[len(self._clock) :]
        self._clock = self._clock or tuple(line for line in lines if isinstance(line, Clock))[:1]
        return placed


def _decoded(raw: bytes) -> Line | None:
    try:
        return _decoder.decode(raw)
    except (msgspec.DecodeError, UnicodeDecodeError):
        return None


def flaws_of(lines: Sequence[Line], bad: int, path: Path) -> Iterable[str]:
    """Why the file with these lines, on the monotonic clock, and that many unreadable ones is not whole."""
    if not lines:
        yield f"{path.name} is empty"
        return
    if bad:
        yield f"{path.name} has {bad} torn or unreadable line{'s' if bad > 1 else ''}"
    end = lines[-1]
    if not isinstance(end, End):
        yield f"{path.name} has no end line"
        return
    for what, said, kind in (("invoke", end.invoked, Invoke), ("done", end.done, Done)):
        found = sum(isinstance(line, kind) for line in lines)
        if found != said:
            yield f"{path.name} holds {found} {what} lines where its end line counts {said}"


def _jump_s(lines: Sequence[Line]) -> float:
    """By how many seconds an answer stands before an earlier one, or after the end; 0 when time only went forward.

    Lines are written when their answer has come, so they can be out of order by no more than the writer was held up.
    """
    latest, off_s = -math.inf, 0.0
    end_t = next((line.t for line in reversed(lines) if isinstance(line, End)), math.inf)
    for line in lines:
        if isinstance(line, Done):
            read_t = line.t + line.d
            off_s = max(off_s, latest - read_t, read_t - end_t)
            latest = max(latest, read_t)
    return off_s if off_s > CLOCK_JUMP_S else 0.0


def _write(invoke: Invoke, done: Done | None) -> Write:
    if done is None:
        return Write(invoke.op, invoke.flow, invoke.user, invoke.t, None, "unknown", 0, None, None)
    answered = done.t + done.d if done.status else None
    return Write(
        invoke.op, invoke.flow, invoke.user, invoke.t, answered, done.outcome, done.status, done.digest, done.seq
    )

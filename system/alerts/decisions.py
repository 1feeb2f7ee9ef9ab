"""What people said about alerts: who has seen one, and which are to be quiet until when. One file, changed as a whole.

    <runtime>/alerts/decisions.json    written by the command and by boards, read by the service; no database is needed

An acknowledgement is of one episode, and lapses with it. A silence is of whatever matches, until its end.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import secrets
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Final

import msgspec

from system.alerts.expressions import check_matchers, fits
from system.alerts.states import Course, Said

LABELS: Final = ("alertname", "severity")
KEPT_S: Final = 7 * 86_400.0
"""How long a silence that has ended stays in the file."""


class DecisionRefused(Exception):
    """What was asked for cannot be done: what is wrong, and what is there."""

    exit_code = 2


class Acknowledgement(msgspec.Struct, frozen=True):
    """Somebody has seen the episode of that alert that began at `since`."""

    alert: str
    since: float
    at: float
    by: str
    why: str


class Silence(msgspec.Struct, frozen=True):
    """Whatever has these labels is not told between `begins` and `ends`."""

    id: str
    matchers: dict[str, str]
    begins: float
    ends: float
    by: str
    why: str

    def hides(self, labels: Mapping[str, str], now: float) -> bool:
        """Whether it is about such an alert, now."""
        return self.begins <= now < self.ends and fits(labels, self.matchers)


class Decisions(msgspec.Struct, frozen=True):
    """Everything that was said and still counts."""

    acknowledged: dict[str, Acknowledgement] = {}
    silences: tuple[Silence, ...] = ()

    def said(self, course: Course, severity: str, now: float) -> Said:
        """What was said about that alert, as of that instant."""
        labels = {"alertname": course.name, "severity": severity}
        ends = [one.ends for one in self.silences if one.hides(labels, now)]
        seen = self.acknowledged.get(course.name)
        return Said(seen is not None and seen.since == course.since, max(ends, default=None))


def read(place: Path) -> Decisions:
    """What was said so far; nothing when the file is not there. Raises DecisionRefused for one that is not ours."""
    path = place / "decisions.json"
    try:
        return msgspec.json.decode(path.read_bytes(), type=Decisions)
    except FileNotFoundError:
        return Decisions()
    except (OSError, msgspec.MsgspecError) as error:
        raise DecisionRefused(f"What was said about alerts cannot be read from {path}: {error}.") from error


def acknowledge(place: Path, course: Course, *, now: float, by: str, why: str) -> Acknowledgement:
    """The alert's episode is seen. Raises DecisionRefused when it does not fire."""
    if course.phase != "firing":
        raise DecisionRefused(f"{course.name} does not fire, so there is nothing to acknowledge; it is {course.phase}.")
    seen = Acknowledgement(course.name, course.since, now, by, why)
    _change(place, lambda was: msgspec.structs.replace(was, acknowledged={**was.acknowledged, course.name: seen}))
    return seen


def silence(place: Path, matchers: Mapping[str, str], *, now: float, lasting_s: float, by: str, why: str) -> Silence:
    """Whatever matches is quiet for so long. Raises DecisionRefused for matchers that make no sense."""
    unknown = sorted(matchers.keys() - set(LABELS))
    if not matchers or unknown:
        raise DecisionRefused(
            f"Alerts have no label {unknown[0]}; they have {' and '.join(LABELS)}."
            if unknown
            else "Say which alerts to silence: a name, or severity=warning."
        )
    try:
        check_matchers(matchers)
    except ValueError as error:
        raise DecisionRefused(f"{error}.") from error
    made = Silence(secrets.token_hex(4), dict(matchers), now, now + lasting_s, by, why)

    def added(was: Decisions) -> Decisions:
        kept = tuple(one for one in was.silences if one.ends > now - KEPT_S)
        return msgspec.structs.replace(was, silences=(*kept, made))

    _change(place, added)
    return made


def unsilence(place: Path, wanted: str, *, now: float) -> Silence:
    """That silence ends now. Raises DecisionRefused when there is none of that id that has not ended."""
    running = {one.id: one for one in read(place).silences if one.ends > now}
    if wanted not in running:
        there = f"there are {', '.join(running)}" if running else "there is none"
        raise DecisionRefused(f"No silence {wanted} is in force; {there}.")
    ended = msgspec.structs.replace(running[wanted], ends=now)

    def cut(was: Decisions) -> Decisions:
        return msgspec.structs.replace(was, silences=tuple(ended if one.id == wanted else one for one in was.silences))

    _change(place, cut)
    return ended


def _change(place: Path, change: Callable[[Decisions], Decisions]) -> None:
    path = place / "decisions.json"
    try:
        place.mkdir(parents=True, exist_ok=True)
        with _alone(place):
            _write_durably(path, msgspec.json.format(msgspec.json.encode(change(read(place)))))
    except OSError as error:
        raise DecisionRefused(f"That could not be written to {path}: {error.strerror}. Nothing has changed.") from error


def _write_durably(path: Path, content: bytes) -> None:
    partial = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        with partial.open("wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        partial.replace(path)
    finally:
        partial.unlink(missing_ok=True)


@contextlib.contextmanager
def _alone(place: Path) -> Iterator[None]:
    with (place / "decisions.lock").open("a") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield

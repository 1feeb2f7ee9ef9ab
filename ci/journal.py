"""What happened in a run, in order: one line per event in `events.jsonl`, on the monotonic clock and the wall clock."""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import msgspec


class Event(msgspec.Struct, frozen=True):
    """One thing that happened: `t` in monotonic seconds, `text` for people, `data` for whoever computes with it."""

    t: float
    wall: str
    event: str
    text: str
    data: dict[str, Any] = {}


class Journal:
    """Appends events; each is on its way to disk when `emit` returns. `listener` sees them too, for live progress."""

    def __init__(self, path: Path, listener: Callable[[Event], None] = lambda _event: None) -> None:
        self._file = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o644)
        self._listener = listener

    def emit(self, name: str, text: str, *, at: float | None = None, **data: Any) -> Event:
        """Records that `name` happened: now, or at the monotonic instant `at` when that was measured elsewhere."""
        now = time.monotonic()
        when = now if at is None else at
        wall = datetime.fromtimestamp(time.time() - (now - when), UTC).isoformat(timespec="milliseconds")
        event = Event(when, wall.replace("+00:00", "Z"), name, text, data)
        os.write(self._file, msgspec.json.encode(event) + b"\n")
        self._listener(event)
        return event

    def close(self) -> None:
        """Makes everything emitted durable."""
        os.fsync(self._file)
        os.close(self._file)


def read_events(path: Path) -> list[Event]:
    """The events of a run, in the order of their instants. A last line without its end was never finished: it is left out.

    Raises FileNotFoundError, or `msgspec.DecodeError` for a file that holds something else.
    """
    data = path.read_bytes()
    events = msgspec.json.Decoder(Event).decode_lines(data[: data.rfind(b"\n") + 1])
    return sorted(events, key=lambda event: event.t)

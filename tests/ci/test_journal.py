"""The journal keeps what happened, in the order of the instants."""

from __future__ import annotations

import time
from pathlib import Path

from ci.journal import Event, Journal, read_events


def test_events_come_back_in_the_order_of_their_instants(tmp_path: Path) -> None:
    journal = Journal(tmp_path / "events.jsonl")
    now = time.monotonic()
    journal.emit("second", "Later.", at=now)
    journal.emit("first", "Measured elsewhere.", at=now - 5, proof={"pid": 1})
    journal.close()
    first, second = read_events(tmp_path / "events.jsonl")
    assert (first.event, first.data, second.event) == ("first", {"proof": {"pid": 1}}, "second")
    assert first.wall < second.wall


def test_a_listener_sees_each_event_as_it_happens(tmp_path: Path) -> None:
    seen: list[Event] = []
    journal = Journal(tmp_path / "events.jsonl", seen.append)
    journal.emit("up", "Up.")
    assert [event.event for event in seen] == ["up"]
    journal.close()

"""Notifications: written with the event, delivered exactly once however the channel behaves, read by their owner."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import pytest

from system import notification_service
from system.challenge_service import decline, issue
from system.errors import Conflict, NotFound, Unavailable
from system.jobs import JOBS, Job, Operation, Reply
from system.notification_service import (
    FIRST_RETRY_MS,
    DeliveryFailed,
    Inbox,
    deliver_due,
    listing,
    mark_all_read,
    mark_read,
    pending_count,
    unlogged,
    unread_count,
)
from system.shapes import ID_MAX
from system.statements import Session
from tests.system.front import Front
from tests.system.gym import Gym, faults

ANN, BOB = 1, 2

OUTBOX = "SELECT state, attempts, next_attempt_ms FROM notification_outbox ORDER BY id"
LOG = "SELECT outbox_id, attempt, outcome, error FROM delivery_records ORDER BY id"


@pytest.fixture
def told(gym: Gym) -> Gym:
    """Ann challenged Bob three times, and nothing was delivered yet."""
    gym.user("ann")
    gym.user("bob")
    for title in ("Rowing", "Ropes", "Rings"):
        gym.apply(issue, BOB, 1, title, actor=ANN)
    return gym


class Broken:
    """A channel that writes into the inbox and then fails, for the entries it is told to."""

    def __init__(self, *entries: int, reason: str = "the line is down") -> None:
        self.entries = entries
        self.reason = reason

    def deliver(self, session: Session, entries: Sequence[Mapping[str, Any]], now_ms: int) -> None:
        Inbox().deliver(session, entries, now_ms)
        if any(entry["id"] in self.entries for entry in entries):
            raise DeliveryFailed(self.reason)


class Crashing:
    """A channel with a bug: it raises what no channel may."""

    def deliver(self, session: Session, entries: Sequence[Mapping[str, Any]], now_ms: int) -> None:
        Inbox().deliver(session, entries, now_ms)
        raise RuntimeError("planted")


def test_an_event_and_its_outbox_row_exist_together(told: Gym) -> None:
    assert told.rows("SELECT user_id, kind, state, subject_id FROM notification_outbox") == [
        (BOB, "challenge-issued", "pending", 1),
        (BOB, "challenge-issued", "pending", 2),
        (BOB, "challenge-issued", "pending", 3),
    ]
    assert told.read(pending_count) == 3
    assert told.read(unread_count, BOB) == {"unread": 0}


def test_a_refused_event_tells_nobody(told: Gym) -> None:
    told.batch([(decline, (1,), ANN), (issue, (ANN, 1, "Self"), ANN)])
    assert told.read(pending_count) == 3


def test_an_event_that_fails_after_it_told_somebody_told_nobody(told: Gym, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail_late(session: Session, operation: Operation) -> Reply:
        """Challenges Bob as `issue` does, outbox and all, and fails when everything is written."""
        issue(session, operation, BOB, 1, "Rafting")
        assert notification_service.pending_count(session) == 4
        raise Conflict("too-late", "Not after all.")

    monkeypatch.setitem(JOBS, "tests.fail_late", Job(fail_late, "tests", "tests.fail_late", ()))
    with pytest.raises(Conflict, match="Not after all"):
        told.apply(JOBS["tests.fail_late"], actor=ANN)
    assert told.read(pending_count) == 3
    assert told.rows("SELECT count(*) FROM challenges") == [(3,)]
    assert faults(told.facts()) == []


def test_delivering_fills_the_inbox_once(told: Gym) -> None:
    assert told.apply(deliver_due, 100, told.now_ms) == {"delivered": 3, "failed": 0}
    assert told.apply(deliver_due, 100, told.now_ms) is None
    assert told.read(unread_count, BOB) == {"unread": 3}
    assert told.rows(LOG) == [(1, 1, "delivered", ""), (2, 1, "delivered", ""), (3, 1, "delivered", "")]
    assert told.read(pending_count) == 0
    assert faults(told.facts()) == []


def test_a_turn_that_finds_nothing_leaves_no_trace(gym: Gym) -> None:
    gym.apply(deliver_due, 100, gym.now_ms)
    assert gym.rows("SELECT count(*) FROM operations") == [(0,)]
    assert gym.rows("SELECT count(*) FROM activity") == [(0,)]


def test_a_turn_is_bounded(told: Gym) -> None:
    assert told.apply(deliver_due, 2, told.now_ms) == {"delivered": 2, "failed": 0}
    assert told.read(pending_count) == 1


def test_what_a_failing_channel_wrote_is_undone_and_the_others_are_delivered(
    told: Gym, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(notification_service, "CHANNEL", Broken(2))
    assert told.apply(deliver_due, 100, told.now_ms) == {"delivered": 2, "failed": 1}
    assert told.rows("SELECT outbox_id FROM notifications ORDER BY id") == [(1,), (3,)]
    assert told.rows(LOG)[1] == (2, 1, "failed", "the line is down")
    assert told.rows(OUTBOX)[1] == ("pending", 1, told.now_ms + FIRST_RETRY_MS)
    assert faults(told.facts()) == []


def test_a_failure_without_a_reason_is_still_a_failure(told: Gym, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(notification_service, "CHANNEL", Broken(1, 2, 3, reason=""))
    assert told.apply(deliver_due, 100, told.now_ms) == {"delivered": 0, "failed": 3}
    assert told.rows(LOG)[0] == (1, 1, "failed", "The channel gave no reason.")
    assert faults(told.facts()) == []


def test_a_long_reason_is_cut_to_what_the_log_holds(told: Gym, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(notification_service, "CHANNEL", Broken(1, reason="x" * 1_000))
    told.apply(deliver_due, 1, told.now_ms)
    assert told.rows("SELECT length(error) FROM delivery_records") == [(300,)]


def test_a_failed_delivery_is_tried_again_ever_later_and_then_given_up(
    told: Gym, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(notification_service, "CHANNEL", Broken(1))
    waited = []
    for _ in range(8):
        told.apply(deliver_due, 1_000, told.now_ms)
        ((_, _, due_ms), *_) = told.rows(OUTBOX)
        waited.append(due_ms - told.now_ms)
        assert told.apply(deliver_due, 1_000, due_ms - 1) is None
        told.now_ms = due_ms
    assert waited == [1_000, 2_000, 4_000, 8_000, 16_000, 32_000, 64_000, 128_000]
    assert told.rows(OUTBOX)[0][:2] == ("dead", 8)
    assert told.apply(deliver_due, 1_000, told.now_ms) is None
    assert told.rows("SELECT count(*) FROM delivery_records WHERE outbox_id = 1") == [(8,)]


def test_what_cannot_be_recorded_is_delivered_all_the_same_and_counted(told: Gym) -> None:
    told.tamper("ALTER TABLE delivery_records RENAME TO away")
    assert told.apply(deliver_due, 100, told.now_ms) == {"delivered": 3, "failed": 0, "unlogged": 3}
    assert told.read(unread_count, BOB) == {"unread": 3}
    assert faults(told.facts()) == []


def test_what_an_answer_says_of_its_records() -> None:
    assert unlogged(b"") == 0
    assert unlogged(b'{"delivered": 3, "failed": 0}') == 0
    assert unlogged(b'{"delivered": 3, "failed": 0, "unlogged": 3}') == 3


def test_a_channel_that_recovers_delivers_what_waited(told: Gym, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(notification_service, "CHANNEL", Broken(1, 2, 3))
    told.apply(deliver_due, 100, told.now_ms)
    monkeypatch.undo()
    told.now_ms += FIRST_RETRY_MS
    assert told.apply(deliver_due, 100, told.now_ms) == {"delivered": 3, "failed": 0}
    assert told.rows("SELECT count(*) FROM notifications") == [(3,)]
    assert faults(told.facts()) == []


def test_a_channel_with_a_bug_undoes_the_whole_turn(told: Gym, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(notification_service, "CHANNEL", Crashing())
    with pytest.raises(Unavailable):
        told.apply(deliver_due, 100, told.now_ms)
    assert told.rows("SELECT count(*) FROM notifications") == [(0,)]
    assert told.rows("SELECT count(*) FROM delivery_records") == [(0,)]
    assert told.read(pending_count) == 3


def test_an_entry_that_is_in_the_inbox_already_is_not_delivered_again(told: Gym) -> None:
    """As after a restore that kept the inbox and lost the outbox' state: it holds nothing up, and nobody is told twice."""
    told.apply(deliver_due, 100, told.now_ms)
    told.tamper("UPDATE notification_outbox SET state = 'pending' WHERE id = 2")
    assert told.apply(deliver_due, 100, told.now_ms + FIRST_RETRY_MS) == {"delivered": 1, "failed": 0}
    assert told.rows("SELECT outbox_id FROM notifications ORDER BY id") == [(1,), (2,), (3,)]
    assert faults(told.facts()) == []


def test_reading_one_leaves_the_others_unread(told: Gym) -> None:
    told.apply(deliver_due, 100, told.now_ms)
    assert told.apply(mark_read, 2, actor=BOB) == {"id": 2, "read": True}
    assert told.read(unread_count, BOB) == {"unread": 2}
    assert [one["id"] for one in told.read(listing, BOB, True, 10, ID_MAX)["notifications"]] == [3, 1]
    assert [one["id"] for one in told.read(listing, BOB, False, 10, ID_MAX)["notifications"]] == [3, 2, 1]


def test_reading_twice_keeps_the_first_time(told: Gym) -> None:
    told.apply(deliver_due, 100, told.now_ms)
    told.apply(mark_read, 1, actor=BOB)
    told.now_ms += 5
    told.apply(mark_read, 1, actor=BOB)
    assert told.rows("SELECT read_ms FROM notifications WHERE id = 1") == [(told.now_ms - 5,)]


def test_nobody_reads_what_is_not_theirs(told: Gym) -> None:
    told.apply(deliver_due, 100, told.now_ms)
    for actor, number in ((ANN, 1), (BOB, 99)):
        with pytest.raises(NotFound):
            told.apply(mark_read, number, actor=actor)
    assert told.read(unread_count, BOB) == {"unread": 3}


def test_reading_all_reads_ones_own(told: Gym) -> None:
    told.apply(decline, 1, actor=BOB)
    told.apply(deliver_due, 100, told.now_ms)
    assert told.apply(mark_all_read, actor=BOB) == {"read": 3}
    assert told.apply(mark_all_read, actor=BOB) == {"read": 0}
    assert (told.read(unread_count, ANN), told.read(unread_count, BOB)) == ({"unread": 1}, {"unread": 0})


def test_a_listing_continues_where_its_page_ended(told: Gym) -> None:
    told.apply(deliver_due, 100, told.now_ms)
    first = told.read(listing, BOB, False, 2, ID_MAX)
    second = told.read(listing, BOB, False, 2, first["next"])
    assert [one["id"] for page in (first, second) for one in page["notifications"]] == [3, 2, 1]
    assert second["next"] is None


def test_notifications_over_http(front: Front) -> None:
    """The worker of the running service delivers; nobody asks it to."""
    (_, token), (opponent, other) = front.join("n-ann"), front.join("n-bob")
    for _ in range(2):
        body = {"opponent_id": opponent, "stake": 1, "title": "Rowing"}
        assert front.call("POST", "/challenges", body, token=token).status_code == 201
    front.until(lambda: front.call("GET", "/notifications/unread-count", token=other).json() == {"unread": 2})
    newest, oldest = front.call("GET", "/notifications?unread=true", token=other).json()["notifications"]
    assert newest["text"] == "You were challenged to “Rowing” for 1 points."
    assert front.call("POST", f"/notifications/{oldest['id']}/read", {}, token=other).status_code == 200
    assert front.call("POST", f"/notifications/{oldest['id']}/read", {}, token=token).status_code == 404
    assert front.call("POST", "/notifications/read-all", {}, token=other).json() == {"read": 1}
    assert front.call("GET", "/notifications/unread-count", token=other).json() == {"unread": 0}

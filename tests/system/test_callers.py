"""Whose write it is: found out in the write's own transaction, before anything else of it, and recorded for nobody."""

from __future__ import annotations

import contextlib
import threading
import time
from collections.abc import Iterator
from typing import Any

import msgspec
import pysqlite3.dbapi2 as sqlite
import pytest

from system import challenge_service, user_service
from system.jobs import Caller, Operation, fingerprint
from system.reads import ReadTooLong
from system.wire import Answer, Ask
from tests.system.front import Front
from tests.system.gym import RUN, Gym, PostgresGym, SqliteGym

ANNS, BOBS = "a" * 64, "b" * 64
ASKED = b"PATCH\0/users/me\0{}"


@pytest.fixture
def club(gym: Gym) -> Gym:
    """Ann and Bob have signed up and logged in."""
    for name, token in (("ann", ANNS), ("bob", BOBS)):
        user = gym.user(name)
        gym.apply(user_service.log_in, user, token, gym.now_ms + 1_000, None, actor=user)
    return gym


def by(gym: Gym, token: str, op: str, job: Any = user_service.edit_profile, *args: Any, asked: bytes = ASKED) -> Ask:
    """A write of whoever has the token: of a profile, unless another job is given."""
    operation = Operation(op, RUN, None, "", gym.now_ms)
    return Ask(0, job.name, args or (None, op), operation, time.monotonic() + 30, Caller(token, asked))


def run(gym: Gym, *asks: Ask) -> list[Answer]:
    """Their answers; those of SQLite shared one commit."""
    numbered = [msgspec.structs.replace(one, number=number) for number, one in enumerate(asks)]
    return sorted(gym.run(numbered), key=lambda answer: answer.number)


def refused(answer: Answer) -> bool:
    return (answer.kind, answer.code) == ("unauthorised", "session-unknown")


def bios(gym: Gym) -> list[str]:
    return [bio for (bio,) in gym.rows("SELECT bio FROM users ORDER BY id")]


def recorded(gym: Gym) -> list[Any]:
    """The operations of these tests, with whoever made them."""
    return gym.rows("SELECT id, actor_id, fingerprint FROM operations WHERE job = 'user.edit_profile' ORDER BY id")


def test_a_write_is_made_and_recorded_for_whoever_the_token_belongs_to(club: Gym) -> None:
    answers = run(club, by(club, BOBS, "r.x"), by(club, ANNS, "r.y"))
    assert [answer.kind for answer in answers] == ["", ""]
    assert bios(club) == ["r.y", "r.x"]
    assert recorded(club) == [("r.x", 2, fingerprint(2, ASKED)), ("r.y", 1, fingerprint(1, ASKED))]


@pytest.mark.parametrize("late_ms", [999, 1_000])
def test_a_session_writes_until_it_expires(club: Gym, late_ms: int) -> None:
    club.now_ms += late_ms
    (answer,) = run(club, by(club, ANNS, "r.x"))
    assert refused(answer) == (late_ms == 1_000)
    assert bios(club)[0] == ("" if late_ms == 1_000 else "r.x")


def test_an_unknown_token_writes_nothing_and_the_others_of_its_batch_are_applied(club: Gym) -> None:
    answers = run(club, by(club, ANNS, "r.x"), by(club, "0" * 64, "r.y"), by(club, BOBS, "r.z"))
    assert [refused(answer) for answer in answers] == [False, True, False]
    assert [op for op, _, _ in recorded(club)] == ["r.x", "r.z"]
    assert club.rows("SELECT 1 FROM activity WHERE operation_id = 'r.y'") == []


def test_a_session_revoked_between_two_writes_makes_the_first_alone(club: Gym) -> None:
    """All three are in one batch: what the second did is not committed yet when the third is refused for it."""
    answers = run(
        club,
        by(club, ANNS, "r.before"),
        by(club, ANNS, "r.out", user_service.log_out, ANNS),
        by(club, ANNS, "r.after"),
    )
    assert [(answer.kind, answer.status) for answer in answers[:2]] == [("", 200), ("", 200)]
    assert refused(answers[2])
    assert bios(club) == ["r.before", ""]
    assert club.rows("SELECT 1 FROM operations WHERE id = 'r.after'") == []


def test_a_session_revoked_while_its_write_waits_writes_nothing(club: Gym) -> None:
    answers: list[Answer] = []
    asking = threading.Thread(target=lambda: answers.extend(run(club, by(club, BOBS, "r.x"))))
    with _kept_waiting(club, asking) as revoke:
        revoke("UPDATE user_sessions SET revoked_ms = 1 WHERE user_id = 2")
    asking.join(20)
    assert [refused(answer) for answer in answers] == [True]
    assert bios(club)[1] == ""


def test_a_replay_is_told_to_nobody_without_a_session(club: Gym) -> None:
    run(club, by(club, ANNS, "r.x"), by(club, ANNS, "r.out", user_service.log_out, ANNS))
    (nobody,), (other,) = run(club, by(club, ANNS, "r.x")), run(club, by(club, BOBS, "r.x"))
    assert refused(nobody)
    assert (other.kind, other.code) == ("reused", "operation-reused")


def test_a_replay_is_told_to_whoever_made_it(club: Gym) -> None:
    first, again = (run(club, by(club, ANNS, "r.x"))[0] for _ in range(2))
    assert (again.replayed, again.body, again.sequence) == (True, first.body, first.sequence)


def test_a_job_that_says_no_leaves_no_trace_of_its_caller(club: Gym) -> None:
    (answer,) = run(club, by(club, ANNS, "r.x", challenge_service.issue, 1, 10, "Rowing"))
    assert (answer.kind, answer.code) == ("invalid", "self-challenge")
    assert club.rows("SELECT 1 FROM operations WHERE id = 'r.x'") == []


@pytest.mark.parametrize(
    ("body", "raw", "op"), [({"bio": 5}, None, None), (None, b"{", None), ({"bio": "x"}, None, "system.mine")]
)
def test_a_session_that_does_not_hold_is_told_before_what_is_wrong_with_the_request(
    front: Front, body: Any, raw: bytes | None, op: str | None
) -> None:
    token = front.regular()
    answers = [front.call("PATCH", "/users/me", body, token=one, raw=raw, op=op) for one in ("", "wrong", token)]
    assert [(one.status_code, one.json()["code"]) for one in answers[:2]] == [
        (401, "session-required"),
        (401, "session-unknown"),
    ]
    assert answers[2].status_code == 400


def test_a_write_is_not_refused_because_a_read_ran_over_its_time(front: Front, monkeypatch: pytest.MonkeyPatch) -> None:
    _, token = front.join("caller-climber")

    async def too_long(*_: Any) -> Any:
        raise ReadTooLong

    monkeypatch.setattr(front.app.state.lanes._reader, "read", too_long)
    assert front.call("GET", "/users/me", token=token).status_code == 503
    assert front.call("PATCH", "/users/me", {"bio": "Climbs."}, token=token).status_code == 200


@contextlib.contextmanager
def _kept_waiting(gym: Gym, asking: threading.Thread) -> Iterator[Any]:
    """Nothing is written while the block runs; what it is given to execute is committed at its end."""
    if isinstance(gym, SqliteGym):
        with contextlib.closing(sqlite.connect(gym.path, isolation_level=None)) as connection:
            connection.execute("BEGIN IMMEDIATE")
            begun = threading.Event()
            held = gym.batches._held
            assert held is not None
            held.raw.set_trace_callback(lambda sql: begun.set() if sql.startswith("BEGIN") else None)
            asking.start()
            assert begun.wait(20), "The batch does not begin."
            yield connection.execute
            connection.execute("COMMIT")
        return
    assert isinstance(gym, PostgresGym)
    # Its one session has something to do: a write that waits for a row.
    ahead = threading.Thread(target=lambda: run(gym, by(gym, ANNS, "r.ahead")))
    with gym.server.connect(gym.name) as holding, gym.server.connect(gym.name) as revoking:
        holding.execute("BEGIN")
        holding.execute("SELECT 1 FROM users WHERE id = 1 FOR UPDATE")
        ahead.start()
        _until_waiting(gym)
        asking.start()
        yield revoking.execute
        holding.execute("COMMIT")
    ahead.join(20)


def _until_waiting(gym: Gym) -> None:
    deadline = time.monotonic() + 20
    waiting = "SELECT 1 FROM pg_stat_activity WHERE wait_event_type = 'Lock' AND datname = current_database()"
    while not gym.rows(waiting):
        assert time.monotonic() < deadline, "Nothing waits for the row."
        time.sleep(0.005)

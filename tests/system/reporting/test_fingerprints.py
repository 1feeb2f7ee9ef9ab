"""Two errors are the same one by their type, code and place, and by nothing that a client or a release changes."""

from __future__ import annotations

import time

from system import user_service
from system.errors import Unavailable
from system.jobs import Operation
from system.reporting.fingerprints import Fault, cause_of, fault_of
from system.wire import Ask
from tests.system.gym import Gym


def raised(text: str) -> BaseException:
    """An error that arose in the service's own code, and says something of its caller."""
    try:
        user_service.profile(text, 1)  # type: ignore[arg-type]  # nothing to read from: that is the error
    except AttributeError as error:
        return error
    raise AssertionError("it did not fail")


def test_an_unexpected_error_is_grouped_by_where_it_arose() -> None:
    one, other = fault_of(raised("a"), 500, "users.me"), fault_of(raised("b"), 500, "users.user")
    assert (one.kind, one.code, one.place) == ("AttributeError", "internal", "user_service.profile")
    assert one.fingerprint == other.fingerprint


def test_what_a_rule_said_is_grouped_by_its_code_and_what_was_asked() -> None:
    first = fault_of(Unavailable("lane-full", "One."), 503, "users.me")
    again = fault_of(Unavailable("lane-full", "Another."), 503, "users.me")
    elsewhere = fault_of(Unavailable("lane-full", "One."), 503, "users.user")
    otherwise = fault_of(Unavailable("deadline-passed", "One."), 503, "users.me")
    assert first.fingerprint == again.fingerprint
    assert len({one.fingerprint for one in (first, elsewhere, otherwise)}) == 3


def test_a_fingerprint_is_the_same_in_every_process_and_release() -> None:
    assert Fault("KeyError", "internal", "lanes.read", 500, "x").fingerprint == "d8684073892150e1"


def test_a_job_that_the_database_broke_is_told_by_its_cause(gym: Gym) -> None:
    """The client hears that the operation failed; the record hears of what, where, and no row's values."""
    operation = Operation("r.broken", "r", None, "", gym.now_ms)
    nobody = Ask(0, user_service.log_in.name, (4_711, "f" * 64, gym.now_ms, None), operation, time.monotonic() + 30)
    (answer,) = gym.run([nobody])
    assert (answer.code, answer.message) == ("job-failed", "The operation failed and was rolled back.")
    assert answer.cause is not None
    kind, place, message = answer.cause
    assert (kind in ("IntegrityError", "ForeignKeyViolation"), place) == (True, "user_service.log_in")
    assert "f" * 64 not in message


def test_no_secret_is_in_a_message_and_it_is_one_short_line() -> None:
    kind, _, message = cause_of(ValueError("password='hunter22' of postgresql://gym:hunter22@h/x\nsecond line"))
    assert (kind, "hunter22" in message, "second" in message) == ("ValueError", False, False)
    assert len(cause_of(ValueError("x y" * 1000))[2]) == 300

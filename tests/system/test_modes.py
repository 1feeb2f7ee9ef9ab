"""Degraded modes: entered by their cause, told by their name, left by their end; and the breaker of one domain."""

from __future__ import annotations

from pathlib import Path

import pytest

from system.breaker import FAULTS, FIRST_PAUSE_S, TRIAL_INTERVAL_S, TRIALS, WINDOW_S, Breakers
from system.errors import Unavailable
from system.modes import Modes
from tests.system.test_admission import Clock


def refused(modes: Modes, domain: str, *, writes: bool) -> str:
    """The code it is refused with, empty when it is not."""
    try:
        modes.check(domain, writes=writes)
    except Unavailable as error:
        return error.code
    return ""


def test_read_only_refuses_writes_alone_until_one_is_committed(tmp_path: Path) -> None:
    modes = Modes(tmp_path)
    modes.refuse_writes("The disk is full.")
    modes.refuse_writes("Something else.")
    assert modes.told() == {"read-only": "The disk is full."}
    assert (refused(modes, "users", writes=True), refused(modes, "users", writes=False)) == ("read-only", "")
    modes.take_writes()
    assert modes.told() == {}
    assert refused(modes, "users", writes=True) == ""


def test_a_file_turns_its_domain_off_and_no_other(tmp_path: Path) -> None:
    modes = Modes(tmp_path)
    (tmp_path / "off").mkdir()
    (tmp_path / "off" / "challenges").write_text("The stakes are wrong;\nback at noon.\n")
    (tmp_path / "off" / "matches").touch()
    (tmp_path / "off" / "sessions").touch()
    modes.look()
    assert modes.told() == {
        "challenges-off": "The stakes are wrong; back at noon.",
        "matches-off": "An operator turned it off.",
    }
    assert refused(modes, "challenges", writes=False) == "domain-off"
    assert {refused(modes, domain, writes=True) for domain in ("users", "sessions", "tournaments")} == {""}
    (tmp_path / "off" / "challenges").unlink()
    modes.look()
    assert refused(modes, "challenges", writes=True) == ""


def broken(breakers: Breakers, now: float, others_fail: bool = False) -> None:
    for _ in range(FAULTS):
        breakers.told("users", others_fail, now)
        breakers.told("challenges", True, now)


def test_a_domain_whose_jobs_keep_failing_is_turned_off() -> None:
    breakers = Breakers(("users", "challenges"))
    broken(breakers, 50.0)
    assert breakers.off() == ["challenges"]
    assert breakers.lets_in("users", 50.0)
    assert not breakers.lets_in("challenges", 50.0)


def test_what_fails_everywhere_turns_nothing_off() -> None:
    breakers = Breakers(("users", "challenges"))
    broken(breakers, 50.0, others_fail=True)
    assert breakers.off() == []


def test_what_fails_now_and_then_turns_nothing_off() -> None:
    breakers = Breakers(("users", "challenges"))
    for number in range(200):
        breakers.told("users", False, 50.0)
        breakers.told("challenges", number % 3 == 0, 50.0)
    assert breakers.off() == []


def test_what_failed_long_ago_is_forgotten() -> None:
    breakers = Breakers(("users", "challenges"))
    for number in range(10 * FAULTS):
        breakers.told("users", False, number * WINDOW_S)
        breakers.told("challenges", True, number * WINDOW_S)
    assert breakers.off() == []


def test_it_is_tried_now_and_then_after_its_pause_and_is_on_after_a_few_successes() -> None:
    breakers = Breakers(("users", "challenges"))
    broken(breakers, 50.0)
    now = 50.0 + FIRST_PAUSE_S
    breakers.told("challenges", False, now - 0.1)  # One that had begun before.
    for _ in range(TRIALS):
        assert breakers.off() == ["challenges"]
        assert breakers.lets_in("challenges", now)
        assert not breakers.lets_in("challenges", now)
        breakers.told("challenges", False, now)
        now += TRIAL_INTERVAL_S
    assert breakers.off() == []


def test_a_trial_that_fails_turns_it_off_for_twice_as_long() -> None:
    breakers = Breakers(("users", "challenges"))
    broken(breakers, 50.0)
    now = 50.0 + FIRST_PAUSE_S
    assert breakers.lets_in("challenges", now)
    breakers.told("challenges", True, now)
    assert not breakers.lets_in("challenges", now + 1.9 * FIRST_PAUSE_S)
    assert breakers.lets_in("challenges", now + 2.0 * FIRST_PAUSE_S)


@pytest.mark.parametrize("failed", [True, False])
def test_modes_tell_of_a_breaker(failed: bool, tmp_path: Path) -> None:
    modes = Modes(tmp_path, Clock())
    for _ in range(FAULTS):
        modes.ended("users", failed=False)
        modes.ended("matches", failed=failed)
    assert modes.told() == ({"matches-off": "Its jobs keep failing."} if failed else {})
    assert refused(modes, "matches", writes=False) == ("domain-off" if failed else "")

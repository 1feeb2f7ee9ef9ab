"""The pulse of a running load."""

from __future__ import annotations

from loadtests.ledger import Done, User
from loadtests.live import Pulse
from loadtests.scenario import Scenario


def done(t: float, status: int = 200) -> Done:
    outcome = "ok" if status == 200 else "unknown"
    return Done(op=None, flow="profile", user=1, t=t, d=0.05, status=status, outcome=outcome, write=False)  # type: ignore[arg-type]


def test_pulse_counts_everything_and_rates_the_newest(gym_day: Scenario) -> None:
    """Requests and failures from the first on, rate and speed of the last ten seconds."""
    pulse = Pulse(gym_day)
    pulse.feed([User(user=1, t=0.0, up=True), User(user=2, t=0.0, up=True), User(user=2, t=1.0, up=False)])
    pulse.feed([done(1.0), *[done(95.0)] * 20, done(96.0, status=0)])
    assert pulse.line(100.0) == "1 users  22 requests  2/s  p95 50 ms  1 failures"


def test_pulse_of_an_outage(gym_day: Scenario) -> None:
    """Failures are no speed."""
    pulse = Pulse(gym_day)
    pulse.feed([done(95.0, status=0)])
    assert pulse.line(100.0) == "0 users  1 requests  0/s  no answer yet  1 failures"

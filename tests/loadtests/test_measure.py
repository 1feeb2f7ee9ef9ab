"""Figures folded from histories written out literally."""

from __future__ import annotations

import math

import pytest

from loadtests.history import History
from loadtests.ledger import Done, Invoke, User
from loadtests.measure import Request, Second, Window, figures, mean_users, observe, per_second, requests, steady_window
from loadtests.scenario import Scenario


def read(t: float, *, d: float = 0.01, status: int = 200, flow: str = "profile") -> Done:
    outcome = "ok" if status == 200 else "unknown" if status in (0, 500) else "refused"
    return Done(op=None, flow=flow, user=1, t=t, d=d, status=status, outcome=outcome, write=False)  # type: ignore[arg-type]


def written(op: str, t: float, *, status: int = 201, flow: str = "join") -> Done:
    outcome = "ok" if status < 300 else "refused"
    return Done(op=op, flow=flow, user=1, t=t, d=0.02, status=status, outcome=outcome, write=True)  # type: ignore[arg-type]


def invoke(op: str, t: float, flow: str = "join") -> Invoke:
    return Invoke(op=op, flow=flow, user=1, t=t)


def user(number: int, t: float, *, up: bool = True) -> User:
    return User(user=number, t=t, up=up)


def history(*, dones: list[Done] = [], invokes: list[Invoke] = [], users: list[User] = []) -> History:  # noqa: B006
    return History((), tuple(invokes), tuple(dones), tuple(users), "")


def test_expected_refusal_is_good_and_counted_apart(gym_day: Scenario) -> None:
    """Joining a full tournament answers 409, as it should."""
    found = observe(
        history(invokes=[invoke("a", 1.0), invoke("b", 2.0)], dones=[written("a", 1.0), written("b", 2.0, status=409)]),
        gym_day,
    )
    assert (found.total.requests, found.total.failures, found.total.refused) == (2, 0, 1)


@pytest.mark.parametrize("status", [0, 401, 404, 409, 500, 503])
def test_status_the_flow_does_not_expect_is_a_failure(gym_day: Scenario, status: int) -> None:
    """A profile has no reason to answer anything but 200."""
    assert observe(history(dones=[read(1.0, status=status)]), gym_day).total.failures == 1


def test_acknowledgement_that_was_not_read_is_a_failure(gym_day: Scenario) -> None:
    """A 200 whose body broke off is unknown, whatever its status says."""
    done = Done(op=None, flow="profile", user=1, t=1.0, d=0.01, status=200, outcome="unknown", write=False)
    assert observe(history(dones=[done]), gym_day).total.failures == 1


def test_write_without_an_end_is_a_failure(gym_day: Scenario) -> None:
    """It was sent, and nobody saw what became of it."""
    assert requests(history(invokes=[invoke("a", 3.0)]), gym_day) == (Request("join", 3.0, None, 0, good=False),)


def test_flow_of_no_scenario_is_good_when_acknowledged(gym_day: Scenario) -> None:
    """The canary's lines may be folded with the users'."""
    assert requests(history(dones=[read(1.0, flow="canary-read")]), gym_day)[0].good
    assert not requests(history(dones=[read(1.0, flow="canary-read", status=404)]), gym_day)[0].good


def test_flows_come_in_the_scenarios_order_and_strangers_last(gym_day: Scenario) -> None:
    """So that two runs' tables can be laid side by side."""
    dones = [read(1.0, flow="canary"), read(1.0, flow="unread"), read(1.0, flow="profile")]
    assert [one.name for one in observe(history(dones=dones), gym_day).flows] == ["profile", "unread", "canary"]


def test_request_belongs_to_the_window_it_starts_in(gym_day: Scenario) -> None:
    """The end of the window is not part of it."""
    dones = [read(0.999), read(1.0), read(1.999, d=5.0), read(2.0)]
    assert observe(history(dones=dones), gym_day, Window(1.0, 2.0)).total.requests == 2


def test_percentiles_charge_failures() -> None:
    """Ten failures in two hundred and the p99 is infinite; the median is not touched."""
    good = [Request("profile", float(n), 0.001 * n, 200, good=True) for n in range(1, 991)]
    bad = [Request("profile", 0.0, 0.0, 0, good=False)] * 20
    found = figures("profile", good + bad, seconds=10.0)
    assert found.p50_ms == pytest.approx(505.5)
    assert found.p99_ms == math.inf
    assert (found.requests, found.failures, found.rate) == (1010, 20, 101.0)


def test_percentile_without_ten_samples_beyond_is_none() -> None:
    """199 samples resolve a median and no p95."""
    found = figures("profile", [Request("profile", 0.0, 0.5, 200, good=True)] * 199, seconds=1.0)
    assert (found.p50_ms, found.p95_ms) == (500.0, None)


def test_expected_rate_follows_from_the_users_that_were_up(gym_day: Scenario) -> None:
    """Four users for half of the window are two users; thinking 2 s and served in 10 ms, they make one request a second."""
    users = [user(number, 0.0) for number in range(1, 5)] + [user(number, 5.0, up=False) for number in range(1, 5)]
    found = observe(history(dones=[read(1.0), read(2.0)], users=users), gym_day, Window(0.0, 10.0))
    assert found.users == 2.0
    assert found.expected_rate == pytest.approx(2 / 2.01)
    assert found.rate_residual == pytest.approx(0.2 / (2 / 2.01) - 1)


def test_users_still_up_count_to_the_end_of_the_window() -> None:
    """A killed generator never says that they left."""
    assert mean_users(history(users=[user(1, 2.0)]), Window(0.0, 4.0)) == 0.5
    assert mean_users(history(users=[user(1, 2.0)]), Window(5.0, 5.0)) == 0.0


def test_steady_window_runs_from_the_last_arrival_to_the_first_departure() -> None:
    """Ramp and good-byes are not measured."""
    users = [user(1, 0.0), user(2, 1.0), user(3, 2.0), user(1, 9.0, up=False), user(2, 9.5, up=False)]
    dones = [read(8.9), read(9.4)]
    assert steady_window(history(dones=dones, users=users)) == Window(2.0, 9.0)
    assert steady_window(history(dones=dones, users=users), settle_s=3.0) == Window(5.0, 9.0)


def test_steady_window_of_a_killed_generator_ends_with_its_last_request() -> None:
    """Nobody left, so the last sign of life counts."""
    assert steady_window(history(dones=[read(3.0)], users=[user(1, 1.0)])) == Window(1.0, 3.0)


@pytest.mark.parametrize(
    "empty",
    [
        history(),
        history(users=[user(1, 1.0)]),
        history(dones=[read(1.0)]),
        history(users=[user(1, 1.0), user(1, 1.5, up=False)], dones=[read(1.2)]),
    ],
)
def test_no_steady_window(empty: History) -> None:
    """Nobody came, nothing was sent, or it was over before it settled."""
    assert steady_window(empty, settle_s=3.0) is None


def test_observation_of_nothing(gym_day: Scenario) -> None:
    """No division by zero, and no invented figures."""
    found = observe(history(), gym_day)
    assert (found.total.requests, found.error_rate, found.expected_rate, found.rate_residual) == (0, 0.0, None, None)


def test_seconds_hold_the_requests_that_ended_in_them() -> None:
    """A request stuck for three seconds shows when it was felt."""
    stuck = Request("profile", 0.5, 3.0, 0, good=False)
    quick = [Request("profile", 0.1, 0.25, 200, good=True), Request("profile", 0.2, 0.5, 200, good=True)]
    assert per_second([stuck, *quick], Window(0.0, 4.0)) == (
        Second(0.0, 2, 0, 375.0, 487.5),
        Second(1.0, 0, 0, None, None),
        Second(2.0, 0, 0, None, None),
        Second(3.0, 1, 1, None, None),
    )

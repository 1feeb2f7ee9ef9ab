"""Plans: what one process is told by another arrives whole, or is refused by name."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from loadtests.errors import PlanError
from loadtests.plan import LoadPlan

PlanMaker = Callable[..., LoadPlan]


def test_plan_survives_the_environment(quick_plan: PlanMaker) -> None:
    """Paths, numbers and all."""
    plan = quick_plan("http://127.0.0.1:1", ramp_per_s=2.5, seconds=1.5)
    assert LoadPlan.from_environment(plan.to_environment()) == plan


def test_missing_variable_is_named(quick_plan: PlanMaker) -> None:
    """Somebody started the tool by hand."""
    environment = quick_plan("http://127.0.0.1:1").to_environment()
    del environment["GYM_LOAD_SEED"]
    with pytest.raises(PlanError, match="GYM_LOAD_SEED is not set"):
        LoadPlan.from_environment(environment)


def test_variable_that_is_no_number_is_quoted(quick_plan: PlanMaker) -> None:
    """And what was there instead."""
    with pytest.raises(PlanError, match="'lots'"):
        LoadPlan.from_environment(quick_plan("http://x").to_environment() | {"GYM_LOAD_USERS": "lots"})


def test_length_covers_the_arrival_and_the_stay(quick_plan: PlanMaker) -> None:
    """Endless when no seconds are given."""
    assert quick_plan("http://x", users=100, ramp_per_s=50.0, seconds=10.0).length_s == 12.0
    assert quick_plan("http://x", seconds=0.0).length_s is None


@pytest.mark.parametrize(
    ("changes", "complaint"),
    [
        ({"users": 0}, "0 users were asked for"),
        ({"ramp_per_s": 0.0}, "A ramp of 0 users a second"),
        ({"seconds": -1.0}, "-1 seconds were asked for"),
    ],
)
def test_numbers_that_make_no_sense(quick_plan: PlanMaker, changes: dict[str, float], complaint: str) -> None:
    """One sentence each."""
    (fault,) = quick_plan("http://x", **changes).faults()
    assert fault.startswith(complaint)

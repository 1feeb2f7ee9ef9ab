"""The law of the reference server: what its draws show, and that they show it on every stretch."""

from __future__ import annotations

from itertools import islice

import msgspec
import pytest

from loadtests.law import Law, laws
from loadtests.percentiles import percentile
from loadtests.scenario import Scenario

LAW = Law(median_ms=40.0, spread=0.5, start=0.123)


def test_the_median_and_the_tail_are_those_of_a_log_normal() -> None:
    assert LAW.quantile_ms(0.5) == pytest.approx(40.0)
    assert LAW.quantile_ms(0.95) == pytest.approx(40.0 * 2.2759, rel=1e-4)


@pytest.mark.parametrize(("skipped", "taken"), [(0, 200), (37, 200), (1000, 400), (5, 5000)])
def test_every_stretch_of_draws_shows_the_law(skipped: int, taken: int) -> None:
    """Within 2 %, well inside of what two tools may differ by."""
    seen = sorted(islice(LAW.draws_ms(), skipped, skipped + taken))
    for percent in (50, 95):
        assert percentile(seen, percent) == pytest.approx(LAW.quantile_ms(percent / 100), rel=0.02)


def test_no_draw_is_endless() -> None:
    assert LAW.quantile_ms(0.0) > 0
    assert LAW.quantile_ms(1.0) < 40.0 * 10


def test_the_same_seed_gives_the_same_laws_and_another_gives_others(gym_day: Scenario) -> None:
    assert laws(gym_day, 7) == laws(gym_day, 7)
    assert laws(gym_day, 7) != laws(gym_day, 8)
    assert len({law.median_ms for law in laws(gym_day, 7).values()}) == len(gym_day.flows)


def test_flows_of_one_route_share_a_law(gym_day: Scenario) -> None:
    twin = msgspec.structs.replace(gym_day.flows[0], name="twin")
    known = laws(msgspec.structs.replace(gym_day, flows=(*gym_day.flows, twin)), 7)
    assert known["twin"] == known["profile"]

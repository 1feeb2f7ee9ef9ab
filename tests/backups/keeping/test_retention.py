"""Retention: what is never deleted, whatever the history looks like, and a clock that is not believed."""

from __future__ import annotations

import dataclasses
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from backups.errors import ClockJumped
from backups.keeping.retention import Kept, Policy, decide

NOW = datetime(2026, 11, 23, 12, 0, tzinfo=UTC)
LEAN = Policy(recent_hours=0, daily=0, weekly=0, monthly=0, verified=1)


def history(*hours_ago: float) -> list[Kept]:
    """Backups of so many hours ago, oldest first, named by their place."""
    return [
        Kept(id=str(number), sequence=number, taken=NOW - timedelta(hours=hours))
        for number, hours in enumerate(hours_ago, 1)
    ]


def kept(backups: list[Kept], policy: Policy) -> dict[str, str]:
    return {one.id: one.reason for one in decide(backups, policy, NOW) if one.keep}


def test_each_rule_says_its_reason() -> None:
    backups = history(960, 700, 480, 216, 30, 20, 1)
    backups[2] = dataclasses.replace(backups[2], pinned=True)
    assert kept(backups, Policy(recent_hours=24, daily=3, weekly=3, monthly=2)) == {
        "2": "the last of its month, 2026-10",
        "3": "pinned",
        "4": "the last of its day, 2026-11-14",
        "6": "younger than 24 hours",
        "7": "the newest",
    }


def test_the_newest_good_one_that_the_shipped_log_goes_on_from_stays_behind_newer_ones_without_a_log() -> None:
    backups = history(900, 800, 700, 1)
    backups[0] = dataclasses.replace(backups[0], generation="1")
    backups[1] = dataclasses.replace(backups[1], generation="1")
    backups[2] = dataclasses.replace(backups[2], generation="1", good=False)
    assert kept(backups, LEAN) == {"2": "the newest that the shipped log goes on from", "4": "the newest"}


def test_of_each_day_week_and_month_the_newest_good_one_stands() -> None:
    daily = history(*(24.0 * day for day in range(400, -1, -1)))
    found = kept(daily, Policy(recent_hours=0, daily=7, weekly=5, monthly=12, verified=0))
    reasons = list(found.values())
    assert sum("day" in reason for reason in reasons) + 1 == 7
    assert sum("month" in reason for reason in reasons) >= 10
    assert len(found) <= 7 + 5 + 12 + 1


def test_a_suspect_backup_stands_for_nothing() -> None:
    backups = history(50, 49)
    backups[1] = dataclasses.replace(backups[1], good=False)
    assert kept(backups, Policy(recent_hours=0)) == {"1": "the newest"}


def test_one_whose_manifest_cannot_be_read_is_looked_at_first() -> None:
    backups = history(9000, 1)
    backups[0] = dataclasses.replace(backups[0], good=False, unread=True)
    assert "look at it first" in kept(backups, LEAN)["1"]


def test_what_others_build_on_stays() -> None:
    backups = history(900, 899, 898, 1)
    backups[1] = dataclasses.replace(backups[1], parent="1")
    backups[3] = dataclasses.replace(backups[3], parent="2")
    assert kept(backups, LEAN) == {"4": "the newest", "2": "4 builds on it", "1": "2 builds on it"}


BACKUPS = st.lists(
    st.builds(
        Kept,
        id=st.just(""),
        sequence=st.just(0),
        taken=st.floats(0, 20_000).map(lambda hours: NOW - timedelta(hours=hours)),
        parent=st.none() | st.integers(1, 30).map(str),
        good=st.booleans(),
        verified=st.booleans(),
        rehearsed=st.booleans(),
        pinned=st.booleans(),
    ),
    max_size=30,
)
POLICIES = st.builds(
    Policy,
    recent_hours=st.integers(0, 50),
    daily=st.integers(0, 9),
    weekly=st.integers(0, 9),
    monthly=st.integers(0, 9),
    verified=st.integers(1, 5),
)


def lawful(backups: list[Kept]) -> list[Kept]:
    """The same as a store could hold it: in order, nothing known of a bad one, parents before their children."""
    ordered = sorted(backups, key=lambda one: one.taken)
    return [
        dataclasses.replace(
            one,
            id=str(number),
            sequence=number,
            verified=one.good and one.verified,
            rehearsed=one.good and one.rehearsed,
            parent=one.parent if one.parent and int(one.parent) < number else None,
        )
        for number, one in enumerate(ordered, 1)
    ]


@given(BACKUPS, POLICIES)
def test_what_is_never_deleted(drawn: list[Kept], policy: Policy) -> None:
    backups = lawful(drawn)
    decisions = decide(backups, policy, NOW)
    stays = {one.id for one in decisions if one.keep}
    by_id = {one.id: one for one in backups}
    assert [one.id for one in decisions] == [one.id for one in backups]
    assert all(one.reason for one in decisions)
    assert {one.id for one in backups if one.pinned} <= stays
    assert all(by_id[id].parent in stays for id in stays if by_id[id].parent is not None)
    for wanted, count in (("good", 1), ("rehearsed", 1), ("verified", policy.verified)):
        newest = [one.id for one in backups if getattr(one, wanted)][-count:]
        assert set(newest) <= stays
    assert decide(list(reversed(backups)), policy, NOW) == decisions


def test_a_backup_from_the_future_stops_all_deleting() -> None:
    with pytest.raises(ClockJumped, match=r"1\.0 hours from now"):
        decide(history(2, -1), Policy(), NOW)
    decide(history(2, -0.05), Policy(), NOW)


def test_a_clock_that_was_set_back_stops_all_deleting() -> None:
    with pytest.raises(ClockJumped, match="2 comes after 1 and was taken before it"):
        decide(history(2, 38), Policy(), NOW)
    decide(history(2, 2.5), Policy(), NOW)

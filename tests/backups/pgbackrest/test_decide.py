"""Which backup of a repository is restored, and why not another. Backups are written out, nothing is run."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path

import pytest

from backups.pgbackrest.repository import Backup
from backups.pgbackrest.restore import chain, decide
from backups.plan import NoRestore, Refused, RestorePlan, Target
from backups.postgres.recovery import NEWEST, Goal, at_instant, at_lsn, at_name


def backup(id: str, minute: int, lsn: str, parent: str | None = None, fault: str = "") -> Backup:
    return Backup(
        id=id,
        kind="incr" if parent else "full",
        parent=parent,
        taken=datetime(2026, 11, 23, 9, minute, 0, tzinfo=UTC),
        stopped=datetime(2026, 11, 23, 9, minute, 10, tzinfo=UTC),
        start_lsn=lsn,
        stop_lsn=lsn,
        system="7",
        major=15,
        size_bytes=1000,
        stored_bytes=100,
        fetch_bytes=300,
        fault=fault,
        database="/srv/data",
    )


FULL = backup("F", 0, "0/2000000")
FIRST = backup("F_1", 10, "0/4000000", parent="F")
SECOND = backup("F_2", 20, "0/6000000", parent="F_1")
ALL = (FULL, FIRST, SECOND)


def target(backup: str | None = None) -> Target:
    return Target(Path("/srv/data"), (Path("/srv/data"),), backup, Path("/srv/data.evidence"))


def planned(goal: Goal | None = NEWEST, asked: str | None = None, bad: dict[str, str] | None = None) -> RestorePlan:
    plan = decide(ALL, target(asked), goal, bad or {})
    assert isinstance(plan, RestorePlan)
    return plan


def at(minute: int, second: int = 0) -> Goal:
    return at_instant(datetime(2026, 11, 23, 9, minute, second, tzinfo=UTC))


def test_the_newest_is_restored_with_all_that_it_builds_on() -> None:
    plan = planned()
    assert (plan.backup, plan.chain, plan.cost.older_s) == ("F_2", ("F", "F_1", "F_2"), 0.0)
    assert plan.build == Path("/srv/data.restoring")
    assert plan.rows is plan.position is None


@pytest.mark.parametrize(
    ("goal", "chosen"),
    [
        (at(20, 11), "F_2"),
        (at(20, 10), "F_1"),
        (at(19), "F_1"),
        (at(5), "F"),
        (at_lsn("0/6000000"), "F_2"),
        (at_lsn("0/5FFFFFF"), "F_1"),
        (at_lsn("0/2000000"), "F"),
        (at_lsn("1/0"), "F_2"),
        (at_name("before"), "F_2"),
        (None, "F_2"),
    ],
)
def test_the_newest_that_ends_before_the_goal_leads_there(goal: Goal | None, chosen: str) -> None:
    plan = planned(goal)
    assert plan.backup == chosen
    assert plan.refused == ()


def test_what_is_older_than_the_newest_is_told_as_a_cost() -> None:
    assert planned(at(19)).cost.older_s == 600.0


def test_whoever_restores_a_copy_is_told_that_it_must_not_archive() -> None:
    copy = decide(ALL, Target(Path("/srv/copy"), (), None, Path("/srv/copy.evidence")), NEWEST, {})
    assert isinstance(copy, RestorePlan)
    assert "archive_mode=off while /srv/data is served" in copy.steps[-1]
    assert "archive_mode" not in " ".join(planned().steps)


def test_a_bad_backup_makes_way_for_the_next_older_one() -> None:
    plan = planned(bad={"F_2": "It is damaged."})
    assert (plan.backup, plan.refused) == ("F_1", (Refused("F_2", "It is damaged."),))


def test_a_backup_that_was_found_not_to_lead_to_a_restore_point_is_passed_over_without_a_word() -> None:
    plan = decide(ALL, target(), at_name("before"), {}, {"F_2": "The log does not go as far."})
    assert isinstance(plan, RestorePlan)
    assert (plan.backup, plan.refused) == ("F_1", ())
    nowhere = decide((FULL,), target(), at_name("before"), {}, {"F": "The log does not go as far."})
    assert isinstance(nowhere, NoRestore)
    assert "F: The log does not go as far." in nowhere.why


def test_a_suspect_backup_is_passed_over() -> None:
    plan = decide((FULL, backup("F_1", 10, "0/4000000", "F", fault="Pages.")), target(), NEWEST, {})
    assert isinstance(plan, RestorePlan)
    assert (plan.backup, plan.refused) == ("F", (Refused("F_1", "Pages."),))


@pytest.mark.parametrize(
    ("backups", "asked", "goal", "bad", "why"),
    [
        ((), None, NEWEST, {}, "holds no backup"),
        (ALL, "F_9", NEWEST, {}, "There is no backup F_9"),
        (ALL, "F_1", None, {"F_1": "It is damaged."}, "Backup F_1 cannot be used: It is damaged."),
        ((FULL,), None, at(0, 5), {}, "It was complete at 2026-11-23T09:00:10.000Z, after"),
        ((FULL,), None, at_lsn("0/1000000"), {}, "It ends at 0/2000000, after 0/1000000"),
        ((FULL,), None, NEWEST, {"F": "It is damaged."}, "None of the 1 backups can be used. F: It is damaged."),
    ],
)
def test_nothing_to_restore_says_why(
    backups: tuple[Backup, ...], asked: str | None, goal: Goal | None, bad: dict[str, str], why: str
) -> None:
    decision = decide(backups, target(asked), goal, bad)
    assert isinstance(decision, NoRestore)
    assert why in decision.why


def test_a_chain_that_bites_its_tail_ends() -> None:
    assert chain(FIRST, (backup("F", 0, "0/2000000", parent="F_1"), FIRST)) == ("F", "F_1")

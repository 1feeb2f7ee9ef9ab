"""Deciding a restore, on catalogues written out literally."""

from __future__ import annotations

import dataclasses
from pathlib import Path

from backups.format.verification import Verification
from backups.keeping.catalogue import Entry
from backups.plan import Cost, NoRestore, Refused, RestorePlan, Target, decide
from tests.backups.literal import backup

TARGET = Target(
    path=Path("/srv/gym.db"),
    existing=(Path("/srv/gym.db"), Path("/srv/gym.db-wal")),
    backup=None,
    evidence=Path("/srv/gym.db.evidence-20261123T130000Z"),
)


OLD, MIDDLE, NEW = backup(9, 1, 100), backup(10, 2, 250), backup(11, 3, 400)
ALL = (OLD, MIDDLE, NEW)


def planned(decision: RestorePlan | NoRestore) -> RestorePlan:
    assert isinstance(decision, RestorePlan), decision
    return decision


def test_the_newest_is_chosen_and_costs_nothing() -> None:
    plan = planned(decide(ALL, TARGET, {}))
    assert (plan.backup, plan.refused, plan.cost) == (NEW.id, (), Cost(0.0, 0))
    assert (plan.fetch_bytes, plan.build_bytes, plan.rows, plan.position) == (300, 1000, 7, 400)
    assert plan.build == Path("/srv/gym.db.restoring")
    assert str(plan.cost) == "nothing newer was passed over"


def test_newest_means_the_highest_sequence_whatever_the_clock_said() -> None:
    set_back = backup(3, 4, 500)
    plan = planned(decide((*ALL, set_back), TARGET, {}))
    assert plan.backup == set_back.id


def test_what_turned_out_bad_is_passed_over_and_the_cost_said() -> None:
    plan = planned(decide(ALL, TARGET, {NEW.id: "It is cut short."}))
    assert plan.backup == MIDDLE.id
    assert plan.refused == (Refused(NEW.id, "It is cut short."),)
    assert plan.cost == Cost(older_s=3600.0, positions=150)
    assert str(plan.cost) == "3600 s and 150 operations older than the newest backup"


def test_a_clock_set_back_never_makes_a_negative_age() -> None:
    set_back = backup(3, 4, 500)
    plan = planned(decide((*ALL, set_back), TARGET, {set_back.id: "Bad."}))
    assert (plan.backup, plan.cost) == (NEW.id, Cost(older_s=0.0, positions=100))


def test_a_backup_that_failed_its_verification_is_passed_over() -> None:
    look = Verification(
        backup=NEW.id,
        level=4,
        ok=False,
        findings=("Table notes is missing.",),
        at="noon",
        seconds=1,
        read_bytes=1,
        host="h",
    )
    plan = planned(decide((OLD, MIDDLE, dataclasses.replace(NEW, verifications=(look,))), TARGET, {}))
    assert plan.backup == MIDDLE.id
    assert plan.refused[0].why == "It failed its verification of noon: Table notes is missing."


def test_an_unreadable_newest_leaves_the_positions_untold_and_the_time_from_its_name() -> None:
    unreadable = Entry(NEW.id, 3, flaw="Its manifest is not JSON.")
    plan = planned(decide((OLD, MIDDLE, unreadable), TARGET, {}))
    assert plan.cost == Cost(older_s=3600.0, positions=None)
    assert str(plan.cost) == "3600 s older than the newest backup"


def test_positions_are_untold_when_the_database_has_none() -> None:
    plan = planned(decide((backup(9, 1, None), NEW), TARGET, {NEW.id: "Bad."}))
    assert plan.cost.positions is None


def test_a_backup_asked_for_by_name_is_used_though_newer_ones_exist() -> None:
    plan = planned(decide(ALL, dataclasses.replace(TARGET, backup=OLD.id), {}))
    assert (plan.backup, plan.refused, plan.cost) == (OLD.id, (), Cost(7200.0, 300))


def test_a_backup_asked_for_by_name_is_refused_rather_than_replaced() -> None:
    decision = decide(ALL, dataclasses.replace(TARGET, backup=NEW.id), {NEW.id: "It is cut short."})
    assert decision == NoRestore(
        f"Backup {NEW.id} cannot be used: It is cut short. Leave --backup out to fall back to the best one.",
        (Refused(NEW.id, "It is cut short."),),
    )


def test_an_unknown_name_is_said_to_be_unknown() -> None:
    decision = decide(ALL, dataclasses.replace(TARGET, backup="nope"), {})
    assert decision == NoRestore("There is no backup nope; list them with: gymkhana backup list.")


def test_an_empty_store_has_nothing_to_restore() -> None:
    assert decide((), TARGET, {}) == NoRestore("The store holds no backup, so there is nothing to restore.")


def test_with_all_refused_every_reason_is_given_newest_first() -> None:
    decision = decide((OLD, NEW), TARGET, {OLD.id: "It is empty.", NEW.id: "It is cut short."})
    assert isinstance(decision, NoRestore)
    assert decision.why == f"None of the 2 backups can be used. {NEW.id}: It is cut short. {OLD.id}: It is empty."
    assert [refused.id for refused in decision.refused] == [NEW.id, OLD.id]


def test_the_steps_name_what_is_kept_and_where() -> None:
    kept = "keep gym.db, gym.db-wal as evidence in /srv/gym.db.evidence-20261123T130000Z"
    assert kept in planned(decide(ALL, TARGET, {})).steps
    nothing_there = dataclasses.replace(TARGET, existing=())
    assert not any("evidence" in step for step in planned(decide(ALL, nothing_there, {})).steps)

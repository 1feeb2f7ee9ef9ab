"""The audit: silent about a sound state, and shown to speak up for every way a state can be wrong."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest

from system.audit import TELLS, Facts
from system.challenge_service import issue
from system.models import metadata
from system.operations_service import effect_tables
from system.relations import EXAMPLES
from system.user_service import sign_up
from tests.system.gym import Gym, faults


def test_nothing_is_wrong_with_a_busy_day(busy: Gym) -> None:
    facts = busy.facts()
    assert faults(facts) == []
    assert facts.conservation.minted == 4000
    assert facts.conservation.escrow == 40
    assert facts.conservation.balances == 3960


def test_nothing_is_wrong_with_an_empty_database(gym: Gym) -> None:
    facts = gym.facts()
    assert faults(facts) == []
    assert (facts.conservation.minted, facts.tournaments) == (0, [])


def test_a_busy_day_touches_every_table_and_every_kind_that_tells(busy: Gym) -> None:
    """Else the planted violations below would prove less than they seem to."""
    for table in effect_tables():
        assert busy.rows(f"SELECT count(*) FROM {table.name}") != [(0,)], table.name
    kinds = {kind for (kind,) in busy.rows("SELECT DISTINCT kind FROM activity")}
    assert set(TELLS) | {"challenges.expired"} <= kinds


def test_the_facts_have_the_shape_the_judge_reads(busy: Gym) -> None:
    shown = msgspec.to_builtins(busy.facts())
    assert set(shown) == {"conservation", "tournaments", "orphans", "notifications"}
    assert set(shown["conservation"]) == {"minted", "balances", "escrow", "pools", "accounts_off", "negative"}
    assert set(shown["notifications"]) == {"missing", "extra", "undelivered"}
    assert shown["tournaments"][0] == {
        "id": 1, "state": "finished", "capacity": 3, "entries": 2, "pool": 0, "winners": 1, "payouts": 1,
    }  # fmt: skip
    assert msgspec.json.decode(msgspec.json.encode(shown), type=Facts) == busy.facts()


def test_an_audit_writes_nothing(busy: Gym) -> None:
    """The session it is given cannot: every statement of it goes through."""
    before = contents(busy)
    busy.facts()
    assert contents(busy) == before


def contents(gym: Gym) -> dict[str, list[tuple[Any, ...]]]:
    return {table.name: gym.rows(f"SELECT * FROM {table.name} ORDER BY 1") for table in metadata.sorted_tables}


POINTS = [
    ("UPDATE points_accounts SET balance = balance + 1 WHERE kind = 'user' AND owner_id = 1",
     ["points are not conserved", "account 2 is off"]),
    ("UPDATE points_accounts SET balance = balance + 1 WHERE kind = 'user' AND owner_id = 1; "
     "UPDATE points_accounts SET balance = balance - 1 WHERE kind = 'user' AND owner_id = 2",
     ["account 2 is off", "account 3 is off"]),
    ("UPDATE points_accounts SET balance = -1 WHERE kind = 'user' AND owner_id = 1",
     ["points are not conserved", "account 2 is off", "account 2 is negative"]),
    ("UPDATE points_transfers SET amount = amount + 1 WHERE id = 1", ["account 1 is off", "account 2 is off"]),
    ("DELETE FROM points_transfers WHERE kind = 'prize'", ["account 3 is off", "account 6 is off"]),
    ("DELETE FROM points_accounts WHERE kind = 'mint'",
     ["points are not conserved", *(f"points_transfers.from_id: {row}" for row in (1, 2, 3, 4))]),
    ("DELETE FROM points_accounts WHERE kind = 'escrow' AND balance > 0",
     ["points are not conserved", "points_transfers.to_id: 15", "points_transfers.to_id: 16", "challenges.escrow: 4"]),
    ("UPDATE points_accounts SET balance = 1 WHERE kind = 'escrow' AND owner_id = 1",
     ["points are not conserved", "account 8 is off", "challenges.escrow: 1"]),
    ("DELETE FROM points_accounts WHERE kind = 'user' AND owner_id = 1",
     ["points are not conserved", *(f"points_transfers.from_id: {row}" for row in (8, 11)),
      *(f"points_transfers.to_id: {row}" for row in (1, 10, 13)), "users.account: 1"]),
]  # fmt: skip

TOURNAMENTS = [
    ("UPDATE tournaments SET capacity = 1 WHERE id = 1", ["tournament 1 is over its capacity"]),
    ("UPDATE tournaments SET winner_id = NULL WHERE id = 1; DELETE FROM activity WHERE kind = 'tournaments.finished'",
     ["tournament 1 has 0 winners and 1 payouts", "operations.activity: r.18", "extra: r.18"]),
    ("UPDATE tournaments SET winner_id = 4 WHERE id = 2", ["tournament 2 has 1 winners and 0 payouts"]),
    ("INSERT INTO activity (operation_id, kind, subject_id, data, at_ms) "
     "SELECT operation_id, kind, subject_id, data, at_ms FROM activity WHERE kind = 'tournaments.finished'",
     ["tournament 1 has 2 winners and 1 payouts"]),
    ("INSERT INTO points_transfers (operation_id, from_id, to_id, amount, kind, reference, at_ms) "
     "SELECT operation_id, from_id, to_id, amount, kind, reference, at_ms FROM points_transfers WHERE kind = 'prize'",
     ["account 3 is off", "account 6 is off", "tournament 1 has 1 winners and 2 payouts"]),
    ("UPDATE tournaments SET entries = entries + 1 WHERE id = 2", ["tournaments.entries: 2"]),
    ("DELETE FROM tournament_entries WHERE tournament_id = 1 AND user_id = 3", ["tournaments.entries: 1"]),
    ("UPDATE matches SET home_score = home_score + 1", ["matches.score: 1"]),
    ("DELETE FROM match_events WHERE side = 'away'", ["matches.score: 1"]),
]  # fmt: skip

NOTIFICATIONS = [
    ("DELETE FROM notification_outbox WHERE kind = 'tournament-won'; "
     "DELETE FROM notifications WHERE kind = 'tournament-won'",
     ["missing: r.18"]),
    ("DELETE FROM notification_outbox WHERE kind = 'challenge-expired' AND user_id = 4; "
     "DELETE FROM notifications WHERE kind = 'challenge-expired' AND user_id = 4",
     ["missing: r.27"]),
    ("DELETE FROM notifications WHERE kind = 'match-paired' AND user_id = 2", ["missing: r.14"]),
    ("UPDATE notification_outbox SET state = 'pending' WHERE id = 1", ["extra: r.12"]),
    ("INSERT INTO notification_outbox "
     "(operation_id, user_id, kind, text, state, attempts, next_attempt_ms, at_ms) "
     "SELECT operation_id, 1, kind, text, 'pending', 0, 0, at_ms FROM notification_outbox WHERE kind = 'tournament-won'",
     ["extra: r.18"]),
    ("INSERT INTO notification_outbox "
     "(operation_id, user_id, kind, text, state, attempts, next_attempt_ms, at_ms) "
     "VALUES ('r.never', 1, 'tournament-won', 'You won.', 'pending', 0, 0, 0)",
     ["notification_outbox.operation_id: r.never", "extra: r.never"]),
]  # fmt: skip

HALVES = [
    ("DELETE FROM operations WHERE id = 'r.1'",
     [f"{table}.operation_id: r.1" for table in ("activity", "points_transfers", "users")]),
    ("UPDATE activity SET operation_id = 'system.deliver.lost' WHERE kind = 'notifications.delivered'",
     ["activity.operation_id: system.deliver.lost", "operations.activity: r.31"]),
    ("UPDATE users SET operation_id = 'seed.user.lost' WHERE id = 1", ["users.operation_id: seed.user.lost"]),
    ("DELETE FROM activity WHERE operation_id = 'r.1'", ["operations.activity: r.1"]),
    ("UPDATE operations SET actor_id = 99 WHERE id = 'r.5'", ["operations.actor_id: r.5"]),
    ("UPDATE activity SET actor_id = 99 WHERE id = 5", ["activity.actor_id: 5"]),
    ("UPDATE points_accounts SET owner_id = 99 WHERE id = 2", ["points_accounts.user: 2", "users.account: 1"]),
    ("UPDATE points_accounts SET owner_id = 99 WHERE kind = 'pool' AND owner_id = 1", ["points_accounts.pool: 6"]),
    ("UPDATE points_accounts SET owner_id = 99 WHERE kind = 'escrow' AND owner_id = 1", ["points_accounts.escrow: 8"]),
    ("UPDATE challenges SET state = 'settled' WHERE id = 2", ["challenges.state: 2"]),
    ("DELETE FROM challenge_steps WHERE state = 'declined'", ["challenges.state: 2"]),
    ("UPDATE challenges SET state = 'settled' WHERE id = 4", ["challenges.state: 4", "challenges.escrow: 4"]),
]  # fmt: skip


@pytest.mark.parametrize(("planted", "found"), [*POINTS, *TOURNAMENTS, *NOTIFICATIONS, *HALVES])
def test_a_planted_violation_is_found_and_nothing_else(busy: Gym, planted: str, found: list[str]) -> None:
    busy.tamper(*planted.split("; "))
    assert sorted(faults(busy.facts())) == sorted(found)


def test_a_pool_that_was_never_paid_out_shows_in_its_tournament(busy: Gym) -> None:
    """Every balance has its transfers and every point is somewhere: only the tournament's own facts tell."""
    busy.tamper(
        "DELETE FROM points_transfers WHERE kind = 'prize'",
        "UPDATE points_accounts SET balance = balance + 100 WHERE kind = 'pool' AND owner_id = 1",
        "UPDATE points_accounts SET balance = balance - 100 WHERE kind = 'user' AND owner_id = 2",
    )
    facts = busy.facts()
    assert (facts.conservation.pools, facts.conservation.accounts_off) == (100, [])
    (cup,) = (one for one in facts.tournaments if one.id == 1)
    assert (cup.state, cup.winners, cup.payouts, cup.pool) == ("finished", 1, 0, 100)


FOREIGN_KEYS = sorted(
    f"{table.name}.{key.parent.name}" for table in metadata.sorted_tables for key in table.foreign_keys
)


@pytest.mark.parametrize("relation", FOREIGN_KEYS)
def test_a_row_that_names_nobody_is_found(busy: Gym, relation: str) -> None:
    table, column = relation.split(".")
    ((row,),) = busy.rows(f"SELECT min(id) FROM {table} WHERE {column} IS NOT NULL")
    busy.tamper(f"UPDATE {table} SET {column} = 999999 WHERE id = {row}")
    assert busy.facts().orphans[relation] == [row]


def test_the_same_notification_delivered_twice_is_found(busy: Gym) -> None:
    """The schema forbids it, so the inbox is rebuilt without the rule."""
    columns = "outbox_id, user_id, kind, text, subject_id, at_ms, read_ms"
    busy.tamper(
        f"CREATE TABLE loose AS SELECT id, {columns} FROM notifications",
        f"INSERT INTO loose SELECT id + 1000, {columns} FROM loose WHERE id = 1",
        "DROP TABLE notifications",
        "ALTER TABLE loose RENAME TO notifications",
    )
    ((operation,),) = busy.rows("SELECT operation_id FROM notification_outbox WHERE id = 1")
    assert busy.facts().notifications.extra == [operation]


def test_what_waits_is_counted_and_is_no_fault(gym: Gym) -> None:
    ann, bob = gym.user("ann"), gym.user("bob")
    gym.apply(issue, bob, 1, "Rowing", actor=ann)
    assert gym.facts().notifications.undelivered == 1
    assert faults(gym.facts()) == []


def test_a_finding_lists_no_more_than_some_examples(gym: Gym) -> None:
    gym.batch([(sign_up, (f"user{number}", "x"), None) for number in range(EXAMPLES + 10)])
    gym.tamper("UPDATE users SET operation_id = 'r.' || (id + 1000)")
    assert len(gym.facts().orphans["users.operation_id"]) == EXAMPLES

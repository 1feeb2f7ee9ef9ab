"""Applied operations: one record each, a digest that any changed byte shows, and survivors that can be listed."""

from __future__ import annotations

import pytest

from system import operations_service
from system.challenge_service import issue
from system.database import Base
from system.errors import NotFound, Reused
from system.jobs import JOBS
from system.operations_models import Effect
from system.operations_service import digest_of, effect_tables, find
from system.tournament_service import join
from system.user_service import sign_up
from tests.system.gym import RUN, Gym, faults


def test_every_operation_of_a_busy_day_survives_with_its_digest(busy: Gym) -> None:
    survivors = busy.survivors()
    assert len(survivors) == len(busy.rows("SELECT 1 FROM operations"))
    for found in survivors.values():
        assert (found.digest, found.applied, found.run) == (found.stored, 1, RUN)
    sequences = [found.seq for found in survivors.values()]
    assert len(set(sequences)) == len(sequences)


CREATING = {
    "challenge.issue", "match.pair", "match.score", "tournament.create", "tournament.join", "user.log_in", "user.sign_up",
    "account.create", "session.begin", "token.create",
}  # fmt: skip


def test_every_job_answers_201_when_it_creates_and_200_when_it_changes(busy: Gym) -> None:
    """The status is stored with the operation, so that a repetition gets the same."""
    answered = dict(busy.rows("SELECT DISTINCT job, status FROM operations"))
    recorded = {name for name, job in JOBS.items() if job.function.__module__.endswith("_service")}
    assert set(answered) == recorded
    assert answered == {job: 201 if job in CREATING else 200 for job in answered}


EFFECT_COLUMNS = [
    (str(mapper.local_table), column)
    for mapper in Base.registry.mappers
    if issubclass(mapper.class_, Effect)
    for column in ("id", *mapper.class_.effect_columns)
]

EVERY_TABLE = tuple(table.name for table in effect_tables())


def other(text: str) -> str:
    """Of the same length, where there is one: a column may take no more."""
    return text[:-1] + ("y" if text.endswith("x") else "x")


def test_a_changed_byte_in_any_effect_column_changes_the_digest(busy: Gym) -> None:
    assert len(EFFECT_COLUMNS) > 50
    for table, column in EFFECT_COLUMNS:
        row, operation, value = busy.rows(f"SELECT id, operation_id, {column} FROM {table} ORDER BY id DESC LIMIT 1")[0]
        with busy.session() as session:
            before = digest_of(session, operation, EVERY_TABLE)
        changed = other(value) if isinstance(value, str) else (value or 0) + 1_000
        busy.tamper(f"UPDATE {table} SET {column} = '{changed}' WHERE id = {row}")
        with busy.session() as session:
            assert digest_of(session, operation, EVERY_TABLE) != before, f"{table}.{column}"
        restored = "NULL" if value is None else "'" + str(value).replace("'", "''") + "'"
        busy.tamper(f"UPDATE {table} SET {column} = {restored} WHERE id = {changed if column == 'id' else row}")
    assert all(found.digest == found.stored for found in busy.survivors().values())


def test_every_job_says_in_which_tables_it_leaves_rows(busy: Gym) -> None:
    """A table it did not name would not be in its digest, and the audit would call the operation altered."""
    job_of = dict(busy.rows("SELECT id, job FROM operations"))
    left = {job: set[str]() for job in job_of.values()}
    for table in EVERY_TABLE:
        for (operation,) in busy.rows(f"SELECT operation_id FROM {table}"):
            left[job_of[operation]].add(table)
    assert left == {job: {"activity", *JOBS[job].leaves} for job in left}
    assert {name for name, job in JOBS.items() if job.function.__module__.endswith("_service")} == left.keys()


def test_a_missing_and_an_added_effect_row_change_the_digest(busy: Gym) -> None:
    busy.tamper("DELETE FROM match_events WHERE id = 1")
    ((scored,),) = busy.rows("SELECT operation_id FROM activity WHERE kind = 'matches.scored' ORDER BY id LIMIT 1")
    ((joined,),) = busy.rows("SELECT operation_id FROM tournament_entries WHERE id = 1")
    busy.tamper(f"UPDATE points_transfers SET operation_id = '{joined}' WHERE id = 1")
    altered = {found.op for found in busy.survivors().values() if found.digest != found.stored}
    assert altered == {scored, joined, f"{RUN}.1"}


def test_what_may_change_later_is_not_in_the_digest(busy: Gym) -> None:
    busy.tamper(
        "UPDATE users SET display_name = 'Another', bio = 'Another', password_hash = 'another'",
        "UPDATE tournaments SET state = 'draft', entries = 0, winner_id = NULL",
        "UPDATE matches SET home_score = 9, state = 'playing'",
        "UPDATE challenges SET state = 'issued', winner_id = NULL",
        "UPDATE user_sessions SET revoked_ms = NULL",
        "UPDATE notification_outbox SET state = 'pending', attempts = 5",
    )
    assert all(found.digest == found.stored for found in busy.survivors().values())


def test_an_altered_record_shows_against_the_rows(busy: Gym) -> None:
    busy.tamper(f"UPDATE operations SET digest = 'another' WHERE id = '{RUN}.3'")
    (altered,) = (found for found in busy.survivors().values() if found.digest != found.stored)
    assert (altered.op, altered.stored) == (f"{RUN}.3", "another")


def test_effects_without_a_record_are_listed(busy: Gym) -> None:
    busy.tamper(f"DELETE FROM operations WHERE id = '{RUN}.3'")
    found = busy.survivors()[f"{RUN}.3"]
    assert (found.seq, found.stored, found.applied) == (None, "", 1)


def test_a_record_without_effects_is_listed(busy: Gym) -> None:
    busy.tamper(f"UPDATE activity SET operation_id = 'elsewhere' WHERE operation_id = '{RUN}.7'")
    found = busy.survivors()[f"{RUN}.7"]
    assert found.applied == 0
    assert found.digest != found.stored


def test_an_operation_that_was_applied_twice_is_counted_twice(busy: Gym) -> None:
    busy.tamper(
        "INSERT INTO activity (operation_id, kind, actor_id, subject_id, data, at_ms) "
        f"SELECT operation_id, kind, actor_id, subject_id, data, at_ms FROM activity WHERE operation_id = '{RUN}.1'"
    )
    assert busy.survivors()[f"{RUN}.1"].applied == 2


def test_survivors_are_of_one_run(busy: Gym) -> None:
    with busy.session() as session:
        assert list(operations_service.survivors(session, "another")) == []


def test_a_refused_operation_leaves_nothing(gym: Gym) -> None:
    gym.user("ann")
    gym.batch([(sign_up, ("ann", "x"), None), (issue, (1, 1, "Self"), 1), (join, (1,), 1)])
    assert sorted(gym.survivors()) == [f"{RUN}.1"]
    assert gym.rows("SELECT count(*) FROM activity") == [(1,)]


def test_a_repeated_operation_gets_the_stored_answer_and_is_applied_once(gym: Gym) -> None:
    ann, bob = gym.user("ann"), gym.user("bob")
    first = gym.apply(issue, bob, 5, "Rowing", actor=ann, op="r.again")
    assert gym.apply(issue, bob, 5, "Rowing", actor=ann, op="r.again") == first
    assert gym.rows("SELECT count(*) FROM challenges") == [(1,)]
    assert gym.survivors()["r.again"].applied == 1
    assert faults(gym.facts()) == []


def test_a_refused_operation_may_be_tried_again_under_its_id(gym: Gym) -> None:
    """Nothing was applied, so nothing is known of it."""
    ann, bob = gym.user("ann"), gym.user("bob")
    with pytest.raises(NotFound):
        gym.apply(issue, 9, 5, "Rowing", actor=ann, op="r.again")
    assert gym.apply(issue, bob, 5, "Rowing", actor=ann, op="r.again")["state"] == "issued"


def test_a_repeated_id_with_another_request_is_refused(gym: Gym) -> None:
    ann, bob = gym.user("ann"), gym.user("bob")
    gym.apply(issue, bob, 5, "Rowing", actor=ann, op="r.again", fingerprint="one")
    with pytest.raises(Reused):
        gym.apply(issue, bob, 6, "Rowing", actor=ann, op="r.again", fingerprint="two")
    assert gym.rows("SELECT stake FROM challenges") == [(5,)]


def test_an_operation_is_shown_to_its_actor_alone(gym: Gym) -> None:
    ann, bob = gym.user("ann"), gym.user("bob")
    gym.apply(issue, bob, 5, "Rowing", actor=ann, op="r.mine")
    shown = gym.read(find, ann, "r.mine")
    assert (shown["id"], shown["run"], shown["status"]) == ("r.mine", RUN, 201)
    assert shown["digest"] == gym.survivors()["r.mine"].digest
    for actor, operation in ((bob, "r.mine"), (ann, "r.never")):
        with pytest.raises(NotFound):
            gym.read(find, actor, operation)


def test_sequences_follow_the_order_of_commits(gym: Gym) -> None:
    answers = gym.batch([(sign_up, (name, "x"), None) for name in ("ann", "ann", "bob", "cid")])
    applied = [answer.sequence for answer in answers if not answer.kind]
    assert applied == sorted(set(applied))
    assert len(applied) == 3

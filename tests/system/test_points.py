"""Points: every balance is explained by transfers, and nothing that happens makes or loses one."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psycopg
import pysqlite3.dbapi2 as sqlite
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from system import (
    challenge_service,
    match_service,
    notification_service,
    operations_service,
    points_service,
    tournament_reads,
    tournament_service,
    user_service,
)
from system.errors import Conflict
from system.jobs import JOBS, Job, Operation, Reply, write_job
from system.points_models import ESCROW, USER
from system.shapes import ID_MAX
from system.statements import Session
from tests.system.gym import Gym, SqliteGym, faults


def move(session: Session, operation: Operation, source: int, target: int, amount: int) -> Reply:
    """Moves points between two users' purses."""
    taken, given = points_service.account(session, USER, source), points_service.account(session, USER, target)
    points_service.transfer(session, operation, taken, given, amount, "test", None)
    operations_service.record(session, operation, "moved")
    return Reply(200, {})


@pytest.fixture
def moving() -> Iterator[Job]:
    before = dict(JOBS)
    yield write_job("tests", "points_transfers")(move)
    JOBS.clear()
    JOBS.update(before)


def test_a_transfer_takes_what_it_gives(gym: Gym, moving: Job) -> None:
    ann, bob = gym.user("ann"), gym.user("bob")
    gym.apply(moving, ann, bob, 300)
    assert (gym.points(ann), gym.points(bob)) == (700, 1300)
    assert faults(gym.facts()) == []


def test_the_last_point_can_be_spent(gym: Gym, moving: Job) -> None:
    ann, bob = gym.user("ann"), gym.user("bob")
    gym.apply(moving, ann, bob, 1000)
    assert gym.points(ann) == 0


def test_an_overdraft_is_refused_and_moves_nothing(gym: Gym, moving: Job) -> None:
    ann, bob = gym.user("ann"), gym.user("bob")
    with pytest.raises(Conflict) as refused:
        gym.apply(moving, ann, bob, 1001)
    assert refused.value.code == "insufficient-points"
    assert (gym.points(ann), gym.points(bob)) == (1000, 1000)
    assert gym.rows("SELECT count(*) FROM points_transfers") == [(2,)]


def test_two_spenders_of_the_same_points_cannot_both_have_them(gym: Gym, moving: Job) -> None:
    ann, bob = gym.user("ann"), gym.user("bob")
    answers = gym.batch([(moving, (ann, bob, 600), None), (moving, (ann, bob, 600), None)])
    assert [answer.code for answer in answers] == ["", "insufficient-points"]
    assert gym.points(ann) == 400


def test_only_the_mint_is_below_zero(gym: Gym) -> None:
    gym.user("ann")
    assert gym.rows("SELECT kind, balance FROM points_accounts ORDER BY balance") == [("mint", -1000), ("user", 1000)]


def test_the_schema_itself_refuses_an_overdrawn_account(gym: Gym) -> None:
    gym.user("ann")
    with pytest.raises((sqlite.IntegrityError, psycopg.IntegrityError), match="not_overdrawn"):
        gym.rows("UPDATE points_accounts SET balance = -1 WHERE kind = 'user'")


def test_a_statement_shows_signs_newest_first(gym: Gym) -> None:
    ann, bob = gym.user("ann"), gym.user("bob")
    gym.apply(challenge_service.issue, bob, 10, "Rowing", actor=ann)
    gym.apply(challenge_service.accept, 1, actor=bob)
    gym.apply(challenge_service.settle, 1, bob, actor=ann)
    shown = gym.read(points_service.statement, bob, 20, ID_MAX)
    assert shown["balance"] == 1010
    assert [(one["amount"], one["kind"], one["reference"]) for one in shown["entries"]] == [
        (20, "winnings", 1),
        (-10, "stake", 1),
        (1000, "welcome", bob),
    ]
    assert sum(one["amount"] for one in shown["entries"]) == shown["balance"]


def test_a_statement_continues_where_its_page_ended(gym: Gym, moving: Job) -> None:
    ann, bob = gym.user("ann"), gym.user("bob")
    for amount in (1, 2, 3):
        gym.apply(moving, ann, bob, amount)
    first = gym.read(points_service.statement, ann, 2, ID_MAX)
    second = gym.read(points_service.statement, ann, 2, first["next"])
    third = gym.read(points_service.statement, ann, 2, second["next"])
    assert [one["amount"] for page in (first, second, third) for one in page["entries"]] == [-3, -2, -1, 1000]
    assert third["next"] is None


def test_a_pool_and_an_escrow_with_the_users_number_are_not_the_users(gym: Gym) -> None:
    """User 1, tournament 1 and challenge 1 have an account each, and all three accounts are of owner 1."""
    ann, bob = gym.user("ann"), gym.user("bob")
    gym.apply(tournament_service.create, "Cup", 2, 50, actor=ann)
    gym.apply(tournament_service.open_, 1, actor=ann)
    gym.apply(tournament_service.join, 1, actor=bob)
    gym.apply(challenge_service.issue, bob, 10, "Rowing", actor=ann)
    gym.apply(challenge_service.accept, 1, actor=bob)
    shown = gym.read(points_service.statement, ann, 3, ID_MAX)
    assert (shown["balance"], gym.points(ann)) == (990, 990)
    assert [one["amount"] for one in shown["entries"]] == [-10, 1000]
    assert gym.read(tournament_reads.tournament, 1)["pool"] == 50


def test_escrow_is_counted_where_it_lies(gym: Gym) -> None:
    ann, bob = gym.user("ann"), gym.user("bob")
    gym.apply(challenge_service.issue, bob, 10, "Rowing", actor=ann)
    gym.apply(challenge_service.accept, 1, actor=bob)
    assert gym.facts().conservation.escrow == 20
    assert gym.rows("SELECT owner_id, balance FROM points_accounts WHERE kind = ?", ESCROW) == [(1, 20)]


# Any history, most of it refused, leaves every point where the audit can find it.

_users = st.integers(1, 3)
_things = st.integers(1, 3)

_calls = st.one_of(
    st.tuples(st.just(user_service.sign_up), st.tuples(st.sampled_from(["ann", "dan"]), st.just("x")), st.none()),
    st.tuples(
        st.just(tournament_service.create),
        st.tuples(st.just("Cup"), st.integers(1, 3), st.sampled_from([0, 10, 600])),
        _users,
    ),
    st.tuples(
        st.sampled_from([tournament_service.open_, tournament_service.join, tournament_service.finish]),
        st.tuples(_things),
        _users,
    ),
    st.tuples(st.just(match_service.pair), st.tuples(_things, _users, _users), _users),
    st.tuples(
        st.just(match_service.score), st.tuples(_things, st.sampled_from(["home", "away"]), st.integers(1, 10)), _users
    ),
    st.tuples(st.just(match_service.close), st.tuples(_things), _users),
    st.tuples(
        st.just(challenge_service.issue),
        st.tuples(_users, st.sampled_from([1, 10, 600]), st.just("Rowing")),
        _users,
    ),
    st.tuples(st.sampled_from([challenge_service.accept, challenge_service.decline]), st.tuples(_things), _users),
    st.tuples(st.just(challenge_service.settle), st.tuples(_things, _users), _users),
    st.tuples(st.just(challenge_service.expire_due), st.tuples(st.just(2), st.just(2**62)), st.none()),
    st.tuples(st.just(notification_service.deliver_due), st.tuples(st.just(5), st.just(2**62)), st.none()),
    st.tuples(st.just(notification_service.mark_read), st.tuples(_things), _users),
)

_OPENING: list[tuple[Job, tuple[Any, ...], int | None]] = [
    *((user_service.sign_up, (name, "x"), None) for name in ("ann", "bob", "cid")),
    (tournament_service.create, ("Cup", 2, 10), 1),
    (tournament_service.open_, (1,), 1),
    (tournament_service.join, (1,), 2),
    (challenge_service.issue, (2, 600, "Rowing"), 1),
    (challenge_service.accept, (1,), 2),
]


@given(calls=st.lists(_calls, min_size=5, max_size=30))
@settings(max_examples=25, deadline=None)
def test_no_history_makes_or_loses_a_point(
    templates: Path, tmp_path_factory: pytest.TempPathFactory, calls: list[Any]
) -> None:
    gym = SqliteGym(Path(shutil.copy(templates / "empty.db", tmp_path_factory.mktemp("history") / "gym.db")))
    answers = gym.batch(_OPENING + calls)
    assert {answer.kind for answer in answers} <= {"", "conflict", "forbidden", "invalid", "not-found"}
    facts = gym.facts()
    assert faults(facts) == []
    users = sum(answer.status == 201 and b'"points":1000' in answer.body for answer in answers)
    assert facts.conservation.minted == 1000 * users
    survivors = gym.survivors()
    applied = [answer for answer in answers if not answer.kind and answer.status != 204]
    assert sorted(found.digest for found in survivors.values()) == sorted(answer.digest for answer in applied)
    assert all(found.digest == found.stored and found.applied == 1 for found in survivors.values())
    gym.close()

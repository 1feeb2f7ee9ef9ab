"""Challenges: equal stakes, held while it is open who wins, and given back exactly when nobody does."""

from __future__ import annotations

import pytest

from system import challenge_service
from system.challenge_service import LIFETIME_MS, accept, challenge, decline, expire_due, issue, listing, settle
from system.errors import Conflict, Forbidden, Invalid, NotFound
from system.shapes import ID_MAX
from tests.system.front import Front
from tests.system.gym import Gym, faults

ANN, BOB, CID = 1, 2, 3


@pytest.fixture
def issued(gym: Gym) -> int:
    """Ann challenged Bob for 100 points."""
    for name in ("ann", "bob", "cid"):
        gym.user(name)
    return int(gym.apply(issue, BOB, 100, "Rowing", actor=ANN)["id"])


@pytest.fixture
def accepted(gym: Gym, issued: int) -> int:
    """Bob accepted it."""
    gym.apply(accept, issued, actor=BOB)
    return issued


def refusal(gym: Gym, *call: object, actor: int) -> str:
    with pytest.raises((Conflict, Forbidden, Invalid, NotFound)) as refused:
        gym.apply(call[0], *call[1:], actor=actor)
    assert faults(gym.facts()) == []
    return refused.value.code


def purses(gym: Gym) -> tuple[int, int]:
    return gym.points(ANN), gym.points(BOB)


def test_issuing_stakes_nothing_yet(gym: Gym, issued: int) -> None:
    shown = gym.read(challenge, BOB, issued)
    assert (shown["state"], shown["stake"], shown["expires_ms"]) == ("issued", 100, gym.now_ms + LIFETIME_MS)
    assert purses(gym) == (1000, 1000)


def test_nobody_challenges_themselves(gym: Gym) -> None:
    gym.user("ann")
    assert refusal(gym, issue, ANN, 1, "Rowing", actor=ANN) == "self-challenge"


def test_nobody_challenges_somebody_who_does_not_exist(gym: Gym) -> None:
    gym.user("ann")
    assert refusal(gym, issue, 9, 1, "Rowing", actor=ANN) == "user-not-found"


def test_accepting_puts_both_stakes_into_escrow(gym: Gym, accepted: int) -> None:
    assert purses(gym) == (900, 900)
    assert gym.facts().conservation.escrow == 200


def test_only_the_opponent_accepts_or_declines(gym: Gym, issued: int) -> None:
    for job in (accept, decline):
        for actor in (ANN, CID):
            assert refusal(gym, job, issued, actor=actor) == "not-your-challenge"


def test_a_challenge_is_answered_once(gym: Gym, accepted: int) -> None:
    assert refusal(gym, accept, accepted, actor=BOB) == "challenge-not-issued"
    assert refusal(gym, decline, accepted, actor=BOB) == "challenge-not-issued"
    assert purses(gym) == (900, 900)


def test_two_answers_in_one_commit_are_one_answer(gym: Gym, issued: int) -> None:
    answers = gym.batch([(accept, (issued,), BOB), (decline, (issued,), BOB)])
    assert [answer.code for answer in answers] == ["", "challenge-not-issued"]
    assert faults(gym.facts()) == []


@pytest.mark.parametrize("poor", [ANN, BOB])
def test_when_either_party_is_short_nobody_stakes_anything(gym: Gym, poor: int) -> None:
    for name in ("ann", "bob", "cid"):
        gym.user(name)
    gym.apply(issue, CID, 950, "Elsewhere", actor=poor)
    gym.apply(accept, 1, actor=CID)
    gym.apply(issue, BOB, 100, "Rowing", actor=ANN)
    assert refusal(gym, accept, 2, actor=BOB) == "insufficient-points"
    assert gym.read(challenge, ANN, 2)["state"] == "issued"
    assert sorted(purses(gym)) == [50, 1000]


def test_declining_ends_it(gym: Gym, issued: int) -> None:
    assert gym.apply(decline, issued, actor=BOB) == {"id": issued, "state": "declined"}
    assert refusal(gym, accept, issued, actor=BOB) == "challenge-not-issued"
    assert purses(gym) == (1000, 1000)


@pytest.mark.parametrize("teller", [ANN, BOB])
def test_settling_gives_both_stakes_to_the_winner(gym: Gym, accepted: int, teller: int) -> None:
    assert gym.apply(settle, accepted, BOB, actor=teller) == {"id": accepted, "state": "settled", "winner_id": BOB}
    assert purses(gym) == (900, 1100)
    assert gym.facts().conservation.escrow == 0


def test_a_challenge_is_settled_once(gym: Gym, accepted: int) -> None:
    gym.apply(settle, accepted, BOB, actor=BOB)
    assert refusal(gym, settle, accepted, ANN, actor=ANN) == "challenge-not-accepted"
    assert purses(gym) == (900, 1100)


def test_a_challenge_nobody_accepted_is_not_settled(gym: Gym, issued: int) -> None:
    assert refusal(gym, settle, issued, ANN, actor=ANN) == "challenge-not-accepted"


def test_only_a_party_can_win_or_say_who_won(gym: Gym, accepted: int) -> None:
    assert refusal(gym, settle, accepted, CID, actor=ANN) == "winner-not-a-party"
    assert refusal(gym, settle, accepted, CID, actor=CID) == "not-your-challenge"


def test_what_does_not_exist_is_not_found(gym: Gym) -> None:
    gym.user("ann")
    for call in ((accept, 9), (decline, 9), (settle, 9, ANN)):
        assert refusal(gym, *call, actor=ANN) == "challenge-not-found"


def test_an_expired_challenge_cannot_be_accepted_even_before_it_is_swept_up(gym: Gym, issued: int) -> None:
    gym.now_ms += LIFETIME_MS
    assert refusal(gym, accept, issued, actor=BOB) == "challenge-expired"
    assert purses(gym) == (1000, 1000)


def test_nothing_expires_before_its_time(gym: Gym, accepted: int) -> None:
    gym.now_ms += LIFETIME_MS - 1
    assert gym.apply(expire_due, 100, gym.now_ms) is None
    assert gym.read(challenge, ANN, accepted)["state"] == "accepted"


def test_a_sweep_that_finds_nothing_leaves_no_trace(gym: Gym, issued: int) -> None:
    before = gym.rows("SELECT count(*) FROM operations")
    gym.apply(expire_due, 100, gym.now_ms)
    assert gym.rows("SELECT count(*) FROM operations") == before


def test_expiry_gives_back_exactly_what_was_staked(gym: Gym, accepted: int) -> None:
    gym.now_ms += LIFETIME_MS
    assert gym.apply(expire_due, 100, gym.now_ms) == {"expired": 1}
    assert purses(gym) == (1000, 1000)
    assert gym.read(challenge, ANN, accepted)["state"] == "expired"
    assert gym.apply(expire_due, 100, gym.now_ms) is None
    assert refusal(gym, settle, accepted, ANN, actor=ANN) == "challenge-not-accepted"
    assert faults(gym.facts()) == []


def test_expiry_of_an_unanswered_challenge_moves_no_points(gym: Gym, issued: int) -> None:
    gym.now_ms += LIFETIME_MS
    gym.apply(expire_due, 100, gym.now_ms)
    assert gym.rows("SELECT count(*) FROM points_transfers WHERE kind = 'refund'") == [(0,)]
    assert faults(gym.facts()) == []


def test_a_sweep_is_bounded_and_tells_each_party_once(gym: Gym, accepted: int) -> None:
    for title in ("Second", "Third"):
        gym.apply(issue, BOB, 1, title, actor=ANN)
    gym.now_ms += LIFETIME_MS
    assert gym.apply(expire_due, 2, gym.now_ms) == {"expired": 2}
    told = "SELECT user_id, text FROM notification_outbox WHERE kind = 'challenge-expired' ORDER BY id"
    assert gym.rows(told) == [(ANN, "2 challenges of yours expired."), (BOB, "2 challenges of yours expired.")]
    assert gym.apply(expire_due, 2, gym.now_ms) == {"expired": 1}
    assert gym.rows(told)[2:] == [(ANN, "A challenge of yours expired."), (BOB, "A challenge of yours expired.")]
    assert faults(gym.facts()) == []


def test_every_step_is_kept(gym: Gym, accepted: int) -> None:
    gym.apply(settle, accepted, BOB, actor=BOB)
    assert gym.rows("SELECT state, actor_id FROM challenge_steps ORDER BY id") == [
        ("issued", ANN),
        ("accepted", BOB),
        ("settled", BOB),
    ]


def test_a_challenge_is_shown_to_its_parties_alone(gym: Gym, issued: int) -> None:
    assert gym.read(challenge, ANN, issued) == gym.read(challenge, BOB, issued)
    with pytest.raises(NotFound):
        gym.read(challenge, CID, issued)


def test_listings_hold_both_sides_newest_first_and_filter_by_state(gym: Gym, issued: int) -> None:
    gym.apply(issue, ANN, 1, "Back", actor=BOB)
    gym.apply(issue, CID, 1, "Away", actor=BOB)
    gym.apply(decline, 2, actor=ANN)
    assert [one["id"] for one in gym.read(listing, ANN, None, 10, ID_MAX)["challenges"]] == [2, 1]
    assert [one["id"] for one in gym.read(listing, ANN, "issued", 10, ID_MAX)["challenges"]] == [1]
    first = gym.read(listing, BOB, None, 2, ID_MAX)
    second = gym.read(listing, BOB, None, 2, first["next"])
    assert [one["id"] for page in (first, second) for one in page["challenges"]] == [3, 2, 1]
    assert second["next"] is None


def test_a_challenge_over_http(front: Front) -> None:
    (_, token), (opponent, other) = front.join("c-ann"), front.join("c-bob")
    issued = front.call("POST", "/challenges", {"opponent_id": opponent, "stake": 5, "title": "Rowing"}, token=token)
    assert (issued.status_code, issued.json()["state"]) == (201, "issued")
    path = f"/challenges/{issued.json()['id']}"
    assert front.call("GET", path, token=front.regular()).status_code == 404
    assert front.call("POST", f"{path}/accept", {}, token=other).json()["state"] == "accepted"
    late = front.call("POST", f"{path}/decline", {}, token=other)
    assert (late.status_code, late.json()["code"]) == (409, "challenge-not-issued")
    settled = front.call("POST", f"{path}/settle", {"winner_id": opponent}, token=token)
    assert (settled.status_code, settled.json()["winner_id"]) == (200, opponent)
    shown = front.call("GET", "/challenges?state=settled", token=other).json()["challenges"]
    assert [one["winner_id"] for one in shown] == [opponent]


@pytest.mark.parametrize(
    ("path", "body"),
    [
        ("/challenges", {"opponent_id": 2, "stake": 0, "title": "Rowing"}),
        ("/challenges", {"opponent_id": 2, "stake": 10_001, "title": "Rowing"}),
        ("/challenges", {"opponent_id": 2, "stake": 1, "title": " "}),
        ("/challenges", {"opponent_id": 2, "stake": 1, "title": "t" * 121}),
        ("/challenges", {"opponent_id": -2, "stake": 1, "title": "Rowing"}),
        ("/challenges", {"opponent_id": 2, "stake": 1}),
        ("/challenges/1/settle", {}),
        ("/challenges/1/settle", {"winner_id": None}),
    ],
)
def test_a_body_that_breaks_a_rule_is_refused(front: Front, path: str, body: object) -> None:
    answer = front.call("POST", path, body, token=front.regular())
    assert (answer.status_code, answer.json()["code"]) == (400, "body-invalid")


def test_a_day_is_what_a_challenge_waits() -> None:
    assert challenge_service.LIFETIME_MS == 86_400_000

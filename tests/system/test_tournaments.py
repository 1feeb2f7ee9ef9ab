"""Tournaments and matches: places, scores, standings, and one winner who is paid once."""

from __future__ import annotations

import pytest

from system import match_service, tournament_reads, tournament_service
from system.errors import Conflict, Forbidden, Invalid, NotFound
from system.standings import Score, Standing, table
from tests.system.front import Front
from tests.system.gym import Gym, faults

ANN, BOB, CID, DAN = 1, 2, 3, 4


@pytest.fixture
def cup(gym: Gym) -> int:
    """Ann's open tournament for two, at 50 points; nobody is in it yet."""
    for name in ("ann", "bob", "cid", "dan"):
        gym.user(name)
    created = gym.apply(tournament_service.create, "Cup", 2, 50, actor=ANN)
    gym.apply(tournament_service.open_, created["id"], actor=ANN)
    return int(created["id"])


@pytest.fixture
def match(gym: Gym, cup: int) -> int:
    """Bob at home against Cid."""
    for user in (BOB, CID):
        gym.apply(tournament_service.join, cup, actor=user)
    return int(gym.apply(match_service.pair, cup, BOB, CID, actor=ANN)["id"])


def refusal(gym: Gym, *call: object, actor: int) -> str:
    with pytest.raises((Conflict, Forbidden, Invalid, NotFound)) as refused:
        gym.apply(call[0], *call[1:], actor=actor)
    assert faults(gym.facts()) == []
    return refused.value.code


def test_a_new_tournament_is_a_draft_that_nobody_can_join(gym: Gym) -> None:
    gym.user("ann")
    created = gym.apply(tournament_service.create, "Cup", 2, 50, actor=ANN)
    assert created == {
        "id": 1, "name": "Cup", "state": "draft", "capacity": 2, "entries": 0, "entry_fee": 50, "organiser_id": ANN,
        "winner_id": None, "pool": 0,
    }  # fmt: skip
    assert refusal(gym, tournament_service.join, 1, actor=ANN) == "tournament-not-open"


def test_a_tournament_is_opened_once(gym: Gym, cup: int) -> None:
    assert gym.read(tournament_reads.tournament, cup)["state"] == "open"
    assert refusal(gym, tournament_service.open_, cup, actor=ANN) == "tournament-not-draft"


def test_joining_takes_a_place_and_moves_the_fee_into_the_pool(gym: Gym, cup: int) -> None:
    assert gym.apply(tournament_service.join, cup, actor=BOB) == {"tournament_id": cup, "user_id": BOB, "entries": 1}
    shown = gym.read(tournament_reads.tournament, cup)
    assert (shown["entries"], shown["pool"], gym.points(BOB)) == (1, 50, 950)


def test_nobody_has_two_places(gym: Gym, cup: int) -> None:
    gym.apply(tournament_service.join, cup, actor=BOB)
    assert refusal(gym, tournament_service.join, cup, actor=BOB) == "already-entered"
    assert gym.points(BOB) == 950


def test_capacity_is_never_exceeded(gym: Gym, cup: int) -> None:
    """Four want two places within one commit; the first two have them, and nobody else has paid."""
    answers = gym.batch([(tournament_service.join, (cup,), user) for user in (DAN, CID, BOB, ANN)])
    assert [answer.code for answer in answers] == ["", "", "tournament-full", "tournament-full"]
    assert gym.read(tournament_reads.tournament, cup)["entries"] == 2
    assert [gym.points(user) for user in (ANN, BOB, CID, DAN)] == [1000, 1000, 950, 950]
    assert faults(gym.facts()) == []


def test_who_cannot_pay_the_fee_takes_no_place(gym: Gym) -> None:
    gym.user("ann")
    gym.apply(tournament_service.create, "Dear", 2, 1001, actor=ANN)
    gym.apply(tournament_service.open_, 1, actor=ANN)
    assert refusal(gym, tournament_service.join, 1, actor=ANN) == "insufficient-points"
    assert gym.read(tournament_reads.tournament, 1)["entries"] == 0


def test_a_free_tournament_moves_no_points(gym: Gym) -> None:
    gym.user("ann")
    gym.apply(tournament_service.create, "Free", 2, 0, actor=ANN)
    gym.apply(tournament_service.open_, 1, actor=ANN)
    gym.apply(tournament_service.join, 1, actor=ANN)
    assert gym.apply(tournament_service.finish, 1, actor=ANN) == {"id": 1, "winner_id": ANN, "paid": 0}
    assert gym.rows("SELECT count(*) FROM points_transfers WHERE kind <> 'welcome'") == [(0,)]
    assert faults(gym.facts()) == []


def test_only_the_organiser_opens_pairs_closes_and_finishes(gym: Gym, cup: int, match: int) -> None:
    assert refusal(gym, tournament_service.open_, cup, actor=BOB) == "not-your-tournament"
    assert refusal(gym, match_service.pair, cup, BOB, CID, actor=BOB) == "not-your-tournament"
    assert refusal(gym, match_service.close, match, actor=BOB) == "not-your-tournament"
    assert refusal(gym, tournament_service.finish, cup, actor=BOB) == "not-your-tournament"


def test_what_does_not_exist_is_not_found(gym: Gym, cup: int) -> None:
    for job in (tournament_service.open_, tournament_service.join, tournament_service.finish):
        assert refusal(gym, job, 9, actor=ANN) == "tournament-not-found"
    assert refusal(gym, match_service.pair, 9, BOB, CID, actor=ANN) == "tournament-not-found"
    assert refusal(gym, match_service.score, 9, "home", 1, actor=ANN) == "match-not-found"
    assert refusal(gym, match_service.close, 9, actor=ANN) == "match-not-found"
    for read in (tournament_reads.tournament, tournament_service.ranking, match_service.listing, match_service.match):
        with pytest.raises(NotFound):
            gym.read(read, 9)


def test_a_match_is_between_two_entrants_of_an_open_tournament(gym: Gym, cup: int) -> None:
    gym.apply(tournament_service.join, cup, actor=BOB)
    assert refusal(gym, match_service.pair, cup, BOB, BOB, actor=ANN) == "self-match"
    assert refusal(gym, match_service.pair, cup, BOB, CID, actor=ANN) == "not-entered"
    gym.apply(tournament_service.create, "Draft", 2, 0, actor=ANN)
    assert refusal(gym, match_service.pair, 2, BOB, CID, actor=ANN) == "tournament-not-open"


def test_scores_add_up(gym: Gym, match: int) -> None:
    gym.apply(match_service.score, match, "home", 2, actor=BOB)
    gym.apply(match_service.score, match, "away", 1, actor=CID)
    last = gym.apply(match_service.score, match, "home", 3, actor=ANN)
    assert last == {"match_id": match, "event_id": 3, "home_score": 5, "away_score": 1}
    shown = gym.read(match_service.match, match)
    assert (shown["home_score"], shown["away_score"], shown["state"]) == (5, 1, "playing")


def test_a_bystander_cannot_score(gym: Gym, match: int) -> None:
    assert refusal(gym, match_service.score, match, "home", 1, actor=DAN) == "not-your-match"


def test_a_closed_match_takes_no_scores_and_is_not_closed_again(gym: Gym, match: int) -> None:
    gym.apply(match_service.score, match, "away", 4, actor=CID)
    closed = gym.apply(match_service.close, match, actor=ANN)
    assert (closed["state"], closed["home_score"], closed["away_score"]) == ("closed", 0, 4)
    assert refusal(gym, match_service.score, match, "home", 1, actor=BOB) == "match-closed"
    assert refusal(gym, match_service.close, match, actor=ANN) == "match-closed"
    assert gym.read(match_service.match, match)["home_score"] == 0


def test_the_winner_has_the_whole_pool_once(gym: Gym, cup: int, match: int) -> None:
    gym.apply(match_service.score, match, "away", 1, actor=CID)
    gym.apply(match_service.close, match, actor=ANN)
    assert gym.apply(tournament_service.finish, cup, actor=ANN) == {"id": cup, "winner_id": CID, "paid": 100}
    assert (gym.points(BOB), gym.points(CID)) == (950, 1050)
    assert refusal(gym, tournament_service.finish, cup, actor=ANN) == "tournament-not-open"
    (facts,) = gym.facts().tournaments
    assert (facts.state, facts.winners, facts.payouts, facts.pool) == ("finished", 1, 1, 0)
    assert gym.points(CID) == 1050


def test_a_tournament_is_not_finished_while_a_match_is_played(gym: Gym, cup: int, match: int) -> None:
    assert refusal(gym, tournament_service.finish, cup, actor=ANN) == "matches-open"


def test_a_tournament_that_nobody_entered_is_never_finished(gym: Gym, cup: int) -> None:
    assert refusal(gym, tournament_service.finish, cup, actor=ANN) == "nobody-entered"
    assert gym.read(tournament_reads.tournament, cup)["state"] == "open"


def test_a_draft_is_not_finished(gym: Gym) -> None:
    gym.user("ann")
    gym.apply(tournament_service.create, "Draft", 2, 0, actor=ANN)
    assert refusal(gym, tournament_service.finish, 1, actor=ANN) == "tournament-not-open"


def test_nothing_more_happens_in_a_finished_tournament(gym: Gym, cup: int) -> None:
    gym.apply(tournament_service.join, cup, actor=BOB)
    gym.apply(tournament_service.finish, cup, actor=ANN)
    assert refusal(gym, tournament_service.join, cup, actor=CID) == "tournament-not-open"
    assert refusal(gym, match_service.pair, cup, BOB, CID, actor=ANN) == "tournament-not-open"
    assert refusal(gym, tournament_service.open_, cup, actor=ANN) == "tournament-not-draft"


def test_listings_continue_and_filter_by_state(gym: Gym, cup: int) -> None:
    for name in ("Second", "Third"):
        gym.apply(tournament_service.create, name, 2, 0, actor=ANN)
    first = gym.read(tournament_reads.listing, None, 2, 0)
    second = gym.read(tournament_reads.listing, None, 2, first["next"])
    assert [one["id"] for page in (first, second) for one in page["tournaments"]] == [1, 2, 3]
    assert second["next"] is None
    assert [one["id"] for one in gym.read(tournament_reads.listing, "open", 10, 0)["tournaments"]] == [cup]
    assert gym.read(tournament_reads.listing, "finished", 10, 0) == {"tournaments": [], "next": None}


def test_matches_are_listed_in_the_order_they_were_paired(gym: Gym, cup: int, match: int) -> None:
    gym.apply(match_service.pair, cup, CID, BOB, actor=ANN)
    assert [one["home_id"] for one in gym.read(match_service.listing, cup)["matches"]] == [BOB, CID]


THREE = [(BOB, "Bob"), (CID, "Cid"), (DAN, "Dan")]


def lines(*scores: Score) -> list[tuple[int, int, int, int, int]]:
    return [(one.user_id, one.wins, one.draws, one.losses, one.scored) for one in table(THREE, scores)]


def test_without_matches_the_earliest_entry_leads() -> None:
    assert lines() == [(BOB, 0, 0, 0, 0), (CID, 0, 0, 0, 0), (DAN, 0, 0, 0, 0)]


def test_a_win_counts_more_than_any_points() -> None:
    close, lost_high = Score(DAN, CID, 1, 0, "closed"), Score(BOB, CID, 40, 40, "closed")
    assert lines(close, lost_high) == [(DAN, 1, 0, 0, 1), (BOB, 0, 1, 0, 40), (CID, 0, 1, 1, 40)]


def test_points_decide_between_equal_wins() -> None:
    assert lines(Score(BOB, CID, 3, 2, "closed"), Score(DAN, BOB, 9, 1, "closed")) == [
        (DAN, 1, 0, 0, 9),
        (BOB, 1, 0, 1, 4),
        (CID, 0, 0, 1, 2),
    ]


def test_entering_earlier_decides_between_equal_points() -> None:
    assert lines(Score(DAN, BOB, 2, 2, "closed"))[0] == (BOB, 0, 1, 0, 2)


def test_an_open_match_is_not_won_but_its_points_count() -> None:
    assert lines(Score(CID, BOB, 5, 0, "playing"))[0] == (CID, 0, 0, 0, 5)


def test_a_match_of_nobody_we_know_is_an_error() -> None:
    with pytest.raises(KeyError):
        table([(BOB, "Bob")], [Score(BOB, 99, 1, 0, "closed")])


def test_standings_show_display_names(gym: Gym, cup: int, match: int) -> None:
    gym.apply(match_service.score, match, "away", 1, actor=CID)
    shown = gym.read(tournament_service.ranking, cup)["standings"]
    assert shown[0] == Standing(CID, "cid", scored=1)


def test_a_tournament_over_http(front: Front) -> None:
    (organiser, token), (player, other) = front.join("t-ann"), front.join("t-bob")
    cup = front.call("POST", "/tournaments", {"name": "Cup", "capacity": 2, "entry_fee": 5}, token=token)
    assert cup.status_code == 201
    path = f"/tournaments/{cup.json()['id']}"
    assert front.call("POST", f"{path}/open", {}, token=token).json()["state"] == "open"
    for who in (token, other):
        assert front.call("POST", f"{path}/entries", {}, token=who).status_code == 201
    pairing = {"home_id": organiser, "away_id": player}
    paired = front.call("POST", f"{path}/matches", pairing, token=token)
    assert paired.status_code == 201
    match = f"/matches/{paired.json()['id']}"
    scored = front.call("POST", f"{match}/events", {"side": "away", "points": 2}, token=other)
    assert (scored.status_code, scored.json()["away_score"]) == (201, 2)
    assert front.call("POST", f"{match}/result", {}, token=token).json()["state"] == "closed"
    assert front.call("GET", match, token=other).json()["away_score"] == 2
    assert len(front.call("GET", f"{path}/matches", token=other).json()["matches"]) == 1
    assert front.call("GET", f"{path}/standings", token=other).json()["standings"][0] == {
        "user_id": player, "name": "t-bob", "wins": 1, "draws": 0, "losses": 0, "scored": 2,
    }  # fmt: skip
    finished = front.call("POST", f"{path}/finish", {}, token=token)
    assert finished.json() == {"id": cup.json()["id"], "winner_id": player, "paid": 10}
    assert front.call("GET", path, token=other).json()["state"] == "finished"
    assert front.call("GET", "/tournaments?state=finished", token=other).json()["tournaments"][0]["pool"] == 0


@pytest.mark.parametrize(
    ("path", "body"),
    [
        ("/tournaments", {"name": "", "capacity": 2}),
        ("/tournaments", {"name": "Cup\nCup", "capacity": 2}),
        ("/tournaments", {"name": "Cup", "capacity": 1}),
        ("/tournaments", {"name": "Cup", "capacity": 2, "entry_fee": -1}),
        ("/tournaments", {"name": "Cup", "capacity": "2"}),
        ("/tournaments/1/matches", {"home_id": 0, "away_id": 1}),
        ("/tournaments/1/matches", {"home_id": 2**63, "away_id": 1}),
        ("/matches/1/events", {"side": "left", "points": 1}),
        ("/matches/1/events", {"side": "home", "points": 0}),
        ("/matches/1/events", {"side": "home", "points": 11}),
        ("/matches/1/events", {"side": "home", "points": 1.5}),
    ],
)
def test_a_body_that_breaks_a_rule_is_refused(front: Front, path: str, body: object) -> None:
    answer = front.call("POST", path, body, token=front.regular())
    assert (answer.status_code, answer.json()["code"]) == (400, "body-invalid")


def test_a_listing_of_an_unknown_state_is_refused(front: Front) -> None:
    assert front.call("GET", "/tournaments?state=lost", token=front.regular()).status_code == 400

"""The running service over its own sockets: a story of each domain, and what it says to what makes no sense."""

from __future__ import annotations

import http.client
import re
import threading
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

from ci.loopback import HOST
from ci.stand import Stand
from tests.e2e.caller import (
    PASSWORD,
    Caller,
    Reply,
    new_name,
    new_operation,
    newcomer,
    players,
    population,
    survived,
    until,
)

pytestmark = pytest.mark.processes


def points(user: Caller) -> int:
    balance = user.get("/users/me/points").json["balance"]
    assert isinstance(balance, int)
    return balance


def inbox(user: Caller) -> list[str]:
    return [one["kind"] for one in user.get("/notifications").json["notifications"]]


def test_somebody_signs_up_logs_in_and_is_gone_after_logging_out(gym: Stand) -> None:
    name = new_name()
    signed = Caller(gym).post("/users", {"name": name, "password": PASSWORD})
    assert signed.status == 201
    assert signed.json == {"id": signed.json["id"], "name": name, "points": 1000}
    session = Caller(gym).post("/sessions", {"name": name, "password": PASSWORD})
    assert session.status == 201
    user = Caller(gym, session.json["token"])
    assert user.get("/users/me").json["name"] == name
    out = user.write("DELETE", "/sessions/current")
    assert (out.status, out.json) == (200, {"session_id": session.json["session_id"], "revoked": True})
    for late in (user.get("/users/me"), user.write("PATCH", "/users/me", {"bio": "late"})):
        assert (late.status, late.code) == (401, "session-unknown")
        assert late.headers["www-authenticate"] == "Bearer"
    assert survived(gym) >= {signed.operation, session.operation, out.operation}


def test_a_name_is_taken_once_and_a_wrong_password_opens_nothing(gym: Stand) -> None:
    name = new_name()
    assert Caller(gym).post("/users", {"name": name, "password": PASSWORD}).status == 201
    again = Caller(gym).post("/users", {"name": name, "password": PASSWORD})
    assert (again.status, again.code) == (409, "name-taken")
    for wrong in ({"name": name, "password": "not the password"}, {"name": new_name(), "password": PASSWORD}):
        refused = Caller(gym).post("/sessions", wrong)
        assert (refused.status, refused.code) == (401, "wrong-credentials")


def test_a_profile_changes_where_it_was_told_to_and_others_see_it(gym: Stand) -> None:
    user, other = players(gym)[:2]
    before = user.get("/users/me").json
    changed = user.write("PATCH", "/users/me", {"bio": "Lifts things.\nPuts them down."})
    assert changed.status == 200
    assert changed.json == before | {"bio": "Lifts things.\nPuts them down."}
    seen = other.get(f"/users/{user.id}").json
    assert seen["bio"] == "Lifts things.\nPuts them down."
    assert "points" not in seen


def test_a_statement_of_points_adds_up_to_the_balance(gym: Stand) -> None:
    user = newcomer(gym)
    page = user.get("/users/me/points").json
    assert page["balance"] == 1000
    assert [(one["amount"], one["kind"]) for one in page["entries"]] == [(1000, "welcome")]


def test_a_tournament_from_its_draft_to_the_winner_with_the_pool(gym: Stand) -> None:
    organiser, home, away, late = (newcomer(gym) for _ in range(4))
    made = organiser.post("/tournaments", {"name": "Spring cup", "capacity": 2, "entry_fee": 50})
    assert (made.status, made.json["state"]) == (201, "draft")
    place = f"/tournaments/{made.json['id']}"
    assert (early := home.post(f"{place}/entries", {})).status == 409
    assert early.code == "tournament-not-open"
    assert organiser.post(f"{place}/open", {}).json["state"] == "open"

    assert [user.post(f"{place}/entries", {}).json["entries"] for user in (home, away)] == [1, 2]
    assert home.post(f"{place}/entries", {}).code == "already-entered"
    assert late.post(f"{place}/entries", {}).code == "tournament-full"
    assert [points(user) for user in (home, away, late)] == [950, 950, 1000]
    assert organiser.get(place).json["pool"] == 100

    stranger = late.post(f"{place}/matches", {"home_id": home.id, "away_id": away.id})
    assert (stranger.status, stranger.code) == (403, "not-your-tournament")
    paired = organiser.post(f"{place}/matches", {"home_id": home.id, "away_id": away.id})
    assert paired.status == 201
    match = f"/matches/{paired.json['id']}"
    assert home.post(f"{match}/events", {"side": "home", "points": 3}).json["home_score"] == 3
    assert away.post(f"{match}/events", {"side": "away", "points": 1}).json["away_score"] == 1
    assert organiser.post(f"{place}/finish", {}).code == "matches-open"
    assert organiser.post(f"{match}/result", {}).status == 200
    assert home.post(f"{match}/events", {"side": "home", "points": 1}).code == "match-closed"

    table = late.get(f"{place}/standings").json["standings"]
    assert [(one["user_id"], one["wins"], one["losses"], one["scored"]) for one in table] == [
        (home.id, 1, 0, 3),
        (away.id, 0, 1, 1),
    ]
    finished = organiser.post(f"{place}/finish", {})
    assert (finished.json["winner_id"], finished.json["paid"]) == (home.id, 100)
    assert organiser.post(f"{place}/finish", {}).code == "tournament-not-open"
    assert [points(user) for user in (home, away)] == [1050, 950]
    until(lambda: "tournament-won" in inbox(home), "the winner is told")


def test_a_challenge_from_its_issue_to_the_stakes_with_the_winner(gym: Stand) -> None:
    challenger, opponent, stranger = (newcomer(gym) for _ in range(3))
    issued = challenger.post("/challenges", {"opponent_id": opponent.id, "stake": 200, "title": "Ten laps"})
    assert (issued.status, issued.json["state"]) == (201, "issued")
    place = f"/challenges/{issued.json['id']}"
    assert challenger.post(f"{place}/accept", {}).code == "not-your-challenge"
    assert stranger.get(place).status == 404
    assert opponent.post(f"{place}/accept", {}).json["state"] == "accepted"
    assert [points(user) for user in (challenger, opponent)] == [800, 800]
    assert challenger.post(f"{place}/settle", {"winner_id": stranger.id}).code == "winner-not-a-party"
    assert challenger.post(f"{place}/settle", {"winner_id": opponent.id}).status == 200
    assert challenger.post(f"{place}/settle", {"winner_id": challenger.id}).code == "challenge-not-accepted"
    assert [points(user) for user in (challenger, opponent)] == [800, 1200]
    assert [one["state"] for one in challenger.get("/challenges?state=settled").json["challenges"]] == ["settled"]


def test_notifications_arrive_are_counted_and_are_read(gym: Stand) -> None:
    challenger, opponent = newcomer(gym), newcomer(gym)
    for title in ("One", "Two", "Three"):
        challenger.post("/challenges", {"opponent_id": opponent.id, "stake": 1, "title": title})
    until(lambda: opponent.get("/notifications/unread-count").json == {"unread": 3}, "three notifications arrive")
    newest = opponent.get("/notifications?limit=1").json["notifications"][0]
    assert newest["text"] == "You were challenged to “Three” for 1 points."
    stolen = challenger.post(f"/notifications/{newest['id']}/read", {})
    assert (stolen.status, stolen.code) == (404, "notification-not-found")
    assert opponent.post(f"/notifications/{newest['id']}/read", {}).status == 200
    assert opponent.get("/notifications/unread-count").json == {"unread": 2}
    assert opponent.post("/notifications/read-all", {}).json == {"read": 2}
    assert opponent.get("/notifications?unread=true").json["notifications"] == []


def test_an_acknowledged_write_says_where_it_stands(gym: Stand) -> None:
    user = players(gym)[0]
    done = user.write("PATCH", "/users/me", {"bio": "here"})
    assert done.headers["operation-id"] == done.operation
    assert re.fullmatch(r"[0-9a-f]{32}", done.headers["effect-digest"])
    assert int(done.headers["commit-sequence"]) > 0
    assert re.fullmatch(r"db;dur=[0-9.]+", done.headers["server-timing"])
    assert done.headers["request-id"]
    found = user.get(f"/operations/{done.operation}")
    assert found.json == {
        "id": done.operation,
        "run": gym.run,
        "sequence": int(done.headers["commit-sequence"]),
        "digest": done.headers["effect-digest"],
        "status": 200,
    }
    for asked in (players(gym)[1].get(f"/operations/{done.operation}"), user.get("/operations/never")):
        assert (asked.status, asked.code) == (404, "operation-not-found")


def test_a_repeated_operation_is_answered_from_what_was_stored(gym: Stand) -> None:
    user = newcomer(gym)
    wanted = {"opponent_id": players(gym)[0].id, "stake": 5, "title": "Once"}
    first = user.post("/challenges", wanted)
    again = user.post("/challenges", wanted, first.operation)
    assert (again.status, again.body) == (first.status, first.body)
    assert "operation-replayed" not in first.headers
    assert again.headers["operation-replayed"] == "true"
    for name in ("commit-sequence", "effect-digest"):
        assert again.headers[name] == first.headers[name]
    other = user.post("/challenges", wanted | {"stake": 6}, first.operation)
    assert (other.status, other.code) == (422, "operation-reused")
    assert len(user.get("/challenges").json["challenges"]) == 1


def test_operations_repeated_at_once_are_applied_once(gym: Stand) -> None:
    user = newcomer(gym)
    wanted = {"opponent_id": players(gym)[0].id, "stake": 5, "title": "All at once"}
    operation = new_operation(gym)
    with ThreadPoolExecutor(8) as pool:
        replies = list(pool.map(lambda _: user.post("/challenges", wanted, operation), range(8)))
    assert {(one.status, one.body) for one in replies} == {(201, replies[0].body)}
    assert sorted(one.headers.get("operation-replayed", "false") for one in replies) == ["false"] + ["true"] * 7
    assert len(user.get("/challenges").json["challenges"]) == 1


def test_a_repeated_log_in_shows_no_token(gym: Stand) -> None:
    name = new_name()
    Caller(gym).post("/users", {"name": name, "password": PASSWORD})
    first = Caller(gym).post("/sessions", {"name": name, "password": PASSWORD})
    again = Caller(gym).post("/sessions", {"name": name, "password": PASSWORD}, first.operation)
    assert again.headers["operation-replayed"] == "true"
    assert first.json["token"]
    assert again.json == first.json | {"token": None}


def test_an_idempotency_key_is_an_operation_id_by_another_name(gym: Stand) -> None:
    user = players(gym)[0]
    operation = new_operation(gym)
    done = user.send("PATCH", "/users/me", {"bio": "keyed"}, {"Idempotency-Key": f'"{operation}"', "Run-Id": gym.run})
    assert (done.status, done.headers["operation-id"]) == (200, operation)


MALFORMED: list[tuple[bytes, str]] = [
    (b"{", "body-not-json"),
    (b"bio=hello", "body-not-json"),
    (b'{"bio": "\xff\xfe"}', "body-not-json"),
    (b'{"bio": ' + b"[" * 60_000, "body-invalid"),
    (b"[]", "body-invalid"),
    (b'{"bio": 7}', "body-invalid"),
    (b'{"bio": "a\\u0000b"}', "body-invalid"),
    (b'{"display_name": ""}', "body-invalid"),
    (b'{"points": 1000000}', "body-invalid"),
]


@pytest.mark.parametrize(("body", "code"), MALFORMED, ids=range(len(MALFORMED)))
def test_a_body_that_breaks_the_rules_is_refused(body: bytes, code: str, gym: Stand) -> None:
    user = players(gym)[0]
    before = user.get("/users/me").body
    refused = user.write("PATCH", "/users/me", body)
    assert (refused.status, refused.code) == (400, code)
    assert user.get("/users/me").body == before
    assert user.get(f"/operations/{refused.operation}").status == 404


@pytest.mark.parametrize("chunked", [False, True], ids=["with-length", "chunked"])
def test_a_body_too_large_is_refused_and_not_read(chunked: bool, gym: Stand) -> None:
    user = players(gym)[0]
    operation = new_operation(gym)
    connection = http.client.HTTPConnection(HOST, gym.port, timeout=10)
    headers = {"Authorization": f"Bearer {user.token}", "Operation-Id": operation, "Run-Id": gym.run}
    large = b'{"bio": "' + b"x" * 100_000 + b'"}'
    body: Any = iter([large[:50_000], large[50_000:]]) if chunked else large
    connection.request("PATCH", "/users/me", body, headers, encode_chunked=chunked)
    got = connection.getresponse()
    reply = Reply(got.status, {name.lower(): value for name, value in got.getheaders()}, got.read())
    connection.close()
    assert (reply.status, reply.code) == (413, "body-too-large")
    assert user.get(f"/operations/{operation}").status == 404


@pytest.mark.parametrize(
    ("headers", "code"),
    [
        ({}, "operation-id-missing"),
        ({"Operation-Id": "a b"}, "operation-id-invalid"),
        ({"Operation-Id": "x" * 121}, "operation-id-invalid"),
        ({"Operation-Id": "system.1"}, "operation-id-reserved"),
        ({"Operation-Id": "seed.1"}, "operation-id-reserved"),
        ({"Operation-Id": "good", "Run-Id": "a b"}, "run-id-invalid"),
    ],
)
def test_a_write_without_a_usable_operation_id_is_refused(headers: dict[str, str], code: str, gym: Stand) -> None:
    user = players(gym)[0]
    before = user.get("/users/me").body
    refused = user.send("PATCH", "/users/me", {"bio": "never"}, headers)
    assert (refused.status, refused.code) == (400, code)
    assert user.get("/users/me").body == before


@pytest.mark.parametrize(
    ("method", "path", "status", "code"),
    [
        ("GET", "/nowhere", 404, "route-not-found"),
        ("POST", "/users/me", 405, "method-not-allowed"),
        ("PUT", "/users", 405, "method-not-allowed"),
        ("GET", "/users/99999", 404, "user-not-found"),
        ("GET", "/tournaments/99999", 404, "tournament-not-found"),
        ("GET", "/matches/99999/", 404, "route-not-found"),
        ("GET", "/users/zero", 400, "parameter-invalid"),
        ("GET", "/users/0", 400, "parameter-invalid"),
        ("GET", f"/users/{2**63}", 400, "parameter-invalid"),
        ("GET", "/tournaments?limit=0", 400, "parameter-invalid"),
        ("GET", "/tournaments?limit=1000000", 400, "parameter-invalid"),
        ("GET", "/tournaments?state=lost", 400, "parameter-invalid"),
    ],
)
def test_a_request_for_what_is_not_there_is_told_so(method: str, path: str, status: int, code: str, gym: Stand) -> None:
    reply = players(gym)[0].write(method, path, {} if method != "GET" else None)
    assert (reply.status, reply.code) == (status, code)


@pytest.mark.parametrize(
    ("authorization", "code"),
    [
        ("", "session-required"),
        ("Bearer", "session-required"),
        ("Basic YTpi", "session-required"),
        ("Bearer x", "session-unknown"),
    ],
)
def test_a_request_without_a_session_is_refused(authorization: str, code: str, gym: Stand) -> None:
    headers = {"Operation-Id": new_operation(gym), "Run-Id": gym.run}
    shown = headers | ({"Authorization": authorization} if authorization else {})
    wanted = {"name": "Nobody's cup", "capacity": 8}
    for method, path, body in (("GET", "/users/me", None), ("POST", "/tournaments", wanted)):
        refused = Caller(gym).send(method, path, body, shown)
        assert (refused.status, refused.code) == (401, code)
    assert headers["Operation-Id"] not in survived(gym)


def test_a_request_id_is_kept_when_the_client_brings_one(gym: Stand) -> None:
    assert Caller(gym).send("GET", "/nowhere", None, {"Request-Id": "mine-1"}).headers["request-id"] == "mine-1"


@pytest.mark.parametrize("check", ["live", "ready", "startup"])
def test_a_whole_service_is_healthy(check: str, gym: Stand) -> None:
    reply = Caller(gym).get(f"/health/{check}")
    assert (reply.status, reply.json["status"]) == (200, "pass")
    assert reply.headers["content-type"] == "application/health+json"
    assert reply.headers["cache-control"] == "no-store"


METRICS = {
    'gymkhana_requests_total{method="GET",route="/users/me",status="200"}',
    'gymkhana_request_seconds_bucket{le="0.05",route="/users/me"}',
    'gymkhana_database_seconds_count{domain="users",lane="write"}',
    'gymkhana_database_seconds_count{domain="users",lane="read"}',
    'gymkhana_memory_bytes{process="supervisor"}',
    'gymkhana_memory_bytes{process="http"}',
    'gymkhana_memory_bytes{process="writer"}',
    'gymkhana_lane_depth{domain="users",lane="read"}',
    "gymkhana_open_connections",
    "gymkhana_ready",
    "gymkhana_outbox_pending",
}


def test_the_metrics_hold_every_documented_series(gym: Stand) -> None:
    user = players(gym)[0]
    user.write("PATCH", "/users/me", {"bio": "measured"})
    user.get("/users/me")
    page = Caller(gym).get("/metrics").body.decode()
    series = dict(line.rsplit(" ", 1) for line in page.splitlines() if not line.startswith("#"))
    assert METRICS - series.keys() == set()
    assert "# TYPE gymkhana_lane_shed_total counter" in page
    assert float(series["gymkhana_ready"]) == 1.0
    assert float(series["gymkhana_open_connections"]) >= 1.0
    assert all(float(series[name]) > 2**20 for name in METRICS if "memory" in name)


def test_no_id_of_a_request_becomes_a_series(gym: Stand) -> None:
    players(gym)[0].get("/users/123456")
    Caller(gym).get("/surprise/123456")
    page = Caller(gym).get("/metrics").body.decode()
    assert 'route="/users/{user_id}"' in page
    assert "123456" not in page


RUSH = 150
"""More log-ins than may wait for a hashing thread, and fewer requests than the service takes in at once."""


def test_too_many_log_ins_at_once_are_refused_and_nobody_else_notices(gym: Stand) -> None:
    user = newcomer(gym)
    gate = threading.Barrier(RUSH)

    def log_in(_: int) -> Reply:
        gate.wait(30)
        return Caller(gym).post("/sessions", {"name": new_name(), "password": PASSWORD})

    with ThreadPoolExecutor(RUSH) as pool:
        rush = [pool.submit(log_in, n) for n in range(RUSH)]
        beside = []
        while not all(one.done() for one in rush):
            beside.append(user.get("/users/me").status)
        replies = [one.result() for one in rush]
    said = Counter((one.status, one.code) for one in replies)
    crowded = {(503, "hashing-busy"), (503, "queue-too-long")}
    assert {(401, "wrong-credentials")} < said.keys() <= {(401, "wrong-credentials")} | crowded
    # Who waited too long for the database never asked for a hashing thread; of the others 64 are not turned away.
    assert said[401, "wrong-credentials"] >= min(64, RUSH - said[503, "queue-too-long"])
    for one in replies:
        if one.status == 503:
            assert one.headers["outcome"] == "not-applied"
            assert int(one.headers["retry-after"]) >= 1
    assert set(beside) == {200}
    assert user.get("/users/me").status == 200


def test_the_population_is_who_the_file_says(gym: Stand) -> None:
    people = population(gym)
    assert [Caller(gym, user.token).get("/users/me").json["id"] for user in people.users] == [
        user.id for user in people.users
    ]

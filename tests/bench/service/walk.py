"""One walk through every flow of the scenario, and through what is refused, told so that two services can be compared."""

from __future__ import annotations

import http.client
import itertools
import json
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from ci.loopback import HOST
from loadtests.population import Player, Population

DELIVERED_WITHIN_S = 20.0
PASSING = ("_ms", "token", "request_id", "detail")
"""Keys whose values differ from run to run, by how they end; of these only the type is compared."""

Answer = tuple[int, Any]


@dataclass(frozen=True, slots=True)
class Seen:
    """A flow as it was answered. What passes is replaced by its type."""

    flow: str
    status: int
    body: Any


@dataclass(slots=True)
class Walker:
    """Asks one service, and keeps what it saw."""

    port: int
    seen: list[Seen] = field(default_factory=list)
    _numbers: itertools.count[int] = field(default_factory=itertools.count)

    def get(self, flow: str, user: Player | None, path: str) -> Any:
        """The body of a read."""
        return self._ask(flow, user, "GET", path, None, None)

    def write(
        self, flow: str, user: Player | None, method: str, path: str, body: Any = None, op: str | None = None
    ) -> Any:
        """The body of a write, under an operation id of its own unless `op` gives one; empty, it has none."""
        chosen = f"walk.{next(self._numbers)}" if op is None else op
        return self._ask(flow, user, method, path, {} if body is None else body, chosen)

    def _ask(self, flow: str, user: Player | None, method: str, path: str, body: Any, op: str | None) -> Any:
        status, answer = self.ask(user, method, path, body, op)
        self.seen.append(Seen(flow, status, passing(answer)))
        return answer

    def ask(self, user: Player | None, method: str, path: str, body: Any = None, op: str | None = None) -> Answer:
        """Status and body, kept nowhere."""
        headers = {"Authorization": f"Bearer {user.token}"} if user else {}
        headers |= {"Operation-Id": op} if op else {}
        connection = http.client.HTTPConnection(HOST, self.port, timeout=30.0)
        try:
            sent = None if body is None else json.dumps(body)
            connection.request(method, path, sent, headers | ({"Content-Type": "application/json"} if sent else {}))
            response = connection.getresponse()
            return response.status, json.loads(response.read())
        finally:
            connection.close()


def walk(port: int, people: Population) -> list[Seen]:
    """Every flow once or more, between the first two players."""
    walker = Walker(port)
    one, other = people.users[:2]
    match = next(match for match in people.matches if match.home_id == one.id)
    stranger = next(who for who in people.users[2:] if who.id not in (match.home_id, match.away_id))
    played = {match.tournament_id for match in people.matches if one.id in (match.home_id, match.away_id)}
    cup = next(cup.id for cup in people.tournaments if cup.id not in played)
    _read(walker, one, other, cup)
    _write(walker, one, cup, match.id, stranger)
    _challenge(walker, one, other)
    _notified(walker, one, other)
    _refused(walker, one, people)
    _read(walker, one, other, cup)
    return walker.seen


def passing(body: Any, key: str = "") -> Any:
    """The body, with the type in the place of what differs from run to run."""
    if isinstance(body, dict):
        return {name: passing(value, name) for name, value in body.items()}
    if isinstance(body, list):
        return [passing(value) for value in body]
    return type(body).__name__ if key.endswith(PASSING) else body


def differences(one: Sequence[Seen], other: Sequence[Seen]) -> list[str]:
    """A line for each answer that is not the same."""
    if len(one) != len(other):
        return [f"{len(one)} answers and {len(other)}"]
    return [f"{a} and {b}" for a, b in zip(one, other, strict=True) if a != b]


def _read(walker: Walker, one: Player, other: Player, cup: int) -> None:
    walker.get("profile", one, "/users/me")
    walker.get("player", one, f"/users/{other.id}")
    walker.get("points", one, "/users/me/points?limit=20")
    walker.get("tournaments", one, "/tournaments?state=open&limit=20")
    walker.get("tournaments", one, "/tournaments?limit=2")
    walker.get("tournament", one, f"/tournaments/{cup}")
    walker.get("standings", one, f"/tournaments/{cup}/standings")
    walker.get("unread", one, "/notifications/unread-count")
    walker.get("challenges", other, "/challenges?state=issued&limit=20")
    walker.get("challenges", other, "/challenges?limit=1")


def _write(walker: Walker, one: Player, cup: int, match: int, stranger: Player) -> None:
    walker.write("edit-profile", one, "PATCH", "/users/me", {"bio": "Lifts."}, op="walk.bio")
    walker.write("edit-profile", one, "PATCH", "/users/me", {"bio": "Lifts."}, op="walk.bio")
    walker.write("edit-profile", one, "PATCH", "/users/me", {"bio": "Runs."}, op="walk.bio")
    scored = {"side": "home", "points": 3}
    walker.write("score", one, "POST", f"/matches/{match}/events", scored)
    walker.write("score", stranger, "POST", f"/matches/{match}/events", scored)
    walker.write("score", one, "POST", "/matches/999999/events", scored)
    walker.write("join", one, "POST", f"/tournaments/{cup}/entries")
    walker.write("join", one, "POST", f"/tournaments/{cup}/entries")


def _challenge(walker: Walker, one: Player, other: Player) -> None:
    def issued(stake: int) -> int:
        wanted = {"opponent_id": other.id, "stake": stake, "title": "Best of 3"}
        return int(walker.write("challenge", one, "POST", "/challenges", wanted)["id"])

    first = issued(5)
    walker.get("challenges", other, "/challenges?state=issued&limit=20")
    walker.write("accept", one, "POST", f"/challenges/{first}/accept")
    for _ in range(2):
        walker.write("accept", other, "POST", f"/challenges/{first}/accept")
    walker.write("settle", one, "POST", f"/challenges/{first}/settle", {"winner_id": 999_999})
    for _ in range(2):
        walker.write("settle", other, "POST", f"/challenges/{first}/settle", {"winner_id": other.id})
    walker.write("decline", other, "POST", f"/challenges/{issued(2)}/decline")
    walker.write("accept", other, "POST", f"/challenges/{issued(10_000)}/accept")
    oneself = {"opponent_id": one.id, "stake": 1, "title": "Alone"}
    walker.write("challenge", one, "POST", "/challenges", oneself)
    walker.write("challenge", one, "POST", "/challenges", oneself | {"opponent_id": 999_999})


def _notified(walker: Walker, one: Player, other: Player) -> None:
    """Three times challenged and once settled: the other has four to read, once they are delivered."""
    end_t = time.monotonic() + DELIVERED_WITHIN_S
    while (found := walker.ask(other, "GET", "/notifications/unread-count")) != (200, {"unread": 4}):
        assert time.monotonic() < end_t, f"Not delivered: {found}"
        time.sleep(0.05)
    inbox = walker.get("notifications", other, "/notifications?unread=true&limit=20")
    newest = inbox["notifications"][0]["id"]
    walker.write("read", other, "POST", f"/notifications/{newest}/read")
    walker.write("read", one, "POST", f"/notifications/{newest}/read")
    walker.write("read-all", other, "POST", "/notifications/read-all")
    walker.get("notifications", other, "/notifications?unread=true&limit=20")
    walker.get("notifications", other, "/notifications?limit=2")


def _refused(walker: Walker, one: Player, people: Population) -> None:
    given = {"name": one.name, "password": people.password}
    walker.write("log-in", None, "POST", "/sessions", given)
    walker.write("log-in", None, "POST", "/sessions", given | {"password": "not that one"})
    walker.write("log-in", None, "POST", "/sessions", given | {"name": "nobody"})
    walker.get("profile", None, "/users/me")
    walker.write("edit-profile", None, "PATCH", "/users/me", {"bio": "x"})
    walker.write("edit-profile", one, "PATCH", "/users/me", {"bio": "x"}, op="")
    walker.write("edit-profile", one, "PATCH", "/users/me", {"bio": 7})
    walker.get("player", one, "/users/999999")
    walker.get("tournament", one, "/tournaments/999999")
    walker.get("standings", one, "/tournaments/999999/standings")

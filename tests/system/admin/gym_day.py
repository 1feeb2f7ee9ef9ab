"""Something to see on every board: a day at the gym over HTTP, and an hour of records as the service leaves them."""

from __future__ import annotations

import itertools
import json
import math
import time
import urllib.request
from dataclasses import dataclass
from typing import Any

from sqlalchemy import delete, insert

from system.database import engine_for
from system.notification_service import attempts
from system.reporting.record_jobs import errors, health
from system.reporting.record_models import BUCKETS_MS
from system.reporting.rollups import events, requests

PASSWORD = "correct horse battery"
MINUTE_MS = 60_000
GROUPS = 60
_NUMBERS = itertools.count(1)


@dataclass
class Day:
    """A service's clients: an organiser, and players with a match between the first two of them that is being played."""

    url: str
    organiser: str = ""
    players: tuple[tuple[int, str], ...] = ()
    tournament: int = 0
    match: int = 0

    def call(self, method: str, path: str, body: Any = None, token: str = "") -> Any:
        """What the service answers; it has to be a success."""
        headers = {"Content-Type": "application/json", "Operation-Id": f"day.{next(_NUMBERS)}"}
        headers |= {"Authorization": f"Bearer {token}"} if token else {}
        asked = urllib.request.Request(
            self.url + path, json.dumps(body).encode() if body is not None else None, headers, method=method
        )
        with urllib.request.urlopen(asked, timeout=10) as response:
            return json.loads(response.read())

    def join(self, name: str) -> tuple[int, str]:
        user = self.call("POST", "/users", {"name": name, "password": PASSWORD})["id"]
        return user, self.call("POST", "/sessions", {"name": name, "password": PASSWORD})["token"]

    def play(self) -> None:
        """Players have joined a tournament, one match has ended and one goes on, and challenges were issued and settled."""
        _, self.organiser = self.join("organiser")
        self.players = tuple(self.join(name) for name in ("ada", "grace", "edsger"))
        made = self.call("POST", "/tournaments", {"name": "Winter cup", "capacity": 8, "entry_fee": 5}, self.organiser)
        self.tournament = made["id"]
        self.call("POST", f"/tournaments/{self.tournament}/open", {}, self.organiser)
        for _, token in self.players:
            self.call("POST", f"/tournaments/{self.tournament}/entries", {}, token)
        self.close(self.pair())
        self.match = self.pair()
        (ada, ada_token), (grace, grace_token), _ = self.players
        for _ in range(3):
            issued = {"opponent_id": grace, "stake": 2, "title": "Push-ups"}
            challenge = self.call("POST", "/challenges", issued, ada_token)["id"]
            self.call("POST", f"/challenges/{challenge}/accept", {}, grace_token)
            self.call("POST", f"/challenges/{challenge}/settle", {"winner_id": ada}, ada_token)

    def pair(self) -> int:
        """A match between the first two players."""
        home, away = self.players[0][0], self.players[1][0]
        pairing = {"home_id": home, "away_id": away}
        found: int = self.call("POST", f"/tournaments/{self.tournament}/matches", pairing, self.organiser)["id"]
        return found

    def close(self, match: int) -> None:
        """The match ends 7 : 0."""
        self.call("POST", f"/matches/{match}/events", {"side": "home", "points": 7}, self.organiser)
        self.call("POST", f"/matches/{match}/result", {}, self.organiser)


def plant(database: str) -> None:
    """An hour of sums, kinds of error on more than one page, deliveries that failed, and a history of health."""
    now = time.time_ns() // 1_000_000
    minutes = [now // MINUTE_MS * MINUTE_MS - back * MINUTE_MS for back in range(2, 58)]
    engine = engine_for(database, writer=True, pooled=False)
    with engine.begin() as connection:
        for sums in (requests, events):  # What the service has counted itself by now lies in the same minutes.
            connection.execute(delete(sums))
        connection.execute(insert(requests), [row for place, at in enumerate(minutes) for row in _requests(place, at)])
        connection.execute(insert(events), [row for place, at in enumerate(minutes) for row in _events(place, at)])
        connection.execute(insert(errors), [_error(number, now) for number in range(GROUPS)])
        connection.execute(insert(attempts), [_attempt(number, now) for number in range(80)])
        connection.execute(
            insert(health),
            [
                {"at_ms": at, "worker": 1, "status": "warn" if place % 9 == 4 else "pass",
                 "output": "challenges-off: Its jobs keep failing." if place % 9 == 4 else ""}
                for place, at in enumerate(minutes)
            ],
        )  # fmt: skip
    engine.dispose()


def _requests(place: int, at: int) -> list[dict[str, Any]]:
    rows = []
    for kind, share in (("matches.score", 1.0), ("tournaments.standings", 0.6), ("challenges.issue", 0.2)):
        count = int(share * (900 + 500 * math.sin(place / 6)))
        failed = count // 40 if place % 20 == 7 else 0
        within = dict.fromkeys((f"within_{bound}_ms" for bound in BUCKETS_MS), 0)
        within |= {
            "within_5_ms": count // 2,
            "within_10_ms": count // 3,
            "within_25_ms": count - count // 2 - count // 3,
        }
        rows.append(
            {"width_s": 60, "start_ms": at, "kind": kind, "requests": count, "refused": count // 50, "failed": failed,
             "took_us": count * 6_000, **within}
        )  # fmt: skip
    return rows


def _events(place: int, at: int) -> list[dict[str, Any]]:
    told = {
        "users.signed-up": 3 + place % 4, "users.logged-in": 20 + place % 7, "points.moved": 60 + place,
        "challenges.issued": 12, "challenges.accepted": 9, "challenges.settled": 8, "challenges.declined": 2,
        "matches.paired": 30, "matches.closed": 25 + place % 5, "tournaments.joined": 14, "minutes.counted": 1,
        "notifications.delivered": 90 + place, "notifications.failed": place % 6,
    }  # fmt: skip
    return [
        {
            "width_s": 60,
            "start_ms": at,
            "name": name,
            "happened": count,
            "amount": 10 * count * (name == "points.moved"),
        }
        for name, count in told.items()
    ]


def _error(number: int, now: int) -> dict[str, Any]:
    kind = "OperationalError" if number % 3 else "Unavailable"
    return {
        "fingerprint": f"{number:016x}", "kind": kind, "code": "internal" if number % 3 else "queue-too-long",
        "place": f"challenge_service.py:{100 + number} settle", "status": 500 if number % 3 else 503,
        "message": f"database is locked <b>{number}</b>", "request_id": f"{number:016x}", "count": 1 + number * 7,
        "first_ms": now - (number + 1) * 45_000, "last_ms": now - number * 20_000,
    }  # fmt: skip


def _attempt(number: int, now: int) -> dict[str, Any]:
    failed = number % 5 == 0
    return {
        "at_ms": now - number * 30_000, "user_id": 1 + number % 3,
        "kind": "match-closed" if number % 2 else "challenge-issued",
        "outcome": "failed" if failed else "delivered", "attempt": 2 if number % 7 == 0 else 1, "outbox_id": 1,
        "error": "The channel did not answer." if failed else "",
    }  # fmt: skip

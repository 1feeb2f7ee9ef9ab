"""Signs users up over HTTP where nobody seeded the service: slowly, because every password costs it real work."""

from __future__ import annotations

import secrets
import time
from collections.abc import Callable
from itertools import count
from typing import Any

import httpx2

from loadtests.errors import RecruitError
from loadtests.population import Match, Player, Population, Tournament

RATE_PER_S = 20.0
"""At most this many sign-ups a second; each costs the service two password hashes, one to sign up and one to log in."""

USERS_PER_TOURNAMENT = 50
TIMEOUT_S = 15.0

Progress = Callable[[int, int], None]
"""Told how many of how many users are ready."""


def recruit(url: str, users: int, run: str, *, told: Progress = lambda _ready, _wanted: None) -> Population:
    """Users with open sessions, tournaments they can enter, and a match for every pair, all made over HTTP at `url`.

    Raises RecruitError at the first request that is not acknowledged; what was made before stays.
    """
    name = f"load-{secrets.token_hex(4)}"
    password = secrets.token_urlsafe(16)
    with httpx2.Client(base_url=url, timeout=TIMEOUT_S) as http:
        desk = _Desk(http, run)
        players = []
        for number in range(1, users + 1):
            due = time.monotonic() + 1 / RATE_PER_S
            players.append(desk.sign_up(f"{name}-{number:04d}", password))
            told(number, users)
            time.sleep(max(0.0, due - time.monotonic()))
        tournaments = [
            desk.open_tournament(organiser, f"{name} {number}", capacity=max(users, 2))
            for number, organiser in enumerate(players[: -(-users // USERS_PER_TOURNAMENT)], 1)
        ]
        organisers = {player.id: player for player in players}
        matches = [
            desk.arrange(organisers[tournament.organiser], tournament, players[index], players[index + 1])
            for index in range(0, users - 1, 2)
            for tournament in [tournaments[(index // 2) % len(tournaments)]]
        ]
    return Population(run, tuple(players), tuple(tournaments), tuple(matches), password)


class _Desk:
    """Where the requests are made. Each write has an operation id of its own."""

    def __init__(self, http: httpx2.Client, run: str) -> None:
        self.http = http
        self.run = run
        self.numbers = count(1)

    def sign_up(self, name: str, password: str) -> Player:
        """A new user, logged in."""
        user = self.post("/users", {"name": name, "password": password})
        session = self.post("/sessions", {"name": name, "password": password})
        return Player(id=user["id"], name=name, token=session["token"])

    def open_tournament(self, organiser: Player, name: str, capacity: int) -> Tournament:
        """A tournament that takes entries."""
        made = self.post("/tournaments", {"name": name, "capacity": capacity, "entry_fee": 1}, organiser)
        self.post(f"/tournaments/{made['id']}/open", {}, organiser)
        return Tournament(id=made["id"], organiser=organiser.id, open=True)

    def arrange(self, organiser: Player, tournament: Tournament, home: Player, away: Player) -> Match:
        """A match between two players, who enter the tournament for it."""
        for player in (home, away):
            self.post(f"/tournaments/{tournament.id}/entries", {}, player)
        body = {"home_id": home.id, "away_id": away.id}
        made = self.post(f"/tournaments/{tournament.id}/matches", body, organiser)
        return Match(id=made["id"], home_id=home.id, away_id=away.id, tournament_id=tournament.id)

    def post(self, path: str, body: dict[str, Any], player: Player | None = None) -> dict[str, Any]:
        """The JSON object of an acknowledged write."""
        headers = {"Operation-Id": f"{self.run}.recruit.{next(self.numbers)}", "Run-Id": self.run}
        if player is not None:
            headers["Authorization"] = f"Bearer {player.token}"
        try:
            response = self.http.post(path, json=body, headers=headers)
        except httpx2.HTTPError as error:
            raise RecruitError(
                f"{self.http.base_url} did not answer POST {path} ({type(error).__name__}); start the service first."
            ) from error
        if not response.is_success:
            raise RecruitError(
                f"The service answered {response.status_code} to POST {path} ({response.text[:120]}); "
                "give it a population of its own with --population."
            )
        answer: dict[str, Any] = response.json()
        return answer

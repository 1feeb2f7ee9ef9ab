"""The population: who the virtual users are, and the tournaments and matches they find there."""

from __future__ import annotations

from collections import defaultdict
from pathlib import Path

import msgspec

from loadtests.errors import PopulationError


class Player(msgspec.Struct, frozen=True):
    """A user of the service with an open session."""

    id: int
    name: str
    token: str


class Tournament(msgspec.Struct, frozen=True):
    """A tournament, and whether it can be entered."""

    id: int
    organiser: int
    open: bool


class Match(msgspec.Struct, frozen=True):
    """An open match between two players."""

    id: int
    home_id: int
    away_id: int
    tournament_id: int


class Population(msgspec.Struct, frozen=True):
    """Everyone and everything a scenario can name. `password` is the one all players share, where there is one."""

    run: str
    users: tuple[Player, ...]
    tournaments: tuple[Tournament, ...]
    matches: tuple[Match, ...]
    password: str | None = None

    def matches_by_player(self) -> dict[int, list[Match]]:
        """The matches each player may score in: those they play."""
        own: dict[int, list[Match]] = defaultdict(list)
        for match in self.matches:
            own[match.home_id].append(match)
            own[match.away_id].append(match)
        return own


def read(path: Path) -> Population:
    """The population in the file at `path`. Raises PopulationError when it is unreadable, or names a user twice."""
    try:
        population = msgspec.json.decode(path.read_bytes(), type=Population)
    except OSError as error:
        raise PopulationError(f"{path} cannot be read ({error.strerror}); name a population file.") from error
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise PopulationError(
            f"{path.name} is not a population ({error}); write it anew with `gymkhana seed`."
        ) from error
    ids = {player.id for player in population.users}
    if len(ids) != len(population.users):
        raise PopulationError(f"{path.name} names a user twice; write it anew with `gymkhana seed`.")
    return population


def write(population: Population, path: Path) -> None:
    """`path` holds the population, whole or not at all. It holds tokens, so only its owner may read it."""
    partial = path.with_suffix(".partial")
    partial.touch(mode=0o600)
    partial.write_bytes(msgspec.json.encode(population))
    partial.replace(path)


def require(population: Population, users: int, names: frozenset[str]) -> None:
    """Raises PopulationError unless `users` virtual users can fill the template holes `names` from this population."""
    if len(population.users) < users:
        raise PopulationError(
            f"{users} users are wanted and the population has {len(population.users)}; seed more, or ask for fewer."
        )
    if "other" in names and len(population.users) < 2:
        raise PopulationError("A flow needs another player and the population has one user; seed at least two.")
    if "tournament" in names and not population.tournaments:
        raise PopulationError("A flow needs a tournament and the population has none; seed at least one.")

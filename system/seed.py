"""A population to rehearse with: players with points and sessions, tournaments to join, matches to score in.

Everything is written as the services would have written it, operations and activity included, so that an audit of a seeded
database finds nothing.
"""

from __future__ import annotations

import hashlib
import os
import random
import secrets
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import msgspec
from sqlalchemy import Engine, Integer, Table, bindparam, func, insert, select
from sqlalchemy.exc import OperationalError

from system import operations_service
from system.database import SessionLocal
from system.match_service import matches
from system.operations_service import activity, operations
from system.passwords import HASHER
from system.points_models import MINT, POOL, USER
from system.points_service import MINT_OWNER, accounts, transfers
from system.statements import Session
from system.tournament_models import OPEN, PLAYING
from system.tournament_reads import entries, tournaments
from system.user_service import WELCOME_POINTS, sessions, users

SESSION_MS = 14 * 24 * 3600 * 1000

Row = dict[str, Any]


class Player(msgspec.Struct, frozen=True):
    """A seeded user and the token of a session of theirs."""

    id: int
    name: str
    token: str


class SeededTournament(msgspec.Struct, frozen=True):
    """A seeded tournament, open to all players."""

    id: int
    organiser: int
    open: bool


class SeededMatch(msgspec.Struct, frozen=True):
    """A seeded match that is being played."""

    id: int
    home_id: int
    away_id: int
    tournament_id: int


class Population(msgspec.Struct, frozen=True):
    """Who and what was seeded; all players share `password`."""

    run: str
    password: str
    users: list[Player]
    tournaments: list[SeededTournament]
    matches: list[SeededMatch]


class SeedTrouble(Exception):
    """Nothing was seeded: one sentence saying why and what to do."""

    exit_code = 2


def seed(
    engine: Engine, *, users_count: int, tournaments_count: int, matches_count: int, run: str, seed: int, now_ms: int
) -> Population:
    """The population is committed, in one transaction. `seed` repeats every random choice but the secrets.

    Raises SeedTrouble, and then nothing was written, when there are users already or the database takes no writes.
    """
    dice = random.Random(seed)
    password = secrets.token_urlsafe(12)
    tokens = [secrets.token_urlsafe(32) for _ in range(users_count)]
    password_hash = HASHER.hash(password)
    try:
        with SessionLocal(bind=engine) as session:
            if session.execute(select(users.c.id).limit(1)).first() is not None:
                raise SeedTrouble(
                    "The database has users already; seed an empty one (`gymkhana migrate up` makes one)."
                )
            players = _players(session, tokens, password_hash, now_ms)
            opened = _tournaments(session, tournaments_count, users_count, dice, now_ms)
            played = _matches(session, matches_count, players, opened, dice, now_ms)
            _record(session, now_ms)
            session.commit()
    except OperationalError as error:
        raise SeedTrouble(f"The database takes no writes now ({error.orig}); stop what is using it first.") from error
    return Population(run, password, players, opened, played)


def write_population(population: Population, path: Path) -> None:
    """`path` holds the population, whole or not at all, readable by its owner alone: it holds tokens."""
    partial = path.with_name(f"{path.name}.partial")
    partial.unlink(missing_ok=True)
    descriptor = os.open(partial, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with os.fdopen(descriptor, "wb") as file:
        file.write(msgspec.json.encode(population))
    partial.replace(path)


def _players(session: Session, tokens: Sequence[str], password_hash: str, now_ms: int) -> list[Player]:
    numbers = range(1, len(tokens) + 1)
    name = "u{:04d}".format
    _fill(session, users, [
        {"id": n, "operation_id": f"seed.user.{n}", "name": name(n), "display_name": f"Player {n}", "bio": "",
         "password_hash": password_hash, "created_ms": now_ms} for n in numbers
    ])  # fmt: skip
    _fill(session, sessions, [
        {"id": n, "operation_id": f"seed.user.{n}", "user_id": n, "created_ms": now_ms, "expires_ms": now_ms + SESSION_MS,
         "token_hash": hashlib.sha256(token.encode()).hexdigest()} for n, token in zip(numbers, tokens, strict=True)
    ])  # fmt: skip
    mint = len(tokens) + 1
    minted = -WELCOME_POINTS * len(tokens)
    _fill(session, accounts, [{"id": n, "kind": USER, "owner_id": n, "balance": WELCOME_POINTS} for n in numbers])
    _fill(session, accounts, [{"id": mint, "kind": MINT, "owner_id": MINT_OWNER, "balance": minted}])
    _fill(session, transfers, [
        {"operation_id": f"seed.user.{n}", "from_id": mint, "to_id": n, "amount": WELCOME_POINTS, "kind": "welcome",
         "reference": n, "at_ms": now_ms} for n in numbers
    ])  # fmt: skip
    _fill(session, activity, [_happened(f"seed.user.{n}", "users.signed-up", n, now_ms) for n in numbers])
    return [Player(n, name(n), token) for n, token in zip(numbers, tokens, strict=True)]


def _tournaments(
    session: Session, count: int, users_count: int, dice: random.Random, now_ms: int
) -> list[SeededTournament]:
    numbers = range(1, count + 1)
    organisers = {n: dice.randint(1, users_count) for n in numbers}
    _fill(session, tournaments, [
        {"id": n, "operation_id": f"seed.tournament.{n}", "name": f"Cup {n}", "organiser_id": organisers[n], "state": OPEN,
         "capacity": 4 * users_count, "entries": 0, "entry_fee": dice.randint(1, 5), "created_ms": now_ms} for n in numbers
    ])  # fmt: skip
    _fill(session, accounts, [{"kind": POOL, "owner_id": n, "balance": 0} for n in numbers])
    _fill(session, activity, [_happened(f"seed.tournament.{n}", "tournaments.created", n, now_ms) for n in numbers])
    return [SeededTournament(n, organisers[n], True) for n in numbers]


def _matches(
    session: Session, count: int, players: Sequence[Player], opened: Sequence[SeededTournament], dice: random.Random,
    now_ms: int,
) -> list[SeededMatch]:  # fmt: skip
    if count == 0 or len(players) < 2 or not opened:
        return []
    played = []
    for n in range(1, count + 1):
        home = (n - 1) % len(players)  # everybody has a match before anybody has two
        away = (home + dice.randint(1, len(players) - 1)) % len(players)
        played.append(SeededMatch(n, players[home].id, players[away].id, dice.choice(opened).id))
    _fill(session, matches, [
        {"id": one.id, "operation_id": f"seed.match.{one.id}", "tournament_id": one.tournament_id, "home_id": one.home_id,
         "away_id": one.away_id, "state": PLAYING, "home_score": 0, "away_score": 0, "created_ms": now_ms} for one in played
    ])  # fmt: skip
    _fill(session, activity, [_happened(f"seed.match.{one.id}", "matches.seeded", one.id, now_ms) for one in played])
    _enter(session, played, now_ms)
    return played


def _enter(session: Session, played: Sequence[SeededMatch], now_ms: int) -> None:
    """Whoever plays in a tournament has a place in it, free of charge."""
    places = sorted({(one.tournament_id, player) for one in played for player in (one.home_id, one.away_id)})
    _fill(session, entries, [
        {"operation_id": f"seed.entry.{tournament}.{player}", "tournament_id": tournament, "user_id": player,
         "at_ms": now_ms} for tournament, player in places
    ])  # fmt: skip
    _fill(session, activity, [
        _happened(f"seed.entry.{tournament}.{player}", "tournaments.seeded-entry", tournament, now_ms)
        for tournament, player in places
    ])  # fmt: skip
    taken = Counter(tournament for tournament, _ in places)
    session.execute(
        tournaments.update().where(tournaments.c.id == bindparam("wanted")).values(entries=bindparam("taken")),
        [{"wanted": tournament, "taken": count} for tournament, count in taken.items()],
    )


def _record(session: Session, now_ms: int) -> None:
    rows = [
        {"id": operation, "run": "seed", "job": "seed", "fingerprint": "", "digest": digest, "status": 201,
         "response": b"{}", "at_ms": now_ms} for operation, digest in operations_service.digests(session)
    ]  # fmt: skip
    _fill(session, operations, rows)


def _happened(operation: str, kind: str, subject: int, now_ms: int) -> Row:
    return {"operation_id": operation, "kind": kind, "subject_id": subject, "data": "{}", "at_ms": now_ms}


def _fill(session: Session, table: Table, rows: list[Row]) -> None:
    if not rows:
        return
    session.execute(insert(table), rows)
    numbered = "id" in rows[0] and isinstance(table.c.id.type, Integer)
    if numbered and session.get_bind().dialect.name == "postgresql":
        # Numbers that were given do not move the sequence that gives them.
        newest = select(func.setval(func.pg_get_serial_sequence(table.name, "id"), func.max(table.c.id)))
        session.execute(newest)

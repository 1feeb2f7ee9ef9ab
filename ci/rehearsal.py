"""The top of the ladder: the platform booted on a restored copy, and its answers compared with what storage held before.

What is expected is read straight from the copy while no service runs on it; what is found comes over HTTP, as users get it.
Compared are columns that nothing changes by itself, since a service that boots goes on with its own work. At the end a write
is acknowledged and read back. The copy is a throw-away: it is written to.
"""

from __future__ import annotations

import contextlib
import hashlib
import http.client
import random
import secrets
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

import msgspec
from sqlalchemy import ColumnElement, Connection, Table, func, insert, select

from chaos.target import MARKER
from ci.loopback import HOST
from ci.stand import READY_TIMEOUT_S, Stand, StandError, standing
from migrations import revisions
from system.challenge_service import challenges
from system.database import engine_for
from system.match_service import matches
from system.notification_service import inbox
from system.operations_service import operations
from system.tournament_reads import tournaments
from system.user_service import sessions, users

SAMPLE: Final = 200
"""How many rows of each kind are asked for: the newest half of them, and as many others."""
TIMEOUT_S: Final = 10.0
_SESSION_MS: Final = 3_600_000
_NAMED: Final = 3
"""How many rows of a kind that differs are named in its sentence."""


@dataclass(frozen=True, slots=True)
class Kind:
    """One kind of row as the service shows it: where each is asked for, by whom, and which columns must agree.

    A row without an asker is nobody's to see, and is not asked for.
    """

    name: str
    table: Table
    key: ColumnElement[Any]
    asker: ColumnElement[Any]
    columns: tuple[str, ...]
    path: Callable[[Any], str]
    within: str = ""
    """The member of the answer that lists the row; empty when the answer is the row."""


def _inbox_at(key: int) -> str:
    """The page of an inbox that begins with that notification."""
    return f"/notifications?limit=1&before={key + 1}"


KINDS: Final = (
    Kind("users", users, users.c.id, users.c.id, ("id", "name", "display_name", "bio"), "/users/{}".format),
    Kind(
        "tournaments", tournaments, tournaments.c.id, tournaments.c.organiser_id,
        ("id", "name", "capacity", "entry_fee", "organiser_id"), "/tournaments/{}".format,
    ),
    Kind(
        "matches", matches, matches.c.id, matches.c.home_id,
        ("id", "tournament_id", "home_id", "away_id"), "/matches/{}".format,
    ),
    Kind(
        "challenges", challenges, challenges.c.id, challenges.c.challenger_id,
        ("id", "challenger_id", "opponent_id", "title", "stake", "created_ms", "expires_ms"), "/challenges/{}".format,
    ),
    Kind(
        "notifications", inbox, inbox.c.id, inbox.c.user_id,
        ("id", "kind", "text", "subject_id", "at_ms"), _inbox_at, "notifications",
    ),
    Kind(
        "operations", operations, operations.c.id, operations.c.actor_id,
        ("id", "run", "sequence", "digest", "status"), "/operations/{}".format,
    ),
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class Question:
    """One read: what is asked, with whose token, and what the answer must hold."""

    kind: Kind
    key: Any
    user: int
    expected: dict[str, Any]


@dataclass(slots=True)
class Rehearsal:
    """Boots the service on a copy when called. Afterwards it tells how long that took and how many reads agreed."""

    sample: int = SAMPLE
    seed: int = 0
    ready_timeout_s: float = READY_TIMEOUT_S
    serving_s: float | None = None
    """From starting the service to its first ready answer, in seconds; None when it never was."""
    reads: int = 0
    digests: dict[str, str] = field(default_factory=dict)
    """BLAKE2b-128 over what was read of each kind, the same for the same rows."""
    migrated: tuple[str, ...] = ()
    """Revisions that the copy had to be brought up to first: the backup is older than this code."""

    def __call__(self, copy: Path) -> tuple[str, ...]:
        """What was wrong with the service on this copy, in sentences; empty when nothing was.

        Raises NotOurs for a database that is not this platform's, and NewerSchema for one that a newer version wrote.
        """
        stand = _stand_around(copy)
        self.migrated = tuple(one.id for one in revisions.upgrade(stand.database_url))
        if lacking := revisions.check(stand.database_url):
            return tuple(f"Its schema is not what its revision says: {what}." for what in lacking)
        with _opened(stand) as connection:
            questions = [question for kind in KINDS for question in self._questions(connection, kind)]
        tokens = _open_sessions(stand, {question.user for question in questions})
        began_t = time.monotonic()
        try:
            with standing(stand):
                stand.start()
                stand.wait_ready(self.ready_timeout_s)
                self.serving_s = time.monotonic() - began_t
                findings = self._compare(stand, questions, tokens)
                findings += _write_and_read_back(stand, tokens)
                stand.stop()
        except StandError:
            return (f"The service did not become ready on it: {_last_word(stand)}",)
        return tuple(findings)

    def _questions(self, connection: Connection, kind: Kind) -> Iterator[Question]:
        """About the newest rows of that kind, and others chosen by the seed."""
        asked = select(kind.key, kind.asker.label("asker"), *(kind.table.c[name] for name in kind.columns))
        asked = asked.where(kind.asker.is_not(None))
        newest = connection.execute(
            asked.order_by(kind.table.primary_key.columns[0].desc()).limit(self.sample // 2)
        ).all()
        rows = {row[0]: row for row in newest}
        counted = connection.execute(
            select(func.count()).select_from(kind.table).where(kind.asker.is_not(None))
        ).scalar_one()
        offsets = random.Random(self.seed).sample(range(counted), min(self.sample // 2, counted))
        for offset in sorted(offsets):
            row = connection.execute(asked.order_by(kind.table.primary_key.columns[0]).offset(offset).limit(1)).one()
            rows[row[0]] = row
        for key, row in rows.items():
            yield Question(kind, key, row.asker, {name: row._mapping[kind.table.c[name]] for name in kind.columns})

    def _compare(self, stand: Stand, questions: Sequence[Question], tokens: dict[int, str]) -> list[str]:
        """A sentence for each kind of row of which the service shows something else than storage held."""
        differing: dict[str, list[str]] = {}
        digests = {kind.name: hashlib.blake2b(digest_size=16) for kind in KINDS}
        connection = http.client.HTTPConnection(HOST, stand.port, timeout=TIMEOUT_S)
        with contextlib.closing(connection):
            for question in questions:
                found = _shown(connection, question, tokens[question.user])
                self.reads += 1
                digests[question.kind.name].update(msgspec.json.encode(found, order="sorted"))
                if found != question.expected:
                    differing.setdefault(question.kind.name, []).append(
                        f"{question.key} ({_difference(question, found)})"
                    )
        self.digests = {name: digest.hexdigest() for name, digest in digests.items()}
        return [
            f"Of the {name} that the service shows, {len(rows)} differ from storage: {', '.join(rows[:_NAMED])}."
            for name, rows in differing.items()
        ]


def _stand_around(copy: Path) -> Stand:
    """A stand of its own beside the copy, which becomes its database."""
    stand = Stand(copy.with_name("rehearsal"))
    for name in ("db", "failpoints", "leases", "logs"):
        (stand.directory / name).mkdir(parents=True)
    (stand.directory / MARKER).write_text("Made by gymkhana for a rehearsal; thrown away after it.\n", "utf-8")
    copy.rename(stand.database)
    return stand


@contextlib.contextmanager
def _opened(stand: Stand, *, writer: bool = False) -> Iterator[Connection]:
    engine = engine_for(stand.database_url, writer=writer, pooled=False)
    with engine.connect() as connection:
        yield connection
    engine.dispose()


def _open_sessions(stand: Stand, askers: set[int]) -> dict[int, str]:
    """A session for each of them, written straight into the copy; their tokens."""
    tokens = {user: secrets.token_urlsafe(32) for user in askers}
    now_ms = time.time_ns() // 1_000_000
    rows = [
        {
            "operation_id": f"rehearsal.session.{user}",
            "user_id": user,
            "token_hash": hashlib.sha256(token.encode()).hexdigest(),
            "created_ms": now_ms,
            "expires_ms": now_ms + _SESSION_MS,
        }
        for user, token in tokens.items()
    ]
    with _opened(stand, writer=True) as connection:
        if rows:
            connection.execute(insert(sessions), rows)
        connection.commit()
    return tokens


def _shown(connection: http.client.HTTPConnection, question: Question, token: str) -> dict[str, Any] | str:
    """What the service shows of the row, in the columns that must agree; or how it failed to show it."""
    status, body = _request(connection, "GET", question.kind.path(question.key), token)
    if status != 200:
        return f"answered with {status}" if status else "not answered"
    if question.kind.within:
        body = next((row for row in body[question.kind.within] if row["id"] == question.key), None)
        if body is None:
            return "not listed"
    return {name: body[name] for name in question.expected}


def _difference(question: Question, found: dict[str, Any] | str) -> str:
    if isinstance(found, str):
        return found
    return " and ".join(name for name, value in question.expected.items() if found[name] != value)


def _write_and_read_back(stand: Stand, tokens: dict[int, str]) -> list[str]:
    """A sentence when the service does not take a write on this copy, or forgets it; nobody there to write is fine."""
    if not tokens:
        return []
    token = tokens[min(tokens)]
    value = f"rehearsed {secrets.token_hex(8)}"
    connection = http.client.HTTPConnection(HOST, stand.port, timeout=TIMEOUT_S)
    with contextlib.closing(connection):
        status, _ = _request(connection, "PATCH", "/users/me", token, {"bio": value})
        if status != 200:
            return [f"The service does not take a write on it: it answered {status}."]
        status, profile = _request(connection, "GET", "/users/me", token)
    return [] if status == 200 and profile["bio"] == value else ["The service forgot a write that it had acknowledged."]


def _request(
    connection: http.client.HTTPConnection, method: str, path: str, token: str, body: dict[str, Any] | None = None
) -> tuple[int, Any]:
    """Status and decoded body; status 0 when there was no answer in time."""
    headers = {"Authorization": f"Bearer {token}", "Content-Type": "application/json"}
    if body is not None:
        headers["Operation-Id"] = f"rehearsal.{secrets.token_hex(8)}"
    try:
        connection.request(method, path, msgspec.json.encode(body) if body is not None else None, headers)
        response = connection.getresponse()
        return response.status, msgspec.json.decode(response.read() or b"{}")
    except (OSError, http.client.HTTPException, msgspec.DecodeError):
        connection.close()
        return 0, {}


def _last_word(stand: Stand) -> str:
    """The last line that the service wrote, which mostly says why it ended."""
    log = stand.directory / "logs" / "service.log"
    lines = log.read_text("utf-8", "replace").splitlines() if log.exists() else []
    return lines[-1][:300] if lines else "it said nothing."

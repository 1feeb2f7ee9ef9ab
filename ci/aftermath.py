"""What is asked while the service still runs and all is quiet: what became of the unknown writes, and what was left open.

    asked.jsonl     {"op":"R.17.3","answer":"applied"}    one line for each write whose outcome the client never learnt

A client resolves an unknown outcome as anybody would: by its operation id, with its own session, over HTTP.
"""

from __future__ import annotations

import http.client
import time
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Literal
from urllib.parse import quote

import msgspec

from ci import probe
from ci.checker import Asked
from ci.cluster import Cluster
from ci.loopback import HOST
from loadtests.errors import LedgerError
from loadtests.history import Write, read_history
from loadtests.population import Player
from loadtests.population import read as read_population

FILE = "asked.jsonl"
TIMEOUT_S = 5.0
LEFT_OPEN_S = 5.0
"""A transaction of the service's that is still idle after so long is one that nobody will end."""


def ask_again(directory: Path, port: int) -> tuple[Asked, ...]:
    """Asks the service on `port` about each unknown write in the run's ledgers, and writes `asked.jsonl`."""
    players = read_population(directory / "population.json").users
    asked = tuple(_asked(_unknown(directory), players, port))
    (directory / FILE).write_bytes(b"".join(msgspec.json.encode(one) + b"\n" for one in asked))
    return asked


def _unknown(directory: Path) -> Iterator[Write]:
    for name in ("ledger.jsonl", "canary.jsonl"):
        try:
            history = read_history(directory / name)
        except LedgerError:  # The checker says so; there is nobody to ask about.
            continue
        yield from (write for write in history.writes() if write.outcome == "unknown")


def _asked(unknown: Iterable[Write], players: tuple[Player, ...], port: int) -> Iterator[Asked]:
    connection = http.client.HTTPConnection(HOST, port, timeout=TIMEOUT_S)
    try:
        for write in unknown:
            player = players[-1] if write.user == probe.USER else players[(write.user - 1) % len(players)]
            yield Asked(write.op, _answer(connection, write.op, player.token))
    finally:
        connection.close()


def _answer(connection: http.client.HTTPConnection, op: str, token: str) -> Literal["applied", "absent", "none"]:
    try:
        connection.request("GET", f"/operations/{quote(op, safe='')}", headers={"Authorization": f"Bearer {token}"})
        response = connection.getresponse()
        response.read()
    except (OSError, http.client.HTTPException):
        connection.close()
        return "none"
    return "applied" if response.status == 200 else "absent" if response.status == 404 else "none"


@dataclass(frozen=True, slots=True)
class Remains:
    """What the server holds once all is quiet: transactions of the service that nobody ends, and deadlocks it has ended."""

    open: tuple[str, ...]
    deadlocks: int


def look_at(cluster: Cluster) -> Remains:
    """What is left on the server. A transaction that is still under way gets `LEFT_OPEN_S` to end."""
    end_t = time.monotonic() + LEFT_OPEN_S
    with cluster.serving().connect() as connection:
        while True:
            left = connection.execute(
                "SELECT pid, application_name, state, extract(epoch FROM clock_timestamp() - xact_start)"
                " FROM pg_stat_activity WHERE application_name LIKE 'gymkhana-%' AND backend_type = 'client backend'"
                " AND state LIKE 'idle in transaction%'"
            ).fetchall()
            if not left or time.monotonic() > end_t:
                break
            time.sleep(0.1)
        row = connection.execute("SELECT deadlocks FROM pg_stat_database WHERE datname = current_database()").fetchone()
    opened = (f"session {pid} of {name} is {state} since {age:.1f} s" for pid, name, state, age in left)
    return Remains(tuple(opened), int(row[0]) if row else 0)

"""What PostgreSQL's own benchmark says of durable writes: one insert and one update in a transaction, sixteen clients."""

from __future__ import annotations

import os
import re
import subprocess
from pathlib import Path

from backups.postgres.binaries import NoPostgres, installations
from backups.postgres.server import HOST, SUPERUSER, Server

CLIENTS = 16
DATABASE = "bench"
_TABLES = """
CREATE TABLE people (id bigint PRIMARY KEY, name text NOT NULL, bio text NOT NULL);
CREATE TABLE happenings (
    id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY, operation text NOT NULL, kind text NOT NULL,
    actor bigint NOT NULL REFERENCES people (id), data text NOT NULL, at_ms bigint NOT NULL
);
CREATE INDEX ON happenings (operation);
CREATE INDEX ON happenings (actor);
INSERT INTO people SELECT number, 'u' || number, '' FROM generate_series(1, 1000) AS number;
"""
_SCRIPT = """
\\set person random(1, 1000)
\\set step random(1, 1000000000)
BEGIN;
INSERT INTO happenings (operation, kind, actor, data, at_ms)
    VALUES ('run.' || :person || '.' || :step, 'users.edited', :person, '{"bio": "A step of a user."}', 1700000000000);
UPDATE people SET bio = 'Step ' || :step WHERE id = :person;
COMMIT;
"""
_TPS = re.compile(r"^tps = ([\d.]+)", re.MULTILINE)


def prepare(server: Server, place: Path) -> Path:
    """The server has the tables; the script that writes to them lies in `place`."""
    server.create_database(DATABASE)
    with server.connect(DATABASE) as connection:
        connection.execute(_TABLES)
    script = place / "pgbench.sql"
    script.write_text(_SCRIPT, "ascii")
    return script


def writes_per_second(server: Server, script: Path, seconds: float) -> float:
    """Transactions that were durable, per second. Raises NoPostgres when nobody installed pgbench."""
    program = next((one.path("pgbench") for one in (server.programs, *installations()) if one.has("pgbench")), None)
    if program is None:
        raise NoPostgres("There is no pgbench here; install Debian's postgresql.")
    command = [
        program, "--no-vacuum", "--file", str(script), "--client", str(CLIENTS), "--jobs", "2",
        "--time", str(max(1, round(seconds))), "--host", HOST, "--port", str(server.port), "--username", SUPERUSER, DATABASE,
    ]  # fmt: skip
    passfile = {"PGPASSFILE": str((server.directory / "pgpass").absolute())}
    done = subprocess.run(command, env=os.environ | passfile, capture_output=True, text=True, check=False)
    found = _TPS.search(done.stdout)
    if done.returncode or found is None:
        raise NoPostgres(f"pgbench ended with {done.returncode}: {done.stderr.strip() or done.stdout.strip()}")
    return float(found[1])

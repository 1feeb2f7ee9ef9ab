"""The running service when its records break: requests succeed all the same, and the loss is told where one looks."""

from __future__ import annotations

import http.client
import json
import re
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pysqlite3.dbapi2 as sqlite
import pytest

from backups.postgres.server import DATABASE
from ci.cluster import Cluster
from ci.loopback import HOST
from ci.stand import Stand, standing
from tests.e2e.caller import PASSWORD, Caller, newcomer, players, until
from tests.system.admin.visitors import let_in

pytestmark = pytest.mark.processes

TOKEN = "gymadm_the-token-of-those-who-look"
TABLES = {
    "request_records": "activity",
    "error_records": "errors",
    "health_records": "health",
    "request_rollups": "rollups",
    "delivery_records": "deliveries",
}


@pytest.fixture
def watched(fresh: Stand) -> Stand:
    """A serving stand whose records may be read."""
    let_in(fresh.database_url, TOKEN, ["read:records"])
    fresh.start()
    fresh.wait_ready()
    return fresh


@pytest.fixture
def on_a_server(tmp_path: Path) -> Iterator[Stand]:
    """The same on a PostgreSQL server."""
    directory = tmp_path / "stand"
    directory.mkdir()
    with standing(Stand(directory, cluster=Cluster(directory / "pg"))) as stand:
        stand.build(users=6, tournaments=1, matches=1, seed=3)
        let_in(stand.database_url, TOKEN, ["read:records"])
        stand.start()
        stand.wait_ready()
        yield stand


def execute(stand: Stand, statement: str) -> None:
    """By somebody else than the service."""
    if stand.cluster is not None:
        with stand.cluster.server.connect(DATABASE) as connection:
            connection.execute(statement)
        return
    with closing(sqlite.connect(stand.database, timeout=10)) as database:
        database.execute(statement)
        database.commit()


def dropped(stand: Stand, record: str) -> float:
    """How many the metrics say are lost."""
    page = stand.get("/metrics")[1].decode()
    return sum(
        float(value)
        for value in re.findall(
            rf'^gymkhana_records_dropped_total{{reason="[^"]+",record="{record}"}} (\S+)', page, re.M
        )
    ) + sum(
        float(value)
        for value in re.findall(
            rf'^gymkhana_records_dropped_total{{record="{record}",reason="[^"]+"}} (\S+)', page, re.M
        )
    )


def provoke(stand: Stand) -> None:
    """Something of each record: requests, an error, a delivery. What should succeed does."""
    one, other = players(stand)[:2]
    assert one.get("/users/me").status == 200
    assert one.write("PATCH", "/users/me", {"bio": "still here"}).status == 200
    assert one.post("/challenges", {"opponent_id": other.id, "stake": 1, "title": "Again"}).status == 201
    assert other.get("/notifications").status == 200


def told(stand: Stand) -> Any:
    status, body = stand.get("/health/ready")
    assert status == 200
    return json.loads(body)


def broken_in_turn(stand: Stand, tables: tuple[str, ...]) -> None:
    for table in tables:
        record = TABLES[table]
        execute(stand, f"ALTER TABLE {table} RENAME TO {table}_away")

        def lost(record: str = record) -> bool:
            provoke(stand)
            return dropped(stand, record) > 0

        until(lost, f"the loss of {record} is counted")
        body = told(stand)
        assert (body["status"], f"records of {record} were lost" in body["checks"]["records"]) == ("warn", True)
        provoke(stand)
        execute(stand, f"ALTER TABLE {table}_away RENAME TO {table}")
    recorded_again(stand)
    before = {record: dropped(stand, record) for record in TABLES.values()}
    recorded_again(stand)
    assert {record: dropped(stand, record) for record in TABLES.values()} == before


def recorded_again(stand: Stand) -> None:
    before = newest(stand)
    provoke(stand)
    until(lambda: newest(stand) > before + 3, "requests are recorded again")


def newest(stand: Stand) -> int:
    return max((int(row["id"]) for row in records(stand, "activity")), default=0)


def records(stand: Stand, record: str) -> list[dict[str, Any]]:
    reply = Caller(stand, TOKEN).get(f"/admin/api/{record}?limit=1000")
    assert reply.status == 200, reply
    rows: list[dict[str, Any]] = reply.json[record]
    return rows


BROKEN = ("request_records", "request_rollups", "delivery_records")


def test_a_broken_record_costs_no_request_and_is_told(watched: Stand) -> None:
    broken_in_turn(watched, BROKEN)


def test_a_broken_record_costs_no_request_and_is_told_on_a_server(on_a_server: Stand) -> None:
    broken_in_turn(on_a_server, BROKEN)


def test_broken_error_and_health_records_are_told_too(watched: Stand) -> None:
    """An error is needed for that, and a change of health: both come of a domain that is turned off by its operator."""
    for table in ("error_records", "health_records"):
        execute(watched, f"ALTER TABLE {table} RENAME TO {table}_away")
    place = watched.runtime / "off" / "challenges"
    place.parent.mkdir()
    place.write_text("Being looked at.")
    user = players(watched)[0]
    until(lambda: user.get("/challenges").status == 503, "the domain is off")
    for record in ("errors", "health"):
        until(lambda record=record: dropped(watched, record) > 0, f"the loss of {record} is counted")  # type: ignore[misc]
    assert user.get("/users/me").status == 200
    place.unlink()
    for table in ("error_records", "health_records"):
        execute(watched, f"ALTER TABLE {table}_away RENAME TO {table}")
    until(lambda: user.get("/challenges").status == 200, "the domain is on again")


def test_broken_sums_of_what_happened_are_told_too(watched: Stand) -> None:
    """Whoever counts looks every five seconds where to go on."""
    execute(watched, "ALTER TABLE event_rollups RENAME TO event_rollups_away")
    until(lambda: dropped(watched, "rollups") > 0, "the loss is counted")
    provoke(watched)
    body = told(watched)
    assert (body["status"], "records of rollups were lost" in body["checks"]["records"]) == ("warn", True)
    execute(watched, "ALTER TABLE event_rollups_away RENAME TO event_rollups")
    recorded_again(watched)


def test_without_its_audit_log_the_admin_part_does_nothing_and_the_platform_goes_on(watched: Stand) -> None:
    let_in(watched.database_url, f"{TOKEN}-and-act", ["write:alerts"])
    execute(watched, "ALTER TABLE admin_audit RENAME TO admin_audit_away")
    provoke(watched)
    assert silenced(watched)[0] == 503
    decisions = watched.runtime / "alerts" / "decisions.json"
    assert not decisions.exists()
    until(lambda: any("admin_audit" in row["message"] for row in records(watched, "errors")), "its lack is on record")
    execute(watched, "ALTER TABLE admin_audit_away RENAME TO admin_audit")
    assert silenced(watched)[0] == 200
    assert decisions.exists()


def silenced(stand: Stand) -> tuple[int, bytes]:
    """The answer to a machine that silences everything for an hour."""
    connection = http.client.HTTPConnection(HOST, stand.port, timeout=10)
    headers = {
        "Authorization": f"Bearer {TOKEN}-and-act",
        "Content-Type": "application/x-www-form-urlencoded",
    }
    with closing(connection):
        connection.request("POST", "/admin/alerts/silences", "of=everything&lasting=1h&why=unheard", headers)
        response = connection.getresponse()
        return response.status, response.read()


def test_a_job_that_breaks_is_an_error_on_record_by_its_cause(watched: Stand) -> None:
    """The client hears nothing of the reason, the operator all of it, and nobody a secret."""
    execute(watched, "ALTER TABLE user_sessions RENAME TO user_sessions_away")
    secret = "planted " + PASSWORD
    replies = [Caller(watched).post("/sessions", {"name": "nobody-of-that-name", "password": secret})]
    user = players(watched)[0]
    replies.append(user.get("/users/me"))
    execute(watched, "ALTER TABLE user_sessions_away RENAME TO user_sessions")
    assert replies[1].status == 503
    until(lambda: bool(records(watched, "errors")), "the error is on record")
    group = records(watched, "errors")[0]
    assert (group["code"], group["status"], group["count"]) == ("read-failed", 503, 1)
    assert (group["kind"], group["place"]) == ("OperationalError", "user_service.session_user")
    assert group["message"] == "no such table: user_sessions"
    assert group["request_id"] == replies[1].headers["request-id"]


def test_planted_secrets_are_nowhere(watched: Stand) -> None:
    """A password, a session's token, the records' own token: in no record, no metric, no line of the log."""
    user = newcomer(watched)
    user.get("/users/me")
    Caller(watched, "planted" + "Token" * 8).get("/users/me")
    Caller(watched).post("/sessions", {"name": "ann", "password": "planted wrong password"})
    Caller(watched, TOKEN + "-wrong").get("/admin/api/activity")
    until(lambda: any(row["status"] == 401 for row in records(watched, "activity")), "it is on record")
    planted = (PASSWORD, user.token, "planted" + "Token" * 8, "planted wrong password", TOKEN)
    pages = [Caller(watched, TOKEN).get(f"/admin/api/{name}.ndjson").body.decode() for name in ("activity", "errors")]
    pages.append(watched.get("/metrics")[1].decode())
    pages += [path.read_text("utf-8", "replace") for path in watched.directory.rglob("*.log")]
    assert len(pages) > 3, "no log was found, so nothing was looked for in it"
    assert [secret for secret in planted for page in pages if secret in page] == []


def test_an_export_cut_short_does_not_end_as_if_it_were_whole(watched: Stand) -> None:
    """The table goes while it is being exported: the client sees a broken stream and no end."""
    execute(watched, "INSERT INTO request_records (at_ms, kind, status, took_us, request_id) WITH RECURSIVE n(x) AS "
            "(SELECT 1 UNION ALL SELECT x + 1 FROM n WHERE x < 300000) SELECT x, 'k', 200, 1, 'r' || x FROM n")  # fmt: skip
    connection = http.client.HTTPConnection(HOST, watched.port, timeout=20)
    connection.request("GET", "/admin/api/activity.ndjson", headers={"Authorization": f"Bearer {TOKEN}"})
    answer = connection.getresponse()
    assert answer.status == 200
    answer.read(1_000)
    execute(watched, "ALTER TABLE request_records RENAME TO request_records_away")
    with pytest.raises((http.client.HTTPException, ConnectionError)):
        answer.read()
    connection.close()
    execute(watched, "ALTER TABLE request_records_away RENAME TO request_records")

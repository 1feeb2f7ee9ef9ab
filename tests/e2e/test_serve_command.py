"""`gymkhana serve` as an operator meets it: what it will not serve, in one sentence, and what it serves through uvicorn."""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
import sys
from pathlib import Path

import msgspec
import pysqlite3.dbapi2 as sqlite
import pytest

from backups.swap import Swap, write_down
from ci.loopback import HOST, free_ports
from ci.stand import Stand, standing
from tests.backups.databases import wait_until
from tests.e2e.caller import Caller, players, survived
from tests.e2e.shipping import restorable

pytestmark = pytest.mark.processes


@pytest.fixture
def database(built: Stand, tmp_path: Path) -> Path:
    """A migrated and populated database that nobody serves."""
    return Path(shutil.copy(built.database, tmp_path / "gym.db"))


def serve(database: Path | str, *arguments: str) -> subprocess.CompletedProcess[str]:
    url = database if isinstance(database, str) else f"sqlite:///{database}"
    return subprocess.run(
        [sys.executable, "-m", "ci.cli", "serve", "--database", url, "--port", str(free_ports(1)[0]), *arguments],
        env={name: value for name, value in os.environ.items() if not name.startswith("GYM_")},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


def refusal(done: subprocess.CompletedProcess[str]) -> str:
    """The one sentence on stderr, after a usage error's exit code."""
    assert (done.returncode, done.stdout) == (2, ""), done
    assert "Traceback" not in done.stderr
    lines = done.stderr.splitlines()
    assert len(lines) == 1, done.stderr
    return lines[0]


def test_a_port_that_is_taken_is_named(database: Path) -> None:
    with socket.create_server((HOST, 0)) as taken:
        port = taken.getsockname()[1]
        said = refusal(serve(database, "--port", str(port)))
    assert said.endswith(
        f"Port {port} on {HOST} is taken; free it or choose another with --port. See `gymkhana serve --help`."
    )


def test_a_missing_database_is_not_made(tmp_path: Path) -> None:
    said = refusal(serve(tmp_path / "none.db"))
    assert said.endswith(f"There is no database at {tmp_path / 'none.db'}; create it with `gymkhana migrate up`.")
    assert list(tmp_path.iterdir()) == []


def test_a_file_that_is_no_database_is_left_as_it_is(tmp_path: Path) -> None:
    letter = tmp_path / "letter.db"
    letter.write_text("Dear service, I am not a database.\n" * 100, "utf-8")
    before = letter.read_bytes()
    assert f"{letter} is not a SQLite database" in refusal(serve(letter))
    assert letter.read_bytes() == before


def test_a_database_without_a_schema_is_told_how_to_get_one(tmp_path: Path) -> None:
    empty = tmp_path / "empty.db"
    empty.touch()
    assert "has no schema yet; run `gymkhana migrate up`." in refusal(serve(empty))


@pytest.mark.parametrize(
    ("revision", "advice"),
    [("9999", "newer than this code's 0006; run a newer version of the service."), ("0001", "`gymkhana migrate up`.")],
)
def test_another_schema_is_not_served(revision: str, advice: str, database: Path) -> None:
    connection = sqlite.connect(database)
    connection.execute("UPDATE alembic_version SET version_num = ?", (revision,))
    connection.commit()
    connection.close()
    said = refusal(serve(database))
    assert f"is at schema {revision}" in said
    assert said.endswith(advice)


@pytest.mark.parametrize("url", ["mysql://localhost/gym", "gym.db", "sqlite:///:memory:", "sqlite://"])
def test_a_database_that_is_no_sqlite_file_is_refused(url: str) -> None:
    assert "sqlite:" in refusal(serve(url))


def test_a_database_is_served_once(fresh: Stand) -> None:
    fresh.start()
    fresh.wait_ready()
    first = int(fresh.processes()["supervisor"]["pid"])
    said = refusal(serve(fresh.database))
    assert said.endswith(f"This database is already being served by pid {first}; stop that one first.")
    assert players(fresh)[0].write("PATCH", "/users/me", {"bio": "undisturbed"}).status == 200


def test_the_command_becomes_the_supervisor_and_drains(fresh: Stand) -> None:
    fresh.service = (sys.executable, "-m", "ci.cli", "serve")
    fresh.start()
    fresh.wait_ready()
    done = players(fresh)[0].write("PATCH", "/users/me", {"bio": "through the command"})
    assert done.status == 200
    assert fresh.stop() == 0
    assert survived(fresh) == {done.operation}


def test_uvicorn_serves_the_same(built: Stand, tmp_path: Path) -> None:
    directory = shutil.copytree(built.directory, tmp_path / "own")
    with standing(Stand(directory, environment={"GYM_SERVER": "uvicorn"})) as stand:
        stand.start()
        stand.wait_ready()
        user = players(stand)[0]
        first = user.write("PATCH", "/users/me", {"bio": "through uvicorn"})
        again = user.write("PATCH", "/users/me", {"bio": "through uvicorn"}, first.operation)
        assert (first.status, again.status, again.headers["operation-replayed"]) == (200, 200, "true")
        large = user.write("PATCH", "/users/me", b'{"bio": "' + b"x" * 100_000 + b'"}')
        assert (large.status, large.code) == (413, "body-too-large")
        assert user.get("/nowhere").code == "route-not-found"
        assert b"gymkhana_open_connections 1.0" in Caller(stand).get("/metrics").body
        assert stand.stop() == 0
        assert survived(stand) == {first.operation}


@pytest.mark.parametrize("mode", [(), ("--sync",)], ids=["shipped", "synchronous"])
def test_a_service_that_ships_its_log_comes_back_from_the_store_alone(fresh: Stand, mode: tuple[str, ...]) -> None:
    fresh.service = (sys.executable, "-m", "ci.cli", "serve", "--backup-to", str(fresh.store), "--demo", *mode)
    fresh.start()
    fresh.wait_ready()
    wait_until(lambda: restorable(fresh), "a log that can be restored", 30)
    written = {players(fresh)[0].write("PATCH", "/users/me", {"bio": f"shipped {n}"}).operation for n in range(5)}
    assert set(fresh.processes()) == {"supervisor", "writer", "http", "log"}
    metrics = Caller(fresh).get("/metrics").body
    assert (b"gymkhana_ship_seconds_count 0.0" in metrics) == (not mode), "whether the writes waited for the store"
    if mode:
        fresh.kill()
    else:
        assert fresh.stop() == 0, "ending ships what is left"
    fresh.database.unlink()
    fresh.run_tool("backup", "restore", "--database", fresh.database_url, "--store", str(fresh.store))
    assert survived(fresh) == written


def test_shipping_needs_a_place(database: Path, tmp_path: Path) -> None:
    assert "say where with --backup-to" in refusal(serve(database, "--sync"))
    assert f"There is no store at {tmp_path / 'none'}" in refusal(
        serve(database, "--backup-to", str(tmp_path / "none"))
    )


def test_a_database_that_a_restore_left_half_changed_is_not_served(database: Path) -> None:
    swap = Swap(
        backup="20261123T090000Z-000001-full-sqlite-1f3a", database=str(database), build=str(database) + ".restoring",
        evidence=str(database) + ".evidence", members=(database.name,), steps=(), touched=True,
    )  # fmt: skip
    write_down(swap)
    done = serve(database)
    assert done.returncode == 1
    assert done.stderr.strip().endswith(f"end it with: gymkhana backup restore --database {database}.")
    assert len(done.stderr.splitlines()) == 1
    write_down(msgspec.structs.replace(swap, touched=False))
    assert "is taken" in _refused_for_its_port(database), "one that has not begun to change it does no harm"


def _refused_for_its_port(database: Path) -> str:
    with socket.create_server((HOST, 0)) as taken:
        return refusal(serve(database, "--port", str(taken.getsockname()[1])))

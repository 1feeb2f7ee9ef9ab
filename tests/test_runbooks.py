"""The runbooks, followed letter by letter: each disaster is made, what stands in the page is typed, and it is over."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import psycopg
import pytest

from backups.addresses import store_at
from backups.keys.keyring import generate
from backups.postgres.binaries import unprivileged
from backups.postgres.server import Server
from ci.loopback import HOST, free_ports
from tests.backups.databases import wait_until
from tests.system.alerts.receiving import hook

pytestmark = pytest.mark.processes

RUNBOOKS = Path(__file__).parents[1] / "docs" / "runbooks"
_BLOCK = re.compile(r"^```sh *(?P<kind>\w*)\n(?P<commands>.*?)^```$", re.MULTILINE | re.DOTALL)


@dataclass
class Operator:
    """Somebody at a shell, with the variables that the runbooks expect."""

    place: Path
    kind: str
    server: Server | None = None
    variables: dict[str, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        programs = self.place / "bin"
        programs.mkdir()
        _program(programs / "gymkhana", f'exec {sys.executable} -m ci.cli "$@"')
        as_postgres = " ".join(unprivileged(())) if os.geteuid() == 0 else ""
        _program(programs / "sudo", f'shift 2; exec {as_postgres} "$@"')
        path = [str(programs), *([str(self.server.programs.directory)] if self.server else []), os.environ["PATH"]]
        self.variables = {
            "PATH": ":".join(path),
            "STORE": str(self.place / "store"),
            "DATABASE": self.server.url() if self.server else f"sqlite:///{self.place / 'gym.db'}",
            "PGDATA": str(self.server.data) if self.server else "",
            "GYM_STORE_DEMO": "1",
        }

    def types(self, commands: str) -> str:
        """What the commands said. They are typed one after another, and stop where one fails."""
        done = subprocess.run(
            ["bash", "-e", "-o", "pipefail", "-c", commands],
            env=os.environ | self.variables,
            cwd=self.place,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=120,
            check=False,
        )
        assert done.returncode == 0, f"{commands}\n{done.stdout}\n{done.stderr}"
        return done.stdout

    def follows(self, runbook: str) -> str:
        """Everything that the runbook says to type for this kind of database."""
        blocks = list(_BLOCK.finditer((RUNBOOKS / runbook).read_text("utf-8")))
        mine = [block["commands"] for block in blocks if block["kind"] in ("", self.kind)]
        assert mine, f"{runbook} has nothing to type for {self.kind}"
        return "".join(self.types(commands) for commands in mine)


def _program(path: Path, command: str) -> None:
    path.write_text(f"#!/bin/sh\n{command}\n", "utf-8")
    path.chmod(0o755)


@pytest.fixture(params=["sqlite", "postgres"])
def operator(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Operator]:
    """With a database of ten users and a backup of it."""
    if request.param == "sqlite":
        one = Operator(tmp_path, "sqlite")
        _fill(one)
        yield one
        return
    server = Server(tmp_path / "pg", free_ports(1)[0])
    server.init()
    with (server.data / "postgresql.conf").open("a", encoding="ascii") as file:
        file.write(f"port = {server.port}\nunix_socket_directories = '{server.sockets}'\n")
    server.start()
    server.create_database()
    one = Operator(tmp_path, "postgres", server)
    try:
        _fill(one)
        yield one
    finally:
        _stop(server)
        server.close()


def _fill(operator: Operator) -> None:
    operator.types(
        'gymkhana migrate up --database "$DATABASE" --demo\n'
        'gymkhana seed --database "$DATABASE" --users 10 --tournaments 2 --matches 4 --population people.json --seed 1\n'
        'gymkhana backup run --database "$DATABASE" --store "$STORE"'
    )


def _stop(server: Server) -> None:
    """Whoever started it, as the runbooks' pg_ctl has."""
    subprocess.run(
        unprivileged([server.programs.path("pg_ctl"), "-D", str(server.data), "-m", "immediate", "stop"]),
        capture_output=True,
        check=False,
    )


def _users(operator: Operator) -> int:
    from sqlalchemy import text

    from system.database import engine_for

    engine = engine_for(operator.variables["DATABASE"])
    with engine.connect() as connection:
        found = connection.execute(text("SELECT count(*) FROM users")).scalar_one()
    engine.dispose()
    return int(found)


def test_lost_database(operator: Operator) -> None:
    if operator.server is None:
        for path in operator.place.glob("gym.db*"):
            path.unlink() if path.is_file() else shutil.rmtree(path)
    else:
        operator.server.kill()
        shutil.rmtree(operator.server.data)
    operator.follows("lost-database.md")
    assert _users(operator) == 10


def test_corrupt_page(operator: Operator) -> None:
    if operator.server is None:
        database = operator.place / "gym.db"
        content = bytearray(database.read_bytes())
        content[8192:12288] = os.urandom(4096)
        database.write_bytes(content)
    else:
        with operator.server.connect() as connection:
            row = connection.execute("SELECT pg_relation_filepath('users')").fetchone()
            connection.execute("CHECKPOINT")
        assert row is not None
        with (operator.server.data / row[0]).open("r+b") as file:
            file.seek(100)
            file.write(os.urandom(4000))
    operator.follows("corrupt-page.md")
    assert _users(operator) == 10


@pytest.mark.parametrize("operator", ["postgres"], indirect=True)
def test_lost_primary(operator: Operator) -> None:
    assert operator.server is not None
    standby = Server(operator.place / "standby", free_ports(1)[0])
    standby.init_standby(operator.server, application="standby")
    with (standby.data / "postgresql.conf").open("a", encoding="ascii") as file:
        file.write(f"port = {standby.port}\nunix_socket_directories = '{standby.sockets}'\n")
    standby.start()
    try:
        wait_until(standby.following, "the standby follows")
        operator.variables["STANDBY"] = standby.url().replace("postgresql+psycopg", "postgresql")
        operator.variables["STANDBY_DATA"] = str(standby.data)
        with operator.server.connect() as connection:
            connection.execute("CREATE TABLE last_words (n int)")
            connection.execute("INSERT INTO last_words VALUES (1)")
        wait_until(lambda: _has(standby, "last_words"), "the standby has it")
        operator.server.kill()
        said = operator.follows("lost-primary.md")
        assert re.findall(r"^ ([tf])\b", said, re.MULTILINE) == ["t", "f"]
        with standby.connect() as connection:
            connection.execute("INSERT INTO last_words VALUES (2)")
    finally:
        standby.close()


def _has(server: Server, table: str) -> bool:
    try:
        with server.connect() as connection:
            return connection.execute(f"SELECT 1 FROM {table}").fetchone() is not None
    except psycopg.Error:
        return False


def test_wrong_key(tmp_path: Path) -> None:
    operator = Operator(tmp_path, "sqlite")
    for name in ("KEY", "WRONG_KEY"):
        identity, recipient = generate()
        path = tmp_path / name
        path.touch(mode=0o600)
        path.write_text(f"{identity}\n", "ascii")
        operator.variables[name] = str(path)
        if name == "KEY":
            operator.variables["GYM_RECIPIENTS"] = recipient
            operator.variables["GYM_HOST_SECRET"] = str(tmp_path / "host.secret")
    _fill(operator)
    for name in ("GYM_RECIPIENTS", "GYM_HOST_SECRET"):
        del operator.variables[name]
    for path in tmp_path.glob("gym.db*"):
        path.unlink() if path.is_file() else shutil.rmtree(path)
    operator.follows("wrong-key.md")
    assert _users(operator) == 10


def test_disk_full(operator: Operator) -> None:
    for _ in range(2):
        operator.types('gymkhana backup run --database "$DATABASE" --store "$STORE" --kind full')
    store = store_at(operator.variables["STORE"])
    before = len(store.list("manifests/"))
    operator.follows("disk-full.md")
    backups = [one.name for one in store.list("manifests/") if re.search(r"-[0-9a-f]{4}\.json$", one.name)]
    assert 1 <= len(backups) < before + 1


@contextmanager
def _serving(operator: Operator) -> Iterator[str]:
    """The service of the operator's database, and its address."""
    (port,) = free_ports(1)
    operator.variables |= {"URL": f"http://{HOST}:{port}", "RUNTIME": str(operator.place / "gym.runtime")}
    operator.variables["GYM_RUNTIME"] = operator.variables["RUNTIME"]
    command = [
        sys.executable,
        "-m",
        "ci.cli",
        "serve",
        "--database",
        operator.variables["DATABASE"],
        "--port",
        str(port),
    ]
    with (operator.place / "service.log").open("wb") as log:
        process = subprocess.Popen(command, env=os.environ | operator.variables, stdout=log, stderr=log)
    try:
        yield operator.variables["URL"]
    finally:
        process.terminate()
        process.wait(60)


@pytest.mark.parametrize("operator", ["sqlite"], indirect=True)
def test_slow_or_failing(operator: Operator) -> None:
    """The service does without a domain and says so; the operator puts that in order and sees that it is over."""
    with _serving(operator) as url:
        operator.types(f"curl --silent --retry 60 --retry-all-errors --retry-delay 1 {url}/health/live")
        off = operator.place / "gym.runtime" / "off"
        off.mkdir()
        (off / "challenges").write_text("The stakes are wrong.")
        wait_until(lambda: "The stakes are wrong." in operator.types(f"curl --silent {url}/health/ready"), "it is off")
        said = operator.follows("slow-or-failing.md")
        assert "The stakes are wrong." in said
        assert 'gymkhana_degraded{mode="challenges-off"} 1.0' in said
        assert "Silence" in said
        assert operator.types(f"curl --silent {url}/health/ready").count('"pass"') == 1


@pytest.mark.parametrize("operator", ["sqlite"], indirect=True)
def test_missed_backup(operator: Operator) -> None:
    """There is no backup any more and nobody tells the service; afterwards there is a good one, and somebody did."""
    shutil.rmtree(operator.variables["STORE"])
    Path(operator.variables["STORE"]).mkdir()
    with hook() as receiver:
        operator.variables["GYM_STATUS_DIR"] = str(operator.place)
        operator.variables["GYM_ALERT_WEBHOOKS"] = receiver.url
        said = operator.follows("missed-backup.md")
        assert receiver.told() == [("firing", ["Trial"])]
    assert "ALARM missed" in said
    assert "ALARM unverified" in said
    told = (operator.place / "backups.prom").read_text()
    assert "gymkhana_backups 1" in told
    assert "gymkhana_backup_rehearsed_timestamp_seconds 1" in told


def test_every_runbook_is_listed_and_followed_by_a_test_of_its_name() -> None:
    names = {path.name for path in RUNBOOKS.glob("*.md")} - {"README.md"}
    listed = set(re.findall(r"\]\(([\w-]+\.md)\)", (RUNBOOKS / "README.md").read_text("utf-8")))
    tested = {f"{name.removeprefix('test_').replace('_', '-')}.md" for name in globals() if name.startswith("test_")}
    assert names == listed
    assert names <= tested

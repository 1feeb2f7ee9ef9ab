"""Base backups: what may stop one is told in a sentence, and what is taken under load is still exact."""

from __future__ import annotations

import tarfile
import threading
from pathlib import Path

import psycopg
import pytest

from backups.backup import run_backup
from backups.errors import UsageError
from backups.postgres import base, tape
from backups.postgres.connection import ServerAway, libpq, shown
from backups.postgres.engine import PostgresEngine
from backups.verify import verify
from tests.backups.postgres.conftest import POSITION, Clinic
from tests.backups.snapshots import take

pytestmark = pytest.mark.processes


def test_a_tape_says_by_itself_to_which_state_it_comes(newest: Clinic, tmp_path: Path) -> None:
    """For whoever has nothing but the bytes: tar unpacks it, and the last member says how to go on."""
    take(PostgresEngine(newest.server.url()), newest.data, tmp_path / "copy")
    with tarfile.open(tmp_path / "copy") as archive:
        names = archive.getnames()
        last = archive.extractfile(tape.STATE)
        assert last is not None
        assert b'"point"' in last.read()
    assert names[-1] == tape.STATE
    assert {"PG_VERSION", "backup_label", "backup_manifest", "global/pg_control"} <= set(names)


def test_a_backup_under_writers_is_verified_to_the_row(newest: Clinic) -> None:
    stop = threading.Event()

    def write_on() -> None:
        with newest.server.connect() as connection:
            while not stop.is_set():
                connection.execute("INSERT INTO operations DEFAULT VALUES")
                stop.wait(0.01)

    writers = [threading.Thread(target=write_on) for _ in range(2)]
    for one in writers:
        one.start()
    try:
        manifest = newest.back_up()
    finally:
        stop.set()
        for one in writers:
            one.join()
    assert manifest.server is not None
    assert manifest.server.exact
    outcome = verify(newest.store, manifest.id, level=4)
    assert (outcome.ok, outcome.findings) == (True, ())


def test_a_server_too_busy_for_exact_facts_is_backed_up_with_bounds(
    newest: Clinic, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Somebody is always in the middle of a transaction: the manifest says that its facts are not exact, and still holds."""
    monkeypatch.setattr(base, "EXACT_WITHIN_S", 0.2)
    with newest.server.connect() as busy:
        busy.execute("BEGIN")
        busy.execute("INSERT INTO operations DEFAULT VALUES")
        manifest = newest.back_up()
        busy.execute("COMMIT")
    assert manifest.server is not None
    assert not manifest.server.exact
    assert verify(newest.store, manifest.id, level=4).ok


def test_a_cluster_with_tablespaces_of_its_own_is_refused(newest: Clinic, tmp_path: Path) -> None:
    from backups.postgres.binaries import own

    place = tmp_path / "elsewhere"
    place.mkdir()
    own(place)
    with newest.server.connect() as connection:
        connection.execute(f"CREATE TABLESPACE aside LOCATION '{place}'")
    with pytest.raises(UsageError, match="1 tablespaces of its own"):
        newest.back_up()
    assert newest.store.list("") == ()


def test_a_user_without_rights_is_told(newest: Clinic) -> None:
    with newest.server.connect() as connection:
        connection.execute("CREATE ROLE guest LOGIN PASSWORD 'guest'")
    url = f"postgresql://guest:guest@127.0.0.1:{newest.server.port}/gym"
    with pytest.raises(UsageError, match=r"guest|superuser") as caught:
        run_backup(PostgresEngine(url, position_of=POSITION), url, newest.store, demonstration=True)
    assert "guest:guest" not in str(caught.value)


def test_a_server_that_is_down_is_told_without_its_password(newest: Clinic) -> None:
    url = "postgresql://gym:secret@127.0.0.1:1/gym"
    with pytest.raises(ServerAway, match=r"postgresql://gym@127\.0\.0\.1:1/gym cannot be reached") as caught:
        run_backup(PostgresEngine(url), url, newest.store, demonstration=True)
    assert "secret" not in str(caught.value)


def test_a_session_that_is_killed_while_backing_up_leaves_no_slot_and_no_backup(newest: Clinic) -> None:
    engine = PostgresEngine(newest.server.url())
    with engine.snapshot(newest.data) as reading:
        blocks = reading.blocks()
        next(blocks)
        with newest.server.connect() as connection:
            row = connection.execute("SELECT count(*) FROM pg_replication_slots").fetchone()
            assert row == (1,)
            connection.execute(
                "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name = 'gymkhana-backup'"
            )
        with pytest.raises(Exception, match=r"failed while it was backed up|terminat"):
            list(blocks)
    with newest.server.connect() as connection:
        row = connection.execute("SELECT count(*) FROM pg_replication_slots").fetchone()
    assert row == (0,)


@pytest.mark.parametrize(
    ("url", "told"),
    [
        ("postgresql+psycopg://gym@/gym?host=a:1&host=b:2&target_session_attrs=primary", "a:1,b:2"),
        ("postgresql://gym:secret@h:5433/x?sslmode=require", "h:5433"),
    ],
)
def test_urls_as_sqlalchemy_writes_them_are_read(url: str, told: str) -> None:
    found = psycopg.conninfo.conninfo_to_dict(libpq(url))
    hosts, ports = str(found["host"]).split(","), str(found["port"]).split(",")
    assert ",".join(f"{host}:{port}" for host, port in zip(hosts, ports, strict=True)) == told
    assert "secret" not in shown(url)

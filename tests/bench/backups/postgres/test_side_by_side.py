"""The PostgreSQL benchmark itself, on a few megabytes: it measures what it says, and leaves nothing but its cluster."""

from __future__ import annotations

import re
import shutil
from collections.abc import Iterator
from pathlib import Path

import psycopg
import pytest

from backups.postgres.binaries import Binaries, binaries, installations
from backups.postgres.server import Server
from tests.backups.databases import wait_until
from tests.bench.backups.postgres import clusters, failover, goals, pgbackrest, side_by_side
from tests.bench.goals import judged

pytestmark = pytest.mark.processes


@pytest.fixture(scope="module")
def bench(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("bench")


@pytest.fixture(scope="module")
def cluster(bench: Path) -> Path:
    return clusters.built(bench / "backups", 12, binaries())


@pytest.fixture
def live(cluster: Path, tmp_path: Path) -> Iterator[Server]:
    server = clusters.copied(cluster, tmp_path / "live", binaries())
    try:
        server.start()
        yield server
    finally:
        server.close()


def test_the_cluster_has_its_size_and_checksums_and_is_built_once(cluster: Path, live: Server) -> None:
    with live.connect() as connection:
        row = connection.execute(
            "SELECT pg_database_size(current_database()), current_setting('data_checksums')"
        ).fetchone()
    assert row is not None
    assert 12_000_000 <= row[0] < 24_000_000
    assert row[1] == "on"
    before = cluster.stat().st_mtime_ns
    assert clusters.built(cluster.parent, 12, binaries()) == cluster
    assert cluster.stat().st_mtime_ns == before


def test_changed_bytes_are_those_of_the_pages_that_differ(live: Server, tmp_path: Path) -> None:
    live.stop()
    before = tmp_path / "before"
    shutil.copytree(live.data, before)
    assert clusters.changed_bytes(before, live.data) == 0
    largest = max(clusters.files(live.data / "base"), key=lambda path: path.stat().st_size)
    with largest.open("r+b") as file:
        for page in (0, 5, 9):
            file.seek(page * clusters.PAGE_BYTES + 100)
            file.write(b"another")
    assert clusters.changed_bytes(before, live.data) == 3 * clusters.PAGE_BYTES


def test_the_log_is_as_much_as_was_asked_for_and_committed(live: Server) -> None:
    with live.connect() as connection:
        before = connection.execute("SELECT count(*) FROM events").fetchone()
        assert clusters.write_log(live, 3_000_000, seed=1) >= 3_000_000
        after = connection.execute("SELECT count(*) FROM events").fetchone()
    assert before is not None
    assert after is not None
    assert after[0] > before[0]


def test_a_standby_that_follows_takes_over_with_every_acknowledged_write(live: Server, tmp_path: Path) -> None:
    standby = Server(tmp_path / "standby", live.port + 1, live.programs)
    try:
        failover.follow(live, standby)
        done = failover.fail_over(live, standby, phase_s=0.05)
    finally:
        standby.close()
    assert done.lost == ()
    assert done.acknowledged > 0
    assert failover.LOOK_EVERY_S / 2 < done.noticed_s < done.seconds
    assert not live.data.exists(), "the old primary is fenced"


def test_what_a_standby_lacks_is_counted_as_lost(live: Server, tmp_path: Path) -> None:
    """The planted bug: commits do not wait for a standby, and it is held still for a while before the end."""
    standby = Server(tmp_path / "standby", live.port + 1, live.programs)
    try:
        failover.follow(live, standby)
        with live.connect() as connection:
            connection.execute("ALTER SYSTEM SET synchronous_standby_names = ''")
            connection.execute("SELECT pg_reload_conf()")
        with standby.connect("postgres") as connection:
            connection.execute("ALTER SYSTEM SET primary_conninfo = ''")
            connection.execute("SELECT pg_reload_conf()")
            receiving = "SELECT count(*) FROM pg_stat_wal_receiver"
            wait_until(lambda: connection.execute(receiving).fetchone() == (0,), "the standby gets nothing", 30.0)
        done = failover.fail_over(live, standby, phase_s=0.0)
        with standby.connect() as connection:
            kept = connection.execute("SELECT count(*) FROM checks").fetchone()
    finally:
        standby.close()
    assert kept is not None
    assert len(done.lost) >= failover.WARM
    assert done.acknowledged == len(done.lost) + kept[0] or done.acknowledged > len(done.lost)


def test_the_newest_version_that_pgbackrest_knows_is_chosen() -> None:
    there = [Binaries(Path(f"/pg{major}"), f"{major}.1") for major in (18, 16, 15)]
    assert side_by_side.chosen(there, lambda major: major <= 16) == (there[1], True)
    assert side_by_side.chosen(there, lambda _: False) == (there[0], False)


@pytest.mark.parametrize(
    ("version", "newest"), [((2, 45), 15), ((2, 48), 16), ((2, 54), 17), ((2, 57), 18), ((2, 39), 14)]
)
def test_which_server_a_pgbackrest_knows(version: tuple[int, int], newest: int) -> None:
    assert pgbackrest.newest_known(version) == newest


def test_words_that_make_no_benchmark_are_refused(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        side_by_side.main(["--rounds", "0"])
    assert ended.value.code == 2
    assert "at least 1" in capsys.readouterr().err


def test_a_write_that_is_not_read_back_is_no_first_write(live: Server) -> None:
    with live.connect() as connection:
        connection.execute("CREATE RULE nothing AS ON INSERT TO checks DO INSTEAD SELECT 1::bigint AS number")
        with pytest.raises((AssertionError, psycopg.Error)):
            clusters.checked_write(connection)


@pytest.mark.timeout(600)
def test_a_round_measures_everything_and_leaves_nothing(bench: Path, cluster: Path) -> None:
    programs, known = side_by_side.chosen(installations(), pgbackrest.knows)
    terms = side_by_side.Terms(12, 1, programs, wal_mb=5, tiring_bytes=0, pgbackrest=known, bench=bench)
    said: list[str] = []
    rows, missing = judged(goals.rows(pgbackrest=known, zstd=terms.zstd), side_by_side.measure(terms, said.append))
    assert missing == []
    assert all(sample > 0 for row in rows for sample in row.samples if "lost" not in row.name)
    assert all(re.fullmatch(r"cluster-1-[\d.]+-12mb", path.name) for path in (bench / "backups").iterdir())
    assert len(said) == 3

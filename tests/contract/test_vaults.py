"""The contract of Vault, over both: a store with this project's engine and restore, and a repository of pgBackRest.

Each has lived one story on the same version of PostgreSQL: a full backup of operations 1 to 5, an incremental one of 1 to
10, then the log: a position at 15, a restore point at 20, an instant at 25, and the end at 30.
"""

from __future__ import annotations

import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Protocol

import pytest

from backups.addresses import store_at
from backups.errors import InUse, NoParent, NoSuchBackup, NothingToRestore, NotSeparate, StoreUnusable, UsageError
from backups.keys.keyring import Keyring
from backups.pgbackrest.program import NoPgBackRest
from backups.pgbackrest.stanza import fitting_binaries
from backups.plan import RestorePlan
from backups.postgres.binaries import Binaries, binaries
from backups.postgres.recovery import NEWEST, Goal, at_instant, at_lsn, at_name
from backups.postgres.server import Server, running
from backups.progress import silent
from backups.restoration import LogReplayed, Restoration
from backups.vault import Kind, Made, Vault
from backups.vaults import StoreVault
from ci.loopback import free_ports
from tests.backups import databases
from tests.backups.repositories import POSITION, Ward, begin, damage, numbers, served, ward_in, write

pytestmark = pytest.mark.processes


class Place(Protocol):
    """A vault, the server that it is for, and what the story wants done besides."""

    server: Server

    @property
    def vault(self) -> Vault: ...

    def archived(self) -> None:
        """Everything that is committed has reached the vault."""

    def stored_file(self, backup: str) -> Path:
        """A file of that backup that a restore of it must read."""


@dataclass
class StorePlace:
    """A directory store, whose log a receiver ships."""

    directory: Path
    server: Server

    @property
    def vault(self) -> Vault:
        store = store_at(str(self.directory / "store"), make=True)
        return StoreVault(store, Keyring.plain(), POSITION, self.directory / "spool")

    @contextmanager
    def receiving(self) -> Iterator[None]:
        command = [
            sys.executable, "-m", "backups.postgres.receive", "--database", self.server.url(), "--interval-ms", "50",
            "--store", str(self.directory / "store"), "--spool", str(self.directory / "spool"), "--demonstration",
        ]  # fmt: skip
        with subprocess.Popen(command, cwd=databases.ROOT, stderr=subprocess.DEVNULL) as process:
            try:
                databases.wait_until(self._streams, "the receiver streams")
                yield
            finally:
                process.send_signal(signal.SIGTERM)
                try:
                    process.wait(20)
                except subprocess.TimeoutExpired:
                    process.kill()

    def _streams(self) -> bool:
        with self.server.connect() as connection:
            return bool(connection.execute("SELECT 1 FROM pg_replication_slots WHERE active").fetchone())

    def archived(self) -> None:
        with self.server.connect() as connection:
            row = connection.execute("SELECT pg_walfile_name(pg_switch_wal())").fetchone()
        assert row is not None
        store = store_at(str(self.directory / "store"))
        databases.wait_until(
            lambda: any(one.name.endswith(row[0]) for one in store.list("wal/")), f"{row[0]} is shipped"
        )

    def stored_file(self, backup: str) -> Path:
        return self.directory / "store" / "objects" / backup / "pack-0000"


@dataclass
class Story:
    """What was made, and how each point is asked for."""

    place: Place
    empty: tuple[object, ...] = ()
    refused: Exception | None = None
    full: Made = field(init=False)
    incr: Made = field(init=False)
    before_t: float = 0.0
    goals: dict[str, Goal] = field(default_factory=dict)

    @property
    def vault(self) -> Vault:
        return self.place.vault

    def back_up(self, kind: Kind) -> Made:
        return self.vault.back_up(self.place.server.url(), kind=kind, demonstration=True, pace=None, progress=silent)

    def restore(self, data: Path, goal: Goal | None = NEWEST, backup: str | None = None) -> Restoration:
        return self.vault.restore(data, backup=backup, goal=goal, progress=silent)

    def tell(self) -> None:
        """The story itself."""
        server = self.place.server
        self.empty = self.vault.kept()
        try:
            self.back_up("incr")
        except NoParent as error:
            self.refused = error
        write(server, 5)
        self.before_t = time.monotonic()
        self.full = self.back_up("full")
        write(server, 5)
        with server.connect() as connection:
            connection.execute("SELECT pg_create_restore_point('before-the-increment')")
        self.goals["older"] = at_name("before-the-increment")
        self.incr = self.back_up("auto")
        write(server, 5)
        with server.connect() as connection:
            row = connection.execute("SELECT pg_current_wal_insert_lsn()::text").fetchone()
            assert row is not None
            self.goals["lsn"] = at_lsn(row[0])
            write(server, 5)
            connection.execute("SELECT pg_create_restore_point('before-the-mistake')")
            self.goals["name"] = at_name("before-the-mistake")
            write(server, 5)
            now = connection.execute("SELECT clock_timestamp()").fetchone()
            assert now is not None
            assert isinstance(now[0], datetime)
            self.goals["time"] = at_instant(now[0])
        write(server, 5)
        self.goals["newest"] = NEWEST
        self.place.archived()


def same_or_newest() -> Binaries:
    """The version that pgBackRest gets; where there is none, a store is still held to the contract, on the newest."""
    try:
        return fitting_binaries()
    except NoPgBackRest:
        return binaries()


@pytest.fixture(scope="module", params=["store", "pgbackrest"])
def story(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Story]:
    directory = tmp_path_factory.mktemp(request.param)
    with ExitStack() as stack:
        if request.param == "store":
            server = stack.enter_context(running(directory / "pg", free_ports(1)[0], same_or_newest()))
            place = StorePlace(directory, server)
            begin(server)
            told = Story(place)
            assert place.vault.kept() == ()
            stack.enter_context(place.receiving())
        else:
            ward: Ward = stack.enter_context(ward_in(directory))
            told = Story(ward)
        told.tell()
        yield told


def test_an_empty_vault_holds_nothing_to_build_on(story: Story) -> None:
    assert story.empty == ()
    assert isinstance(story.refused, NoParent)


def test_what_was_made_is_listed_oldest_first_with_what_it_builds_on(story: Story) -> None:
    full, incr = story.vault.kept()
    assert [full.id, incr.id] == [story.full.kept.id, story.incr.kept.id]
    assert [(one.kind, one.parent, one.state, one.fault) for one in (full, incr)] == [
        ("full", None, "complete", ""),
        ("incr", full.id, "complete", ""),
    ]
    assert full.taken <= incr.taken
    assert full.engine == incr.engine == "postgres"
    assert Path(full.database or "") == story.place.server.data.resolve()
    assert full.size_bytes is not None
    assert full.stored_bytes is not None
    assert incr.stored_bytes is not None
    assert 0 < incr.stored_bytes < full.stored_bytes < full.size_bytes


def test_a_new_backup_tells_from_before_when_everything_is_in_it(story: Story) -> None:
    assert story.before_t <= story.full.taken_t < story.incr.taken_t
    assert story.full.held == (story.vault.address,)
    assert story.full.trouble == story.vault.trouble == ()


def test_the_vault_knows_where_the_cluster_lay(story: Story) -> None:
    assert story.vault.data_directory() == story.place.server.data.resolve()


@pytest.mark.parametrize("level", [3, 4])
def test_a_good_backup_stands_up_to_every_level(story: Story, level: int) -> None:
    look = story.vault.verify(None, level=level, boot=None, progress=silent)
    assert (look.ok, look.findings, look.level) == (True, (), level)
    assert look.backup == story.incr.kept.id
    assert look.read_bytes > 0


def test_a_backup_is_verified_by_name(story: Story) -> None:
    look = story.vault.verify(story.full.kept.id, level=3, boot=None, progress=silent)
    assert (look.backup, look.ok) == (story.full.kept.id, True)


def test_no_such_backup_and_no_such_level_are_refused(story: Story) -> None:
    with pytest.raises(NoSuchBackup, match="20200101"):
        story.vault.verify("20200101-000000F", level=3, boot=None, progress=silent)
    with pytest.raises(UsageError, match="level"):
        story.vault.verify(None, level=5, boot=None, progress=silent)


def test_a_plan_touches_nothing(story: Story, tmp_path: Path) -> None:
    data = tmp_path / "data"
    data.mkdir()
    (data / "old").touch()
    plan = story.vault.plan(data, backup=None, goal=NEWEST)
    assert isinstance(plan, RestorePlan)
    assert (plan.backup, plan.database, plan.chain) == (
        story.incr.kept.id,
        data,
        (story.full.kept.id, story.incr.kept.id),
    )
    assert any(str(plan.evidence) in step for step in plan.steps)
    assert [path.name for path in tmp_path.rglob("*")] == ["data", "old"]


@pytest.mark.parametrize(("point", "last"), [("older", 10), ("lsn", 15), ("name", 20), ("time", 25), ("newest", 30)])
def test_a_restore_ends_at_the_point_asked_for(story: Story, tmp_path: Path, point: str, last: int) -> None:
    data = tmp_path / "data"
    done = story.restore(data, story.goals[point])
    assert (done.database, done.rows, done.position) == (data, last, last)
    assert done.evidence is None
    assert isinstance(done.replayed, LogReplayed)
    assert done.replayed.timeline == 2
    assert done.replayed.segments > 0
    assert {"decide", "build", "replay", "check", "fence", "swap"} <= {phase.name for phase in done.phases}
    with served(data, story.place.server) as server:
        assert numbers(server) == list(range(1, last + 1))
        assert write(server) > last


def test_a_backup_asked_for_by_name_is_its_own_state(story: Story, tmp_path: Path) -> None:
    done = story.restore(tmp_path / "data", None, story.full.kept.id)
    assert (done.backup, done.position, done.replayed) == (story.full.kept.id, 5, None)


def test_what_was_there_is_kept_as_evidence(story: Story, tmp_path: Path) -> None:
    data = tmp_path / "data"
    data.mkdir(mode=0o700)
    (data / "old").write_text("what was here")
    done = story.restore(data)
    assert done.evidence is not None
    assert (done.evidence / "old").read_text() == "what was here"
    assert (data / "PG_VERSION").exists()
    assert not list(tmp_path.glob("data.restoring*"))


@pytest.mark.parametrize("goal", [at_name("never-made"), at_lsn("F/0"), at_lsn("0/1000000")])
def test_a_point_that_is_not_there_is_refused_with_nothing_touched(story: Story, tmp_path: Path, goal: Goal) -> None:
    data = tmp_path / "data"
    data.mkdir(mode=0o700)
    (data / "old").touch()
    with pytest.raises(NothingToRestore):
        story.restore(data, goal)
    assert sorted(path.name for path in tmp_path.rglob("*") if "lock" not in path.name) == ["data", "old"]


def test_over_a_running_server_nothing_is_restored(story: Story) -> None:
    with pytest.raises(InUse, match="stop it first"):
        story.restore(story.place.server.data.resolve())
    assert len(numbers(story.place.server)) >= 30


def test_a_vault_beside_the_database_wants_to_be_told_that_this_is_a_demonstration(story: Story) -> None:
    before = story.vault.kept()
    with pytest.raises(NotSeparate, match="--demo"):
        story.vault.back_up(story.place.server.url(), kind="full", demonstration=False, pace=None, progress=silent)
    assert [one.id for one in story.vault.kept()] == [one.id for one in before]


def test_a_damaged_backup_is_found_and_an_older_one_used(story: Story, tmp_path: Path) -> None:
    path = story.place.stored_file(story.incr.kept.id)
    before = damage(path)
    try:
        look = story.vault.verify(story.incr.kept.id, level=3, boot=None, progress=silent)
        assert not look.ok
        assert look.findings
        done = story.restore(tmp_path / "data")
        assert done.backup == story.full.kept.id
        assert [one.id for one in done.refused] == [story.incr.kept.id]
        assert done.cost.older_s >= 0
        assert done.position == 30
    finally:
        path.write_bytes(before)


def test_when_every_backup_is_bad_it_is_told_of_each_and_nothing_is_touched(story: Story, tmp_path: Path) -> None:
    data = tmp_path / "data"
    data.mkdir(mode=0o700)
    (data / "old").touch()
    path = story.place.stored_file(story.full.kept.id)
    before = damage(path)
    try:
        with pytest.raises(NothingToRestore) as told:
            story.restore(data)
        assert story.full.kept.id in str(told.value)
        assert story.incr.kept.id in str(told.value)
        assert sorted(path.name for path in tmp_path.rglob("*") if "lock" not in path.name) == ["data", "old"]
    finally:
        path.write_bytes(before)


def test_a_vault_that_is_not_there_is_no_empty_one(story: Story, tmp_path: Path) -> None:
    from backups.vaults import vault_at

    store = isinstance(story.vault, StoreVault)
    address = str(tmp_path / "none") if store else f"pgbackrest:gym?config={tmp_path}/none.conf"
    with pytest.raises(StoreUnusable, match="none"):
        vault_at([address], Keyring.plain()).kept()

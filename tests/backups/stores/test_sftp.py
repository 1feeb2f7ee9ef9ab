"""Stores over SFTP, against real servers: strangers, outages, servers that stop answering, and writers that die."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from backups.addresses import store_at
from backups.backup import run_backup
from backups.errors import BackupError, Locked, NameTaken, StoreError, StoreUnusable
from backups.restore import restore
from backups.sqlite.engine import SqliteEngine
from backups.stores import lease
from backups.stores import store as stores
from backups.stores.sftp import SftpStore
from backups.verify import verify
from tests.backups import databases
from tests.backups.sftp_server import KINDS, SftpServer

pytestmark = pytest.mark.processes

ROOT = Path(__file__).parents[3]


@pytest.fixture(params=KINDS)
def server(request: pytest.FixtureRequest, sftp_servers: dict[str, SftpServer]) -> SftpServer:
    return sftp_servers[request.param]


@pytest.fixture
def store(server: SftpServer) -> SftpStore:
    return SftpStore(server.address(), patience_s=5.0)


def test_a_backup_goes_there_is_verified_and_comes_back(
    store: SftpStore, engine: SqliteEngine, database: Path, tmp_path: Path
) -> None:
    full = run_backup(engine, str(database), store)
    databases.write(database, 5)
    grown = run_backup(engine, str(database), store)
    assert (full.kind, grown.kind) == ("full", "incr")
    assert verify(store, grown.id, level=4).ok
    restore(engine, store, str(tmp_path / "back.db"))
    assert databases.contents(tmp_path / "back.db") == databases.contents(database)


def test_a_large_object_comes_back_bit_for_bit(store: SftpStore) -> None:
    content = os.urandom(5_300_001)
    assert store.create("objects/large", (content[:77], content[77:])) == len(content)
    assert stores.read(store, "objects/large") == content
    assert store.fetch("objects/large", 4_000_000, 1_000) == content[4_000_000:4_001_000]


def refusal(address: str) -> str:
    with pytest.raises(StoreUnusable) as caught:
        SftpStore(address, patience_s=5.0).list()
    assert "\n" not in str(caught.value)
    return str(caught.value)


def test_a_stranger_is_refused(server: SftpServer) -> None:
    assert "does not let us in" in refusal(server.address(key="stranger"))


def test_a_server_that_is_not_the_one_we_know_is_refused(server: SftpServer) -> None:
    other = server.directory / "known-other"
    other.write_text((server.directory / "known").read_text().split(" ", 1)[0] + " ")
    other.write_text(other.read_text() + (server.directory / "stranger.pub").read_text())
    assert "host key" in refusal(server.address(known=other.name))


def test_a_directory_that_cannot_be_made_is_told_in_a_sentence(server: SftpServer) -> None:
    store = SftpStore(server.address(path="/proc/gymkhana"))
    with pytest.raises(BackupError) as caught:
        store.create("name", (b"x",))
    assert "\n" not in str(caught.value)
    assert "/proc/gymkhana" in str(caught.value)


@pytest.mark.parametrize(
    ("address", "said"),
    [
        ("sftp://somebody:hunter2@host/store", "holds a secret"),
        ("sftp://host/store?password=hunter2", "holds a secret"),
        ("sftp://host", "is not an SFTP store"),
        ("sftp://host/", "is not an SFTP store"),
        ("sftp:///store", "is not an SFTP store"),
        ("sftp://host:many/store", "no port"),
        ("sftp://host/store?colour=red", "colour"),
    ],
)
def test_an_address_that_is_none_is_refused_and_no_secret_is_repeated(address: str, said: str) -> None:
    with pytest.raises(StoreUnusable, match=said) as caught:
        store_at(address)
    assert "hunter2" not in f"{caught.value!r}"


def test_nobody_at_that_port_is_told_at_once(server: SftpServer) -> None:
    address = server.address().replace(f":{server.port}", ":1")
    with pytest.raises(StoreError, match="is it reachable"):
        SftpStore(address).list()


def test_an_upload_that_the_server_did_not_survive_leaves_no_object(server: SftpServer, store: SftpStore) -> None:
    def cut_off() -> Iterator[bytes]:
        for number in range(20):
            if number == 10:
                server.kill()
            yield os.urandom(1 << 20)

    try:
        with pytest.raises(StoreError, match="is it reachable"):
            store.create("objects/large", cut_off())
    finally:
        server.start()
    assert store.list() == ()
    assert store.create("objects/large", (b"whole",)) == 5


def test_a_server_that_was_away_is_found_again(server: SftpServer, store: SftpStore) -> None:
    store.create("name", (b"kept",))
    server.kill()
    try:
        with pytest.raises(StoreError, match="is it reachable"):
            store.size("name")
    finally:
        server.start()
    assert stores.read(store, "name") == b"kept"


def test_a_server_that_answers_no_more_holds_nobody_up(server: SftpServer) -> None:
    store = SftpStore(server.address(), patience_s=1.0)
    store.create("name", (b"kept",))
    server.signal(signal.SIGSTOP)
    try:
        with pytest.raises(StoreError, match=r"did not answer within 1 s|did not answer;"):
            store.create("other", (b"x",))
    finally:
        server.signal(signal.SIGCONT)
    databases.wait_until(lambda: _lists(store) == ["name"], "the server answers again")


def _lists(store: SftpStore) -> list[str]:
    try:
        return [one.name for one in store.list()]
    except StoreError:
        return []


def test_of_several_who_want_a_name_exactly_one_gets_it(server: SftpServer) -> None:
    address = server.address()
    rivals = [SftpStore(address) for _ in range(3)]
    for round_ in range(10):
        won: list[int] = []
        start = threading.Barrier(len(rivals))

        def want(number: int, start: threading.Barrier = start, won: list[int] = won, name: str = f"n{round_}") -> None:
            start.wait()
            try:
                rivals[number].create(name, (str(number).encode(),))
            except NameTaken:
                return
            won.append(number)

        threads = [threading.Thread(target=want, args=(number,)) for number in range(len(rivals))]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert len(won) == 1
        assert stores.read(rivals[0], f"n{round_}") == str(won[0]).encode()


def test_a_version_of_a_lease_is_replaced_by_exactly_one(server: SftpServer) -> None:
    address = server.address()
    rivals = [SftpStore(address) for _ in range(3)]
    for _ in range(5):
        version = rivals[0].put_new(lease.LOCK, os.urandom(8)).version
        won: list[int] = []

        def take(number: int, version: str = version, won: list[int] = won) -> None:
            try:
                rivals[number].replace(lease.LOCK, os.urandom(8), version)
            except NameTaken:
                return
            won.append(number)

        threads = [threading.Thread(target=take, args=(number,)) for number in range(len(rivals))]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert len(won) == 1
        rivals[0].remove(lease.LOCK)
    assert list(rivals[0].names(".claims")) == []


def test_a_claimant_that_died_blocks_nobody_for_longer_than_a_lease(server: SftpServer) -> None:
    store = SftpStore(server.address(), lease_s=0.0)
    version = store.put_new(lease.LOCK, b"somebody").version
    store._claim(lease.LOCK, version)
    databases.wait_until(lambda: _replaced(store, version), "the claim is stale", 5)
    assert store.look(lease.LOCK).content == b"another"
    patient = SftpStore(server.address())
    version = patient.put_new(lease.LOCK, b"somebody").version
    patient._claim(lease.LOCK, version)
    with pytest.raises(NameTaken):
        patient.replace(lease.LOCK, b"another", version)


def _replaced(store: SftpStore, version: str) -> bool:
    try:
        store.replace(lease.LOCK, b"another", version)
    except NameTaken:
        return False
    return True


HOLDER = """
import sys, time
from backups.addresses import store_at
with store_at(sys.argv[1]).exclusive("a backup that never ends"):
    print("held", flush=True)
    time.sleep(600)
"""


def test_a_second_writer_is_told_who_holds_the_store_and_a_killed_holder_blocks_nobody(server: SftpServer) -> None:
    address = server.address()
    process = subprocess.Popen([sys.executable, "-c", HOLDER, address], cwd=ROOT, stdout=subprocess.PIPE, text=True)
    with process:
        assert process.stdout is not None
        assert process.stdout.readline() == "held\n"
        with pytest.raises(Locked, match=rf"process {process.pid} on .*, since 20.*a backup that never ends"):
            with store_at(address).exclusive("backup"):
                pass
        process.kill()
    with store_at(address).exclusive("backup"):
        pass


def test_what_a_dead_writer_staged_is_swept_after_an_hour(server: SftpServer, tmp_path: Path) -> None:
    place = tmp_path / "store"
    store = SftpStore(server.address(path=str(place)))
    (place / ".staging").mkdir(parents=True)
    for name, age_s in (("old", 7200), ("new", 60)):
        (place / ".staging" / name).write_bytes(b"half")
        then = (place / ".staging" / name).stat().st_mtime - age_s
        os.utime(place / ".staging" / name, (then, then))
    with store.exclusive("backup"):
        pass
    assert [one.name for one in (place / ".staging").iterdir()] == ["new"]

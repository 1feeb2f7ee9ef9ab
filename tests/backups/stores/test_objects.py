"""Stores in the cloud, against a real S3 server: strangers, outages, and writers that die."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from backups.addresses import store_at, stores_at
from backups.errors import BackupError, Locked, NameTaken, StoreError, StoreUnusable
from backups.stores import store as stores
from tests.backups.cloud import Cloud

pytestmark = pytest.mark.processes

ROOT = Path(__file__).parents[3]


def every_word(error: BaseException) -> str:
    """All that a person could get to see of the error, what caused it included."""
    return f"{error} {error!r} {error.__cause__ or ''}"


def test_wrong_credentials_are_refused_in_a_sentence_without_them(s3: Cloud, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "planted-and-wrong")
    store = s3.store()
    for act in (lambda: store.create("name", (b"x",)), lambda: store.list(), lambda: store.fetch("name", 0, 1)):
        with pytest.raises(StoreUnusable, match="refuses the credentials") as caught:
            act()
        assert "\n" not in str(caught.value)
        assert "planted" not in every_word(caught.value)


def test_a_server_that_is_away_is_an_error_in_a_sentence(s3: Cloud) -> None:
    store = s3.store()
    store.create("name", (b"kept",))
    s3.kill()
    try:
        for act in (lambda: store.create("other", (b"x",)), lambda: store.list(), lambda: store.size("name")):
            with pytest.raises(StoreError, match="is it reachable") as caught:
                act()
            assert "\n" not in str(caught.value)
            assert s3.server.secret_key not in every_word(caught.value)
    finally:
        s3.start()
    assert stores.read(store, "name") == b"kept"


def test_an_upload_that_the_server_did_not_survive_leaves_no_object(s3: Cloud) -> None:
    store = s3.store()

    def cut_off() -> Iterator[bytes]:
        for number in range(40):
            if number == 30:
                s3.kill()
            yield os.urandom(1 << 20)

    try:
        with pytest.raises(BackupError):
            store.create("objects/large", cut_off())
    finally:
        s3.start()
    assert store.list() == ()
    assert store.size("objects/large") is None
    assert store.create("objects/large", (b"whole",)) == 5


def test_more_objects_than_a_page_of_the_listing_are_all_listed(s3: Cloud) -> None:
    store = s3.store()
    for number in range(1005):
        store.create(f"log/{number:05d}", (b"x",))
    assert len(store.list("log/")) == 1005
    assert [one.name for one in store.list("log/0100")] == [f"log/{number:05d}" for number in range(1000, 1005)]


HOLDER = """
import sys, time
from backups.addresses import store_at
with store_at(sys.argv[1]).exclusive("a backup that never ends"):
    print("held", flush=True)
    time.sleep(600)
"""


@pytest.fixture
def holder(s3: Cloud) -> Iterator[tuple[str, subprocess.Popen[str]]]:
    """A store that another process holds."""
    address = s3.address()
    process = subprocess.Popen([sys.executable, "-c", HOLDER, address], cwd=ROOT, stdout=subprocess.PIPE, text=True)
    with process:
        assert process.stdout is not None
        assert process.stdout.readline() == "held\n"
        yield address, process
        process.kill()


def test_a_second_writer_is_told_who_holds_the_store_and_since_when(holder: tuple[str, subprocess.Popen[str]]) -> None:
    address, process = holder
    with pytest.raises(Locked, match=rf"process {process.pid} on .*, since 20.*a backup that never ends"):
        with store_at(address).exclusive("backup"):
            pass


def test_a_holder_that_was_killed_blocks_nobody(holder: tuple[str, subprocess.Popen[str]]) -> None:
    address, process = holder
    process.send_signal(signal.SIGKILL)
    process.wait()
    with store_at(address).exclusive("backup"):
        pass


def test_a_lock_of_this_process_is_a_lock(s3: Cloud) -> None:
    store = s3.store(lease_s=0.3)
    with store.exclusive("first"), pytest.raises(Locked), store.exclusive("second"):
        pass


def test_conditions_are_the_servers_own(s3: Cloud) -> None:
    """What locks stand on: new only if it is new, and another version only in place of the one that was read."""
    store = s3.store()
    first = store.put_new(".lock", b"one")
    with pytest.raises(NameTaken):
        store.put_new(".lock", b"two")
    second = store.replace(".lock", b"two", first.version)
    with pytest.raises(NameTaken):
        store.replace(".lock", b"three", first.version)
    assert store.look(".lock").content == b"two"
    store.remove(".lock")
    with pytest.raises(NameTaken):
        store.replace(".lock", b"four", second.version)


@pytest.mark.parametrize(
    ("address", "said"),
    [
        ("s3://", "names no bucket"),
        ("s3://user:planted@bucket/x", "holds a password"),
        ("s3://bucket/x?secret=planted", "does not know secret"),
        ("ftp://host/x", "not known"),
    ],
)
def test_an_address_that_makes_no_sense_is_refused_in_a_sentence(address: str, said: str) -> None:
    with pytest.raises(StoreUnusable, match=said) as caught:
        store_at(address)
    assert "planted" not in str(caught.value)


def test_the_same_store_twice_is_no_second_copy(tmp_path: Path) -> None:
    with pytest.raises(StoreUnusable, match="not all different"):
        stores_at([str(tmp_path), str(tmp_path)], make=True)


@pytest.mark.parametrize("address", ["gs://bucket/prefix", "az://container/prefix?account=somebody"])
def test_other_clouds_have_addresses_too(address: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Only their addresses: no server of theirs is here to talk to."""
    monkeypatch.setenv("GOOGLE_SKIP_SIGNATURE", "true")
    monkeypatch.setenv("AZURE_SKIP_SIGNATURE", "true")
    assert store_at(address).address == address

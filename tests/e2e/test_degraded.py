"""The running service with a part of it away: each degraded mode entered by its cause, told, and left by its end."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from chaos.fault import make
from ci.cluster import Cluster
from ci.stand import Stand, standing
from tests.e2e.caller import Caller, Reply, players, survived, until

pytestmark = pytest.mark.processes


def health(stand: Stand, question: str = "") -> tuple[int, Any]:
    """Status and body of readiness."""
    status, body = stand.get(f"/health/ready{question}")
    return status, json.loads(body) if body else {}


def modes(stand: Stand) -> dict[str, str]:
    found: dict[str, str] = health(stand)[1].get("modes", {})
    return found


def edit(user: Caller) -> Reply:
    return user.write("PATCH", "/users/me", {"bio": "still here"})


def gauge(stand: Stand, mode: str) -> bool:
    return f'gymkhana_degraded{{mode="{mode}"}} 1.0' in stand.get("/metrics")[1].decode()


def it_is_read_only(stand: Stand, reason: str) -> None:
    """Writes are refused and say why, reads go on, and whoever asks is told."""
    user = players(stand)[0]
    refused: list[str] = []

    def told() -> bool:
        reply = edit(user)
        if reply.status == 200:
            return False
        assert (reply.status, reply.code, reply.headers["outcome"]) == (503, "read-only", "not-applied")
        assert reply.headers["retry-after"].isdigit()
        refused.append(reply.operation)
        return reason in reply.json["detail"]

    until(told, f"writes are refused: {reason}")
    assert user.get("/users/me").status == 200
    status, body = health(stand)
    assert (status, body["status"]) == (503, "fail")
    assert reason in body["modes"]["read-only"]
    status, body = health(stand, "?accept=read-only")
    assert (status, body["status"]) == (200, "warn")
    assert gauge(stand, "read-only")
    assert survived(stand) & set(refused) == set()


def it_is_whole(stand: Stand) -> None:
    """By itself, before anybody asks it to be."""
    until(lambda: edit(players(stand)[0]).status == 200, "writes are taken again")
    until(lambda: health(stand)[1].get("status") == "pass", "the service is ready again")
    assert modes(stand) == {}
    assert not gauge(stand, "read-only")


@pytest.fixture
def on_a_small_disk(built: Stand, tmp_path: Path) -> Iterator[Stand]:
    """A serving stand whose database has a disk of its own, of eight megabytes."""
    stand = Stand(shutil.copytree(built.directory, tmp_path / "own"))
    place = stand.database.parent
    kept = place.with_name("kept")
    place.rename(kept)
    place.mkdir()
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=8m", "tmpfs", place], capture_output=True, check=False
    )
    if mounted.returncode != 0:
        pytest.skip(f"a disk of its own needs the right to mount: {mounted.stderr.decode().strip()}")
    try:
        shutil.copytree(kept, place, dirs_exist_ok=True)
        with standing(stand):
            stand.start()
            stand.wait_ready()
            yield stand
    finally:
        subprocess.run(["umount", "--lazy", place], check=True)


def fill(path: Path) -> None:
    """Nothing more fits on the disk of that file."""
    with path.open("wb", buffering=0) as file:
        for size in (65_536, 4_096, 1):
            try:
                while True:
                    file.write(b"x" * size)
            except OSError:
                continue


def test_a_full_disk_makes_it_read_only_until_there_is_room(on_a_small_disk: Stand) -> None:
    filler = on_a_small_disk.database.with_name("filler")
    fill(filler)
    it_is_read_only(on_a_small_disk, "The disk is full.")
    filler.unlink()
    it_is_whole(on_a_small_disk)


def test_a_writer_that_hangs_up_makes_it_read_only_until_it_is_back(serving: Stand) -> None:
    """The supervisor is held still, so that it cannot start another writer before anybody has looked."""
    supervisor = int(serving.processes()["supervisor"]["pid"])
    os.kill(supervisor, signal.SIGSTOP)
    try:
        os.kill(int(serving.processes()["writer"]["pid"]), signal.SIGKILL)
        until(lambda: "read-only" in modes(serving), "the mode is told without a write being tried")
        it_is_read_only(serving, "The database writer is being restarted.")
    finally:
        os.kill(supervisor, signal.SIGCONT)
    it_is_whole(serving)


@pytest.fixture
def serving(fresh: Stand) -> Stand:
    """A serving stand of the test's own."""
    fresh.start()
    fresh.wait_ready()
    return fresh


@pytest.fixture(scope="module")
def on_a_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stand]:
    """A serving stand of a PostgreSQL server."""
    directory = tmp_path_factory.mktemp("degraded") / "stand"
    directory.mkdir()
    with standing(Stand(directory, cluster=Cluster(directory / "pg"))) as stand:
        stand.build(users=6, tournaments=1, matches=1, seed=3)
        stand.start()
        stand.wait_ready()
        yield stand


def ordered(stand: Stand, order: str) -> None:
    """The server's operator has said so, and the server has heard it."""
    assert stand.cluster is not None
    with stand.cluster.server.connect("postgres") as connection:
        connection.execute(f"ALTER SYSTEM {order}")
        connection.execute("SELECT pg_reload_conf()")


def test_a_server_made_read_only_makes_it_read_only_until_that_is_over(on_a_server: Stand) -> None:
    ordered(on_a_server, "SET default_transaction_read_only = on")
    it_is_read_only(on_a_server, "it is read-only or in recovery")
    ordered(on_a_server, "RESET default_transaction_read_only")
    it_is_whole(on_a_server)


def challenge(stand: Stand) -> Reply:
    one, other = players(stand)[:2]
    return one.post("/challenges", {"opponent_id": other.id, "stake": 1, "title": "Once more"})


def others_serve(stand: Stand) -> None:
    user = players(stand)[0]
    assert edit(user).status == 200
    assert {user.get(path).status for path in ("/users/me", "/tournaments", "/notifications")} == {200}


def off(stand: Stand) -> bool:
    return "challenges-off" in modes(stand)


def test_a_domain_turned_off_by_a_file_is_refused_while_the_others_serve(serving: Stand) -> None:
    place = serving.runtime / "off" / "challenges"
    place.parent.mkdir()
    place.write_text("The stakes are being looked at.")
    until(lambda: off(serving), "the domain is off")
    for reply in (challenge(serving), players(serving)[0].get("/challenges")):
        assert (reply.status, reply.code, reply.headers["outcome"]) == (503, "domain-off", "not-applied")
        assert "The stakes are being looked at." in reply.json["detail"]
    others_serve(serving)
    status, body = health(serving)
    assert (status, body["status"], list(body["modes"])) == (200, "warn", ["challenges-off"])
    assert gauge(serving, "challenges-off")
    place.unlink()
    until(lambda: challenge(serving).status == 201, "the domain is on again")
    until(lambda: not off(serving), "and is told to be")


def test_a_domain_whose_jobs_keep_failing_is_turned_off_and_on_again_by_itself(serving: Stand) -> None:
    with make("fail-in-transaction", seed=1, rate="1", seconds="60", domains="challenges").inject(serving.target()):
        told: list[tuple[int, str]] = []

        def turned_off() -> bool:
            others_serve(serving)
            reply = challenge(serving)
            told.append((reply.status, reply.code))
            return told[-1] == (503, "domain-off")

        until(turned_off, "the domain is off")
        assert set(told) == {(503, "job-failed"), (503, "domain-off")}
        assert off(serving)
        others_serve(serving)
        assert health(serving)[1]["status"] == "warn"
    until(lambda: challenge(serving).status == 201, "the domain is tried and works")
    _ask_until(lambda: challenge(serving), lambda: not off(serving), "the domain is on again")


def _ask_until(ask: Callable[[], object], done: Callable[[], bool], what: str) -> None:
    def asked() -> bool:
        ask()
        time.sleep(0.05)
        return done()

    until(asked, what)

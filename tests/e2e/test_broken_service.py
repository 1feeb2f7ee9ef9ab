"""The running service when its processes or its database are taken away: it says so in time and lies about nothing."""

from __future__ import annotations

import http.client
import os
import shutil
import signal
import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from ci.stand import Stand
from tests.e2e.caller import PASSWORD, Caller, Reply, new_name, new_operation, players, survived, until

pytestmark = pytest.mark.processes

NOTICED_S = 5.0
WRITERS = 20


@pytest.fixture
def serving(fresh: Stand) -> Stand:
    """A serving stand of the test's own."""
    fresh.start()
    fresh.wait_ready()
    return fresh


def edit(user: Caller) -> Reply:
    return user.write("PATCH", "/users/me", {"bio": "still here"})


def kill(stand: Stand, name: str) -> int:
    pid = int(stand.processes()[name]["pid"])
    os.kill(pid, signal.SIGKILL)
    return pid


def test_a_killed_writer_is_started_again_and_nothing_acknowledged_is_lost(serving: Stand) -> None:
    user = players(serving)[0]
    acknowledged = {edit(user).operation for _ in range(20)}
    old = kill(serving, "writer")
    refused = []

    def writes_again() -> bool:
        reply = edit(user)
        if reply.status == 200:
            acknowledged.add(reply.operation)
            return True
        assert reply.status == 503
        assert reply.headers["retry-after"] == "1"
        if reply.headers["outcome"] == "not-applied":
            refused.append(reply.operation)
        return False

    until(writes_again, "writes are taken again")
    assert refused, "no write met the gap, so it proved nothing"
    serving.wait_ready()
    assert sorted(serving.processes_alive()) == ["http", "supervisor", "writer"]
    assert int(serving.processes()["writer"]["pid"]) != old
    there = survived(serving)
    assert acknowledged - there == set()
    assert there & set(refused) == set()


def test_a_killed_writer_under_load_loses_nothing_it_acknowledged(serving: Stand) -> None:
    stop = threading.Event()

    def write(user: Caller) -> list[Reply]:
        replies = []
        while not stop.is_set():
            replies.append(edit(user))
        return replies

    with ThreadPoolExecutor(WRITERS) as pool:
        writing = [pool.submit(write, players(serving)[n % 6]) for n in range(WRITERS)]
        until(lambda: len(survived(serving)) > 50, "writes are under way")
        kill(serving, "writer")
        until(lambda: serving.ready(), "the service is ready again")
        stop.set()
        replies = [reply for one in writing for reply in one.result(30)]
    assert {reply.status for reply in replies} == {200, 503}
    there = survived(serving)
    assert {reply.operation for reply in replies if reply.status == 200} - there == set()
    assert {reply.operation for reply in replies if reply.headers.get("outcome") == "not-applied"} & there == set()


def test_a_killed_http_process_is_started_again(serving: Stand) -> None:
    kill(serving, "http")
    until(lambda: serving.ready(), "the service is ready again")
    assert edit(players(serving)[0]).status == 200


def test_nothing_outlives_a_killed_supervisor(serving: Stand) -> None:
    assert sorted(serving.processes_alive()) == ["http", "supervisor", "writer"]
    kill(serving, "supervisor")
    until(lambda: serving.processes_alive() == [], "every process is gone")
    serving.kill()  # nothing is left to kill: it only collects the supervisor's exit status
    serving.start()
    serving.wait_ready()
    assert edit(players(serving)[0]).status == 200


def _delete(database: Path) -> None:
    for path in database.parent.glob(f"{database.name}*"):
        path.unlink()


def _delete_main(database: Path) -> None:
    database.unlink()


def _replace(database: Path) -> None:
    other = database.with_suffix(".other")
    shutil.copyfile(database, other)
    other.replace(database)


def _truncate(database: Path) -> None:
    os.truncate(database, 0)


def _shorten(database: Path) -> None:
    os.truncate(database, database.stat().st_size // 2)


def _overwrite(database: Path) -> None:
    with database.open("r+b") as file:
        file.write(os.urandom(database.stat().st_size))


LOSSES: list[Callable[[Path], None]] = [_delete, _delete_main, _replace, _truncate, _shorten, _overwrite]


@pytest.mark.parametrize("lose", LOSSES, ids=lambda lose: lose.__name__.strip("_"))
def test_a_lost_database_is_noticed_and_nothing_is_acknowledged_after(
    lose: Callable[[Path], None], serving: Stand
) -> None:
    user = players(serving)[0]
    assert edit(user).status == 200
    lose(serving.database)
    until(lambda: serving.get("/health/ready")[0] == 503, "the service says that it is not ready", NOTICED_S)
    late = [edit(user) for _ in range(5)]
    late.append(Caller(serving).post("/users", {"name": new_name(), "password": PASSWORD}))
    for reply in late:
        assert (reply.status, reply.code, reply.headers["outcome"]) == (503, "database-fenced", "not-applied")
    assert user.get("/users/me").status == 503
    assert serving.get("/health/live")[0] == 200
    page = Caller(serving).get("/metrics").body.decode()
    assert "\ngymkhana_ready 0.0\n" in page


def test_no_write_is_acknowledged_into_a_deleted_file(serving: Stand) -> None:
    """Everyone writes without a pause while the file goes; whatever was sent after it was gone gets no 2xx."""
    gone = threading.Event()
    late: list[Reply] = []

    def write(user: Caller) -> None:
        while len(late) < 100:
            sent_after = gone.is_set()
            reply = edit(user)
            if sent_after:
                late.append(reply)

    with ThreadPoolExecutor(WRITERS) as pool:
        writing = [pool.submit(write, players(serving)[n % 6]) for n in range(WRITERS)]
        until(lambda: len(survived(serving)) > 50, "writes are under way")
        serving.database.unlink()
        gone.set()
        for one in writing:
            one.result(30)
    assert {reply.status for reply in late} == {503}


def test_sigterm_under_load_answers_what_was_accepted(serving: Stand) -> None:
    """Every request is answered, or its connection ended without a byte of an answer and nothing of it was applied."""
    answered: list[Reply] = []
    ended: list[str] = []
    down = threading.Event()

    def write(user: Caller) -> None:
        while not down.is_set():
            operation = new_operation(serving)
            try:
                answered.append(user.write("PATCH", "/users/me", {"bio": "busy"}, operation))
            except (ConnectionError, http.client.RemoteDisconnected):
                ended.append(operation)
                return

    with ThreadPoolExecutor(WRITERS) as pool:
        writing = [pool.submit(write, players(serving)[n % 6]) for n in range(WRITERS)]
        until(lambda: len(answered) > 200, "writes are under way")
        began = time.monotonic()
        code = serving.stop()
        down.set()
        for one in writing:
            one.result(30)
    assert code == 0
    assert time.monotonic() - began < 10
    assert serving.processes_alive() == []
    there = survived(serving)
    assert {reply.status for reply in answered} <= {200, 503}
    assert {reply.operation for reply in answered if reply.status == 200} == there
    assert there & set(ended) == set()


def test_what_was_acknowledged_before_a_stop_is_there_after_a_start(serving: Stand) -> None:
    user = players(serving)[0]
    first = edit(user)
    assert serving.stop() == 0
    assert not serving.database.with_name(f"{serving.database.name}-wal").exists()
    serving.start()
    serving.wait_ready()
    again = user.write("PATCH", "/users/me", {"bio": "still here"}, first.operation)
    assert (again.status, again.headers["operation-replayed"]) == (200, "true")

"""Several HTTP processes on one port: each answers, one page tells of all, and one that dies is started again."""

from __future__ import annotations

import http.client
import os
import re
import signal

import pytest

from ci.loopback import HOST
from ci.stand import Stand
from tests.e2e.caller import players, until

pytestmark = pytest.mark.processes

CALLS = 60


@pytest.fixture
def serving(fresh: Stand) -> Stand:
    """A serving stand with two HTTP processes."""
    fresh.environment["GYM_WORKERS"] = "2"
    fresh.start()
    fresh.wait_ready()
    until(lambda: {"http", "http-2"} <= set(fresh.processes()) and len(alone(fresh)) == 2, "both run")
    return fresh


def page(stand: Stand) -> str:
    status, body = stand.get("/metrics")
    assert status == 200
    return body.decode()


def counted(stand: Stand) -> float:
    """How many requests for profiles the page tells of."""
    found = re.findall(r'^gymkhana_requests_total{.*route="/users/me".*} (\S+)$', page(stand), re.MULTILINE)
    return sum(map(float, found))


def alone(stand: Stand) -> list[str]:
    """What each process left for the other."""
    return [path.read_text("utf-8") for path in (stand.runtime / "metrics").glob("[0-9]*")]


def call(stand: Stand, token: str) -> int:
    """One request on a connection of its own, which the kernel deals to either process."""
    connection = http.client.HTTPConnection(HOST, stand.port, timeout=5)
    try:
        connection.request("GET", "/users/me", headers={"Authorization": f"Bearer {token}"})
        return connection.getresponse().status
    finally:
        connection.close()


def test_both_answer_and_one_page_tells_of_both(serving: Stand) -> None:
    token = players(serving)[0].token
    made = 0

    def both_were_asked() -> bool:
        nonlocal made
        assert {call(serving, token) for _ in range(CALLS)} == {200}
        made += CALLS
        return all('route="/users/me"' in one for one in alone(serving))

    until(both_were_asked, "the kernel deals connections to both")
    until(lambda: counted(serving) == made, "the page tells of all")
    assert 'gymkhana_memory_bytes{process="http-2"}' in page(serving)


def test_one_that_dies_is_started_again_and_the_other_goes_on(serving: Stand) -> None:
    token = players(serving)[0].token
    old = int(serving.processes()["http-2"]["pid"])
    os.kill(old, signal.SIGKILL)
    until(lambda: int(serving.processes().get("http-2", {}).get("pid", old)) != old, "it is started again")
    until(lambda: {call(serving, token) for _ in range(10)} == {200}, "both answer")


def test_the_end_is_clean_for_all_of_them(serving: Stand) -> None:
    assert serving.stop() == 0
    assert serving.processes_alive() == []

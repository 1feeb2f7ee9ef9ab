"""The reference server in a process of its own: its answers, and its latencies against its law."""

from __future__ import annotations

import http.client
import json
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from loadtests import population
from loadtests.errors import ToolError
from loadtests.law import laws
from loadtests.percentiles import percentile
from loadtests.population import Population
from loadtests.reference import HOST
from loadtests.reference_process import Reference, serving
from loadtests.scenario import GYM_DAY, Scenario
from loadtests.witness import Witness

pytestmark = pytest.mark.processes

SEED = 11


@pytest.fixture
def people_file(people: Population, tmp_path: Path) -> Path:
    population.write(people, tmp_path / "people.json")
    return tmp_path / "people.json"


@pytest.fixture
def reference(people_file: Path, tmp_path: Path) -> Iterator[Reference]:
    with serving(GYM_DAY, people_file, SEED, tmp_path / "log") as running:
        yield running


@pytest.fixture
def connection(reference: Reference) -> Iterator[http.client.HTTPConnection]:
    found = http.client.HTTPConnection(HOST, reference.port, timeout=5)
    yield found
    found.close()


def ask(connection: http.client.HTTPConnection, method: str, path: str, user: int = 7) -> http.client.HTTPResponse:
    headers = {"Authorization": f"Bearer token-{user}"} | ({} if method == "GET" else {"Operation-Id": "R.1.1"})
    connection.request(method, path, None if method == "GET" else b"{}", headers)
    return connection.getresponse()


def test_an_answer_teaches_what_the_scenario_learns(connection: http.client.HTTPConnection) -> None:
    """A challenge that is issued to whoever asks, and a notification, each with an id of its own."""
    found = json.load(ask(connection, "GET", "/challenges?state=issued&limit=20", user=3))
    assert found == {"challenges": [{"opponent_id": 3, "state": "issued", "id": 1}]}
    assert json.load(ask(connection, "GET", "/notifications?unread=true&limit=20")) == {"notifications": [{"id": 2}]}


def test_a_write_is_acknowledged_as_the_ledger_wants_it(connection: http.client.HTTPConnection) -> None:
    answer = ask(connection, "POST", "/matches/5/events")
    answer.read()
    assert answer.status == 201
    assert (answer.headers["Commit-Sequence"], len(answer.headers["Effect-Digest"])) == ("1", 32)


def test_the_route_without_holes_comes_first(connection: http.client.HTTPConnection, gym_day: Scenario) -> None:
    """`/users/me` could be `/users/{other}`: by the database's share of their latencies they are told apart."""
    known = laws(gym_day, SEED)
    for path, flow in (("/users/me", "profile"), ("/users/9", "player")):
        answer = ask(connection, "GET", path)
        answer.read()
        told = float(answer.headers["Server-Timing"].removeprefix("db;dur="))
        assert told == pytest.approx(next(known[flow].draws_ms()) / 2, abs=0.001)


def test_what_is_no_route_of_the_scenario_is_not_found(connection: http.client.HTTPConnection) -> None:
    assert ask(connection, "GET", "/metrics").status == 404


def test_latencies_are_those_of_the_law_beside_what_the_machine_adds(reference: Reference, gym_day: Scenario) -> None:
    """The median of 40 is the law's, to within what a witness says the machine added meanwhile."""
    took = []
    http_ = http.client.HTTPConnection(HOST, reference.port, timeout=5)
    with Witness(reference.port) as witness:
        for _ in range(40):
            began = time.monotonic()
            ask(http_, "GET", "/users/me").read()
            took.append((time.monotonic() - began) * 1000)
    http_.close()
    median_ms = laws(gym_day, SEED)["profile"].quantile_ms(0.5)
    assert witness.excess_ms(95) > 0
    assert median_ms * 0.97 <= percentile(sorted(took), 50) <= median_ms * 1.03 + witness.excess_ms(95) + 1


def test_a_witness_without_a_server_knows_of_nothing() -> None:
    with Witness(9) as witness:
        pass
    assert witness.excess_ms(95) == 0.0


def test_a_server_that_cannot_start_is_an_error(tmp_path: Path) -> None:
    with (
        pytest.raises(ToolError, match="did not start"),
        serving(GYM_DAY, tmp_path / "nobody.json", SEED, tmp_path / "log"),
    ):
        pytest.fail("it must not be entered")

"""What the ledger costs a load: one client writes as fast as it can, by turns with a ledger and without, in one run."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from ci.stand import Stand, standing
from loadtests import population
from tests.bench.conftest import Report
from tests.bench.figures import at_most, plain
from tests.loadtests.stub import Stub

pytestmark = pytest.mark.benchmark_only

CLIENT = """
import json, os, pathlib, sys, time
from geventhttpclient import HTTPClient
from loadtests.ledger import Done, Invoke, LedgerWriter
class Silent:
    def write(self, line): pass
client = HTTPClient.from_url(sys.argv[1], concurrency=1)
kinds = {"with": LedgerWriter(pathlib.Path(sys.argv[2]), "R", "bench"), "without": Silent()}
headers = {"Authorization": f"Bearer {sys.argv[3]}", "Content-Type": "application/json"}
def block(ledger, first):
    began = time.perf_counter()
    for number in range(first, first + 50):
        t, op = time.monotonic(), f"R.{number}"
        ledger.write(Invoke(op=op, flow="edit-profile", user=1, t=t))
        response = client.request("PATCH", "/users/me", b'{"bio":"x"}', headers | {"Operation-Id": op})
        response.read()
        assert response.status_code == 200, response.status_code
        told = response.info()
        ledger.write(Done(op=op, flow="edit-profile", user=1, t=t, d=time.monotonic() - t, status=200, outcome="ok",
                          write=True, digest=told.get("effect-digest"), seq=number, db=1.5, lag=0.1))
    return 50 / (time.perf_counter() - began)
rates = {kind: [] for kind in kinds}
block(kinds["without"], 0)
for pair in range(1, 121):
    order = list(kinds) if pair % 2 else list(kinds)[::-1]
    for turn, kind in enumerate(order):
        rates[kind].append(block(kinds[kind], pair * 1000 + turn * 500))
print(json.dumps(rates))
"""
"""Blocks of fifty writes by turns: what else the machine does falls on both alike."""


@pytest.fixture
def stub(tmp_path: Path) -> Iterator[Stub]:
    service = Stub(tmp_path / "applied")
    service.start()
    yield service
    service.kill()


def _rates(url: str, token: str, directory: Path) -> list[tuple[float, float]]:
    """120 pairs of blocks: writes a second with a ledger, and without."""
    command = [sys.executable, "-c", CLIENT, url, str(directory / "bench.jsonl"), token]
    said = subprocess.run(command, check=True, capture_output=True, text=True, timeout=110).stdout
    rates = json.loads(said)
    return list(zip(rates["with"], rates["without"], strict=True))


def test_throughput_with_a_ledger_and_without(tmp_path: Path, report: Report) -> None:
    """The median of what 120 pairs of blocks show, on the service itself."""
    with standing(Stand(tmp_path / "stand")) as stand:
        stand.build(users=4, tournaments=1, matches=1, seed=1)
        stand.start()
        stand.wait_ready()
        pairs = _rates(stand.url, population.read(stand.population).users[0].token, tmp_path)
    assert len(pairs) == 120
    report(plain("writes without a ledger", [off for _, off in pairs], "1/s"))
    report(at_most("throughput the ledger takes", [(1 - on / off) * 100 for on, off in pairs], "%", 3))


def test_what_two_lines_cost_where_nothing_else_does(stub: Stub, tmp_path: Path, report: Report) -> None:
    """The same beside a service that does nothing: the seconds of each write that are the ledger's."""
    pairs = _rates(stub.url, "token-1", tmp_path)
    report(plain("writes to a stub without a ledger", [off for _, off in pairs], "1/s"))
    report(plain("a write's two lines", [(1 / on - 1 / off) * 1e6 for on, off in pairs], "us"))

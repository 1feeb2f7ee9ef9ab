"""The running service when four times what it can do is asked of it: it serves, refuses in order, and tells how it is."""

from __future__ import annotations

import asyncio
import re
from collections import Counter

import pytest

from ci.loopback import HOST
from ci.stand import Stand
from system.admission import FIRST
from tests.bench.overload.arrivals import Answered, Connections, play, poisson
from tests.bench.overload.goodput import asking, requests_of, slow
from tests.e2e.caller import survived, until

pytestmark = pytest.mark.processes

VISIT_MS = 20.0
PER_SECOND = 4 * 1000 / VISIT_MS
SECONDS = 5.0


@pytest.fixture
def slowed(fresh: Stand) -> Stand:
    """A serving stand that answers fifty reads in a second, by design."""
    slow(fresh, VISIT_MS)
    fresh.start()
    fresh.wait_ready()
    return fresh


async def flood(stand: Stand) -> tuple[list[Answered], list[float]]:
    """How everything ended, and how long health and metrics took meanwhile."""
    connections = Connections(HOST, stand.port)
    async with asking(stand) as health:
        told = await play(connections, poisson(PER_SECOND, SECONDS, requests_of(stand), stand.run))
    await connections.close()
    return told, health


def test_everything_is_served_or_refused_as_it_should_be_and_health_is_answered(slowed: Stand) -> None:
    told, health = asyncio.run(flood(slowed))
    served = [one for one in told if 200 <= one.status < 300]
    refused = [one for one in told if one.refused]
    assert len(served) + len(refused) == len(told), Counter(one.status for one in told)
    assert len(served) > 20
    assert len(refused) > len(told) / 4
    assert len({one.headers["retry-after"] for one in refused}) > 1, "they would all come back at once"
    assert len(health) > 3
    assert float("inf") not in health
    page = slowed.get("/metrics")[1].decode()
    assert 'gymkhana_lane_shed_total{domain="users",lane="edge",reason="queue-too-long"}' in page
    (limit,) = re.findall(r'^gymkhana_admission_limit\{lane="read"\} (\S+)$', page, re.MULTILINE)
    assert float(limit) < FIRST
    until(slowed.ready, "ready again")


def test_no_refused_write_is_applied_and_every_acknowledged_one_is(slowed: Stand) -> None:
    writes = [one for one in requests_of(slowed) if one.startswith(b"PATCH")]

    async def write() -> list[Answered]:
        connections = Connections(HOST, slowed.port)
        told = await play(connections, poisson(PER_SECOND, SECONDS, writes, slowed.run))
        await connections.close()
        return told

    told = asyncio.run(write())
    applied = {f"{slowed.run}.{number}" for number, one in enumerate(told) if one.status == 200}
    assert 0 < len(applied) < len(told)
    assert survived(slowed) == applied

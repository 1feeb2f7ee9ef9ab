"""The service while its PostgreSQL server is broken: which requests it carries through, and what it says of the rest.

Whatever the fault: an acknowledged write is there afterwards, a refused one is not, an unknown one is resolved by asking,
and the service is ready again by itself.
"""

from __future__ import annotations

import http.client
import itertools
import threading
import time
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

import pytest

from chaos.fault import FAULTS, make
from ci import aftermath
from ci.cluster import Cluster
from ci.stand import Stand, standing
from loadtests.ledger import Outcome, outcome
from tests.e2e.caller import Caller, players, until

pytestmark = pytest.mark.processes

READY_WITHIN_S = 30.0
_NUMBERS = itertools.count(1)


@pytest.fixture(scope="module")
def stand(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stand]:
    """A service before a PostgreSQL server, with a proxy between them."""
    directory = tmp_path_factory.mktemp("faults") / "stand"
    directory.mkdir()
    with standing(Stand(directory, cluster=Cluster(directory / "pg", has_proxy=True))) as stand:
        stand.build(users=9, tournaments=1, matches=1, seed=3)
        stand.start()
        stand.wait_ready()
        yield stand


@dataclass
class Crew:
    """Eight users who write without a pause, half of them to their profiles, half of them challenges with a stake."""

    stand: Stand
    told: list[tuple[Caller, str, str, Outcome]] = field(default_factory=list)
    why: Counter[str] = field(default_factory=Counter)
    """What the service said of the writes that it did not carry through."""
    _ended: threading.Event = field(default_factory=threading.Event)
    _threads: list[threading.Thread] = field(default_factory=list)

    def __enter__(self) -> Crew:
        everyone = players(self.stand)
        for number, one in enumerate(everyone[:8]):
            domain = "users" if number % 2 else "challenges"
            self._threads.append(threading.Thread(target=self._work, args=(one, domain, everyone[8].id)))
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._ended.set()
        for thread in self._threads:
            thread.join()

    def counted(self, domain: str = "") -> Counter[Outcome]:
        """How the writes of that domain ended, or all of them."""
        return Counter(how for _, of, _, how in self.told if domain in ("", of))

    def _work(self, one: Caller, domain: str, rival: int) -> None:
        while not self._ended.is_set():
            method, path, body = _write(domain, rival)
            op = f"{self.stand.run}.crew.{next(_NUMBERS)}"
            try:
                reply = one.write(method, path, body, op)
                how = outcome(reply.status, reply.headers)
                if how != "ok":
                    self.why[f"{reply.status} {reply.code}"] += 1
            except (OSError, http.client.HTTPException) as error:
                how = "unknown"
                self.why[repr(error)] += 1
            self.told.append((one, domain, op, how))
            self._ended.wait(0.01)


def _write(domain: str, rival: int) -> tuple[str, str, Any]:
    if domain == "users":
        return "PATCH", "/users/me", {"bio": f"Still here, {time.monotonic()}."}
    return "POST", "/challenges", {"opponent_id": rival, "stake": 1, "title": "Once more"}


@dataclass(frozen=True)
class Case:
    """A fault, how long it acts, and of which domains every write is carried through while it does."""

    fault: str
    parameters: dict[str, Any] = field(default_factory=dict)
    seconds: float = 2.0
    carried: tuple[str, ...] = ()


EVERYTHING = ("users", "challenges")
CASES = (
    Case("latency", {"ms": 20.0}, carried=EVERYTHING),
    Case("terminate-backends", {"per_second": 20.0, "seconds": 2.0}, carried=EVERYTHING),
    Case("cancel-statements", {"per_second": 20.0, "seconds": 2.0}, carried=EVERYTHING),
    Case("deadlock-pairs", {"seconds": 3.0}, seconds=3.0, carried=EVERYTHING),
    Case("cut-after-commit", {"rate": 0.2}, carried=EVERYTHING),
    Case("exhaust-connections", {}, carried=EVERYTHING),
    Case("pause-postmaster", {"children": False}, carried=EVERYTHING),
    Case("hold-table-lock", {"table": "challenges"}, seconds=4.0, carried=("users",)),
    Case("idle-in-transaction", {"table": "challenges"}, seconds=4.0, carried=("users",)),
    Case("kill-backend"),
    Case("kill-postmaster"),
    Case("pause-postmaster", {"children": True}, seconds=4.0),
    Case("partition", {}, seconds=4.0),
)


@pytest.mark.parametrize("case", CASES, ids=[f"{case.fault}-{number}" for number, case in enumerate(CASES)])
def test_it_keeps_its_word_under(case: Case, stand: Stand) -> None:
    assert stand.cluster is not None
    with Crew(stand) as crew:
        until(lambda: crew.counted("users")["ok"] > 5 and crew.counted("challenges")["ok"] > 5, "the crew works")
        with make(case.fault, seed=1, **case.parameters).inject(stand.target()) as injection:
            time.sleep(case.seconds)
            assert injection.proof is not None, injection.why
        if case.fault == "kill-postmaster":
            stand.cluster.start(stand.companions)
        until(stand.ready, "ready again", READY_WITHIN_S)
        done = len(crew.told)
        until(lambda: Counter(told[3] for told in crew.told[done:])["ok"] > 20, "the crew works again")
    for domain in case.carried:
        assert set(crew.counted(domain)) == {"ok"}, crew.why
    for one, _, op, how in crew.told:
        found = one.get(f"/operations/{op}").status
        assert found == {"ok": 200, "refused": 404}.get(how, found)
        assert found in (200, 404)
    assert aftermath.look_at(stand.cluster).open == ()


def test_every_fault_of_a_server_that_heals_is_in_the_table() -> None:
    """Those that need a restore are played in drills."""
    of_servers = {name for name, place in FAULTS.items() if place.split(":")[0] in _FAMILIES}
    needs_restore = {"delete-data-directory", "delete-wal-segment", "corrupt-relation"}
    assert {case.fault for case in CASES} == of_servers - needs_restore


_FAMILIES = ("chaos.postgres", "chaos.server", "chaos.network")

"""Failpoints: armed as the service reads them, proven by the service's own lines, and without a line not proven."""

from __future__ import annotations

import time

import pytest

from chaos.errors import ChaosError
from chaos.fault import make
from system.failpoints import FAIL_IN_TRANSACTION, KILL_CONNECTIONS, Failpoints
from tests.chaos.stand import Stand, wait_until


@pytest.mark.parametrize("name", [KILL_CONNECTIONS, FAIL_IN_TRANSACTION])
def test_the_service_reads_what_is_armed(stand: Stand, name: str) -> None:
    """The names and the file are those of the service; hits are counted from the arming on."""
    points = Failpoints(stand.directory / "failpoints")
    (stand.directory / "failpoints" / f"{name}.hits.jsonl").write_text(
        '{"t":1,"name":"x","operation":"o","domain":"d"}\n'
    )
    fault = make(name, rate=1, max_hits=2, domains="users,challenges", seed=3)
    with fault.inject(stand.target) as injection:
        assert "has not hit" in injection.why, "an earlier hit is not proof of this one"
        began = time.monotonic()
        assert [points.hit(name, f"op-{n}", "users") for n in range(3)] == [True, True, False]
        assert not points.hit(name, "op", "tournaments")
        proof = injection.proof
        assert proof is not None
        assert proof.details == {"hits": 2, "domains": ["users"], "operations": ["op-0", "op-1"]}
        assert began <= proof.t_bite <= time.monotonic()
    assert not points.hit(name, "op", "users"), "disarmed"


def test_an_idle_service_gives_no_proof(stand: Stand) -> None:
    with make("fail-in-transaction", rate=1).inject(stand.target) as injection:
        assert injection.proof is None
        assert injection.why


def test_a_hit_that_is_being_written_does_not_count_yet(stand: Stand) -> None:
    with make("fail-in-transaction").inject(stand.target) as injection:
        with (stand.directory / "failpoints" / "fail-in-transaction.hits.jsonl").open("a") as hits:
            hits.write('{"t":1,"name":"x","opera')
            hits.flush()
            assert injection.proof is None
            hits.write('tion":"o","domain":"d"}\n')
            hits.flush()
            assert injection.proof is not None


def test_a_line_that_is_no_hit_is_no_proof(stand: Stand) -> None:
    with make("fail-in-transaction").inject(stand.target) as injection:
        (stand.directory / "failpoints" / "fail-in-transaction.hits.jsonl").write_text("bite!\n")
        with pytest.raises(ChaosError, match="not a hit"):
            _ = injection.proof


def test_the_service_keeps_every_acknowledged_row(serving: Stand) -> None:
    """Broken connections and failed jobs lose nothing that was acknowledged, and nothing half written stays."""
    for name in (KILL_CONNECTIONS, FAIL_IN_TRANSACTION):
        with make(name, rate=0.5, seconds=30).inject(serving.target) as injection:
            wait_until(lambda: (found := injection.proof) and found.details["hits"] > 5)
    serving.wait_for_work()
    acknowledged = set(serving.acknowledged())
    assert acknowledged <= serving.numbers()


def test_the_write_lock_that_others_keep_is_not_held(stand: Stand) -> None:
    """Two at once: the second never has it within its time, and says so."""
    with make("hold-write-lock", seconds=60).inject(stand.target) as first:
        assert first.proof is not None
        with make("hold-write-lock", seconds=0.3).inject(stand.target) as second:
            assert second.proof is None
            assert "others kept it" in second.why

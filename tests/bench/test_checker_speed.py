"""How long the checker takes over a long run."""

from __future__ import annotations

import pytest

from ci.checker import Survivor, check
from loadtests.history import History
from loadtests.ledger import Clock, Done, Invoke
from tests.bench.conftest import Report, Timed
from tests.bench.figures import at_most

pytestmark = pytest.mark.benchmark_only

WRITES = 50_000


def test_checking_a_long_history(timed: Timed, report: Report) -> None:
    ops = [f"r.{number % 1000}.{number}" for number in range(WRITES)]
    digest = "0" * 32
    history = History(
        clocks=(Clock(run="r", tool="bench", mono=0.0, wall=0.0, pid=1),),
        invokes=tuple(Invoke(op=op, flow="join", user=1, t=1.0) for op in ops),
        dones=tuple(
            Done(op=op, flow="join", user=1, t=1.0, d=0.1, status=201, outcome="ok", write=True, digest=digest, seq=n)
            for n, op in enumerate(ops)
        ),
        users=(),
        cut_short="",
    )
    survivors = [Survivor(op=op, run="r", seq=n, digest=digest, stored=digest, applied=1) for n, op in enumerate(ops)]
    findings = check(history, survivors[10:], None)
    assert (findings.acked, findings.lost) == (WRITES, tuple(ops[:10]))
    report(at_most("50 000 writes checked", timed(lambda: check(history, survivors[10:], None), 5), "s", 2))

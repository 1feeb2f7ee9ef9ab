"""What group commit is worth: durable writes per second, 64 to a commit against one, on the project's own disk."""

from __future__ import annotations

import itertools
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

import system.job_modules
from system import user_service
from system.batch import Batches
from system.database import Base, engine_for
from system.failpoints import Failpoints
from system.jobs import Job, Operation
from system.wire import Ask
from tests.bench.conftest import Report, Timed
from tests.bench.figures import at_least

assert system.job_modules

pytestmark = pytest.mark.benchmark_only

BATCH = 64
WRITES = 4 * BATCH
ROUNDS = 7

_numbers = itertools.count(1)


@pytest.fixture
def batches(bench: Path) -> Iterator[Batches]:
    """The real batch writer on an empty database."""
    with tempfile.TemporaryDirectory(dir=bench, prefix="lanes-") as directory:
        path = Path(directory) / "gym.db"
        engine = engine_for(f"sqlite:///{path}", writer=True)
        Base.metadata.create_all(engine)
        batches = Batches(engine, path, Failpoints(None), job_budget_s=30.0)
        yield batches
        batches.close()


def asked(job: Job, actor: int | None, *args: object) -> Ask:
    number = next(_numbers)
    operation = Operation(f"r.{number}", "r", actor, "", 1_700_000_000_000)
    return Ask(number, job.name, args, operation, time.monotonic() + 60)


def write(batches: Batches, size: int) -> float:
    """Durable writes per second with `size` of them sharing a commit."""
    asks = [asked(user_service.edit_profile, 1, None, f"Lifted {number}.") for number in range(WRITES)]
    began = time.perf_counter()
    answers = [answer for place in range(0, WRITES, size) for answer in batches.run(asks[place : place + size])]
    seconds = time.perf_counter() - began
    assert {(answer.status, answer.batch) for answer in answers} == {(200, size)}
    return WRITES / seconds


def test_group_commit(timed: Timed, batches: Batches, report: Report) -> None:
    (signed,) = batches.run([asked(user_service.sign_up, None, "lifter", "hash")])
    assert signed.status == 201
    alone: list[float] = []
    grouped: list[float] = []

    def both() -> None:
        alone.append(write(batches, 1))
        grouped.append(write(batches, BATCH))

    timed(both, ROUNDS)
    del alone[0], grouped[0]  # the warm-up
    report(at_least("one write to a commit", alone, "writes/s", 200))
    report(at_least(f"{BATCH} writes to a commit", grouped, "writes/s", 1_000))
    report(at_least("grouped to alone", [one / other for one, other in zip(grouped, alone, strict=True)], "x", 1.5))

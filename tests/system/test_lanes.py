"""The lanes: bounded, with deadlines, with a bulkhead per domain, and honest about what they cannot know."""

from __future__ import annotations

import asyncio
import socket
import threading
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import text

import system.models
from system import operations_service as operations
from system.batch import Batches
from system.database import Base, engine_for
from system.errors import Conflict, OutcomeUnknown, Unavailable
from system.failpoints import Failpoints
from system.jobs import Operation, Reply, write_job
from system.lanes import Lanes, Places
from system.metrics import REGISTRY
from system.reads import SqliteReads
from system.statements import Reader, Session
from system.wire import Answer
from system.writer import Writer, listen

assert system.models


@write_job("notes")
def note(session: Session, operation: Operation, value: int) -> Reply:
    operations.record(session, operation, "noted", value)
    return Reply(201, {"value": value})


@write_job("notes")
def refuse(session: Session, operation: Operation) -> Reply:
    raise Conflict("no", "Not this one.")


@pytest.fixture
def database(tmp_path: Path) -> Path:
    path = tmp_path / "gym.db"
    engine = engine_for(f"sqlite:///{path}", writer=True)
    Base.metadata.create_all(engine)
    engine.dispose()
    return path


class Bench:
    """A real writer on a real socket, in a thread of this process; `hold` keeps it from running its next batch."""

    def __init__(self, database: Path) -> None:
        self.database = database
        self.hold = threading.Event()
        self.hold.set()
        self.waiting = threading.Event()
        batches = Batches(engine_for(f"sqlite:///{database}", writer=True), database, Failpoints(None), 5.0)
        run = batches.run

        def held(asks: Any) -> list[Answer]:
            self.waiting.set()
            self.hold.wait(10)
            return run(asks)

        batches.run = held  # type: ignore[method-assign]
        self.batches = batches
        self.writer = Writer(batches, listen(database.parent), 64)
        self.thread = threading.Thread(target=self.writer.serve)

    def hang_up(self) -> None:
        """The clients' connections break, as when the process dies; the kernel does it, so any thread may ask."""
        for key in list(self.writer._selector.get_map().values()):
            if key.data is not None:
                key.data.connection.shutdown(socket.SHUT_RDWR)

    def __enter__(self) -> Bench:
        self.thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.hold.set()
        self.writer.stop()
        self.thread.join()
        self.writer.close()
        self.batches.close()


@pytest.fixture
def bench(database: Path) -> Iterator[Bench]:
    with Bench(database) as running:
        yield running


@asynccontextmanager
async def opened(database: Path, **changes: Any) -> AsyncIterator[Lanes]:
    limits: dict[str, Any] = {"read_places": 8, "write_places": 8, "read_deadline_s": 2.0, "write_deadline_s": 2.0}
    lanes = Lanes(SqliteReads(engine_for(f"sqlite:///{database}"), database), database.parent, **(limits | changes))
    await lanes.open()
    try:
        yield lanes
    finally:
        await lanes.close()


def operation(number: int = 0) -> Operation:
    return Operation(f"r.{number}", "r", 1, "", 1_000)


async def until(condition: Callable[[], Awaitable[bool]], timeout_s: float = 5.0) -> None:
    async with asyncio.timeout(timeout_s):
        while not await condition():
            await asyncio.sleep(0.005)


async def linked(lanes: Lanes) -> None:
    async def there() -> bool:
        return not lanes.writer_away

    await until(there)


def count(connection: Reader) -> int:
    return int(connection.execute(text("SELECT count(*) FROM activity")).scalar_one())


def test_a_write_is_committed_when_it_is_answered(bench: Bench) -> None:
    async def story() -> tuple[int, int]:
        async with opened(bench.database) as lanes:
            await linked(lanes)
            written = await lanes.write(note, 5, operation=operation())
            return written.status, await lanes.read("notes", count)

    assert asyncio.run(story()) == (201, 1)


def test_the_first_write_is_not_refused_for_coming_early(bench: Bench) -> None:
    async def story() -> int:
        async with opened(bench.database) as lanes:
            return (await lanes.write(note, 5, operation=operation())).status

    assert asyncio.run(story()) == 201


def test_they_open_without_a_writer(database: Path) -> None:
    async def story() -> bool:
        async with opened(database) as lanes:
            return lanes.writer_away

    assert asyncio.run(story())


def test_writes_that_wait_together_share_a_commit(bench: Bench) -> None:
    async def story() -> set[float]:
        async with opened(bench.database, write_places=64) as lanes:
            await linked(lanes)
            bench.hold.clear()
            first = asyncio.create_task(lanes.write(note, 0, operation=operation(0)))
            await asyncio.to_thread(bench.waiting.wait, 5)
            rest = [asyncio.create_task(lanes.write(note, n, operation=operation(n))) for n in range(1, 9)]
            await asyncio.sleep(0.05)
            bench.hold.set()
            await asyncio.gather(first, *rest)
            return {round(task.result().database_ms, 6) for task in rest}

    assert len(asyncio.run(story())) == 1, "eight writes that waited together have one commit, and one time"


def test_a_jobs_refusal_comes_back_as_its_own_error(bench: Bench) -> None:
    async def story() -> None:
        async with opened(bench.database) as lanes:
            await linked(lanes)
            await lanes.write(refuse, operation=operation())

    before = seen_in("notes")
    with pytest.raises(Conflict, match="Not this one"):
        asyncio.run(story())
    assert seen_in("notes") == before + 1, "it was in the database as well"


def seen_in(domain: str) -> float:
    """How many writes of the domain `/metrics` knows the time in the database of."""
    labels = {"lane": "write", "domain": domain}
    return REGISTRY.get_sample_value("gymkhana_database_seconds_count", labels) or 0.0


def test_without_a_writer_a_write_is_refused_at_once(database: Path) -> None:
    async def story() -> None:
        async with opened(database) as lanes:
            await lanes.write(note, 1, operation=operation())

    with pytest.raises(Unavailable) as caught:
        asyncio.run(story())
    assert caught.value.code == "read-only"


def test_a_job_that_waits_past_its_deadline_is_refused_unapplied(bench: Bench) -> None:
    async def story() -> tuple[str, int]:
        async with opened(bench.database, write_deadline_s=0.05) as lanes:
            await linked(lanes)
            bench.hold.clear()
            task = asyncio.create_task(lanes.write(note, 1, operation=operation()))
            await asyncio.sleep(0.1)
            bench.hold.set()
            with pytest.raises(Unavailable) as caught:
                await task
            return caught.value.code, await lanes.read("notes", count)

    assert asyncio.run(story()) == ("deadline-passed", 0)


def test_a_writer_lost_before_it_answered_leaves_the_outcome_unknown(bench: Bench) -> None:
    async def story() -> str:
        async with opened(bench.database) as lanes:
            await linked(lanes)
            bench.hold.clear()
            task = asyncio.create_task(lanes.write(note, 1, operation=operation()))
            await asyncio.to_thread(bench.waiting.wait, 5)
            bench.hang_up()
            with pytest.raises(OutcomeUnknown) as caught:
                await task
            bench.hold.set()
            return caught.value.code

    assert asyncio.run(story()) == "writer-lost"


def test_the_link_comes_back_after_the_writer_did(database: Path) -> None:
    async def story() -> int:
        async with opened(database) as lanes:
            for number in range(2):
                with Bench(database):
                    await linked(lanes)
                    await lanes.write(note, number, operation=operation(number))

                async def gone() -> bool:
                    return lanes.writer_away

                await until(gone)
            return await lanes.read("notes", count)

    assert asyncio.run(story()) == 2


def test_a_domain_cannot_take_the_others_places(bench: Bench) -> None:
    async def story() -> tuple[list[str], int]:
        async with opened(bench.database, write_places=8) as lanes:
            await linked(lanes)
            bench.hold.clear()
            greedy = [asyncio.create_task(lanes.write(note, n, operation=operation(n))) for n in range(6)]
            await asyncio.sleep(0.05)
            refused = [getattr(task.exception(), "code", "") for task in greedy if task.done()]
            modest = asyncio.create_task(lanes.write(other, 99, operation=operation(99)))
            await asyncio.sleep(0.05)
            bench.hold.set()
            written = await modest
            await asyncio.gather(*greedy, return_exceptions=True)
            return refused, written.status

    refused, status = asyncio.run(story())
    assert refused == ["domain-full", "domain-full"]
    assert status == 201


@write_job("others")
def other(session: Session, operation: Operation, value: int) -> Reply:
    return note(session, operation, value)


def test_a_full_lane_refuses_at_once() -> None:
    places = Places("write", 2)
    with places.take("a"), places.take("b"), pytest.raises(Unavailable) as caught, places.take("c"):
        raise AssertionError("there was no place")
    assert caught.value.code == "lane-full"
    with places.take("c"):
        pass


def test_a_removed_database_fences_reads_and_writes(bench: Bench) -> None:
    async def story() -> list[str]:
        async with opened(bench.database) as lanes:
            await linked(lanes)
            bench.database.unlink()
            assert "removed" in lanes.look()
            codes = []
            for attempt in (lanes.read("notes", count), lanes.write(note, 1, operation=operation())):
                with pytest.raises(Unavailable) as caught:
                    await attempt
                codes.append(caught.value.code)
            return codes

    assert asyncio.run(story()) == ["database-fenced", "database-fenced"]


def test_a_damaged_file_under_a_read_fences_the_lanes(database: Path) -> None:
    database.write_bytes(b"x" * database.stat().st_size)  # nobody has it open yet, and nothing is written after it

    async def story() -> str:
        async with opened(database) as lanes:
            with pytest.raises(Unavailable):
                await lanes.read("notes", count)
            return lanes.fenced

    assert "is not a database any more" in asyncio.run(story())


def test_a_read_over_its_time_is_stopped(bench: Bench) -> None:
    def endless(connection: Reader) -> None:
        connection.execute(text("WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n) SELECT sum(i) FROM n"))

    async def story() -> str:
        async with opened(bench.database, read_deadline_s=0.1) as lanes:
            with pytest.raises(Unavailable) as caught:
                await lanes.read("notes", endless)
            return caught.value.code

    began = time.monotonic()
    assert asyncio.run(story()) == "read-too-long"
    assert time.monotonic() - began < 30


def test_a_read_cannot_write(bench: Bench) -> None:
    def write(connection: Reader) -> None:
        connection.execute(text("DELETE FROM activity"))

    async def story() -> str:
        async with opened(bench.database) as lanes:
            with pytest.raises(Unavailable) as caught:
                await lanes.read("notes", write)
            return caught.value.code

    assert asyncio.run(story()) == "read-failed"

"""The one way into the database: bounded, with deadlines, and a bulkhead per domain.

    handler ── await lanes.write(job, ...) ── places ── socket ── writer process ── commit ── answer
            ── await lanes.read(function, ...) ── places ── where reads run (`reads.py`), always rolled back

A full queue, a passed deadline or a fenced database raises Unavailable, and then it is certain that nothing was written.
"""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Concatenate, Literal, ParamSpec, TypeVar, cast

import msgspec
import structlog
from sqlalchemy import Connection

from system import metrics, processes
from system.admission import Door, Lane
from system.errors import DATABASE_FENCED, READ_ONLY, OutcomeUnknown, ServiceError, Unavailable
from system.jobs import RECORDS, Caller, Job, Operation
from system.metrics import FENCED, LANE_SHED, SHIP_SECONDS
from system.modes import Modes
from system.reads import ReadFailed, Reads, ReadTooLong
from system.reporting.fingerprints import cause_of
from system.slowness import Slowness
from system.statements import Reader
from system.wire import Answer, Ask, Frames, answer, pack, socket_path

P = ParamSpec("P")
R = TypeVar("R")

RECONNECT_INTERVAL_S = 0.05
FIRST_LINK_S = 1.0
GRACE_S = 5.0
"""How much longer than its deadline a job that was sent is waited for, before its outcome is called unknown."""
HEALTH = "health"
"""The domain that always finds a place, is never slowed, and whose writes show when writing works again."""
FAULTS = ("job-failed", "job-too-long")
"""Answers that say that a job broke, and not that a rule said no or that the database was away."""

log = structlog.get_logger()


class Places:
    """The places of one lane. A domain may hold half of them at most, so that none can take the others'."""

    def __init__(self, lane: str, places: int) -> None:
        self._lane = lane
        self._free = places
        self._share = max(1, places // 2)
        self._held: Counter[str] = Counter()

    @contextlib.contextmanager
    def take(self, domain: str) -> Iterator[None]:
        """One place for as long as the block runs. Raises Unavailable at once when there is none."""
        if self._free <= 0 and domain != HEALTH:
            self.shed(domain, "lane-full", "The service is at its limit.")
        if self._held[domain] >= self._share:
            self.shed(domain, "domain-full", f"Too many {domain} requests are waiting.")
        self._free -= 1
        self._held[domain] += 1
        depth = metrics.lane_depth(self._lane, domain)
        depth.inc()
        try:
            yield
        finally:
            self._free += 1
            self._held[domain] -= 1
            depth.dec()

    def shed(self, domain: str, reason: str, message: str) -> None:
        """Counts and raises a refusal."""
        LANE_SHED.labels(self._lane, domain, reason).inc()
        raise Unavailable(reason, message)


@dataclass(frozen=True, slots=True)
class Written:
    """An applied write: the stored answer, its place in the order of commits, whose it is, and if it was applied before."""

    status: int
    body: bytes
    digest: str
    sequence: int
    replayed: bool
    database_ms: float
    actor_id: int | None


class Lanes:
    """Both lanes of one HTTP process. `fenced` is a sentence while the database must not be touched, else empty."""

    def __init__(
        self,
        reader: Reads,
        runtime: Path,
        *,
        read_places: int,
        write_places: int,
        read_deadline_s: float,
        write_deadline_s: float,
        door: Door | None = None,
        modes: Modes | None = None,
        slowness: Slowness | None = None,
    ) -> None:
        self._reader = reader
        self._reads = Places("read", read_places)
        self._writes = Places("write", write_places)
        self._read_deadline_s = read_deadline_s
        self._write_deadline_s = write_deadline_s
        self._writer = WriterLink(runtime)
        self._door = door or Door(read_places + write_places)
        self._slowness = slowness
        self.modes = modes or Modes(runtime)
        self.fenced = ""

    async def open(self) -> None:
        """Starts keeping the link to the writer, and gives it a moment, so that no first write comes too early.

        The writer need not be there yet.
        """
        self._writer.start()
        await self._writer.linked(FIRST_LINK_S)

    async def close(self) -> None:
        """Lets go of the link, the threads and the read connections."""
        await self._writer.stop()
        await self._reader.close()

    def fence(self, reason: str, cause: Literal["file", "damage"] = "damage") -> None:
        """Refuses everything from now on. Stays so until the process ends.

        The cause is `file` when another file, or none, is at the database's path.
        """
        if not self.fenced:
            self.fenced = reason
            FENCED.labels(cause).set(1)
            log.error("database fenced", reason=reason)

    def look(self) -> str:
        """Looks whether the database is still the one we opened; returns what fences us, empty when nothing does."""
        if not self.fenced and (trouble := self._reader.trouble()):
            self.fence(trouble, "file")
        return self.fenced

    async def write(self, job: Job, *args: Any, operation: Operation, caller: Caller | None = None) -> Written:
        """The job's effect is committed when this returns. A `caller` is found out first, and is the operation's actor.

        Raises Unauthorised when the caller has no session, the job's own ServiceError, Unavailable when it is certain that
        nothing was applied, and OutcomeUnknown when the writer was lost before it answered.
        """
        self._check()
        domain = job.domain
        entered = time.monotonic()
        with self._writes.take(domain):
            if self._slowness is not None and domain != HEALTH:
                await self._slowness.take(domain, lambda: self._patience("write", domain, entered))
            ask = Ask(0, job.name, args, operation, time.monotonic() + self._write_deadline_s, caller)
            try:
                got = await self._writer.ask(ask)
            except Unavailable as error:
                self.modes.refuse_writes(error.message)
                raise
        if got.database_ms:  # who was refused there has been there too
            metrics.database_seconds("write", domain).observe(got.database_ms / 1000)
        if got.code == READ_ONLY:
            self.modes.refuse_writes(got.message)
        if domain != HEALTH:
            self.modes.ended(domain, failed=got.code in FAULTS)
        if got.kind:
            raise _error(got)
        self.modes.take_writes()
        took_s = (got.database_ms + got.shipped_ms) / 1000
        self._waited("write", domain, time.monotonic() - entered - took_s, took_s)
        if got.shipped_ms:
            SHIP_SECONDS.observe(got.shipped_ms / 1000)
        return Written(got.status, got.body, got.digest, got.sequence, got.replayed, got.database_ms, got.actor_id)

    async def read(
        self, domain: str, function: Callable[Concatenate[Reader, P], R], *args: P.args, **kw: P.kwargs
    ) -> R:
        """What `function(connection, *args)` returns, in a transaction that is rolled back."""
        self._check()
        with self._reads.take(domain):
            entered, turn = time.monotonic(), 0.0
            deadline = entered + self._read_deadline_s
            await asyncio.sleep(0)  # so that those who arrived together are counted before the first of them runs
            if self._slowness is not None and domain != HEALTH:
                await self._slowness.take(domain, lambda: self._patience("read", domain, entered))
            if time.monotonic() > deadline:
                self._reads.shed(domain, "deadline-passed", "The read waited longer than its deadline.")

            def taken(connection: Reader) -> R:
                nonlocal turn
                turn = time.monotonic()
                return function(connection, *args, **kw)

            began = time.perf_counter()
            failed = False
            try:
                return await self._reader.read(deadline, taken)
            except (ReadTooLong, ReadFailed) as error:
                failed = True
                raise self._refusal(error) from error
            finally:
                metrics.database_seconds("read", domain).observe(time.perf_counter() - began)
                now = time.monotonic()
                self._waited("read", domain, (turn or now) - entered, now - turn if turn else 0.0)
                self.modes.ended(domain, failed=failed)

    async def long_read(
        self, domain: str, function: Callable[Concatenate[Connection, P], R], *args: P.args, **kw: P.kwargs
    ) -> R:
        """As `read`, out of the way of the short ones: for boards and exports."""
        self._check()
        with self._reads.take(domain):
            try:
                return await self._reader.long_read(lambda connection: function(connection, *args, **kw))
            except (ReadTooLong, ReadFailed) as error:
                raise self._refusal(error) from error

    @property
    def writer_away(self) -> bool:
        """Whether nothing can be written because the writer cannot be reached."""
        return self._writer.away

    async def damage(self) -> str:
        """What the engine's own quick check finds wrong with the database, empty when nothing is."""
        return await self.long_read("health", self._reader.damage)

    async def deadlocks(self) -> int:
        """How many deadlocks the database server has counted; none on an engine that has no such thing."""
        return await self.long_read("health", self._reader.deadlocks)

    def _patience(self, lane: Lane, domain: str, entered: float) -> None:
        """Raises Unavailable when a job has waited in its lane for longer than anybody may just now."""
        if time.monotonic() - entered > self._door.patience_s(lane):
            places = self._reads if lane == "read" else self._writes
            places.shed(domain, "queue-too-long", "The request has waited too long for its turn.")

    def _waited(self, lane: Lane, domain: str, waited_s: float, took_s: float) -> None:
        if domain not in (HEALTH, RECORDS):  # A record waits for a locked table, and no request behind it.
            self._door.waited(lane, waited_s, took_s)
            metrics.queue_seconds(lane).observe(max(0.0, waited_s))

    def _refusal(self, error: ReadTooLong | ReadFailed) -> Unavailable:
        if isinstance(error, ReadTooLong):
            return Unavailable("read-too-long", "The read ran over its time.")
        if error.fatal:
            self.fence(error.fatal)
        log.warning("read failed", error=str(error))
        refused = Unavailable("read-failed", "The database could not be read.")
        refused.cause = cause_of(error.__cause__ or error)
        return refused

    def _check(self) -> None:
        if self.fenced:
            raise Unavailable(DATABASE_FENCED, self.fenced)


class WriterLink(asyncio.Protocol):
    """The socket to the writer: many asks under way at once, answered in any order, reconnected when it breaks."""

    def __init__(self, runtime: Path) -> None:
        self._path = socket_path(runtime)
        self._number = 0
        self._waiting: dict[int, asyncio.Future[Answer]] = {}
        self._frames = Frames()
        self._transport: asyncio.Transport | None = None
        self._ended = asyncio.Event()
        self._linked = asyncio.Event()
        self._keeper: asyncio.Task[None] | None = None

    def start(self) -> None:
        """Keeps a connection open from now on."""
        self._keeper = asyncio.create_task(self._keep(), name="writer-link")

    async def linked(self, within_s: float) -> None:
        """Returns once there was a connection, or the time is up."""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(within_s):
                await self._linked.wait()

    async def stop(self) -> None:
        """Closes the connection for good."""
        if self._keeper is not None:
            self._keeper.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await self._keeper

    @property
    def away(self) -> bool:
        """Whether nothing can be sent to the writer now."""
        return self._transport is None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """From now on asks are sent."""
        self._transport = cast(asyncio.Transport, transport)  # uvloop's is none of asyncio's classes
        self._frames = Frames()
        self._ended.clear()
        self._linked.set()

    def data_received(self, data: bytes) -> None:
        """Whoever waits for one of these answers is given it."""
        for frame in self._frames.feed(data):
            got = answer(frame)
            future = self._waiting.get(got.number)
            if future is not None and not future.done():
                future.set_result(got)

    def connection_lost(self, _error: Exception | None) -> None:
        """Whoever still waits is told that nobody knows."""
        self._transport = None
        for future in self._waiting.values():
            if not future.done():
                future.set_exception(OutcomeUnknown("writer-lost", "The database writer was lost before it answered."))
        self._ended.set()

    async def ask(self, ask: Ask) -> Answer:
        """The writer's answer. Raises Unavailable when nothing was sent, OutcomeUnknown when the answer never came."""
        if self._transport is None:
            raise Unavailable(READ_ONLY, "The database writer is being restarted.")
        self._number += 1
        number = self._number
        loop = asyncio.get_running_loop()
        future: asyncio.Future[Answer] = loop.create_future()
        self._waiting[number] = future
        self._transport.write(pack(msgspec.structs.replace(ask, number=number)))
        patience = loop.call_later(ask.deadline - time.monotonic() + GRACE_S, _fall_silent, future)
        try:
            return await future
        finally:
            patience.cancel()
            self._waiting.pop(number, None)

    async def _keep(self) -> None:
        loop = asyncio.get_running_loop()
        while True:
            try:
                with processes.short_path(self._path) as short:
                    transport, _ = await loop.create_unix_connection(lambda: self, short)
            except OSError:
                await asyncio.sleep(RECONNECT_INTERVAL_S)
                continue
            try:
                await self._ended.wait()
            finally:
                transport.close()
                self.connection_lost(None)


def _fall_silent(future: asyncio.Future[Answer]) -> None:
    if not future.done():
        future.set_exception(OutcomeUnknown("writer-silent", "The database writer did not answer in time."))


def _error(got: Answer) -> ServiceError:
    family = {kind.kind: kind for kind in ServiceError.__subclasses__()}
    error = family.get(got.kind, ServiceError)(got.code, got.message)
    error.cause = got.cause
    return error

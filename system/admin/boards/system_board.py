"""The board of the service itself: what is asked of it, how it answers, and what that costs."""

from __future__ import annotations

from collections.abc import Sequence

from system.admin.boards import sums as summed
from system.admin.boards.asked import Filter
from system.admin.boards.board import Board, Look, Part
from system.admin.boards.panels import (
    Cell,
    Chart,
    Column,
    Figure,
    Figures,
    Mark,
    Panel,
    Series,
    Table,
    cells,
    number,
    when,
)
from system.admin.boards.recent import Between, Reading
from system.reporting.listings import RECORDS, Filters, page

NOW_S = 60.0
SEEN_S = 10.0
SUMS_KEPT_S = 5.0
_LISTED = 20
_SHARES = (("p50", 0.5), ("p95", 0.95), ("p99", 0.99))
_MIB = 2**20
_MARKS: dict[str, Mark] = {"pass": "on", "warn": "wait", "fail": "off"}
_WITHIN = "Percentiles are read off buckets, and lie evenly within one."


async def now(look: Look) -> list[Panel]:
    """How it is at this moment, from memory."""
    recent = look.service.recent
    newest = await recent.now()
    seconds, minute = recent.since(newest, SEEN_S), recent.since(newest, NOW_S)
    status, told = look.service.health.standing()
    failed = minute.share_failed()
    items = [
        Figure("Health", status, told, _MARKS[status]),
        Figure("Requests", number(seconds.per_second(seconds.requests), "/s"), f"{number(newest.requests)} since the begin"),
        Figure("Failed", number(failed, "%"), f"{number(newest.failed)} since the begin", "off" if failed else ""),
        Figure("Response time, p95", number(minute.took_ms(0.95), "ms"), f"p99 {number(minute.took_ms(0.99), 'ms')}"),
        Figure("Database, p95", number(minute.database_ms("read", 0.95), "ms"),
               f"writes {number(minute.database_ms('write', 0.95), 'ms')}"),
        Figure("In the lanes", number(sum(newest.depth.values())), _limits(newest)),
        Figure("Refused by lanes", number(minute.shed), "in the last minute", "wait" if minute.shed else ""),
        Figure("Memory", number(sum(newest.memory.values()) / _MIB, "MiB", 0), f"{len(newest.memory)} processes"),
    ]  # fmt: skip
    return [Figures("now", "Now", items, "Rates of the last ten seconds, percentiles of the last minute.")]


async def load(look: Look) -> list[Panel]:
    """What was asked in the window, from the sums."""
    kind = look.question.filter("kind")
    found = await look.read_seldom(SUMS_KEPT_S, summed.sums, look.window, look.now_ms, kind)
    rates = [
        Series("requests", found.per_second("requests")),
        Series("refused", found.per_second("refused")),
        Series("failed", found.per_second("failed")),
    ]
    took = [Series(label, found.per_step(summed.took_ms(share))) for label, share in _SHARES]
    failed = [Series("failed", found.per_step(summed.share_failed))]
    return [
        Chart("requests", "Requests per second", "/s", found.at, rates, "What is under way is told above."),
        Chart("errors", "Error rate", "%", found.at, failed),
        Chart("latency", "Response time", "ms", found.at, took, f"{_WITHIN} More than 1,000 ms is told as that."),
    ]


async def kinds(look: Look) -> list[Panel]:
    """The same by kind of request."""
    kind = look.question.filter("kind")
    found = await look.read_seldom(SUMS_KEPT_S, summed.sums, look.window, look.now_ms, kind)
    rows = [_kind(look, row) for row in found.kinds if kind in (None, row["kind"])]
    return [Table("kinds", "By kind of request", _KINDS, rows, "Nothing was asked.")]


async def load_from_memory(look: Look) -> list[Panel]:
    """The same of the last hour, by what this process has in memory."""
    at, steps = _steps(look)
    rates = [
        Series(name, [step.per_second(getattr(step, name)) for step in steps])
        for name in ("requests", "refused", "failed")
    ]
    took = [Series(label, [step.took_ms(share) for step in steps]) for label, share in _SHARES]
    note = "From memory: the last hour at most."
    return [
        Chart("requests", "Requests per second", "/s", at, rates, note),
        Chart("errors", "Error rate", "%", at, [Series("failed", [step.share_failed() for step in steps])], note),
        Chart("latency", "Response time", "ms", at, took, f"{note} {_WITHIN}"),
    ]


async def lately(look: Look) -> list[Panel]:
    """What the last hour cost, from memory."""
    at, steps = _steps(look)
    readings = [reading for reading, _ in look.service.recent.steps()]
    database = [Series(f"{lane}s, p95", [step.database_ms(lane, 0.95) for step in steps]) for lane in ("read", "write")]
    names = sorted({name for reading in readings for name in reading.memory})
    memory = [Series(name, [_mib(reading.memory.get(name)) for reading in readings]) for name in names]
    depth = [
        Series(f"{lane} lane", [reading.depth.get(lane, 0.0) for reading in readings]) for lane in ("read", "write")
    ]
    shed = Series("refused per second", [step.per_second(step.shed) for step in steps])
    note = "The last hour, from memory."
    return [
        Chart("database", "Time in the database", "ms", at, database, note),
        Chart("lanes", "Jobs in the lanes, and what they refused", "", at, [*depth, shed], note),
        Chart("memory", "Memory of each process", "MiB", at, memory, note),
    ]


async def health(look: Look) -> list[Panel]:
    """How the processes stood in the window."""
    asked = Filters(from_ms=look.window.from_ms, to_ms=look.window.to_ms)
    found = await look.read(page, RECORDS["health"], asked, _LISTED, None)
    rows = [
        [
            when(row["at_ms"]),
            Cell(str(row["worker"])),
            Cell(row["status"], _MARKS.get(row["status"], "plain")),
            Cell(row["output"]),
        ]
        for row in found
    ]
    note = f"When it changed, and once a minute; the newest {_LISTED} of the time chosen."
    return [Table("health", "Health", _HEALTH, rows, "Nothing is on record.", note)]


def _steps(look: Look) -> tuple[list[int], Sequence[Between]]:
    found = list(look.service.recent.steps())
    return [int(reading.at) for reading, _ in found], [step for _, step in found]


def _kind(look: Look, row: summed.Row) -> list[Cell]:
    failed, p95 = summed.share_failed(row), summed.took_ms(0.95)(row)
    return cells(
        (
            Cell(row["kind"], href=look.choosing("kind", row["kind"])),
            row["requests"],
            row["refused"],
            Cell(number(row["failed"]), "off" if failed else ""),
            summed.mean_ms(row),
            p95,
        )
    )


def _mib(size: float | None) -> float | None:
    return None if size is None else round(size / _MIB, 1)


def _limits(newest: Reading) -> str:
    told = ", ".join(f"{lane} {number(most)}" for lane, most in sorted(newest.limit.items()))
    return f"room for {told}" if told else ""


_KINDS = (
    Column("Kind", "name"), Column("Requests", "number"), Column("Refused", "number"), Column("Failed", "number"),
    Column("Mean, ms", "number"), Column("p95, ms", "number"),
)  # fmt: skip
_HEALTH = (Column("When", "when"), Column("Process", "number"), Column("Stood"), Column("Why"))

BOARD = Board(
    "System",
    "/admin/system",
    "What is asked of the service, how it answers, and what that costs.",
    (
        Part("how it is now", now),
        Part("the requests of the time chosen", load, load_from_memory),
        Part("what the last hour cost", lately),
        Part("the kinds of request", kinds),
        Part("the history of its health", health),
    ),
    (Filter("kind", "Kind of request"),),
)

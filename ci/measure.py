"""The measures: how long recovery took, how much was lost, how the service did before. Pure folds over stored files.

All instants are monotonic seconds; what goes into the record is relative to the run's first event.
"""

from __future__ import annotations

import math
from bisect import bisect_right
from collections.abc import Callable, Collection, Mapping, Sequence
from itertools import pairwise
from typing import Any, TypeVar

import msgspec

from ci import probe
from ci.journal import Event
from ci.record import BackupUsed, Baseline, Flow, LostWrite, Mark, Phase, Rpo, Rto, Series
from loadtests.generator import GeneratorSample, mean_cores
from loadtests.history import History
from loadtests.ledger import Done
from loadtests.measure import Observation, Request, Window, good_durations, in_ms, observe, per_second, requests
from loadtests.percentiles import percentile, resolved_percentile
from loadtests.scenario import Scenario

STAYS_S = 1.0
"""A recovery counts when every probe from it on was right, and at least this long a stretch of them was seen."""

WATCHERS = 2
"""Connections of the harness's own in the service's gauge: the canary's, and the scrape that reads the gauge."""

PHASE_ENDS = {
    "notice": "detect",
    "fence": "fence",
    "decide": "decide",
    "promote.end": "promote",
    "restore.end": "restore",
    "replay.end": "replay",
    "verify.end": "verify",
}


_Sampled = TypeVar("_Sampled")


class Sample(msgspec.Struct, frozen=True):
    """A line of `samples.jsonl`: the service's own figures at `t`; null where it did not answer. `shed` counts from its
    start, `cpu` is in cores since the line before.
    """

    t: float
    memory: dict[str, int]
    connections: int | None
    ready: int | None
    database_p95_ms: float | None
    queue_depth: int | None
    requests: int | None
    outbox_pending: int | None
    shed: int | None = None
    cpu: dict[str, float] = {}


def bite(events: Sequence[Event]) -> float | None:
    """When the last fault is proved to have bitten; None when any fault left no proof, or there was none."""
    if any(event.event == "fault.missed" for event in events):
        return None
    return max((event.t for event in events if event.event == "fault.bite"), default=None)


def recovery(events: Sequence[Event], canary: Sequence[Done], origin: float, lost: Collection[str] = ()) -> Rto:
    """RTO and its phases: from the bite to the end of the first read-back that was right and stayed so.

    "Stayed so" is: no probe failed afterwards for as long as the canary was kept, which must be at least `STAYS_S`. A
    service that recovers and fails again has recovered at the later instant. Without a total, `why_unknown` says why.
    """
    bitten = bite(events)
    if bitten is None:
        return Rto(total_s=None, why_unknown="There is no proof that the fault bit.")
    ends = [done.t + done.d for done in canary]
    watched = max(ends, default=bitten) - bitten
    if watched <= 0:
        return Rto(total_s=None, why_unknown="The canary was not kept after the fault.")
    right = unbroken(canary, bitten, lost)
    if not right:
        why = f"No canary was written and read back in the {watched:.1f} s after the fault."
        return Rto(total_s=None, watched_s=watched, why_unknown=why)
    if span(right) < STAYS_S:
        why = f"The service was never seen well for {STAYS_S:.0f} s in the {watched:.1f} s after the fault."
        return Rto(total_s=None, watched_s=watched, why_unknown=why)
    recovered = right[0].t + right[0].d
    return Rto(
        total_s=recovered - bitten,
        phases=_phases(events, bitten, recovered, origin),
        resolution_s=probe.INTERVAL_S,
        watched_s=watched,
    )


def unbroken(canary: Sequence[Done], since: float = -math.inf, lost: Collection[str] = ()) -> list[Done]:
    """The read-backs that were right and after which no probe failed, of writes begun at or after `since`.

    A failure is a probe without an answer or with another value, and a write that was acknowledged and is lost.
    """
    gone = frozenset(lost)
    failed = (done.t for done in canary if done.outcome != "ok" or done.verified is False or done.op in gone)
    since = max(since, max(failed, default=-math.inf))
    written = {done.op: done.t for done in canary if done.write}
    return [done for done in canary if done.verified is True and written.get(done.op, -math.inf) >= since]


def span(right: Sequence[Done]) -> float:
    """From the end of the first of these probes to the end of the last, in seconds."""
    return right[-1].t + right[-1].d - right[0].t - right[0].d if right else 0.0


def _phases(events: Sequence[Event], bitten: float, recovered: float, origin: float) -> tuple[Phase, ...]:
    """Contiguous from bite to recovery. A phase without an event is part of the one after it."""
    ends = [(e.t, PHASE_ENDS[e.event]) for e in events if e.event in PHASE_ENDS and bitten <= e.t <= recovered]
    phases, begin = [], bitten
    for end, name in [*sorted(ends, key=lambda one: one[0]), (recovered, "serve")]:
        phases.append(Phase(name=name, begin_s=begin - origin, end_s=end - origin))
        begin = end
    return tuple(phases)


def loss(
    history: History,
    lost: Collection[str],
    events: Sequence[Event],
    restored: str | None,
    response: str,
    origin: float,
    *,
    replayed: bool = False,
) -> Rpo:
    """RPO: the lost acknowledged writes, as a count and as seconds, and which of the three statements it is.

    The seconds reach from the first lost acknowledgement to the fault, or to the last one lost when that is later; None
    when there is a loss and no proof of a fault.
    """
    gone = frozenset(lost)
    acked = [(w.acked_t, w.op, w.flow) for w in history.writes() if w.outcome == "ok" and w.acked_t is not None]
    missing = sorted(one for one in acked if one[1] in gone)
    bitten, taken = bite(events), backup_taken(events, restored)
    end = None if bitten is None else max([bitten, *(acked_t for acked_t, _, _ in missing)])
    restores = response == "restore"
    return Rpo(
        acked=len(acked),
        lost=len(missing),
        seconds=0.0 if not missing else None if end is None else end - missing[0][0],
        lost_writes=tuple(LostWrite(op=op, flow=flow, acked_s=acked_t - origin) for acked_t, op, flow in missing),
        without_restore=None if restores else len(missing),
        newest_backup=len(missing) if restores and not replayed else None,
        with_replay=len(missing) if restores and replayed else None,
        newest_backup_age_s=None if taken is None or bitten is None else bitten - taken,
        bound_s=None if taken is None or end is None else end - taken,
    )


def backup_taken(events: Sequence[Event], backup: str | None) -> float | None:
    """The instant from before which every commit is in that backup; None when the run did not take it."""
    for event in events:
        if event.event == "backup.done" and event.data["id"] == backup:
            return float(event.data["taken_t"])
    return None


def under_fault(history: History, scenario: Scenario, events: Sequence[Event]) -> tuple[int, int] | None:
    """How many requests were begun from the first fault to the end of the load, and how many of them failed."""
    begins = [event.t for event in events if event.event == "fault.begin"]
    ends = [event.t for event in events if event.event == "load.end"]
    if not begins or not ends:
        return None
    total = observe(history, scenario, Window(begins[0], ends[0])).total
    return total.requests, total.failures


def window(events: Sequence[Event]) -> Window | None:
    """The baseline's stretch, None when it was not taken."""
    at = {event.event: event.t for event in events}
    if "baseline.begin" not in at or "baseline.end" not in at:
        return None
    return Window(at["baseline.begin"], at["baseline.end"])


def baseline(
    seen: Observation, samples: Sequence[Sample], generator: Sequence[GeneratorSample], users: int
) -> Baseline:
    """The steady stretch before the fault, from outside: requests by the ledger, the rest by the service's gauges."""
    inside = [sample for sample in samples if seen.window.begin <= sample.t < seen.window.end]
    connections = [sample.connections - WATCHERS for sample in inside if sample.connections is not None]
    total = seen.total
    return Baseline(
        users=users,
        connections=min(connections, default=None),
        seconds=seen.window.seconds,
        requests=total.requests,
        rate=total.rate,
        expected_rate=seen.expected_rate,
        error_rate=seen.error_rate,
        p50_ms=_finite(total.p50_ms),
        p95_ms=_finite(total.p95_ms),
        p99_ms=_finite(total.p99_ms),
        database_p95_ms=max((one.database_p95_ms for one in inside if one.database_p95_ms is not None), default=None),
        memory_mib=max((mib for one in inside if (mib := _memory_mib(one)) is not None), default=None),
        generator_cpu=mean_cores(generator, seen.window.begin, seen.window.end),
    )


def series(
    history: History,
    scenario: Scenario,
    samples: Sequence[Sample],
    origin: float,
    end: float,
    generator: Sequence[GeneratorSample] = (),
) -> Series:
    """The run in seconds: requests by when they ended, the service's figures by the sample taken in that second."""
    seconds = per_second(requests(history, scenario), Window(origin, end))
    times = [sample.t for sample in samples]
    beside = [_within(samples, times, second.t, second.t + 1.0) for second in seconds]
    of_generator = [one.t for one in generator]
    generating = [_within(generator, of_generator, second.t, second.t + 1.0) for second in seconds]
    shed = _shed(samples)
    return Series(
        t=tuple(second.t - origin for second in seconds),
        requests=tuple(float(second.requests) for second in seconds),
        errors=tuple(float(second.failures) for second in seconds),
        p50_ms=tuple(second.p50_ms for second in seconds),
        p95_ms=tuple(second.p95_ms for second in seconds),
        database_p95_ms=tuple(None if one is None else one.database_p95_ms for one in beside),
        memory_mib=tuple(None if one is None else _memory_mib(one) for one in beside),
        connections=tuple(None if one is None else one.connections for one in beside),
        queue_depth=tuple(None if one is None else one.queue_depth for one in beside),
        shed=tuple(None if one is None else shed.get(one.t) for one in beside),
        timing_p95_ms=_timings(history, origin, len(seconds)),
        memory_by_process=_by_process(beside, lambda one: {name: of / 2**20 for name, of in one.memory.items()}),
        cpu_by_process=_by_process(beside, lambda one: one.cpu),
        generator_cores=tuple(None if one is None else one.cpu for one in generating),
        generator_mib=tuple(None if one is None else one.rss / 2**20 for one in generating),
    )


def _timings(history: History, origin: float, seconds: int) -> tuple[float | None, ...]:
    """The p95 of the database's share as the answers told it (`Server-Timing`), by the second they came in."""
    told: list[list[float]] = [[] for _ in range(seconds)]
    for done in history.dones:
        at = math.floor(done.t + done.d - origin)
        if done.db is not None and 0 <= at < seconds:
            told[at].append(done.db)
    return tuple(percentile(sorted(one), 95) if one else None for one in told)


def _shed(samples: Sequence[Sample]) -> dict[float, float]:
    """Requests refused per second, by the instant of the sample that says so. A service started anew counts from 0."""
    rates: dict[float, float] = {}
    for before, sample in pairwise(one for one in samples if one.shed is not None):
        refused = (sample.shed or 0) - (before.shed or 0)
        rates[sample.t] = (refused if refused >= 0 else sample.shed or 0) / (sample.t - before.t)
    return rates


def _by_process(
    beside: Sequence[Sample | None], told: Callable[[Sample], Mapping[str, float]]
) -> dict[str, tuple[float | None, ...]]:
    """A row for each process that was ever seen, in the order of their names."""
    figures = [{} if one is None else told(one) for one in beside]
    return {name: tuple(one.get(name) for one in figures) for name in sorted({name for one in figures for name in one})}


def flows(history: History, scenario: Scenario) -> tuple[Flow, ...]:
    """Each flow over the whole run, in the scenario's order: its failures counted, its percentiles of successes alone."""
    by_flow: dict[str, list[Request]] = {flow.name: [] for flow in scenario.flows}
    for request in requests(history, scenario):
        by_flow.setdefault(request.flow, []).append(request)
    return tuple(_flow(name, of) for name, of in by_flow.items() if of)


def marks(events: Sequence[Event], origin: float) -> tuple[Mark, ...]:
    """Every event as a mark on the run's axis."""
    return tuple(Mark(t=event.t - origin, name=event.event, text=event.text) for event in events)


def backups(events: Sequence[Event], restoration: dict[str, Any] | None, origin: float) -> tuple[BackupUsed, ...]:
    """The backups the run took, and what became of each."""
    told = restoration or {}
    refused = {one["id"]: one["why"] for one in told.get("refused", ())}
    used = []
    for event in events:
        if event.event != "backup.done":
            continue
        name = event.data["id"]
        fate = "restored" if told.get("backup") == name else "refused" if name in refused else "taken"
        used.append(
            BackupUsed(
                id=name,
                taken_s=event.data["taken_t"] - origin,
                seconds=event.data["seconds"],
                size_bytes=event.data["size_bytes"],
                stored_bytes=event.data["stored_bytes"],
                fate=fate,
                why=refused.get(name, ""),
            )
        )
    return tuple(used)


def _flow(name: str, of: Sequence[Request]) -> Flow:
    good = good_durations(of)
    p50, p95, p99 = (in_ms(resolved_percentile(good, percent)) for percent in (50, 95, 99))
    return Flow(name=name, requests=len(of), failures=len(of) - len(good), p50_ms=p50, p95_ms=p95, p99_ms=p99)


def _within(samples: Sequence[_Sampled], times: Sequence[float], begin: float, end: float) -> _Sampled | None:
    """The last sample of a second, or, as they are a little more than one second apart, one from half a second before."""
    place = bisect_right(times, end) - 1
    return samples[place] if place >= 0 and times[place] >= begin - 0.5 else None


def _memory_mib(sample: Sample) -> float | None:
    return sum(sample.memory.values()) / 2**20 if sample.memory else None


def _finite(value: float | None) -> float | None:
    """JSON has no infinity; that failures reach a percentile shows in the error rate beside it."""
    return None if value is None or math.isinf(value) else value

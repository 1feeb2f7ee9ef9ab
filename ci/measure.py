"""The measures: how long recovery took, how much was lost, how the service did before. Pure folds over stored files.

All instants are monotonic seconds; what goes into the record is relative to the run's first event.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Sequence
from typing import Any

import msgspec

from ci import probe
from ci.journal import Event
from ci.record import BackupUsed, Baseline, Flow, LostWrite, Mark, Phase, Rpo, Rto, Series
from loadtests.generator import GeneratorSample, mean_cores
from loadtests.history import History
from loadtests.ledger import Done
from loadtests.measure import Observation, Window, observe, per_second
from loadtests.scenario import Scenario

STAYS_S = 1.0
"""A recovery counts when every probe from it on was verified, and at least this long a stretch of them was seen."""

PHASE_ENDS = {
    "notice": "detect",
    "fence": "fence",
    "decide": "decide",
    "restore.end": "restore",
    "replay.end": "replay",
    "verify.end": "verify",
}


class Sample(msgspec.Struct, frozen=True):
    """A line of `samples.jsonl`: the service's own figures at `t`; null where it did not answer."""

    t: float
    memory: dict[str, int]
    connections: int | None
    ready: int | None
    database_p95_ms: float | None
    queue_depth: int | None
    requests: int | None
    outbox_pending: int | None


def bite(events: Sequence[Event]) -> float | None:
    """When the last fault is proved to have bitten; None when any fault left no proof, or there was none."""
    if any(event.event == "fault.missed" for event in events):
        return None
    bites = [event.t for event in events if event.event == "fault.bite"]
    return max(bites) if bites else None


def recovery(events: Sequence[Event], canary: Sequence[Done], origin: float) -> Rto:
    """RTO and its phases: from the bite to the end of the first read-back that was right and stayed so.

    "Stayed so" is: no probe failed afterwards for as long as the canary was kept, which must be at least `STAYS_S`.
    """
    bitten = bite(events)
    if bitten is None:
        return Rto(total_s=None, why_unknown="There is no proof that the fault bit.")
    after = [done for done in canary if done.t + done.d >= bitten]
    failed = [done for done in after if done.outcome != "ok" or done.verified is False]
    since = max((done.t for done in failed), default=bitten)
    verified = [done.t + done.d for done in after if done.verified and done.t >= since]
    if not verified:
        return Rto(total_s=None, why_unknown="No canary was written and read back after the fault.")
    if verified[-1] - verified[0] < STAYS_S:
        return Rto(total_s=None, why_unknown=f"The service was not seen well for {STAYS_S:.0f} s after it came back.")
    recovered = verified[0]
    phases = _phases(events, bitten, recovered, origin)
    return Rto(total_s=recovered - bitten, phases=phases, resolution_s=probe.INTERVAL_S)


def _phases(events: Sequence[Event], bitten: float, recovered: float, origin: float) -> tuple[Phase, ...]:
    ends = sorted(
        (event.t, PHASE_ENDS[event.event])
        for event in events
        if event.event in PHASE_ENDS and bitten <= event.t <= recovered
    )
    phases, begin = [], bitten
    for end, name in [*ends, (recovered, "serve")]:
        phases.append(Phase(name=name, begin_s=begin - origin, end_s=end - origin))
        begin = end
    return tuple(phases)


def loss(
    history: History, lost: Sequence[str], events: Sequence[Event], restored: str | None, response: str, origin: float
) -> Rpo:
    """RPO: the lost acknowledged writes, as a count and as seconds, and which of the three statements it is."""
    gone = set(lost)
    acked = [write for write in history.writes() if write.outcome == "ok" and write.acked_t is not None]
    missing = sorted((write for write in acked if write.op in gone), key=lambda write: write.acked_t or 0.0)
    bitten = bite(events)
    seconds: float | None = 0.0
    if missing:
        first, last = missing[0].acked_t or 0.0, missing[-1].acked_t or 0.0
        seconds = None if bitten is None else max(bitten, last) - first
    taken = backup_taken(events, restored)
    return Rpo(
        acked=len(acked),
        lost=len(missing),
        seconds=seconds,
        lost_writes=tuple(
            LostWrite(op=write.op, flow=write.flow, acked_s=(write.acked_t or 0.0) - origin) for write in missing
        ),
        without_restore=None if response == "restore" else len(missing),
        newest_backup=len(missing) if response == "restore" else None,
        newest_backup_age_s=None if taken is None or bitten is None else bitten - taken,
    )


def backup_taken(events: Sequence[Event], backup: str | None) -> float | None:
    """The instant from before which every commit is in that backup; None when the run did not take it."""
    for event in events:
        if event.event == "backup.done" and event.data["id"] == backup:
            return float(event.data["taken_t"])
    return None


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
    memory = [sum(sample.memory.values()) / 2**20 for sample in inside if sample.memory]
    connections = [sample.connections for sample in inside if sample.connections is not None]
    database = [sample.database_p95_ms for sample in inside if sample.database_p95_ms is not None]
    total = seen.total
    return Baseline(
        users=users,
        connections=min(connections) if connections else None,
        seconds=seen.window.seconds,
        requests=total.requests,
        rate=total.rate,
        expected_rate=seen.expected_rate,
        error_rate=seen.error_rate,
        p50_ms=total.p50_ms,
        p95_ms=total.p95_ms,
        p99_ms=total.p99_ms,
        database_p95_ms=max(database) if database else None,
        memory_mib=max(memory) if memory else None,
        generator_cpu=mean_cores(generator, seen.window.begin, seen.window.end),
    )


def series(history: History, scenario: Scenario, samples: Sequence[Sample], origin: float, end: float) -> Series:
    """The run in seconds: requests by when they ended, the service's figures by the sample nearest before."""
    whole = observe(history, scenario)
    seconds = per_second(whole.requests, Window(origin, end))
    times = [sample.t for sample in samples]

    def near(t: float) -> Sample | None:
        place = bisect_right(times, t + 1.0) - 1
        return samples[place] if place >= 0 and times[place] >= t - 0.5 else None

    beside = [near(second.t) for second in seconds]
    return Series(
        t=tuple(second.t - origin for second in seconds),
        requests=tuple(float(second.requests) for second in seconds),
        errors=tuple(float(second.failures) for second in seconds),
        p50_ms=tuple(second.p50_ms for second in seconds),
        p95_ms=tuple(second.p95_ms for second in seconds),
        database_p95_ms=tuple(None if one is None else one.database_p95_ms for one in beside),
        memory_mib=tuple(None if one is None or not one.memory else sum(one.memory.values()) / 2**20 for one in beside),
        connections=tuple(None if one is None else _float(one.connections) for one in beside),
        queue_depth=tuple(None if one is None else _float(one.queue_depth) for one in beside),
    )


def flows(history: History, scenario: Scenario) -> tuple[Flow, ...]:
    """Each flow over the whole run."""
    return tuple(
        Flow(
            name=one.name,
            requests=one.requests,
            failures=one.failures,
            p50_ms=one.p50_ms,
            p95_ms=one.p95_ms,
            p99_ms=one.p99_ms,
        )
        for one in observe(history, scenario).flows
    )


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


def _float(value: int | None) -> float | None:
    return None if value is None else float(value)

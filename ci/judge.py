"""The judge: named criteria, each with its goal, what was measured, and pass, fail or unknown. Pure.

The ids are stable; pipelines and the report refer to them. Everything about data gates strictly; the latency of a calm
machine (LAT-P95-CALM) is printed and judged but does not gate, because these figures are also taken on busy machines.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

from ci.record import Baseline, Criterion, Findings, Result, Rpo, Rto

RTO_GOAL_S = 15.0
RATE_TOLERANCE = 0.05
LATENCY_GATE_MS = 500.0
LATENCY_GOAL_MS = 50.0
MEMORY_GOAL_MIB = 300.0
GENERATOR_GOAL_CORES = 0.9
RATE_SAMPLES_MIN = 1000
"""Below this many requests chance alone moves the rate by more than the tolerance is worth; then it does not gate."""


@dataclass(frozen=True, slots=True)
class Case:
    """Everything the judge looks at. `earliest_loss_s` is how long before the restored backup a lost write was
    acknowledged: negative or None when all were later. `expected_refusal` names the backup that must have been refused.
    """

    drill: str
    response: str
    users: int
    findings: Findings
    rto: Rto | None
    rpo: Rpo
    baseline: Baseline | None
    missed: tuple[str, ...]
    bitten: tuple[str, ...]
    noticed: bool
    restored: str | None
    refused: tuple[str, ...]
    damaged_backup: str | None
    losses_before_backup: int


def criteria(case: Case) -> tuple[Criterion, ...]:
    """Every criterion that applies to the drill, in the order people read them."""
    return (
        *_fault(case),
        *_recovery(case),
        *_data(case),
        *_baseline(case),
    )


def verdict(judged: Sequence[Criterion]) -> Result:
    """Fail when a gate failed, else unknown when a gate could not be told (or there is none), else pass."""
    results = {one.result for one in judged if one.gates}
    if "fail" in results:
        return "fail"
    return "pass" if results == {"pass"} else "unknown"


def _fault(case: Case) -> Iterable[Criterion]:
    proved = bool(case.bitten) and not case.missed
    yield Criterion(
        id="FAULT-BIT",
        title="The fault bit",
        goal="proved",
        measured=", ".join(case.bitten) if proved else "no proof",
        result="pass" if proved else "unknown",
        why="" if proved else "; ".join(case.missed) or "No fault was injected.",
    )


def _recovery(case: Case) -> Iterable[Criterion]:
    if case.response == "none":
        return
    rto = case.rto
    total = None if rto is None else rto.total_s
    proved = bool(case.bitten) and not case.missed
    yield _judged(
        "NOTICED", "The fault was noticed", "yes", "yes" if case.noticed else "no",
        case.noticed if proved else None, "Neither the canary nor readiness showed it.",
    )  # fmt: skip
    yield _judged(
        "RTO", "Recovery time", f"< {RTO_GOAL_S:.0f} s", "not recovered" if total is None else f"{total:.2f} s",
        (total is not None and total < RTO_GOAL_S) if proved else None,
        (rto.why_unknown if rto and rto.why_unknown else "Recovery took longer than promised."),
    )  # fmt: skip
    if case.response == "restore":
        yield _judged(
            "RESTORED", "A backup was restored", "yes", case.restored or "none",
            case.restored is not None if proved else None, "No backup could be restored.",
        )  # fmt: skip
    if case.damaged_backup is not None:
        right = case.damaged_backup in case.refused and case.restored not in (None, case.damaged_backup)
        yield _judged(
            "BACKUP-REFUSED", "The damaged backup was refused", "refused, and an older one used",
            f"refused {', '.join(case.refused) or 'none'}", right,
            f"{case.damaged_backup} was damaged and {case.restored} was restored.",
        )  # fmt: skip


def _data(case: Case) -> Iterable[Criterion]:
    findings = case.findings
    doubt = "; ".join(findings.why_unknown)
    known = not doubt
    yield _judged(
        "LEDGER", "The history is whole and was checked", "whole", f"{findings.acked} writes acknowledged",
        True if known else None, doubt,
    )  # fmt: skip
    yield _lost(case, known, doubt)
    if case.response == "restore":
        yield _rpo(case, known, doubt)
    for identity, title, found in (
        ("DATA-ALTERED", "Acknowledged writes altered", findings.altered),
        ("DATA-PHANTOM", "Writes nobody was told of", findings.phantom),
        ("DATA-DUPLICATED", "Writes applied more than once", findings.duplicated),
        ("CAPACITY", "Tournaments over capacity", findings.capacity),
        ("WINNER", "Tournaments without exactly one winner", findings.winners),
        ("ORPHANS", "Rows left half-written", findings.orphans),
        ("NOTIFICATIONS", "Events not told exactly once", findings.notifications),
    ):
        yield _none_of(identity, title, found, known, doubt)
    off = findings.conservation
    yield _judged(
        "POINTS", "Points conserved", "balances + escrow + pools = minted", "off" if off else "equal" if known else "not known",
        False if off else True if known else None, off or doubt,
    )  # fmt: skip


def _lost(case: Case, known: bool, doubt: str) -> Criterion:
    lost = case.rpo.lost
    measured = f"{lost} of {case.rpo.acked}"
    if case.response != "restore":
        return _judged("DATA-LOST", "Acknowledged writes lost", "0", measured,
                       False if lost else True if known else None, doubt or _examples(case.findings.lost))  # fmt: skip
    early = case.losses_before_backup
    why = f"{early} of them were acknowledged before the restored backup was begun." if early else doubt
    return _judged("DATA-LOST", "Acknowledged writes lost", "0 from before the restored backup", measured,
                   False if early else True if known else None, why)  # fmt: skip


def _rpo(case: Case, known: bool, doubt: str) -> Criterion:
    age, seconds = case.rpo.newest_backup_age_s, case.rpo.seconds
    goal = "the age of the restored backup" if age is None else f"<= {age:.1f} s, the backup's age"
    if age is None or seconds is None or not known:
        return _judged(
            "RPO", "Seconds of writes lost", goal, "not known", None, doubt or "No backup of this run was used."
        )
    # Writes acknowledged between the bite and its notice are lost with the broken file; the backup aged as long.
    aged = case.losses_before_backup == 0
    listed = len(case.rpo.lost_writes) == case.rpo.lost
    return _judged("RPO", "Seconds of writes lost", goal, f"{seconds:.1f} s, {case.rpo.lost} writes, each listed",
                   aged and listed, "Writes older than the backup are lost, or not every lost write is listed.")  # fmt: skip


def _baseline(case: Case) -> Iterable[Criterion]:
    base = case.baseline
    if base is None:
        yield _judged("LOAD-USERS", "Users connected", str(case.users), "not measured", None, "There was no baseline.")
        return
    yield _bounded("LOAD-USERS", "Users connected at once, by the service's gauge", f">= {case.users}",
                   base.connections, lambda n: n >= case.users, "{:.0f}")  # fmt: skip
    yield _judged("LOAD-ERRORS", "Error rate of the baseline", "0", f"{base.error_rate:.3%}",
                  None if not base.requests else base.error_rate == 0, "Requests failed before any fault.")  # fmt: skip
    yield _rate(base)
    yield _bounded("LAT-P95", "p95 of successes, failures charged", f"< {LATENCY_GATE_MS:.0f} ms", base.p95_ms,
                   lambda ms: ms < LATENCY_GATE_MS, "{:.1f} ms")  # fmt: skip
    yield _bounded("LAT-P95-CALM", "The same, on a calm machine", f"< {LATENCY_GOAL_MS:.0f} ms", base.p95_ms,
                   lambda ms: ms < LATENCY_GOAL_MS, "{:.1f} ms", gates=False)  # fmt: skip
    yield _bounded("MEMORY", "Memory of the service, all processes", f"< {MEMORY_GOAL_MIB:.0f} MiB", base.memory_mib,
                   lambda mib: mib < MEMORY_GOAL_MIB, "{:.0f} MiB")  # fmt: skip
    cores = base.generator_cpu
    calm = cores is not None and cores < GENERATOR_GOAL_CORES
    yield Criterion(
        id="LOAD-GENERATOR",
        title="The load generator had room",
        goal=f"< {GENERATOR_GOAL_CORES} cores",
        measured="not measured" if cores is None else f"{cores:.2f} cores",
        result="pass" if calm else "unknown",
        why="" if calm else "A saturated generator measures itself; its latencies say nothing.",
    )


def _rate(base: Baseline) -> Criterion:
    expected = base.expected_rate
    off = None if not expected else base.rate / expected - 1
    result = None if off is None else abs(off) <= RATE_TOLERANCE
    measured = "not measured" if off is None else f"{base.rate:.1f}/s of {expected:.1f}/s ({off:+.1%})"
    return _judged(
        "LOAD-RATE", "Requests per second, as think time implies", f"within {RATE_TOLERANCE:.0%}", measured, result,
        "The users did not do what the scenario says.", gates=base.requests >= RATE_SAMPLES_MIN,
    )  # fmt: skip


def _none_of(identity: str, title: str, found: Sequence[str], known: bool, doubt: str) -> Criterion:
    passed = False if found else True if known else None
    measured = "not known" if passed is None else str(len(found))
    return _judged(identity, title, "0", measured, passed, _examples(found) or doubt)


def _bounded(
    identity: str, title: str, goal: str, value: float | None, holds: Callable[[float], bool], shape: str,
    *, gates: bool = True,
) -> Criterion:  # fmt: skip
    measured = "not measured" if value is None else shape.format(value)
    passed = None if value is None else holds(value)
    why = "It was not measured, or too few samples lie beyond it." if value is None else "The goal was missed."
    return _judged(identity, title, goal, measured, passed, why, gates=gates)


def _judged(
    identity: str, title: str, goal: str, measured: str, passed: bool | None, why: str, *, gates: bool = True
) -> Criterion:
    result: Result = "unknown" if passed is None else "pass" if passed else "fail"
    return Criterion(
        id=identity, title=title, goal=goal, measured=measured, result=result, why="" if passed else why, gates=gates
    )


def _examples(found: Sequence[str]) -> str:
    if not found:
        return ""
    more = f" and {len(found) - 3} more" if len(found) > 3 else ""
    return ", ".join(found[:3]) + more + "."

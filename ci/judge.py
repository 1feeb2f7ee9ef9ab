"""The judge: named criteria, each with its goal, what was measured, and pass, fail or unknown. Pure.

The ids are stable; pipelines and the report refer to them. What was not seen is unknown, and only what was seen fails.

    FAULT-BIT NOTICED RTO RESTORED BACKUP-REFUSED KEY-REFUSED RECOVERED            broken, noticed, brought back
    ROLLED-BACK ALARM DEGRADED LEVEL                                               what the drill is about besides
    LEDGER DATA-LOST RPO DATA-ALTERED DATA-PHANTOM DATA-DUPLICATED READ-BACK       what clients were told
    UNKNOWN-RESOLVED SERVED-THROUGH TRANSACTIONS-LEFT DEADLOCKS                    what became of the rest
    POINTS CAPACITY WINNER ORPHANS NOTIFICATIONS                                   what the committed state obeys
    LOAD-USERS LOAD-ERRORS LOAD-RATE LAT-P95 LAT-P95-CALM MEMORY LOAD-GENERATOR    the baseline before the fault

Everything about data gates strictly. LAT-P95-CALM is printed and judged but does not gate, because these figures are also
taken on busy machines.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from ci.goals import GOALS, Goals
from ci.measure import STAYS_S
from ci.promise import Promise, examples
from ci.record import Baseline, Criterion, Findings, Result, Rpo, Rto


@dataclass(frozen=True, slots=True)
class Case:
    """Everything the judge looks at. `response` is how the operator answered: none, restart or restore.

    `missed` says of each fault without proof why it has none, `bitten` names the proven ones. `damaged_backup` is the
    backup a fault damaged. `losses_before_backup` counts the lost writes that the restored backup should have held.
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
    under_fault: tuple[int, int] | None = None
    """Requests begun from the first fault to the end of the load, and how many of them failed for good."""
    told: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    """What else the story came to, by the name of the event: `alarm`, `key.refused`, `backup.degraded`, `stores.level`."""

    @property
    def proved(self) -> bool:
        """Whether there was a fault, and every one bit."""
        return bool(self.bitten) and not self.missed

    @property
    def doubt(self) -> str:
        """Why an empty list of findings proves nothing; empty when it does."""
        return " ".join(self.findings.why_unknown)


def criteria(case: Case) -> tuple[Criterion, ...]:
    """Every criterion that applies to the drill, in the order people read them."""
    goals = GOALS.get(case.drill, Goals())
    return (*_story(case, goals), *_told(case, goals), *_obeyed(case), *_baseline(case, goals))


def accounted(case: Case) -> tuple[Criterion, ...]:
    """The criteria about data alone: what clients were told, and what the committed state obeys."""
    return (*_told(case, GOALS.get(case.drill, Goals())), *_obeyed(case))


def verdict(judged: Sequence[Criterion]) -> Result:
    """Fail when a gate failed, else unknown when a gate could not be told (or there is none), else pass."""
    results = {one.result for one in judged if one.gates}
    if "fail" in results:
        return "fail"
    return "pass" if results == {"pass"} else "unknown"


def _story(case: Case, goals: Goals) -> Iterator[Criterion]:
    bit = Promise("FAULT-BIT", "The fault bit", "proved")
    if case.proved:
        yield bit.passes(", ".join(case.bitten))
    else:
        yield bit.unknown(" ".join(case.missed) or "No fault was injected.", "no proof")
    if case.response != "none":
        yield _noticed(case)
        yield _recovery_time(case.rto, goals)
    if case.response == "restore":
        yield _restored(case)
    if goals.refuses_newest:
        yield _refused(case)
    if goals.refuses_key:
        yield _key_refused(case.told.get("key.refused"))
    yield _recovered(case.findings.steady_s)
    if goals.rolls_back:
        yield _rolled_back(case)
    if goals.alarm_s is not None:
        yield _alarm(case.told.get("alarm"), goals.alarm_s)
    if goals.degrades:
        yield _degraded(case.told.get("backup.degraded"))
        yield _level(case.told.get("stores.level"))


def _noticed(case: Case) -> Criterion:
    noticed = Promise("NOTICED", "The fault was noticed", "yes")
    if case.noticed:
        return noticed.passes("yes")
    if not case.proved:
        return noticed.unknown("There is no proof of anything to notice.", "no")
    return noticed.fails("no", "Neither the canary nor readiness showed it.")


def _recovery_time(rto: Rto | None, goals: Goals) -> Criterion:
    """Without a recovery it is only known that it took longer than the canary was kept."""
    recovery = Promise("RTO", "Recovery time", f"< {goals.recovery_s:.0f} s")
    if rto is None:
        return recovery.unknown("Recovery was not measured.")
    if rto.total_s is not None:
        why = "Recovery took longer than promised."
        return recovery.holds(rto.total_s < goals.recovery_s, f"{rto.total_s:.2f} s", why)
    if rto.watched_s is None:
        return recovery.unknown(rto.why_unknown)
    if rto.watched_s < goals.recovery_s:
        return recovery.unknown(rto.why_unknown, "not recovered")
    return recovery.fails("not recovered", rto.why_unknown)


def _restored(case: Case) -> Criterion:
    restored = Promise("RESTORED", "A backup was restored", "yes")
    return restored.holds(case.restored is not None, case.restored or "none", "No backup could be restored.")


def _refused(case: Case) -> Criterion:
    refused = Promise("BACKUP-REFUSED", "The damaged backup was refused", "refused, and an older one used")
    damaged, restored = case.damaged_backup, case.restored
    if not damaged:
        return refused.unknown("No backup is proved to have been damaged.")
    told = damaged in case.refused
    used = "none used" if restored is None else "itself used" if restored == damaged else "an older one used"
    why = f"{damaged} was damaged; it was to be refused, and an older one restored."
    return refused.holds(told and restored not in (None, damaged), f"{'' if told else 'not '}refused, {used}", why)


def _recovered(steady_s: float | None) -> Criterion:
    recovered = Promise("RECOVERED", "The service served well in the end", f"every canary of the last {STAYS_S:.0f} s")
    if steady_s is None:
        return recovered.unknown("No canary was kept.")
    return recovered.holds(steady_s >= STAYS_S, f"of the last {steady_s:.1f} s", "Canaries failed to the end.")


def _rolled_back(case: Case) -> Criterion:
    """What failed half-way and left something is an orphan, a phantom or altered; here, whether anything failed at all."""
    rolled = Promise("ROLLED-BACK", "Failed writes vanished whole", "seen")
    vanished = case.findings.vanished
    if case.doubt or vanished < 1:
        return rolled.unknown(case.doubt or "No write failed, so no rollback was seen.", f"{vanished} vanished")
    return rolled.passes(f"{vanished} vanished")


def _told(case: Case, goals: Goals) -> Iterator[Criterion]:
    found, doubt = case.findings, case.doubt
    ledger = Promise("LEDGER", "The history is whole and was checked", "whole")
    acked = f"{found.acked} writes acknowledged"
    yield ledger.unknown(doubt, acked) if doubt else ledger.passes(acked)
    yield _lost(case, goals)
    if case.response in ("restore", "failover"):
        yield _loss_in_seconds(case, goals)
    yield Promise("DATA-ALTERED", "Writes altered", "0").found_none(found.altered, doubt)
    yield Promise("DATA-PHANTOM", "Writes nobody was told of", "0").found_none(found.phantom, doubt)
    yield Promise("DATA-DUPLICATED", "Writes applied more than once", "0").found_none(found.duplicated, doubt)
    if found.steady_s is not None:  # a canary read back what it had written
        yield Promise("READ-BACK", "Acknowledged writes read back wrong", "0").found_none(found.misread, doubt)
    yield _resolved(found, doubt)
    if goals.serves_through:
        yield _served_through(case.under_fault)
    yield from _left(case.told)


def _resolved(found: Findings, doubt: str) -> Criterion:
    resolved = Promise("UNKNOWN-RESOLVED", "Unknown outcomes resolved by asking", "all of them")
    if found.unresolved:
        return resolved.fails(f"{found.unknown - len(found.unresolved)} of {found.unknown}", examples(found.unresolved))
    if doubt or (found.asked is None and found.unknown):
        return resolved.unknown(doubt or "Nobody asked the service about them.", "not known")
    return resolved.passes(f"{found.unknown} of {found.unknown}")


def _left(told: Mapping[str, Mapping[str, Any]]) -> Iterator[Criterion]:
    """Where there is a server to ask: what it says is left when all is quiet."""
    left = Promise("TRANSACTIONS-LEFT", "Transactions of the service that nobody ends", "0")
    counted = Promise("DEADLOCKS", "Deadlocks that the server ended", "counted", gates=False)
    if remains := told.get("server.remains"):
        yield left.found_none(remains["open"], "")
        yield counted.passes(str(remains["deadlocks"]))
    elif "server.away" in told:
        yield left.unknown("The server could not be asked.")
        yield counted.unknown("The server could not be asked.")


def _served_through(seen: tuple[int, int] | None) -> Criterion:
    served = Promise("SERVED-THROUGH", "Requests that failed for good from the fault on", "0")
    if seen is None or not seen[0]:
        return served.unknown("No request was begun after the fault.")
    requests, failures = seen
    return served.holds(not failures, f"{failures} of {requests}", "The service did not carry them through.")


def _key_refused(told: Mapping[str, Any] | None) -> Criterion:
    refused = Promise("KEY-REFUSED", "The wrong key was refused", "told as a wrong key, nothing touched")
    if told is None:
        return refused.unknown("No wrong key was tried.")
    measured = f"{told['kind']}, {'nothing' if told['untouched'] else 'something'} touched"
    return refused.holds(told["kind"] == "wrong-key" and told["untouched"], measured, told["said"])


def _alarm(told: Mapping[str, Any] | None, within_s: float) -> Criterion:
    alarm = Promise("ALARM", "A missed backup is told by whoever looks", f"within {within_s:.0f} s, and not before")
    if told is None:
        return alarm.unknown("Nobody looked.")
    if told["false"]:
        return alarm.fails("told without a cause", told["false"])
    if told["late_s"] is None:
        return alarm.fails("not told", "A backup was missing, and nobody was told.")
    return alarm.holds(told["late_s"] <= within_s, f"{told['late_s']:.1f} s after it was due", "It was told too late.")


def _degraded(told: Mapping[str, Any] | None) -> Criterion:
    degraded = Promise("DEGRADED", "A backup without one of its stores", "made, and the missing store named")
    if told is None:
        return degraded.unknown("No backup was made while a store was away.")
    made, named = bool(told["id"]), bool(told["named"])
    measured = f"{'made' if made else 'not made'}, the store {'named' if named else 'not named'}"
    return degraded.holds(made and named, measured, told["said"] or "Nothing was said about the store.")


def _level(told: Mapping[str, Any] | None) -> Criterion:
    level = Promise("LEVEL", "The store that came back holds every backup", "all of them")
    if told is None:
        return level.unknown("The store never came back.")
    return level.holds(told["missing"] == 0, f"{told['held']} of {told['held'] + told['missing']}")


def _lost(case: Case, goals: Goals) -> Criterion:
    """A restore may lose what came after its backup was begun, and an asynchronous standby lacks what it had not taken yet;
    how much that was is judged in seconds. Nothing else may lose anything."""
    measured, restores = f"{case.rpo.lost} of {case.rpo.acked}", case.response == "restore" and not goals.keeps_all
    follows = case.response == "failover" and not goals.keeps_all
    allowed = "0 from before the restored backup" if restores else "those the standby had not" if follows else "0"
    lost = Promise("DATA-LOST", "Acknowledged writes lost", allowed)
    if follows:
        return lost.unknown(case.doubt, measured) if case.doubt else lost.passes(measured)
    if not restores and case.rpo.lost:
        return lost.fails(measured, examples(case.findings.lost))
    if early := case.losses_before_backup:
        return lost.fails(measured, f"{early} of them were acknowledged before the restored backup was begun.")
    if case.doubt:
        return lost.unknown(case.doubt, measured)
    if case.rpo.lost and case.rpo.newest_backup_age_s is None:
        return lost.unknown("What the restored backup should have held is not known.", measured)
    return lost.passes(measured)


def _loss_in_seconds(case: Case, goals: Goals) -> Criterion:
    """What is acknowledged between bite and notice is lost with the broken file; the backup has aged as long by then."""
    rpo, bound = case.rpo, case.rpo.bound_s
    goal = "the restored backup's age" if bound is None else f"<= {bound:.1f} s, the restored backup's age"
    if goals.keeps_all or goals.loss_s is not None:
        bound = 0.0 if goals.keeps_all or goals.loss_s is None else goals.loss_s
        how = "as far as the standby had come" if case.response == "failover" else "the log replayed"
        goal = f"<= {bound:.1f} s, {how}"
    loss = Promise("RPO", "Seconds of writes lost", goal)
    if case.doubt:
        return loss.unknown(case.doubt, "not known")
    if rpo.seconds is None or bound is None:
        return loss.unknown("No backup of this run was restored after a proven fault.", "not known")
    measured = f"{rpo.seconds:.1f} s, {rpo.lost} writes"
    if len(rpo.lost_writes) != rpo.lost:
        return loss.fails(measured, f"Only {len(rpo.lost_writes)} of them are listed.")
    return loss.holds(rpo.seconds <= bound, measured, "Older writes are lost than what was restored explains.")


def _obeyed(case: Case) -> Iterator[Criterion]:
    found, doubt = case.findings, case.doubt
    points = Promise("POINTS", "Points conserved", "balances + escrow + pools = minted")
    if found.conservation:
        yield points.fails("off", found.conservation)
    else:
        yield points.unknown(doubt, "not known") if doubt else points.passes("equal")
    yield Promise("CAPACITY", "Tournaments over capacity", "0").found_none(found.capacity, doubt)
    yield Promise("WINNER", "Tournaments without exactly one winner", "0").found_none(found.winners, doubt)
    yield Promise("ORPHANS", "Rows left half-written", "0").found_none(found.orphans, doubt)
    yield Promise("NOTIFICATIONS", "Events not told exactly once", "0").found_none(found.notifications, doubt)


def _baseline(case: Case, goals: Goals) -> Iterator[Criterion]:
    users = Promise("LOAD-USERS", "Users connected at once, by the service's gauge", f">= {case.users}")
    base = case.baseline
    if base is None:
        yield users.unknown("There was no baseline.")
        return
    if base.connections is None:
        yield users.unknown("The service's gauge was not read.")
    else:
        yield users.holds(base.connections >= case.users, str(base.connections))
    errors = Promise("LOAD-ERRORS", "Error rate of the baseline", "0")
    if base.requests:
        yield errors.holds(base.error_rate == 0, f"{base.error_rate:.3%}", "Requests failed in the baseline.")
    else:
        yield errors.unknown("Nothing was sent.")
    yield _rate(base, goals)
    calm = f"< {goals.calm_p95_ms:.0f} ms"
    yield _p95(base, goals.p95_ms, Promise("LAT-P95", "p95, failures charged", f"< {goals.p95_ms:.0f} ms"))
    yield _p95(base, goals.calm_p95_ms, Promise("LAT-P95-CALM", "The same, on a calm machine", calm, gates=False))
    memory = Promise("MEMORY", "Memory of the service, all processes", f"< {goals.memory_mib:.0f} MiB")
    if base.memory_mib is None:
        yield memory.unknown("The service's gauge was not read.")
    else:
        yield memory.holds(base.memory_mib < goals.memory_mib, f"{base.memory_mib:.0f} MiB")
    yield _generator(base.generator_cpu, goals)


def _rate(base: Baseline, goals: Goals) -> Criterion:
    goal, enough = f"within {goals.rate_tolerance:.0%}", base.requests >= goals.rate_samples_min
    rate = Promise("LOAD-RATE", "Requests per second, as think time implies", goal, gates=enough)
    if not base.expected_rate:
        return rate.unknown("How many users were up is not known.")
    off = base.rate / base.expected_rate - 1
    measured = f"{base.rate:.1f}/s of {base.expected_rate:.1f}/s ({off:+.1%})"
    return rate.holds(abs(off) <= goals.rate_tolerance, measured, "The users did not do what the scenario says.")


def _p95(base: Baseline, bound_ms: float, promise: Promise) -> Criterion:
    if base.p95_ms is not None:
        return promise.holds(base.p95_ms < bound_ms, f"{base.p95_ms:.1f} ms")
    if base.error_rate > 0.05:
        return promise.fails("infinite", "More than one request in twenty failed, and a failure takes for ever.")
    return promise.unknown("Too few requests lie beyond it.")


def _generator(cores: float | None, goals: Goals) -> Criterion:
    generator = Promise("LOAD-GENERATOR", "The load generator had room", f"< {goals.generator_cores} cores")
    if cores is None:
        return generator.unknown("What the generator used was not measured.")
    if cores < goals.generator_cores:
        return generator.passes(f"{cores:.2f} cores")
    return generator.unknown("A saturated generator measures itself.", f"{cores:.2f} cores")

"""Runs as a drill would record them, made up: 1000 users for 70 s, a fault at 40 s, service again at 46 s."""

from __future__ import annotations

import random
from dataclasses import dataclass

import msgspec

from ci.record import (
    BackupUsed,
    Baseline,
    Criterion,
    Findings,
    Flow,
    LostWrite,
    Mark,
    Phase,
    Result,
    Rpo,
    Rto,
    Run,
    Series,
)

FAULT_S = 40.31
SERVING_S = 46.39
HOSTILE = "<script>alert('x')</script>"


def failing() -> Run:
    """The newest backup was corrupt: the older one was used, and more was lost than promised."""
    return _run(
        id="20261123-091403-corrupt-database",
        verdict="fail",
        criteria=_criteria(lost=2471, rpo_s=24.1),
        rpo=_rpo(lost=2471, seconds=24.1, listed=2471, age_s=24.2),
        backups=(
            _backup(1, 16.1, "restored"),
            _backup(2, 34.6, "refused", why="block 17 does not match its digest (BLAKE3)"),
        ),
        findings=_findings(lost=2471, orphans=("entry 8812 names tournament 41, which does not exist",)),
        notes=("The newest backup was refused: block 17 does not match its digest.",),
    )


def passing() -> Run:
    """The newest backup was whole, 5.7 s old at the fault, and what was written since is what was lost."""
    return _run(
        id="20261123-101155-corrupt-database",
        verdict="pass",
        criteria=_criteria(lost=577, rpo_s=5.6),
        rpo=_rpo(lost=577, seconds=5.6, listed=577, age_s=5.71),
        backups=(_backup(1, 16.1, "taken"), _backup(2, 34.6, "restored")),
        findings=_findings(lost=577),
    )


def unknown() -> Run:
    """The fault left no proof and the ledger was cut short: nothing can be said, and nothing is."""
    run = _run(
        id="20261123-114020-corrupt-database",
        verdict="unknown",
        criteria=_criteria(lost=None, rpo_s=None),
        rpo=None,
        backups=(_backup(1, 16.1, "taken"),),
        findings=_findings(lost=0, why_unknown=("ledger.jsonl has no end line: 14,211 invokes, 14,187 completions",)),
        fault={"name": "corrupt-database", "title": "Bit flips in the database file", "proof": {}},
    )
    assert run.baseline is not None
    return msgspec.structs.replace(
        run,
        rto=Rto(total_s=None, why_unknown="no proof that the fault bit, so nothing to recover from was seen"),
        baseline=msgspec.structs.replace(
            run.baseline, connections=None, expected_rate=None, memory_mib=None, generator_cpu=None
        ),
        series=msgspec.structs.replace(
            run.series, memory_mib=tuple(None for _ in run.series.t), connections=(), queue_depth=()
        ),
        marks=tuple(m for m in run.marks if m.t < FAULT_S or m.t > SERVING_S),
    )


def crash() -> Run:
    """The service was killed and came back by itself: nothing lost, nothing restored."""
    run = _run(
        id="20261123-101001-crash",
        drill="crash",
        title="The service is killed under load and started again; nothing is restored.",
        verdict="pass",
        criteria=_criteria(lost=0, rpo_s=0.0),
        rpo=Rpo(acked=14187, lost=0, seconds=0.0, without_restore=0),
        backups=(_backup(1, 16.1, "taken"), _backup(2, 34.6, "taken")),
        findings=_findings(lost=0),
        fault={
            "name": "kill-service",
            "title": "SIGKILL to the service's processes",
            "proof": {"signal": "SIGKILL", "pids": [4211, 4213, 4214], "gone_after_ms": 3.1},
        },
    )
    rto = Rto(
        total_s=1.42,
        phases=(
            Phase(name="detect", begin_s=FAULT_S, end_s=FAULT_S + 0.11),
            Phase(name="serve", begin_s=FAULT_S + 0.11, end_s=FAULT_S + 1.42),
        ),
    )
    marks = tuple(
        m for m in run.marks if m.name not in {"decide", "fence", "restore.begin", "restore.end", "verify.end"}
    )
    return msgspec.structs.replace(run, rto=rto, marks=marks)


def empty() -> Run:
    """A run that recorded nothing: no traffic, no fault, no figures."""
    return Run(
        format=1,
        id="20261123-120000-crash",
        drill="crash",
        title="The service is killed under load",
        verdict="unknown",
        began="2026-11-23T12:00:00Z",
        duration_s=0.0,
        seed=7,
        command="gymkhana drill run crash --seed 7",
        environment={},
        settings={},
        criteria=(),
        findings=Findings(invoked=0, acked=0, refused=0, unknown=0, why_unknown=("the ledger is empty",)),
        rto=None,
        rpo=None,
        baseline=None,
        series=Series(t=(), requests=(), errors=(), p50_ms=(), p95_ms=()),
        marks=(),
    )


def big() -> Run:
    """Five minutes of series and 5000 lost writes: what the page's size is held against."""
    run = failing()
    return msgspec.structs.replace(
        run,
        duration_s=300.0,
        series=_series(300),
        rpo=_rpo(lost=5000, seconds=49.8, listed=5000, age_s=50.1),
        findings=_findings(lost=5000, phantom=tuple(f"{run.id}.{n}.9" for n in range(200))),
    )


def hostile() -> Run:
    """A run in which every text tries to become markup."""
    run = failing()
    return msgspec.structs.replace(
        run,
        id=HOSTILE,
        title=HOSTILE,
        command=HOSTILE,
        environment={HOSTILE: HOSTILE},
        settings={HOSTILE: [HOSTILE]},
        fault={"name": HOSTILE, "proof": {HOSTILE: HOSTILE}},
        notes=(HOSTILE,),
        marks=tuple(msgspec.structs.replace(m, text=HOSTILE) for m in run.marks),
        flows=tuple(msgspec.structs.replace(f, name=HOSTILE) for f in run.flows),
        criteria=tuple(msgspec.structs.replace(c, why=HOSTILE, title=HOSTILE) for c in run.criteria),
        backups=tuple(msgspec.structs.replace(b, id=HOSTILE, fate=HOSTILE, why=HOSTILE) for b in run.backups),
        rto=Rto(total_s=6.0, phases=(Phase(name=HOSTILE, begin_s=40.0, end_s=46.0),)),
        rpo=Rpo(acked=9, lost=1, seconds=1.0, lost_writes=(LostWrite(op=HOSTILE, flow=HOSTILE, acked_s=39.0),)),
    )


def _run(
    *,
    id: str,
    verdict: str,
    criteria: tuple[Criterion, ...],
    rpo: Rpo | None,
    backups: tuple[BackupUsed, ...],
    findings: Findings,
    drill: str = "corrupt-database",
    title: str = "Pages of the live database are zeroed; it is restored from the newest backup.",
    fault: dict[str, object] | None = None,
    notes: tuple[str, ...] = (),
) -> Run:
    return msgspec.convert(
        {
            "format": 1,
            "id": id,
            "drill": drill,
            "title": title,
            "verdict": verdict,
            "began": "2026-11-23T09:14:03Z",
            "duration_s": 70.4,
            "seed": 7,
            "command": f"gymkhana drill run {drill} --users 1000 --seed 7",
            "environment": {
                "python": "3.11.7",
                "sqlite": "3.53.4 (pysqlite3)",
                "platform": "Linux 6.1.0 x86_64",
                "cores": "2",
                "memory": "7.8 GiB",
                "load tool": "locust 2.47.0",
                "server": "granian 2.8.7",
                "gymkhana": "0.1.0",
            },
            "settings": {"users": 1000, "think_time_s": [1, 3], "ramp_s": 10, "backups": 2, "replay": False},
            "criteria": criteria,
            "findings": findings,
            "rto": Rto(total_s=SERVING_S - FAULT_S, phases=_phases()),
            "rpo": rpo,
            "baseline": Baseline(
                users=1000,
                connections=1000,
                seconds=18.0,
                requests=8962,
                rate=497.9,
                expected_rate=499.1,
                error_rate=0.0,
                p50_ms=3.4,
                p95_ms=14.8,
                p99_ms=31.2,
                database_p95_ms=6.1,
                memory_mib=213.4,
                generator_cpu=0.61,
            ),
            "series": _series(70),
            "marks": _marks(),
            "backups": backups,
            "flows": _flows(),
            "fault": fault
            or {
                "name": "corrupt-database",
                "title": "Bit flips in the database file",
                "seed": 7,
                "proof": {
                    "file": "db/gym.db",
                    "bytes_changed": 64,
                    "pages": [2, 17, 311],
                    "integrity_check": "row 1 missing from index ix_entries_user",
                },
            },
            "notes": notes,
        },
        Run,
        strict=True,
    )


def _phases() -> tuple[Phase, ...]:
    ends = [("detect", 0.84), ("decide", 0.97), ("fence", 1.31), ("restore", 3.66), ("replay", 3.92), ("verify", 5.03)]
    begin, phases = 0.0, []
    for name, end in [*ends, ("serve", SERVING_S - FAULT_S)]:
        phases.append(Phase(name=name, begin_s=round(FAULT_S + begin, 3), end_s=round(FAULT_S + end, 3)))
        begin = end
    return tuple(phases)


def _marks() -> tuple[Mark, ...]:
    rows = [
        (0.0, "run.begin", "The run began: drill corrupt-database, seed 7."),
        (1.9, "stand.up", "The service is up on port 38121 with an empty database."),
        (2.3, "load.begin", "1000 users begin, 100 more each second."),
        (13.0, "load.steady", "All 1000 users are on, 1000 connections open."),
        (16.1, "backup.done", "Backup 1: 41.2 MB, stored as 6.3 MB in 0.8 s."),
        (20.0, "baseline.begin", "The baseline begins."),
        (34.6, "backup.done", "Backup 2: 44.0 MB, stored as 6.7 MB in 0.8 s."),
        (38.0, "baseline.end", "The baseline ends: 8962 requests, none failed."),
        (40.2, "fault.begin", "Fault corrupt-database is injected."),
        (FAULT_S, "fault.bite", "64 bytes in 3 pages of db/gym.db have changed."),
        (41.15, "notice", "The service turned not-ready: the database disk image is malformed."),
        (41.28, "decide", "Backup 1 was chosen; backup 2 was refused."),
        (41.62, "fence", "Writers are fenced and the old files kept as evidence."),
        (41.63, "restore.begin", "The restore began."),
        (43.97, "restore.end", "The restored database is in place."),
        (45.34, "verify.end", "Integrity, foreign keys and content digests are right."),
        (SERVING_S, "serve.ready", "A canary was written and read back, and stayed."),
        (66.0, "load.end", "The users leave."),
        (68.9, "survey.done", "11,716 surviving operations were listed."),
        (70.4, "run.end", "The run ended; everything was cleaned up."),
    ]
    return tuple(Mark(t=t, name=name, text=text) for t, name, text in rows)


@dataclass(frozen=True, slots=True)
class _Second:
    requests: float
    errors: float
    p50_ms: float | None
    p95_ms: float | None
    database_ms: float | None
    memory_mib: float | None
    connections: float | None
    queue: float | None


def _second(t: int, end: int, chance: random.Random) -> _Second:
    """What this second of the run looks like: idle, ramp, steady, outage, catching up, winding down."""
    if t < 2 or t >= end - 4:
        return _Second(0, 0, None, None, None, 148 if t < 2 else 221, 0, 0)
    users = min(1.0, (t - 2) / 10)
    rate = 500 * users + chance.gauss(0, 11) * users
    memory = 150 + 62 * (1 - 2.7 ** (-t / 14)) + chance.gauss(0, 1.2)
    if 40 <= t < 46:
        failed = 180.0 if t == 40 else 610 + chance.gauss(0, 35)
        answered = 200.0 if t == 40 else 0.0
        down = t > 41
        p50, p95 = (5.2, 61.0) if t == 40 else (None, None)
        memory = 96 + chance.gauss(0, 2) if down else memory
        return _Second(answered + failed, failed, p50, p95, None if down else 44, memory, 400 if down else 1000, 0)
    slow = 2.7 ** (-(t - 46) / 2.2) if t >= 46 else 0.0
    backup = 1.0 if t in (15, 16, 34) else 0.0
    p50 = 3.2 + chance.random() * 0.6 + 40 * slow + backup
    p95 = 13 + chance.gauss(0, 1.4) + 900 * slow + 22 * backup
    return _Second(
        requests=round(rate * (1 + 0.5 * slow)),
        errors=round(24 * slow) if slow > 0.2 else 0,
        p50_ms=round(p50, 2),
        p95_ms=round(p95, 2),
        database_ms=round(5.6 + chance.gauss(0, 0.5) + 60 * slow + 14 * backup, 2),
        memory_mib=round(memory, 1),
        connections=round(1000 * users),
        queue=round(3 + chance.random() * 4 + 300 * slow),
    )


def _series(seconds: int) -> Series:
    chance = random.Random(7)
    rows = [_second(t, seconds, chance) for t in range(seconds)]
    return Series(
        t=tuple(float(t) for t in range(seconds)),
        requests=tuple(round(r.requests) for r in rows),
        errors=tuple(round(r.errors) for r in rows),
        p50_ms=tuple(r.p50_ms for r in rows),
        p95_ms=tuple(r.p95_ms for r in rows),
        database_p95_ms=tuple(r.database_ms for r in rows),
        memory_mib=tuple(r.memory_mib for r in rows),
        connections=tuple(r.connections for r in rows),
        queue_depth=tuple(r.queue for r in rows),
        shed=tuple(0.0 for _ in rows),
        timing_p95_ms=tuple(None if r.database_ms is None else round(r.database_ms * 0.9, 2) for r in rows),
        memory_by_process={
            name: tuple(None if r.memory_mib is None else round(r.memory_mib * share, 1) for r in rows)
            for name, share in (("http", 0.6), ("writer", 0.4))
        },
        cpu_by_process={name: tuple(round(r.requests) / 500 for r in rows) for name in ("http", "writer")},
        generator_cores=tuple(0.2 for _ in rows),
        generator_mib=tuple(80.0 for _ in rows),
    )


def _flows() -> tuple[Flow, ...]:
    rows = [
        ("score", 9210, 1093, 3.6, 15.2, 44.1),
        ("standings", 6402, 802, 2.1, 9.8, 21.0),
        ("notifications", 5188, 640, 2.4, 10.4, 24.9),
        ("join", 3904, 511, 4.4, 18.0, 52.7),
        ("challenge", 2551, 322, 4.9, 19.3, 58.2),
        ("profile", 1280, 160, 3.1, 12.2, 30.5),
        ("log-in", 62, 9, 58.0, 171.0, None),
    ]
    return tuple(
        Flow(name=n, requests=r, failures=f, p50_ms=p50, p95_ms=p95, p99_ms=p99) for n, r, f, p50, p95, p99 in rows
    )


def _rpo(lost: int, seconds: float, listed: int, age_s: float) -> Rpo:
    flows = ("score", "score", "join", "challenge", "profile")
    writes = tuple(
        LostWrite(
            op=f"r7f3a.{n % 1000}.{n // 1000 + 12}",
            flow=flows[n % len(flows)],
            acked_s=round(FAULT_S - seconds + n * seconds / lost, 3),
        )
        for n in range(listed)
    )
    return Rpo(
        acked=14187,
        lost=lost,
        seconds=seconds,
        lost_writes=writes,
        newest_backup=lost,
        newest_backup_age_s=age_s,
    )


def _backup(number: int, taken_s: float, fate: str, why: str = "") -> BackupUsed:
    return BackupUsed(
        id=f"20261123T0914{int(taken_s):02d}Z-00000{number}",
        taken_s=taken_s,
        seconds=0.78 + number / 100,
        size_bytes=41_200_000 + number * 1_400_000,
        stored_bytes=6_300_000 + number * 210_000,
        fate=fate,
        why=why,
    )


def _findings(
    lost: int,
    orphans: tuple[str, ...] = (),
    phantom: tuple[str, ...] = (),
    why_unknown: tuple[str, ...] = (),
) -> Findings:
    return Findings(
        invoked=15_604,
        acked=14_187,
        refused=1_198,
        unknown=219,
        lost=tuple(f"r7f3a.{n}.12" for n in range(min(lost, 100))),
        recovered=tuple(f"r7f3a.{n}.31" for n in range(0, 40, 4)),
        phantom=phantom,
        orphans=orphans,
        why_unknown=why_unknown,
    )


def _criteria(lost: int | None, rpo_s: float | None) -> tuple[Criterion, ...]:
    """Fifteen criteria; without a count of losses, those about the fault and the data could not be judged."""
    cut = "the ledger was cut short, so absence proves nothing"
    bad = lost == 2471
    whys = {
        "RPO": "the newest backup was refused and the older one restored, which cost 18.5 s more",
        "DATA-ORPHANS": "entry 8812 names tournament 41, which does not exist",
    }
    doubts = {
        "FAULT-BITE": "no proof: the digest of db/gym.db is the same after the fault",
        "RTO": "without a fault there is no recovery to time",
        "MEMORY": "no sample held it",
    }
    rows = [
        ("LOAD-USERS", "All users connected at once", "1,000 connections", "1,000"),
        ("LOAD-RATE", "Rate that think time implies", "within 5 %", "497.9 of 499.1 /s"),
        ("LOAD-ERRORS", "Errors in the baseline", "0", "0 of 8,962"),
        ("LAT-P95", "p95 of successes", "≤ 500 ms", "14.8 ms"),
        ("FAULT-BITE", "The fault bit", "proof", "64 bytes changed"),
        ("RTO", "Recovery time", "≤ 15 s", "6.08 s"),
        ("RPO", "Loss is no older than the newest backup", "≤ 5.7 s", f"{rpo_s} s"),
        ("DATA-LISTED", "Every lost write is listed", "all", f"{lost or 0:,} of {lost or 0:,}"),
        ("DATA-ALTERED", "Surviving writes are unaltered", "0", "0"),
        ("DATA-PHANTOM", "Nothing survives that was refused", "0", "0"),
        ("DATA-DUPLICATED", "Nothing was applied twice", "0", "0"),
        ("DATA-POINTS", "Points are conserved", "minted = held", "1,000,000 = 1,000,000"),
        ("DATA-ORPHANS", "No row points at nothing", "0", "1" if bad else "0"),
        ("LAT-P95-CALM", "p95 on a calm machine", "≤ 50 ms", "14.8 ms"),
        ("MEMORY", "Memory of the service", "≤ 300 MiB", "213.4 MiB"),
    ]

    def judged(id: str, title: str, goal: str, measured: str) -> Criterion:
        result: Result = "fail" if bad and id in whys else "pass"
        why = whys[id] if result == "fail" else ""
        if lost is None and not id.startswith("L"):
            result, measured, why = "unknown", "not measured", doubts.get(id, cut)
        gates = id != "LAT-P95-CALM"
        return Criterion(id=id, title=title, goal=goal, measured=measured, result=result, why=why, gates=gates)

    return tuple(judged(*row) for row in rows)

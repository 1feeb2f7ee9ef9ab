"""One run as versioned JSON: what `run.json` holds, and nothing that computes it.

Times are seconds on the run's own axis: 0 is the run's first event, on one monotonic clock. Instants meant for people
are RFC 3339 in UTC. A field that could not be measured is null, never 0.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any, Literal

import msgspec

FORMAT = 1
"""Version of the record's shape. A reader refuses a newer one; adding a field with a default keeps the number."""

Result = Literal["pass", "fail", "unknown"]


class Criterion(msgspec.Struct, frozen=True, kw_only=True):
    """One named promise and how it came out.

    `id` is stable and documented (`DATA-LOST`, `RTO`, ...). `gates` is False for a figure that is printed and judged but
    does not decide the verdict. `why` is empty for a plain pass.
    """

    id: str
    title: str
    goal: str
    measured: str
    result: Result
    why: str = ""
    gates: bool = True


class Phase(msgspec.Struct, frozen=True, kw_only=True):
    """A stretch of the recovery: detect, decide, fence, restore, replay, verify or serve."""

    name: str
    begin_s: float
    end_s: float


class Rto(msgspec.Struct, frozen=True, kw_only=True):
    """Recovery time: from the fault's proof of bite to the first canary written and read back that stays so.

    `watched_s` is for how long after the bite the canary was kept: without a total, recovery took longer than that.
    """

    total_s: float | None
    phases: tuple[Phase, ...] = ()
    resolution_s: float = 0.05
    why_unknown: str = ""
    watched_s: float | None = None


class LostWrite(msgspec.Struct, frozen=True, kw_only=True):
    """An acknowledged write that did not survive."""

    op: str
    flow: str
    acked_s: float


class Rpo(msgspec.Struct, frozen=True, kw_only=True):
    """What was lost: acknowledged writes, as a count and as seconds (see `docs/design.md`, Definitions).

    The three statements of the loss: `without_restore` (nothing was restored), `newest_backup` (restored, no replay),
    `with_replay`. The two that do not apply to a run are null. `newest_backup_age_s` is the age of the restored backup at
    the fault, `bound_s` its age when the last lost write was acknowledged: `seconds` beyond it are not explained by it.
    """

    acked: int
    lost: int
    seconds: float | None
    lost_writes: tuple[LostWrite, ...] = ()
    without_restore: int | None = None
    newest_backup: int | None = None
    with_replay: int | None = None
    newest_backup_age_s: float | None = None
    bound_s: float | None = None


class Findings(msgspec.Struct, frozen=True, kw_only=True):
    """What the checker saw: counts, and operation ids or names.

    `misread` are writes that the canary was told of and then read back wrong; `steady_s` is for how long, up to its end,
    every canary was right (null without one); `vanished` counts the writes that the service itself answered as failed
    and that left nothing; `asked` how many unknown writes the service was asked about by their ids (null when nobody asked),
    `unresolved` those of which it said nothing, or something else than what survived. With anything in `why_unknown`, an
    empty list proves nothing.
    """

    invoked: int
    acked: int
    refused: int
    unknown: int
    lost: tuple[str, ...] = ()
    altered: tuple[str, ...] = ()
    phantom: tuple[str, ...] = ()
    duplicated: tuple[str, ...] = ()
    recovered: tuple[str, ...] = ()
    conservation: str = ""
    capacity: tuple[str, ...] = ()
    winners: tuple[str, ...] = ()
    orphans: tuple[str, ...] = ()
    notifications: tuple[str, ...] = ()
    misread: tuple[str, ...] = ()
    steady_s: float | None = None
    vanished: int = 0
    asked: int | None = None
    unresolved: tuple[str, ...] = ()
    why_unknown: tuple[str, ...] = ()


class Baseline(msgspec.Struct, frozen=True, kw_only=True):
    """The steady stretch before the fault, at its worst: the fewest users connected, the slowest second of the database,
    the most memory. Latency is of successes with failures charged as infinite; null when that makes it infinite, or when
    too few samples lie beyond. `connections` leaves out the harness's own.
    """

    users: int
    connections: int | None
    seconds: float
    requests: int
    rate: float
    expected_rate: float | None
    error_rate: float
    p50_ms: float | None
    p95_ms: float | None
    p99_ms: float | None
    database_p95_ms: float | None
    memory_mib: float | None
    generator_cpu: float | None


class Series(msgspec.Struct, frozen=True, kw_only=True):
    """One row per second of the run. Lists are all of the same length as `t`; null where nothing was seen.

    The database's p95 stands here twice: by the service's own histogram, and `timing_p95_ms` by the `Server-Timing` of its
    answers. `shed` are requests refused per second; cores and memory are of each process of the service, and of the
    generator.
    """

    t: tuple[float, ...]
    requests: tuple[float, ...]
    errors: tuple[float, ...]
    p50_ms: tuple[float | None, ...]
    p95_ms: tuple[float | None, ...]
    database_p95_ms: tuple[float | None, ...] = ()
    memory_mib: tuple[float | None, ...] = ()
    connections: tuple[float | None, ...] = ()
    queue_depth: tuple[float | None, ...] = ()
    shed: tuple[float | None, ...] = ()
    timing_p95_ms: tuple[float | None, ...] = ()
    memory_by_process: dict[str, tuple[float | None, ...]] = {}
    cpu_by_process: dict[str, tuple[float | None, ...]] = {}
    generator_cores: tuple[float | None, ...] = ()
    generator_mib: tuple[float | None, ...] = ()


class Mark(msgspec.Struct, frozen=True, kw_only=True):
    """One thing that happened at one instant: load steady, backup done, fault bit, service ready."""

    t: float
    name: str
    text: str


class BackupUsed(msgspec.Struct, frozen=True, kw_only=True):
    """A backup the run took, and what became of it: taken, refused, restored."""

    id: str
    taken_s: float
    seconds: float
    size_bytes: int
    stored_bytes: int
    fate: str
    why: str = ""


class Flow(msgspec.Struct, frozen=True, kw_only=True):
    """One flow over the whole run: how often, how it came out, and how fast its successes were, failures not charged."""

    name: str
    requests: int
    failures: int
    p50_ms: float | None
    p95_ms: float | None
    p99_ms: float | None


class Run(msgspec.Struct, frozen=True, kw_only=True):
    """A whole run: enough to draw the report and to gate a pipeline, with the raw files beside it to redo everything."""

    format: int
    id: str
    drill: str
    title: str
    verdict: Result
    began: str
    duration_s: float
    seed: int
    command: str
    environment: dict[str, str]
    settings: dict[str, Any]
    criteria: tuple[Criterion, ...]
    findings: Findings
    rto: Rto | None
    rpo: Rpo | None
    baseline: Baseline | None
    series: Series
    marks: tuple[Mark, ...]
    backups: tuple[BackupUsed, ...] = ()
    flows: tuple[Flow, ...] = ()
    fault: dict[str, Any] = {}
    notes: tuple[str, ...] = ()


def write(run: Run, path: Path) -> None:
    """`path` holds the run as indented JSON, whole or not at all."""
    partial = path.with_suffix(".partial")
    partial.write_bytes(msgspec.json.format(msgspec.json.encode(run), indent=1) + b"\n")
    partial.replace(path)


def read(path: Path) -> Run:
    """The run stored at `path`. Raises `msgspec.DecodeError` when it is not a run, or is of a newer format."""
    raw = path.read_bytes()
    stamp = msgspec.json.decode(raw, type=_Stamp)
    if stamp.format > FORMAT:
        raise msgspec.ValidationError(f"{path} is of format {stamp.format}; this version reads up to {FORMAT}")
    return msgspec.json.decode(raw, type=Run)


def schema() -> dict[str, Any]:
    """JSON Schema (2020-12) of `run.json`."""
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": "Gymkhana run",
        **msgspec.json.schema(Run),
    }


def published_schema() -> bytes:
    """What `docs/run.schema.json` holds: `schema()`, indented."""
    return msgspec.json.format(msgspec.json.encode(schema()), indent=2) + b"\n"


class _Stamp(msgspec.Struct):
    """The part of a record that every version can read."""

    format: int

"""From a run's raw files to its verdict: read, check, measure, judge, record. Nothing here writes upstream."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import msgspec

from ci import aftermath, checker, judge, measure, record
from ci.journal import Event, read_events
from ci.record import Criterion, Rpo, Run
from loadtests import scenario_file
from loadtests.errors import LedgerError
from loadtests.generator import read_samples
from loadtests.history import History, read_history
from loadtests.measure import observe


class UnreadableRun(Exception):
    """What lies there is not the raw files of a run, so there is nothing to judge."""

    exit_code = 3


def judge_run(directory: Path) -> Run:
    """The verdict on the run in `directory`, written to its `run.json`. Only the raw files are read.

    Raises UnreadableRun when not even its events can be read; what else is missing makes the verdict unknown.
    """
    settings = msgspec.json.decode((directory / "settings.json").read_bytes())
    events = _events(directory / "events.jsonl")
    scenario = scenario_file.read(Path(settings["scenario"]))
    load, canary = _history(directory / "ledger.jsonl"), _history(directory / "canary.jsonl")
    both = _both(load, canary)
    samples = _lines(directory / "samples.jsonl", measure.Sample)
    generator = read_samples(directory / "generator.jsonl")
    restoration = _document(directory / "restore.json")
    origin, end = events[0].t, events[-1].t
    restored = restoration["backup"] if restoration else None

    findings = checker.check(both, _survivors(directory), _state(directory), _asked(directory / aftermath.FILE))
    if all(event.event != "run.end" for event in events):
        why = (*findings.why_unknown, "The run was cut short: its end is not among its events.")
        findings = msgspec.structs.replace(findings, why_unknown=why)
    rto = None if settings["response"] == "none" else measure.recovery(events, canary.dones, origin, findings.lost)
    replayed = bool(restoration and restoration.get("replayed"))
    rpo = measure.loss(both, findings.lost, events, restored, settings["response"], origin, replayed=replayed)
    window = measure.window(events)
    base = None
    if window is not None:
        base = measure.baseline(observe(load, scenario, window), samples, generator, settings["users"])
    taken = measure.backup_taken(events, restored)
    case = judge.Case(
        drill=settings["drill"],
        response=settings["response"],
        users=settings["users"],
        findings=findings,
        rto=rto,
        rpo=rpo,
        baseline=base,
        missed=tuple(event.text for event in events if event.event == "fault.missed"),
        bitten=tuple(event.data["fault"] for event in events if event.event == "fault.bite"),
        noticed=any(event.event == "notice" for event in events),
        restored=restored,
        refused=tuple(one["id"] for one in restoration["refused"]) if restoration else (),
        damaged_backup=_damaged_backup(events),
        losses_before_backup=sum(taken is not None and lost.acked_s + origin < taken for lost in rpo.lost_writes),
        under_fault=measure.under_fault(load, scenario, events),
        told={event.event: event.data for event in events},
    )
    criteria = judge.criteria(case)
    run = Run(
        format=record.FORMAT,
        id=settings["id"],
        drill=settings["drill"],
        title=settings["title"],
        verdict=judge.verdict(criteria),
        began=events[0].wall,
        duration_s=end - origin,
        seed=settings["seed"],
        command=settings["command"],
        environment=settings["environment"],
        settings={name: settings[name] for name in ("users", "tool", "response", "pace", "scenario")},
        criteria=criteria,
        findings=findings,
        rto=rto,
        rpo=rpo,
        baseline=base,
        series=measure.series(load, scenario, samples, origin, end, generator),
        marks=measure.marks(events, origin),
        backups=measure.backups(events, restoration, origin),
        flows=measure.flows(load, scenario),
        fault=_fault(events),
    )
    record.write(run, directory / "run.json")
    return run


def account_load(directory: Path, users: int) -> tuple[Criterion, ...]:
    """What a load's users were told, held against what the database of its stand held in the end. Only reads raw files."""
    history = _history(directory / "ledger.jsonl")
    findings = checker.check(history, _survivors(directory), _state(directory), _asked(directory / aftermath.FILE))
    case = judge.Case(
        drill="load",
        response="none",
        users=users,
        findings=findings,
        rto=None,
        rpo=Rpo(acked=findings.acked, lost=len(findings.lost), seconds=None),
        baseline=None,
        missed=(),
        bitten=(),
        noticed=False,
        restored=None,
        refused=(),
        damaged_backup=None,
        losses_before_backup=0,
    )
    return judge.accounted(case)


def _events(path: Path) -> list[Event]:
    try:
        events = read_events(path)
    except (FileNotFoundError, msgspec.DecodeError) as error:
        raise UnreadableRun(f"{path} cannot be read ({error}), so nothing of that run can be judged.") from error
    if not events:
        raise UnreadableRun(f"{path} is empty: that run ended before it began, and there is nothing to judge.")
    return events


def _history(path: Path) -> History:
    try:
        return read_history(path)
    except LedgerError as error:
        return History((), (), (), (), str(error))


def _both(load: History, canary: History) -> History:
    return History(
        load.clocks + canary.clocks,
        load.invokes + canary.invokes,
        load.dones + canary.dones,
        load.users,
        "; ".join(why for why in (load.cut_short, canary.cut_short) if why),
    )


def _survivors(directory: Path) -> list[checker.Survivor] | None:
    """None when the survey is missing or was cut short: what it does not name would else seem lost."""
    try:
        data = (directory / "survivors.jsonl").read_bytes()
        if data and not data.endswith(b"\n"):
            return None
        return msgspec.json.Decoder(checker.Survivor).decode_lines(data)
    except (FileNotFoundError, msgspec.DecodeError):
        return None


def _state(directory: Path) -> checker.State | None:
    try:
        return msgspec.json.decode((directory / "state.json").read_bytes(), type=checker.State)
    except (FileNotFoundError, msgspec.DecodeError):
        return None


def _asked(path: Path) -> list[checker.Asked] | None:
    """None when nobody asked."""
    return _lines(path, checker.Asked) if path.exists() else None


def _lines(path: Path, kind: type[Any]) -> list[Any]:
    if not path.exists():
        return []
    data = path.read_bytes()
    return msgspec.json.Decoder(kind).decode_lines(data[: data.rfind(b"\n") + 1])


def _document(path: Path) -> dict[str, Any] | None:
    return msgspec.json.decode(path.read_bytes(), type=dict[str, Any]) if path.exists() else None


def _damaged_backup(events: list[Event]) -> str | None:
    for event in events:
        if event.event == "fault.bite" and event.data["fault"] == "corrupt-newest-backup":
            return str(event.data["proof"].get("backup") or "")
    return None


def _fault(events: list[Event]) -> dict[str, Any]:
    bites = [event for event in events if event.event == "fault.bite"]
    return {
        "name": " and ".join(event.data["fault"] for event in bites) or "no fault",
        "proof": [event.data["proof"] | {"fault": event.data["fault"]} for event in bites],
    }

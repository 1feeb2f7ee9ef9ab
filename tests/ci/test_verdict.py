"""A whole run judged from its files; then one file is spoilt, and the verdict is no longer a pass."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import msgspec
import pytest

from ci import record
from ci.checker import Asked
from ci.journal import Event
from ci.measure import Sample
from ci.record import Result, Run
from ci.verdict import UnreadableRun, account_load, judge_run
from loadtests.generator import GeneratorSample
from loadtests.history import History
from loadtests.ledger import End, Invoke, User
from tests.ci.histories import (
    CLOCK,
    Sent,
    acked,
    backup,
    bite,
    canary,
    event,
    history,
    read,
    silent,
    state,
    sung,
    survivor,
)  # fmt: skip

SCENARIO = {
    "name": "two flows",
    "seed": 1,
    "timeout_s": 1,
    "think": {"min_s": 0.05, "max_s": 0.1},
    "load": {"users": 2, "ramp_per_s": 1, "seconds": 0},
    "samples_min": 1,
    "levels": [],
    "flows": [
        {"name": "profile", "weight": 1, "method": "GET", "path": "/users/me"},
        {"name": "score", "weight": 1, "method": "POST", "path": "/matches/1/events", "write": True, "expect": [201]},
    ],
}
EVENTS = [
    event(100.0, "run.begin"),
    event(110.0, "baseline.begin"),
    event(120.0, "baseline.end"),
    backup(121.5, "b1", taken_t=121.0),
    backup(130.5, "b2", taken_t=130.0),
    event(139.9, "fault.begin", fault="delete-database"),
    bite(140.0, "delete-database", observed="the file is gone"),
    event(140.5, "notice"),
    event(140.8, "fence"),
    event(141.0, "decide"),
    event(142.0, "restore.end"),
    event(142.5, "verify.end"),
    event(142.9, "serve.ready"),
    event(150.5, "survey.done"),
    event(151.0, "run.end"),
]
SENT = [acked(f"R.1.{n}", 110.0 + n, d=0.1) for n in range(40) if not 140.0 <= 110.0 + n < 143.0]
"""A write a second. Those of 130 to 140 came after the backup and are lost with the database."""
PROBES = canary((105.0, 140.0, sung), (140.0, 143.0, silent), (143.0, 150.0, sung))


def lines(rows: Iterable[Any]) -> bytes:
    return b"".join(msgspec.json.encode(row) + b"\n" for row in rows)


def ledger(told: History) -> bytes:
    """The history as a generator would have written it."""
    end = End(invoked=len(told.invokes), done=len(told.dones), t=151.0)
    told_t = {id(one): one.t for one in (*told.users, *told.invokes)} | {id(one): one.t + one.d for one in told.dones}
    written = sorted((*told.users, *told.invokes, *told.dones), key=lambda one: told_t[id(one)])
    return lines([*told.clocks, *written, end])


def survives(t: float) -> bool:
    return t < 129.95 or t >= 143.0


@pytest.fixture
def directory(tmp_path: Path) -> Path:
    """The files of a drill that went well: a database deleted, restored from a backup of ten seconds before."""
    users = [User(user=user, t=101.0, up=True) for user in (1, 2)]
    reads = [read(110.0 + n / 23, d=0.005) for n in range(230)]
    chirps = [Sent(Invoke(op=str(one.op), flow="canary", user=0, t=one.t), None) for one in PROBES if one.write]
    settings = {
        "id": "R", "drill": "lost-database", "title": "The database is deleted under load.", "response": "restore",
        "seed": 7, "tool": "locust", "users": 2, "pace": {"users": 2}, "scenario": str(tmp_path / "scenario.json"),
        "command": "gymkhana drill run lost-database --users 2 --seed 7", "environment": {"python": "3.11"},
    }  # fmt: skip
    there = [survivor(sent.invoke.op) for sent in SENT if survives(sent.invoke.t)]
    there += [survivor(str(one.op)) for one in PROBES if one.write and one.outcome == "ok" and survives(one.t)]
    files = {
        "scenario.json": msgspec.json.encode(SCENARIO),
        "settings.json": msgspec.json.encode(settings),
        "events.jsonl": lines(EVENTS),
        "ledger.jsonl": ledger(history(*SENT, reads=reads, users=users)),
        "canary.jsonl": ledger(history(*chirps, reads=PROBES)),
        "samples.jsonl": lines(Sample(100.0 + n, {"http": 2**27}, 4, 1, 2.0, 0, n, 0) for n in range(50)),
        "generator.jsonl": lines(GeneratorSample(100.0 + n, 0.2, 2**26) for n in range(50)),
        "restore.json": msgspec.json.encode({"backup": "b2", "refused": []}),
        "asked.jsonl": lines(Asked(str(one.op), "absent") for one in PROBES if one.write and one.outcome == "unknown"),
        "survivors.jsonl": lines(there),
        "state.json": msgspec.json.encode(state()),
    }
    for name, content in files.items():
        (tmp_path / name).write_bytes(content)
    return tmp_path


def not_passed(run: Run) -> dict[str, Result]:
    """The criteria that gate and did not pass."""
    return {one.id: one.result for one in run.criteria if one.gates and one.result != "pass"}


def edit(path: Path, change: Callable[[list[bytes]], list[bytes]]) -> None:
    """The file with other lines."""
    path.write_bytes(b"".join(change(path.read_bytes().splitlines(keepends=True))))


def without(*texts: str) -> Callable[[list[bytes]], list[bytes]]:
    """Every line but those that hold one of the texts."""
    return lambda all_lines: [line for line in all_lines if not any(text.encode() in line for text in texts)]


def test_a_run_that_went_well_passes(directory: Path) -> None:
    run = judge_run(directory)
    assert {one.id: one.why for one in run.criteria if one.result != "pass"} == {}
    assert run.verdict == "pass"
    assert run.rto is not None
    assert run.rto.total_s == pytest.approx(3.01)
    assert [phase.name for phase in run.rto.phases] == ["detect", "fence", "decide", "restore", "verify", "serve"]


def test_what_a_restore_lost_is_counted_listed_and_dated(directory: Path) -> None:
    run = judge_run(directory)
    assert run.rpo is not None
    users = [one.op for one in run.rpo.lost_writes if one.flow == "score"]
    assert users == [f"R.1.{n}" for n in range(20, 30)]
    assert len(run.rpo.lost_writes) == run.rpo.lost == len(run.findings.lost)
    assert (run.rpo.newest_backup, run.rpo.without_restore, run.rpo.newest_backup_age_s) == (run.rpo.lost, None, 10.0)
    assert run.rpo.seconds == pytest.approx(140.0 - 130.004)
    assert [(one.id, one.fate) for one in run.backups] == [("b1", "taken"), ("b2", "restored")]


def test_the_record_is_written_beside_the_raw_files(directory: Path) -> None:
    run = judge_run(directory)
    assert record.read(directory / "run.json") == run
    assert (run.id, run.drill, run.seed, run.duration_s) == ("R", "lost-database", 7, 51.0)
    assert len(run.series.t) == 51
    assert run.baseline is not None
    assert (run.baseline.connections, run.baseline.memory_mib) == (2, 128.0)
    assert run.baseline.generator_cpu == pytest.approx(0.2)


def test_judging_twice_gives_the_same_bytes(directory: Path) -> None:
    judge_run(directory)
    first = (directory / "run.json").read_bytes()
    judge_run(directory)
    assert (directory / "run.json").read_bytes() == first


def test_judging_changes_no_raw_file(directory: Path) -> None:
    before = {path.name: path.read_bytes() for path in directory.iterdir()}
    judge_run(directory)
    after = {path.name: path.read_bytes() for path in directory.iterdir() if path.name != "run.json"}
    assert after == before


@pytest.mark.parametrize("name", ["ledger.jsonl", "canary.jsonl"])
@pytest.mark.parametrize("keep", [-1, -20], ids=["the end line torn", "its end line gone"])
def test_a_truncated_ledger_is_unknown(directory: Path, name: str, keep: int) -> None:
    path = directory / name
    data = path.read_bytes()
    path.write_bytes(data[:keep] if keep == -1 else b"".join(data.splitlines(keepends=True)[:-1]))
    run = judge_run(directory)
    assert run.verdict == "unknown"
    assert not_passed(run)["LEDGER"] == "unknown"


@pytest.mark.parametrize("content", [b"", None, ledger(history()), ledger(history(clocks=()))],
                         ids=["empty", "missing", "nothing told", "end alone"])  # fmt: skip
def test_a_ledger_with_nothing_in_it_never_passes(directory: Path, content: bytes | None) -> None:
    path = directory / "ledger.jsonl"
    if content is None:
        path.unlink()
    else:
        path.write_bytes(content)
    assert judge_run(directory).verdict != "pass"


def test_an_empty_ledger_is_unknown(directory: Path) -> None:
    (directory / "ledger.jsonl").write_bytes(b"")
    run = judge_run(directory)
    assert run.verdict == "unknown"
    assert "ledger.jsonl is empty" in " ".join(run.findings.why_unknown)


def test_a_missing_canary_is_unknown(directory: Path) -> None:
    (directory / "canary.jsonl").unlink()
    run = judge_run(directory)
    assert run.verdict == "unknown"
    assert not_passed(run)["RTO"] == "unknown"


def test_a_fault_that_missed_is_unknown(directory: Path) -> None:
    missed = event(140.1, "fault.missed", "corrupt-database left no proof.", fault="corrupt-database")
    edit(directory / "events.jsonl", lambda all_lines: [*all_lines, lines([missed])])
    run = judge_run(directory)
    assert run.verdict == "unknown"
    assert not_passed(run)["FAULT-BIT"] == "unknown"
    assert run.rto is not None
    assert run.rto.total_s is None


def test_a_drill_without_a_fault_is_unknown(directory: Path) -> None:
    edit(directory / "events.jsonl", without("fault.bite"))
    assert judge_run(directory).verdict == "unknown"


def test_a_survivor_from_before_the_backup_that_is_gone_fails(directory: Path) -> None:
    edit(directory / "survivors.jsonl", without('"R.1.5"'))
    run = judge_run(directory)
    assert run.verdict == "fail"
    assert not_passed(run)["DATA-LOST"] == "fail"
    assert "R.1.5" in run.findings.lost


def test_ten_survivors_gone_are_exactly_ten_more_lost(directory: Path) -> None:
    lost = len(judge_run(directory).findings.lost)
    edit(directory / "survivors.jsonl", without(*(f'"R.1.{n}"' for n in range(10))))
    assert len(judge_run(directory).findings.lost) == lost + 10


def test_a_survivor_gone_after_a_mere_restart_fails_whenever_it_was_written(directory: Path) -> None:
    settings = json.loads((directory / "settings.json").read_bytes())
    (directory / "settings.json").write_text(json.dumps(settings | {"drill": "crash", "response": "restart"}))
    (directory / "restore.json").unlink()
    run = judge_run(directory)
    assert not_passed(run) == {"DATA-LOST": "fail"}


def test_losses_that_the_restored_backup_should_have_held_fail(directory: Path) -> None:
    """The newest was said to be restored, and what is there is what the one before it held."""
    edit(directory / "survivors.jsonl", without(*(f'"R.1.{n}"' for n in range(11, 20))))
    run = judge_run(directory)
    assert not_passed(run) == {"DATA-LOST": "fail", "RPO": "fail"}


def test_a_restore_that_fell_back_explains_what_it_lost(directory: Path) -> None:
    """The same losses, with the older backup honestly named."""
    edit(directory / "survivors.jsonl", without(*(f'"R.1.{n}"' for n in range(11, 20))))
    told = {"backup": "b1", "refused": [{"id": "b2", "why": "block 3 is damaged"}]}
    (directory / "restore.json").write_text(json.dumps(told))
    run = judge_run(directory)
    assert not_passed(run) == {}
    assert [(one.id, one.fate) for one in run.backups] == [("b1", "restored"), ("b2", "refused")]


@pytest.mark.parametrize("backup_id", ["b1", "b2"])
def test_a_damaged_backup_must_have_been_refused(directory: Path, backup_id: str) -> None:
    settings = json.loads((directory / "settings.json").read_bytes())
    (directory / "settings.json").write_text(json.dumps(settings | {"drill": "corrupt-newest-backup"}))
    hurt: Event = bite(139.0, "corrupt-newest-backup", backup="b2")
    edit(directory / "events.jsonl", lambda all_lines: [*all_lines, lines([hurt])])
    refused = [{"id": "b2", "why": "damaged"}] if backup_id == "b1" else []
    (directory / "restore.json").write_text(json.dumps({"backup": backup_id, "refused": refused}))
    run = judge_run(directory)
    assert not_passed(run) == ({} if backup_id == "b1" else {"BACKUP-REFUSED": "fail"})


def test_a_backup_that_is_not_of_the_run_explains_no_loss(directory: Path) -> None:
    (directory / "restore.json").write_text(json.dumps({"backup": "another", "refused": []}))
    run = judge_run(directory)
    assert run.verdict == "unknown"
    assert not_passed(run) == {"DATA-LOST": "unknown", "RPO": "unknown"}


def test_nothing_restored_fails(directory: Path) -> None:
    (directory / "restore.json").unlink()
    run = judge_run(directory)
    assert run.verdict == "fail"
    assert not_passed(run)["RESTORED"] == "fail"


@pytest.mark.parametrize("name", ["survivors.jsonl", "state.json"])
def test_a_database_that_was_not_read_is_unknown(directory: Path, name: str) -> None:
    (directory / name).unlink()
    run = judge_run(directory)
    assert run.verdict == "unknown"
    assert run.findings.why_unknown


@pytest.mark.parametrize("name", ["survivors.jsonl", "state.json"])
def test_a_survey_that_was_cut_short_is_unknown(directory: Path, name: str) -> None:
    path = directory / name
    path.write_bytes(path.read_bytes()[:-10])
    run = judge_run(directory)
    assert run.verdict == "unknown"
    assert run.findings.why_unknown


def test_a_run_without_figures_of_the_service_or_the_generator_is_unknown(directory: Path) -> None:
    (directory / "samples.jsonl").unlink()
    (directory / "generator.jsonl").unlink()
    run = judge_run(directory)
    assert not_passed(run) == {"LOAD-USERS": "unknown", "MEMORY": "unknown", "LOAD-GENERATOR": "unknown"}


def test_a_run_that_ended_before_its_baseline_is_unknown(directory: Path) -> None:
    edit(directory / "events.jsonl", without("baseline.end"))
    run = judge_run(directory)
    assert run.baseline is None
    assert not_passed(run) == {"LOAD-USERS": "unknown"}


def test_a_run_whose_end_is_missing_is_unknown(directory: Path) -> None:
    """The runner was killed: what its files do not show may still have happened."""
    edit(directory / "events.jsonl", without("run.end"))
    run = judge_run(directory)
    assert run.verdict == "unknown"
    assert "cut short" in next(one.why for one in run.criteria if one.id == "LEDGER")


def test_a_last_event_that_was_never_finished_is_left_out(directory: Path) -> None:
    whole = judge_run(directory)
    with (directory / "events.jsonl").open("ab") as file:
        file.write(b'{"t":152.0,"wall":"2026')
    assert judge_run(directory).criteria == whole.criteria


@pytest.mark.parametrize("content", [b"", b'{"t":1', b"no event\n", b"\xff\n", None])
def test_a_run_without_readable_events_is_refused_in_one_sentence(directory: Path, content: bytes | None) -> None:
    (directory / "events.jsonl").unlink()
    if content is not None:
        (directory / "events.jsonl").write_bytes(content)
    with pytest.raises(UnreadableRun, match=r"events\.jsonl .*judge") as caught:
        judge_run(directory)
    assert caught.value.exit_code == 3


def test_an_acknowledged_write_that_was_tampered_with_fails(directory: Path) -> None:
    changed = survivor("R.1.3", digest="bb", stored="aa")
    edit(directory / "survivors.jsonl", lambda all_lines: [*without('"R.1.3"')(all_lines), lines([changed])])
    assert not_passed(judge_run(directory)) == {"DATA-ALTERED": "fail"}


def test_points_out_of_nowhere_fail(directory: Path) -> None:
    (directory / "state.json").write_bytes(msgspec.json.encode(state(conservation={"balances": 971})))
    assert not_passed(judge_run(directory)) == {"POINTS": "fail"}


def test_a_service_that_never_came_back_fails(directory: Path) -> None:
    probes = canary((105.0, 140.0, sung), (140.0, 160.0, silent))
    chirps = [Sent(Invoke(op=str(one.op), flow="canary", user=0, t=one.t), None) for one in probes if one.write]
    (directory / "canary.jsonl").write_bytes(ledger(history(*chirps, reads=probes, clocks=[CLOCK])))
    edit(directory / "survivors.jsonl", lambda all_lines: [one for one in all_lines if b"R.canary.14" not in one])
    run = judge_run(directory)
    assert run.verdict == "fail"
    assert {"RTO", "RECOVERED"} <= not_passed(run).keys()


def test_canaries_acknowledged_into_a_lost_file_are_no_recovery(directory: Path) -> None:
    """Until the deleted file is let go it answers rightly; only what survived says that it was not serving."""
    probes = canary((105.0, 142.0, sung), (142.0, 143.0, silent), (143.0, 150.0, sung))
    chirps = [Sent(Invoke(op=str(one.op), flow="canary", user=0, t=one.t), None) for one in probes if one.write]
    (directory / "canary.jsonl").write_bytes(ledger(history(*chirps, reads=probes)))
    run = judge_run(directory)
    assert not_passed(run) == {}
    assert run.rto is not None
    assert run.rto.total_s == pytest.approx(3.01)
    assert run.rpo is not None
    assert run.rpo.seconds == pytest.approx(141.904 - 130.004)


@pytest.fixture
def load(tmp_path: Path) -> Path:
    """The files of a load that went well: every write it was told of is in the database."""
    sent = [acked(f"R.1.{n}", 110.0 + n, d=0.1) for n in range(20)]
    (tmp_path / "ledger.jsonl").write_bytes(ledger(history(*sent)))
    (tmp_path / "survivors.jsonl").write_bytes(lines(survivor(one.invoke.op) for one in sent))
    (tmp_path / "state.json").write_bytes(msgspec.json.encode(state()))
    (tmp_path / "asked.jsonl").write_bytes(b"")
    return tmp_path


def test_a_load_whose_writes_are_all_there_is_accounted_for(load: Path) -> None:
    told = {one.id: (one.result, one.measured) for one in account_load(load, 1)}
    assert {result for result, _ in told.values()} == {"pass"}
    assert told["DATA-LOST"] == ("pass", "0 of 20")
    assert "READ-BACK" not in told, "nobody read back what he had written"


@pytest.mark.parametrize(
    ("file", "change", "id_", "result"),
    [
        ("survivors.jsonl", without("R.1.7"), "DATA-LOST", "fail"),
        ("survivors.jsonl", lambda all_lines: [*all_lines, lines([survivor("R.1.99")])], "DATA-PHANTOM", "fail"),
        ("survivors.jsonl", lambda all_lines: [all_lines[0][:-1]], "DATA-LOST", "unknown"),
        ("ledger.jsonl", lambda all_lines: all_lines[:-1], "LEDGER", "unknown"),
        ("state.json", lambda all_lines: [all_lines[0].replace(b"970", b"969")], "POINTS", "fail"),
    ],
    ids=["a write is gone", "one nobody was told of", "survivors cut short", "ledger cut short", "a point is gone"],
)
def test_a_load_that_left_something_else_is_not(
    load: Path, file: str, change: Callable[[list[bytes]], list[bytes]], id_: str, result: Result
) -> None:
    edit(load / file, change)
    assert {one.id: one.result for one in account_load(load, 1)}[id_] == result

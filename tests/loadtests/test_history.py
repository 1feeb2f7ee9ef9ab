"""Reading ledgers: what was written comes back on one clock, and whatever is missing shows."""

from __future__ import annotations

from pathlib import Path

import pytest

from loadtests.errors import LedgerError
from loadtests.history import Tail, Write, decode, read_history
from loadtests.ledger import Done, Invoke, LedgerWriter

CLOCK = '{"k":"clock","run":"R","tool":"locust","mono":100.0,"wall":1700000000.0,"pid":1}'
INVOKE = '{"k":"invoke","op":"R.1.1","flow":"join","user":1,"t":101.0}'
DONE = (
    '{"k":"done","op":"R.1.1","flow":"join","user":1,"t":101.0,"d":0.5,"status":201,"outcome":"ok",'
    '"write":true,"digest":"ab","seq":7,"err":null,"db":1.5}'
)
READ = (
    '{"k":"done","op":null,"flow":"profile","user":1,"t":102.0,"d":0.1,"status":200,"outcome":"ok",'
    '"write":false,"digest":null,"seq":null,"err":null,"db":null}'
)
END = '{"k":"end","invoked":1,"done":2,"t":103.0}'


def ledger(tmp_path: Path, *lines: str, name: str = "ledger.jsonl", last: str = "\n") -> Path:
    path = tmp_path / name
    path.write_text("\n".join(lines) + last)
    return path


def test_whole_ledger(tmp_path: Path) -> None:
    """Everything it says, and nothing to complain about."""
    history = read_history(
        ledger(tmp_path, CLOCK, '{"k":"user","user":1,"t":100.5,"up":true}', INVOKE, DONE, READ, END)
    )
    assert history.cut_short == ""
    assert [clock.tool for clock in history.clocks] == ["locust"]
    assert [(user.user, user.up) for user in history.users] == [(1, True)]
    assert [done.flow for done in history.dones] == ["join", "profile"]
    assert history.writes() == (Write("R.1.1", "join", 1, 101.0, 101.5, "ok", 201, "ab", 7),)


def test_what_a_writer_wrote_is_read_back(tmp_path: Path) -> None:
    """The two halves of the format agree."""
    path = tmp_path / "ledger.jsonl"
    invoke = Invoke(op="R.2.1", flow="score", user=2, t=5.0)
    done = Done(op="R.2.1", flow="score", user=2, t=5.0, d=0.1, status=503, outcome="refused", write=True, err="x")
    with LedgerWriter(path, "R", "locust") as writer:
        writer.write(invoke)
        writer.write(done)
        writer.end()
    history = read_history(path)
    assert (history.invokes, history.dones, history.cut_short) == ((invoke,), (done,), "")


def test_write_without_an_answer_is_unknown(tmp_path: Path) -> None:
    """The generator died, or the run ended, while it was in flight."""
    history = read_history(ledger(tmp_path, CLOCK, INVOKE, '{"k":"end","invoked":1,"done":0,"t":103.0}'))
    assert history.cut_short == ""
    assert history.writes() == (Write("R.1.1", "join", 1, 101.0, None, "unknown", 0, None, None),)


@pytest.mark.parametrize(
    ("lines", "last", "complaint"),
    [
        ([CLOCK, INVOKE, DONE, READ], "\n", "ledger.jsonl has no end line"),
        ([CLOCK, INVOKE, DONE, READ, END[:20]], "", "ledger.jsonl has 1 torn or unreadable line; ledger.jsonl"),
        ([CLOCK, INVOKE, DONE[:30], READ, END], "\n", "ledger.jsonl has 1 torn or unreadable line"),
        ([CLOCK, INVOKE, READ, END], "\n", "ledger.jsonl holds 1 done lines where its end line counts 2"),
        ([CLOCK, DONE, READ, END], "\n", "ledger.jsonl holds 0 invoke lines where its end line counts 1"),
        ([CLOCK, INVOKE, DONE, END, READ], "\n", "ledger.jsonl has no end line"),
        ([CLOCK, INVOKE, INVOKE, DONE, READ, END.replace("1,", "2,", 1)], "\n", "R.1.1 was invoked 2 times"),
        ([CLOCK, INVOKE, DONE, READ.replace('"t":102.0', '"tw":1700003602.0'), END], "\n", "ledger.jsonl is out of"),
        ([CLOCK, INVOKE, READ, DONE.replace('"t":101.0', '"tw":1699999941.0'), END], "\n", "ledger.jsonl is out of"),
        ([], "", "ledger.jsonl is empty"),
        (["\0" * 40, CLOCK, INVOKE, DONE, READ, END], "\n", "ledger.jsonl has 1 torn or unreadable line"),
    ],
)  # fmt: skip
def test_what_is_missing_shows(tmp_path: Path, lines: list[str], last: str, complaint: str) -> None:
    """A ledger cut short is read as far as it goes, and says why it is not whole."""
    history = read_history(ledger(tmp_path, *lines, last=last))
    assert history.cut_short.startswith(complaint)


def test_torn_last_line_keeps_the_lines_before_it(tmp_path: Path) -> None:
    """The acknowledged write before the tear still counts."""
    history = read_history(ledger(tmp_path, CLOCK, INVOKE, DONE, READ[:25], last=""))
    assert [write.outcome for write in history.writes()] == ["ok"]
    assert history.cut_short


def test_wall_seconds_are_placed_on_the_monotonic_clock(tmp_path: Path) -> None:
    """k6 knows only the wall clock; the clock line ties the two together."""
    invoke = INVOKE.replace('"t":101.0', '"tw":1700000001.25')
    history = read_history(ledger(tmp_path, CLOCK, invoke, '{"k":"end","invoked":1,"done":0,"t":103.0}'))
    assert history.invokes == (Invoke(op="R.1.1", flow="join", user=1, t=101.25),)


@pytest.mark.parametrize(
    "lines", [[INVOKE.replace('"t"', '"tw"')], [CLOCK, '{"k":"invoke","op":"R.1.1","flow":"join","user":1}']]
)
def test_line_that_cannot_be_placed_in_time_is_refused(tmp_path: Path, lines: list[str]) -> None:
    """Without a clock line, or without an instant, no order can be told."""
    with pytest.raises(LedgerError, match="without an instant"):
        read_history(ledger(tmp_path, *lines))


def test_several_ledgers_are_one_history(tmp_path: Path) -> None:
    """The users' and the canary's; each is held to its own end line."""
    users = ledger(tmp_path, CLOCK, INVOKE, DONE, READ, END)
    verified = READ.replace("profile", "canary-read").replace("}", ',"verified":true}')
    canary = ledger(tmp_path, CLOCK, verified, name="canary.jsonl")
    history = read_history(users, canary)
    assert [done.flow for done in history.dones] == ["join", "profile", "canary-read"]
    assert history.dones[-1].verified is True
    assert history.cut_short == "canary.jsonl has no end line"


def test_fields_of_a_later_version_are_ignored(tmp_path: Path) -> None:
    """A newer tool may say more."""
    done = DONE.replace("}", ',"mood":"fine"}')
    assert read_history(ledger(tmp_path, CLOCK, INVOKE, done, READ, END)).cut_short == ""


def test_missing_ledger_is_named(tmp_path: Path) -> None:
    """A run that never loaded anything."""
    with pytest.raises(LedgerError, match=r"nothing\.jsonl cannot be read \(No such file"):
        read_history(tmp_path / "nothing.jsonl")


def test_bytes_without_a_newline_are_one_torn_line() -> None:
    """The generator died in its first word."""
    assert decode(b'{"k":"cl') == ([], 1)


def test_tail_hands_out_each_line_once_and_waits_for_whole_ones(tmp_path: Path) -> None:
    """It follows a file that is growing, and may begin before the file does."""
    path = tmp_path / "ledger.jsonl"
    tail = Tail(path)
    assert tail.poll() == []
    path.write_text(f"{CLOCK}\n{INVOKE[:10]}")
    assert [type(line).__name__ for line in tail.poll()] == ["Clock"]
    with path.open("a") as file:
        file.write(INVOKE[10:].replace('"t":101.0', '"tw":1700000002.0') + "\n")
    assert tail.poll() == [Invoke(op="R.1.1", flow="join", user=1, t=102.0)]
    assert tail.poll() == []

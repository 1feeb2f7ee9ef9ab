"""Ledgers of several processes as one: sums that must agree, users and operations that may be in one only."""

from __future__ import annotations

from pathlib import Path

import pytest

from loadtests.history import read_history
from loadtests.ledgers import merge


def part(path: Path, user: int, *, wall: float = 1000.0, end: str = '"invoked":1,"done":2,"dropped":1') -> Path:
    """One process's ledger: a user, a write and a read."""
    op = f"R.{user}.1"
    path.write_text(
        f'{{"k":"clock","run":"R","tool":"locust","mono":100.0,"wall":{wall},"pid":{user}}}\n'
        f'{{"k":"user","user":{user},"t":100.5,"up":true}}\n'
        f'{{"k":"invoke","op":"{op}","flow":"join","user":{user},"t":101.0}}\n'
        f'{{"k":"done","op":"{op}","flow":"join","user":{user},"t":101.0,"d":{user},"status":201,"outcome":"ok","write":true}}\n'
        f'{{"k":"done","op":null,"flow":"profile","user":{user},"t":10{3 + user}.0,"d":0.1,'
        '"status":200,"outcome":"ok","write":false}\n'
        f'{{"k":"end",{end},"t":110.0}}\n'
    )
    return path


def test_accounts_that_balance_become_one(tmp_path: Path) -> None:
    """The end line is the sum, the lines are in the order in which they were said, and nothing is cut short."""
    parts = [part(tmp_path / "ledger-1.jsonl", 1), part(tmp_path / "ledger-2.jsonl", 2)]
    assert merge(parts, tmp_path / "ledger.jsonl") == ()
    history = read_history(tmp_path / "ledger.jsonl")
    assert (history.cut_short, history.dropped) == ("", 2)
    assert (len(history.invokes), len(history.dones)) == (2, 4)
    assert [done.t + done.d for done in history.dones] == pytest.approx([102.0, 103.0, 104.1, 105.1])
    assert {user.user for user in history.users} == {1, 2}


@pytest.mark.parametrize(
    ("end", "complaint"),
    [
        ('"invoked":2,"done":2', "ledger-2.jsonl holds 1 invoke lines where its end line counts 2"),
        ('"invoked":1,"done":3', "ledger-2.jsonl holds 2 done lines where its end line counts 3"),
    ],
)
def test_account_that_does_not_balance_leaves_no_end(tmp_path: Path, end: str, complaint: str) -> None:
    """Whoever reads the whole is told."""
    parts = [part(tmp_path / "ledger-1.jsonl", 1), part(tmp_path / "ledger-2.jsonl", 2, end=end)]
    assert merge(parts, tmp_path / "ledger.jsonl") == (complaint,)
    assert read_history(tmp_path / "ledger.jsonl").cut_short == "ledger.jsonl has no end line"


def test_user_in_two_ledgers_is_found(tmp_path: Path) -> None:
    """Two processes handed out the same number, and with it the same operations."""
    parts = [part(tmp_path / "ledger-1.jsonl", 1), part(tmp_path / "ledger-2.jsonl", 1)]
    assert merge(parts, tmp_path / "ledger.jsonl") == ("user 1 is in 2 ledgers", "R.1.1 is in 2 ledgers")


def test_missing_ledger_is_named(tmp_path: Path) -> None:
    """Its process never wrote a word."""
    parts = [part(tmp_path / "ledger-1.jsonl", 1), tmp_path / "ledger-2.jsonl"]
    assert merge(parts, tmp_path / "ledger.jsonl") == ("ledger-2.jsonl is empty",)
    assert read_history(tmp_path / "ledger.jsonl").cut_short


def test_another_machines_clock_is_translated(tmp_path: Path) -> None:
    """Its monotonic seconds began at another time; the wall clock says which."""
    parts = [part(tmp_path / "ledger-1.jsonl", 1), part(tmp_path / "ledger-2.jsonl", 2, wall=1040.0)]
    merge(parts, tmp_path / "ledger.jsonl")
    starts = {done.user: done.t for done in read_history(tmp_path / "ledger.jsonl").dones if done.write}
    assert starts == {1: 101.0, 2: 141.0}

"""Writing the ledger: the exact lines, one system call each, and the class of every way a request can end."""

from __future__ import annotations

import json
import os
import time
from pathlib import Path

import pytest

from loadtests.errors import LedgerError
from loadtests.ledger import Done, Invoke, LedgerWriter, Outcome, append, clock_line, outcome

NOT_APPLIED = {"outcome": "not-applied"}


@pytest.mark.parametrize(
    ("expected", "status", "headers", "sent", "complete", "code"),
    [
        ("ok", 200, {}, True, True, None),
        ("ok", 201, {}, True, True, None),
        ("ok", 204, {}, True, True, None),
        ("unknown", 201, {}, True, False, None),  # a 2xx whose body was not read whole
        ("refused", 400, {}, True, True, "invalid"),
        ("refused", 401, {}, True, True, None),
        ("refused", 404, {}, True, True, None),
        ("refused", 409, {}, True, True, "tournament-full"),
        ("unknown", 409, {}, True, True, "operation-in-progress"),
        ("unknown", 408, {}, True, True, None),
        ("refused", 422, {}, True, True, None),
        ("refused", 429, {}, True, True, None),
        ("refused", 503, NOT_APPLIED, True, True, None),
        ("unknown", 503, {}, True, True, None),  # somebody gave up, and nobody knows when
        ("unknown", 503, {"outcome": "perhaps"}, True, True, None),
        ("unknown", 500, {}, True, True, None),
        ("unknown", 500, NOT_APPLIED, True, True, None),  # only a 503 may promise that
        ("unknown", 502, {}, True, True, None),
        ("unknown", 504, {}, True, True, None),
        ("unknown", 302, {}, True, True, None),
        ("unknown", 101, {}, True, True, None),
        ("refused", 0, {}, False, False, None),  # connection refused before a byte left
        ("unknown", 0, {}, True, False, None),  # timeout, reset, closed
    ],
)
def test_outcome_of_every_ending(
    expected: Outcome, status: int, headers: dict[str, str], sent: bool, complete: bool, code: str | None
) -> None:
    """Acknowledged, refused, or unknown; when in doubt, unknown."""
    assert outcome(status, headers, sent, complete=complete, code=code) == expected


def test_lines_are_the_documented_json(tmp_path: Path) -> None:
    """Other programs read and write this format, so its fields are held literally."""
    path = tmp_path / "ledger.jsonl"
    with LedgerWriter(path, "R", "locust") as ledger:
        ledger.write(Invoke(op="R.17.3", flow="join", user=17, t=12.5))
        ledger.write(
            Done(
                op="R.17.3",
                flow="join",
                user=17,
                t=12.5,
                d=0.25,
                status=201,
                outcome="ok",
                write=True,
                digest="ab",
                seq=123,
                db=1.5,
                lag=0.4,
            )
        )
        ledger.user(17, up=False)
        ledger.end(dropped=2)
    clock, invoke, done, user, end = (json.loads(line) for line in path.read_text().splitlines())
    assert {key: clock[key] for key in ("k", "run", "tool", "pid")} == {
        "k": "clock", "run": "R", "tool": "locust", "pid": os.getpid()
    }  # fmt: skip
    assert invoke == {"k": "invoke", "op": "R.17.3", "flow": "join", "user": 17, "t": 12.5}
    assert done == {
        "k": "done", "op": "R.17.3", "flow": "join", "user": 17, "t": 12.5, "d": 0.25, "status": 201, "outcome": "ok",
        "write": True, "digest": "ab", "seq": 123, "err": None, "db": 1.5, "lag": 0.4,
    }  # fmt: skip
    assert (user["k"], user["user"], user["up"]) == ("user", 17, False)
    assert (end["k"], end["invoked"], end["done"], end["dropped"]) == ("end", 1, 1, 2)


def test_clock_line_holds_one_instant_on_both_clocks() -> None:
    """What lets a reader place wall seconds on the monotonic clock."""
    before = time.monotonic(), time.time()
    clock = clock_line("R", "k6")
    assert before[0] <= clock.mono <= time.monotonic()
    assert before[1] <= clock.wall <= time.time()


def test_a_line_is_in_the_file_before_write_returns(tmp_path: Path) -> None:
    """No buffer: a generator that is killed now has lost nothing."""
    path = tmp_path / "ledger.jsonl"
    with LedgerWriter(path, "R", "locust") as ledger:
        ledger.write(Invoke(op="R.1.1", flow="join", user=1, t=1.0))
        assert path.read_bytes().count(b"\n") == 2
        assert path.read_bytes().endswith(b"\n")


def test_lines_are_appended_to_what_is_there(tmp_path: Path) -> None:
    """Two writers of one file never overwrite each other."""
    path = tmp_path / "ledger.jsonl"
    append(path, clock_line("R", "k6"))
    append(path, Invoke(op="R.1.1", flow="join", user=1, t=1.0), Invoke(op="R.1.2", flow="join", user=1, t=2.0))
    assert path.read_bytes().count(b"\n") == 3


def test_full_disk_stops_the_writer() -> None:
    """A load whose ledger cannot be written must not go on."""
    with pytest.raises(LedgerError, match=r"^The ledger /dev/full cannot be written \(No space left on device\)"):
        LedgerWriter(Path("/dev/full"), "R", "locust")


def test_missing_directory_is_named(tmp_path: Path) -> None:
    """Before anything is sent."""
    with pytest.raises(LedgerError, match="cannot be opened"):
        LedgerWriter(tmp_path / "nowhere" / "ledger.jsonl", "R", "locust")

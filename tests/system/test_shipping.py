"""Waiting until a commit is durable elsewhere: the line to whoever ships it, and what a batch answers when it is not."""

from __future__ import annotations

import socket
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

import system.models
from system import operations_service as operations
from system.batch import Batches
from system.database import CHECKPOINT_PAGES, SHIPPED_CHECKPOINT_PAGES, Base, engine_for
from system.errors import Conflict
from system.failpoints import Failpoints
from system.jobs import Operation, Reply, write_job
from system.settings import Settings
from system.shipping import NotShipped, Shipping
from system.statements import Session
from system.wire import Answer, Ask

assert system.models

GOOD = b'{"generation": "000001-g", "index": 3}\n'


@write_job("toys")
def note(session: Session, operation: Operation, value: int) -> Reply:
    operations.record(session, operation, "noted", value)
    return Reply(201, {"value": value})


@write_job("toys")
def decline(session: Session, operation: Operation) -> Reply:
    raise Conflict("no", "Not this one.")


class Shipper:
    """Listens where a shipper would, and answers each request as it is told; None hangs up."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.asked: list[bytes] = []
        self.answer: Callable[[], bytes | None] = lambda: GOOD
        self._listener = socket.socket(socket.AF_UNIX)
        self._listener.bind(str(path))
        self._listener.listen()
        self._thread = threading.Thread(target=self._serve, daemon=True)
        self._thread.start()

    def _serve(self) -> None:
        while True:
            try:
                connection, _ = self._listener.accept()
            except OSError:
                return
            with connection, connection.makefile("rb") as lines:
                for line in lines:
                    self.asked.append(line)
                    said = self.answer()
                    if said is None:
                        break
                    try:
                        connection.sendall(said)
                    except OSError:
                        break

    def close(self) -> None:
        self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        self._thread.join()


@pytest.fixture
def shipper(tmp_path: Path) -> Iterator[Shipper]:
    shipper = Shipper(tmp_path / "ship.sock")
    yield shipper
    shipper.close()


@pytest.fixture
def line(shipper: Shipper) -> Iterator[Shipping]:
    line = Shipping(shipper.path, timeout_s=0.5)
    yield line
    line.close()


@pytest.fixture
def batches(tmp_path: Path, line: Shipping) -> Iterator[Batches]:
    path = tmp_path / "gym.db"
    engine = engine_for(f"sqlite:///{path}", writer=True, shipped=True)
    Base.metadata.create_all(engine)
    batches = Batches(engine, path, Failpoints(None), job_budget_s=30.0, shipping=line)
    yield batches
    batches.close()


def asked(job: str, *args: object, number: int = 0, op: str = "r.1") -> Ask:
    return Ask(number, f"test_shipping.{job}", args, Operation(op, "r", None, "", 1), time.monotonic() + 60)


def one(answers: list[Answer]) -> Answer:
    (answer,) = answers
    return answer


def test_one_line_serves_many_requests(shipper: Shipper, line: Shipping) -> None:
    line.wait()
    line.wait()
    assert shipper.asked == [b'{"ship": true}\n'] * 2


REFUSALS: list[tuple[bytes | None, str]] = [
    (b'{"error": "The store is away."}\n', "The store is away."),
    (b'{"generation": "000001-g"}\n', "did not say how far"),
    (b"what?\n", "answered with something else"),
    (b'{"generation": "000001-g", "ind', "does not answer|ended before"),
    (None, "ended before it answered"),
]


@pytest.mark.parametrize(("said", "why"), REFUSALS)
def test_whatever_is_not_a_plain_yes_is_a_no(shipper: Shipper, line: Shipping, said: bytes | None, why: str) -> None:
    shipper.answer = lambda: said
    with pytest.raises(NotShipped, match=why):
        line.wait()
    shipper.answer = lambda: GOOD
    line.wait()  # the next one is asked on a line that works


def test_an_answer_that_comes_late_is_not_taken_for_that_of_the_next(shipper: Shipper, tmp_path: Path) -> None:
    line = Shipping(shipper.path, timeout_s=0.05)
    go = threading.Event()

    def late() -> bytes:
        go.wait(10)
        return GOOD

    shipper.answer = late
    with pytest.raises(NotShipped, match="does not answer"):
        line.wait()
    shipper.answer = lambda: b'{"error": "Not this time."}\n'
    go.set()
    with pytest.raises(NotShipped, match="Not this time"):
        line.wait()
    line.close()


def test_nobody_there_is_a_no(tmp_path: Path) -> None:
    with pytest.raises(NotShipped, match="does not answer"):
        Shipping(tmp_path / "nobody.sock", timeout_s=1).wait()


def test_a_write_is_answered_after_it_was_shipped(shipper: Shipper, batches: Batches) -> None:
    answer = one(batches.run([asked("note", 1)]))
    assert (answer.kind, answer.status) == ("", 201)
    assert answer.shipped_ms > 0
    assert len(shipper.asked) == 1


def test_a_write_that_is_not_known_to_be_shipped_is_unknown_and_stands(shipper: Shipper, batches: Batches) -> None:
    shipper.answer = lambda: b'{"error": "The store is away."}\n'
    answer = one(batches.run([asked("note", 1)]))
    assert (answer.kind, answer.code, answer.message) == ("outcome-unknown", "not-shipped", "The store is away.")
    shipper.answer = lambda: GOOD
    again = one(batches.run([asked("note", 1)]))
    assert (again.kind, again.replayed) == ("", True)
    assert len(shipper.asked) == 2  # asked again has to be shipped as well before it is answered


def test_a_refusal_waits_for_nobody(shipper: Shipper, batches: Batches) -> None:
    answer = one(batches.run([asked("decline")]))
    assert (answer.kind, answer.code) == ("conflict", "no")
    assert shipper.asked == []


def test_refusals_stay_refusals_in_a_batch_that_is_not_shipped(shipper: Shipper, batches: Batches) -> None:
    shipper.answer = lambda: None
    answers = batches.run([asked("note", 1, number=0, op="r.1"), asked("decline", number=1, op="r.2")])
    assert [answer.kind for answer in sorted(answers, key=lambda answer: answer.number)] == [
        "outcome-unknown",
        "conflict",
    ]


@pytest.mark.parametrize(("shipped", "pages"), [(True, SHIPPED_CHECKPOINT_PAGES), (False, CHECKPOINT_PAGES)])
def test_checkpoints_are_left_to_whoever_ships(tmp_path: Path, shipped: bool, pages: int) -> None:
    engine = engine_for(f"sqlite:///{tmp_path / 'gym.db'}", writer=True, shipped=shipped)
    with engine.connect() as connection:
        assert connection.exec_driver_sql("PRAGMA wal_autocheckpoint").scalar_one() == pages
    engine.dispose()


def test_the_mode_is_asynchronous_unless_told(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("GYM_SHIP", str(tmp_path / "ship.sock"))
    assert (Settings().ship, Settings().ship_mode) == (tmp_path / "ship.sock", "async")
    monkeypatch.setenv("GYM_SHIP_MODE", "sync")
    assert Settings().ship_mode == "sync"

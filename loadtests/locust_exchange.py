"""One request of a Locust user: into the ledger, over the wire, into the ledger. Only Locust's own process imports this.

The connection is geventhttpclient's, below Locust's client: that one follows redirects, keeps cookies and turns statuses
into exceptions, none of which a ledger wants, and it costs three times as much per request.
"""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import msgspec
from gevent.event import Event
from geventhttpclient.response import HTTPParseError

from loadtests.errors import LoadError
from loadtests.ledger import Done, Invoke, LedgerWriter, outcome
from loadtests.plan import LoadPlan
from loadtests.virtual_user import Script, Step, VirtualUser

_NO_HEADERS: dict[str, str] = {}


@dataclass(slots=True)
class Load:
    """What all users of this process share. `stopped` is set when the load is over; `broken` is why it must not go on."""

    plan: LoadPlan
    script: Script
    ledger: LedgerWriter
    stopped: Event
    broken: LoadError | None = None

    def stop(self, broken: LoadError | None = None) -> None:
        """Asks the process to end: orderly, or because something broke."""
        self.broken = self.broken or broken
        self.stopped.set()


@dataclass(frozen=True, slots=True)
class Answer:
    """What came back. `status` 0: nothing did, and `sent` says whether the request may have left."""

    status: int
    headers: Any
    content: bytes
    error: str | None
    sent: bool


def exchange(load: Load, virtual: VirtualUser, connection: Any, due: float) -> tuple[Step, Answer, float]:
    """The virtual user's next step, sent and answered, and the seconds it took; it was meant to begin at `due`.

    Both lines are in the ledger, and the user has learnt from the answer. Raises LedgerError when one could not be written.
    """
    step = virtual.next_step()
    flow, user = step.flow, virtual.number
    began = time.monotonic()
    if step.op is not None:
        load.ledger.write(Invoke(op=step.op, flow=flow.name, user=user, t=began))
    answer = _sent(connection, step, _headers(load.plan.run, virtual, step))
    took = time.monotonic() - began
    status, headers = answer.status, answer.headers
    code = _code(answer) if status == 409 else None
    became = outcome(status, headers, answer.sent, complete=answer.error is None, code=code)
    load.ledger.write(
        Done(
            op=step.op,
            flow=flow.name,
            user=user,
            t=began,
            d=took,
            status=status,
            outcome=became,
            write=flow.write,
            digest=headers.get("effect-digest"),
            seq=_whole(headers.get("commit-sequence")),
            err=answer.error,
            db=_database_ms(headers.get("server-timing")),
            lag=round(max(began - due, 0.0) * 1000, 1),
        )
    )
    virtual.learn(step, became, status, answer.content)
    return step, answer, took


def _headers(run: str, virtual: VirtualUser, step: Step) -> dict[str, str]:
    headers = {"Authorization": f"Bearer {virtual.player.token}"}
    if step.op is not None:
        headers |= {"Content-Type": "application/json", "Run-Id": run, "Operation-Id": step.op}
    return headers


def _sent(connection: Any, step: Step, headers: Mapping[str, str]) -> Answer:
    status = 0
    told: Any = _NO_HEADERS
    try:
        response = connection.request(step.flow.method, step.path, step.body, headers)
        status, told = response.get_code(), response.info()
        return Answer(status, told, response.read(), None, sent=True)
    except ConnectionRefusedError as error:
        return Answer(0, _NO_HEADERS, b"", type(error).__name__, sent=False)
    except (OSError, HTTPParseError) as error:
        return Answer(status, told, b"", type(error).__name__, sent=True)


def _code(answer: Answer) -> str | None:
    """The problem code in the body, where there is one."""
    try:
        problem = msgspec.json.decode(answer.content)
    except msgspec.DecodeError:
        return None
    return problem.get("code") if isinstance(problem, dict) else None


def _whole(text: str | None) -> int | None:
    return int(text) if text is not None and text.isdigit() else None


def _database_ms(timing: str | None) -> float | None:
    """The duration of the `db` entry in a Server-Timing header."""
    for entry in (timing or "").split(","):
        name, *details = entry.strip().split(";")
        if name == "db":
            for detail in details:
                field, _, value = detail.strip().partition("=")
                if field == "dur":
                    return _number(value)
    return None


def _number(text: str) -> float | None:
    try:
        return float(text)
    except ValueError:
        return None

"""Histories, survivors, states and events written out literally: what a checker is fed, a line per fact.

Instants are seconds of the run's clock. A test names only what it is about; the rest is the plainest thing that passes.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import msgspec

from ci.checker import State, Survivor
from ci.journal import Event
from loadtests.history import History
from loadtests.ledger import Clock, Done, Invoke, Outcome, User

RUN = "R"
CLOCK = Clock(run=RUN, tool="locust", mono=100.0, wall=1700000000.0, pid=1)


class Sent(NamedTuple):
    """One write as the ledger tells it; `done` is None when no answer was ever written down."""

    invoke: Invoke
    done: Done | None


def acked(op: str, t: float = 10.0, *, digest: str | None = "aa", d: float = 0.1, flow: str = "score") -> Sent:
    """A write sent at `t` and acknowledged `d` later."""
    return _answered(op, t, flow, d=d, status=201, outcome="ok", digest=digest)


def refused(op: str, t: float = 10.0) -> Sent:
    """A write that was certainly not applied."""
    return _answered(op, t, "score", d=0.1, status=409, outcome="refused", digest=None)


def failed(op: str, t: float = 10.0, *, status: int = 503, outcome: Outcome = "refused") -> Sent:
    """A write that the service answered as failed."""
    return _answered(op, t, "score", d=0.1, status=status, outcome=outcome, digest=None)


def reset(op: str, t: float = 10.0) -> Sent:
    """A write whose connection broke before an answer: it may have been applied."""
    return _answered(op, t, "score", d=0.1, status=0, outcome="unknown", digest=None)


def unanswered(op: str, t: float = 10.0) -> Sent:
    """A write that was still under way when the ledger ended."""
    return Sent(Invoke(op=op, flow="score", user=1, t=t), None)


def read(t: float, *, d: float = 0.01, status: int = 200, flow: str = "profile") -> Done:
    """A read, by anybody."""
    outcome: Outcome = "ok" if status == 200 else "unknown"
    return Done(op=None, flow=flow, user=1, t=t, d=d, status=status, outcome=outcome, write=False)


def history(
    *sent: Sent,
    reads: Sequence[Done] = (),
    users: Sequence[User] = (),
    clocks: Sequence[Clock] = (CLOCK,),
    cut_short: str = "",
) -> History:
    """What the ledger says."""
    dones = tuple(one.done for one in sent if one.done is not None)
    return History(tuple(clocks), tuple(one.invoke for one in sent), (*dones, *reads), tuple(users), cut_short)


def survivor(
    op: str, *, digest: str = "aa", stored: str | None = None, applied: int = 1, seq: int | None = 1, run: str = RUN
) -> Survivor:
    """An operation found in the database; its rows agree with what it stored unless `stored` says otherwise."""
    return Survivor(
        op=op, run=run, seq=seq, digest=digest, stored=digest if stored is None else stored, applied=applied
    )


def tournament(**changes: Any) -> dict[str, Any]:
    """An open tournament with room, nobody's yet."""
    plain = {"id": 1, "state": "open", "capacity": 8, "entries": 2, "pool": 20, "winners": 0, "payouts": 0}
    return plain | changes


def state(
    *tournaments: dict[str, Any],
    conservation: dict[str, Any] | None = None,
    orphans: dict[str, list[Any]] | None = None,
    notifications: dict[str, Any] | None = None,
) -> State:
    """A committed state, as `state.json` holds it, with nothing wrong in it but what is given."""
    points = {"minted": 1000, "balances": 970, "escrow": 10, "pools": 20, "accounts_off": [], "negative": []}
    return msgspec.convert(
        {
            "conservation": points | (conservation or {}),
            "tournaments": list(tournaments) or [tournament()],
            "orphans": {"entries.user_id": []} | (orphans or {}),
            "notifications": {"missing": [], "extra": [], "undelivered": 0} | (notifications or {}),
        },
        State,
    )


def event(t: float, name: str, text: str = "", **data: Any) -> Event:
    """Something that happened at `t`."""
    return Event(t, f"2026-11-23T09:{int(t) // 60:02}:{t % 60:06.3f}Z", name, text or f"{name}.", data)


def bite(t: float, fault: str = "kill-service", **proof: Any) -> Event:
    """The proof that a fault bit."""
    return event(t, "fault.bite", f"{fault} bit.", fault=fault, proof=proof or {"observed": "gone"})


def backup(t: float, name: str, *, taken_t: float, seconds: float = 0.5) -> Event:
    """A backup that ended at `t` and holds every commit from before `taken_t`."""
    sizes = {"size_bytes": 4096, "stored_bytes": 1024}
    return event(t, "backup.done", f"Backup {name}.", id=name, taken_t=taken_t, seconds=seconds, **sizes)


def sung(t: float) -> tuple[Done, Done]:
    """The canary wrote at `t` and had read it back rightly 0.01 s later."""
    return _sang(t), _read_back(t, verified=True)


def wrong(t: float) -> tuple[Done, Done]:
    """The canary wrote at `t` and was answered with another value than it had written."""
    return _sang(t), _read_back(t, verified=False)


def silent(t: float) -> tuple[Done]:
    """The canary wrote at `t` and got no answer."""
    return (msgspec.structs.replace(_sang(t), status=0, outcome="unknown"),)


def canary(*stretches: tuple[float, float, Callable[[float], tuple[Done, ...]]]) -> list[Done]:
    """Ten probes a second, each stretch from its begin to just before its end."""
    return [
        done
        for begin, end, probe in stretches
        for n in range(round((end - begin) * 10))
        for done in probe(round(begin + n / 10, 6))
    ]


def _sang(t: float) -> Done:
    return Done(
        op=f"{RUN}.canary.{t}", flow="canary", user=0, t=t, d=0.004, status=200, outcome="ok", write=True, digest="aa"
    )


def _read_back(t: float, *, verified: bool) -> Done:
    return Done(
        op=f"{RUN}.canary.{t}", flow="canary-read", user=0, t=t + 0.005, d=0.005, status=200, outcome="ok", write=False,
        verified=verified,
    )  # fmt: skip


def _answered(op: str, t: float, flow: str, *, d: float, status: int, outcome: Outcome, digest: str | None) -> Sent:
    return Sent(
        Invoke(op=op, flow=flow, user=1, t=t),
        Done(op=op, flow=flow, user=1, t=t, d=d, status=status, outcome=outcome, write=True, digest=digest),
    )

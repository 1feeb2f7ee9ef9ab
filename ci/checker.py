"""The checker: what clients were told, held against what is in the database. Pure, and linear in the history.

    acknowledged ∖ surviving            lost         surviving ∖ (acknowledged ∪ unknown)   phantom
    surviving with another digest       altered      carried by more than one activity row  duplicated
    unknown ∩ surviving                 recovered, which is fine
    unknown, and when asked for         unresolved: the service does not say, or says what did not survive

A checker that crashes, an empty history, a ledger cut short: the answer is unknown, never a pass.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, Literal

import msgspec

from ci.measure import span, unbroken
from ci.record import Findings
from loadtests.history import History, Write

CANARY_FLOWS = ("canary", "canary-read")

Found = dict[str, Any]
"""Fields of `Findings`, by name."""


class Survivor(msgspec.Struct, frozen=True):
    """An operation found in the database; `digest` was taken from its rows now, `stored` when it was applied.

    `seq` is None when there are rows of its effect and no record of it: those rows are half of something.
    """

    op: str
    run: str
    seq: int | None
    digest: str
    stored: str
    applied: int


class Points(msgspec.Struct, frozen=True):
    """Where the points are; accounts by id."""

    minted: int
    balances: int
    escrow: int
    pools: int
    accounts_off: list[int]
    negative: list[int]


class Tournament(msgspec.Struct, frozen=True):
    """One tournament as counted from its rows."""

    id: int
    state: str
    capacity: int
    entries: int
    pool: int
    winners: int
    payouts: int


class Notifications(msgspec.Struct, frozen=True):
    """Operation ids that told too few or too many, and how many deliveries wait."""

    missing: list[str]
    extra: list[str]
    undelivered: int


class Asked(msgspec.Struct, frozen=True):
    """What the service said, once all was quiet, of a write whose outcome its client never learnt; `none` when nothing."""

    op: str
    answer: Literal["applied", "absent", "none"]


class State(msgspec.Struct, frozen=True):
    """The audit's facts of the committed state, as `state.json` holds them."""

    conservation: Points
    tournaments: list[Tournament]
    orphans: dict[str, list[Any]]
    notifications: Notifications


def check(
    history: History,
    survivors: Sequence[Survivor] | None,
    state: State | None,
    asked: Sequence[Asked] | None = None,
) -> Findings:
    """The findings of one run: of its users' history and its canary's together, by the ids of that run alone.

    `survivors` or `state` None means that the database could not be read at the end, `asked` None that nobody asked the
    service about the unknown writes.
    """
    writes = {write.op: write for write in history.writes()}
    doubts = [*_doubts_of_ledger(history, writes)]
    whole = not doubts
    if not any(write.outcome == "ok" for write in writes.values()):
        doubts.append("No write was acknowledged, so nothing could be lost.")
    if survivors is None or state is None:
        doubts.append("The database could not be read at the end, so nobody knows what survived.")
    found: Found = {}
    if survivors is not None:
        runs = {clock.run for clock in history.clocks}
        ours = {one.op: one for one in survivors if one.run in runs}
        found |= checked(doubts, _survival, writes, ours, whole)
        found |= checked(doubts, _unresolved, writes, ours, asked, whole) if asked is not None else {}
    found |= checked(doubts, _canary, history, found)
    for look in (_conservation, _capacity, _winners, _orphans, _notifications) if state is not None else ():
        found |= checked(doubts, look, state)
    outcomes = [write.outcome for write in writes.values()]
    return Findings(
        invoked=len(outcomes),
        acked=outcomes.count("ok"),
        refused=outcomes.count("refused"),
        unknown=outcomes.count("unknown"),
        why_unknown=tuple(doubts),
        **found,
    )


def checked(doubts: list[str], look: Callable[..., Found], *facts: Any) -> Found:
    """What the checker `look` found in the facts; nothing but a new doubt when it crashed."""
    try:
        return look(*facts)
    except Exception as error:  # noqa: BLE001  # a checker's outermost line: its crash is an answer, "unknown"
        doubts.append(f"The {look.__name__.strip('_')} checker crashed: {error!r}.")
        return {}


def _doubts_of_ledger(history: History, writes: Mapping[str, Write]) -> Iterator[str]:
    if history.cut_short:
        yield f"The ledger was cut short: {history.cut_short}."
    if not history.clocks:
        yield "The ledger does not say which run it is of."
    if strays := sum(done.write and done.op not in writes for done in history.dones):
        yield f"The ledger holds {strays} answers to writes that it does not say were sent."


def _survival(writes: Mapping[str, Write], there: Mapping[str, Survivor], whole: bool) -> Found:
    """In a ledger that is not whole, a survivor it does not mention proves nothing: its lines may be what is missing."""
    return {
        "lost": tuple(op for op, write in writes.items() if write.outcome == "ok" and op not in there),
        "altered": tuple(op for op, one in there.items() if _altered(one, writes.get(op))),
        "phantom": tuple(op for op in there if _phantom(writes.get(op), whole)),
        "duplicated": tuple(op for op, one in there.items() if one.applied > 1),
        "recovered": tuple(
            op
            for op, write in writes.items()
            if write.outcome == "unknown" and op in there and there[op].seq is not None
        ),
        "vanished": sum(
            write.outcome != "ok" and write.status >= 500 and op not in there for op, write in writes.items()
        ),
    }


def _unresolved(
    writes: Mapping[str, Write], there: Mapping[str, Survivor], asked: Sequence[Asked], whole: bool
) -> Found:
    """Of a ledger that is not whole, a write that nobody was asked about may have been known when the asking was."""
    told = {one.op: one.answer for one in asked}
    unknown = [op for op, write in writes.items() if write.outcome == "unknown" and (whole or op in told)]
    return {
        "asked": len(told),
        "unresolved": tuple(op for op in unknown if told.get(op) != _fate(there.get(op))),
    }


def _fate(survivor: Survivor | None) -> str:
    return "absent" if survivor is None or survivor.seq is None else "applied"


def _altered(survivor: Survivor, write: Write | None) -> bool:
    if survivor.seq is not None and survivor.digest != survivor.stored:
        return True
    return bool(write and write.outcome == "ok" and write.digest and write.digest != survivor.digest)


def _phantom(write: Write | None, whole: bool) -> bool:
    return whole if write is None else write.outcome == "refused"


def _canary(history: History, found: Found) -> Found:
    """A read-back answered with another value is a lie, unless what it should have shown was lost just then."""
    dones = [done for done in history.dones if done.flow in CANARY_FLOWS]
    lost = frozenset(found.get("lost", ()))
    misread = (done.op for done in dones if done.verified is False and done.outcome == "ok" and done.op not in lost)
    return {"misread": tuple(misread), "steady_s": span(unbroken(dones, lost=lost)) if dones else None}


def _conservation(state: State) -> Found:
    points = state.conservation
    held = points.balances + points.escrow + points.pools
    off = ""
    if held != points.minted:
        off = f"{points.minted} points were minted and {held} are held: {held - points.minted:+d}."
    elif points.accounts_off:
        off = f"The balances of accounts {points.accounts_off[:5]} are not what their transfers add up to."
    elif points.negative:
        off = f"Accounts {points.negative[:5]} are overdrawn."
    return {"conservation": off}


def _capacity(state: State) -> Found:
    over = (one for one in state.tournaments if one.entries > one.capacity)
    return {"capacity": tuple(f"tournament {one.id}: {one.entries} entries for {one.capacity} places" for one in over)}


def _winners(state: State) -> Found:
    return {"winners": tuple(said for one in state.tournaments if (said := _winner(one)))}


def _winner(one: Tournament) -> str:
    finished = one.state == "finished"
    if one.winners != int(finished):
        return f"tournament {one.id} is {one.state} with {one.winners} winners"
    if one.payouts > int(finished):
        return f"tournament {one.id} is {one.state} and was paid {one.payouts} times"
    if finished and one.pool:
        return f"tournament {one.id} is finished with {one.pool} points in its pool"
    return ""


def _orphans(state: State) -> Found:
    return {"orphans": tuple(f"{relation}: {one}" for relation, ids in state.orphans.items() for one in ids)}


def _notifications(state: State) -> Found:
    told = state.notifications
    late = [f"{told.undelivered} were never delivered"] if told.undelivered else []
    return {
        "notifications": (*(f"missing: {op}" for op in told.missing), *(f"extra: {op}" for op in told.extra), *late)
    }

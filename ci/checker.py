"""The checker: what clients were told, held against what is in the database. Pure, and linear in the history.

    acknowledged ∖ surviving            lost         surviving ∖ (acknowledged ∪ unknown)   phantom
    surviving with another digest       altered      carried by more than one activity row  duplicated
    unknown ∩ surviving                 recovered, which is fine

A checker that crashes, an empty history, a ledger cut short: the answer is unknown, never a pass.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import Any

import msgspec

from ci.record import Findings
from loadtests.history import History, Write


class Survivor(msgspec.Struct, frozen=True):
    """An operation found in the database; `digest` was taken from its rows now, `stored` when it was applied."""

    op: str
    run: str
    seq: int | None
    digest: str
    stored: str
    applied: int


class State(msgspec.Struct, frozen=True):
    """The audit's facts of the committed state, as `state.json` holds them."""

    conservation: dict[str, Any]
    tournaments: list[dict[str, Any]]
    orphans: dict[str, list[Any]]
    notifications: dict[str, Any]


def check(history: History, survivors: Sequence[Survivor] | None, state: State | None) -> Findings:
    """The findings of one run. `survivors` or `state` None means that the database could not be read at the end."""
    writes = history.writes()
    doubts: list[str] = []
    acked = [write for write in writes if write.outcome == "ok"]
    if history.cut_short:
        doubts.append(f"The ledger was cut short: {history.cut_short}.")
    if not acked:
        doubts.append("No write was acknowledged, so nothing could be lost.")
    if survivors is None:
        doubts.append("The database could not be read at the end, so nobody knows what survived.")
    found = (
        checked("survival", doubts, lambda: _survival(writes, survivors, whole=not history.cut_short))
        if survivors is not None
        else {}
    )
    facts = {} if state is None else checked("state", doubts, lambda: _facts(state))
    return Findings(
        invoked=len(writes),
        acked=len(acked),
        refused=sum(write.outcome == "refused" for write in writes),
        unknown=sum(write.outcome == "unknown" for write in writes),
        why_unknown=tuple(doubts),
        **found,
        **facts,
    )


def checked(name: str, doubts: list[str], run: Callable[[], dict[str, Any]]) -> dict[str, Any]:
    """What the checker found; nothing but a doubt when it crashed."""
    try:
        return run()
    except Exception as error:  # noqa: BLE001  # a checker's outermost line: its crash is an answer, "unknown"
        doubts.append(f"The {name} checker crashed: {error!r}.")
        return {}


def _survival(writes: Iterable[Write], survivors: Sequence[Survivor], *, whole: bool) -> dict[str, Any]:
    """In a history that is not whole, a survivor it does not mention proves nothing: its lines may be what is missing."""
    there = {survivor.op: survivor for survivor in survivors}
    by_op = {write.op: write for write in writes}
    acked = [write for write in by_op.values() if write.outcome == "ok"]
    return {
        "lost": tuple(write.op for write in acked if write.op not in there),
        "altered": tuple(one.op for one in survivors if _altered(one, by_op.get(one.op))),
        "phantom": tuple(one.op for one in survivors if _phantom(by_op.get(one.op), whole)),
        "duplicated": tuple(one.op for one in survivors if one.applied > 1),
        "recovered": tuple(op for op, write in by_op.items() if write.outcome == "unknown" and op in there),
    }


def _phantom(write: Write | None, whole: bool) -> bool:
    return whole if write is None else write.outcome == "refused"


def _altered(survivor: Survivor, write: Write | None) -> bool:
    if survivor.seq is not None and survivor.digest != survivor.stored:
        return True
    return bool(write and write.outcome == "ok" and write.digest and write.digest != survivor.digest)


def _facts(state: State) -> dict[str, Any]:
    return {
        "conservation": _conservation(state.conservation),
        "capacity": tuple(
            f"tournament {one['id']}: {one['entries']} entries for {one['capacity']} places"
            for one in state.tournaments
            if one["entries"] > one["capacity"]
        ),
        "winners": tuple(said for one in state.tournaments if (said := _winner(one))),
        "orphans": tuple(f"{relation}: {one}" for relation, ids in state.orphans.items() for one in ids),
        "notifications": (
            *(f"missing: {one}" for one in state.notifications["missing"]),
            *(f"extra: {one}" for one in state.notifications["extra"]),
            *([f"{waiting} were never delivered"] if (waiting := state.notifications["undelivered"]) else []),
        ),
    }


def _conservation(points: dict[str, Any]) -> str:
    held = points["balances"] + points["escrow"] + points["pools"]
    if held != points["minted"]:
        return f"{points['minted']} points were minted and {held} are held: {held - points['minted']:+d}."
    if points["accounts_off"]:
        return f"The balances of accounts {points['accounts_off'][:5]} are not what their transfers add up to."
    if points["negative"]:
        return f"Accounts {points['negative'][:5]} are overdrawn."
    return ""


def _winner(tournament: dict[str, Any]) -> str:
    finished = tournament["state"] == "finished"
    if tournament["winners"] != int(finished):
        return f"tournament {tournament['id']} is {tournament['state']} with {tournament['winners']} winners"
    if tournament["payouts"] > int(finished):
        return f"tournament {tournament['id']} is {tournament['state']} and was paid {tournament['payouts']} times"
    if finished and tournament["pool"]:
        return f"tournament {tournament['id']} is finished with {tournament['pool']} points in its pool"
    return ""

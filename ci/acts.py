"""What some drills do besides breaking and bringing back: try the wrong key, wait for an alarm, go on without a store.

Each act leaves one event of its own, which the judge reads: `key.refused`, `alarm`, `backup.degraded`, `stores.level`.
"""

from __future__ import annotations

import hashlib
import json
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from ci import rollout
from ci.journal import Journal
from ci.protection import Guard

MAX_AGE_S = 5.0
"""How old the newest backup may be in the drill of the missed one; a scheduler makes one more than twice as often."""
ALARM_TIMEOUT_S = 20.0
LOOK_EVERY_S = 0.5


def try_wrong_key(guard: Guard, journal: Journal) -> None:
    """A restore with an identity that opens nothing: it is refused, and nothing in the database's directory changes."""
    before = _content(guard.stand.database.parent)
    words = ["backup", "restore", *guard.database(), *guard.stores(), *guard.opening("wrong"), "--yes", "--json"]
    told = _refusal(guard.stand.run_tool(*words, expect=(0, 1, 2)))
    untouched = _content(guard.stand.database.parent) == before
    journal.emit("key.refused", f"With the wrong key: {told['message']}", untouched=untouched, kind=told["kind"],
                 said=told["message"])  # fmt: skip


def await_alarm(guard: Guard, journal: Journal) -> None:
    """`backup status` is asked until it tells that a backup is missing, and once before it can be."""
    newest = _status(guard)
    false = "" if newest["ok"] else str(newest["alarms"])
    due_t = time.monotonic() + MAX_AGE_S - newest["age_s"]
    deadline = time.monotonic() + ALARM_TIMEOUT_S
    late_s = None
    while late_s is None and time.monotonic() < deadline:
        status = _status(guard)
        if "missed" in [alarm["name"] for alarm in status["alarms"]]:
            late_s = max(0.0, time.monotonic() - due_t)
        else:
            time.sleep(LOOK_EVERY_S)
    text = (
        "Nobody was told of the missing backup."
        if late_s is None
        else "Whoever looks is told that a backup is missing."
    )
    journal.emit("alarm", text, false=false, late_s=late_s)


def back_up_without(guard: Guard, journal: Journal) -> None:
    """A backup while one store is away: it is made, and the missing store is named."""
    words = ["backup", "run", *guard.database(), *guard.stores(), *guard.sealing(), "--demo"]
    told = guard.stand.tool_json(*words)
    assert guard.server is not None
    trouble = [str(one) for one in told["trouble"]]
    named = any("s3://" in one for one in trouble)
    journal.emit("backup.degraded", f"Backup {told['id']} was made without a store: {' '.join(trouble)}", id=told["id"],
                 named=named, said=" ".join(trouble))  # fmt: skip


def bring_level(guard: Guard, journal: Journal) -> None:
    """The store is back, what it missed is copied into it, and it is asked alone what it holds."""
    guard.start_object_store()
    guard.stand.run_tool("backup", "resync", *guard.stores())
    assert guard.server is not None
    here, there = (_backups(guard, address) for address in (str(guard.stand.store), guard.server.address))
    missing = len(here - there)
    journal.emit("stores.level", f"The store is back and holds {len(here & there)} of {len(here)} backups.",
                 held=len(here & there), missing=missing)  # fmt: skip


def start_server(guard: Guard, journal: Journal) -> None:
    """The database server is started where it died, and recovers by itself."""
    cluster = guard.stand.cluster
    assert cluster is not None
    began = time.monotonic()
    cluster.start(guard.stand.companions)
    seconds = time.monotonic() - began
    journal.emit("server.ready", f"The database server takes connections again after {seconds:.1f} s.", seconds=seconds)


ACTS: Mapping[str, Callable[[Guard, Journal], None]] = {
    "try-wrong-key": try_wrong_key,
    "await-alarm": await_alarm,
    "start-server": start_server,
    "back-up-without": back_up_without,
    "bring-level": bring_level,
    "expand-schema": lambda guard, journal: rollout.expand(guard.stand, journal),
    "switch-version": lambda guard, journal: rollout.switch(guard.stand, journal),
    "contract-schema": lambda guard, journal: rollout.contract(guard.stand, journal),
}
"""By the names that drills call them."""


def _backups(guard: Guard, address: str) -> set[str]:
    listed = guard.stand.tool_json("backup", "list", *guard.stores(address))
    return {one["id"] for one in listed["backups"]}


def _status(guard: Guard) -> dict[str, Any]:
    words = ["backup", "status", *guard.stores(), "--max-age", f"{MAX_AGE_S:g}s"]
    status: dict[str, Any] = guard.stand.tool_json(*words, expect=(0, 1))
    return status


def _refusal(printed: str) -> dict[str, Any]:
    """The error document that a refused command printed; one that was not refused is told as such."""
    document: dict[str, Any] = json.loads(printed)
    refusal: dict[str, Any] = document.get("error", {"kind": "restored", "message": "The backup was restored with it."})
    return refusal


def _content(directory: Path) -> dict[str, str]:
    """Every file below the directory that is no lock, with the digest of its bytes."""
    files = (path for path in sorted(directory.rglob("*")) if path.is_file() and not path.name.endswith("-lock"))
    return {str(path): hashlib.sha256(path.read_bytes()).hexdigest() for path in files}

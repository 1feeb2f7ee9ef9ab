"""A release under load: the schema expanded under the old version, the new version takes over, the schema contracted.

    0001 ── old version serves ── 0002 ── new version ready, front switched, old version ended ── 0003 ── …
            expand                        both served for a while                                 contract

The revisions are applied as an operator applies them, by `gymkhana migrate up` in a process of its own, one at a time.
"""

from __future__ import annotations

import contextlib
import http.client
import json
import sys
import time
from collections.abc import Iterator
from typing import Any

from ci.front import Front, StillBusy
from ci.journal import Journal
from ci.loopback import HOST, free_ports
from ci.stand import READY_TIMEOUT_S, Stand, StandError
from migrations.line import line

OLDER, EXPANDED = "0001", "0002"
CONTRACTED = tuple(one.id for one in line() if one.id > EXPANDED)
"""What contracts the schema, and what came after that."""
FORMER = "former"
TIMEOUT_S = 20.0
"""How long an answer to this module's own requests is waited for; the users' requests are held to the scenario's."""
ATTEMPTS = 5
"""A revision that did not get its lock in time has changed nothing, and whoever applies it tries again."""


def begin(stand: Stand) -> None:
    """The old version serves the old schema behind a front, the population of a newer one in it."""
    stand.run_tool("migrate", "down", OLDER, "--database", stand.database_url, "--no-backup")
    stand.port, former, stand.own_port = free_ports(3)
    runtime = stand.directory / "db" / "former.runtime"
    command = (sys.executable, "-m", "ci.former", "--runtime", str(runtime))
    stand.companions.start(FORMER, command, stand.environment | stand.configuration(runtime, former))
    stand.front = Front(stand.port, former)
    _wait_ready(former, "old")


def expand(stand: Stand, journal: Journal) -> None:
    """The schema has room for what the new version writes; the old one has gone on writing what it knows."""
    with _finding(journal, "expand-schema"):
        _sign_up(stand, "ada")
        _migrate(stand, journal, "expand-schema", (EXPANDED,))
        _sign_up(stand, "bea")


def switch(stand: Stand, journal: Journal) -> None:
    """The new version is ready beside the old one, then answers in its place; the old one has answered all and is gone."""
    assert stand.front is not None
    stand.start()
    with _finding(journal, "switch-version"):
        _wait_ready(stand.own_port, "new")
        began = time.monotonic()
        stand.front.switch(stand.own_port)
        idle_s = time.monotonic() - began
        text = f"The new version answers; the old one was idle after {idle_s:.2f} s."
        journal.emit("version.switched", text, idle_s=idle_s)
        code = stand.companions.stop(FORMER)
        journal.emit("version.ended", "The old version has ended.", code=code)
        _sign_up(stand, "cyd")


def contract(stand: Stand, journal: Journal) -> None:
    """What only the old version needed is gone from the schema, which is now the one that the code expects."""
    assert stand.front is not None
    with _finding(journal, "contract-schema"):
        if stand.front.behind != stand.own_port:
            raise StandError("the old version still serves, and needs what would be taken away.")
        _migrate(stand, journal, "contract-schema", CONTRACTED)
        _sign_up(stand, "dot")
        stand.run_tool("migrate", "check", "--database", stand.database_url)


@contextlib.contextmanager
def _finding(journal: Journal, act: str) -> Iterator[None]:
    """A release that does not get to its end is what the run found, not the harness's end."""
    try:
        yield
    except (StandError, StillBusy) as error:
        journal.emit("fault.missed", f"{act} was not carried through: {error}", fault=act)


def _migrate(stand: Stand, journal: Journal, act: str, revisions: tuple[str, ...]) -> None:
    """Applied, with proof. Raises StandError when a revision would not go."""
    began = time.monotonic()
    journal.emit("fault.begin", f"The schema is about to be moved to {revisions[-1]}.", fault=act)
    for revision in revisions:
        for attempt in range(ATTEMPTS):
            try:
                stand.run_tool("migrate", "up", revision, "--database", stand.database_url, "--no-backup")
                break
            except StandError as error:
                if attempt == ATTEMPTS - 1:
                    raise StandError(f"Revision {revision} was not applied: {error}") from error
    found = stand.tool_json("migrate", "status", "--database", stand.database_url)["revision"]
    observed = f"the schema was moved to {found} in {time.monotonic() - began:.1f} s while the service served"
    journal.emit("fault.bite", f"{act} bit: {observed}.", fault=act, proof={"observed": observed, "revision": found})


def _sign_up(stand: Stand, name: str) -> None:
    """Somebody signs up with whichever version answers, and reads their own profile. Raises StandError when that fails."""
    who = {"name": f"{name}-of-the-release", "password": f"{name}'s long password"}
    told = {"Content-Type": "application/json", "Run-Id": "release"}
    _call(stand.port, "POST", "/users", told | {"Operation-Id": f"release.{name}.signs-up"}, who)
    session = _call(stand.port, "POST", "/sessions", told | {"Operation-Id": f"release.{name}.logs-in"}, who)
    shown = _call(stand.port, "GET", "/users/me", told | {"Authorization": f"Bearer {session['token']}"})
    if shown["name"] != who["name"] or shown.get("display_name", who["name"]) != who["name"]:
        raise StandError(f"{who['name']} signed up and is shown as {shown}.")


def _call(port: int, method: str, path: str, headers: dict[str, str], body: Any = None) -> Any:
    connection = http.client.HTTPConnection(HOST, port, timeout=TIMEOUT_S)
    try:
        connection.request(method, path, json.dumps(body) if body is not None else None, headers)
        answer = connection.getresponse()
        said = answer.read()
    except (OSError, http.client.HTTPException) as error:
        raise StandError(f"{method} {path} was not answered: {error}.") from error
    finally:
        connection.close()
    if answer.status >= 400:
        raise StandError(f"{method} {path} was answered {answer.status}: {said.decode(errors='replace')}")
    return json.loads(said)


def _wait_ready(port: int, version: str) -> None:
    deadline = time.monotonic() + READY_TIMEOUT_S
    while True:
        try:
            _call(port, "GET", "/health/ready", {})
        except StandError as error:
            if time.monotonic() > deadline:
                raise StandError(
                    f"The {version} version was not ready after {READY_TIMEOUT_S:.0f} s: {error}"
                ) from error
            time.sleep(0.02)
        else:
            return

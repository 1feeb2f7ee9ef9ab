"""A client of the running service: one connection per request, every write under an operation id of the stand's run."""

from __future__ import annotations

import http.client
import itertools
import json
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from ci.loopback import HOST
from ci.stand import Stand
from loadtests.population import Population
from loadtests.population import read as read_population
from system.database import SessionLocal, engine_for
from system.operations_service import survivors

PASSWORD = "correct horse battery"

_numbers = itertools.count(1)


@dataclass(frozen=True, slots=True)
class Reply:
    """What came back; header names in lower case. `operation` is the id the request went out under, empty for a read."""

    status: int
    headers: Mapping[str, str]
    body: bytes
    operation: str = ""

    @property
    def json(self) -> Any:
        """The body, decoded."""
        return json.loads(self.body)

    @property
    def code(self) -> str:
        """The stable code of the problem that the reply is."""
        assert self.headers["content-type"] == "application/problem+json", self
        problem = self.json
        assert problem.keys() == {"type", "title", "status", "detail", "code", "request_id"}
        assert problem["status"] == self.status
        assert problem["type"] == f"urn:gymkhana:problem:{problem['code']}"
        assert problem["request_id"] == self.headers["request-id"]
        return str(problem["code"])


@dataclass(frozen=True, slots=True)
class Caller:
    """Calls the service of `stand` with `token`. A call without an answer raises OSError or HTTPException."""

    stand: Stand
    token: str = ""
    id: int = 0

    def get(self, path: str) -> Reply:
        """A read."""
        return self.send("GET", path, None, {})

    def post(self, path: str, body: Any = None, operation: str | None = None) -> Reply:
        """A write; its operation id is new unless given."""
        return self.write("POST", path, body, operation)

    def write(self, method: str, path: str, body: Any = None, operation: str | None = None) -> Reply:
        """A write by any method; a body of bytes is sent as it is."""
        chosen = operation if operation is not None else new_operation(self.stand)
        return self.send(method, path, body, {"Operation-Id": chosen, "Run-Id": self.stand.run})

    def send(self, method: str, path: str, body: Any, headers: Mapping[str, str]) -> Reply:
        """The request exactly as described, with the token when there is one."""
        content = body if body is None or isinstance(body, bytes) else json.dumps(body).encode()
        shown = {"Content-Type": "application/json"} | dict(headers)
        if self.token:
            shown["Authorization"] = f"Bearer {self.token}"
        connection = http.client.HTTPConnection(HOST, self.stand.port, timeout=15)
        try:
            connection.request(method, path, content, shown)
            got = connection.getresponse()
            names = {name.lower(): value for name, value in got.getheaders()}
            return Reply(got.status, names, got.read(), headers.get("Operation-Id", ""))
        finally:
            connection.close()


def new_operation(stand: Stand) -> str:
    """An operation id that was never used."""
    return f"{stand.run}.{next(_numbers)}"


def new_name() -> str:
    """A user name that nobody has."""
    return f"guest-{next(_numbers)}"


def population(stand: Stand) -> Population:
    """Who lives on the stand."""
    return read_population(stand.population)


def players(stand: Stand) -> list[Caller]:
    """The stand's users, logged in."""
    return [Caller(stand, user.token, user.id) for user in population(stand).users]


def newcomer(stand: Stand) -> Caller:
    """Somebody who signed up and logged in just now."""
    name = new_name()
    signed = Caller(stand).post("/users", {"name": name, "password": PASSWORD})
    assert signed.status == 201, signed
    session = Caller(stand).post("/sessions", {"name": name, "password": PASSWORD})
    assert session.status == 201, session
    return Caller(stand, session.json["token"], session.json["user_id"])


def survived(stand: Stand) -> set[str]:
    """The operations of the stand's run that the database holds, each applied once with the digest it was given."""
    engine = engine_for(stand.database_url)
    try:
        with SessionLocal(bind=engine) as session:
            found = list(survivors(session, stand.run))
    finally:
        engine.dispose()
    wrong = [one for one in found if one.applied != 1 or one.digest != one.stored]
    assert wrong == []
    return {one.op for one in found}


def until(condition: Callable[[], bool], what: str, timeout_s: float = 30.0, found: Callable[[], object] = str) -> None:
    """Returns once the condition holds; fails when it does not within the deadline, and tells what it `found` instead."""
    deadline = time.monotonic() + timeout_s
    while not condition():
        assert time.monotonic() < deadline, f"not within {timeout_s} s: {what} {found()}"
        time.sleep(0.01)

"""The running service, asked what nobody thought of: no crash, and nothing that its description does not say."""

from __future__ import annotations

import itertools
import json
import time
import urllib.request
from collections.abc import Iterator
from typing import Any

import pytest
from fastapi import FastAPI
from fastapi.routing import APIRoute
from schemathesis.checks import not_a_server_error
from schemathesis.specs.openapi.checks import (
    content_type_conformance,
    response_schema_conformance,
    status_code_conformance,
)

from system.admin import console, room
from tests.system.admin.browsing import Served
from tests.system.admin.visitors import PASSWORD, session_of
from tests.system.openapi.fuzzing import LEAST, Fuzzed, fuzz

pytestmark = pytest.mark.processes

CONFORMING = (
    not_a_server_error,
    status_code_conformance,
    content_type_conformance,
    response_schema_conformance,
)
EXAMPLES = 8
MOST_S = 14.0
_NUMBERS = itertools.count(1)


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    """A service whose failpoints can be armed in `failpoints/` beside its database."""
    directory = tmp_path_factory.mktemp("fuzzed")
    (directory / "failpoints").mkdir()
    served = Served(directory, {"GYM_FAILPOINTS": str(directory / "failpoints")})
    served.start()
    yield served
    served.stop()


def document(url: str) -> dict[str, Any]:
    with urllib.request.urlopen(f"{url}/openapi.json") as answer:
        found: dict[str, Any] = json.load(answer)
    return found


def operations(description: dict[str, Any]) -> int:
    return sum(map(len, description["paths"].values()))


def joined(url: str) -> dict[str, str]:
    """What a user who has just joined sends with every request."""
    name = f"fuzzed-{next(_NUMBERS)}"
    answer = {}
    for path in ("/users", "/sessions"):
        body = json.dumps({"name": name, "password": PASSWORD}).encode()
        headers = {"Operation-Id": f"fuzz.{next(_NUMBERS)}", "Content-Type": "application/json"}
        with urllib.request.urlopen(urllib.request.Request(url + path, body, headers)) as reply:
            answer = json.load(reply)
    return {"Authorization": f"Bearer {answer['token']}"}


def of_the_admin_part() -> dict[str, Any]:
    """A description of every route below `/admin`: their parameters, and forms with the fields that any of them reads."""
    app = FastAPI()
    for router in room.routers():
        for route in router.routes:
            assert isinstance(route, APIRoute)
            app.add_api_route(route.path, route.endpoint, methods=sorted(route.methods or ()), response_model=None)
    described = app.openapi()
    one = {"type": "string", "maxLength": 300}
    fields = dict.fromkeys(("name", "password", "new", "again", "current", "next", "why", "days", "minutes"), one)
    fields |= {
        "role": {"enum": ["viewer", "operator", "admin", "king"]},
        "scope": {"type": "array", "items": {"enum": ["read:boards", "read:records", "write:alerts", "*"]}},
        "lasting": {"enum": ["30m", "2h", "7d", "1y"]},
        "of": {"enum": ["everything", "severity=warning", "BackupMissed", "Nothing"]},
    }  # fmt: skip
    form = {"type": "object", "properties": fields, "additionalProperties": one}
    for methods in described["paths"].values():
        for method, operation in methods.items():
            operation["responses"] = {"default": {"description": "Whatever it is, it is no crash."}}
            if method == "post":
                operation["requestBody"] = {"content": {"application/x-www-form-urlencoded": {"schema": form}}}
    return described


def test_the_public_service_answers_everything_as_it_is_described(served: Served) -> None:
    url = served.url
    description = document(url)
    found = fuzz(description, url, lambda: joined(url), CONFORMING, examples=EXAMPLES, most_s=MOST_S)
    assert found.failures == {}
    assert len(found.asked) == operations(description), "every one was asked"
    assert found.fewest() >= 1
    assert found.total() >= LEAST * len(found.asked), found.asked
    statuses = set().union(*found.asked.values())
    assert {200, 201, 400, 404} <= statuses, statuses


def test_the_admin_part_never_crashes(served: Served) -> None:
    url, database = served.url, served.database

    def ada() -> dict[str, str]:
        """An admin who was made a moment ago: the last operation may have shut the one before out."""
        name = f"ada-{next(_NUMBERS)}"
        console.create(database, name, "admin", PASSWORD)
        return {"Cookie": session_of(database, name), "Sec-Fetch-Site": "same-origin", "Accept": "text/html"}

    description = of_the_admin_part()
    for opened in ("/admin/log-in", "/admin/log-out"):
        del description["paths"][opened]  # Each costs a password, or the session; their tests are of their own.
    found = fuzz(description, url, ada, (not_a_server_error,), examples=EXAMPLES // 2, most_s=MOST_S)
    assert found.failures == {}
    assert len(found.asked) == operations(description), "every one was asked"
    assert found.fewest() >= 1
    assert found.total() >= LEAST * len(found.asked), found.asked
    pages = [
        label
        for label, answers in found.asked.items()
        if label.startswith("GET") and not answers.keys() & {200, 400, 404}
    ]
    assert pages == [], "nobody was let in there"


def test_a_planted_crash_is_found_and_named(served: Served) -> None:
    """A job of challenges fails for a reason that the service does not know; the rest goes on."""
    url = served.url
    armed = served.path.with_name("failpoints") / "fail-in-transaction.json"
    planted = {"name": "fail-in-transaction", "seed": 1, "rate": 1.0, "domains": ["challenges"]}
    only = document(url)
    only["paths"] = {path: only["paths"][path] for path in ("/challenges", "/tournaments")}
    opponent = joined(url)
    (armed.with_suffix(".partial")).write_text(json.dumps(planted | {"until": time.monotonic() + 60}))
    armed.with_suffix(".partial").replace(armed)
    try:
        found: Fuzzed = fuzz(only, url, lambda: opponent, (not_a_server_error,), examples=30, most_s=MOST_S)
    finally:
        armed.unlink()
    assert set(found.failures) == {"POST /challenges"}
    assert "500" in found.failures["POST /challenges"] or "erver" in found.failures["POST /challenges"]

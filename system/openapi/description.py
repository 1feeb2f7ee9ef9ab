"""OpenAPI of the platform: what FastAPI knows of its routes, and what it cannot know of bodies, headers and problems."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Final

import msgspec
from fastapi import FastAPI

from system.health import Told
from system.openapi.bodies import REFERENCE, schemas
from system.problems import Problem

WRITES: Final = ("post", "put", "patch", "delete")
SAID: Final = """\
Every write carries an `Operation-Id` of the client's choice. Sent again with the same request, it is answered as it was the
first time and applied once; sent with another request, it is refused. After an answer that never came, `GET` of
`/operations/{operation_id}` tells whether it was applied. A 2xx is sent once what it says is committed.

Every error is a problem (RFC 9457). One with `Outcome: not-applied` says that nothing was done: after `Retry-After` seconds,
trying again is safe.
"""

_OPERATION_ID: Final = {
    "name": "Operation-Id",
    "in": "header",
    "required": True,
    "description": "Chosen by the client, unique among its writes. `Idempotency-Key` is taken as the same thing.",
    "schema": {"type": "string", "pattern": r"^(?!system\.|seed\.)[A-Za-z0-9._:-]{1,120}$"},
}
_RUN_ID: Final = {
    "name": "Run-Id",
    "in": "header",
    "required": False,
    "description": "Whatever the client wants its writes to be found by.",
    "schema": {"type": "string", "pattern": "^[A-Za-z0-9._:-]{1,120}$"},
}
_APPLIED: Final = {
    "Operation-Id": "The write's id, as it was sent.",
    "Commit-Sequence": "The place of the write among all that were committed.",
    "Effect-Digest": "BLAKE2b-128 of the rows that the write left.",
    "Operation-Replayed": "`true` when it was applied before, and this is the answer of then.",
}
_OUTCOME: Final = {
    "Outcome": {
        "description": "`not-applied` when it is certain that nothing was done, `unknown` when it is not.",
        "schema": {"type": "string", "enum": ["not-applied", "unknown"]},
    },
    "Retry-After": {"description": "Seconds to wait before the next try.", "schema": {"type": "integer"}},
}
_REFUSALS: Final = {
    400: ("Invalid", "The request breaks a rule that no retry can change."),
    401: ("Unauthorised", "No session, or one that is unknown, expired or revoked."),
    403: ("Forbidden", "This is not the caller's to do."),
    404: ("NotFound", "There is no such thing, or it is not the caller's to see."),
    409: ("Conflict", "The thing is in a state that does not allow this."),
    413: ("TooLarge", "The body is larger than the service reads."),
    422: ("Reused", "The operation's id was used before, for another request."),
    429: ("RateLimited", "The client has asked for more than its share."),
    503: ("Unavailable", "Not now."),
}


def described(app: FastAPI) -> dict[str, Any]:
    """The description of the application's routes; nothing of the application changes."""
    document = msgspec.json.decode(msgspec.json.encode(FastAPI.openapi(app)), type=dict[str, Any])
    document["info"]["description"] = SAID
    document["security"] = [{"session": []}]
    for path, method, operation in _operations(document):
        _complete(path, method, operation)
    document["components"] = {
        "schemas": schemas(Problem, Told),
        "responses": {_REFUSALS[status][0]: _refusal(status) for status in _REFUSALS},
        "securitySchemes": {
            "session": {
                "type": "http",
                "scheme": "bearer",
                "description": "The token that `POST /sessions` answers with.",
            }
        },
    }
    return document


def _operations(document: dict[str, Any]) -> Iterator[tuple[str, str, dict[str, Any]]]:
    for path, methods in document["paths"].items():
        for method, operation in methods.items():
            yield path, method, operation


def _complete(path: str, method: str, operation: dict[str, Any]) -> None:
    """What FastAPI takes for granted, a 422 of its own for one, gives way to what the service answers."""
    answers = {status: answer for status, answer in operation["responses"].items() if status.startswith("2")}
    if path.startswith("/health/"):
        operation["security"] = []
        health = {"application/health+json": {"schema": {"$ref": REFERENCE.format(name=Told.__name__)}}}
        answers["503"] = {"description": "It is not, and why.", "headers": {"Retry-After": _OUTCOME["Retry-After"]}}
        for answer in answers.values():
            answer["content"] = health
        refusals = {400} if operation.get("parameters") else set()
    else:
        refusals = {400, 429, 503}
        if operation.get("security") is None or path == "/sessions":
            refusals.add(401)
        if "{" in path:
            refusals.add(404)
        if method in WRITES:
            refusals |= {403, 404, 409, 413, 422}
            operation["parameters"] = [*operation.get("parameters", ()), _OPERATION_ID, _RUN_ID]
            for answer in answers.values():
                answer["headers"] = {
                    name: {"description": said, "schema": {"type": "string"}} for name, said in _APPLIED.items()
                }
    named = {str(status): {"$ref": f"#/components/responses/{_REFUSALS[status][0]}"} for status in sorted(refusals)}
    operation["responses"] = answers | named


def _refusal(status: int) -> dict[str, Any]:
    content = {"application/problem+json": {"schema": {"$ref": REFERENCE.format(name=Problem.__name__)}}}
    told = {"description": _REFUSALS[status][1], "content": content}
    return told | {"headers": _OUTCOME} if status in (429, 503) else told

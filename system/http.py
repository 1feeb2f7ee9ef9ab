"""The words a route handler uses: body, actor, read, write. HTTP ends here; what is below knows none of it."""

from __future__ import annotations

import hashlib
import re
import time
from collections.abc import Callable
from typing import Any, Concatenate, ParamSpec, TypeVar

import msgspec
from fastapi import Request, Response

from system import user_service
from system.errors import Invalid, Unauthorised
from system.jobs import Job, Operation
from system.lanes import Lanes, Written
from system.statements import Reader

P = ParamSpec("P")
T = TypeVar("T")

JSON = "application/json"
_ID = re.compile(r"[A-Za-z0-9._:-]{1,120}")

_decoders: dict[Any, msgspec.json.Decoder[Any]] = {}


async def body(request: Request, shape: type[T]) -> T:
    """The request's body as `shape`. Raises Invalid when it is not JSON or breaks a rule of the shape."""
    decoder = _decoders.get(shape)
    if decoder is None:
        decoder = _decoders[shape] = msgspec.json.Decoder(shape)
    raw = await request.body()
    try:
        decoded: T = decoder.decode(raw or b"{}")
    except msgspec.ValidationError as error:
        raise Invalid("body-invalid", f"The body breaks a rule: {error}.") from error
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise Invalid("body-not-json", f"The body is not JSON: {error}.") from error
    return decoded


async def actor(request: Request) -> int:
    """The id of the user whose session token the request carries. Raises Unauthorised."""
    hashed = _hashed(request)
    user = _known(await lanes(request).read("sessions", user_service.session_user, hashed, now_ms()))
    request.scope["state"]["user_id"] = user
    return user


def token(request: Request) -> str:
    """The session token the request carries, unchecked. Raises Unauthorised when it carries none."""
    scheme, _, carried = request.headers.get("authorization", "").partition(" ")
    if scheme.lower() != "bearer" or not carried:
        raise Unauthorised("session-required", "Send the session's token as `Authorization: Bearer <token>`.")
    return carried


async def write(
    request: Request, job: Job, *args: Any, actor_id: int | None = None, extra: dict[str, Any] | None = None
) -> Response:
    """Runs the job in the write lane under the request's operation id; the ready response, acknowledged.

    `extra` is merged into the body of a first answer and never stored: a replay shows its keys as null.
    """
    operation = await _operation(request, actor_id)
    state = request.scope["state"]
    state["operation_id"] = operation.id
    if actor_id is not None:
        state["user_id"] = actor_id
    written = await lanes(request).write(job, *args, operation=operation)
    content = written.body if extra is None else _merge(written, extra)
    headers = {
        "Operation-Id": operation.id,
        "Commit-Sequence": str(written.sequence),
        "Effect-Digest": written.digest,
        "Server-Timing": f"db;dur={written.database_ms:.2f}",
    }
    if written.replayed:
        headers["Operation-Replayed"] = "true"
    return Response(content, written.status, headers, JSON)


async def read(
    request: Request, domain: str, function: Callable[Concatenate[Reader, P], Any], *args: P.args, **kw: P.kwargs
) -> Response:
    """Runs the read for whoever the request's session belongs to; its result as the ready response. Raises Unauthorised."""
    return await _read(request, domain, lambda connection, _: function(connection, *args, **kw))


async def read_own(
    request: Request,
    domain: str,
    function: Callable[Concatenate[Reader, int, P], Any],
    *args: P.args,
    **kw: P.kwargs,
) -> Response:
    """The same for a read that takes the user's id before its other arguments."""
    return await _read(request, domain, lambda connection, user: function(connection, user, *args, **kw))


async def _read(request: Request, domain: str, function: Callable[[Reader, int], Any]) -> Response:
    hashed = _hashed(request)
    began = time.perf_counter()

    def visit(connection: Reader) -> Any:
        """One visit to the database and not two: whose session it is, and what they want to know."""
        user = _known(user_service.session_user(connection, hashed, now_ms()))
        request.scope["state"]["user_id"] = user
        return function(connection, user)

    result = await lanes(request).read(domain, visit)
    timing = f"db;dur={(time.perf_counter() - began) * 1000:.2f}"
    return Response(msgspec.json.encode(result), 200, {"Server-Timing": timing}, JSON)


def _hashed(request: Request) -> str:
    return hashlib.sha256(token(request).encode()).hexdigest()


def _known(user: int | None) -> int:
    if user is None:
        raise Unauthorised("session-unknown", "The session is unknown, expired or revoked; log in again.")
    return user


def lanes(request: Request) -> Lanes:
    """The process's lanes."""
    found: Lanes = request.app.state.lanes
    return found


def now_ms() -> int:
    """The wall clock: UTC, epoch milliseconds."""
    return time.time_ns() // 1_000_000


async def _operation(request: Request, actor_id: int | None) -> Operation:
    chosen = request.headers.get("operation-id") or request.headers.get("idempotency-key", "").strip('"')
    if not chosen:
        raise Invalid(
            "operation-id-missing", "A write needs an `Operation-Id` header, unique and chosen by the client."
        )
    if not _ID.fullmatch(chosen):
        raise Invalid("operation-id-invalid", "`Operation-Id` takes 1 to 120 of A-Z a-z 0-9 . _ : -")
    if chosen.startswith(("system.", "seed.")):
        raise Invalid(
            "operation-id-reserved", "Operation ids beginning with `system.` or `seed.` are the service's own."
        )
    run = request.headers.get("run-id", "")
    if run and not _ID.fullmatch(run):
        raise Invalid("run-id-invalid", "`Run-Id` takes 1 to 120 of A-Z a-z 0-9 . _ : -")
    fingerprint = hashlib.blake2b(digest_size=16)
    for part in (str(actor_id), request.method, request.url.path):
        fingerprint.update(part.encode() + b"\0")
    fingerprint.update(await request.body())
    return Operation(chosen, run, actor_id, fingerprint.hexdigest(), now_ms())


def _merge(written: Written, extra: dict[str, Any]) -> bytes:
    shown = dict.fromkeys(extra) if written.replayed else extra
    return msgspec.json.encode(msgspec.json.decode(written.body) | shown)

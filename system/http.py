"""The words a route handler uses: body, actor, read, write. HTTP ends here; what is below knows none of it."""

from __future__ import annotations

import hashlib
import re
import time
from collections.abc import Callable, Sequence
from typing import Any, Concatenate, ParamSpec, TypeVar

import msgspec
from fastapi import Request, Response

from system import user_service
from system.errors import Invalid, ServiceError, Unauthorised
from system.jobs import Caller, Job, Operation, fingerprint
from system.jobs import now_ms as now_ms
from system.lanes import Lanes, Written
from system.statements import Reader

P = ParamSpec("P")
T = TypeVar("T")

_ID = re.compile(r"[A-Za-z0-9._:-]{1,120}")

_decoders: dict[Any, msgspec.json.Decoder[Any]] = {}


class Ready(Response):
    """JSON with its headers as they are sent: to have them made of a dictionary takes longer than the rest of the answer."""

    def __init__(
        self, content: bytes, status: int, database_ms: float, more: Sequence[tuple[bytes, bytes]] = ()
    ) -> None:
        self.status_code = status
        self.background = None
        self.body = content
        self.raw_headers = [
            *more,
            (b"server-timing", b"db;dur=%.2f" % database_ms),
            (b"content-length", b"%d" % len(content)),
            (b"content-type", b"application/json"),
        ]


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


async def own_body(request: Request, shape: type[T]) -> T:
    """The same for a write of whoever has the request's session: one who has none is told that first."""
    token(request)
    try:
        return await body(request, shape)
    except ServiceError:
        await actor(request)
        raise


async def actor(request: Request) -> int:
    """The id of the user whose session token the request carries. Raises Unauthorised."""
    hashed = token_hash(request)
    user = await lanes(request).read("sessions", user_service.require_session, hashed, now_ms())
    request.scope["state"]["user_id"] = user
    return user


def token(request: Request) -> str:
    """The session token the request carries, unchecked. Raises Unauthorised when it carries none."""
    scheme, _, carried = _header(request, b"authorization").partition(" ")
    if scheme.lower() != "bearer" or not carried:
        raise Unauthorised("session-required", "Send the session's token as `Authorization: Bearer <token>`.")
    return carried


def token_hash(request: Request) -> str:
    """What is known of the token where sessions are kept. Raises Unauthorised when the request carries none."""
    return hashlib.sha256(token(request).encode()).hexdigest()


async def write(
    request: Request, job: Job, *args: Any, actor_id: int | None = None, extra: dict[str, Any] | None = None
) -> Response:
    """Runs the job in the write lane under the request's operation id; the ready response, acknowledged.

    `extra` is merged into the body of a first answer and never stored: a replay shows its keys as null.
    """
    chosen, run = _names(request)
    operation = Operation(chosen, run, actor_id, fingerprint(actor_id, await _asked(request)), now_ms())
    written = await lanes(request).write(job, *args, operation=operation)
    return _written(request, operation, written, extra)


async def write_own(request: Request, job: Job, *args: Any) -> Response:
    """The same for whoever the request's session belongs to, which is looked up where the job runs. Raises Unauthorised.

    So it is one visit to the database and not two, and a session that was revoked a moment ago writes nothing.
    """
    hashed = token_hash(request)
    try:
        chosen, run = _names(request)
        caller = Caller(hashed, await _asked(request))
    except ServiceError:  # As ever, a session that does not hold comes before what is wrong with the request.
        await actor(request)
        raise
    operation = Operation(chosen, run, None, "", now_ms())
    written = await lanes(request).write(job, *args, operation=operation, caller=caller)
    return _written(request, operation, written, None)


def _written(request: Request, operation: Operation, written: Written, extra: dict[str, Any] | None) -> Response:
    if written.actor_id is not None:
        request.scope["state"]["user_id"] = written.actor_id
    content = written.body if extra is None else _merge(written, extra)
    headers = [
        (b"operation-id", operation.id.encode()),
        (b"commit-sequence", b"%d" % written.sequence),
        (b"effect-digest", written.digest.encode()),
    ]
    if written.replayed:
        headers.append((b"operation-replayed", b"true"))
    return Ready(content, written.status, written.database_ms, headers)


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
    hashed = token_hash(request)
    began = time.perf_counter()

    def visit(connection: Reader) -> Any:
        """One visit to the database and not two: whose session it is, and what they want to know."""
        user = user_service.require_session(connection, hashed, now_ms())
        request.scope["state"]["user_id"] = user
        return function(connection, user)

    result = await lanes(request).read(domain, visit)
    return Ready(msgspec.json.encode(result), 200, (time.perf_counter() - began) * 1000)


def lanes(request: Request) -> Lanes:
    """The process's lanes."""
    found: Lanes = request.app.state.lanes
    return found


def _names(request: Request) -> tuple[str, str]:
    """The operation's id and the run's. Raises Invalid."""
    chosen = _header(request, b"operation-id") or _header(request, b"idempotency-key").strip('"')
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
    run = _header(request, b"run-id")
    if run and not _ID.fullmatch(run):
        raise Invalid("run-id-invalid", "`Run-Id` takes 1 to 120 of A-Z a-z 0-9 . _ : -")
    request.scope["state"]["operation_id"] = chosen
    return chosen, run


async def _asked(request: Request) -> bytes:
    """What tells the request from others, whoever makes it."""
    return b"\0".join((request.method.encode(), request.scope["path"].encode(), await request.body()))


def _header(request: Request, wanted: bytes) -> str:
    """The header's value, empty when there is none; `wanted` in small letters, as ASGI has them all."""
    for name, value in request.scope["headers"]:
        if name == wanted:
            return str(value.decode("latin-1"))
    return ""


def _merge(written: Written, extra: dict[str, Any]) -> bytes:
    shown = dict.fromkeys(extra) if written.replayed else extra
    return msgspec.json.encode(msgspec.json.decode(written.body) | shown)

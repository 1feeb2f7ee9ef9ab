"""Errors as RFC 9457 problems, in one place."""

from __future__ import annotations

from http import HTTPStatus

import msgspec

from system.errors import OutcomeUnknown, RateLimited, ServiceError, Unavailable

TYPE_PREFIX = "urn:gymkhana:problem:"

_STATUS = {
    "invalid": 400,
    "too-large": 413,
    "unauthorised": 401,
    "forbidden": 403,
    "not-found": 404,
    "conflict": 409,
    "reused": 422,
    "rate-limited": 429,
    "unavailable": 503,
    "outcome-unknown": 503,
}


class Problem(msgspec.Struct, frozen=True):
    """An error as its client is told of it."""

    type: str
    title: str
    status: int
    detail: str
    code: str
    request_id: str


def problem_bytes(
    error: Exception, request_id: str, *, status: int | None = None
) -> tuple[int, list[tuple[bytes, bytes]], bytes]:
    """Status, headers and body of the problem that `error` is.

    `Outcome: not-applied` is sent with Unavailable and RateLimited alone: they say that trying again is safe, and a client
    that is told so must be able to rely on it. Whatever is no ServiceError is a 500 whose details stay in the log.
    """
    if not isinstance(error, ServiceError):
        error = ServiceError("internal", "Something went wrong that is not yours to mend; the log has it.")
    status = status or _STATUS.get(error.kind, 500)
    problem = Problem(
        type=TYPE_PREFIX + error.code,
        title=HTTPStatus(status).phrase,
        status=status,
        detail=error.message,
        code=error.code,
        request_id=request_id,
    )
    body = msgspec.json.encode(problem)
    headers = [(b"content-type", b"application/problem+json"), (b"content-length", str(len(body)).encode())]
    if status in (429, 503):
        headers.append((b"retry-after", str(error.retry_after_s).encode()))
    if status == 401:
        headers.append((b"www-authenticate", b"Bearer"))
    if isinstance(error, Unavailable | RateLimited):
        headers.append((b"outcome", b"not-applied"))
    if isinstance(error, OutcomeUnknown):
        headers.append((b"outcome", b"unknown"))
    return status, headers, body

"""What every write of the obvious version shares: whose session it is, and an operation that is applied once."""

from __future__ import annotations

import hashlib
import json
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Annotated

from fastapi import Depends, Header, Request, Response
from pydantic import BaseModel
from sqlalchemy import select
from sqlalchemy.exc import IntegrityError
from sqlalchemy.orm import Session

from system.errors import Invalid, Reused, Unauthorised
from system.notification_models import PENDING, OutboxEntry
from system.operations_models import Activity, AppliedOperation
from system.user_models import User, UserSession


def now_ms() -> int:
    """The wall clock, UTC, epoch milliseconds."""
    return time.time_ns() // 1_000_000


def current_user(session: Session, authorization: str) -> User:
    """Whose session the token opens. Raises Unauthorised."""
    scheme, _, token = authorization.partition(" ")
    if scheme.lower() != "bearer" or not token:
        raise Unauthorised("session-required", "Send the session's token as `Authorization: Bearer <token>`.")
    user = session.scalars(
        select(User)
        .join(UserSession, UserSession.user_id == User.id)
        .where(
            UserSession.token_hash == hashlib.sha256(token.encode()).hexdigest(),
            UserSession.revoked_ms.is_(None),
            UserSession.expires_ms > now_ms(),
        )
    ).one_or_none()
    if user is None:
        raise Unauthorised("session-unknown", "The session is unknown, expired or revoked; log in again.")
    return user


@dataclass(frozen=True, slots=True)
class Operation:
    """A write's id and run as the client chose them, and when it came."""

    id: str
    run: str
    request: str
    at_ms: int


def operation(
    request: Request, operation_id: Annotated[str, Header()] = "", run_id: Annotated[str, Header()] = ""
) -> Operation:
    """The operation that the request's headers name. Raises Invalid."""
    if not operation_id:
        raise Invalid("operation-id-missing", "A write needs an `Operation-Id` header.")
    return Operation(operation_id, run_id, f"{request.method} {request.url.path}", now_ms())


Asked = Annotated[Operation, Depends(operation)]


def apply_once(
    session: Session,
    asked: Operation,
    actor: User,
    body: BaseModel | None,
    status: int,
    work: Callable[[], BaseModel],
    *,
    once: dict[str, str] | None = None,
) -> Response:
    """The response of `work`, committed with its effect; that of its first time when the operation was applied before.

    `once` is shown in the first answer and never stored.
    """
    told = "" if body is None else body.model_dump_json()
    fingerprint = hashlib.sha256(f"{actor.id} {asked.request} {told}".encode()).hexdigest()
    known = _known(session, asked.id)
    if known is not None:
        return _replay(known, fingerprint)
    shown = work().model_dump_json().encode()
    session.add(
        AppliedOperation(
            id=asked.id,
            run=asked.run,
            actor_id=actor.id,
            job=asked.request.split()[0],
            fingerprint=fingerprint,
            digest="",
            status=status,
            response=shown,
            at_ms=asked.at_ms,
        )
    )
    try:
        session.commit()
    except IntegrityError:  # the same operation at the same moment
        session.rollback()
        known = _known(session, asked.id)
        if known is None:
            raise
        return _replay(known, fingerprint)
    if once is not None:
        shown = json.dumps(json.loads(shown) | once).encode()
    return Response(shown, status, {"Operation-Id": asked.id}, "application/json")


def happened(session: Session, asked: Operation, actor: User, kind: str, subject_id: int, **data: object) -> None:
    """The operation's activity row."""
    session.add(
        Activity(
            operation_id=asked.id,
            kind=kind,
            actor_id=actor.id,
            subject_id=subject_id,
            data=json.dumps(data),
            at_ms=asked.at_ms,
        )
    )


def tell(session: Session, asked: Operation, user_id: int, kind: str, text: str, subject_id: int) -> None:
    """Somebody will be told of it."""
    session.add(
        OutboxEntry(
            operation_id=asked.id,
            user_id=user_id,
            kind=kind,
            text=text,
            subject_id=subject_id,
            state=PENDING,
            attempts=0,
            next_attempt_ms=asked.at_ms,
            at_ms=asked.at_ms,
        )
    )


def _known(session: Session, operation_id: str) -> AppliedOperation | None:
    return session.scalars(select(AppliedOperation).where(AppliedOperation.id == operation_id)).one_or_none()


def _replay(known: AppliedOperation, fingerprint: str) -> Response:
    if known.fingerprint != fingerprint:
        raise Reused("operation-reused", f"Operation {known.id} was already applied with a different request.")
    headers = {"Operation-Id": known.id, "Operation-Replayed": "true"}
    return Response(known.response, known.status, headers, "application/json")

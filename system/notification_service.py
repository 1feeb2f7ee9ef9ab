"""Telling people what happened: an outbox written with the event, a worker that delivers, an inbox they read.

    event's transaction ── outbox row ──▶ deliver_due ── channel ── inbox row (one per outbox row) + attempt in the log

The effect is exactly once however often the worker is killed: the inbox row, the attempt and the outbox' new state are one
transaction, and the inbox row is unique per outbox row. What a channel refuses is tried again, ever later, and given up
after `MAX_ATTEMPTS`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Protocol

import msgspec
import structlog
from sqlalchemy import Table, bindparam, func, insert, select, update
from sqlalchemy.exc import DBAPIError

from system import operations_service, watch
from system.errors import NotFound
from system.jobs import NOTHING_HAPPENED, Operation, Reply, write_job
from system.notification_models import DEAD, DELIVERED, PENDING, Notification, OutboxEntry
from system.reporting.record_models import DeliveryRecord
from system.scrub import scrubbed
from system.statements import Reader, Session

outbox: Table = OutboxEntry.__table__  # type: ignore[assignment]
inbox: Table = Notification.__table__  # type: ignore[assignment]
attempts: Table = DeliveryRecord.__table__  # type: ignore[assignment]

log = structlog.get_logger()

MAX_ATTEMPTS = 8
FIRST_RETRY_MS = 1_000
"""The second attempt comes this much later, the third twice as much, and so on: about two minutes in all."""

_REASON_CHARACTERS = 300
_WRITE = insert(outbox)
_PENDING = select(func.count()).select_from(outbox).where(outbox.c.state == PENDING)
_NEXT = (  # By the index alone, however many wait.
    select(outbox.c.at_ms).where(outbox.c.state == PENDING).order_by(outbox.c.next_attempt_ms, outbox.c.id).limit(1)
)
_DUE = (
    select(outbox)
    .where(outbox.c.state == PENDING, outbox.c.next_attempt_ms <= bindparam("now_ms"))
    .order_by(outbox.c.next_attempt_ms, outbox.c.id)
    .limit(bindparam("limit"))
    .with_for_update(skip_locked=True)  # several workers, on an engine with several writers, share what is due
)
_SET = (
    update(outbox)
    .where(outbox.c.id == bindparam("wanted"))
    .values(state=bindparam("now_state"), attempts=bindparam("tried"), next_attempt_ms=bindparam("due_ms"))
)
_LOG = insert(attempts)
_RECEIVED = select(inbox.c.outbox_id).where(inbox.c.outbox_id.in_(bindparam("entries", expanding=True)))
_RECEIVE = insert(inbox)
_COLUMNS = (inbox.c.id, inbox.c.kind, inbox.c.text, inbox.c.subject_id, inbox.c.at_ms, inbox.c.read_ms)
_ALL = (
    select(*_COLUMNS)
    .where(inbox.c.user_id == bindparam("user"), inbox.c.id < bindparam("before"))
    .order_by(inbox.c.id.desc())
    .limit(bindparam("limit"))
)
_UNREAD = _ALL.where(inbox.c.read_ms.is_(None))
_UNREAD_COUNT = (
    select(func.count()).select_from(inbox).where(inbox.c.user_id == bindparam("user"), inbox.c.read_ms.is_(None))
)
_OWN = select(inbox.c.id, inbox.c.read_ms).where(
    inbox.c.id == bindparam("wanted"), inbox.c.user_id == bindparam("user")
)
_READ = (
    update(inbox)
    .where(inbox.c.id == bindparam("wanted"), inbox.c.read_ms.is_(None))
    .values(read_ms=bindparam("now_ms"))
)
_READ_ALL = (
    update(inbox)
    .where(inbox.c.user_id == bindparam("user"), inbox.c.read_ms.is_(None))
    .values(read_ms=bindparam("now_ms"))
    .returning(inbox.c.id)
)


class DeliveryFailed(Exception):
    """A channel could not deliver now; the sentence goes into the delivery log."""


class Channel(Protocol):
    """A way to reach users. Delivering an entry a second time does nothing, by the entry's id."""

    def deliver(self, session: Session, entries: Sequence[Mapping[str, Any]], now_ms: int) -> None:
        """All of them have been told. Raises DeliveryFailed when one has not."""


class Inbox:
    """The platform's own channel: rows that users read over the API."""

    def deliver(self, session: Session, entries: Sequence[Mapping[str, Any]], now_ms: int) -> None:
        """The notifications are in their users' inboxes once the caller commits."""
        received = set(session.scalars(_RECEIVED, {"entries": [entry["id"] for entry in entries]}))
        rows = [
            {
                "outbox_id": entry["id"],
                "user_id": entry["user_id"],
                "kind": entry["kind"],
                "text": entry["text"],
                "subject_id": entry["subject_id"],
                "at_ms": now_ms,
            }
            for entry in entries
            if entry["id"] not in received
        ]
        if rows:
            session.execute(_RECEIVE, rows)


CHANNEL: Channel = Inbox()


def tell(session: Session, operation: Operation, user_id: int, kind: str, text: str, subject_id: int | None) -> None:
    """Writes into the outbox, in the event's own transaction."""
    session.later(
        _WRITE,
        {
            "operation_id": operation.id,
            "user_id": user_id,
            "kind": kind,
            "text": text,
            "subject_id": subject_id,
            "state": PENDING,
            "attempts": 0,
            "next_attempt_ms": operation.at_ms,
            "at_ms": operation.at_ms,
        },
    )


@write_job("notifications")
def deliver_due(session: Session, operation: Operation, limit: int, now_ms: int) -> Reply:
    """Up to `limit` due entries were attempted; each succeeded or failed alone. Nothing happened when none was due.

    Called by the worker with no actor, again and again: as soon as it answers while something is pending.
    """
    due = session.execute(_DUE, {"now_ms": now_ms, "limit": limit}).mappings().all()
    if not due:
        return NOTHING_HAPPENED
    errors = _attempt(session, due, now_ms)
    session.execute(_SET, [_state_after(entry, error, now_ms) for entry, error in zip(due, errors, strict=True)])
    logged = _log(session, due, errors, now_ms)
    failed = sum(map(bool, errors))
    delivered = len(due) - failed
    operations_service.record(session, operation, "notifications.delivered", None, delivered=delivered, failed=failed)
    told = {"delivered": delivered, "failed": failed}
    return Reply(200, told if logged else told | {"unlogged": len(due)})


def unlogged(body: bytes) -> int:
    """Of how many attempts the answer of `deliver_due` says that they are not on record."""
    return int(msgspec.json.decode(body).get("unlogged", 0)) if body else 0


def _log(session: Session, entries: Sequence[Mapping[str, Any]], errors: Sequence[str], now_ms: int) -> bool:
    """The attempts are on record; False when they could not be, which is no reason not to have delivered."""
    rows = [
        {
            "at_ms": now_ms,
            "user_id": entry["user_id"],
            "kind": entry["kind"],
            "outcome": "failed" if error else "delivered",
            "attempt": entry["attempts"] + 1,
            "outbox_id": entry["id"],
            "error": scrubbed(error),
        }
        for entry, error in zip(entries, errors, strict=True)
    ]
    savepoint = session.savepoint()
    try:
        session.execute(_LOG, rows)
    except DBAPIError as error:
        if error.connection_invalidated or not watch.of_one_table(error):
            raise
        savepoint.rollback()
        log.warning("deliveries not recorded", attempts=len(rows), error=str(error.orig))
        return False
    savepoint.commit()
    return True


def _state_after(entry: Mapping[str, Any], error: str, now_ms: int) -> dict[str, Any]:
    tried = entry["attempts"] + 1
    state = DELIVERED if not error else DEAD if tried >= MAX_ATTEMPTS else PENDING
    due_ms = now_ms + FIRST_RETRY_MS * 2 ** (tried - 1)
    return {"wanted": entry["id"], "now_state": state, "tried": tried, "due_ms": due_ms}


def _attempt(session: Session, entries: Sequence[Mapping[str, Any]], now_ms: int) -> list[str]:
    """Why the channel did not deliver each entry, empty where it did. What a failing one had written is undone.

    All at once, since nearly always all are delivered; where that fails, each alone.
    """
    try:
        with session.savepoint():
            CHANNEL.deliver(session, entries, now_ms)
    except DeliveryFailed as failure:
        if len(entries) > 1:
            return [error for entry in entries for error in _attempt(session, [entry], now_ms)]
        return [(str(failure) or "The channel gave no reason.")[:_REASON_CHARACTERS]]
    return [""] * len(entries)


@write_job("notifications")
def mark_read(session: Session, operation: Operation, notification_id: int) -> Reply:
    """The notification counts as read. Raises NotFound when it is not the actor's. Reading twice changes nothing."""
    wanted = {"wanted": notification_id, "user": operation.actor_id}
    if session.execute(_OWN, wanted).one_or_none() is None:
        raise NotFound("notification-not-found", f"You have no notification {notification_id}.")
    session.later(_READ, {"wanted": notification_id, "now_ms": operation.at_ms})
    operations_service.record(session, operation, "notifications.read", notification_id)
    return Reply(200, {"id": notification_id, "read": True})


@write_job("notifications")
def mark_all_read(session: Session, operation: Operation) -> Reply:
    """Every notification the actor has now counts as read."""
    read = len(session.execute(_READ_ALL, {"user": operation.actor_id, "now_ms": operation.at_ms}).all())
    operations_service.record(session, operation, "notifications.all-read", operation.actor_id, read=read)
    return Reply(200, {"read": read})


def pending_count(connection: Reader) -> int:
    """How many outbox entries wait for delivery."""
    return int(connection.execute(_PENDING).scalar_one())


def backlog(connection: Reader) -> tuple[int, int | None]:
    """How many outbox entries wait for delivery, and when the next in line was written; None when nothing waits."""
    return pending_count(connection), connection.execute(_NEXT).scalar_one_or_none()


def listing(connection: Reader, user_id: int, unread: bool, limit: int, before: int) -> dict[str, Any]:
    """The user's inbox, newest first; `next` continues the listing, None at its end."""
    wanted = {"user": user_id, "before": before, "limit": limit}
    rows = [dict(row) for row in connection.execute(_UNREAD if unread else _ALL, wanted).mappings()]
    return {"notifications": rows, "next": rows[-1]["id"] if len(rows) == limit else None}


def unread_count(connection: Reader, user_id: int) -> dict[str, int]:
    """How many notifications the user has not read."""
    return {"unread": int(connection.execute(_UNREAD_COUNT, {"user": user_id}).scalar_one())}

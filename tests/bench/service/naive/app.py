"""The obvious version of the platform (`python -m tests.bench.service.naive.app`): FastAPI, an ORM session a request.

It is what ours is held against, so it is written as one would write it first, and does what ours does: the same rules, rows,
answers and durability, for every flow of the scenario. It is not tuned, and nothing in it is slow on purpose.
"""

from __future__ import annotations

import os
import threading
import uuid
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import uvicorn
from fastapi import FastAPI, Request, Response
from fastapi.exceptions import RequestValidationError
from sqlalchemy import select
from sqlalchemy.orm import Session

from system.errors import Invalid, ServiceError
from system.notification_models import DELIVERED, PENDING, DeliveryAttempt, Notification, OutboxEntry
from system.problems import problem_bytes
from tests.bench.service.naive import reads, writes
from tests.bench.service.naive.database import engine
from tests.bench.service.naive.recording import now_ms

DELIVERY_INTERVAL_S = 0.25
DELIVERY_LIMIT = 200


def make_app() -> FastAPI:
    """The application; its lifespan delivers notifications beside the requests."""
    app = FastAPI(title="The obvious gym", lifespan=_delivering)
    app.include_router(reads.router)
    app.include_router(writes.router)
    app.add_exception_handler(ServiceError, _problem)
    app.add_exception_handler(RequestValidationError, _invalid)
    app.add_api_route("/health/ready", _ready, methods=["GET"])
    return app


def deliver(session: Session) -> int:
    """Up to so many due entries of the outbox are in their users' inboxes; how many."""
    due = session.scalars(
        select(OutboxEntry)
        .where(OutboxEntry.state == PENDING, OutboxEntry.next_attempt_ms <= now_ms())
        .order_by(OutboxEntry.next_attempt_ms, OutboxEntry.id)
        .limit(DELIVERY_LIMIT)
    ).all()
    at_ms = now_ms()
    for entry in due:
        session.add(
            Notification(
                outbox_id=entry.id,
                user_id=entry.user_id,
                kind=entry.kind,
                text=entry.text,
                subject_id=entry.subject_id,
                at_ms=at_ms,
            )
        )
        entry.attempts += 1
        entry.state = DELIVERED
        session.add(
            DeliveryAttempt(outbox_id=entry.id, attempt=entry.attempts, outcome="delivered", error="", at_ms=at_ms)
        )
    session.commit()
    return len(due)


@asynccontextmanager
async def _delivering(_app: FastAPI) -> AsyncIterator[None]:
    ended = threading.Event()

    def run() -> None:
        while not ended.wait(DELIVERY_INTERVAL_S):
            with Session(engine()) as session:
                pending = session.scalars(select(OutboxEntry.id).where(OutboxEntry.state == PENDING).limit(1)).first()
            if pending is not None:
                with Session(engine().execution_options(begin="BEGIN IMMEDIATE")) as session:
                    deliver(session)

    thread = threading.Thread(target=run, name="delivery")
    thread.start()
    yield
    ended.set()
    thread.join()


def _ready() -> dict[str, str]:
    with Session(engine()) as session:
        session.execute(select(1))
    return {"status": "pass"}


async def _problem(_request: Request, error: Exception) -> Response:
    status, headers, body = problem_bytes(error, uuid.uuid4().hex)
    return Response(body, status, {name.decode(): value.decode() for name, value in headers})


async def _invalid(request: Request, error: Exception) -> Response:
    assert isinstance(error, RequestValidationError)
    return await _problem(request, Invalid("body-invalid", f"The request breaks a rule: {error.errors()[0]['msg']}."))


def main() -> None:
    """Serves on `GYM_HOST` and `GYM_PORT` until SIGTERM."""
    uvicorn.run(
        make_app(),
        host=os.environ["GYM_HOST"],
        port=int(os.environ["GYM_PORT"]),
        access_log=False,
        log_level="warning",
        timeout_keep_alive=75,
    )


if __name__ == "__main__":
    main()

"""The short way to a handler answers as FastAPI does, for every route, with right and with wrong parameters."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path
from typing import Any

import pytest
from fastapi import FastAPI

from migrations import revisions
from system.admin import room
from system.app import make_app
from system.dispatch import Dispatch
from system.edge import App
from system.settings import Settings

ASKED = (
    "GET /users/me", "GET /users/1", "GET /users/0", "GET /users/x", "GET /users/99999999999999999999", "GET /users/",
    "GET /users", "GET /users/me/points?limit=5", "GET /users/me/points?limit=0", "GET /users/me/points?limit=101",
    "GET /users/me/points?limit=x", "GET /users/me/points?limit=", "GET /users/me/points?limit=5&limit=6",
    "GET /users/me/points?before=1&more=2", "GET /tournaments", "GET /tournaments?state=open", "GET /tournaments?state=odd",
    "GET /tournaments?after=-1", "GET /tournaments/7", "GET /tournaments/7/standings", "GET /tournaments/7/nothing",
    "GET /notifications?unread=true", "GET /notifications?unread=maybe", "GET /notifications/unread-count",
    "GET /challenges?state=issued", "GET /challenges/5", "GET /operations/a.b", "POST /users", "POST /sessions",
    "PATCH /users/me", "DELETE /users/me", "POST /challenges/1/accept", "POST /challenges/0/accept", "PUT /challenges",
    "GET /health/live", "HEAD /health/live", "GET /nothing", "GET /", "OPTIONS /users/me", "GET /users//points",
    "GET /users/%31",
)  # fmt: skip


async def answer(app: App, asked: str) -> tuple[int, Any]:
    """Status and body of a request without a session, or with a wrong one."""
    method, _, target = asked.partition(" ")
    path, _, query = target.partition("?")
    scope = {
        "type": "http", "http_version": "1.1", "method": method, "path": path.replace("%31", "1"),
        "raw_path": path.encode(), "query_string": query.encode(), "root_path": "", "scheme": "http",
        "headers": [(b"authorization", b"Bearer nobody")], "client": ("127.0.0.1", 1), "server": ("127.0.0.1", 2),
        "asgi": {"version": "3.0"}, "state": {"request_id": "r"},
    }  # fmt: skip
    told: list[Any] = []

    async def receive() -> dict[str, Any]:
        return {"type": "http.request", "body": b"", "more_body": False}

    async def send(message: Any) -> None:
        told.append(message)

    await app(scope, receive, send)
    body = b"".join(message.get("body", b"") for message in told)
    return told[0]["status"], json.loads(body) if body else None


@pytest.fixture
def platform(tmp_path: Path) -> FastAPI:
    url = f"sqlite:///{tmp_path / 'gym.db'}"
    revisions.upgrade(url)
    app, _ = make_app(Settings(DATABASE_URL=url, runtime=tmp_path))  # type: ignore[call-arg]
    return app


def test_both_ways_answer_the_same(platform: FastAPI) -> None:
    async def ask() -> dict[str, tuple[Any, Any]]:
        async with platform.router.lifespan_context(platform):
            short = platform.state.dispatch
            assert isinstance(short, Dispatch)
            return {asked: (await answer(short, asked), await answer(platform, asked)) for asked in ASKED}

    told = asyncio.run(ask())
    assert {asked: short for asked, (short, _) in told.items()} == {asked: long for asked, (_, long) in told.items()}
    assert {status for (status, _), _ in told.values()} >= {200, 400, 401, 404, 405}


def test_every_route_of_the_platform_goes_the_short_way(platform: FastAPI) -> None:
    short = platform.state.dispatch
    described = {(method.upper(), path) for path, methods in platform.openapi()["paths"].items() for method in methods}
    unlisted = {(rule.method, rule.path) for rule in room.rules()}  # the admin part is nobody's interface
    assert not described & unlisted
    assert short.routes() == described | unlisted

"""The admin part as the application takes it: every module's routes, and the proof that each of them has its rule."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from fastapi import APIRouter, FastAPI
from fastapi.routing import APIRoute
from starlette.routing import BaseRoute

from system.admin import account_routes, audit_routes, home_routes, login_routes, session_routes, token_routes
from system.admin.access import Rule
from system.admin.boards import alert_routes, board_routes, drill_routes, runbook_routes
from system.admin.guard import Routes, rule_of
from system.admin.headers import of_admin
from system.reporting import report_routes

PLACES: tuple[Routes, ...] = tuple(
    module.routes
    for module in (
        home_routes,
        login_routes,
        session_routes,
        account_routes,
        token_routes,
        audit_routes,
        report_routes,
        board_routes,
        alert_routes,
        drill_routes,
        runbook_routes,
    )
)
"""Every module's routes. Boards themselves are named in `boards/every.py`; whatever else they can do is added here."""


class Unguarded(Exception):
    """A route of the admin part has no rule, or not its own: the service does not start."""

    exit_code = 4


def routers() -> list[APIRouter]:
    """The routers of every place."""
    return [place.router for place in PLACES]


def rules() -> tuple[Rule, ...]:
    """The table: the rule of every route of the admin part."""
    return tuple(rule for place in PLACES for rule in place.rules)


def require_rules(routes: Iterable[BaseRoute], table: Iterable[Rule]) -> None:
    """Returns when every route below `/admin` is one of the table's, once, behind its rule. Raises Unguarded."""
    expected: dict[tuple[str, str], Rule] = {}
    for rule in table:
        if expected.setdefault((rule.method, rule.path), rule) is not rule:
            raise Unguarded(f"{rule.method} {rule.path} has two rules.")
    for route in routes:
        path = str(getattr(route, "path", ""))
        if not of_admin(path) and not path.startswith("/{"):
            continue
        if not isinstance(route, APIRoute):
            raise Unguarded(f"{path} can be asked below /admin and has no rule.")
        for method in route.methods or ():
            known = expected.get((method, path))
            if known is None or rule_of(route.endpoint) is not known:
                raise Unguarded(f"{method} {path} can be asked below /admin and has no rule of its own.")


def every_route(app: FastAPI) -> Iterator[BaseRoute]:
    """Every route that the application answers, those of the routers that it includes among them."""
    yield from _within(app.routes)


def _within(routes: Iterable[BaseRoute]) -> Iterator[BaseRoute]:
    for route in routes:
        included: APIRouter | None = getattr(route, "original_router", None)
        if included is None:
            yield route
        else:
            yield from _within(included.routes)

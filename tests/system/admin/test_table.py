"""Every route of the admin part, asked by everybody with every method, and nothing there that the table does not name."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import pytest
from fastapi import APIRouter, FastAPI, Request, Response
from starlette.routing import Mount

from system.admin import room
from system.admin.access import NOBODY, SCOPES, Decision, Machine, Person, Principal, Role, Rule, decide
from system.admin.guard import Routes
from system.app import make_app
from system.settings import Settings
from tests.system.admin.visitors import Browser, account, machine, rows, signed_in
from tests.system.front import Front

METHODS = ("GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS")
PEOPLE = ("viewer", "operator", "admin")
TOKENS = tuple(SCOPES)
EVERYBODY = ("nobody", *PEOPLE, *TOKENS)

ANYBODY = frozenset(EVERYBODY)
VIEWERS = frozenset(PEOPLE)
OPERATORS = frozenset({"operator", "admin"})
ADMINS = frozenset({"admin"})


@dataclass(frozen=True)
class Row:
    """Who may, and what they are answered when they send nothing but the request, about something that is not there."""

    may: frozenset[str]
    answered: tuple[int, ...]


BOARD = Row(VIEWERS | {"read:boards"}, (200,))

TABLE: dict[tuple[str, str], Row] = {
    ("GET", "/admin"): Row(VIEWERS, (200,)),
    ("GET", "/admin/assets/{name}"): Row(ANYBODY, (404,)),
    ("GET", "/admin/log-in"): Row(ANYBODY, (200,)),
    ("POST", "/admin/log-in"): Row(ANYBODY, (401, 429)),
    ("POST", "/admin/log-out"): Row(VIEWERS, (303,)),
    ("GET", "/admin/sessions"): Row(VIEWERS, (200,)),
    ("POST", "/admin/sessions/others/revoke"): Row(VIEWERS, (303,)),
    ("POST", "/admin/sessions/{session_id}/revoke"): Row(VIEWERS, (404,)),
    ("GET", "/admin/password"): Row(VIEWERS, (200,)),
    ("POST", "/admin/password"): Row(VIEWERS, (400,)),
    ("GET", "/admin/accounts"): Row(ADMINS, (200,)),
    ("POST", "/admin/accounts"): Row(ADMINS, (400,)),
    ("POST", "/admin/accounts/{account_id}/role"): Row(ADMINS, (400,)),
    ("POST", "/admin/accounts/{account_id}/disable"): Row(ADMINS, (404,)),
    ("POST", "/admin/accounts/{account_id}/enable"): Row(ADMINS, (404,)),
    ("GET", "/admin/tokens"): Row(ADMINS, (200,)),
    ("POST", "/admin/tokens"): Row(ADMINS, (400,)),
    ("POST", "/admin/tokens/{token_id}/revoke"): Row(ADMINS, (404,)),
    **{
        ("GET", f"/admin/{board}"): Row(VIEWERS | {"read:boards"}, (200,))
        for board in ("system", "matches", "users", "notifications", "errors")
    },
    ("GET", "/admin/live"): Row(VIEWERS | {"read:boards"}, (400,)),
    **{
        ("GET", f"/admin/api/{record}{form}"): Row(VIEWERS | {"read:records"}, (200,))
        for record in ("activity", "errors", "deliveries", "health")
        for form in ("", ".csv", ".ndjson")
    },
    ("GET", "/admin/api/rollups"): Row(VIEWERS | {"read:records"}, (200,)),
    **{
        ("GET", f"/admin/{audit}"): Row(ADMINS | {"read:records"}, (200,))
        for audit in ("audit", "api/audit", "api/audit.csv", "api/audit.ndjson")
    },
    ("GET", "/admin/alerts"): BOARD,
    ("POST", "/admin/alerts/{name}/acknowledge"): Row(OPERATORS | {"write:alerts"}, (404,)),
    ("GET", "/admin/alerts/{name}"): Row(VIEWERS | {"read:boards"}, (404,)),
    ("GET", "/admin/alerts/silences"): BOARD,
    ("POST", "/admin/alerts/silences"): Row(OPERATORS | {"write:alerts"}, (400,)),
    ("POST", "/admin/alerts/silences/{silence_id}/end"): Row(OPERATORS | {"write:alerts"}, (404,)),
    ("GET", "/admin/backups"): BOARD,
    ("GET", "/admin/drills"): BOARD,
    ("GET", "/admin/drills/{run_id}/report"): Row(VIEWERS | {"read:boards"}, (404,)),
    ("GET", "/admin/runbooks"): BOARD,
    ("GET", "/admin/runbooks/{name}"): Row(VIEWERS | {"read:boards"}, (404,)),
}


@pytest.fixture(scope="module")
def names(house: Front) -> dict[str, str]:
    """An account of each role."""
    return {role: account(house, role) for role in PEOPLE}


def visitor(house: Front, names: dict[str, str], who: str) -> Browser:
    """Somebody new of that kind."""
    if who == "nobody":
        return Browser(house)
    return signed_in(house, names[who]) if who in PEOPLE else machine(house, [who])[0]


@pytest.mark.parametrize("who", EVERYBODY)
@pytest.mark.parametrize("path", sorted({path for _, path in TABLE}))
def test_every_route_answers_everybody_as_the_table_says(
    house: Front, names: dict[str, str], path: str, who: str
) -> None:
    nothing = dict.fromkeys(("session_id", "account_id", "token_id", "silence_id", "run_id"), 999_999)
    place = path.format(name="none.css", **nothing)
    asking = visitor(house, names, who)
    for method in METHODS:
        row = TABLE.get((method, path))
        if row is None:
            assert asking.ask(method, place).status_code == 405, (method, path, who)
            continue
        done = rows(house, "SELECT count(*) FROM admin_audit")
        response = asking.ask(method, place, {} if method == "POST" else None)
        if who in row.may:
            assert response.status_code in row.answered, (method, path, who, response.text)
            asking = visitor(house, names, who)  # whoever logged out is nobody
            continue
        if who == "nobody":
            assert response.status_code == 303, (method, path, who)
            assert response.headers["location"].startswith("/admin/log-in")
        else:
            assert response.status_code == 403, (method, path, who)
        assert rows(house, "SELECT count(*) FROM admin_audit") == done, "refused, and done all the same"


def test_the_table_names_every_route_there_is(house: Front) -> None:
    there = {
        (method, route.path)  # type: ignore[attr-defined]
        for route in room.every_route(house.app)
        if str(getattr(route, "path", "")).startswith("/admin")
        for method in route.methods  # type: ignore[attr-defined]
    }
    assert there == set(TABLE)


def test_nobody_is_let_in_by_a_wrong_token_or_a_wrong_cookie(house: Front) -> None:
    for header in ("Bearer gymadm_made-up", "Bearer made-up", "Basic YTpi", "Bearer", ""):
        asking = Browser(house, more={"Authorization": header, "Accept": "*/*"})
        assert asking.get("/admin/audit").status_code == 401, header
    assert not Browser(house, cookie="gymkhana-admin=made-up").is_in()


def test_a_token_counts_alone_even_beside_a_session(house: Front, names: dict[str, str]) -> None:
    asking = signed_in(house, names["admin"])
    assert asking.get("/admin/accounts").status_code == 200
    asking.more = {"Authorization": "Bearer gymadm_made-up"}
    assert asking.get("/admin/accounts").status_code == 401


def test_an_expired_and_a_revoked_token_open_nothing(house: Front, names: dict[str, str]) -> None:
    expired, _ = machine(house, ["read:records"], days=-1)
    assert expired.get("/admin/audit").status_code == 401
    revoked, token_id = machine(house, ["read:records"])
    assert revoked.get("/admin/audit").status_code == 200
    assert signed_in(house, names["admin"]).post(f"/admin/tokens/{token_id}/revoke").status_code == 303
    assert revoked.get("/admin/audit").status_code == 401


def test_a_machine_reads_the_audit_log_as_json_and_its_use_is_noted(house: Front) -> None:
    bot, token_id = machine(house, ["read:records"])
    found = bot.get("/admin/audit?limit=1").json()
    assert found["audit"][0]["subject"] == f"token {token_id} (bot)"
    older = bot.get(f"/admin/audit?limit=1&after={found['next']}").json()
    assert older["audit"][0]["id"] < found["audit"][0]["id"]
    assert rows(house, f"SELECT used_ms FROM admin_tokens WHERE id = {token_id}") != [(None,)]


PRINCIPALS: dict[str, Principal] = {
    "nobody": NOBODY,
    **{role: Person(1, "ann", Role(role), 1) for role in PEOPLE},
    **{scope: Machine(1, "bot", frozenset({scope})) for scope in SCOPES},
}
RULES = [
    (Rule("GET", "/admin/x", open=True), ANYBODY),
    (Rule("GET", "/admin/x", Role.VIEWER), VIEWERS),
    (Rule("GET", "/admin/x", Role.OPERATOR), frozenset({"operator", "admin"})),
    (Rule("GET", "/admin/x"), ADMINS),
    (Rule("GET", "/admin/x", Role.OPERATOR, "write:alerts"), frozenset({"operator", "admin", "write:alerts"})),
]


@pytest.mark.parametrize(("rule", "may"), RULES)
@pytest.mark.parametrize("who", EVERYBODY)
def test_the_decision(rule: Rule, may: frozenset[str], who: str) -> None:
    refused = Decision.LOG_IN if who == "nobody" else Decision.FORBIDDEN
    assert decide(PRINCIPALS[who], rule) is (Decision.ALLOWED if who in may else refused)


def test_a_rule_with_a_scope_that_does_not_exist_cannot_be_written() -> None:
    with pytest.raises(ValueError, match="read:everything"):
        Rule("GET", "/admin/x", scope="read:everything")


async def handler(request: Request) -> Response:
    return Response(str(request.url))


def plain(app: FastAPI) -> None:
    app.add_api_route("/admin/bare", handler)


def included(app: FastAPI) -> None:
    router = APIRouter()
    router.add_api_route("/admin/deeper/bare", handler)
    app.include_router(router)


def mounted(app: FastAPI) -> None:
    app.router.routes.append(Mount("/admin", app=FastAPI()))


def anything(app: FastAPI) -> None:
    app.add_api_route("/{everything:path}", handler)


def another_method(app: FastAPI) -> None:
    app.add_api_route("/admin/audit", handler, methods=["DELETE"])


def in_place_of_one(app: FastAPI) -> None:
    app.add_api_route("/admin/tokens", handler)


@pytest.mark.parametrize("plant", [plain, included, mounted, anything, another_method, in_place_of_one])
def test_a_route_without_a_rule_does_not_start(plant: Callable[[FastAPI], None]) -> None:
    app = FastAPI()
    plant(app)
    with pytest.raises(room.Unguarded, match="has no rule"):
        room.require_rules(room.every_route(app), room.rules())


def test_the_service_itself_does_not_start_with_one(monkeypatch: pytest.MonkeyPatch, tmp_path: Any) -> None:
    bare = Routes()
    bare.router.add_api_route("/admin/bare", handler)
    monkeypatch.setattr(room, "PLACES", (*room.PLACES, bare))
    with pytest.raises(room.Unguarded, match="GET /admin/bare"):
        make_app(Settings(DATABASE_URL=f"sqlite:///{tmp_path / 'gym.db'}"))  # type: ignore[call-arg]


def test_a_board_appears_in_the_navigation_once_it_is_registered(house: Front, names: dict[str, str]) -> None:
    asking = signed_in(house, names["viewer"])
    assert '<a href="/admin/backups">' in asking.get("/admin").text
    desk = house.app.state.admin
    rules = desk.rules
    object.__setattr__(desk, "rules", tuple(rule for rule in rules if rule.board != "Backups"))
    try:
        assert "Backups" not in asking.get("/admin").text
    finally:
        object.__setattr__(desk, "rules", rules)

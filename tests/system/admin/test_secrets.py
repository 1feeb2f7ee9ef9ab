"""Secrets are planted wherever one comes in, and then looked for wherever something comes out."""

from __future__ import annotations

import io
import re
import sys
from collections.abc import Iterator

import pytest
import structlog

from system.admin import console
from system.admin.boards.every import BOARDS
from system.logs import configure_logs
from tests.system.admin.visitors import Browser, account, machine, rows, signed_in
from tests.system.front import Front

PAGES = (
    "/admin",
    "/admin/log-in",
    "/admin/sessions",
    "/admin/password",
    "/admin/accounts",
    "/admin/tokens",
    "/admin/audit",
    "/admin/runbooks",
    *(board.path for board in BOARDS),
)
PLANTED = ("planted-first-password", "planted-wrong-password", "planted-new-password", "planted-user-password")


@pytest.fixture
def logged(monkeypatch: pytest.MonkeyPatch) -> Iterator[io.StringIO]:
    """Every line that the service logs from now on, as a service logs."""
    caught = io.StringIO()
    monkeypatch.setattr(sys, "stderr", caught)
    monkeypatch.setattr(structlog.get_config()["logger_factory"], "_file", caught, raising=False)
    before = structlog.get_config()
    configure_logs("debug", process="tests")
    structlog.configure(cache_logger_on_first_use=False)
    yield caught
    structlog.configure(**before)


def found_in(text: str, secrets: set[str]) -> set[str]:
    return {secret for secret in secrets if secret in text}


def test_a_leak_would_be_found() -> None:
    assert found_in('{"event":"x","detail":"planted-first-password"}', set(PLANTED)) == {"planted-first-password"}


def test_no_secret_comes_out_anywhere(house: Front, logged: io.StringIO) -> None:
    url = house.config.database_url
    owner = account(house, "admin")
    console.create(url, "planted", "operator", PLANTED[0])
    answers: list[str] = []

    def see(asking: Browser, method: str, path: str, **fields: object) -> str:
        response = asking.ask(method, path, fields if method == "POST" else None)
        answers.append(response.text + "\n".join(f"{k}: {v}" for k, v in response.headers.items() if k != "set-cookie"))
        return response.text

    planted = Browser(house, "203.0.113.150")
    see(planted, "POST", "/admin/log-in", name="planted", password=PLANTED[0])
    see(planted, "POST", "/admin/log-in", name=PLANTED[1], password=PLANTED[1])  # typed into the wrong field, too
    see(planted, "POST", "/admin/log-in", name="planted", password=PLANTED[1], next=f"//{PLANTED[1]}")
    see(planted, "POST", "/admin/password", current=PLANTED[1], new=PLANTED[2], again=PLANTED[2])
    see(planted, "POST", "/admin/password", current=PLANTED[0], new=PLANTED[2], again=PLANTED[2])
    admin = signed_in(house, owner)
    see(admin, "POST", "/admin/accounts", name="Planted", role="viewer", password=PLANTED[2])
    see(admin, "POST", "/admin/accounts", name="planted", role="viewer", password=PLANTED[2])
    shown = admin.post("/admin/tokens", name="planted", scope=["read:records"], days="1").text
    (token,) = re.findall(r"gymadm_[\w-]{43}", shown)
    bot = Browser(house, site=None, more={"Authorization": f"Bearer {token}", "Accept": "*/*"})
    wrong, _ = machine(house, ["read:boards"])
    for asking in (bot, wrong):
        for path in (*PAGES, "/admin/nothing", f"/admin/audit?before={token}"):
            text = see(asking, "GET", path)
            answers[-1] = answers[-1].replace(f"before={token}", "") if token in path else answers[-1]
            assert text is not None
    for asking in (planted, admin, Browser(house, cookie=planted.cookie + "x")):
        for path in PAGES:
            see(asking, "GET", path)
    house.call("POST", "/users", {"name": "planted-user", "password": PLANTED[3]})
    house.call("POST", "/users", {"name": "planted-user", "password": PLANTED[3]})
    session = house.call("POST", "/sessions", {"name": "planted-user", "password": PLANTED[3]}).json()["token"]
    answers += [
        house.call("POST", "/sessions", {"name": "planted-user", "password": PLANTED[1]}).text,
        house.call("POST", "/sessions", {"name": "planted-user", "secret": PLANTED[1]}).text,
        house.call("GET", "/users/me", token=session).text,
        house.call("GET", "/users/me", token=session + "x").text,
        house.call("GET", "/metrics").text,
        house.call("GET", "/openapi.json").text,
    ]
    hashes = {one for (one,) in rows(house, "SELECT password_hash FROM admin_accounts")}
    hashes |= {
        one for (one,) in rows(house, "SELECT token_hash FROM admin_sessions UNION SELECT token_hash FROM admin_tokens")
    }
    secrets = {*PLANTED, token, session, planted.cookie.partition("=")[2], admin.cookie.partition("=")[2]}
    for text in answers:
        assert found_in(text, secrets | hashes) == set(), text[:2_000]
    assert "admin log-in refused" in logged.getvalue(), "else nothing was caught"
    assert found_in(logged.getvalue(), secrets | hashes) == set()
    stored = str([rows(house, f"SELECT * FROM {table}") for table in TABLES])
    assert found_in(stored, secrets) == set(), "only hashes are stored"
    recorded = str([rows(house, f"SELECT * FROM {table}") for table in ("admin_audit", "activity", "operations")])
    assert found_in(recorded, hashes) == set()


TABLES = (
    "admin_accounts",
    "admin_sessions",
    "admin_tokens",
    "admin_audit",
    "users",
    "user_sessions",
    "activity",
    "operations",
)

"""Whoever comes to the admin part: browsers with a cookie, machines with a token, each from an address of its own."""

from __future__ import annotations

import itertools
import re
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import urlencode

import httpx2
from sqlalchemy import text

from system.admin import console, keys, session_service, token_service
from system.database import SCHEMA_REVISION, engine_for
from system.jobs import Job
from tests.system.front import Front

PASSWORD = "a door with two locks"
HOME = "198.51.100.7"
_NUMBERS = itertools.count(1)
PAGE = "text/html,application/xhtml+xml"


@dataclass
class Browser:
    """One browser: what it sends with every request, and the cookie it was given."""

    front: Front
    address: str = HOME
    tls: bool = False
    cookie: str = ""
    site: str | None = "same-origin"
    more: dict[str, str] = field(default_factory=dict)

    def request(self, method: str, path: str, fields: Any = None) -> dict[str, Any]:
        """The request as it would be made."""
        headers = {"Accept": PAGE, "X-Forwarded-For": self.address, "User-Agent": "Tests/1.0"}
        headers |= {"X-Forwarded-Proto": "https"} if self.tls else {}
        headers |= {"Sec-Fetch-Site": self.site} if self.site else {}
        headers |= {"Cookie": self.cookie} if self.cookie else {}
        content: dict[str, Any] = {}
        if fields is not None:
            headers["Content-Type"] = "application/x-www-form-urlencoded"
            content["content"] = urlencode(fields, doseq=True)
        return {"method": method, "url": path, "headers": headers | self.more, **content}

    def get(self, path: str) -> httpx2.Response:
        return self.ask("GET", path)

    def post(self, path: str, **fields: Any) -> httpx2.Response:
        return self.ask("POST", path, fields)

    def ask(self, method: str, path: str, fields: Any = None) -> httpx2.Response:
        """The response; a cookie in it is kept."""
        (response,) = self.front.ask(self.request(method, path, fields))
        if (given := response.headers.get("set-cookie")) is not None:
            self.cookie = given.partition(";")[0]
        return response

    def log_in(self, name: str, password: str = PASSWORD, **more: str) -> httpx2.Response:
        return self.post("/admin/log-in", name=name, password=password, **more)

    def is_in(self) -> bool:
        """Whether the session opens a page at this very request."""
        response = self.get("/admin/sessions")
        assert response.status_code in (200, 303), response.text
        return response.status_code == 200


def account(front: Front, role: str, password: str = PASSWORD) -> str:
    """The name of a new account."""
    name = f"{role}-{next(_NUMBERS)}"
    console.create(front.config.database_url, name, role, password)
    return name


def signed_in(front: Front, name: str, address: str = HOME) -> Browser:
    """A browser with a session of that account, made without the cost of a password."""
    return Browser(front, address, cookie=session_of(front.config.database_url, name, address))


def session_of(url: str, name: str, address: str = HOME) -> str:
    """The cookie of a new session of that account."""
    account_id, known = rows_of(url, f"SELECT id, password_hash FROM admin_accounts WHERE name = '{name}'")[0]
    token = keys.new_session()
    end = time.time_ns() // 1_000_000 + 3_600_000
    console._apply(
        url, session_service.begin, account_id, known, keys.hashed(token), address, "Tests/1.0", end, None, None
    )
    return f"{keys.COOKIE}={token}"


def machine(front: Front, scopes: Sequence[str], days: int = 1) -> tuple[Browser, int]:
    """Somebody with a token for those scopes, and the token's id."""
    owner = rows(front, "SELECT id FROM admin_accounts WHERE role = 'admin' AND disabled_ms IS NULL")[0][0]
    token = keys.new_token()
    end = time.time_ns() // 1_000_000 + days * 86_400_000
    made = apply_here(front, token_service.create, owner, "bot", keys.hashed(token), list(scopes), end)
    return Browser(front, site=None, more={"Authorization": f"Bearer {token}", "Accept": "*/*"}), made["id"]


def stamp(front: Front) -> None:
    """The console looks at the schema's revision, which a database made by the models alone does not have."""
    engine = engine_for(front.config.database_url, writer=True, pooled=False)
    with engine.begin() as connection:
        connection.execute(text("CREATE TABLE IF NOT EXISTS alembic_version (version_num VARCHAR(32) NOT NULL)"))
        connection.execute(text(f"INSERT INTO alembic_version VALUES ('{SCHEMA_REVISION}')"))


def let_in(url: str, token: str, scopes: Sequence[str]) -> None:
    """The token opens what its scopes say, for a day."""
    owner = console.create(url, f"maker-{next(_NUMBERS)}", "admin", PASSWORD)["id"]
    end = time.time_ns() // 1_000_000 + 86_400_000
    console._apply(url, token_service.create, owner, "bot", keys.hashed(token), list(scopes), end)


def apply_here(front: Front, job: Job, *args: Any) -> Any:
    """What the job answers, committed beside the service's own writer as the console does it."""
    return console._apply(front.config.database_url, job, *args)


def rows(front: Front, statement: str) -> list[tuple[Any, ...]]:
    """The rows of a query, read past the service."""
    return rows_of(front.config.database_url, statement)


def rows_of(url: str, statement: str) -> list[tuple[Any, ...]]:
    """The same of the database at that address."""
    engine = engine_for(url, pooled=False)
    with engine.connect() as connection:
        return [tuple(row) for row in connection.execute(text(statement))]


def change(front: Front, statement: str) -> None:
    """Changes rows past the service."""
    engine = engine_for(front.config.database_url, writer=True, pooled=False)
    with engine.begin() as connection:
        assert connection.execute(text(statement)).rowcount > 0, statement


def marks(text_: str) -> str:
    """A page without its tags."""
    return " ".join(re.sub(r"<[^>]+>", " ", text_).split())

"""The pages: templates, one stylesheet and the frame around them; nothing that a strict content policy would refuse."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterable, Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import jinja2
import msgspec
from fastapi import Request, Response
from fastapi.responses import HTMLResponse

from system.admin.access import NOBODY, Decision, Person, Principal, Rule, decide
from system.admin.boards.panels import number
from system.errors import ServiceError
from system.problems import problem_bytes

HERE = Path(__file__).parent
BOARDS = ("System", "Matches", "Users", "Notifications", "Alerts", "Errors", "Backups", "Drills")
"""The boards in the order of the navigation, which leads to those that there are."""
PLACES = (
    ("Sessions", "/admin/sessions", "Who is signed in, from where, and a way to end it."),
    ("Password", "/admin/password", "Change your own password."),
    ("Accounts", "/admin/accounts", "Who may sign in, and what they may do."),
    ("API tokens", "/admin/tokens", "What machines may read and write."),
    ("Audit log", "/admin/audit", "Who did what, on what, from where and when."),
)
"""The pages of the admin part itself."""

_TYPES = {
    ".css": "text/css; charset=utf-8",
    ".js": "text/javascript; charset=utf-8",
    ".md": "text/plain; charset=utf-8",
    ".svg": "image/svg+xml",
}


def _named(path: Path) -> str:
    """The file's name with a hash of its content, so that it may be kept for ever."""
    return f"{path.stem}.{hashlib.sha256(path.read_bytes()).hexdigest()[:12]}{path.suffix}"


_FILES = {path.name: path for path in sorted((HERE / "assets").iterdir())}
ASSETS: Mapping[str, tuple[bytes, str]] = {
    _named(path): (path.read_bytes(), _TYPES[path.suffix]) for path in _FILES.values()
}
"""What is served beside the pages, by the name that it is served under."""


def _instant(ms: int | None) -> str:
    return "" if ms is None else datetime.fromtimestamp(ms / 1000, UTC).strftime("%Y-%m-%d %H:%M:%S")


def _json(value: Any) -> str:
    return msgspec.json.encode(value).decode()


_BROWSERS = {"Edg": "Edge", "OPR": "Opera", "Firefox": "Firefox", "Chrome": "Chrome", "Safari": "Safari"}
"""What a browser calls itself, before what it calls itself besides."""
_SYSTEMS = ("Android", "iPhone", "iPad", "Windows", "Mac OS X", "Linux")


def _browser(agent: str) -> str:
    """A name that people know, or as much of what it calls itself as a cell holds."""
    known = next(
        ((name, found) for word, name in _BROWSERS.items() if (found := re.search(rf"{word}/(\d+)", agent))), None
    )
    if known is None:
        return agent[:24] or "unknown"
    system = next((f", {name}" for name in _SYSTEMS if name in agent), "")
    return f"{known[0]} {known[1][1]}{system}"


_environment = jinja2.Environment(
    loader=jinja2.FileSystemLoader(HERE / "templates"),
    autoescape=True,
    undefined=jinja2.StrictUndefined,
    trim_blocks=True,
    lstrip_blocks=True,
)
_environment.filters |= {"instant": _instant, "browser": _browser, "number": number, "json": _json}
_environment.globals["asset"] = {name: f"/admin/assets/{_named(path)}" for name, path in _FILES.items()}


def wanted(request: Request) -> bool:
    """Whether a person looks at the answer, and not a machine."""
    return "text/html" in request.headers.get("accept", "") and "authorization" not in request.headers


def render(
    request: Request, template: str, status: int = 200, headers: Mapping[str, str] | None = None, **context: Any
) -> Response:
    """The page, framed for whoever asks."""
    principal: Principal = getattr(request.state, "principal", NOBODY)
    rules: tuple[Rule, ...] = request.app.state.admin.rules
    text = _environment.get_template(template).render(
        principal=principal if isinstance(principal, Person) else None,
        boards=boards(principal, rules),
        places=places(principal, rules),
        here_path=request.url.path,
        **context,
    )
    return HTMLResponse(text, status, dict(headers or {}))


def trouble(request: Request, error: ServiceError, status: int | None = None) -> Response:
    """The error as a page, with the status and the headers of its problem."""
    request_id: str = request.scope["state"]["request_id"]
    status, headers, _ = problem_bytes(error, request_id, status=status)
    kept = {name.decode(): value.decode() for name, value in headers if not name.startswith(b"content-")}
    return render(request, "trouble.html", status, kept, message=error.message, request_id=request_id, code=error.code)


def boards(principal: Principal, rules: Iterable[Rule]) -> list[tuple[str, str]]:
    """Name and path of the boards that there are and that the principal may see, in their order."""
    known = {rule.board: rule for rule in rules if rule.board}
    shown = [known[name] for name in BOARDS if name in known]
    return [(rule.board, rule.path) for rule in shown if decide(principal, rule) is Decision.ALLOWED]


def places(principal: Principal, rules: Iterable[Rule]) -> list[tuple[str, str, str]]:
    """The same of the admin part's own pages, with what each is for."""
    known = {rule.path: rule for rule in rules if rule.method == "GET"}
    return [place for place in PLACES if decide(principal, known[place[1]]) is Decision.ALLOWED]

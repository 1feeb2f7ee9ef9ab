"""What the description says of the platform is what the platform's handlers do."""

from __future__ import annotations

import hashlib
import inspect
import json
import re
import shutil
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest
from fastapi import APIRouter, Request, Response
from fastapi.routing import APIRoute

from system import challenge_routes, http, notification_routes, operations_routes, tournament_routes, user_routes
from system.openapi import docs_routes
from system.openapi.bodies import takes
from system.openapi.description import described
from system.user_routes import LogIn, SignUp
from tests.system.front import Front

ROUTERS = [
    module.router
    for module in (challenge_routes, notification_routes, operations_routes, tournament_routes, user_routes)
]


@pytest.fixture(scope="module")
def front(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Front]:
    """A platform on SQLite: no engine changes what is said here."""
    directory = tmp_path_factory.mktemp("described")
    with Front(directory, f"sqlite:///{directory / 'gym.db'}") as front:
        yield front


@pytest.fixture(scope="module")
def document(front: Front) -> dict[str, Any]:
    """The description as it is served."""
    reply = front.call("GET", "/openapi.json")
    assert reply.headers["content-type"] == "application/json"
    found: dict[str, Any] = reply.json()
    return found


def body_read(route: APIRoute) -> str | None:
    """The name of the shape that the route's handler reads its body as."""
    found = re.search(r"http\.(?:own_)?body\(request, (\w+)\)", inspect.getsource(route.endpoint))
    return found and found[1]


def body_told(route: APIRoute) -> str | None:
    told = (route.openapi_extra or {}).get("requestBody")
    return None if told is None else told["content"]["application/json"]["schema"]["$ref"].rpartition("/")[2]


def untold(routers: list[APIRouter]) -> list[str]:
    """Routes whose handler reads another body than is said of them."""
    routes = [route for router in routers for route in router.routes if isinstance(route, APIRoute)]
    return [route.path for route in routes if body_read(route) != body_told(route)]


def test_every_body_that_a_handler_reads_is_told() -> None:
    assert untold(ROUTERS) == []
    assert sum(body_told(route) is not None for router in ROUTERS for route in router.routes) == 8


def test_a_body_that_is_not_told_is_found() -> None:
    async def handler(request: Request) -> Response:
        await http.body(request, SignUp)
        return Response()

    silent, wrong, right = APIRouter(), APIRouter(), APIRouter()
    silent.add_api_route("/silent", handler, response_model=None)
    wrong.add_api_route("/wrong", handler, response_model=None, openapi_extra=takes(LogIn))
    right.add_api_route("/right", handler, response_model=None, openapi_extra=takes(SignUp))
    assert untold([silent, wrong, right]) == ["/silent", "/wrong"]


def test_bodies_are_described_with_their_rules(document: dict[str, Any]) -> None:
    schemas = document["components"]["schemas"]
    assert schemas["SignUp"]["properties"]["name"] == {
        "type": "string", "minLength": 3, "maxLength": 40, "pattern": "^[a-z0-9_-]+$",
    }  # fmt: skip
    assert schemas["SignUp"]["additionalProperties"] is False
    assert set(schemas["Problem"]["required"]) == {"type", "title", "status", "detail", "code", "request_id"}


def test_every_reference_leads_somewhere(document: dict[str, Any]) -> None:
    for reference in re.findall(r'"\$ref": *"#/([^"]+)"', json.dumps(document)):
        found: Any = document
        for part in reference.split("/"):
            assert part in found, reference
            found = found[part]


def test_writes_and_only_writes_want_an_operation_id(document: dict[str, Any]) -> None:
    for path, methods in document["paths"].items():
        for method, operation in methods.items():
            names = {one["name"] for one in operation.get("parameters", ()) if one["in"] == "header"}
            assert ("Operation-Id" in names) is (method != "get"), (method, path)


def test_a_session_is_wanted_where_the_platform_wants_one(front: Front, document: dict[str, Any]) -> None:
    """Asked with no session: 401 from whatever is described as wanting one, and from nothing else."""
    assert document["components"]["securitySchemes"]["session"]["scheme"] == "bearer"
    for path, methods in document["paths"].items():
        for method, operation in methods.items():
            reply = front.call(method.upper(), re.sub(r"\{\w+\}", "1", path), {} if method != "get" else None)
            assert (reply.status_code == 401) is (operation.get("security") != []), (method, path, reply.text)


def test_the_description_is_the_same_each_time_and_leaves_the_admin_part_out(front: Front) -> None:
    first, second = described(front.app), described(front.app)
    assert first == second
    assert not [path for path in first["paths"] if path.startswith(("/admin", "/docs", "/metrics"))]


def changed(directory: Path, published: Mapping[str, str]) -> set[str]:
    """Names of what is not as it was published."""
    here = {path.name: hashlib.sha256(path.read_bytes()).hexdigest() for path in directory.iterdir()}
    return {name for name, _ in here.items() ^ published.items()}


def test_swagger_ui_is_as_it_was_published(tmp_path: Path) -> None:
    published = json.loads((docs_routes.HERE / "published.json").read_text("utf-8"))
    directory = docs_routes.HERE / "swagger-ui"
    assert changed(directory, published["sha256"]) == set()
    assert {"LICENSE", "NOTICE", "swagger-ui-bundle.js.LICENSE.txt"} <= set(published["sha256"])
    tampered = Path(shutil.copytree(directory, tmp_path / "tampered"))
    with (tampered / "swagger-ui.css").open("a") as file:
        file.write(" ")
    (tampered / "more.js").touch()
    (tampered / "NOTICE").unlink()
    assert changed(tampered, published["sha256"]) == {"swagger-ui.css", "more.js", "NOTICE"}


def test_the_files_of_the_page_may_be_kept_and_others_are_not_there(front: Front) -> None:
    page = front.call("GET", "/docs")
    assert page.headers["content-security-policy"] == docs_routes.POLICY
    assert "unsafe" not in docs_routes.POLICY
    assert "<script>" not in page.text
    files = re.findall(r'(?:src|href)="(/docs/[^"]+)"', page.text)
    assert len(files) == 4
    for file in files:
        reply = front.call("GET", file)
        assert (reply.status_code, "immutable" in reply.headers["cache-control"]) == (200, True)
    for wrong in ("NOTICE", "published.json", "..%2Fdescription.py"):
        assert front.call("GET", f"/docs/assets/{wrong}").json()["code"] in ("asset-not-found", "route-not-found")

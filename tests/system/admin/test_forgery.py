"""Nobody else's page acts here, every answer says how it may be shown, and cookies stay where they belong."""

from __future__ import annotations

import pytest

from system.admin.forgery import forged
from system.admin.headers import ALWAYS
from system.admin.origin import Forwarded, Origin, network_of, origin_of, trusted_networks
from system.admin.pages import ASSETS
from tests.system.admin.visitors import Browser, account, rows, signed_in
from tests.system.front import Front

HOST = {"host": "gym.example:8080"}
MATRIX: list[tuple[str, dict[str, str], bool]] = [
    ("POST", {"sec-fetch-site": "same-origin"}, False),
    ("POST", {"sec-fetch-site": "none"}, False),
    ("POST", {"sec-fetch-site": "same-site"}, True),
    ("POST", {"sec-fetch-site": "cross-site"}, True),
    ("POST", {"sec-fetch-site": ""}, True),
    ("POST", {"sec-fetch-site": "same-origin, cross-site"}, True),
    ("POST", {"sec-fetch-site": "cross-site", "origin": "http://gym.example:8080"}, True),
    ("POST", {"origin": "http://gym.example:8080"}, False),
    ("POST", {"origin": "https://gym.example:8080"}, False),
    ("POST", {"origin": "http://gym.example"}, True),
    ("POST", {"origin": "http://gym.example:8080.evil.example"}, True),
    ("POST", {"origin": "http://evil.example"}, True),
    ("POST", {"origin": "null"}, True),
    ("POST", {"origin": ""}, True),
    ("POST", {}, True),
    ("DELETE", {}, True),
    ("PUT", {"sec-fetch-site": "cross-site"}, True),
    ("GET", {"sec-fetch-site": "cross-site"}, False),
    ("HEAD", {}, False),
    ("POST", {"sec-fetch-site": "cross-site", "authorization": "Bearer gymadm_x"}, False),
]


@pytest.mark.parametrize(("method", "headers", "expected"), MATRIX)
def test_where_a_request_was_made(method: str, headers: dict[str, str], expected: bool) -> None:
    assert forged(method, HOST | headers) is expected


def test_a_request_made_elsewhere_is_refused_on_every_route_that_changes_something(house: Front) -> None:
    name = account(house, "admin")
    before = rows(house, "SELECT count(*) FROM admin_audit")[0][0]
    for path in ("/admin/log-in", "/admin/log-out", "/admin/accounts", "/admin/tokens/1/revoke"):
        elsewhere = signed_in(house, name)
        elsewhere.site = "cross-site"
        assert elsewhere.post(path, name="x").status_code == 403, path
    assert rows(house, "SELECT count(*) FROM admin_audit")[0][0] == before + 4, "the sessions that the test itself made"


def test_a_log_in_made_elsewhere_signs_nobody_in(house: Front) -> None:
    name = account(house, "viewer")
    response = Browser(house, site="cross-site").log_in(name)
    assert (response.status_code, response.headers.get("set-cookie")) == (403, None)


@pytest.mark.parametrize(
    ("method", "path", "status"),
    [
        ("GET", "/admin", 303),
        ("GET", "/admin/log-in", 200),
        ("GET", "/admin/nothing", 404),
        ("DELETE", "/admin/audit", 405),
        ("POST", "/admin/log-in", 401),
        ("GET", f"/admin/assets/{next(iter(ASSETS))}", 200),
    ],
)
def test_every_answer_says_how_it_may_be_shown(house: Front, method: str, path: str, status: int) -> None:
    response = Browser(house, "203.0.113.77").ask(method, path, {} if method == "POST" else None)
    assert response.status_code == status
    for name, value in ALWAYS:
        assert response.headers.get_list(name.decode()) == [value.decode()], name
    kept = "public, max-age=31536000, immutable" if status == 200 and "assets" in path else "no-store"
    assert response.headers["cache-control"] == kept


def test_the_edges_own_refusals_say_it_too_and_other_answers_do_not(house: Front) -> None:
    request = Browser(house).request("POST", "/admin/log-in")
    (large,) = house.ask(request | {"content": b"x" * 70_000})
    assert (large.status_code, "content-security-policy" in large.headers) == (413, True)
    assert "content-security-policy" not in house.call("GET", "/health/live").headers
    assert "content-security-policy" not in house.call("GET", "/administer").headers


def test_pages_hold_nothing_that_the_policy_refuses(house: Front) -> None:
    admin = signed_in(house, account(house, "admin"))
    for path in (
        "/admin",
        "/admin/log-in",
        "/admin/sessions",
        "/admin/password",
        "/admin/accounts",
        "/admin/tokens",
        "/admin/audit",
    ):
        page = admin.get(path).text
        assert "<script" not in page
        assert "<style" not in page
        assert ' style="' not in page
        assert "http://" not in page
        assert "https://" not in page


def test_the_cookie_over_tls_and_without(house: Front) -> None:
    name = account(house, "viewer")
    plain = Browser(house).log_in(name).headers["set-cookie"]
    assert plain.startswith("gymkhana-admin=")
    assert plain.partition("; ")[2] == "Path=/admin; HttpOnly; SameSite=Strict"
    browser = Browser(house, tls=True)
    secure = browser.log_in(name).headers["set-cookie"]
    assert secure.startswith("__Host-gymkhana-admin=")
    assert secure.partition("; ")[2] == "Path=/; Secure; HttpOnly; SameSite=Strict"
    assert browser.is_in()
    renamed = browser.cookie.removeprefix("__Host-")
    assert not Browser(house, tls=True, cookie=renamed).is_in(), (
        "over TLS a name that a neighbour could set counts nothing"
    )
    ended = browser.post("/admin/log-out").headers["set-cookie"]
    assert ended == "__Host-gymkhana-admin=; Path=/; Secure; HttpOnly; SameSite=Strict; Max-Age=0"


TRUSTED = trusted_networks("127.0.0.1, 10.0.0.0/8")
ORIGINS = [
    (("192.0.2.9", Forwarded("198.51.100.1", "https")), Origin("192.0.2.9", "192.0.2.9", False)),
    (("127.0.0.1", Forwarded()), Origin("127.0.0.1", "127.0.0.1", False)),
    (("127.0.0.1", Forwarded("198.51.100.1", "https")), Origin("198.51.100.1", "198.51.100.1", True)),
    (("127.0.0.1", Forwarded("6.6.6.6, 198.51.100.1, 10.1.2.3")), Origin("198.51.100.1", "198.51.100.1", False)),
    (("127.0.0.1", Forwarded("6.6.6.6, made up, 10.1.2.3", "https,http")), Origin("10.1.2.3", "10.1.2.3", False)),
    (("127.0.0.1", Forwarded("2001:db8:1:2:3::4")), Origin("2001:db8:1:2:3::4", "2001:db8:1:2::/64", False)),
]


@pytest.mark.parametrize(("given", "expected"), ORIGINS)
def test_where_a_request_comes_from(given: tuple[str, Forwarded], expected: Origin) -> None:
    peer, forwarded = given
    assert origin_of(peer, "http", forwarded, TRUSTED) == expected


def test_what_counts_as_one_client() -> None:
    assert network_of("::ffff:198.51.100.1") == network_of("198.51.100.1")
    assert network_of("2001:db8::1") == network_of("2001:db8::2")
    assert network_of("2001:db8:0:1::1") != network_of("2001:db8:0:2::1")


def test_a_client_is_not_believed_by_a_service_that_trusts_no_proxy(front: Front) -> None:
    page = Browser(front, tls=True).post("/admin/log-in", name="nobody", password="wrong")
    assert page.status_code == 401
    assert front.app.state.admin.trusted == ()

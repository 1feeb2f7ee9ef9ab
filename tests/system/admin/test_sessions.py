"""Logging in, and sessions that are refused at the very next request however they ended."""

from __future__ import annotations

import time
from collections.abc import Callable

import pytest

from system.admin import console, session_service
from system.admin.login_routes import way_back
from tests.system.admin.visitors import PASSWORD, Browser, account, apply_here, change, marks, rows, signed_in
from tests.system.front import Front


@pytest.fixture(scope="module")
def admin(house: Front) -> Browser:
    return signed_in(house, account(house, "admin"))


def session_of(house: Front, name: str) -> int:
    statement = (
        f"SELECT max(s.id) FROM admin_sessions s JOIN admin_accounts a ON a.id = s.account_id WHERE a.name = '{name}'"
    )
    return int(rows(house, statement)[0][0])


def account_of(house: Front, name: str) -> int:
    return int(rows(house, f"SELECT id FROM admin_accounts WHERE name = '{name}'")[0][0])


def test_a_log_in_leads_to_where_it_came_from_and_a_log_out_ends_it_for_every_copy(house: Front) -> None:
    name, browser = account(house, "viewer"), Browser(house)
    asked = browser.get("/admin/sessions?done=x")
    assert (asked.status_code, asked.headers["location"]) == (303, "/admin/log-in?next=/admin/sessions%3Fdone%3Dx")
    given = browser.log_in(name, next="/admin/sessions")
    assert (given.status_code, given.headers["location"]) == (303, "/admin/sessions")
    copied = Browser(house, cookie=browser.cookie)
    assert browser.is_in()
    assert copied.is_in()
    browser.post("/admin/log-out")
    assert not browser.is_in()
    assert not copied.is_in()


@pytest.mark.parametrize(
    "wanted",
    ["https://elsewhere.example", "//elsewhere.example/admin", "/\\elsewhere.example", "javascript:alert(1)", "/users/me",
     "/administer", "/admin/log-in", "/admin//x", "", "/admin/\r\nSet-Cookie: a=b", "admin"],
)  # fmt: skip
def test_a_log_in_never_leads_elsewhere(wanted: str) -> None:
    assert way_back(wanted) == "/admin"


def test_a_wrong_password_an_unknown_name_and_a_disabled_account_are_told_the_same(house: Front) -> None:
    name, gone = account(house, "viewer"), account(house, "viewer")
    console.disable(house.config.database_url, gone)
    told = []
    for number, (who, password) in enumerate(
        [(name, "wrong password!"), ("nobody-at-all", PASSWORD), (gone, PASSWORD)]
    ):
        response = Browser(house, f"203.0.113.{number}").log_in(who, password)
        told.append((response.status_code, response.headers.get("set-cookie"), marks(response.text)))
    assert told == [(401, None, told[0][2])] * 3
    assert "The name or the password is wrong." in told[0][2]


def test_a_log_in_gives_a_new_session_and_ends_the_one_before(house: Front) -> None:
    name, browser = account(house, "viewer"), Browser(house)
    browser.log_in(name)
    before = Browser(house, cookie=browser.cookie)
    browser.log_in(name)
    assert browser.cookie != before.cookie
    assert browser.is_in()
    assert not before.is_in()


def test_a_made_up_cookie_is_never_taken_over_by_a_log_in(house: Front) -> None:
    name = account(house, "viewer")
    browser = Browser(house, cookie="gymkhana-admin=fixed")
    browser.log_in(name)
    assert not Browser(house, cookie="gymkhana-admin=fixed").is_in()


Ending = Callable[[Front, Browser, str], object]
ENDINGS: dict[str, Ending] = {
    "revoked by an admin": lambda h, admin, n: admin.post(f"/admin/sessions/{session_of(h, n)}/revoke"),
    "disabled by an admin": lambda h, admin, n: admin.post(f"/admin/accounts/{account_of(h, n)}/disable"),
    "given a lesser role": lambda h, admin, n: admin.post(f"/admin/accounts/{account_of(h, n)}/role", role="viewer"),
    "disabled at the console": lambda h, _, n: console.disable(h.config.database_url, n),
    "password reset at the console": lambda h, _, n: console.reset_password(h.config.database_url, n, "another long one"),
    "idle": lambda h, _, n: change(
        h, f"UPDATE admin_sessions SET seen_ms = seen_ms - {31 * 60_000} WHERE id = {session_of(h, n)}"
    ),
    "too old": lambda h, _, n: change(
        h, f"UPDATE admin_sessions SET expires_ms = {time.time_ns() // 1_000_000} WHERE id = {session_of(h, n)}"
    ),
}  # fmt: skip


@pytest.mark.parametrize("ending", ENDINGS)
def test_a_session_that_ended_is_refused_at_the_very_next_request(house: Front, admin: Browser, ending: str) -> None:
    name = account(house, "operator")
    browser = signed_in(house, name)
    assert browser.is_in()
    ENDINGS[ending](house, admin, name)
    assert not browser.is_in()


def test_a_changed_password_ends_every_other_session_and_opens_from_now_on(house: Front) -> None:
    name = account(house, "viewer")
    here, there = signed_in(house, name), signed_in(house, name)
    assert (
        here.post("/admin/password", current="wrong", new="another long one", again="another long one").status_code
        == 400
    )
    assert here.post("/admin/password", current=PASSWORD, new="short", again="short").status_code == 400
    assert here.post("/admin/password", current=PASSWORD, new="another long one", again="another l").status_code == 400
    assert there.is_in()
    here.post("/admin/password", current=PASSWORD, new="another long one", again="another long one")
    assert here.is_in()
    assert not there.is_in()
    assert Browser(house, "203.0.113.9").log_in(name).status_code == 401
    assert Browser(house, "203.0.113.9").log_in(name, "another long one").status_code == 303


def test_everybody_sees_and_ends_their_own_sessions_and_an_admin_everybodys(house: Front, admin: Browser) -> None:
    ann, bob = account(house, "viewer"), account(house, "viewer")
    hers, his = signed_in(house, ann), signed_in(house, bob)
    assert ann in hers.get("/admin/sessions").text
    assert bob not in hers.get("/admin/sessions").text
    assert bob in admin.get("/admin/sessions").text
    assert hers.post(f"/admin/sessions/{session_of(house, bob)}/revoke").status_code == 404
    assert his.is_in()
    also_hers = signed_in(house, ann)
    hers.post("/admin/sessions/others/revoke")
    assert not also_hers.is_in()
    assert hers.is_in()
    assert his.is_in()


def test_being_there_is_written_down_once_a_minute(house: Front) -> None:
    name = account(house, "viewer")
    browser = signed_in(house, name)
    seen = f"SELECT seen_ms FROM admin_sessions WHERE id = {session_of(house, name)}"
    before = rows(house, seen)
    browser.get("/admin")
    assert rows(house, seen) == before
    change(house, f"UPDATE admin_sessions SET seen_ms = seen_ms - 70000 WHERE id = {session_of(house, name)}")
    browser.get("/admin")
    assert rows(house, seen)[0] >= before[0]


def test_whoever_follows_a_link_from_elsewhere_is_sent_on_from_our_own_page(house: Front) -> None:
    """A strict cookie is held back on the first request, and comes with the second."""
    page = Browser(house, site="cross-site").get("/admin/sessions")
    assert page.status_code == 200
    assert 'content="0; url=/admin/sessions"' in page.text


def test_an_account_that_was_disabled_while_its_password_was_looked_at_gets_no_session(house: Front) -> None:
    name = account(house, "viewer")
    stale = (account_of(house, name), "the hash of before", "0" * 64, "", "", 0, None, None)
    with pytest.raises(console.Refused, match="is wrong"):
        apply_here(house, session_service.begin, *stale)
    assert session_count(house, name) == 0


def session_count(house: Front, name: str) -> int:
    return int(rows(house, f"SELECT count(*) FROM admin_sessions WHERE account_id = {account_of(house, name)}")[0][0])

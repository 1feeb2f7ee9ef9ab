"""Accounts and tokens over their pages, one admin who always stays, and the record of everything that was done."""

from __future__ import annotations

import re

import pytest

from system.admin import account_service, keys
from system.admin.actions import By
from system.errors import Conflict
from tests.system.admin.visitors import HOME, PASSWORD, Browser, account, machine, marks, rows, signed_in
from tests.system.front import Front
from tests.system.gym import Gym


@pytest.fixture(scope="module")
def admin(house: Front) -> Browser:
    return signed_in(house, account(house, "admin"))


def test_an_account_is_made_and_may_sign_in(house: Front, admin: Browser) -> None:
    made = admin.post("/admin/accounts", name="zoe", role="operator", password=PASSWORD)
    assert made.headers["location"] == "/admin/accounts?done=created"
    assert "zoe" in admin.get("/admin/accounts").text
    assert Browser(house).log_in("zoe").status_code == 303
    again = admin.post("/admin/accounts", name="zoe", role="viewer", password=PASSWORD)
    assert (again.status_code, "There is an account zoe already." in marks(again.text)) == (409, True)


@pytest.mark.parametrize(
    ("fields", "said"),
    [
        ({"name": "Ann", "role": "viewer", "password": PASSWORD}, "3 to 40 characters"),
        ({"name": "<script>", "role": "viewer", "password": PASSWORD}, "3 to 40 characters"),
        ({"name": "yet-another", "role": "owner", "password": PASSWORD}, "one of viewer, operator, admin"),
        ({"name": "yet-another", "role": "viewer", "password": "too short"}, "12 to 128 characters"),
        ({"name": "yet-another", "role": "viewer", "password": "abababababab"}, "so few different characters"),
    ],
)
def test_what_an_account_cannot_be_is_said_in_one_sentence(admin: Browser, fields: dict[str, str], said: str) -> None:
    response = admin.post("/admin/accounts", **fields)
    assert response.status_code == 400
    assert said in marks(response.text)
    assert fields["password"] not in response.text
    assert "<script>" not in response.text


def test_a_form_that_is_none_is_refused(house: Front, admin: Browser) -> None:
    request = admin.request("POST", "/admin/accounts")
    (response,) = house.ask(request | {"json": {"name": "yet-another"}})
    assert (response.status_code, "This takes a form" in response.text) == (400, True)


def test_a_token_is_shown_once_and_stored_as_its_hash(house: Front, admin: Browser) -> None:
    made = admin.post("/admin/tokens", name="exporter", scope=["read:records"], days="30")
    (token,) = re.findall(r"gymadm_[\w-]{43}", made.text)
    assert made.status_code == 201
    assert token not in admin.get("/admin/tokens").text
    assert rows(house, "SELECT token_hash, scopes FROM admin_tokens WHERE name = 'exporter'") == [
        (keys.hashed(token), "read:records")
    ]
    bot = Browser(house, more={"Authorization": f"Bearer {token}"})
    assert bot.get("/admin/audit").status_code == 200


@pytest.mark.parametrize(
    "fields",
    [
        {"name": "", "scope": ["read:records"], "days": "30"},
        {"name": "x", "days": "30"},
        {"name": "x", "scope": ["read:everything"], "days": "30"},
        {"name": "x", "scope": ["read:records"], "days": "0"},
        {"name": "x", "scope": ["read:records"], "days": "366"},
        {"name": "x", "scope": ["read:records"], "days": "-1"},
    ],
)
def test_a_token_without_a_name_a_scope_or_an_end_is_not_made(
    house: Front, admin: Browser, fields: dict[str, object]
) -> None:
    before = rows(house, "SELECT count(*) FROM admin_tokens")
    assert admin.post("/admin/tokens", **fields).status_code == 400
    assert rows(house, "SELECT count(*) FROM admin_tokens") == before


def test_the_record_says_who_did_what_on_what_from_where(house: Front, admin: Browser) -> None:
    name = account(house, "viewer")
    wanted = rows(house, f"SELECT id FROM admin_accounts WHERE name = '{name}'")[0][0]
    admin.post(f"/admin/accounts/{wanted}/role", role="operator")
    ((actor, address, action, subject, detail),) = rows(
        house, "SELECT actor, address, action, subject, detail FROM admin_audit ORDER BY id DESC LIMIT 1"
    )
    assert (address, action, subject) == (HOME, "account.role-changed", f"account {name}")
    assert detail == "from viewer to operator"
    assert actor.startswith("admin-")
    assert f"account {name} from viewer to operator" in marks(admin.get("/admin/audit?limit=1").text)


def test_the_record_is_read_a_page_at_a_time_without_gaps(admin: Browser, house: Front) -> None:
    seen: list[str] = []
    path = "/admin/audit?limit=3"
    while path:
        page = admin.get(path).text
        seen += re.findall(r'<time datetime="', page)
        found = re.search(r'href="([^"]+)" rel="next"', page)
        path = f"/admin/audit{found[1].replace('&amp;', '&')}" if found else ""
    assert len(seen) == rows(house, "SELECT count(*) FROM admin_audit")[0][0]


def test_the_record_is_asked_by_what_was_done_by_whom_and_when(admin: Browser, house: Front) -> None:
    name = account(house, "viewer")
    wanted = rows(house, f"SELECT id FROM admin_accounts WHERE name = '{name}'")[0][0]
    admin.post(f"/admin/accounts/{wanted}/role", role="operator")
    admin.post(f"/admin/accounts/{wanted}/disable")
    own = rows(house, "SELECT account_id FROM admin_audit ORDER BY id DESC LIMIT 1")[0][0]
    page = marks(admin.get(f"/admin/audit?kind=account.disabled&user={own}").text)
    assert f"account {name}" in page
    assert "account.role-changed" not in page
    assert "Nothing is on record." in marks(admin.get("/admin/audit?from=2100-01-01T00:00").text)
    for form, first in (("csv", "id,operation_id,at_ms,actor,"), ("ndjson", '{"id":')):
        exported = admin.get(f"/admin/api/audit.{form}?kind=account.disabled&user={own}&to=2100-01-01T00:00:00Z")
        assert exported.text.startswith(first)
        assert f"account {name}" in exported.text.splitlines()[1 if form == "csv" else 0]
    assert admin.get("/admin/api/audit?status=4xx").status_code == 400


def test_the_last_admin_can_neither_be_disabled_nor_demoted(gym: Gym) -> None:
    by = By("ada", HOME, account_id=1).plain()
    for name in ("ada", "bob"):
        gym.apply(account_service.create, by, name, "admin", "hashed")
    gym.apply(account_service.disable, by, 2)
    for job, more in ((account_service.disable, ()), (account_service.change_role, ("viewer",))):
        with pytest.raises(Conflict) as refused:
            gym.apply(job, by, 1, *more)
        assert refused.value.code == "last-admin"
    gym.apply(account_service.enable, by, 2)
    gym.apply(account_service.change_role, by, 1, "viewer")


def test_an_action_and_its_line_in_the_record_are_one_transaction(gym: Gym) -> None:
    by = By("ada", HOME, account_id=1).plain()
    gym.apply(account_service.create, by, "ada", "admin", "hashed")
    with pytest.raises(Conflict):
        gym.apply(account_service.create, by, "ada", "admin", "hashed")
    with pytest.raises(Conflict):
        gym.apply(account_service.disable, by, 1)
    assert gym.rows("SELECT action, subject FROM admin_audit") == [("account.created", "account ada")]
    assert gym.rows("SELECT count(*) FROM activity WHERE kind LIKE 'admin.%'") == [(1,)]


def test_an_account_that_may_less_loses_the_tokens_it_made(house: Front, admin: Browser) -> None:
    other = account(house, "admin")
    (wanted,) = rows(house, f"SELECT id FROM admin_accounts WHERE name = '{other}'")
    hers = signed_in(house, other)
    made = hers.post("/admin/tokens", name="hers", scope=["read:records"], days="30")
    (token,) = re.findall(r"gymadm_[\w-]{43}", made.text)
    bot = Browser(house, more={"Authorization": f"Bearer {token}"})
    assert bot.get("/admin/audit").status_code == 200
    admin.post(f"/admin/accounts/{wanted[0]}/role", role="operator")
    assert bot.get("/admin/audit").status_code == 401
    kept, _ = machine(house, ["read:records"])
    assert kept.get("/admin/audit").status_code == 200

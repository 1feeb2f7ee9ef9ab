"""A thousand wrong log-ins lock nobody out and cost next to nothing."""

from __future__ import annotations

import pytest

from system.admin.throttle import ACCOUNT_MOST_S, ADDRESS_MOST_S, FORGOTTEN_S, FREE, Throttle, charged, delay_s
from system.errors import RateLimited
from tests.system.admin.visitors import PASSWORD, Browser, account, change, signed_in
from tests.system.front import Front

HOME = "198.51.100.200"


class Clock:
    now = 1_000.0

    def __call__(self) -> float:
        return self.now


def test_each_wrong_log_in_waits_twice_as_long_as_the_one_before() -> None:
    waits = [delay_s(wrong, 900.0) for wrong in range(FREE, FREE + 12)]
    assert waits == [0, 1, 2, 4, 8, 16, 32, 64, 128, 256, 512, 900]
    assert delay_s(10_000, 900.0) == 900.0


def test_a_stranger_is_slowed_by_address_and_by_account() -> None:
    clock = Clock()
    throttle = Throttle(clock)
    for _ in range(FREE + 1):
        throttle.enter(charged("ann", "192.0.2.1", familiar=False))
    for name, network in (("ann", "192.0.2.1"), ("ann", "192.0.2.2"), ("bob", "192.0.2.1")):
        with pytest.raises(RateLimited) as refused:
            throttle.enter(charged(name, network, familiar=False))
        assert refused.value.retry_after_s == 1
    throttle.enter(charged("bob", "192.0.2.2", familiar=False))
    clock.now += 1.01
    throttle.enter(charged("ann", "192.0.2.1", familiar=False))


def test_strangers_never_slow_an_account_where_it_has_logged_in_before() -> None:
    throttle = Throttle(Clock())
    for number in range(1_000):
        try:
            throttle.enter(charged("ann", f"192.0.2.{number % 50}", familiar=False))
        except RateLimited:
            continue
    throttle.enter(charged("ann", "192.0.2.1", familiar=True))


def test_an_account_at_home_is_slowed_by_its_own_wrong_log_ins_and_no_longer_than_a_minute() -> None:
    clock = Clock()
    throttle = Throttle(clock)
    for _ in range(50):
        throttle.enter(charged("ann", "192.0.2.1", familiar=True))
        clock.now += ACCOUNT_MOST_S
    throttle.enter(charged("ann", "192.0.2.1", familiar=True))
    with pytest.raises(RateLimited):
        throttle.enter(charged("ann", "192.0.2.1", familiar=True))
    assert ACCOUNT_MOST_S < ADDRESS_MOST_S


def test_a_right_log_in_is_forgiven_and_an_old_wrong_one_forgotten() -> None:
    clock = Clock()
    throttle = Throttle(clock)
    payers = charged("ann", "192.0.2.1", familiar=False)
    for _ in range(100):
        throttle.enter(payers)
        throttle.forgive(payers)
    for _ in range(FREE + 3):
        throttle.enter(payers)
        clock.now += 5
    clock.now += FORGOTTEN_S
    for _ in range(FREE):
        throttle.enter(payers)


def test_made_up_names_fill_no_memory() -> None:
    throttle = Throttle(Clock(), kept=100)
    for number in range(1_000):
        throttle.enter(charged(f"name{number}", f"192.0.2.{number}", familiar=False))
    assert len(throttle) == 100


def test_a_thousand_wrong_log_ins_leave_the_owner_in_and_the_service_serving(house: Front) -> None:
    """From fifty addresses at once, twenty each, for the owner's name and for made-up ones."""
    owner = account(house, "admin")
    assert Browser(house, HOME).log_in(owner).status_code == 303
    inside = signed_in(house, owner)
    user = house.regular()
    refused: list[int] = []
    for turn in range(20):
        wrong = [
            Browser(house, f"203.0.113.{address}").request(
                "POST",
                "/admin/log-in",
                {"name": owner if address % 2 else f"guess{turn % 4}", "password": f"wrong {turn}"},
            )
            for address in range(50)
        ]
        others = [
            Browser(house, HOME).request("POST", "/admin/log-in", {"name": owner, "password": PASSWORD}),
            inside.request("GET", "/admin/sessions"),
            {"method": "GET", "url": "/users/me", "headers": {"Authorization": f"Bearer {user}"}},
            {"method": "PATCH", "url": "/users/me", "json": {"bio": f"{turn}"}, "headers": {
                "Authorization": f"Bearer {user}", "Operation-Id": f"bio.{owner}.{turn}"}},
        ]  # fmt: skip
        answers = [answer.status_code for answer in house.ask(*wrong[:25], *others, *wrong[25:])]
        assert answers[25:29] == [303, 200, 200, 200], f"turn {turn}"
        refused += answers[:25] + answers[29:]
    assert len(refused) == 1_000
    assert set(refused) <= {401, 429, 503}
    assert refused.count(401) <= 60, "each of these cost a hash"
    assert refused.count(429) >= 500


def test_an_owner_at_a_new_address_waits_a_minute_at_most_and_is_told_so(house: Front) -> None:
    owner = account(house, "viewer")
    stranger = Browser(house, "203.0.113.200")
    statuses = [stranger.log_in(owner, "wrong password").status_code for _ in range(FREE + 2)]
    assert statuses == [401] * (FREE + 1) + [429]
    told = Browser(house, "203.0.113.201").log_in(owner)
    assert told.status_code == 429
    assert 1 <= int(told.headers["retry-after"]) <= ACCOUNT_MOST_S
    assert "try again in" in told.text


def test_where_somebody_logged_in_long_ago_they_are_a_stranger_again(house: Front) -> None:
    owner = account(house, "viewer")
    assert Browser(house, "203.0.113.210").log_in(owner).status_code == 303
    stranger = Browser(house, "203.0.113.211")
    while stranger.log_in(owner, "wrong password").status_code != 429:
        continue
    assert Browser(house, "203.0.113.210").log_in(owner).status_code == 303
    change(house, "UPDATE admin_sessions SET created_ms = created_ms - 15638400000 WHERE network = '203.0.113.210'")
    assert Browser(house, "203.0.113.210").log_in(owner).status_code == 429

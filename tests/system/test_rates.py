"""Rates: a bucket for each client, told in the fields of the draft, and no more memory than was allowed."""

from __future__ import annotations

import asyncio

import pytest

from system.admission import Door
from system.edge import Edge
from system.errors import RateLimited
from system.rates import Rates, Standing, by_address, client_of
from tests.system.test_admission import Clock
from tests.system.test_edge import Call, Headers, hello, unauthorised


def rates(clock: Clock, quota: int = 10, clients: int = 100) -> Rates:
    return Rates(quota, 10, clients, clock)


def test_a_client_may_spend_its_quota_at_once_and_then_one_as_each_comes_back() -> None:
    clock = Clock()
    limited = rates(clock)
    assert [limited.spend(b"a").remaining for _ in range(10)] == [9, 8, 7, 6, 5, 4, 3, 2, 1, 0]
    with pytest.raises(RateLimited) as caught:
        limited.spend(b"a")
    assert caught.value.retry_after_s == 1
    clock.now += 1.0
    assert limited.spend(b"a") == Standing(0, 10)
    with pytest.raises(RateLimited):
        limited.spend(b"a")


def test_the_wait_is_told_in_whole_seconds_and_is_long_enough() -> None:
    clock = Clock()
    slow = Rates(1, 60, 10, clock)
    slow.spend(b"a")
    with pytest.raises(RateLimited) as caught:
        slow.spend(b"a")
    clock.now += caught.value.retry_after_s
    assert slow.spend(b"a").remaining == 0


def test_clients_do_not_spend_each_others_quota() -> None:
    limited = rates(Clock(), quota=1)
    assert [limited.spend(client).remaining for client in (b"a", b"b")] == [0, 0]


def test_memory_is_bounded_and_the_longest_silent_is_forgotten() -> None:
    limited = rates(Clock(), quota=5, clients=3)
    for client in (b"a", b"b", b"c", b"a", b"d"):
        limited.spend(client)
    assert len(limited) == 3
    assert [limited.standing(client).remaining for client in (b"a", b"b", b"c", b"d")] == [3, 5, 4, 4]


def test_the_fields_are_those_of_the_draft() -> None:
    limited = rates(Clock())
    assert limited.fields(limited.spend(b"a")) == [
        (b"ratelimit-policy", b'"client";q=10;w=10'),
        (b"ratelimit", b'"client";r=9;t=1'),
    ]


def test_a_client_is_its_token_or_its_address_and_the_token_is_not_kept() -> None:
    assert client_of(b"Bearer abc", "::1") == client_of(b"bearer abc", "10.0.0.1") != client_of(b"Bearer abd", "::1")
    assert client_of(b"", "::1") == client_of(b"Basic YTpi", "::1") == by_address("::1")
    assert b"abc" not in client_of(b"Bearer abc", "::1")


def ask(edge: Edge, headers: Headers, path: str = "/users/me") -> Call:
    call = Call(edge, headers=headers)
    call.scope.update({"path": path, "client": ("10.0.0.1", 1)})
    asyncio.run(call.run())
    return call


def test_the_edge_tells_every_answer_and_refuses_with_429() -> None:
    edge = Edge(hello, 1024, Door(8), rates=rates(Clock(), quota=2))
    mine: Headers = [(b"authorization", b"Bearer mine")]
    calls = [ask(edge, mine) for _ in range(3)]
    assert [call.status for call in calls] == [200, 200, 429]
    assert [call.headers[b"ratelimit"] for call in calls] == [
        b'"client";r=1;t=5',
        b'"client";r=0;t=10',
        b'"client";r=0;t=10',
    ]
    refused = calls[2]
    assert refused.problem["code"] == "rate-limited"
    assert (refused.headers[b"retry-after"], refused.headers[b"outcome"]) == (b"5", b"not-applied")
    assert ask(edge, [(b"authorization", b"Bearer other")]).status == 200


def test_health_and_metrics_are_never_limited_nor_told() -> None:
    edge = Edge(hello, 1024, Door(8), rates=rates(Clock(), quota=1))
    for path in ("/health/ready", "/metrics") * 2:
        answered = ask(edge, [], path)
        assert answered.status == 200
        assert b"ratelimit" not in answered.headers


def test_without_rates_nobody_is_limited_nor_told() -> None:
    assert b"ratelimit" not in ask(Edge(hello, 1024, Door(8)), []).headers


def test_made_up_tokens_are_charged_to_the_address_they_come_from() -> None:
    edge = Edge(unauthorised, 1024, Door(8), rates=rates(Clock(), quota=3))
    statuses = [ask(edge, [(b"authorization", b"Bearer %d" % number)]).status for number in range(5)]
    assert statuses == [401, 401, 401, 429, 429]

"""Every error of the family becomes one RFC 9457 problem, and only certainty says `not-applied`."""

from __future__ import annotations

import json

import pytest

from system.errors import Conflict, Forbidden, Invalid, NotFound, OutcomeUnknown, Reused, ServiceError, Unauthorised
from system.errors import Unavailable as Away
from system.problems import problem_bytes

STATUSES = [
    (Invalid, 400),
    (Unauthorised, 401),
    (Forbidden, 403),
    (NotFound, 404),
    (Conflict, 409),
    (Reused, 422),
    (Away, 503),
    (OutcomeUnknown, 503),
]


@pytest.mark.parametrize(("family", "status"), STATUSES)
def test_each_error_has_its_status_and_a_stable_type(family: type[ServiceError], status: int) -> None:
    got, headers, body = problem_bytes(family("some-code", "A sentence."), "req-1")
    problem = json.loads(body)
    assert got == problem["status"] == status
    assert problem["type"] == "urn:gymkhana:problem:some-code"
    assert (problem["code"], problem["detail"], problem["request_id"]) == ("some-code", "A sentence.", "req-1")
    assert (b"content-type", b"application/problem+json") in headers


def test_only_unavailable_promises_that_nothing_was_applied() -> None:
    promised = [
        family for family, _ in STATUSES if (b"outcome", b"not-applied") in problem_bytes(family("c", "m"), "r")[1]
    ]
    assert promised == [Away]


def test_both_kinds_of_503_say_when_to_come_back() -> None:
    for family in (Away, OutcomeUnknown):
        assert (b"retry-after", b"1") in problem_bytes(family("c", "m"), "r")[1]


def test_an_unknown_error_keeps_its_details_to_itself() -> None:
    status, headers, body = problem_bytes(RuntimeError("the password is hunter2"), "req-1")
    assert status == 500
    assert b"hunter2" not in body
    assert not any(name == b"outcome" for name, _ in headers)

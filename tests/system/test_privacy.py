"""Users see only their own: every route of theirs is walked by somebody else, looking for what was planted."""

from __future__ import annotations

import re
from typing import Any

import pytest

from system.admin.room import every_route
from tests.system.front import PASSWORD, Front

OPERATION = "private.operation-of-ann"
PRIVATE = ("ann-stakes-on-this", "private.operation-of-ann")
"""What only the parties may see: the title of a challenge, and what became of an operation."""

PUBLIC = {
    ("GET", "/tournaments"), ("GET", "/tournaments/{tournament_id}"), ("GET", "/tournaments/{tournament_id}/standings"),
    ("GET", "/tournaments/{tournament_id}/matches"), ("GET", "/matches/{match_id}"), ("GET", "/users/{user_id}"),
}  # fmt: skip
"""Everybody who is logged in may read these: they hold what a user shows to others."""
OWN = {
    ("GET", "/users/me"), ("PATCH", "/users/me"), ("GET", "/users/me/points"), ("GET", "/notifications"),
    ("GET", "/notifications/unread-count"), ("POST", "/notifications/read-all"),
    ("POST", "/notifications/{notification_id}/read"), ("GET", "/challenges"), ("GET", "/challenges/{challenge_id}"),
    ("POST", "/challenges/{challenge_id}/accept"), ("POST", "/challenges/{challenge_id}/decline"),
    ("POST", "/challenges/{challenge_id}/settle"), ("GET", "/operations/{operation_id}"), ("DELETE", "/sessions/current"),
}  # fmt: skip
"""About the caller alone. What they name of somebody else's is not there."""
ORGANISERS = {
    ("POST", "/tournaments/{tournament_id}/open"), ("POST", "/tournaments/{tournament_id}/matches"),
    ("POST", "/tournaments/{tournament_id}/finish"), ("POST", "/matches/{match_id}/events"),
    ("POST", "/matches/{match_id}/result"),
}  # fmt: skip
"""Whose tournament or match it is, is who may."""
ANYBODYS = {("POST", "/users"), ("POST", "/sessions"), ("POST", "/tournaments"), ("POST", "/challenges"),
            ("POST", "/tournaments/{tournament_id}/entries")}  # fmt: skip
"""Makes something of the caller's own."""


@pytest.fixture(scope="module")
def ann(front: Front) -> dict[str, Any]:
    """Somebody with something private of every kind, and the ids of it."""
    ann, token = front.join("ann-private")
    cleo, other = front.join("cleo-party")
    cup = front.call("POST", "/tournaments", {"name": "Cup", "capacity": 4, "entry_fee": 0}, token=token).json()
    challenge = front.call(
        "POST", "/challenges", {"opponent_id": cleo, "stake": 7, "title": PRIVATE[0]}, token=token, op=OPERATION
    ).json()
    back = {"opponent_id": ann, "stake": 3, "title": PRIVATE[0]}
    front.call("POST", "/challenges", back, token=other)
    front.until(lambda: len(front.call("GET", "/notifications", token=token).json()["notifications"]) == 1)
    (told,) = front.call("GET", "/notifications", token=token).json()["notifications"]
    return {
        "id": ann, "user_id": ann, "token": token, "challenge_id": challenge["id"], "notification_id": told["id"],
        "tournament_id": cup["id"], "match_id": 999_999, "operation_id": OPERATION, "text": told["text"],
    }  # fmt: skip


def of_users(front: Front) -> set[tuple[str, str]]:
    return {
        (method, route.path)  # type: ignore[attr-defined]
        for route in every_route(front.app)
        if not re.match(r"/(admin|health|metrics|openapi|docs)", getattr(route, "path", ""))
        for method in route.methods  # type: ignore[attr-defined]
    }


def test_every_route_of_users_is_told_private_or_public(front: Front) -> None:
    """A new route has to be put into one of the sets above, by whoever has thought about it."""
    kinds = (PUBLIC, OWN, ORGANISERS, ANYBODYS)
    assert of_users(front) == set().union(*kinds)
    assert sum(map(len, kinds)) == len(set().union(*kinds))


def test_the_owner_sees_what_was_planted(front: Front, ann: dict[str, Any]) -> None:
    seen = "".join(
        front.call("GET", path.format(**ann), token=ann["token"]).text for method, path in OWN if method == "GET"
    )
    assert all(secret in seen for secret in (*PRIVATE, ann["text"]))


def test_nobody_else_sees_or_changes_it_on_any_route(front: Front, ann: dict[str, Any]) -> None:
    _, stranger = front.join("bob-stranger")
    before = mine(front, ann)
    bodies = {
        "/users": {"name": "bobs-friend", "password": PASSWORD},
        "/sessions": {"name": "ann-private", "password": "not hers"},
        "/tournaments": {"name": "Bob's", "capacity": 4, "entry_fee": 0}, "/users/me": {"bio": "Bob."},
        "/challenges": {"opponent_id": ann["id"], "stake": 1, "title": "Bob's"},
        "/challenges/{challenge_id}/settle": {"winner_id": ann["id"]},
    }  # fmt: skip
    walk = sorted(of_users(front) - {("DELETE", "/sessions/current"), ("POST", "/challenges")})
    for method, path in [*walk, ("DELETE", "/sessions/current")]:
        response = front.call(method, path.format(**ann), bodies.get(path), token=stranger)
        shown = response.text + str(response.headers)
        # A refusal may repeat the name that the caller gave, and nothing else.
        shown = shown.replace(ann["operation_id"], "") if response.status_code == 404 else shown
        for secret in (*PRIVATE, ann["text"], ann["token"], "$argon2"):
            assert secret not in shown, (method, path)
        if "{" in path and (method, path) in OWN | ORGANISERS:
            assert response.status_code in (400, 403, 404, 409), (method, path, response.text)
    assert mine(front, ann) == before


def mine(front: Front, ann: dict[str, Any]) -> list[Any]:
    """Everything that is the owner's, as they see it."""
    paths = sorted(path for method, path in OWN if method == "GET")
    return [front.call("GET", path.format(**ann), token=ann["token"]).json() for path in paths]


def test_a_public_profile_holds_nothing_private(front: Front, ann: dict[str, Any]) -> None:
    shown = front.call("GET", f"/users/{ann['id']}", token=front.regular()).json()
    assert set(shown) == {"id", "name", "display_name", "bio"}


def test_without_a_session_nothing_is_shown(front: Front, ann: dict[str, Any]) -> None:
    for method, path in of_users(front) - {("POST", "/users"), ("POST", "/sessions")}:
        assert front.call(method, path.format(**ann), token="nobody").status_code == 401, (method, path)

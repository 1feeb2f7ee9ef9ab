"""Users: signing up, logging in and out, what they say of themselves, and passwords that cost what they must."""

from __future__ import annotations

import asyncio
import threading

import pytest
from argon2 import PasswordHasher
from argon2.exceptions import VerifyMismatchError
from sqlalchemy import select, update

from system import user_service
from system.database import engine_for
from system.errors import Conflict, NotFound, Unavailable
from system.passwords import HASHER, NOBODYS, HashingPool
from system.user_service import users
from tests.system.front import PASSWORD, Front
from tests.system.gym import Gym, faults


def test_a_new_user_has_the_welcome_points_and_they_were_minted(gym: Gym) -> None:
    reply = gym.apply(user_service.sign_up, "ann", "hashed")
    assert reply == {"id": 1, "name": "ann", "points": 1000}
    assert gym.points(1) == 1000
    assert gym.facts().conservation.minted == 1000


def test_a_taken_name_is_refused_and_mints_nothing(gym: Gym) -> None:
    gym.user("ann")
    with pytest.raises(Conflict) as refused:
        gym.user("ann")
    assert refused.value.code == "name-taken"
    assert gym.facts().conservation.minted == 1000
    assert faults(gym.facts()) == []


def test_a_session_opens_until_it_expires(gym: Gym) -> None:
    ann = gym.user("ann")
    gym.apply(user_service.log_in, ann, "f" * 64, gym.now_ms + 1_000, None, actor=ann)
    assert gym.read(user_service.session_user, "f" * 64, gym.now_ms + 999) == ann
    assert gym.read(user_service.session_user, "f" * 64, gym.now_ms + 1_000) is None


def test_a_session_opens_nothing_once_it_is_revoked(gym: Gym) -> None:
    ann = gym.user("ann")
    for token in ("a" * 64, "b" * 64):
        gym.apply(user_service.log_in, ann, token, gym.now_ms + 1_000, None, actor=ann)
    assert gym.apply(user_service.log_out, "a" * 64, actor=ann) == {"session_id": 1, "revoked": True}
    assert gym.read(user_service.session_user, "a" * 64, gym.now_ms) is None
    assert gym.read(user_service.session_user, "b" * 64, gym.now_ms) == ann


def test_an_unknown_token_opens_nothing(gym: Gym) -> None:
    assert gym.read(user_service.session_user, "0" * 64, gym.now_ms) is None


def test_logging_in_replaces_an_outdated_hash(gym: Gym) -> None:
    ann = gym.user("ann")
    gym.apply(user_service.log_in, ann, "f" * 64, gym.now_ms, "newer hash", actor=ann)
    assert gym.read(user_service.credentials, "ann") == (ann, "newer hash")


def test_logging_in_leaves_a_hash_of_today_alone(gym: Gym) -> None:
    ann = gym.user("ann")
    before = gym.read(user_service.credentials, "ann")
    gym.apply(user_service.log_in, ann, "f" * 64, gym.now_ms, None, actor=ann)
    assert gym.read(user_service.credentials, "ann") == before


def test_nobody_has_no_credentials(gym: Gym) -> None:
    assert gym.read(user_service.credentials, "nobody") is None


def test_editing_changes_what_was_given_and_leaves_the_rest(gym: Gym) -> None:
    ann = gym.user("ann")
    gym.apply(user_service.edit_profile, "Ann", None, actor=ann)
    shown = gym.apply(user_service.edit_profile, None, "Climbs.", actor=ann)
    assert (shown["display_name"], shown["bio"], shown["points"]) == ("Ann", "Climbs.", 1000)
    assert gym.read(user_service.profile, ann) == shown


def test_others_see_no_points(gym: Gym) -> None:
    ann = gym.user("ann")
    assert gym.read(user_service.public_profile, ann) == {"id": ann, "name": "ann", "display_name": "ann", "bio": ""}


def test_an_unknown_profile_is_not_found(gym: Gym) -> None:
    with pytest.raises(NotFound, match="no user 7"):
        gym.read(user_service.public_profile, 7)


def test_the_schema_itself_refuses_an_empty_display_name(gym: Gym) -> None:
    ann = gym.user("ann")
    with pytest.raises(Unavailable):
        gym.apply(user_service.edit_profile, "", None, actor=ann)
    assert gym.read(user_service.profile, ann)["display_name"] == "ann"


def test_hashes_are_argon2id_with_owasp_parameters() -> None:
    pool = HashingPool(threads=1, places=1)
    hashed = asyncio.run(pool.hash("secret enough"))
    assert hashed.startswith("$argon2id$v=19$m=19456,t=2,p=1$")
    assert asyncio.run(pool.verify(hashed, "secret enough"))
    assert not asyncio.run(pool.verify(hashed, "secret enough "))
    assert not pool.outdated(hashed)
    assert pool.outdated(hashed.replace("t=2", "t=1"))
    pool.close()


def test_an_unknown_user_costs_a_full_verification() -> None:
    """Nobody's hash has today's parameters and fails by mismatch, not by being malformed, which would cost nothing."""
    with pytest.raises(VerifyMismatchError):
        HASHER.verify(NOBODYS, "anything")
    assert not HASHER.check_needs_rehash(NOBODYS)


def test_nobody_can_log_in_with_any_password() -> None:
    pool = HashingPool(threads=1, places=1)
    assert not asyncio.run(pool.verify(None, "anything"))
    pool.close()


def test_a_malformed_hash_verifies_nothing() -> None:
    pool = HashingPool(threads=1, places=1)
    assert not asyncio.run(pool.verify("no password", "no password"))
    pool.close()


class SlowPool(HashingPool):
    """A hashing pool whose work takes as long as the test wants."""

    def __init__(self, threads: int, places: int) -> None:
        super().__init__(threads, places)
        self.go_on = threading.Event()
        self.begun = threading.Semaphore(0)

    async def work(self) -> bool:
        def wait() -> bool:
            self.begun.release()
            return self.go_on.wait(10)

        return await self._run(wait)


def test_places_beside_are_neither_taken_nor_given_and_use_the_same_thread() -> None:
    async def story() -> None:
        pool = SlowPool(threads=1, places=1)
        beside = pool.beside(1)
        working = asyncio.create_task(pool.work())
        await asyncio.sleep(0)
        waiting = asyncio.create_task(beside.hash("let in, and waiting"))
        await asyncio.sleep(0)
        for full in (pool, beside):
            with pytest.raises(Unavailable):
                await full.hash("one too many")
        assert not waiting.done(), "the only thread is busy"
        pool.go_on.set()
        assert await working
        assert (await waiting).startswith("$argon2id$")
        pool.close()

    asyncio.run(story())


def test_one_more_than_the_places_is_refused_at_once() -> None:
    async def story() -> None:
        pool = SlowPool(threads=1, places=2)
        waiting = [asyncio.create_task(pool.work()) for _ in range(2)]
        await asyncio.sleep(0)
        with pytest.raises(Unavailable) as refused:
            await pool.hash("one too many")
        assert refused.value.code == "hashing-busy"
        pool.go_on.set()
        assert await asyncio.gather(*waiting) == [True, True]
        assert await pool.work()  # a place is free again
        pool.close()

    asyncio.run(story())


def test_a_caller_who_gives_up_leaves_the_place_taken_until_the_work_ends() -> None:
    async def story() -> None:
        pool = SlowPool(threads=1, places=1)
        waiting = asyncio.create_task(pool.work())
        await asyncio.sleep(0)
        pool.begun.acquire()
        waiting.cancel()
        await asyncio.gather(waiting, return_exceptions=True)
        with pytest.raises(Unavailable):
            await pool.work()
        pool.go_on.set()
        pool.close()

    asyncio.run(story())


def test_signing_up_and_logging_in_over_http(front: Front) -> None:
    signed_up = front.call("POST", "/users", {"name": "http-ann", "password": PASSWORD}, op="r.1")
    assert signed_up.status_code == 201
    assert {"id", "name", "points"} == set(signed_up.json())
    assert signed_up.headers["operation-id"] == "r.1"
    assert len(signed_up.headers["effect-digest"]) == 32
    logged_in = front.call("POST", "/sessions", {"name": "http-ann", "password": PASSWORD})
    assert logged_in.status_code == 201
    shown = front.call("GET", "/users/me", token=logged_in.json()["token"]).json()
    assert (shown["id"], shown["points"]) == (signed_up.json()["id"], 1000)


def test_a_repeated_log_in_shows_no_token(front: Front) -> None:
    """The token is known to the client alone; the stored answer cannot hold it."""
    front.join("http-bob")
    body = {"name": "http-bob", "password": PASSWORD}
    first = front.call("POST", "/sessions", body, op="r.log-in")
    again = front.call("POST", "/sessions", body, op="r.log-in")
    assert again.headers["operation-replayed"] == "true"
    assert first.json()["token"] is not None
    assert again.json() == first.json() | {"token": None}


def test_logging_in_over_http_renews_an_outdated_hash(front: Front) -> None:
    """A wrong password renews nothing: it would be the wrong one that opens the door from then on."""
    front.join("http-gus")
    cheap = PasswordHasher(time_cost=1, memory_cost=8, parallelism=1).hash(PASSWORD)
    engine = engine_for(front.config.database_url, writer=True)
    known = select(users.c.password_hash).where(users.c.name == "http-gus")

    def stored() -> str:
        with engine.connect() as connection:
            return str(connection.execute(known).scalar_one())

    with engine.begin() as connection:
        connection.execute(update(users).where(users.c.name == "http-gus").values(password_hash=cheap))
    wrong = front.call("POST", "/sessions", {"name": "http-gus", "password": "wrong horse"})
    assert (wrong.status_code, stored()) == (401, cheap)
    for _ in range(2):
        body = {"name": "http-gus", "password": PASSWORD}
        assert front.call("POST", "/sessions", body).status_code == 201
    renewed = stored()
    engine.dispose()
    assert HASHER.verify(renewed, PASSWORD)
    assert not HASHER.check_needs_rehash(renewed)


def test_a_wrong_password_and_an_unknown_name_get_the_same_answer(front: Front) -> None:
    front.join("http-cid")
    wrong = front.call("POST", "/sessions", {"name": "http-cid", "password": "wrong horse"})
    unknown = front.call("POST", "/sessions", {"name": "http-nobody", "password": "wrong horse"})
    assert wrong.status_code == unknown.status_code == 401
    assert wrong.json()["code"] == unknown.json()["code"] == "wrong-credentials"
    assert wrong.json()["detail"] == unknown.json()["detail"]


def test_a_revoked_session_is_refused_over_http(front: Front) -> None:
    _, token = front.join("http-dan")
    assert front.call("DELETE", "/sessions/current", token=token).json()["revoked"] is True
    after = front.call("GET", "/users/me", token=token)
    assert (after.status_code, after.json()["code"]) == (401, "session-unknown")


@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("GET", "/users/me"),
        ("PATCH", "/users/me"),
        ("GET", "/users/1"),
        ("GET", "/users/me/points"),
        ("DELETE", "/sessions/current"),
        ("GET", "/tournaments"),
        ("POST", "/tournaments"),
        ("POST", "/tournaments/1/entries"),
        ("GET", "/matches/1"),
        ("POST", "/challenges"),
        ("GET", "/notifications"),
        ("POST", "/notifications/read-all"),
    ],
)
def test_everything_but_signing_up_and_logging_in_needs_a_session(front: Front, method: str, path: str) -> None:
    answer = front.call(method, path)
    assert (answer.status_code, answer.json()["code"]) == (401, "session-required")


@pytest.mark.parametrize(
    "body",
    [
        {"name": "ab", "password": PASSWORD},
        {"name": "a" * 41, "password": PASSWORD},
        {"name": "Upper", "password": PASSWORD},
        {"name": "ends\n", "password": PASSWORD},
        {"name": "fine", "password": "short"},
        {"name": "fine", "password": "p" * 129},
        {"name": "fine", "password": 12345678},
        {"name": "fine"},
        {"name": "fine", "password": PASSWORD, "points": 1_000_000},
        [],
    ],
)
def test_a_sign_up_that_breaks_a_rule_is_refused(front: Front, body: object) -> None:
    answer = front.call("POST", "/users", body)
    assert (answer.status_code, answer.json()["code"]) == (400, "body-invalid")


@pytest.mark.parametrize(
    "body",
    [{"display_name": ""}, {"display_name": "  "}, {"display_name": "a\x00b"}, {"bio": "b" * 501}, {"bio": "a\x00b"}],
)
def test_a_profile_that_breaks_a_rule_is_refused(front: Front, body: object) -> None:
    token = front.regular()
    assert front.call("PATCH", "/users/me", body, token=token).status_code == 400
    assert front.call("GET", "/users/me", token=token).json()["bio"] == ""


@pytest.mark.parametrize("path", ["/users/0", f"/users/{2**63}", "/users/x", "/users/me/points?limit=0"])
def test_a_number_that_no_row_can_have_is_refused(front: Front, path: str) -> None:
    answer = front.call("GET", path, token=front.regular())
    assert (answer.status_code, answer.json()["code"]) == (400, "parameter-invalid")


def test_the_statement_over_http(front: Front) -> None:
    user_id, token = front.join("http-eve")
    shown = front.call("GET", "/users/me/points?limit=5", token=token).json()
    assert shown["balance"] == 1000
    assert [(one["amount"], one["kind"], one["reference"]) for one in shown["entries"]] == [(1000, "welcome", user_id)]
    assert shown["next"] is None


def test_editing_over_http_answers_with_the_profile(front: Front) -> None:
    _, token = front.join("http-fay")
    edited = front.call("PATCH", "/users/me", {"bio": "Rows.\nAnd runs."}, token=token)
    assert edited.status_code == 200
    assert edited.json() == front.call("GET", "/users/me", token=token).json()
    assert edited.json()["bio"] == "Rows.\nAnd runs."

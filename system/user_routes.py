"""Users and sessions over HTTP."""

from __future__ import annotations

import hashlib
import secrets
from typing import Annotated

import msgspec
from fastapi import APIRouter, Request, Response
from msgspec import Meta

from system import http, points_service, user_service
from system.errors import Unauthorised
from system.openapi.bodies import takes
from system.shapes import ID_MAX, Before, Limit, Password, PathId, Prose, ShortLine, UserName

router = APIRouter(tags=["users"])


class SignUp(msgspec.Struct, forbid_unknown_fields=True):
    """Who somebody wants to be."""

    name: UserName
    password: Password


class LogIn(msgspec.Struct, forbid_unknown_fields=True):
    """Who somebody says they are."""

    name: Annotated[str, Meta(max_length=40)]
    password: Annotated[str, Meta(max_length=128)]


class Profile(msgspec.Struct, forbid_unknown_fields=True):
    """What a user may say of themselves. A field left out stays as it is."""

    display_name: ShortLine | None = None
    bio: Prose | None = None


@router.post("/users", response_model=None, status_code=201, openapi_extra=takes(SignUp, session=False))
async def sign_up(request: Request) -> Response:
    """Sign up, and be given the welcome points."""
    wanted = await http.body(request, SignUp)
    hashed = await request.app.state.passwords.hash(wanted.password)
    return await http.write(request, user_service.sign_up, wanted.name, hashed)


@router.post("/sessions", response_model=None, status_code=201, openapi_extra=takes(LogIn, session=False))
async def log_in(request: Request) -> Response:
    """Log in. The token is shown once; a repeated operation gets the session without it."""
    given = await http.body(request, LogIn)
    found = await http.lanes(request).read("sessions", user_service.credentials, given.name)
    user_id, known = found or (None, None)
    passwords = request.app.state.passwords
    if not await passwords.verify(known, given.password) or user_id is None or known is None:
        raise Unauthorised("wrong-credentials", "The name or the password is wrong.")
    rehashed = await passwords.hash(given.password) if passwords.outdated(known) else None
    token = secrets.token_urlsafe(32)
    expires_ms = http.now_ms() + request.app.state.settings.session_hours * 3_600_000
    hashed = hashlib.sha256(token.encode()).hexdigest()
    return await http.write(
        request, user_service.log_in, user_id, hashed, expires_ms, rehashed, actor_id=user_id, extra={"token": token}
    )


@router.delete("/sessions/current", response_model=None)
async def log_out(request: Request) -> Response:
    """Revoke the session this request came with."""
    return await http.write_own(request, user_service.log_out, http.token_hash(request))


@router.get("/users/me", response_model=None)
async def me(request: Request) -> Response:
    """The caller's own profile."""
    return await http.read_own(request, "users", user_service.profile)


@router.patch("/users/me", response_model=None, openapi_extra=takes(Profile))
async def edit_me(request: Request) -> Response:
    """Change the caller's own profile."""
    wanted = await http.own_body(request, Profile)
    return await http.write_own(request, user_service.edit_profile, wanted.display_name, wanted.bio)


@router.get("/users/me/points", response_model=None)
async def my_points(request: Request, limit: Limit = 20, before: Before = ID_MAX) -> Response:
    """The caller's balance and what made it, newest first."""
    return await http.read_own(request, "users", points_service.statement, limit, before)


@router.get("/users/{user_id}", response_model=None)
async def user(request: Request, user_id: PathId) -> Response:
    """Somebody's public profile."""
    return await http.read(request, "users", user_service.public_profile, user_id)

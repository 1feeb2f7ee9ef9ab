"""What proves who somebody is: tokens made of chance and stored as their hash, and the cookie that carries one."""

from __future__ import annotations

import hashlib
import secrets
from collections.abc import Mapping

TOKEN_PREFIX = "gymadm_"  # noqa: S105  # what every token begins with, so that a leaked one is recognised
COOKIE = "gymkhana-admin"
SECURE_COOKIE = f"__Host-{COOKIE}"
"""A browser takes a cookie of this name only over TLS, from this very host, and for all of it."""


def new_session() -> str:
    """A session's token: 256 bits of chance."""
    return secrets.token_urlsafe(32)


def new_token() -> str:
    """An API token: the same, recognisable as one."""
    return TOKEN_PREFIX + secrets.token_urlsafe(32)


def hashed(token: str) -> str:
    """What is stored of a token. It has more chance in it than could ever be tried, so a quick hash is enough."""
    return hashlib.sha256(token.encode()).hexdigest()


def set_cookie(token: str, *, secure: bool) -> str:
    """The header that gives the browser its session, until it is closed or the session ends."""
    if secure:
        return f"{SECURE_COOKIE}={token}; Path=/; Secure; HttpOnly; SameSite=Strict"
    return f"{COOKIE}={token}; Path=/admin; HttpOnly; SameSite=Strict"


def clear_cookie(*, secure: bool) -> str:
    """The header that takes it back."""
    return set_cookie("", secure=secure) + "; Max-Age=0"


def session_in(cookies: Mapping[str, str], *, secure: bool) -> str | None:
    """The session's token that a request carries. Over TLS only the name that nobody else could have set counts."""
    return cookies.get(SECURE_COOKIE if secure else COOKIE)


def token_in(authorization: str | None) -> str | None:
    """The API token that a request carries, None when it carries none. Anything else in that header is a wrong one."""
    if authorization is None:
        return None
    scheme, _, token = authorization.partition(" ")
    return token if scheme.lower() == "bearer" and token.startswith(TOKEN_PREFIX) else ""

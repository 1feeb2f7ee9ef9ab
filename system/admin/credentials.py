"""What an account's name and password have to be, wherever they come from."""

from __future__ import annotations

import re

from system.admin.access import Role
from system.errors import Invalid

NAME = re.compile(r"[a-z0-9_-]{3,40}")
PASSWORD_LEAST, PASSWORD_MOST = 12, 128


def checked_name(name: str) -> str:
    """The name. Raises Invalid."""
    if not NAME.fullmatch(name):
        raise Invalid("name-invalid", "A name has 3 to 40 characters of a-z, 0-9, _ and -.")
    return name


def checked_password(password: str) -> str:
    """The password. Raises Invalid, which never repeats it."""
    if not PASSWORD_LEAST <= len(password) <= PASSWORD_MOST:
        raise Invalid("password-invalid", f"A password has {PASSWORD_LEAST} to {PASSWORD_MOST} characters.")
    if len(set(password)) < 4:
        raise Invalid("password-invalid", "A password of so few different characters is guessed at once.")
    return password


def checked_role(role: str) -> Role:
    """The role. Raises Invalid."""
    try:
        return Role(role)
    except ValueError as error:
        raise Invalid("role-invalid", f"A role is one of {', '.join(Role)}.") from error

"""Which pgBackRest works with which PostgreSQL, by its release notes: it reads control files of versions it knows. Pure."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from typing import Final

Version = tuple[int, ...]

SINCE: Final[Mapping[int, Version]] = {
    14: (2, 36),
    15: (2, 41),
    16: (2, 46),
    17: (2, 53, 1),
    18: (2, 55, 0),
    19: (2, 59, 0),
}
"""By PostgreSQL's major version, the first pgBackRest that works with it."""

_NUMBER = re.compile(r"\d+(?:\.\d+)+")


def read(told: str) -> Version | None:
    """The version in what `pgbackrest version` prints, `pgBackRest 2.45`; None when there is none."""
    found = _NUMBER.search(told)
    return tuple(map(int, found[0].split("."))) if found else None


def dotted(version: Version) -> str:
    """`2.53.1`."""
    return ".".join(map(str, version))


def misfit(version: Version, major: int) -> str:
    """Why that pgBackRest cannot serve a server of that major version, as one sentence; empty when it can."""
    since = SINCE.get(major)
    if since is None:
        known = f"those known here are {min(SINCE)} to {max(SINCE)}"
        return f"Which pgBackRest works with PostgreSQL {major} is not known here; {known}."
    if _padded(version) >= _padded(since):
        return ""
    served = newest_of(version, SINCE)
    until = f"works up to PostgreSQL {served}" if served else f"is older than any that works with {min(SINCE)} or newer"
    return f"PostgreSQL {major} needs pgBackRest {dotted(since)} or newer, and the {dotted(version)} here {until}."


def newest_of(version: Version, majors: Iterable[int]) -> int | None:
    """The newest of these major versions that this pgBackRest works with; None when it works with none of them."""
    return max((one for one in majors if one in SINCE and _padded(version) >= _padded(SINCE[one])), default=None)


def _padded(version: Version) -> Version:
    """`2.55` and `2.55.0` are the same version."""
    return (*version, 0, 0, 0)[:3]

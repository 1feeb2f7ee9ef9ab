"""What a revision would lock others out of on PostgreSQL, found by a linter of its SQL (`python -m migrations.lint`).

Each revision after the first is asked for by itself, as `gymkhana migrate up --dry-run` prints it. The first one makes the
tables, when nobody is there to be locked out.
"""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path

from migrations import revisions
from migrations.line import line

OLDEST_SERVER = "14.0"
EXCLUDED = {
    "require-statement-timeout": "Proving a rule takes as long as its table is large; lock_timeout bounds what others wait.",
    "prefer-text-field": "How long a text may be is a rule of the models, and SQLite's columns are declared the same.",
}
"""Rules not asked for, and why. A single statement is excused where it stands, by a `squawk-ignore` and a reason."""

SQUAWK = Path(sys.executable).with_name("squawk")
ANY_SERVER = "postgresql://localhost/gym"


class Unusable(Exception):
    """The linter itself could not be run."""


def findings(name: str, sql: str) -> tuple[str, ...]:
    """What the linter has against the statements, a sentence each that begins with `name` and the rule. Raises Unusable."""
    words = [str(SQUAWK), "--reporter", "json", "--pg-version", OLDEST_SERVER, "--exclude", ",".join(EXCLUDED)]
    try:
        asked = subprocess.run(words, input=sql, capture_output=True, text=True, check=False, timeout=60)
    except OSError as error:
        raise Unusable(f"{SQUAWK} cannot be run ({error.strerror}); `make setup` installs it.") from error
    found = json.loads(asked.stdout) if asked.stdout.startswith("[") else []
    if asked.returncode != (1 if found else 0):
        raise Unusable(
            f"{SQUAWK} ended with {asked.returncode} on {name}: {asked.stderr.strip() or asked.stdout.strip()}"
        )
    return tuple(f"{name}:{one['line'] + 1}: {one['rule_name']}: {one['message']}" for one in found)


def statements() -> Iterator[tuple[str, str]]:
    """Each revision after the first with what it does to a server."""
    for before, revision in pairwise(line()):
        yield revision.id, revisions.sql(ANY_SERVER, before.id, revision.id)


def main() -> int:
    """Prints what was found; 0 when nothing was, 1 when something was, 4 when the linter could not be run."""
    try:
        found = [one for name, sql in statements() for one in findings(name, sql)]
    except Unusable as error:
        sys.stderr.write(f"{error}\n")
        return 4
    for one in found:
        sys.stdout.write(f"{one}\n")
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main())

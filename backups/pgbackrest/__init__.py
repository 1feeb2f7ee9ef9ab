"""An adapter for pgBackRest: the same verbs, done by another program in a repository of its own."""

from typing import Final

SCHEME: Final = "pgbackrest:"
"""What the address of one of its stanzas begins with."""

"""A server that the pgBackRest here works with, and its stanza; where one is missing, a skip that says which."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.backups.repositories import Ward, ward_in


@pytest.fixture
def ward(tmp_path: Path) -> Iterator[Ward]:
    """A running server of the test's own with an empty stanza."""
    with ward_in(tmp_path) as made:
        yield made

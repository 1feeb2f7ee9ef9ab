"""A directory that is made once and found again: whole or not at all, whoever else is making the same one right now."""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Callable, Mapping
from pathlib import Path

from loadtests.errors import ToolError


def cache(environment: Mapping[str, str] = os.environ) -> Path:
    """Where such directories go: below XDG_CACHE_HOME, or .cache in the user's home."""
    base = environment.get("XDG_CACHE_HOME") or Path(environment.get("HOME") or tempfile.gettempdir()) / ".cache"
    return Path(base) / "gymkhana"


def made_once(place: Path, make: Callable[[Path], None]) -> Path:
    """`place`, filled by `make` if it was not there. Raises ToolError when it cannot be written, and what `make` raises."""
    if place.is_dir():
        return place
    try:
        place.parent.mkdir(parents=True, exist_ok=True)
        partial = Path(tempfile.mkdtemp(prefix="partial-", dir=place.parent))
    except OSError as error:
        raise ToolError(f"{place.parent} cannot be written ({error.strerror}); name another XDG_CACHE_HOME.") from error
    try:
        make(partial)
        partial.rename(place)
    except OSError as error:
        if not place.is_dir():  # otherwise somebody else was faster, and theirs is as good
            raise ToolError(f"{place} cannot be made ({error.strerror}); see to its directory.") from error
    finally:
        shutil.rmtree(partial, ignore_errors=True)
    return place

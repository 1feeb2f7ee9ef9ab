"""A small file that is replaced as a whole, also on a full disk: its room, and that of its successor, are taken once.

    alerts.json  ⇄  .alerts.json.next      the next content is written into the other file, then the two change places

Writing anew and renaming would need room for a moment, and just when the disk is full everybody wants to know what fires.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import Final

ROOM_BYTES: Final = 32 * 1024
"""Each of the two takes so much, or a multiple; what is not needed is blank, which JSON does not mind."""


class Kept:
    """The file at `path`. One process writes it; readers see the old content or the new one."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._next = path.with_name(f".{path.name}.next")
        self._old = path.with_name(f".{path.name}.old")

    def write(self, content: bytes) -> None:
        """The file holds exactly that, and blanks. Not durable: a power cut may cost it. Raises OSError."""
        self._path.parent.mkdir(parents=True, exist_ok=True)
        self._old.unlink(missing_ok=True)
        room = -(-len(content) // ROOM_BYTES) * ROOM_BYTES
        descriptor = os.open(self._next, os.O_WRONLY | os.O_CREAT, 0o644)
        try:
            os.pwrite(descriptor, content.ljust(room), 0)
            if os.fstat(descriptor).st_size > room:
                os.ftruncate(descriptor, room)
        finally:
            os.close(descriptor)
        if not self._path.exists():
            self._next.replace(self._path)
            self._next.write_bytes(b" " * room)
            return
        self._old.hardlink_to(self._path)
        self._next.replace(self._path)
        self._old.replace(self._next)
